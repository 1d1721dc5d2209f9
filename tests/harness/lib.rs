//! A whole system for one test: a database and a queue of its own, a sandbox Cal.com in this process, and API and
//! workers as processes that can be killed. A test ends with `World::at_rest`, which checks the invariants.
//!
//! `TEST_DATABASE_URL` and `TEST_REDIS_URL` name the servers; `./dev test` starts them. Deliberately absent: waiting for
//! time; whoever waits names what for.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod calcom;
mod calls;
mod line;
mod policy;
mod process;
mod proxy;
mod salon;
mod servers;
mod wire;

pub use calcom::{Change, WEBHOOK_SECRET, made_up_webhook, webhook_signature};
pub use calls::CALL_EVENTS;
pub use line::{Host, Line};
pub use policy::{Decided, flat, policy};
pub use process::{Answer, Api, Process, retell_signature};
pub use proxy::{Commit, Proxy, Stop, Stopped};
pub use salon::{BRANCH_PHONE, WISHES_A_DAY, event_type_id};
pub use servers::{Postgres, Redis};
pub use wire::{Traffic, Wire};

use chrono::{DateTime, TimeDelta, Utc};
use domain::id::AppointmentId;
use domain::phone::{Identity, Phone};
use process::RETELL_KEY;
use queue::{Doorbell, QueueSettings};
use sandbox::{Booking, Config, Effect, Entry, EventType, Sandbox, Status, What};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use std::process::Stdio;
use std::time::{Duration, Instant};
use store::{
    BookingCommand, CancelCommand, Company, CustomerFacts, Scope, SecretKind, Source, Store, StoreSettings, Who,
};
use uuid::Uuid;

/// Nobody waits longer for anything; far above what a noisy machine needs.
const PATIENCE: Duration = Duration::from_secs(120);
/// 32 bytes, base64.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
/// Times of the tests, as short as their order allows.
pub const CALCOM_TIMEOUT: Duration = Duration::from_secs(1);
pub const LEASE: Duration = Duration::from_secs(2);
pub const QUARANTINE: Duration = Duration::from_secs(3);
/// Of one key: a run that books more than a small salon in a minute raises the budget. Who tests the budget sets his own.
const REQUESTS_PER_MINUTE: u32 = 1_000_000;

/// What a world is made of.
pub struct Setup {
    /// All of them do the one service.
    pub staff: i32,
    /// URL of the server, with some database.
    pub postgres: String,
    pub redis: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self { staff: 1, postgres: variable("TEST_DATABASE_URL"), redis: variable("TEST_REDIS_URL") }
    }
}

pub struct World {
    pub store: Store,
    pub pool: PgPool,
    pub sandbox: Sandbox,
    pub company: Company,
    setup: Setup,
    database: String,
    queue: String,
}

impl World {
    pub async fn new() -> Self {
        Self::of(Setup::default()).await
    }

    pub async fn of(setup: Setup) -> Self {
        let name = Uuid::now_v7().simple().to_string();
        let database = format!("whole_{name}");
        let mut conn = PgConnection::connect(&setup.postgres).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {database}"))).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        let url = database_url(&setup.postgres, &database);
        let store = Store::connect(settings(&url)).unwrap();
        store.migrate().await.unwrap();
        let company = open(&store, setup.staff).await;
        let sandbox = start_sandbox(setup.staff).await;
        let pool = PgPool::connect(&url).await.unwrap();
        Self { store, pool, sandbox, company, setup, database, queue: format!("q{name}") }
    }

    pub fn database_url(&self) -> String {
        database_url(&self.setup.postgres, &self.database)
    }

    /// The record once more, with connections of its own to this URL of its database.
    pub fn store_through(&self, url: &str) -> Store {
        Store::connect(settings(url)).unwrap()
    }

