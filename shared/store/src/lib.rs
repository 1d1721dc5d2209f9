//! The record: the only crate with SQL. Each public function is one transaction, or reads one snapshot.
//!
//! Deliberately absent: transactions and connections in the public API, HTTP, Cal.com, Redis, and every decision that
//! needs no database: those are in `domain`. Time is the database's clock.

mod accept;
mod agenda;
mod alternatives;
mod api_key;
mod attach;
mod calcom_key;
mod call;
mod call_event;
mod callback;
mod caller;
mod cancel;
mod catalog;
mod claim;
mod claimed;
mod command;
mod convert;
mod customer;
mod diary;
mod drift;
mod due;
mod enqueue;
mod error;
mod event;
mod external;
mod fee;
mod forward;
mod gauges;
mod hold;
mod inbox;
mod inspect;
mod ledger;
mod observed;
mod op;
mod op_list;
mod operator;
mod overtaken;
mod place;
mod policy;
mod policy_content;
mod profile;
mod promise;
mod release;
mod request;
mod reschedule;
mod review;
mod said;
mod scene;
mod secret;
mod settle;
mod sweep;
mod sync;
mod timeline;
mod upsert;
mod vault;

pub use agenda::{Agenda, Own, Stretch};
pub use alternatives::{Found, Sake, Sought};
pub use api_key::{Principal, Scope};
pub use calcom_key::{Fingerprint, KeyStanding, Question, Replies, Reply};
pub use call::OngoingCall;
pub use call_event::{CallNotice, Heard};
pub use callback::{Assigned, CallbackWish, CalledBack, Requested};
pub use caller::KnownCaller;
pub use cancel::CancelCommand;
pub use catalog::{
    Branch, BranchSpec, Catalog, Company, CompanySpec, EventTypeSpec, Service, ServiceSpec, Staff, StaffSpec,
};
pub use claimed::{Attendee, Batch, Claim, Claimed, Event, Mode};
pub use command::{AcceptError, Accepted, BookingCommand, Candidate, CustomerFacts, How, Source, Who};
pub use convert::HoldUse;
pub use enqueue::Enqueued;
pub use error::StoreError;
pub use gauges::Gauges;
pub use hold::{Held, HoldCommand, Holder, NotHeld, TokenHash};
pub use inbox::{HintSource, Notice, Noticed};
pub use inspect::{AppointmentView, CallbackView, JobFilter, JobView, QueueView, Standing, Whose};
pub use observed::Reading;
pub use op_list::{OpFilter, OpState, OpView, Verifying};
pub use policy::{Ground, PolicyView, Published};
pub use profile::{Profile, Usual};
pub use request::{CallFacts, Replay, RequestKey};
pub use reschedule::RescheduleCommand;
pub use review::{ResolveBy, Review, ReviewCommand};
pub use secret::SecretKind;
pub use settle::Settled;
pub use sweep::{Compared, Difference, Drift, Turn};
pub use sync::SyncCommand;
pub use timeline::Told;
pub use upsert::{Customer, CustomerCommand};
pub use vault::{Removed, SecretView};

use backon::{ExponentialBuilder, Retryable};
use domain::id::JobId;
use secrecy::{ExposeSecret, SecretString};
use secret::SealingKey;
use settings::{KeyRing, Settings};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, Postgres, Transaction};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// A transaction that was rolled back for the sake of another one is tried again so often, no more.
const RETRIES_MAX: usize = 5;
/// A wait for a lock that was used up is tried once more: the caller is on the line.
const LOCK_WAITS_MAX: usize = 2;
/// A connection of the pool is waited for so long.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// A job as the doorbell carries it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct JobRef {
    /// Whose.
    pub company_id: i32,
    /// Which.
    pub job_id: JobId,
}

/// What the store must be told; nothing of it has a default here.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// `postgres://user:password@host:port/database`.
    pub database_url: SecretString,
    /// Connections of this process at most.
    pub connections: u32,
    /// A lock is waited for so long.
    pub lock_wait: Duration,
    /// A statement runs so long; a transaction idles so long.
    pub statement_timeout: Duration,
    /// A claimed job is ours so long.
    pub lease: Duration,
    /// The longest a request to Cal.com may take.
    pub calcom_timeout: Duration,
    /// Requests that all processes together make with one key of Cal.com in a minute.
    pub calcom_requests_per_minute: u32,
    /// Δ: after it nothing that was sent can still arrive at Cal.com.
    pub quarantine: Duration,
    /// So long an op of unknown outcome is looked for.
    pub patience: Duration,
    /// First back-off.
    pub back_off_base: Duration,
    /// Longest back-off.
    pub back_off_max: Duration,
    /// A job with so many attempts is parked.
    pub attempts_max: i16,
    /// A job whose workers died so often is parked.
    pub crashes_max: i16,
    /// Grid of offered starts, minutes from local midnight.
    pub granularity_minutes: u16,
    /// Key id and base64 of 32 bytes; the first seals, all open.
    pub sealing_keys: Vec<(String, SecretString)>,
    /// A hold keeps its time so long.
    pub hold_ttl: Duration,
    /// A caller may hold so many times at once.
    pub holds_per_caller: u32,
    /// A program may hold so many times at once with one API key.
    pub holds_per_api_key: u32,
}

