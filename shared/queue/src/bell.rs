//! When an idle worker asks Redis: at once after a ring, else at intervals.
//!
//! apalis' own interval strategy re-arms its timer without polling it, so that nothing wakes the worker before its
//! next heartbeat; its pub/sub waits for an event that a push never sends. This one always leaves a timer registered.
//!
//! Deliberately absent: any promise that a ring is heard. A deaf listener (Redis away, connection half open) costs the
//! interval, and subscribes again as soon as it notices.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use apalis::prelude::{PollSnapshot, PollStrategy};
use futures::StreamExt;
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep, sleep, timeout},
};

use crate::connection::{CONNECT, REPLY};

/// A ring may be newer than the fetch that is under way: look once more, this much later.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Between two attempts to subscribe.
const RESUBSCRIBE: Duration = Duration::from_millis(500);

/// Poll strategy of the doorbell worker.
pub(crate) struct Bell {
    every: Duration,
    timer: Pin<Box<Sleep>>,
    rings: mpsc::Receiver<()>,
}

impl Bell {
    /// Asks every `every`, and whenever something arrives at `rings` (capacity 1 is enough: rings do not add up).
    pub(crate) fn new(every: Duration, rings: mpsc::Receiver<()>) -> Bell {
        Bell { every, timer: Box::pin(sleep(Duration::ZERO)), rings }
    }
}

impl PollStrategy for Bell {
    /// apalis ignores what this returns; what counts is that both wakers are registered when it does.
    fn poll_drive(&mut self, cx: &mut Context<'_>, _snapshot: &PollSnapshot) -> Poll<Option<()>> {
        let mut rang = false;
        while let Poll::Ready(Some(())) = self.rings.poll_recv(cx) {
            rang = true;
        }
        if rang {
            self.timer.as_mut().reset(Instant::now() + LOOK_AGAIN);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            self.timer.as_mut().reset(Instant::now() + self.every);
        }
        Poll::Pending
    }
}

/// Passes rings on, for ever. A ring that finds another one waiting is dropped.
pub(crate) async fn listen(client: &redis::Client, channel: &str, rings: mpsc::Sender<()>) -> Infallible {
    loop {
        let subscribe = async {
            let mut subscription = client.get_async_pubsub().await?;
            subscription.subscribe(channel).await?;
            Ok::<_, redis::RedisError>(subscription)
        };
        match timeout(CONNECT + REPLY, subscribe).await {
            Ok(Ok(mut subscription)) => {
                // Stands for the rings that nobody heard.
                let _ = rings.try_send(());
                let mut messages = subscription.on_message();
                while messages.next().await.is_some() {
                    let _ = rings.try_send(());
                }
                tracing::debug!("the subscription ended");
            }
            Ok(Err(error)) => tracing::debug!(%error, "cannot subscribe"),
            Err(_) => tracing::debug!("cannot subscribe in time"),
        }
        sleep(RESUBSCRIBE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use apalis::prelude::{BackendExt, WorkerBuilder, WorkerContext};
    use apalis_core::backend::{Backend, BackendConfig, finalize::Ephemeral};
    use tower::layer::util::Identity;

    use super::*;

    /// Has nothing, and says so at once, without a waker: only the strategy can bring the worker back.
    struct Empty(Arc<AtomicUsize>);

    impl Backend for Empty {
        type Task = apalis::prelude::Task<String>;
        type Error = Infallible;

        fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn poll_next(
            &mut self,
            _: &mut Context<'_>,
            _: &WorkerContext,
        ) -> Poll<Option<Result<Self::Task, Infallible>>> {
            self.0.fetch_add(1, SeqCst);
            Poll::Pending
        }

        fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
    }

    impl BackendConfig for Empty {
        type Args = String;
        type Id = u64;
        type Kind = Ephemeral;
        type Config = ();
        type Layer = Identity;

        fn config(&self) -> &() {
            &()
        }

        fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
            Identity::new()
        }
    }

    /// Polls of an idle worker within 2 s of a clock that jumps: no machine is too slow for it.
    async fn polls(every: Duration, ring_every: Option<Duration>) -> usize {
        let (ring, rings) = mpsc::channel(1);
        let seen = Arc::new(AtomicUsize::new(0));
        let backend = Empty(seen.clone()).poll_with_strategy(Bell::new(every, rings));
        let worker = WorkerBuilder::new("idle").backend(backend).build(|_: String| async {});
        let ringer = tokio::spawn(async move {
            loop {
                sleep(ring_every.unwrap_or(Duration::from_secs(3_600))).await;
                let _ = ring.try_send(());
            }
        });
        // A task of its own, so that nothing but its own wakers has it polled.
        let idle = tokio::spawn(worker.run());
        sleep(Duration::from_secs(2)).await;
        assert!(!idle.is_finished(), "the worker ended");
        idle.abort();
        ringer.abort();
        seen.load(SeqCst)
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_worker_never_stalls() {
        let polls = polls(Duration::from_millis(20), None).await;
        assert!((80..=110).contains(&polls), "{polls} polls in 2 s at 20 ms");
    }

    #[tokio::test(start_paused = true)]
    async fn a_ring_wakes_it_and_it_looks_once_more() {
        let polls = polls(Duration::from_secs(3_600), Some(Duration::from_millis(100))).await;
        assert!((36..=42).contains(&polls), "{polls} polls in 2 s at 10 rings/s");
    }
}
