//! Accept a wish for another try: whatever keeps promise and Cal.com apart is looked at now. The promise stays as it is.
//!
//! Absent: a look at Cal.com where the record sees no difference; that is what webhooks and sweeps are for.

use crate::accept::replay;
use crate::command::{AcceptError, Accepted, Decision, How, answer};
use crate::enqueue::{Enqueued, enqueue};
use crate::error::StoreError;
use crate::forward::bring_forward;
use crate::ledger::replace_parked;
use crate::promise::Locked;
use crate::release::release;
use crate::request::{Opened, Request, RequestKey};
use crate::{JobRef, Store};
use domain::id::{AppointmentId, JobId};
use domain::job::Kind;
use domain::refusal::Refusal;
use sqlx::PgConnection;
use uuid::Uuid;

/// A wish for another try.
#[derive(Clone, Debug)]
pub struct SyncCommand {
    /// Whose business.
    pub company_id: i32,
    /// Which.
    pub appointment_id: AppointmentId,
    /// Under which name it may be repeated.
    pub key: Option<RequestKey>,
}

impl Store {
    /// Enqueues a `sync` job for the current version, due now, and brings forward what the appointment waits for. Parked
    /// jobs give way to it. What is completed or was missed stays as it is: refused.
    ///
    /// # Errors
    /// See [`AcceptError`]; in every case nothing was written, except that after `Store(Away)` nobody knows.
    pub async fn accept_sync(&self, command: &SyncCommand) -> Result<Accepted, AcceptError> {
        let fresh = JobId(Uuid::now_v7());
        answer(self.retrying("accept_sync", || self.sync(command, fresh)).await)
    }

    async fn sync(&self, command: &SyncCommand, fresh: JobId) -> Result<Decision, StoreError> {
        let (company_id, appointment_id) = (command.company_id, command.appointment_id);
        let request = Request { company_id, key: command.key.as_ref(), call: None };
        let mut tx = self.pool.begin().await?;
        match request.open(&mut tx, appointment_id, Some(fresh)).await? {
            Opened::New => {}
            Opened::Reused => return Ok(Err(AcceptError::KeyReused)),
            Opened::Decided(earlier) => {
                if let Some(replayed) = replay(&mut tx, company_id, earlier, |_, _| true).await? {
                    return Ok(Ok(replayed));
                }
            }
        }
        let Some(locked) = Locked::wait_for(&mut tx, company_id, appointment_id).await? else {
            return Ok(Err(AcceptError::NotFound));
        };
        if let Some(refusal) = stays_as_it_is(&locked) {
            return Ok(Err(AcceptError::Refused(refusal)));
        }
        let xid = sqlx::query_scalar!(r#"SELECT pg_current_xact_id()::text AS "xid!""#).fetch_one(&mut *tx).await?;
        let (job, ring) = try_again(&mut tx, &locked, fresh).await?;
        request.close(&mut tx, appointment_id, None, Some(job.job.job_id), locked.version).await?;
        self.commit(tx, &xid).await?;
        Ok(Ok(tried(&locked, job, ring)))
    }
}

/// Why there is nothing to be tried: Cal.com keeps what it has.
pub(crate) fn stays_as_it_is(locked: &Locked) -> Option<Refusal> {
    locked.status.wants_booking().is_none().then_some(Refusal::Final { status: locked.status })
}

/// A `sync` job that is due now, whatever the appointment had waited for; all that is to be rung.
pub(crate) async fn try_again(
    conn: &mut PgConnection,
    locked: &Locked,
    fresh: JobId,
) -> Result<(Enqueued, Vec<JobRef>), StoreError> {
    let (company_id, appointment_id) = (locked.company_id, locked.appointment_id);
    let (job, _) = enqueue(conn, company_id, Kind::Sync, appointment_id, locked.version, fresh).await?;
    replace_parked(conn, locked, job.job.job_id).await?;
    let ring = bring_forward(conn, locked).await?;
    release(conn, company_id, appointment_id).await?;
    Ok((job, ring))
}

pub(crate) fn tried(locked: &Locked, job: Enqueued, ring: Vec<JobRef>) -> Accepted {
    let (appointment_id, version, status) = (locked.appointment_id, locked.version, locked.status);
    Accepted { appointment_id, version, status, how: How::New, job: Some(job), ring, hold: None, fee: None }
}
