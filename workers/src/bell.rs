//! Rings for the jobs that a settle has made due, behind the jobs' back: no slot is held for a Redis that is slow.
//!
//! When Redis is slow the rest is dropped; the rows are due, and the direct claimer takes them a second later.
//! Deliberately absent: retries, order, any promise.

use queue::{Doorbell, Task};
use store::JobRef;
use tokio::sync::mpsc;

/// Names that may wait for the push.
const WAITING_MAX: usize = 1_000;
/// Names in one push.
const BATCH_MAX: usize = 200;

/// Hands names over to the task that rings. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Bell(mpsc::Sender<Task>);

impl Bell {
    /// Starts the ringing task; it ends when every clone of the bell is dropped and all names have been tried.
    pub(crate) fn start(doorbell: Doorbell) -> Self {
        let (names, mut waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
                ring(&doorbell, &batch).await;
                batch.clear();
            }
        });
        Self(names)
    }

    /// Rings for these jobs soon, or never.
    pub(crate) fn ring(&self, jobs: &[JobRef]) {
        for job in jobs {
            if self.0.try_send(task(job)).is_err() {
                metrics::counter!("askpro_not_rung_total").increment(1);
            }
        }
    }
}

/// Rings now, and counts.
pub(crate) async fn ring(doorbell: &Doorbell, names: &[Task]) {
    match doorbell.ring(names).await {
        Ok(rung) => {
            metrics::counter!("askpro_rung_total").increment(rung.pushed as u64);
            metrics::counter!("askpro_not_rung_total").increment(rung.skipped as u64);
        }
        Err(error) => {
            metrics::counter!("askpro_not_rung_total").increment(names.len() as u64);
            tracing::debug!(%error, names = names.len(), "not rung; the rows stay due");
        }
    }
}

/// What the job is called in Redis.
pub(crate) fn task(job: &JobRef) -> Task {
    Task { company_id: job.company_id, job_id: job.job_id.0 }
}
