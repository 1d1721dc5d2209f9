//! A whole system for one test: a database and a queue of its own, a sandbox Cal.com in this process, and workers as
//! processes that can be killed. When a test drops its world, the invariants are checked first (`World::at_rest`).
//!
//! `TEST_DATABASE_URL` and `TEST_REDIS_URL` name the servers; `./dev test` starts them. Deliberately absent: waiting for
//! time; whoever waits names what for.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use domain::hours::Opening;
use domain::id::AppointmentId;
use domain::phone::{Identity, Phone};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sandbox::{Booking, Config, Effect, Entry, EventType, Host, Sandbox, Status, What};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use store::{
    BookingCommand, BranchSpec, CancelCommand, Company, CompanySpec, CustomerFacts, EventTypeSpec, SecretKind,
    ServiceSpec, Source, StaffSpec, Store, StoreSettings,
};
use uuid::Uuid;

/// Nobody waits longer for anything; far above what a noisy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);
/// 32 bytes, base64.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
/// Times of the crash tests, as short as their order allows.
pub const CALCOM_TIMEOUT: Duration = Duration::from_secs(1);
pub const LEASE: Duration = Duration::from_secs(2);
pub const QUARANTINE: Duration = Duration::from_secs(3);

pub struct World {
    pub store: Store,
    pub pool: PgPool,
    pub sandbox: Sandbox,
    pub company: Company,
    database: String,
    server: String,
    queue: String,
}

/// A worker process; it dies with its guard.
pub struct Worker(Child);

impl World {
    pub async fn new() -> Self {
        let server = variable("TEST_DATABASE_URL");
        let name = Uuid::now_v7().simple().to_string();
        let database = format!("whole_{name}");
        let mut conn = PgConnection::connect(&server).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {database}"))).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        let url = format!("{}/{database}", server.rsplit_once('/').unwrap().0);
        let store = Store::connect(settings(&url)).unwrap();
        store.migrate().await.unwrap();
        let company = store.load_company(&salon()).await.unwrap();
        let key = SecretString::from("cal_test");
        store.set_secret(company.company_id, SecretKind::Calcom, &key).await.unwrap();
        let sandbox = sandbox::start(Config { event_types: event_types(), ..Config::default() }).await.unwrap();
        let pool = PgPool::connect(&url).await.unwrap();
        Self { store, pool, sandbox, company, database, server, queue: format!("q{name}") }
    }

    /// Starts a worker that dies at `crash_at` (`claimed#1`), if one is given.
    pub fn worker(&self, crash_at: Option<&str>) -> Worker {
        let url = format!("{}/{}", self.server.rsplit_once('/').unwrap().0, self.database);
        let key = format!("k1:{KEY}");
        let program = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("askpro-worker");
        let mut command = Command::new(program);
        command
            .env("ASKPRO_DATABASE_URL", url)
            .env("ASKPRO_REDIS_URL", variable("TEST_REDIS_URL"))
            .env("ASKPRO_QUEUE", &self.queue)
            .env("ASKPRO_CALCOM_URL", &self.sandbox.url)
            .env("ASKPRO_CALCOM_ALLOW_INSECURE", "true")
            .env("ASKPRO_CALCOM_TIMEOUT_MS", CALCOM_TIMEOUT.as_millis().to_string())
            .env("ASKPRO_LEASE_MS", LEASE.as_millis().to_string())
            .env("ASKPRO_RENEWAL_MS", "500")
            .env("ASKPRO_WORKER_LOCK_WAIT_MS", "1000")
            .env("ASKPRO_QUARANTINE_MS", QUARANTINE.as_millis().to_string())
            .env("ASKPRO_METRICS_LISTEN", "127.0.0.1:0")
            .env("ASKPRO_SEALING_KEYS", &key)
            .env("ASKPRO_MARKER_KEYS", &key)
            .env("ASKPRO_LOG", "warn")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(point) = crash_at {
            command.env("CRASH_AT", point);
        }
        Worker(command.spawn().expect("askpro-worker is built beside the tests: `./dev test` does it"))
    }

    /// Accepts the n-th half hour of the day after tomorrow for the n-th customer.
    pub async fn book(&self, n: u32) -> AppointmentId {
        let phone = Phone::parse(&format!("+4915112{n:06}"), phonenumber::country::Id::DE).unwrap();
        let command = BookingCommand {
            company_id: self.company.company_id,
            branch_id: 1,
            service_id: 1,
            staff_id: Some(1),
            starts_at: self.morning().await + TimeDelta::minutes(30 * i64::from(n)),
            who: Identity::Phone(phone.clone()),
            facts: CustomerFacts {
                name: format!("Jörg Müller {n}"),
                email: None,
                phone: Some(phone),
                language: "de".to_owned(),
            },
            notes: None,
            source: Source::Api,
            call: None,
            key: None,
        };
        self.store.accept_booking(&command).await.unwrap().appointment_id
    }

    pub async fn cancel(&self, id: AppointmentId) {
        let command = CancelCommand {
            company_id: self.company.company_id,
            appointment_id: id,
            if_match: None,
            who: "customer".to_owned(),
            why: None,
            call: None,
            key: None,
        };
        self.store.accept_cancel(&command).await.unwrap();
    }

