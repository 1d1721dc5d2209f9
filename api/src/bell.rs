//! Rings for jobs after their commit, behind the requests' back: a request never waits for Redis and never fails by it.
//!
//! One task pushes what the requests hand in, as many names at once as there are. When Redis is slow the rest is
//! dropped, and a worker finds the rows by itself a second later. Deliberately absent: retries, order, any promise.

use crashpoint::{Point, here};
use queue::{Doorbell, Task};
use store::JobRef;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Names that may wait for the push.
const WAITING_MAX: usize = 1_000;
/// Names in one push.
const BATCH_MAX: usize = 200;

/// Hands names over to the task that rings. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Bell(mpsc::Sender<Task>);

impl Bell {
    /// Starts the ringing task; it ends when every clone of the bell is dropped and all names have been tried.
    pub(crate) fn start(doorbell: Doorbell) -> (Self, JoinHandle<()>) {
        let (names, mut waiting) = mpsc::channel(WAITING_MAX);
        let ringing = tokio::spawn(async move {
            let mut batch = Vec::new();
            while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
                match doorbell.ring(&batch).await {
                    Ok(rung) => {
                        metrics::counter!("api_rung_total").increment(rung.pushed as u64);
                        here(Point::Dispatched);
                    }
                    Err(error) => {
                        metrics::counter!("api_not_rung_total").increment(batch.len() as u64);
                        tracing::debug!(%error, names = batch.len(), "not rung; a worker will look by itself");
                    }
                }
                batch.clear();
            }
        });
        (Self(names), ringing)
    }

    /// Call this right after the commit that made these jobs necessary.
    pub(crate) fn committed(&self, jobs: &[JobRef]) {
        here(Point::AcceptCommitted);
        for job in jobs {
            if self.0.try_send(Task { company_id: job.company_id, job_id: job.job_id.0 }).is_err() {
                metrics::counter!("api_not_rung_total").increment(1);
            }
        }
    }
}
