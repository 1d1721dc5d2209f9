//! Appointments that need a person: the list of them, and what a person may decide.
//!
//! Nothing here says that all is well again: only a transaction that finds Cal.com as promised, and nothing unresolved,
//! lifts a review. A person's decision makes a job due that gets there, or changes the promise.

use crate::Store;
use crate::accept::read_status;
use crate::cancel::call_off_locked;
use crate::command::Who;
use crate::command::{AcceptError, Accepted, answer};
use crate::error::StoreError;
use crate::forward::bring_forward;
use crate::ledger::replace_parked;
use crate::op_list::{OpState, kind as op_kind};
use crate::operator::note_operator;
use crate::promise::{Cause, Locked};
use crate::sync::{stays_as_it_is, tried, try_again};
use chrono::{DateTime, Utc};
use domain::appointment::{Change, IllegalChange, Status, Sync};
use domain::effect::EffectKind;
use domain::id::{AppointmentId, JobId};
use domain::job::{Kind, State};
use domain::refusal::Refusal;
use sqlx::PgConnection;
use uuid::Uuid;

/// Reviews in one list.
const REVIEWS_MAX: i64 = 500;

/// A segment that needs a person; its slot stays occupied until then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Review {
    /// Whose, for people.
    pub company: String,
    /// Which.
    pub appointment_id: AppointmentId,
    /// Which part of it.
    pub segment_no: i16,
    /// The promise.
    pub status: Status,
    /// Counts changes of the promise.
    pub version: i32,
    /// What was promised.
    pub starts_at: DateTime<Utc>,
    /// Has that time come already?
    pub has_begun: bool,
    /// The time of the booking that Cal.com is known to have.
    pub booked_at: Option<DateTime<Utc>>,
    /// A request to Cal.com whose outcome is not known.
    pub unresolved: Option<(EffectKind, OpState)>,
    /// A word: what the job came to, or why the customer must be rung.
    pub reason: Option<String>,
    /// Since when.
    pub since: Option<DateTime<Utc>>,
    /// The job that is about it already.
    pub job: Option<(JobId, Kind, State)>,
}

/// What a person decides.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ResolveBy {
    /// Try again what was promised: its cause is gone.
    Retry,
    /// Call the appointment off.
    Cancel,
    /// Take over what the business has made of it at Cal.com.
    Follow,
}

impl ResolveBy {
    fn what(self) -> &'static str {
        match self {
            Self::Retry => "review resolve --by retry",
            Self::Cancel => "review resolve --by cancel",
            Self::Follow => "review resolve --by follow",
        }
    }
}

/// A decision about an appointment that needs one.
#[derive(Clone, Debug)]
pub struct ReviewCommand {
    /// Whose business.
    pub company_id: i32,
    /// Which.
    pub appointment_id: AppointmentId,
    /// What is to happen.
    pub by: ResolveBy,
    /// For whoever asks later.
    pub why: String,
}

