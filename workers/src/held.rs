//! A job that is ours, and since when, by our own clock.

use store::Claimed;
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
