//! A database, a company and a clock for one test. A test that fails leaves its database for whoever looks into it.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use domain::answer::{Booking, BookingStatus, BookingUid};
use domain::hours::Opening;
use domain::job::State;
use domain::outcome::Outcome;
use domain::phone::{Identity, Phone};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use std::time::Duration;
use store::{
    BookingCommand, BranchSpec, CallFacts, Claim, Claimed, Company, CompanySpec, CustomerFacts, EventTypeSpec, JobRef,
    Replay, RequestKey, ServiceSpec, Settled, Source, StaffSpec, Store, StoreSettings,
};
use uuid::Uuid;

/// Longer than a minute to a day: three services of 30, 45 and 90 minutes; three members of staff, all do the first.
pub struct World {
    pub store: Store,
    pub pool: PgPool,
    pub company: Company,
    /// 10:00 UTC, a week ahead.
    pub ten: DateTime<Utc>,
    server: String,
    database: String,
}

pub fn settings(url: String) -> StoreSettings {
    let key = |byte: u8| SecretString::from(base64_of(byte));
    StoreSettings {
        database_url: SecretString::from(url),
        connections: 20,
        lock_wait: Duration::from_secs(2),
        statement_timeout: Duration::from_secs(10),
        lease: Duration::from_secs(10),
        calcom_timeout: Duration::from_secs(8),
        calcom_requests_per_minute: 120,
        quarantine: Duration::from_secs(90),
        patience: Duration::from_secs(990),
        back_off_base: Duration::from_secs(1),
        back_off_max: Duration::from_secs(900),
        attempts_max: 3,
        crashes_max: 3,
        granularity_minutes: 15,
        sealing_keys: vec![("k1".to_owned(), key(1)), ("k0".to_owned(), key(0))],
        hold_ttl: Duration::from_secs(120),
        holds_per_caller: 3,
        holds_per_api_key: 100,
    }
}

fn base64_of(byte: u8) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode([byte; 32])
}

impl World {
    pub async fn new() -> Self {
        let server = std::env::var("TEST_DATABASE_URL")
            .expect("set TEST_DATABASE_URL to a Postgres server, e.g. postgres://postgres@127.0.0.1:5432/postgres");
        let database = format!("store_{}", Uuid::now_v7().simple());
        let mut conn = PgConnection::connect(&server).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {database}"))).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        let url = format!("{}/{database}", server.rsplit_once('/').unwrap().0);
        let store = Store::connect(settings(url.clone())).unwrap();
        store.migrate().await.unwrap();
        let company = store.load_company(&salon("salon")).await.unwrap();
        let pool = PgPool::connect(&url).await.unwrap();
        let sql = "SELECT date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + interval '7 days 10 hours'";
        let ten = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
        Self { store, pool, company, ten, server, database }
    }

    /// The record as a process with these sealing keys sees it; a key is 32 times its byte.
    pub fn with_keys(&self, keys: &[(&str, u8)]) -> Store {
        let url = format!("{}/{}", self.server.rsplit_once('/').unwrap().0, self.database);
        let keys = keys.iter().map(|(id, byte)| ((*id).to_owned(), SecretString::from(base64_of(*byte))));
        Store::connect(StoreSettings { sealing_keys: keys.collect(), ..settings(url) }).unwrap()
    }

    pub async fn gone(self) {
        self.pool.close().await;
        let mut conn = PgConnection::connect(&self.server).await.unwrap();
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.database);
        sqlx::query(AssertSqlSafe(drop)).execute(&mut conn).await.unwrap();
    }

    /// `minutes` after ten.
    pub fn at(&self, minutes: i64) -> DateTime<Utc> {
        self.ten + TimeDelta::minutes(minutes)
    }

    /// The first service (30 minutes) with the first member of staff, for the n-th customer.
    pub fn wish(&self, n: u32, minutes: i64) -> BookingCommand {
        let phone = phone(n);
        BookingCommand {
            company_id: self.company.company_id,
            branch_id: 1,
            service_id: 1,
            staff_id: Some(1),
            starts_at: self.at(minutes),
            who: Identity::Phone(phone.clone()),
            facts: CustomerFacts {
                name: format!("Customer {n}"),
                email: None,
                phone: Some(phone),
                language: "de".to_owned(),
            },
            notes: None,
            source: Source::Api,
            call: None,
            key: None,
            hold: None,
            or_else: vec![],
        }
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    pub async fn sql(&self, sql: &str) -> u64 {
        sqlx::query(AssertSqlSafe(sql)).execute(&self.pool).await.unwrap().rows_affected()
    }
}

