//! What was asked of Cal.com, for a person: the list of it, and a look that is to be made now.
//!
//! Absent from every view: the uids of Cal.com, which are capabilities.

use crate::Store;
use crate::command::{AcceptError, answer};
use crate::error::StoreError;
use crate::forward::bring_forward;
use crate::ledger::interval;
use crate::operator::note_operator;
use crate::promise::{Locked, span};
use crate::sync::try_again;
use chrono::{DateTime, Utc};
use domain::effect::EffectKind;
use domain::id::{AppointmentId, JobId, OpId};
use domain::job::{Kind, State};
use std::time::Duration;
use uuid::Uuid;

/// How a request to Cal.com stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OpState {
    /// Its intent is committed; a worker is at it, or was.
    Sent,
    /// Nobody knows what it did; it is looked for.
    Unknown,
    /// It had its effect.
    Applied,
    /// Cal.com said no.
    Refused,
    /// It had no effect, and will have none.
    Never,
}

impl OpState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Sent, Self::Unknown, Self::Applied, Self::Refused, Self::Never];

    /// Its word in SQL and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Unknown => "unknown",
            Self::Applied => "applied",
            Self::Refused => "refused",
            Self::Never => "never",
        }
    }

    /// Reads its word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }
}

/// Which requests; `None` = all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpFilter {
    /// Of this company.
    pub company_id: Option<i32>,
    /// About this appointment.
    pub appointment_id: Option<AppointmentId>,
    /// In this state.
    pub state: Option<OpState>,
    /// Sent longer ago than this.
    pub older_than: Option<Duration>,
    /// 1–200.
    pub limit: i64,
    /// Older than this one: the last of the page before.
    pub before: Option<OpId>,
}

/// One request to Cal.com.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpView {
    /// Which.
    pub op_id: OpId,
    /// Whose, for people.
    pub company: String,
    /// About what.
    pub appointment_id: AppointmentId,
    /// About which segment of it.
    pub segment_no: i16,
    /// What was asked for.
    pub kind: EffectKind,
    /// How it stands.
    pub state: OpState,
    /// The version of the promise that made it necessary.
    pub appointment_version: i32,
    /// The job that has it, or had it last.
    pub job_id: JobId,
    /// The start that was asked for; a cancel asks for none.
    pub starts_at: Option<DateTime<Utc>>,
    /// When its intent was committed.
    pub sent_at: DateTime<Utc>,
    /// When its outcome was known.
    pub resolved_at: Option<DateTime<Utc>>,
    /// The status with which Cal.com said no.
    pub answered_status: Option<i16>,
    /// Looks that were made for it.
    pub looks: i16,
    /// When it is looked for next, if it still is.
    pub next_look_at: Option<DateTime<Utc>>,
}

/// Who looks for an unresolved request, at the word of a person.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verifying {
    /// The request.
    pub op_id: OpId,
    /// What it asked for.
    pub kind: EffectKind,
    /// The job that looks.
    pub job_id: JobId,
    /// Its kind.
    pub job_kind: Kind,
    /// It is at it already; else it is due now.
    pub is_running: bool,
}

struct OpRow {
    op_id: Uuid,
    slug: String,
    appointment_id: Uuid,
    segment_no: i16,
    kind: String,
    state: String,
    appointment_version: i32,
    job_id: Uuid,
    starts_at: Option<DateTime<Utc>>,
    sent_at: DateTime<Utc>,
    resolved_at: Option<DateTime<Utc>>,
    answered_status: Option<i16>,
    looks: i16,
    next_look_at: Option<DateTime<Utc>>,
}

impl OpRow {
    fn view(self) -> Result<OpView, StoreError> {
        let state = OpState::parse(&self.state).ok_or(StoreError::Broken { what: "an op has an unknown state" })?;
        let is_open = matches!(state, OpState::Sent | OpState::Unknown);
        Ok(OpView {
            op_id: OpId(self.op_id),
            company: self.slug,
            appointment_id: AppointmentId(self.appointment_id),
            segment_no: self.segment_no,
            kind: kind(&self.kind)?,
            state,
            appointment_version: self.appointment_version,
            job_id: JobId(self.job_id),
            starts_at: self.starts_at,
            sent_at: self.sent_at,
            resolved_at: self.resolved_at,
            answered_status: self.answered_status,
            looks: self.looks,
            next_look_at: self.next_look_at.filter(|_| is_open),
        })
    }
}

