//! The entries in Redis: the free starts of one event type in one week, and who is asking Cal.com for them just now.
//!
//! How old an entry is, is Redis's word alone, so no two clocks are compared. An entry is numbers, and nobody's name.
//! Deliberately absent: making an entry invalid. What became busy is in the record; what became free shows a little later.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Script};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{Told, Week};

/// Somebody waits on the line: a Redis that does not answer in this time is away.
const CONNECT: Duration = Duration::from_millis(500);
const REPLY: Duration = Duration::from_millis(500);
/// An entry that is no longer fresh is kept for so long, for a time without Cal.com.
const KEPT: Duration = Duration::from_secs(600);
/// After a failure nobody tries again for so long.
const FAILED: Duration = Duration::from_secs(2);
/// What stands in a lease after a failure; no owner is named so.
const FAILED_WORD: &str = "failed";

/// The entry and how long it is still kept.
const LOOK: &str = "return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}";
/// An entry that is kept for longer than ARGV[3] is fresh; else whoever comes first gets the lease.
const LEAD: &str = "
    local left = redis.call('PTTL', KEYS[1])
    if left > tonumber(ARGV[3]) then return {'fresh', redis.call('GET', KEYS[1]), left} end
    local holder = redis.call('GET', KEYS[2])
    if holder == ARGV[4] then return {'failed', false, 0} end
    if holder then return {'follow', false, 0} end
    redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
    return {'lead', false, 0}";
/// Only who still has the lease writes; a late one would put something older in the place of something newer.
const LAND: &str = "
    if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
    return redis.call('DEL', KEYS[2])";
const FAIL: &str = "
    if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
    redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
    return 1";

static LOOK_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(LOOK));
static LEAD_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(LEAD));
static LAND_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(LAND));
static FAIL_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(FAIL));

/// What an entry is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Place {
    pub(crate) company_id: i32,
    pub(crate) event_type_id: i64,
    pub(crate) week: Week,
}

/// What is there.
pub(crate) enum Found {
    Fresh(Told),
    Old(Told),
    Nothing,
}

/// What a flight is to do.
pub(crate) enum Turn {
    /// Ask Cal.com, and land.
    Lead(Lease),
    /// Another process asks: look again in a moment.
    Follow,
    /// Somebody has asked in vain a moment ago.
    Failed,
    /// It is here meanwhile.
    Fresh(Told),
}

/// The right to write an entry, until it runs out.
pub(crate) struct Lease(String);

pub(crate) struct Cache {
    client: Client,
    prefix: String,
    ttl: Duration,
    connection: OnceCell<ConnectionManager>,
}

impl Cache {
    /// Makes no connection. `name` keeps the entries of two fleets on one Redis apart.
    pub(crate) fn new(url: &str, name: &str, ttl: Duration) -> Result<Self, RedisError> {
        Ok(Self { client: Client::open(url)?, prefix: format!("{name}:free"), ttl, connection: OnceCell::new() })
    }

    pub(crate) async fn look(&self, place: Place) -> Result<Found, RedisError> {
        let [entry, _] = self.keys(place);
        let (written, left): (Option<Vec<u8>>, i64) = self.run(LOOK_SCRIPT.key(entry)).await?;
        Ok(match written.and_then(|written| self.told(&written, left)) {
            None => Found::Nothing,
            Some(told) if told.is_fresh => Found::Fresh(told),
            Some(told) => Found::Old(told),
        })
    }

    /// `lease`: longer than any request may take.
    pub(crate) async fn turn(&self, place: Place, lease: Duration) -> Result<Turn, RedisError> {
        let owner = Uuid::now_v7().simple().to_string();
        let [entry, lead] = self.keys(place);
        let mut script = LEAD_SCRIPT.key(entry);
        script.key(lead).arg(&owner).arg(milliseconds(lease)).arg(milliseconds(KEPT)).arg(FAILED_WORD);
        let (word, written, left): (String, Option<Vec<u8>>, i64) = self.run(script).await?;
        Ok(match (word.as_str(), written.and_then(|written| self.told(&written, left))) {
            ("fresh", Some(told)) => Turn::Fresh(told),
            ("follow", _) => Turn::Follow,
            ("failed", _) => Turn::Failed,
            // An entry that cannot be read is none: whoever finds it asks without a lease, and writes nothing.
            (_, _) => Turn::Lead(Lease(owner)),
        })
    }

    /// `asked`: since Cal.com was asked.
    pub(crate) async fn land(
        &self,
        place: Place,
        lease: &Lease,
        starts: &[DateTime<Utc>],
        asked: Duration,
    ) -> Result<(), RedisError> {
        let [entry, lead] = self.keys(place);
        let left = (KEPT + self.ttl).saturating_sub(asked).max(Duration::from_millis(1));
        let mut script = LAND_SCRIPT.key(entry);
        script.key(lead).arg(&lease.0).arg(write(starts)).arg(milliseconds(left));
        self.run::<i64>(script).await.map(drop)
    }

    pub(crate) async fn fail(&self, place: Place, lease: &Lease) -> Result<(), RedisError> {
        let [entry, lead] = self.keys(place);
        let mut script = FAIL_SCRIPT.key(entry);
        script.key(lead).arg(&lease.0).arg(FAILED_WORD).arg(milliseconds(FAILED));
        self.run::<i64>(script).await.map(drop)
    }

    fn keys(&self, place: Place) -> [String; 2] {
        let Place { company_id, event_type_id, week } = place;
        let entry = format!("{}:{company_id}:{event_type_id}:{}", self.prefix, week.number());
        let lead = format!("{entry}:asks");
        [entry, lead]
    }

    fn told(&self, written: &[u8], left_ms: i64) -> Option<Told> {
        let left = Duration::from_millis(u64::try_from(left_ms).ok()?);
        let age = (KEPT + self.ttl).saturating_sub(left);
        Some(Told { starts: read(written)?, age, is_fresh: left > KEPT })
    }

    async fn run<T: redis::FromRedisValue>(&self, script: redis::ScriptInvocation<'_>) -> Result<T, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(REPLY))
            .set_number_of_retries(0);
        let make = || async { self.client.get_connection_manager_lazy(config) };
        let mut connection = self.connection.get_or_try_init(make).await?.clone();
        match script.invoke_async(&mut connection).await {
            // The connection remembers how its last attempt ended, however long ago: only the second answer is new.
            Err(error) if !error.is_timeout() && (error.is_io_error() || error.is_connection_dropped()) => {
                script.invoke_async(&mut connection).await
            }
            answer => answer,
        }
    }
}

/// Minutes since 1970, with blanks between them.
fn write(starts: &[DateTime<Utc>]) -> String {
    starts.iter().map(|start| start.timestamp().div_euclid(60).to_string()).collect::<Vec<_>>().join(" ")
}

fn read(written: &[u8]) -> Option<Arc<[DateTime<Utc>]>> {
    let words = std::str::from_utf8(written).ok()?.split_ascii_whitespace();
    words.map(|word| DateTime::from_timestamp(word.parse::<i64>().ok()?.checked_mul(60)?, 0)).collect()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let starts: Vec<DateTime<Utc>> =
            ["2026-03-29T00:45:00Z", "2026-03-29T01:00:00Z"].map(|text| text.parse().unwrap()).into();
        assert_eq!(read(write(&starts).as_bytes()).unwrap()[..], starts[..]);
        assert_eq!(read(b"").unwrap().len(), 0, "nothing free is an answer");
        for wrong in [&b"x"[..], b"1 x", b"\xff", b"99999999999999999999"] {
            assert_eq!(read(wrong), None);
        }
    }
}