    /// A worker that dies at `crash_at` (`claimed#1`), if one is given.
    pub fn worker(&self, crash_at: Option<&str>) -> Process {
        let crash: Vec<_> = crash_at.map(|point| ("CRASH_AT", point.to_owned())).into_iter().collect();
        self.worker_with(&crash)
    }

    /// A worker with some variables of its own.
    pub fn worker_with(&self, variables: &[(&str, String)]) -> Process {
        self.worker_telling(variables, Stdio::null())
    }

    /// As `worker_with`; its log goes there.
    pub fn worker_telling(&self, variables: &[(&str, String)], log: impl Into<Stdio>) -> Process {
        Process::start("askpro-worker", &[&self.environment(), variables].concat(), log.into())
    }

    /// The API, with some variables of its own.
    pub async fn api_with(&self, variables: &[(&str, String)]) -> Api {
        let ours = [("ASKPRO_LISTEN", "127.0.0.1:0".to_owned()), ("ASKPRO_LOG", "warn,api=info".to_owned())];
        let key = self.store.create_api_key(self.company.company_id, &Scope::ALL).await.unwrap();
        Api::start(&[&self.environment(), &ours[..], variables].concat(), key.expose_secret().to_owned())
    }

    /// What the operator's command line says about this world's company.
    pub fn askpro(&self, arguments: &[&str]) -> String {
        process::says("askpro", &self.environment(), &[&["--company", "salon"], arguments].concat())
    }

    /// How it ends, and what it says, however that is.
    pub fn askpro_ends(&self, arguments: &[&str]) -> (i32, String) {
        process::ends("askpro", &self.environment(), &[&["--company", "salon"], arguments].concat())
    }

    /// How it ends badly, and what it says then.
    pub fn askpro_fails(&self, arguments: &[&str]) -> (i32, String) {
        process::fails("askpro", &self.environment(), &[&["--company", "salon"], arguments].concat())
    }

    /// What the API and the workers of this world ring with.
    pub fn doorbell(&self) -> Doorbell {
        let settings = QueueSettings {
            redis_url: self.setup.redis.clone(),
            queue: self.queue.clone(),
            slots: 1,
            heartbeat: Duration::from_secs(5),
            missed_heartbeats: 3,
            poll: Duration::from_millis(250),
            out_max: 1_000,
        };
        Doorbell::new(&settings).unwrap()
    }

    pub async fn api(&self) -> Api {
        self.api_with(&[]).await
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let milliseconds = |d: Duration| d.as_millis().to_string();
        let key = format!("k1:{KEY}");
        vec![
            ("ASKPRO_DATABASE_URL", self.database_url()),
            ("ASKPRO_REDIS_URL", self.setup.redis.clone()),
            ("ASKPRO_QUEUE", self.queue.clone()),
            ("ASKPRO_CALCOM_URL", self.sandbox.url.clone()),
            ("ASKPRO_CALCOM_ALLOW_INSECURE", "true".to_owned()),
            ("ASKPRO_CALCOM_TIMEOUT_MS", milliseconds(CALCOM_TIMEOUT)),
            ("ASKPRO_CALCOM_REQUESTS_PER_MINUTE", REQUESTS_PER_MINUTE.to_string()),
            ("ASKPRO_LEASE_MS", milliseconds(LEASE)),
            ("ASKPRO_RENEWAL_MS", "500".to_owned()),
            ("ASKPRO_WORKER_LOCK_WAIT_MS", "1000".to_owned()),
            ("ASKPRO_QUARANTINE_MS", milliseconds(QUARANTINE)),
            ("ASKPRO_METRICS_LISTEN", "127.0.0.1:0".to_owned()),
            ("ASKPRO_SEALING_KEYS", key.clone()),
            ("ASKPRO_MARKER_KEYS", key),
            ("ASKPRO_LOG", "warn".to_owned()),
        ]
    }