impl Store {
    /// Requests to Cal.com, newest first.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn ops(&self, filter: &OpFilter) -> Result<Vec<OpView>, StoreError> {
        let rows = sqlx::query_as!(
            OpRow,
            "SELECT o.op_id, c.slug, o.appointment_id, o.segment_no, o.kind, o.state, o.appointment_version, o.job_id,
                    o.starts_at, o.sent_at, o.resolved_at, o.answered_status, o.looks, o.next_look_at
             FROM calcom_op o JOIN company c USING (company_id)
             WHERE ($1::int IS NULL OR o.company_id = $1) AND ($2::uuid IS NULL OR o.appointment_id = $2)
               AND ($3::text IS NULL OR o.state = $3) AND ($4::interval IS NULL OR o.sent_at < clock_timestamp() - $4)
               AND ($5::uuid IS NULL OR o.op_id < $5)
             ORDER BY o.op_id DESC LIMIT $6",
            filter.company_id,
            filter.appointment_id.map(|a| a.0),
            filter.state.map(OpState::as_str),
            filter.older_than.map(|age| interval(span(age))).transpose()?,
            filter.before.map(|o| o.0),
            filter.limit.clamp(1, 200)
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(OpRow::view).collect()
    }

    /// Makes the next look for an appointment's unresolved request due now. A job that waits makes it, else one is
    /// enqueued; a worker that is at it is left alone. `None`: nothing is unresolved, and nothing was written.
    ///
    /// # Errors
    /// See [`AcceptError`]; in every case nothing was written, except that after `Store(Away)` nobody knows.
    pub async fn verify_op(
        &self,
        company_id: i32,
        appointment_id: AppointmentId,
        why: Option<&str>,
    ) -> Result<Option<Verifying>, AcceptError> {
        let fresh = JobId(Uuid::now_v7());
        answer(self.retrying("verify_op", || self.verify_once(company_id, appointment_id, why, fresh)).await)
    }

    async fn verify_once(
        &self,
        company_id: i32,
        appointment_id: AppointmentId,
        why: Option<&str>,
        fresh: JobId,
    ) -> Result<Result<Option<Verifying>, AcceptError>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let Some(locked) = Locked::wait_for(&mut tx, company_id, appointment_id).await? else {
            return Ok(Err(AcceptError::NotFound));
        };
        let row = sqlx::query!(
            r#"SELECT o.op_id, o.kind, j.job_id AS "job_id?", j.kind AS "job_kind?", j.state AS "job_state?",
                      pg_current_xact_id()::text AS "xid!"
               FROM calcom_op o LEFT JOIN job j
                 ON j.company_id = o.company_id AND j.appointment_id = o.appointment_id AND j.kind IN ('booking', 'sync')
                    AND j.state IN ('available', 'retryable', 'running')
               WHERE o.company_id = $1 AND o.appointment_id = $2 AND o.state IN ('sent', 'unknown')
               ORDER BY j.state = 'running' DESC, j.run_at LIMIT 1"#,
            company_id,
            appointment_id.0
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(Ok(None)) };
        let running = row.job_state.as_deref().and_then(State::parse) == Some(State::Running);
        let (job_id, job_kind) = match row.job_id.zip(row.job_kind.as_deref().and_then(Kind::parse)) {
            Some((job_id, job_kind)) => {
                bring_forward(&mut tx, &locked).await?;
                (JobId(job_id), job_kind)
            }
            None => {
                let (job, _) = try_again(&mut tx, &locked, fresh).await?;
                (job.job.job_id, job.kind)
            }
        };
        note_operator(&mut tx, company_id, "ops verify", &appointment_id.to_string(), why).await?;
        self.commit(tx, &row.xid).await?;
        Ok(Ok(Some(Verifying {
            op_id: OpId(row.op_id),
            kind: kind(&row.kind)?,
            job_id,
            job_kind,
            is_running: running,
        })))
    }
}

pub(crate) fn kind(word: &str) -> Result<EffectKind, StoreError> {
    EffectKind::parse(word).ok_or(StoreError::Broken { what: "an op has an unknown kind" })
}
