//! Waits for Cal.com on behalf of requests: one loop per process asks once per 100 ms about all the appointments that
//! are waited for, so that a waiting request holds no database connection.
//!
//! A wait is a courtesy: it ends early when the process stops, and it ends silently when the database is away.
//! Deliberately absent: LISTEN/NOTIFY (a connection of its own, lost on failover) and any decision.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::appointment::{Status, Sync};
use domain::id::AppointmentId;
use store::{Standing, Store};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

/// How often the loop asks.
const PERIOD: Duration = Duration::from_millis(100);
/// Appointments in one question.
const BATCH_MAX: usize = 500;

/// What a wait is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Until {
    /// The promise is no longer `requested`, or nothing works on it any more.
    Decided,
    /// Nothing works on it any more: Cal.com agrees, or a person must look.
    AtRest,
}

/// How the appointment stood when the wait was over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) status: Status,
    pub(crate) sync: Sync,
}

struct Waiter {
    until: Until,
    tell: oneshot::Sender<Seen>,
}

type Key = (i32, AppointmentId);
type Waiters = HashMap<Key, Vec<Waiter>>;

/// The requests of this process that wait. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Waiting {
    waiters: Arc<Mutex<Waiters>>,
    came: Arc<Notify>,
    stop: CancellationToken,
}

impl Waiting {
    /// Starts the loop; it ends with `stop`.
    pub(crate) fn start(store: Arc<Store>, stop: CancellationToken) -> Self {
        let waiting = Self { waiters: Arc::default(), came: Arc::default(), stop };
        let looking = waiting.clone();
        tokio::spawn(async move {
            let stop = looking.stop.clone();
            stop.run_until_cancelled(looking.look(&store)).await;
        });
        waiting
    }

    /// How the appointment stands once `until` holds; `None` if it did not within `wait`, or the process stops.
    pub(crate) async fn wait_for(&self, key: Key, until: Until, wait: Duration) -> Option<Seen> {
        if wait.is_zero() {
            return None;
        }
        let (tell, told) = oneshot::channel();
        self.with(|waiters| waiters.entry(key).or_default().push(Waiter { until, tell }));
        self.came.notify_one();
        let told = tokio::time::timeout(wait, told);
        self.stop.run_until_cancelled(told).await?.ok()?.ok()
    }

    async fn look(&self, store: &Store) {
        loop {
            let keys = self.with(|waiters| {
                waiters.retain(|_, of_one| {
                    of_one.retain(|waiter| !waiter.tell.is_closed());
                    !of_one.is_empty()
                });
                waiters.keys().copied().collect::<Vec<_>>()
            });
            if keys.is_empty() {
                self.came.notified().await;
            }
            for batch in keys.chunks(BATCH_MAX) {
                match store.standing(batch).await {
                    Ok(standings) => self.with(|waiters| tell(waiters, &standings)),
                    Err(error) => tracing::debug!(%error, "could not look for those who wait"),
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Waiters) -> T) -> T {
        act(&mut self.waiters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn tell(waiters: &mut Waiters, standings: &[Standing]) {
    for standing in standings {
        let key = (standing.company_id, standing.appointment_id);
        let Some(of_one) = waiters.get_mut(&key) else { continue };
        let seen = Seen { status: standing.status, sync: standing.sync };
        for waiter in std::mem::take(of_one) {
            if over(waiter.until, standing.status, standing.open) {
                // Whoever has left meanwhile does not want to know.
                waiter.tell.send(seen).ok();
            } else {
                of_one.push(waiter);
            }
        }
    }
}

fn over(until: Until, status: Status, open: bool) -> bool {
    match until {
        Until::Decided => status != Status::Requested || !open,
        Until::AtRest => !open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_over_when_its_question_is_answered() {
        assert!(!over(Until::Decided, Status::Requested, true));
        assert!(over(Until::Decided, Status::Requested, false), "nobody works on it: it will not change");
        for status in Status::ALL.into_iter().filter(|s| *s != Status::Requested) {
            assert!(over(Until::Decided, status, true));
            assert!(!over(Until::AtRest, status, true));
            assert!(over(Until::AtRest, status, false));
        }
    }
}