    /// The n-th wish, each of a time and a customer of its own: staff in turn, then half hour after half hour, from
    /// the day after tomorrow on.
    pub async fn wish(&self, n: u32) -> BookingCommand {
        let phone = Phone::parse(&format!("+4915112{n:06}"), phonenumber::country::Id::DE).unwrap();
        let staff = u32::try_from(self.setup.staff).unwrap();
        let (staff_id, nth) = (n % staff + 1, n / staff);
        let minutes = nth / WISHES_A_DAY * 24 * 60 + nth % WISHES_A_DAY * 30;
        BookingCommand {
            company_id: self.company.company_id,
            branch_id: 1,
            service_id: 1,
            staff_id: Some(i32::try_from(staff_id).unwrap()),
            starts_at: self.morning().await + TimeDelta::minutes(minutes.into()),
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
            hold: None,
            or_else: vec![],
        }
    }

    /// The n-th wish as a program writes it to `POST /v1/appointments`.
    pub async fn written(&self, n: u32) -> Value {
        let wish = self.wish(n).await;
        let customer = json!({"name": wish.facts.name, "phone": wish.facts.phone.unwrap().as_e164()});
        json!({"branch_id": wish.branch_id, "service_id": wish.service_id, "staff_id": wish.staff_id,
               "starts_at": wish.starts_at, "customer": customer})
    }

    /// Accepts the n-th wish.
    pub async fn book(&self, n: u32) -> AppointmentId {
        self.store.accept_booking(&self.wish(n).await).await.unwrap().appointment_id
    }

    pub async fn cancel(&self, id: AppointmentId) {
        let command = CancelCommand {
            company_id: self.company.company_id,
            appointment_id: id,
            if_match: None,
            who: Who::Customer,
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

    pub async fn sql(&self, sql: &'static str) {
        sqlx::query(sql).execute(&self.pool).await.unwrap();
    }

    pub async fn status(&self, id: AppointmentId) -> String {
        let sql = "SELECT status FROM appointment WHERE appointment_id = $1";
        sqlx::query_scalar(sql).bind(id.0).fetch_one(&self.pool).await.unwrap()
    }

    /// From now on the business has to confirm each booking at Cal.com.
    pub fn let_the_business_confirm(&self) {
        let event_types = salon::event_types(self.setup.staff);
        let event_types = event_types.into_iter().map(|e| EventType { requires_confirmation: true, ..e }).collect();
        self.sandbox.set_event_types(event_types).unwrap();
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

    /// Changes of a promise that no later op and no decision "nothing to do" is based on: after each there must be one. A
    /// reading that has found something new decides, too.
    pub async fn changes_not_acted_on(&self) -> i64 {
        self.count(
            "SELECT count(*) FROM appointment_event e WHERE NOT EXISTS (
               SELECT FROM calcom_op o WHERE o.appointment_id = e.appointment_id AND o.appointment_version >= e.version)
             AND NOT EXISTS (
               SELECT FROM job j WHERE j.appointment_id = e.appointment_id AND j.kind IN ('booking', 'sync')
                 AND j.state IN ('completed', 'superseded') AND j.found_version >= e.version)
             AND NOT EXISTS (
               SELECT FROM job j WHERE j.appointment_id = e.appointment_id AND j.kind = 'calcom_event'
                 AND j.state = 'completed' AND j.outcome <> 'nothing_new' AND j.found_version >= e.version)",
        )
        .await
    }

    /// Checks the invariants of a system at rest, then gives everything back.
    pub async fn at_rest(self) {
        self.at_rest_beside(0).await;
    }

    /// As `at_rest`, where the business has made so many bookings of its own.
    pub async fn at_rest_beside(self, others: usize) {
        self.rests().await;
        let scheduled = self.count("SELECT count(*) FROM appointment WHERE status = 'scheduled'").await;
        let live = self.live().len() - others;
        assert_eq!(usize::try_from(scheduled).unwrap(), live, "scheduled appointments and live bookings");
        let orphan = "SELECT count(*) FROM segment g JOIN appointment a USING (company_id, appointment_id)
                      WHERE (a.status = 'scheduled') <> (g.calcom_uid IS NOT NULL)";
        assert_eq!(self.count(orphan).await, 0, "a segment has a booking exactly if it is scheduled");
        let gaps = "SELECT count(*) FROM (SELECT max(version) - count(*) AS gap FROM appointment_event
                    GROUP BY appointment_id) v WHERE gap <> 0";
        assert_eq!(self.count(gaps).await, 0, "versions have no gaps");
        assert_eq!(self.changes_not_acted_on().await, 0, "every change of a promise was acted on");
        let occupied = "SELECT count(*) FROM slot WHERE state = 'booked'";
        assert_eq!(self.count(occupied).await, scheduled, "time is kept for what is scheduled and for nothing else");
        let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        assert_eq!(self.count(deadlocks).await, 0, "deadlocks");
        self.gone().await;
    }

    /// As on its first day, without the price of another database: another company, another Cal.com, another queue, and
    /// nothing that was before. No process of it may be left.
    pub async fn begin_anew(&mut self) {
        let busy = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state NOT LIKE 'idle'";
        wait_until("the end of what was killed", async || self.count(busy).await == 0).await;
        self.sql(
            "DO $$ DECLARE t text; BEGIN
               PERFORM set_config('session_replication_role', 'replica', true); -- in any order
               FOR t IN SELECT format('%I', tablename) FROM pg_tables
                        WHERE schemaname = 'public' AND tablename <> '_sqlx_migrations' LOOP
                 EXECUTE 'DELETE FROM ' || t;
               END LOOP; END $$",
        )
        .await;
        self.company = open(&self.store, self.setup.staff).await;
        let before = std::mem::replace(&mut self.sandbox, start_sandbox(self.setup.staff).await);
        before.stop().await.unwrap();
        self.queue = format!("q{}", Uuid::now_v7().simple());
    }

    /// Gives everything back and checks nothing: for a test that has broken its world on purpose.
    pub async fn gone(self) {
        self.sandbox.stop().await.unwrap();
        self.pool.close().await;
        let mut conn = PgConnection::connect(&self.setup.postgres).await.unwrap();
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.database);
        sqlx::query(AssertSqlSafe(drop)).execute(&mut conn).await.unwrap();
    }
}

