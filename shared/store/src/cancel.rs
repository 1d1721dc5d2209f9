//! Accept a cancellation: the promise changes at once; the slot stays occupied until Cal.com is known to agree.

use crate::Store;
use crate::accept::replay;
use crate::command::{AcceptError, Accepted, Decision, How, Who, answer};
use crate::enqueue::{Enqueued, enqueue};
use crate::error::StoreError;
use crate::operator::note_operator;
use crate::policy::hold_policies;
use crate::promise::{Cause, Locked};
use crate::release::release;
use crate::request::{CallFacts, Opened, Request, RequestKey};
use domain::appointment::{Change, IllegalChange, Learnt, Status};
use domain::id::{AppointmentId, JobId};
use domain::job::Kind;
use domain::policy::Operation;
use domain::refusal::Refusal;
use sqlx::PgConnection;
use uuid::Uuid;

/// A wish to call an appointment off.
#[derive(Clone, Debug)]
pub struct CancelCommand {
    /// Whose business.
    pub company_id: i32,
    /// Which.
    pub appointment_id: AppointmentId,
    /// The version it must be at; `None` = any.
    pub if_match: Option<i32>,
    /// Who wishes it.
    pub who: Who,
    /// As said.
    pub why: Option<String>,
    /// In which call.
    pub call: Option<CallFacts>,
    /// Under which name it may be repeated.
    pub key: Option<RequestKey>,
}

impl Store {
    /// Changes the promise to `cancelled` and enqueues the job that tells Cal.com. From every status that is not final,
    /// also while a booking is on its way; if the policies allow it, which nobody changes until this is committed.
    ///
    /// # Errors
    /// See [`AcceptError`]; in every case nothing was written, except that after `Store(Away)` nobody knows.
    pub async fn accept_cancel(&self, command: &CancelCommand) -> Result<Accepted, AcceptError> {
        let fresh = JobId(Uuid::now_v7());
        answer(self.retrying("accept_cancel", || self.call_off(command, fresh)).await)
    }

    async fn call_off(&self, command: &CancelCommand, fresh: JobId) -> Result<Decision, StoreError> {
        let (company_id, appointment_id) = (command.company_id, command.appointment_id);
        let request = Request { company_id, key: command.key.as_ref(), call: command.call.as_ref() };
        let mut tx = self.pool.begin().await?;
        match request.open(&mut tx, appointment_id, None).await? {
            Opened::New => {}
            Opened::Reused => return Ok(Err(AcceptError::KeyReused)),
            Opened::Decided(earlier) => {
                let stands = |status, _| !request.must_stand() || status == Status::Cancelled;
                if let Some(replayed) = replay(&mut tx, company_id, earlier, stands).await? {
                    return Ok(Ok(replayed));
                }
            }
        }
        let held = hold_policies(&mut tx, company_id, appointment_id, Operation::Cancellation, command.who).await?;
        let Some(mut locked) = Locked::wait_for(&mut tx, company_id, appointment_id).await? else {
            return Ok(Err(AcceptError::NotFound));
        };
        let read = sqlx::query!(
            r#"SELECT ends_at <= clock_timestamp() AS "has_ended!", pg_current_xact_id()::text AS "xid!",
                      EXISTS (SELECT FROM calcom_op o WHERE o.company_id = $1 AND o.appointment_id = $2
                                AND o.state IN ('sent', 'unknown')) AS "is_unresolved!"
               FROM appointment WHERE company_id = $1 AND appointment_id = $2"#,
            company_id,
            appointment_id.0
        )
        .fetch_one(&mut *tx)
        .await?;
        if command.if_match.is_some_and(|version| version != locked.version) {
            let (current, status) = (locked.version, locked.status);
            return Ok(Err(AcceptError::StaleVersion { current, status }));
        }
        if locked.status == Status::Cancelled {
            request.close(&mut tx, appointment_id, None, None, locked.version).await?;
            self.commit(tx, &read.xid).await?;
            let (version, status, how) = (locked.version, locked.status, How::Unchanged);
            return Ok(Ok(Accepted {
                appointment_id,
                version,
                status,
                how,
                job: None,
                ring: vec![],
                hold: None,
                fee: None,
            }));
        }
        if let Err(IllegalChange { from: status, .. }) = locked.status.after(Change::Cancel) {
            return Ok(Err(AcceptError::Refused(Refusal::Final { status })));
        }
        if read.has_ended {
            return Ok(Err(AcceptError::Refused(Refusal::InThePast)));
        }
        if let Some(held) = held
            && let Err(denied) = held.rule_on(&mut tx, &mut locked, Operation::Cancellation).await?
        {
            return Ok(Err(AcceptError::Refused(denied)));
        }
        let fee = locked.ruled.and_then(|ruled| ruled.fee);
        let cause = Cause { who: command.who.as_str(), why: command.why.as_deref(), job: None };
        let (job, rings) = call_off_locked(&mut tx, &mut locked, read.is_unresolved, cause, fresh).await?;
        if command.who == Who::Operator {
            let (what, subject) = ("appointments cancel", appointment_id.to_string());
            note_operator(&mut tx, company_id, what, &subject, command.why.as_deref()).await?;
        }
        request.close(&mut tx, appointment_id, None, Some(job.job.job_id), locked.version).await?;
        self.commit(tx, &read.xid).await?;
        Ok(Ok(Accepted {
            appointment_id,
            version: locked.version,
            status: locked.status,
            how: How::New,
            job: Some(job),
            ring: if rings { vec![job.job] } else { vec![] },
            hold: None,
            fee,
        }))
    }
}

/// Changes the promise, and enqueues the job that tells Cal.com; true = it is to be rung. Whether it may be called off is
/// the caller's to ask.
pub(crate) async fn call_off_locked(
    conn: &mut PgConnection,
    locked: &mut Locked,
    is_unresolved: bool,
    cause: Cause<'_>,
    fresh: JobId,
) -> Result<(Enqueued, bool), StoreError> {
    locked.change(conn, Change::Cancel, cause).await?;
    if !is_unresolved {
        let segments = locked.segments(conn).await?;
        locked.learn(conn, &segments, None, Learnt::Differs).await?;
    }
    release(conn, locked.company_id, locked.appointment_id).await?;
    enqueue(conn, locked.company_id, Kind::Sync, locked.appointment_id, locked.version, fresh).await
}
