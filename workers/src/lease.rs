//! Keeps a claimed job ours while it is worked on, from a task of its own.
//!
//! Two clocks never meet here: the lease in the record is the database's; this side counts from the moment *before* it
//! asked, by a monotonic clock, and so believes in its end earlier than anybody else. Deliberately absent: giving the
//! lease back. Settle ends it, or it runs out.

use std::fmt;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

/// Between two tries of a renewal that failed.
const AGAIN: Duration = Duration::from_millis(500);

/// A lease that is renewed as long as this value lives.
pub(crate) struct Lease {
    ends: watch::Receiver<Instant>,
    lost: CancellationToken,
    renewing: JoinHandle<()>,
}

impl Lease {
    /// A lease of `length` that was asked for at `asked_at`, renewed by `renew` every `every`. `renew` answers false
    /// when somebody else has the job; an error counts as that when the lease has ended.
    pub(crate) fn keep<F, Fut, E>(asked_at: Instant, length: Duration, every: Duration, renew: F) -> Self
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<bool, E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let (ended, ends) = watch::channel(asked_at + length);
        let lost = CancellationToken::new();
        let renewing = tokio::spawn(renewals(asked_at, length, every, renew, ended, lost.clone()));
        Self { ends, lost, renewing }
    }

    /// When it ends if it is not renewed any more.
    pub(crate) fn ends(&self) -> Instant {
        *self.ends.borrow()
    }

    /// Cancelled once the job is not ours any more.
    pub(crate) fn lost(&self) -> &CancellationToken {
        &self.lost
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn renewals<F, Fut, E>(
    asked_at: Instant,
    length: Duration,
    every: Duration,
    mut renew: F,
    ended: watch::Sender<Instant>,
    lost: CancellationToken,
) where
    F: FnMut() -> Fut + Send,
    Fut: Future<Output = Result<bool, E>> + Send + 'static,
    E: fmt::Display + Send + 'static,
{
    let mut end = asked_at + length;
    let mut next = asked_at + every;
    loop {
        sleep_until(next).await;
        let asked = Instant::now();
        // Past the end one answer is still worth having: the record may say that nobody has taken the job.
        match timeout_at(end.max(asked + AGAIN), renew()).await {
            Ok(Ok(true)) => {
                (end, next) = (asked + length, asked + every);
                ended.send_replace(end);
                continue;
            }
            Ok(Ok(false)) => break,
            Ok(Err(error)) => tracing::warn!(%error, "a lease could not be renewed"),
            Err(_late) => tracing::warn!("a lease could not be renewed in time"),
        }
        if Instant::now() >= end {
            break;
        }
        next = end.min(Instant::now() + AGAIN.min(every));
    }
    lost.cancel();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use tokio::time::sleep;

    use super::*;

    const LENGTH: Duration = Duration::from_secs(10);
    const EVERY: Duration = Duration::from_secs(3);

    /// A lease whose renewals answer what `answer` says to the n-th of them.
    fn kept(answer: fn(usize) -> Result<bool, &'static str>) -> (Lease, Arc<AtomicUsize>, Instant) {
        let asked_at = Instant::now();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let renew = move || std::future::ready(answer(counted.fetch_add(1, SeqCst)));
        (Lease::keep(asked_at, LENGTH, EVERY, renew), count, asked_at)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_renewed_as_long_as_it_is_held() {
        let (lease, count, asked_at) = kept(|_| Ok(true));
        assert_eq!(lease.ends(), asked_at + LENGTH);
        sleep(Duration::from_secs(100)).await;
        assert!(!lease.lost().is_cancelled());
        assert!(lease.ends() >= Instant::now() + LENGTH - EVERY);
        let renewed = count.load(SeqCst);
        assert_eq!(renewed, 33);
        drop(lease);
        sleep(Duration::from_secs(100)).await;
        assert_eq!(count.load(SeqCst), renewed, "nobody renews what is not held");
    }

    #[tokio::test(start_paused = true)]
    async fn false_is_lost_at_once() {
        let (lease, _, asked_at) = kept(|n| Ok(n < 2));
        lease.lost().cancelled().await;
        assert!(asked_at.elapsed() < EVERY * 3 + AGAIN, "{:?}", asked_at.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_lost_at_the_end_and_not_before() {
        let (lease, _, asked_at) = kept(|_| Err("away"));
        lease.lost().cancelled().await;
        let after = asked_at.elapsed();
        assert!(after >= LENGTH && after < LENGTH + AGAIN, "{after:?}");
        let (lease, _, _) = kept(|n| if n < 5 { Err("away") } else { Ok(true) });
        sleep(LENGTH * 5).await;
        assert!(!lease.lost().is_cancelled(), "an outage shorter than the lease costs nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_hangs_is_lost_at_the_end() {
        let asked_at = Instant::now();
        let lease = Lease::keep(asked_at, LENGTH, EVERY, std::future::pending::<Result<bool, &str>>);
        lease.lost().cancelled().await;
        let after = asked_at.elapsed();
        assert!(after >= LENGTH && after < LENGTH + AGAIN, "{after:?}");
    }
}