pub fn phone(n: u32) -> Phone {
    Phone::parse(&format!("+4915112{n:06}"), phonenumber::country::Id::DE).unwrap()
}

pub fn key(name: &str, body: u8, replay: Replay) -> Option<RequestKey> {
    Some(RequestKey { key: name.to_owned(), body_hash: [body; 32], replay })
}

pub fn call(id: &str) -> Option<CallFacts> {
    Some(CallFacts { call_id: id.to_owned(), from_number: None, to_number: Some("+493012345678".to_owned()) })
}

pub fn salon(slug: &str) -> CompanySpec {
    let time = |h| NaiveTime::from_hms_opt(h, 0, 0).unwrap();
    let service = |id, minutes, alias: &str| ServiceSpec {
        id,
        name: format!("Service {id}"),
        aliases: vec![alias.to_owned()],
        duration_minutes: minutes,
        minimum_notice_minutes: 15,
    };
    let event_type = |id, service_id, staff_id| EventTypeSpec { id, branch_id: 1, service_id, staff_id };
    CompanySpec {
        slug: slug.to_owned(),
        name: "Salon Morgenrot".to_owned(),
        time_zone: chrono_tz::Europe::Berlin,
        language: "de".to_owned(),
        external_changes: domain::observe::ExternalChanges::ExternalWins,
        branches: vec![BranchSpec {
            id: 1,
            name: "Kreuzberg".to_owned(),
            time_zone: chrono_tz::UTC,
            phones: vec!["+493012345678".to_owned()],
            hours: (1..=7).map(|weekday| Opening { weekday, opens: time(8), closes: time(18) }).collect(),
        }],
        staff: (1..=3)
            .map(|id| StaffSpec { id, branch_id: 1, name: format!("Staff {id}"), calcom_user_id: id.into() })
            .collect(),
        services: vec![service(1, 30, "Haarschnitt"), service(2, 45, "Damenschnitt"), service(3, 90, "Farbe")],
        event_types: vec![event_type(101, 1, 1), event_type(102, 1, 2), event_type(103, 1, 3), event_type(104, 2, 1)],
    }
}

/// Claims a job that must be granted.
pub async fn granted(world: &World, job: JobRef) -> Claimed {
    match world.store.claim(job, "w").await.unwrap() {
        Claim::Granted(claimed) => *claimed,
        other => panic!("not granted: {other:?}"),
    }
}

/// What Cal.com answers when it has done what was asked.
pub fn applied(claimed: &Claimed, uid: &str) -> Outcome {
    let start = claimed.asked.starts_at.unwrap();
    let booking = Booking {
        uid: BookingUid::from(uid.to_owned()),
        status: BookingStatus::Accepted,
        start,
        end: start + TimeDelta::minutes(30),
        event_type_id: 101,
        host_id: Some(1),
        created_at: claimed.claimed_at,
        updated_at: None,
        marker: Some(claimed.asked.lineage.0),
        rescheduled_to: None,
        rescheduled_from: None,
    };
    Outcome::Applied { booking, spares: vec![] }
}

/// Settles a job that must still be ours.
pub async fn settle(world: &World, claimed: &Claimed, outcome: &Outcome) -> State {
    match world.store.settle(claimed, outcome, 0.0).await.unwrap() {
        Settled::Done { state, .. } => state,
        Settled::Lost => panic!("lost"),
    }
}
