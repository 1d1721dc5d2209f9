//! The queue's settings, and the one function that turns them into apalis' own.
//!
//! Every field of apalis' configuration is passed by name, so that a new field of a newer version does not compile
//! until somebody has decided about it. Deliberately absent: defaults, environment, files.

use std::{fmt, time::Duration};

use apalis_redis::Config;

use crate::QueueError;

/// What the doorbell needs to know. The same values must be used by those who ring and those who answer.
#[derive(Clone)]
pub struct QueueSettings {
    /// `redis://[user:password@]host:port[/db]`. Redis must run with `maxmemory-policy noeviction`.
    pub redis_url: String,
    /// Prefix of all keys: 1 to 64 of `a-z`, `0-9`, `-` and `_`.
    pub queue: String,
    /// Jobs at a time in one process, at least 1. Also the batch that apalis fetches: a graceful stop of
    /// apalis-redis 1.0.0 hangs for ever if more than four batches are in flight.
    pub slots: usize,
    /// How often a worker says that it lives; at least 1 s, because apalis counts in whole seconds. 5 s is right.
    pub heartbeat: Duration,
    /// After this many missed ones (at least 3; 3 is right) the worker's names are handed to another.
    pub missed_heartbeats: u32,
    /// How often Redis is asked when no ring was heard: what a lost ring costs. 250 ms is right.
    pub poll: Duration,
    /// Names in Redis at a time, 1 to 4,000; 1,000 is right. apalis-redis 1.0.0 stands still for ever at 8,000 due
    /// ones. The rest stays due in Postgres.
    pub out_max: usize,
}

/// Half of what wedges apalis-redis: leaves room for processes that ring at the same moment.
const OUT_MAX_LIMIT: usize = 4_000;

impl fmt::Debug for QueueSettings {
    /// Never shows what stands before the `@` of the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QueueSettings { redis_url, queue, slots, heartbeat, missed_heartbeats, poll, out_max } = self;
        let host = redis_url.rsplit_once('@').map_or(redis_url.as_str(), |(_secret, host)| host);
        f.debug_struct("QueueSettings")
            .field("redis_url", &host)
            .field("queue", queue)
            .field("slots", slots)
            .field("heartbeat", heartbeat)
            .field("missed_heartbeats", missed_heartbeats)
            .field("poll", poll)
            .field("out_max", out_max)
            .finish()
    }
}

/// After so many missed heartbeats a worker's names are somebody else's.
const MISSED_HEARTBEATS: u32 = 3;
/// What a lost ring costs.
const POLL: Duration = Duration::from_millis(250);
/// Names in Redis at a time.
const OUT_MAX: usize = 1_000;

impl QueueSettings {
    /// What every process with these settings uses, whoever rings and whoever answers.
    #[must_use]
    pub fn read(settings: &settings::Settings) -> Self {
        Self {
            redis_url: settings.redis_url.clone(),
            queue: settings.queue.clone(),
            slots: settings.slots,
            heartbeat: Duration::from_millis(settings.orphan_ms) / MISSED_HEARTBEATS,
            missed_heartbeats: MISSED_HEARTBEATS,
            poll: POLL,
            out_max: OUT_MAX,
        }
    }

    /// Refuses what cannot work.
    pub(crate) fn check(&self) -> Result<(), QueueError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let refuse = |why| Err(QueueError::Settings(why));
        if self.queue.is_empty() || self.queue.len() > 64 || !self.queue.chars().all(plain) {
            return refuse("queue must be 1 to 64 of a-z, 0-9, - and _");
        }
        if self.slots == 0 {
            return refuse("slots must be at least 1");
        }
        if self.heartbeat < Duration::from_secs(1) {
            return refuse("heartbeat must be at least 1 s");
        }
        if self.missed_heartbeats < 3 {
            return refuse("missed_heartbeats must be at least 3");
        }
        if self.poll < Duration::from_millis(1) {
            return refuse("poll must be at least 1 ms");
        }
        if self.out_max == 0 || self.out_max > OUT_MAX_LIMIT {
            return refuse("out_max must be 1 to 4,000");
        }
        Ok(())
    }

    /// Every setting of apalis-redis.
    pub(crate) fn apalis(&self) -> Config {
        Config {
            queue: self.queue.as_str().into(),
            batch_size: self.slots,
            heartbeat_interval: self.heartbeat,
            missed_heartbeats: self.missed_heartbeats as usize,
            // Costs four fifths of the throughput and excludes nobody.
            lock_tasks: false,
            // Nobody listens, and the event that would matter is never sent.
            emit_events: false,
            // This is the acknowledgement: without it every name comes again.
            persist_results: true,
            // Uniqueness lives in Postgres; a push that was dropped here still says that it went well.
            idempotency_ttl: None,
            database_url: None,
        }
    }

    /// How long a name may be held. A worker that holds more names than it has slots neither beats nor acknowledges
    /// before one of them ends; with the interval of its heartbeat this stays below the orphan time.
    pub(crate) fn held_max(&self) -> Duration {
        self.heartbeat * self.missed_heartbeats / 2
    }

    /// The channel on which a push is announced.
    pub(crate) fn ring_channel(&self) -> String {
        format!("ring:{}", self.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right() -> QueueSettings {
        QueueSettings {
            redis_url: "redis://user:secret@redis:6379".into(),
            queue: "jobs".into(),
            slots: 50,
            heartbeat: Duration::from_secs(5),
            missed_heartbeats: 3,
            poll: Duration::from_millis(250),
            out_max: 1_000,
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        assert!(right().check().is_ok());
        for wrong in [
            QueueSettings { queue: String::new(), ..right() },
            QueueSettings { queue: "a:b".into(), ..right() },
            QueueSettings { queue: "a*".into(), ..right() },
            QueueSettings { slots: 0, ..right() },
            QueueSettings { heartbeat: Duration::from_millis(999), ..right() },
            QueueSettings { missed_heartbeats: 2, ..right() },
            QueueSettings { poll: Duration::ZERO, ..right() },
            QueueSettings { out_max: 0, ..right() },
            QueueSettings { out_max: 4_001, ..right() },
        ] {
            assert!(matches!(wrong.check(), Err(QueueError::Settings(_))), "{wrong:?}");
        }
    }

    #[test]
    fn a_batch_is_as_large_as_the_slots_and_the_orphan_time_is_a_quarter_minute() {
        let config = right().apalis();
        assert_eq!((config.batch_size, config.orphaned_duration()), (50, Duration::from_secs(15)));
        assert!(config.persist_results && !config.lock_tasks && !config.emit_events);
    }

    #[test]
    fn the_password_is_not_shown() {
        let shown = format!("{:?}", right());
        assert!(shown.contains("redis:6379") && !shown.contains("secret"), "{shown}");
    }
}
