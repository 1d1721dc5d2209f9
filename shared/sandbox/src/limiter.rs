//! Cal.com's limiter: so many requests of one API key in a window that begins with the first of them, then a block.
//! Off unless told otherwise. Deliberately absent: the reply (answer.rs), and any wait.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::ensure;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::answer::Rate;
use crate::fault::DELAY_MAX_MS;

/// What one API key is granted; all requests without a key count as one more. The default is Cal.com's own: 120 requests
/// in 60 s, then a block of 60 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimit {
    /// Requests in one window, at least 1. The next one is answered 429 and begins the block.
    pub requests: u32,
    /// Length of a window in milliseconds, 1 to 600,000. It begins with the first request after the one before.
    pub window_ms: u64,
    /// How long every request is answered 429 after that, in milliseconds, 1 to 600,000. Then a new window begins.
    pub block_ms: u64,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { requests: 120, window_ms: 60_000, block_ms: 60_000 }
    }
}

impl RateLimit {
    /// # Errors
    /// Says which part is out of range.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let range = 1..=DELAY_MAX_MS;
        ensure!(self.requests > 0, "rate limit: requests must be at least 1");
        ensure!(range.contains(&self.window_ms), "rate limit: window_ms must be 1 to {DELAY_MAX_MS}");
        ensure!(range.contains(&self.block_ms), "rate limit: block_ms must be 1 to {DELAY_MAX_MS}");
        Ok(())
    }
}

/// Counts requests by key.
pub(crate) struct Limiter {
    limit: Option<RateLimit>,
    /// The keys seen, numbered by first appearance.
    keys: HashMap<String, u64>,
    buckets: HashMap<Option<u64>, Bucket>,
}

/// What one key has used.
#[derive(Clone, Copy)]
struct Bucket {
    used: u64,
    ends: DateTime<Utc>,
    blocked: bool,
}

/// Whether a request may pass, and what its reply says of that.
pub(crate) struct Grant {
    pub(crate) rate: Rate,
    pub(crate) throttled: bool,
}

impl Limiter {
    pub(crate) fn new(limit: Option<RateLimit>) -> anyhow::Result<Self> {
        let mut limiter = Self { limit: None, keys: HashMap::new(), buckets: HashMap::new() };
        limiter.set_limit(limit)?;
        Ok(limiter)
    }

    pub(crate) fn limit(&self) -> Option<RateLimit> {
        self.limit
    }

    /// Every key begins anew, blocked ones too.
    pub(crate) fn set_limit(&mut self, limit: Option<RateLimit>) -> anyhow::Result<()> {
        if let Some(limit) = &limit {
            limit.check()?;
        }
        self.limit = limit;
        self.buckets.clear();
        Ok(())
    }

    /// The number of a key: 1, 2, 3 …
    pub(crate) fn number(&mut self, key: &str) -> u64 {
        let next = self.keys.len() as u64 + 1;
        *self.keys.entry(key.to_owned()).or_insert(next)
    }

    /// Counts one request; `None` while the limiter is off.
    pub(crate) fn count(&mut self, key: Option<u64>, now: DateTime<Utc>) -> Option<Grant> {
        let RateLimit { requests, window_ms, block_ms } = self.limit?;
        let limit = u64::from(requests);
        let fresh = Bucket { used: 0, ends: now + Duration::from_millis(window_ms), blocked: false };
        let bucket = self.buckets.entry(key).or_insert(fresh);
        if bucket.ends <= now {
            *bucket = fresh;
        }
        if !bucket.blocked {
            bucket.used += 1;
            if bucket.used > limit {
                bucket.blocked = true;
                bucket.ends = now + Duration::from_millis(block_ms);
            }
        }
        let reset = (bucket.ends - now).to_std().unwrap_or_default();
        let rate = Rate { limit, remaining: limit.saturating_sub(bucket.used), reset };
        Some(Grant { rate, throttled: bucket.blocked })
    }

    /// What a 429 says that is a fault and not the limiter's own.
    pub(crate) fn feigned(&self, wait: Duration) -> Rate {
        let RateLimit { requests, .. } = self.limit.unwrap_or_default();
        Rate { limit: u64::from(requests), remaining: 0, reset: wait }
    }
}