impl Store {
    /// What needs a person, of one company or of all, the longest first, at most 500.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn reviews(&self, company_id: Option<i32>) -> Result<Vec<Review>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT c.slug, g.appointment_id, g.segment_no, a.status, a.version, a.starts_at,
                      a.starts_at <= clock_timestamp() AS "has_begun!", lower(p.during) AS booked_at,
                      o.kind AS "op_kind?", o.state AS "op_state?", w.reason AS "reason?", w.since AS "since?",
                      j.job_id AS "job_id?", j.kind AS "job_kind?", j.state AS "job_state?"
               FROM segment g JOIN appointment a USING (company_id, appointment_id) JOIN company c USING (company_id)
               LEFT JOIN slot p ON p.company_id = g.company_id AND p.appointment_id = g.appointment_id
                               AND p.slot_id = g.calcom_slot_id
               LEFT JOIN calcom_op o ON o.company_id = g.company_id AND o.appointment_id = g.appointment_id
                               AND o.segment_no = g.segment_no AND o.state IN ('sent', 'unknown')
               LEFT JOIN LATERAL (
                 SELECT reason, since FROM (
                   SELECT outcome AS reason, finished_at AS since, true AS is_open FROM job
                   WHERE company_id = g.company_id AND appointment_id = g.appointment_id AND state = 'parked'
                     AND kind IN ('booking', 'sync')
                   UNION ALL
                   SELECT reason, created_at, done_at IS NULL FROM callback_request
                   WHERE company_id = g.company_id AND appointment_id = g.appointment_id) r
                 ORDER BY is_open DESC, since DESC LIMIT 1) w ON true
               LEFT JOIN LATERAL (
                 SELECT job_id, kind, state FROM job
                 WHERE company_id = g.company_id AND appointment_id = g.appointment_id AND kind IN ('booking', 'sync')
                   AND state IN ('available', 'retryable', 'running')
                 ORDER BY state = 'running' DESC, run_at LIMIT 1) j ON true
               WHERE g.sync = $3 AND ($1::int IS NULL OR g.company_id = $1)
               ORDER BY w.since, g.appointment_id, g.segment_no LIMIT $2"#,
            company_id,
            REVIEWS_MAX,
            Sync::NeedsReview.as_str()
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|r| {
                let state = r.op_state.as_deref().and_then(OpState::parse);
                let job_kind = r.job_kind.as_deref().and_then(Kind::parse);
                let job = r.job_id.zip(job_kind).zip(r.job_state.as_deref().and_then(State::parse));
                Ok(Review {
                    company: r.slug,
                    appointment_id: AppointmentId(r.appointment_id),
                    segment_no: r.segment_no,
                    status: read_status(&r.status)?,
                    version: r.version,
                    starts_at: r.starts_at,
                    has_begun: r.has_begun,
                    booked_at: r.booked_at,
                    unresolved: r.op_kind.as_deref().map(op_kind).transpose()?.zip(state),
                    reason: r.reason,
                    since: r.since,
                    job: job.map(|((id, kind), state)| (JobId(id), kind, state)),
                })
            })
            .collect()
    }

    /// Does what a person has decided about an appointment that needs a review; that it still does is read under its lock.
    /// `None`: it does not, and nothing was written. Unlike any other, a promise whose time is over may be called off here:
    /// else nobody could ever lift its review.
    ///
    /// # Errors
    /// See [`AcceptError`]; in every case nothing was written, except that after `Store(Away)` nobody knows.
    pub async fn resolve_review(&self, command: &ReviewCommand) -> Result<Option<Accepted>, AcceptError> {
        let fresh = JobId(Uuid::now_v7());
        answer(self.retrying("resolve_review", || self.resolve_once(command, fresh)).await)
    }

    async fn resolve_once(
        &self,
        command: &ReviewCommand,
        fresh: JobId,
    ) -> Result<Result<Option<Accepted>, AcceptError>, StoreError> {
        let (company_id, appointment_id) = (command.company_id, command.appointment_id);
        let mut tx = self.pool.begin().await?;
        let Some(mut locked) = Locked::wait_for(&mut tx, company_id, appointment_id).await? else {
            return Ok(Err(AcceptError::NotFound));
        };
        let read = sqlx::query!(
            r#"SELECT pg_current_xact_id()::text AS "xid!",
                      EXISTS (SELECT FROM segment g WHERE g.company_id = $1 AND g.appointment_id = $2
                                AND g.sync = $3) AS "needs_review!",
                      EXISTS (SELECT FROM calcom_op o WHERE o.company_id = $1 AND o.appointment_id = $2
                                AND o.state IN ('sent', 'unknown')) AS "is_unresolved!""#,
            company_id,
            appointment_id.0,
            Sync::NeedsReview.as_str()
        )
        .fetch_one(&mut *tx)
        .await?;
        if !read.needs_review {
            return Ok(Ok(None));
        }
        let (job, ring) = match command.by {
            ResolveBy::Retry => {
                if let Some(refusal) = stays_as_it_is(&locked) {
                    return Ok(Err(AcceptError::Refused(refusal)));
                }
                locked.free(&mut tx).await?;
                try_again(&mut tx, &locked, fresh).await?
            }
            ResolveBy::Follow => {
                let cause = Cause { who: Who::Operator.as_str(), why: Some(&command.why), job: None };
                if let Some(refusal) = follow(&mut tx, &mut locked, cause).await? {
                    return Ok(Err(AcceptError::Refused(refusal)));
                }
                try_again(&mut tx, &locked, fresh).await?
            }
            ResolveBy::Cancel => {
                if let Err(IllegalChange { from: status, .. }) = locked.status.after(Change::Cancel) {
                    return Ok(Err(AcceptError::Refused(Refusal::Final { status })));
                }
                let cause = Cause { who: Who::Operator.as_str(), why: Some(&command.why), job: None };
                let (job, _) = call_off_locked(&mut tx, &mut locked, read.is_unresolved, cause, fresh).await?;
                replace_parked(&mut tx, &locked, job.job.job_id).await?;
                (job, bring_forward(&mut tx, &locked).await?)
            }
        };
        let (what, subject) = (command.by.what(), appointment_id.to_string());
        note_operator(&mut tx, company_id, what, &subject, Some(&command.why)).await?;
        self.commit(tx, &read.xid).await?;
        Ok(Ok(Some(tried(&locked, job, ring))))
    }
}

/// The promise becomes what Cal.com is known to have. A refusal: that cannot be promised.
async fn follow(conn: &mut PgConnection, locked: &mut Locked, cause: Cause<'_>) -> Result<Option<Refusal>, StoreError> {
    if let Some(refusal) = stays_as_it_is(locked) {
        return Ok(Some(refusal));
    }
    let segments = locked.segments(conn).await?;
    locked.free(conn).await?;
    if locked.status.wants_booking() != Some(true) {
        return Ok(None);
    }
    let Some(segment) = segments.first() else { return Ok(None) };
    match &segment.live {
        // Not there, but not because of the business: then there is nothing to follow, and it is tried again.
        None if !segment.held => {}
        None => locked.change(conn, Change::Cancel, cause).await?,
        Some(live) if live.slot == segment.promised.slot => {}
        Some(live) => {
            let ours = sqlx::query_scalar!(
                r#"SELECT state = 'booked' AS "ours!" FROM slot
                   WHERE company_id = $1 AND appointment_id = $2 AND slot_id = $3"#,
                locked.company_id,
                locked.appointment_id.0,
                live.slot.0
            )
            .fetch_one(&mut *conn)
            .await?;
            if !ours {
                return Ok(Some(Refusal::Taken { alternatives: vec![] }));
            }
            locked.move_to(conn, (live.slot, live.during), "moved", cause).await?;
        }
    }
    Ok(None)
}
