//! What a sandbox is told before it starts. No file or environment is read here; the binary does that.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

use crate::fault::{DELAY_MAX_MS, Faults};
use crate::limiter::RateLimit;
use crate::webhook::{Subscription, WebhookPlan};

/// How the sandbox behaves. `Config::default()` is the stubborn server on a free port of 127.0.0.1, without event
/// types, latency, faults, limiter, webhooks or a key.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Wait between the arrival of a mutating request and its effect.
    pub latency_before: Duration,
    /// Wait between the effect of a mutating request and its reply.
    pub latency_after: Duration,
    /// What can be booked from the start.
    pub event_types: Vec<EventType>,
    /// The only API key accepted; any other is answered 401. `None` accepts every key.
    pub api_key: Option<String>,
    /// Cal.com's unique key of an ACCEPTED booking (host, start, end): an identical one is answered 409. Freed by a
    /// cancellation. The real server answers 409 or, if its availability check already saw the other booking, 400;
    /// the sandbox always answers 409 to an identical booking.
    pub natural_key: bool,
    /// What happens to a booking that overlaps another ACCEPTED one of the same host without being identical.
    pub overlap: Overlap,
    /// Where the time comes from.
    pub clock: Clock,
    /// How far reads (of one booking and of lists) lag behind the changes; they are made on a replica.
    pub replica_lag: Duration,
    /// The faults to play from the start.
    pub faults: Faults,
    /// What one API key is granted; `None` switches the limiter off.
    pub rate_limit: Option<RateLimit>,
    /// Who is told of changes from the start.
    pub webhooks: Vec<Subscription>,
    /// How those deliveries are disturbed.
    pub webhook_plan: WebhookPlan,
    /// Seed of the random uids, and of faults and webhooks unless their plan has its own; `None` takes one from the
    /// operating system.
    pub seed: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            latency_before: Duration::ZERO,
            latency_after: Duration::ZERO,
            event_types: Vec::new(),
            api_key: None,
            natural_key: true,
            overlap: Overlap::Strict,
            clock: Clock::wall(),
            replica_lag: Duration::ZERO,
            faults: Faults::default(),
            rate_limit: None,
            webhooks: Vec::new(),
            webhook_plan: WebhookPlan::default(),
            seed: None,
        }
    }
}

/// The availability check of a host. In JSON and on the command line: `strict`, `off`, or `toctou(MS)` with the window
/// in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Overlap {
    /// Made in the same instant as the insert. An overlapping booking is answered 400 "User either already has booking
    /// at this time or is not available".
    Strict,
    /// Made so long before the insert, as by the real server: whatever comes in between overlaps unseen, and only
    /// identical bookings are still caught by the unique key. An identical one that the check sees is answered 400.
    Toctou(Duration),
    /// Not made: overlapping bookings are accepted. The hole of the real server, held open.
    Off,
}

impl FromStr for Overlap {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let window = text.strip_prefix("toctou(").and_then(|rest| rest.strip_suffix(')'));
        match (text, window.map(str::parse)) {
            ("strict", _) => Ok(Self::Strict),
            ("off", _) => Ok(Self::Off),
            (_, Some(Ok(ms @ 0..=DELAY_MAX_MS))) => Ok(Self::Toctou(Duration::from_millis(ms))),
            _ => anyhow::bail!("{text:?} is not strict, off or toctou(MS) with at most {DELAY_MAX_MS} ms"),
        }
    }
}

impl TryFrom<String> for Overlap {
    type Error = anyhow::Error;

    fn try_from(text: String) -> anyhow::Result<Self> {
        text.parse()
    }
}

impl From<Overlap> for String {
    fn from(overlap: Overlap) -> Self {
        match overlap {
            Overlap::Strict => "strict".to_owned(),
            Overlap::Toctou(window) => format!("toctou({})", window.as_millis()),
            Overlap::Off => "off".to_owned(),
        }
    }
}

/// What keeps bookings from one another: see the fields of [`Config`] of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Whether identical ACCEPTED bookings of one host are refused.
    pub natural_key: bool,
    /// What happens to overlapping ones.
    pub overlap: Overlap,
}

/// Something bookable: a length and a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventType {
    /// Cal.com's number of it.
    pub id: i64,
    /// Its name in URLs.
    pub slug: String,
    /// Its name in titles; the slug if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Length of a booking in minutes, at least 1.
    pub length_minutes: u32,
    /// Who is booked. Two event types with the same `host.id` exclude each other.
    pub host: Host,
    /// Whether bookings wait for the host (status `pending`). Pending ones exclude nobody.
    #[serde(default)]
    pub requires_confirmation: bool,
}

impl EventType {
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.length_minutes > 0, "event type {}: length_minutes must be at least 1", self.id);
        anyhow::ensure!(!self.slug.is_empty(), "event type {}: slug must not be empty", self.id);
        Ok(())
    }
}

/// A Cal.com user who hosts bookings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Cal.com's number of the user: bookings of one id exclude each other.
    pub id: i64,
    /// Display name.
    pub name: String,
    /// E-mail address.
    pub email: String,
    /// Name in URLs.
    pub username: String,
    /// IANA time zone.
    pub time_zone: String,
}

/// Where the sandbox gets its time from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[expect(
        clippy::disallowed_methods,
        reason = "the sandbox stands for another company's server: its clock is its own"
    )]
    pub fn wall() -> Self {
        Self(Arc::new(Utc::now))
    }

    /// A clock of the caller's, for tests that stand at a fixed moment.
    pub fn new(now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present moment, whole microseconds.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        (self.0)().trunc_subsecs(6)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
