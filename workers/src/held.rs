//! A job that is ours, and since when, by our own clock.

use store::{Claimed, Event};
use tokio::time::Instant;

/// A claimed job with the two moments of its claim, by this process's monotonic clock.
pub struct Held {
    /// What was claimed.
    pub claimed: Box<Claimed>,
    /// Before the claim was sent: our deadline counts from here.
    pub asked_at: Instant,
    /// When its answer had come: the database's clock is certainly past `claimed_at` by what has gone by since.
    pub answered_at: Instant,
}

/// A hint that is ours to follow.
pub struct HeldEvent {
    /// What is to be read.
    pub event: Box<Event>,
    /// Before the claim was sent.
    pub asked_at: Instant,
}
