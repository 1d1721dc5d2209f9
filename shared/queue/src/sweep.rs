//! The second worker: takes what is due straight from the record. It needs no Redis, hears no ring, trusts no clock of
//! another machine; whatever the doorbell loses costs a second or so.
//!
//! A plain loop, and not an apalis worker with a backend of its own: that was tried, and buys nothing. There is no
//! acknowledgement, no heartbeat and no retry for apalis to do; it would poll for one task per free slot, so that a
//! batch has to wait in the backend while its leases run; and the slots have to be counted here anyway, because the
//! doorbell shares them.
//!
//! Deliberately absent: SQL, and any opinion on what is due. An error in asking is the closure's business; it answers
//! with an empty batch and is asked again at the next tick.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{Crew, crew::panicked};

/// A claim under way is waited for, since what it has claimed would lie until its lease ends; but no longer than this.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Every `every`, and at once after a full batch: takes the free slots, at most `batch_max` (0 counts as 1), asks
/// `claim(n)` for at most `n` claimed jobs, and starts `work` on each, one slot each. Slots that the batch did not need
/// are free again. While no slot is free it queues for one, in the same line as the doorbell.
///
/// Returns when the crew stops, after the claim under way; the work goes on, on the tracker.
pub async fn claim_directly<W, C, CF, F, Fut>(every: Duration, batch_max: usize, crew: Crew, mut claim: C, work: F)
where
    W: Send + 'static,
    C: FnMut(usize) -> CF + Send,
    CF: Future<Output = Vec<W>> + Send,
    F: Fn(W) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let mut ticks = interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = crew.stop.cancelled() => return,
            _now = ticks.tick() => {}
        }
        loop {
            let Some(slots) = free_slots(&crew, batch_max).await else { return };
            let asked = slots.len();
            let batch = tokio::select! {
                batch = AssertUnwindSafe(async { claim(asked).await }).catch_unwind() => batch,
                () = overdue(&crew) => return,
            };
            let Ok(batch) = batch else {
                panicked("the claim of due jobs panicked");
                break;
            };
            let full = batch.len() >= asked;
            start(&crew, slots, batch, &work);
            if !full {
                break;
            }
        }
    }
}

/// Waits for one, then takes what else is free. `None` once the crew stops.
async fn free_slots(crew: &Crew, batch_max: usize) -> Option<Vec<OwnedSemaphorePermit>> {
    let mut slots = vec![crew.slot().await?];
    while slots.len() < batch_max {
        match crew.semaphore.clone().try_acquire_owned() {
            Ok(slot) => slots.push(slot),
            Err(_none) => break,
        }
    }
    Some(slots)
}

fn start<W, F, Fut>(crew: &Crew, slots: Vec<OwnedSemaphorePermit>, batch: Vec<W>, work: &F)
where
    W: Send + 'static,
    F: Fn(W) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    if batch.len() > slots.len() {
        tracing::error!(asked = slots.len(), claimed = batch.len(), "more jobs were claimed than asked for");
    }
    let mut slots = slots.into_iter();
    for claimed in batch {
        let work = work.clone();
        match slots.next() {
            Some(slot) => drop(crew.start(slot, async move { work(claimed).await })),
            // It is claimed, so it must be worked on; but not beside more than the slots allow.
            None => {
                let late = crew.clone();
                crew.tracker.spawn(async move {
                    if let Ok(slot) = late.semaphore.clone().acquire_owned().await {
                        drop(late.start(slot, async move { work(claimed).await }));
                    }
                });
            }
        }
    }
}

async fn overdue(crew: &Crew) {
    crew.stop.cancelled().await;
    sleep(STOP_MAX).await;
    tracing::warn!("a claim did not end in time, it is left behind");
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::sync::Semaphore;
    use tokio_util::sync::CancellationToken;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn asks_for_the_free_slots_and_again_at_once_after_a_full_batch() {
        let crew = Crew::new(5, CancellationToken::new());
        let held = crew.semaphore.clone().try_acquire_owned().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(Semaphore::new(0));
        let (seen, open) = (asked.clone(), gate.clone());
        let left = Arc::new(Mutex::new(10_usize));
        let claimer = tokio::spawn(claim_directly(
            SECOND,
            3,
            crew.clone(),
            move |n| {
                seen.lock().unwrap().push(n);
                let mut left = left.lock().unwrap();
                let got = n.min(*left);
                *left -= got;
                async move { vec![(); got] }
            },
            move |()| {
                let open = open.clone();
                async move { open.acquire().await.unwrap().forget() }
            },
        ));
        sleep(SECOND / 2).await;
        assert_eq!(*asked.lock().unwrap(), [3, 1], "4 are free, 3 a batch");
        gate.add_permits(1);
        sleep(SECOND / 100).await;
        assert_eq!(*asked.lock().unwrap(), [3, 1, 1], "as soon as one is free");
        gate.add_permits(100);
        sleep(3 * SECOND).await;
        assert_eq!(crew.semaphore.available_permits(), 4, "slots that were not needed are free");
        drop(held);
        crew.stop.cancel();
        claimer.await.unwrap();
        crew.tracker.close();
        crew.tracker.wait().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_claim_or_work_ends_neither_claimer_nor_slots() {
        let crew = Crew::new(2, CancellationToken::new());
        let done = Arc::new(Mutex::new(Vec::new()));
        let seen = done.clone();
        let mut round = 0;
        let claimer = tokio::spawn(claim_directly(
            SECOND,
            2,
            crew.clone(),
            move |_| {
                round += 1;
                assert_ne!(round, 2, "thrown on purpose");
                async move { vec![round] }
            },
            move |round| {
                assert_ne!(round, 1, "thrown on purpose");
                let seen = seen.clone();
                async move { seen.lock().unwrap().push(round) }
            },
        ));
        sleep(SECOND * 7 / 2).await;
        crew.stop.cancel();
        claimer.await.unwrap();
        assert_eq!(*done.lock().unwrap(), [3, 4]);
        assert_eq!(crew.semaphore.available_permits(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_claim_brings_after_the_stop_is_worked_on_and_a_claim_that_hangs_is_left() {
        for (takes, worked) in [(SECOND * 2, 4), (SECOND * 60, 0)] {
            let crew = Crew::new(2, CancellationToken::new());
            let done = Arc::new(Mutex::new(0));
            let seen = done.clone();
            let claimer = tokio::spawn(claim_directly(
                SECOND,
                2,
                crew.clone(),
                move |_| async move {
                    sleep(takes).await;
                    vec![(); 4] // more than asked for
                },
                move |()| {
                    let seen = seen.clone();
                    async move { *seen.lock().unwrap() += 1 }
                },
            ));
            sleep(SECOND).await;
            crew.stop.cancel();
            claimer.await.unwrap();
            crew.tracker.close();
            crew.tracker.wait().await;
            assert_eq!(*done.lock().unwrap(), worked);
        }
    }
}
