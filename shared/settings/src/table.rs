//! The one documented table of settings: key, type, default, meaning. A new setting is one entry here.
//!
//! Deliberately absent: how they are read (`layers`) and which of them contradict each other (`check`).

use std::net::SocketAddr;

use crate::keys::KeyRing;

/// How a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As it is.
    Plain,
    /// A URL, whose password is never shown.
    Url,
    /// Never; only whether it is set.
    Secret,
}

/// One row of the table of settings.
#[derive(Debug, Clone, Copy)]
pub struct Documented {
    /// The key as a file writes it; the variable is `ASKPRO_` and this in capitals.
    pub key: &'static str,
    /// The default as a file would write it without quotes; `None` is "not set".
    pub default: Option<&'static str>,
    /// What it means, with its unit.
    pub meaning: &'static str,
    pub(crate) shape: Shape,
}

macro_rules! settings {
    ($($(#[doc = $meaning:literal])+ $key:ident: $type:ty = $default:expr, $shape:ident;)+) => {
        /// Every setting, read and checked. Past [`Settings::load`] no value needs a second look. Its `Debug` prints no
        /// value; [`crate::Shown`] does.
        #[derive(Clone, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            $($(#[doc = $meaning])+ pub $key: $type,)+
        }

        impl Settings {
            /// The table itself, in the order in which it is shown.
            pub const TABLE: &'static [Documented] = &[$(Documented {
                key: stringify!($key),
                default: $default,
                meaning: concat!($($meaning),+),
                shape: Shape::$shape,
            },)+];
        }
    };
}

settings! {
    /// PostgreSQL, the record: `postgres://user:password@host:port/database`.
    database_url: String = Some("postgres://127.0.0.1:5432/askpro"), Url;
    /// Connections to PostgreSQL that one process opens at most.
    database_connections: u32 = Some("20"), Plain;
    /// A statement of ours is cancelled by PostgreSQL after this many milliseconds.
    statement_timeout_ms: u64 = Some("15000"), Plain;
    /// Redis, the doorbell: `redis://` or, with TLS, `rediss://`. All of it may be lost at any time.
    redis_url: String = Some("redis://127.0.0.1:6379"), Url;
    /// The name under which the queue's keys live in Redis; processes with the same name share their work.
    queue: String = Some("askpro"), Plain;
    /// Cal.com's API v2, without a slash at its end.
    calcom_url: String = Some("https://api.cal.com/v2"), Url;
    /// Allows `calcom_url` to be `http://`: for a sandbox, never for the real Cal.com.
    calcom_allow_insecure: bool = Some("false"), Plain;
    /// The `cal-api-version` that is sent to the bookings endpoints.
    calcom_bookings_version: String = Some("2024-08-13"), Plain;
    /// The `cal-api-version` that is sent to the slots endpoint.
    calcom_slots_version: String = Some("2024-09-04"), Plain;
    /// A call to Cal.com is given up after this many milliseconds; what it did is then unknown.
    calcom_timeout_ms: u64 = Some("8000"), Plain;
    /// Requests a minute that the whole fleet makes with one key of Cal.com; a tenth of them is kept for finding out what
    /// became of earlier ones. Cal.com allows 120, and locks out whoever asks for more again and again.
    calcom_requests_per_minute: u32 = Some("120"), Plain;
    /// Δ: for this many milliseconds after a call whose outcome is unknown nothing is sent to Cal.com a second time.
    quarantine_ms: u64 = Some("90000"), Plain;
    /// For this many milliseconds after Δ a disagreement is retried; then it is put before a person.
    patience_ms: u64 = Some("900000"), Plain;
    /// Changes that others make at Cal.com are looked for every so many milliseconds, for each company.
    sweep_ms: u64 = Some("30000"), Plain;
    /// All bookings to come are compared with Cal.com's every so many milliseconds, for each company.
    audit_ms: u64 = Some("60000"), Plain;
    /// The address at which the API listens.
    listen: SocketAddr = Some("127.0.0.1:8080"), Plain;
    /// The address at which a worker serves `/metrics`, `/healthz` and `/readyz`.
    metrics_listen: SocketAddr = Some("127.0.0.1:9090"), Plain;
    /// Jobs that one worker process has in flight at most.
    slots: usize = Some("50"), Plain;
    /// A claim is worth this many milliseconds; then another worker may take the job.
    lease_ms: u64 = Some("10000"), Plain;
    /// A working job renews its lease every so many milliseconds.
    renewal_ms: u64 = Some("3000"), Plain;
    /// A stopping worker finishes what it has for this many milliseconds, then hands the rest back.
    drain_ms: u64 = Some("12000"), Plain;
    /// Redis gives the ids of a worker that has been silent for this many milliseconds to another one.
    orphan_ms: u64 = Some("15000"), Plain;
    /// The first pause before a retry, in milliseconds; each further one is five times as long (full jitter).
    backoff_base_ms: u64 = Some("1000"), Plain;
    /// The longest pause before a retry, in milliseconds.
    backoff_max_ms: u64 = Some("900000"), Plain;
    /// A job whose attempts failed this often is parked.
    attempts_max: u32 = Some("3"), Plain;
    /// A job that took its worker with it this often is parked.
    crashes_max: u32 = Some("3"), Plain;
    /// The voice agent waits this many milliseconds for Cal.com before it says "noted" instead of "booked".
    voice_wait_ms: u64 = Some("4000"), Plain;
    /// The API waits this many milliseconds for a row lock.
    api_lock_wait_ms: u64 = Some("2000"), Plain;
    /// A worker waits this many milliseconds for a row lock: less than a lease, or nothing of it is left to act in.
    worker_lock_wait_ms: u64 = Some("2000"), Plain;
    /// A held slot is free again after this many seconds.
    hold_ttl_seconds: u64 = Some("120"), Plain;
    /// Slots that one caller (his number, or his call if it is withheld) may hold at once.
    holds_per_caller: u32 = Some("3"), Plain;
    /// Slots that a program may hold at once with one API key: all the people behind it together.
    holds_per_api_key: u32 = Some("100"), Plain;
    /// The grid of offered starts, in minutes.
    slot_granularity_minutes: u32 = Some("15"), Plain;
    /// What Cal.com says is free is believed for this many milliseconds, by the whole fleet; then it is asked again.
    availability_ttl_ms: u64 = Some("30000"), Plain;
    /// Whoever asks what is free waits this many milliseconds for Cal.com; then the answer comes from the record alone.
    availability_wait_ms: u64 = Some("2500"), Plain;
    /// The domain of the address that Cal.com gets for a caller who gave none.
    attendee_domain: String = Some("anonym.invalid"), Plain;
    /// The slug of the company that the old gateway's paths (`/api/retell/…`, `/api/webhooks/retell/…`) serve, signed with
    /// that company's Retell key like all others; without it they do not exist.
    legacy_company: Option<String> = None, Plain;
    /// Keys that seal the companies' secrets: `id:base64 of 32 bytes`, separated by commas; the first one seals, all open.
    sealing_keys: Option<KeyRing> = None, Secret;
    /// Keys that sign the marker in our bookings at Cal.com: as `sealing_keys`; the first one signs, all verify.
    marker_keys: Option<KeyRing> = None, Secret;
    /// What is logged: a level, or directives as `info,store=debug`.
    log: String = Some("info"), Plain;
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").finish_non_exhaustive()
    }
}