    async fn morning(&self) -> DateTime<Utc> {
        let sql = "SELECT date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + interval '2 days 8 hours'";
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// Waits until every promise has come to rest: no job waits or runs, nothing is unresolved.
    pub async fn rests(&self) {
        wait_until("rest", async || {
            self.count("SELECT count(*) FROM job WHERE finished_at IS NULL").await == 0
                && self.count("SELECT count(*) FROM calcom_op WHERE resolved_at IS NULL").await == 0
        })
        .await;
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    pub async fn status(&self, id: AppointmentId) -> String {
        let sql = "SELECT status FROM appointment WHERE appointment_id = $1";
        sqlx::query_scalar(sql).bind(id.0).fetch_one(&self.pool).await.unwrap()
    }

    pub fn live(&self) -> Vec<Booking> {
        self.sandbox.bookings().into_iter().filter(|b| b.status == Status::Accepted).collect()
    }

    /// Create requests that have arrived, and creates that had their effect.
    pub fn creates(&self) -> (Vec<Entry>, usize) {
        let ledger = self.sandbox.ledger();
        let effects = ledger.iter().filter(|e| e.effect == Some(Effect::Created)).count();
        let posts = |e: &Entry| e.what == What::Arrival && e.method == "POST" && e.path == "/v2/bookings";
        (ledger.into_iter().filter(posts).collect(), effects)
    }

    /// Checks the invariants of a system at rest, then gives everything back.
    pub async fn at_rest(self) {
        self.rests().await;
        let scheduled = self.count("SELECT count(*) FROM appointment WHERE status = 'scheduled'").await;
        assert_eq!(usize::try_from(scheduled).unwrap(), self.live().len(), "scheduled appointments and live bookings");
        let orphan = "SELECT count(*) FROM segment g JOIN appointment a USING (company_id, appointment_id)
                      WHERE (a.status = 'scheduled') <> (g.calcom_uid IS NOT NULL)";
        assert_eq!(self.count(orphan).await, 0, "a segment has a booking exactly if it is scheduled");
        let gaps = "SELECT count(*) FROM (SELECT max(version) - count(*) AS gap FROM appointment_event
                    GROUP BY appointment_id) v WHERE gap <> 0";
        assert_eq!(self.count(gaps).await, 0, "versions have no gaps");
        let occupied = "SELECT count(*) FROM slot WHERE state = 'booked'";
        assert_eq!(self.count(occupied).await, scheduled, "time is kept for what is scheduled and for nothing else");
        let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        assert_eq!(self.count(deadlocks).await, 0, "deadlocks");
        self.sandbox.stop().await.unwrap();
        self.pool.close().await;
        let mut conn = PgConnection::connect(&self.server).await.unwrap();
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.database);
        sqlx::query(AssertSqlSafe(drop)).execute(&mut conn).await.unwrap();
    }
}

impl Worker {
    pub fn kill(&mut self) {
        let _gone_already = self.0.kill();
        self.0.wait().unwrap();
    }

    pub fn stop(&self) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), Signal::SIGTERM).unwrap();
    }

    /// Waits for its end; `None` = it was killed by a signal.
    pub async fn ended(&mut self) -> Option<i32> {
        let child = &mut self.0;
        wait_for("the end of a worker", async || child.try_wait().unwrap()).await.code()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Polls until there is an answer.
pub async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn wait_until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    wait_for(what, async || is_so().await.then_some(())).await;
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: `./dev test` starts the servers and sets it"))
}

fn settings(url: &str) -> StoreSettings {
    StoreSettings {
        database_url: SecretString::from(url),
        connections: 20,
        lock_wait: Duration::from_secs(2),
        statement_timeout: Duration::from_secs(10),
        lease: LEASE,
        quarantine: QUARANTINE,
        patience: Duration::from_secs(900),
        back_off_base: Duration::from_secs(1),
        back_off_max: Duration::from_secs(900),
        attempts_max: 3,
        crashes_max: 3,
        granularity_minutes: 15,
        sealing_keys: vec![("k1".to_owned(), SecretString::from(KEY))],
    }
}

fn salon() -> CompanySpec {
    let time = |h| NaiveTime::from_hms_opt(h, 0, 0).unwrap();
    CompanySpec {
        slug: "salon".to_owned(),
        name: "Salon Morgenrot".to_owned(),
        time_zone: chrono_tz::Europe::Berlin,
        language: "de".to_owned(),
        branches: vec![BranchSpec {
            id: 1,
            name: "Kreuzberg".to_owned(),
            time_zone: chrono_tz::UTC,
            phones: vec![],
            hours: (1..=7).map(|weekday| Opening { weekday, opens: time(8), closes: time(20) }).collect(),
        }],
        staff: vec![StaffSpec { id: 1, branch_id: 1, name: "Anna Berg".to_owned(), calcom_user_id: 1 }],
        services: vec![ServiceSpec {
            id: 1,
            name: "Herrenhaarschnitt".to_owned(),
            aliases: vec![],
            duration_minutes: 30,
            minimum_notice_minutes: 15,
        }],
        event_types: vec![EventTypeSpec { id: 101, branch_id: 1, service_id: 1, staff_id: 1 }],
    }
}

fn event_types() -> Vec<EventType> {
    let host = Host {
        id: 1,
        name: "Anna Berg".to_owned(),
        email: "anna@salon.test".to_owned(),
        username: "anna".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
    };
    let (id, slug) = (101, "herrenhaarschnitt".to_owned());
    vec![EventType { id, slug, title: None, length_minutes: 30, host, requires_confirmation: false }]
}