/// The salon, with its secrets.
async fn open(store: &Store, staff: i32) -> Company {
    let company = store.load_company(&salon::salon(staff)).await.unwrap();
    for (kind, secret) in [(SecretKind::Calcom, "cal_test"), (SecretKind::Retell, RETELL_KEY)] {
        store.set_secret(company.company_id, kind, &SecretString::from(secret)).await.unwrap();
    }
    company
}

async fn start_sandbox(staff: i32) -> Sandbox {
    let config = Config { event_types: salon::event_types(staff), ..Config::default() };
    sandbox::start(config).await.unwrap()
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

fn database_url(server: &str, database: &str) -> String {
    format!("{}/{database}", server.rsplit_once('/').unwrap().0)
}

fn settings(url: &str) -> StoreSettings {
    StoreSettings {
        database_url: SecretString::from(url),
        connections: 20,
        lock_wait: Duration::from_secs(2),
        statement_timeout: Duration::from_secs(10),
        lease: LEASE,
        calcom_timeout: CALCOM_TIMEOUT,
        calcom_requests_per_minute: REQUESTS_PER_MINUTE,
        quarantine: QUARANTINE,
        patience: Duration::from_secs(900),
        back_off_base: Duration::from_secs(1),
        back_off_max: Duration::from_secs(900),
        attempts_max: 3,
        crashes_max: 3,
        granularity_minutes: 15,
        sealing_keys: vec![("k1".to_owned(), SecretString::from(KEY))],
        hold_ttl: Duration::from_secs(120),
        holds_per_caller: 3,
        holds_per_api_key: 100,
    }
}