impl StoreSettings {
    /// What a process with these settings needs; `lock_wait` and `connections` differ by what it is. A process that
    /// seals or opens secrets asks for the sealing keys first.
    ///
    /// # Errors
    /// `Broken`: a number is too large for its column.
    pub fn read(settings: &Settings, lock_wait: Duration, connections: u32) -> Result<Self, StoreError> {
        let small = |number: u32, what| i16::try_from(number).map_err(|_| StoreError::Broken { what });
        Ok(Self {
            database_url: SecretString::from(settings.database_url.as_str()),
            connections,
            lock_wait,
            statement_timeout: Duration::from_millis(settings.statement_timeout_ms),
            lease: Duration::from_millis(settings.lease_ms),
            calcom_timeout: Duration::from_millis(settings.calcom_timeout_ms),
            calcom_requests_per_minute: settings.calcom_requests_per_minute,
            quarantine: Duration::from_millis(settings.quarantine_ms),
            patience: Duration::from_millis(settings.patience_ms),
            back_off_base: Duration::from_millis(settings.backoff_base_ms),
            back_off_max: Duration::from_millis(settings.backoff_max_ms),
            attempts_max: small(settings.attempts_max, "attempts_max is too large: at most 32767")?,
            crashes_max: small(settings.crashes_max, "crashes_max is too large: at most 32767")?,
            granularity_minutes: u16::try_from(settings.slot_granularity_minutes)
                .map_err(|_| StoreError::Broken { what: "slot_granularity_minutes is too large: at most 65535" })?,
            sealing_keys: settings.sealing_keys.as_ref().map(KeyRing::pairs).unwrap_or_default(),
            hold_ttl: Duration::from_secs(settings.hold_ttl_seconds),
            holds_per_caller: settings.holds_per_caller,
            holds_per_api_key: settings.holds_per_api_key,
        })
    }
}

/// The record. Cheap to clone: all clones share one pool.
#[derive(Clone)]
pub struct Store {
    pool: PgPool,
    connect: PgConnectOptions,
    settings: StoreSettings,
    sealing_keys: Vec<SealingKey>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Store {
    /// Makes the pool, inside a tokio runtime; connects only when it is first used.
    ///
    /// # Errors
    /// `Broken`: the URL or a sealing key cannot be read.
    pub fn connect(settings: StoreSettings) -> Result<Self, StoreError> {
        let connect = PgConnectOptions::from_str(settings.database_url.expose_secret())
            .map_err(|_| StoreError::Broken { what: "the database's URL cannot be read" })?;
        let sealing_keys = settings.sealing_keys.iter().map(SealingKey::read).collect::<Result<_, _>>()?;
        let milliseconds = |d: Duration| format!("{}ms", d.as_millis().max(1));
        let (lock, statement) = (milliseconds(settings.lock_wait), milliseconds(settings.statement_timeout));
        let pool = PgPoolOptions::new()
            .max_connections(settings.connections.max(1))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(move |conn, _| {
                let (lock, statement) = (lock.clone(), statement.clone());
                Box::pin(async move {
                    // jit: one mis-costed subquery compiled for 54 ms to run 0.7 ms.
                    sqlx::query(
                        "SELECT set_config('lock_timeout', $1, false), set_config('statement_timeout', $2, false),
                                set_config('idle_in_transaction_session_timeout', $2, false),
                                set_config('jit', 'off', false), set_config('TimeZone', 'UTC', false)",
                    )
                    .bind(lock)
                    .bind(statement)
                    .execute(conn)
                    .await?;
                    Ok(())
                })
            })
            .connect_lazy_with(connect.clone());
        Ok(Self { pool, connect, settings, sealing_keys })
    }

    /// Brings the schema up to date, on a connection without time limits; a second process waits for the first.
    ///
    /// # Errors
    /// Postgres is away, or a migration fails.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut conn = PgConnection::connect_with(&self.connect).await?;
        MIGRATIONS.run(&mut conn).await.map_err(|e| StoreError::from(sqlx::Error::from(e)))?;
        conn.close().await?;
        Ok(())
    }

    /// Does Postgres answer?
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Tries a whole transaction again when the database gave it up for another one's sake (deadlock, serialisation,
    /// lock wait): bounded, with jitter, counted.
    pub(crate) async fn retrying<T, F, Fut>(&self, what: &'static str, transaction: F) -> Result<T, StoreError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, StoreError>>,
    {
        let mut lock_waits = 0;
        transaction
            .retry(
                ExponentialBuilder::new()
                    .with_min_delay(Duration::from_millis(5))
                    .with_max_delay(Duration::from_millis(200))
                    .with_max_times(RETRIES_MAX)
                    .with_jitter(),
            )
            .when(|error| {
                lock_waits += usize::from(matches!(error, StoreError::LockWait));
                error.passes() && lock_waits < LOCK_WAITS_MAX
            })
            .notify(|error: &StoreError, _| {
                metrics::counter!("askpro_database_retries_total", "code" => error.code()).increment(1);
                tracing::debug!(what, code = error.code(), "transaction is tried again");
            })
            .await
    }

    /// Commits. When the reply to COMMIT is lost, asks what became of it: never "error, so blindly again".
    /// `xid` is what `pg_current_xact_id()` said inside.
    pub(crate) async fn commit(&self, tx: Transaction<'static, Postgres>, xid: &str) -> Result<(), StoreError> {
        let Err(lost) = tx.commit().await else { return Ok(()) };
        for _ in 0..3 {
            let became =
                sqlx::query_scalar!("SELECT pg_xact_status($1::text::xid8)", xid).fetch_one(&self.pool).await?;
            match became.as_deref() {
                Some("committed") => return Ok(()),
                Some("in progress") => tokio::time::sleep(Duration::from_millis(100)).await,
                Some(_) | None => break,
            }
        }
        Err(lost.into())
    }
}
