//! The read replica that lags behind: what reads may not see yet. It keeps the recent changes backwards, each with the
//! booking as it was before, and forgets those that are older than the lag; without a lag it keeps nothing. Deliberately
//! absent: the present state (calendar.rs).

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::booking::Booking;

/// Bookings that reads see otherwise than they are: by uid, as they were, or `None` where there was none.
pub(crate) type Unseen<'a> = HashMap<&'a str, Option<&'a Booking>>;

/// The changes that reads do not see yet. The moments are the process's own: a lag lasts as long as it says, wherever
/// the clock of the sandbox stands.
#[derive(Default)]
pub(crate) struct Replica {
    lag: Duration,
    recent: VecDeque<Change>,
}

struct Change {
    at: Instant,
    uid: String,
    before: Option<Booking>,
}

impl Replica {
    pub(crate) fn new(lag: Duration) -> Self {
        Self { lag, recent: VecDeque::new() }
    }

    pub(crate) fn lag(&self) -> Duration {
        self.lag
    }

    /// Holds for changes from now on; of those before, only what reads have not seen yet can be delayed further.
    pub(crate) fn set_lag(&mut self, lag: Duration) {
        self.lag = lag;
    }

    /// Whether a change has to be noted.
    pub(crate) fn lags(&self) -> bool {
        !self.lag.is_zero()
    }

    /// The booking `uid` has just changed; this is what it was.
    pub(crate) fn note(&mut self, uid: String, before: Option<Booking>, at: Instant) {
        while self.recent.front().is_some_and(|change| change.at + self.lag <= at) {
            self.recent.pop_front();
        }
        if self.lags() {
            self.recent.push_back(Change { at, uid, before });
        }
    }

    /// The differences between what is and what a read at `at` sees.
    pub(crate) fn unseen(&self, at: Instant) -> Unseen<'_> {
        let hidden = self.recent.iter().rev().take_while(|change| change.at + self.lag > at);
        // From the newest backwards: of several changes to one booking the oldest unseen one decides.
        hidden.map(|change| (change.uid.as_str(), change.before.as_ref())).collect()
    }
}
