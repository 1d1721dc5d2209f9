//! What the two workers of a process share: its slots, the work under way, and the signal to stop.
//!
//! Work is spawned, never awaited in place: apalis cancels the handlers of a worker that dies, blocks its own heartbeat
//! on a handler that blocks, and unwinds on one that panics. Deliberately absent: what to do about a panic. The job's
//! row still says that it runs; its lease ends, and rescue decides.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Shared by doorbell and direct claimer, and by all generations of either.
#[derive(Clone, Debug)]
pub struct Crew {
    /// One permit for each job that may run at a time in this process.
    pub semaphore: Arc<Semaphore>,
    /// The work under way; after `stop` the owner closes it and waits for it.
    pub tracker: TaskTracker,
    /// Cancelled once: nothing new is taken, what runs goes on.
    pub stop: CancellationToken,
}

impl Crew {
    /// `slots` jobs at a time.
    pub fn new(slots: usize, stop: CancellationToken) -> Crew {
        Crew { semaphore: Arc::new(Semaphore::new(slots)), tracker: TaskTracker::new(), stop }
    }

    /// A free slot, in the order of asking; none once the crew stops.
    pub(crate) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            permit = self.semaphore.clone().acquire_owned() => permit.ok(),
        }
    }

    /// Starts the work in its slot. It outlives whoever started it; a panic ends the work and nothing else.
    pub(crate) fn start(
        &self,
        slot: OwnedSemaphorePermit,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        self.tracker.spawn(async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                panicked("the work on a job panicked");
            }
            drop(slot);
        })
    }
}

/// Logs and counts. What it said is with the panic hook; it may name a customer.
pub(crate) fn panicked(what: &'static str) {
    metrics::counter!("askpro_job_panics_total").increment(1);
    tracing::error!("{what}");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

    use super::*;

    #[derive(Default)]
    struct Panics(Arc<AtomicU64>);

    impl Recorder for Panics {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            assert_eq!(key.name(), "askpro_job_panics_total");
            Counter::from_arc(self.0.clone())
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[tokio::test]
    async fn a_panic_is_counted_and_frees_the_slot() {
        let recorder = Panics::default();
        let _here = metrics::set_default_local_recorder(&recorder);
        let crew = Crew::new(1, CancellationToken::new());
        for panics in [true, false, true] {
            let slot = crew.slot().await.unwrap();
            assert_eq!(crew.semaphore.available_permits(), 0);
            let ended = crew.start(slot, async move { assert!(!panics, "thrown on purpose") }).await;
            assert!(ended.is_ok(), "the panic stays inside");
        }
        assert_eq!(recorder.0.load(SeqCst), 2);
        assert_eq!(crew.semaphore.available_permits(), 1);
        crew.stop.cancel();
        assert!(crew.slot().await.is_none(), "nobody gets a slot of a crew that stops");
    }
}
