//! The shape of the loops beside the jobs: a round about once a second, until the stop.
//!
//! Each process runs each loop, with jitter, so that a fleet does not ask as one. Deliberately absent: a leader. A
//! round that is done twice, cut in the middle or left out does no harm; that is the record's business.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use store::StoreError;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Between two rounds, on average.
const PERIOD: Duration = Duration::from_secs(1);

/// Goes round until `stop`. An outage is told once, not at every round.
pub(crate) async fn go_round<F, Fut>(what: &'static str, stop: CancellationToken, mut round: F)
where
    F: FnMut() -> Fut + Send,
    Fut: Future<Output = Result<(), StoreError>> + Send,
{
    let rounds = async {
        let mut failing = false;
        loop {
            sleep(PERIOD.mul_f64(rand::random_range(0.8..1.2))).await;
            match AssertUnwindSafe(async { round().await }).catch_unwind().await {
                Ok(Ok(())) => failing = false,
                Ok(Err(error)) => {
                    metrics::counter!("askpro_rounds_failed_total", "loop" => what).increment(1);
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(what, error = &error as &dyn std::error::Error, "a round failed");
                    }
                }
                Err(_panic) => {
                    metrics::counter!("askpro_rounds_failed_total", "loop" => what).increment(1);
                    tracing::error!(what, "a round panicked");
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = rounds => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_round_a_second_whatever_the_last_one_did() {
        let (count, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let counted = count.clone();
        let going = tokio::spawn(go_round("test", stop.clone(), move || {
            let nth = counted.fetch_add(1, SeqCst);
            async move {
                assert_ne!(nth, 1, "thrown on purpose");
                if nth == 2 { Err(StoreError::LockWait) } else { Ok(()) }
            }
        }));
        sleep(Duration::from_secs(30)).await;
        let rounds = count.load(SeqCst);
        assert!((24..=38).contains(&rounds), "{rounds} rounds in 30 s");
        stop.cancel();
        going.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_that_hangs_does_not_hold_the_stop_up() {
        let stop = CancellationToken::new();
        let going = tokio::spawn(go_round("test", stop.clone(), std::future::pending));
        sleep(Duration::from_secs(3)).await;
        stop.cancel();
        going.await.unwrap();
    }
}
