//! What anybody may look at: appointments, jobs, queues, callbacks. Each function reads one snapshot and locks nothing.
//!
//! Absent from every view: the customer's name and phone (but of one who asks to be rung: it is what he has said for
//! that), and the uids of Cal.com, which are capabilities.

use crate::accept::read_status;
use crate::error::StoreError;
use crate::fee::read_fee;
use crate::{JobRef, Store};
use chrono::{DateTime, Utc};
use domain::appointment::{Status, Sync};
use domain::id::{AppointmentId, JobId};
use domain::job::{Kind, State};
use domain::money::Money;
use domain::phone::Phone;
use uuid::Uuid;

/// An appointment as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppointmentView {
    /// Which.
    pub appointment_id: AppointmentId,
    /// Whose.
    pub company_id: i32,
    /// Counts changes of the promise.
    pub version: i32,
    /// The promise.
    pub status: Status,
    /// The worst of its segments.
    pub sync: Sync,
    /// When.
    pub starts_at: DateTime<Utc>,
    /// Until when.
    pub ends_at: DateTime<Utc>,
    /// IANA name.
    pub time_zone: String,
    /// Where.
    pub branch_id: i32,
    /// What.
    pub service_id: i32,
    /// What, for people.
    pub service_name: String,
    /// What its last change costs by the policy that it was decided by.
    pub fee: Option<Money>,
    /// With whom.
    pub staff_id: i32,
    /// With whom, for people.
    pub staff_name: String,
    /// `api` or `voice`.
    pub source: String,
    /// In which call it was made.
    pub call_id: Option<String>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// Why it became what it is: of its last change.
    pub reason: Option<String>,
}

/// What somebody who waits for an appointment wants to know, and no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Whose.
    pub company_id: i32,
    /// Which.
    pub appointment_id: AppointmentId,
    /// The promise.
    pub status: Status,
    /// Counts changes of the promise.
    pub version: i32,
    /// The worst of its segments.
    pub sync: Sync,
    /// A booking or sync job of it waits or runs: this may still change.
    pub open: bool,
}

/// Whose appointments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Whose {
    /// Those made in this call (Retell's id).
    Call(String),
    /// Those of this number.
    Phone(Phone),
}

/// One row of the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobView {
    /// Which.
    pub job: JobRef,
    /// Who asked.
    pub kind: Kind,
    /// `{kind}:{subject}`.
    pub key: String,
    /// What it is about.
    pub appointment_id: Option<AppointmentId>,
    /// Where it stands.
    pub state: State,
    /// When it is due.
    pub run_at: DateTime<Utc>,
    /// Failed attempts.
    pub attempt: i16,
    /// Workers that died on it.
    pub crashes: i16,
    /// The version it was asked for.
    pub expected_version: Option<i32>,
    /// The version it found.
    pub found_version: Option<i32>,
    /// The status it found.
    pub found_status: Option<String>,
    /// The job that took its place.
    pub superseded_by: Option<JobId>,
    /// What came of it last.
    pub outcome: Option<String>,
    /// When it was enqueued.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// Which jobs; `None` = all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JobFilter {
    /// Of this kind.
    pub kind: Option<Kind>,
    /// In this state.
    pub state: Option<State>,
    /// About this appointment.
    pub appointment_id: Option<AppointmentId>,
    /// 1–200.
    pub limit: i64,
    /// Older than this one: the last of the page before.
    pub before: Option<JobId>,
}

/// One queue; it is named after its kind.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct QueueView {
    /// Which.
    pub kind: Kind,
    /// Wait for their first run.
    pub available: i64,
    /// Wait to run again.
    pub retryable: i64,
    /// Are held by a worker.
    pub running: i64,
    /// Need a person.
    pub parked: i64,
    /// How long the oldest one that is due has been due.
    pub oldest_due_seconds: Option<f64>,
}

/// A person must ring the customer, or look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallbackView {
    /// Which.
    pub callback_id: Uuid,
    /// About what.
    pub appointment_id: Option<AppointmentId>,
    /// A word.
    pub reason: String,
    /// Since when.
    pub created_at: DateTime<Utc>,
    /// When somebody had done it.
    pub done_at: Option<DateTime<Utc>>,
    /// Who takes care of it.
    pub assigned_to: Option<String>,
    /// Where somebody who asks for it can be reached, E.164. Not for logs, as the two that follow.
    pub phone: Option<String>,
    /// As he has said it.
    pub customer_name: Option<String>,
    /// What it is about, in his words.
    pub said: Option<String>,
}

impl Store {
    /// One appointment.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn appointment(&self, company_id: i32, id: AppointmentId) -> Result<Option<AppointmentView>, StoreError> {
        Ok(self.views(company_id, &[id.0]).await?.pop())
    }

    /// Appointments that are promised and not over, by start; those that would hear "you have it already" or can still
    /// be called off.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn upcoming_of(
        &self,
        company_id: i32,
        whose: &Whose,
        limit: i64,
    ) -> Result<Vec<AppointmentView>, StoreError> {
        let ids = match whose {
            Whose::Call(call_id) => {
                sqlx::query_scalar!(
                    "SELECT appointment_id FROM appointment WHERE company_id = $1 AND call_id = $2
                       AND status IN ('requested', 'scheduled') AND ends_at > clock_timestamp()
                     ORDER BY starts_at LIMIT $3",
                    company_id,
                    call_id,
                    limit
                )
                .fetch_all(&self.pool)
                .await?
            }
            Whose::Phone(phone) => {
                sqlx::query_scalar!(
                    "SELECT a.appointment_id FROM customer c JOIN appointment a USING (company_id, customer_id)
                     WHERE c.company_id = $1 AND c.phone = $2 AND a.status IN ('requested', 'scheduled')
                       AND a.ends_at > clock_timestamp()
                     ORDER BY a.starts_at LIMIT $3",
                    company_id,
                    phone.as_e164(),
                    limit
                )
                .fetch_all(&self.pool)
                .await?
            }
        };
        self.views(company_id, &ids).await
    }

    /// The last appointment that was booked in a call, whatever became of it; else one that the call was told is the
    /// customer's already.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn booked_in(&self, company_id: i32, call_id: &str) -> Result<Option<AppointmentView>, StoreError> {
        let id = sqlx::query_scalar!(
            r#"SELECT b.appointment_id AS "appointment_id!" FROM (
                 SELECT appointment_id, true AS is_own, created_at FROM appointment
                 WHERE company_id = $1 AND call_id = $2
                 UNION ALL
                 SELECT a.appointment_id, false, a.created_at
                 FROM call c JOIN appointment a USING (company_id, appointment_id)
                 WHERE c.company_id = $1 AND c.call_id = $2 AND a.status IN ('requested', 'scheduled')) b
               ORDER BY is_own DESC, created_at DESC LIMIT 1"#,
            company_id,
            call_id
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(self.views(company_id, id.as_slice()).await?.pop())
    }

    async fn views(&self, company_id: i32, ids: &[Uuid]) -> Result<Vec<AppointmentView>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT a.*, v.name AS service_name, g.staff_id, f.name AS staff_name, e.why AS "reason?",
                      e.fee_minor AS "fee_minor?", e.fee_currency AS "fee_currency?",
                      ARRAY(SELECT o.sync FROM segment o WHERE o.company_id = a.company_id
                              AND o.appointment_id = a.appointment_id) AS "syncs!"
               FROM appointment a
               JOIN service v USING (company_id, service_id)
               JOIN segment g ON g.company_id = a.company_id AND g.appointment_id = a.appointment_id AND g.segment_no = 1
               JOIN staff f ON f.company_id = g.company_id AND f.staff_id = g.staff_id
               LEFT JOIN appointment_event e
                 ON e.company_id = a.company_id AND e.appointment_id = a.appointment_id AND e.version = a.version
               WHERE a.company_id = $1 AND a.appointment_id = ANY($2) ORDER BY a.starts_at, a.appointment_id"#,
            company_id,
            ids
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|r| {
                Ok(AppointmentView {
                    appointment_id: AppointmentId(r.appointment_id),
                    company_id: r.company_id,
                    version: r.version,
                    status: read_status(&r.status)?,
                    sync: worst(&r.syncs)?,
                    starts_at: r.starts_at,
                    ends_at: r.ends_at,
                    time_zone: r.time_zone,
                    branch_id: r.branch_id,
                    service_id: r.service_id,
                    service_name: r.service_name,
                    fee: read_fee(r.fee_minor, r.fee_currency.as_deref())?,
                    staff_id: r.staff_id,
                    staff_name: r.staff_name,
                    source: r.source,
                    call_id: r.call_id,
                    created_at: r.created_at,
                    reason: r.reason,
                })
            })
            .collect()
    }

    /// How several appointments stand, asked at once for all who wait; unknown ids are left out.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn standing(&self, ids: &[(i32, AppointmentId)]) -> Result<Vec<Standing>, StoreError> {
        let (companies, appointments): (Vec<i32>, Vec<Uuid>) = ids.iter().map(|(c, a)| (*c, a.0)).unzip();
        // No `state = ..` in the look-up: it would tempt the planner into a partial index full of dead entries.
        let rows = sqlx::query!(
            r#"SELECT a.company_id, a.appointment_id, a.status, a.version,
                      ARRAY(SELECT g.sync FROM segment g WHERE g.company_id = a.company_id
                              AND g.appointment_id = a.appointment_id) AS "syncs!",
                      COALESCE((SELECT bool_or(j.state IN ('available', 'retryable', 'running')
                                               AND j.kind IN ('booking', 'sync')) FROM job j
                                WHERE j.company_id = a.company_id AND j.appointment_id = a.appointment_id),
                               false) AS "open!"
               FROM unnest($1::int[], $2::uuid[]) AS w (company_id, appointment_id)
               JOIN appointment a USING (company_id, appointment_id)"#,
            &companies,
            &appointments
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|r| {
                Ok(Standing {
                    company_id: r.company_id,
                    appointment_id: AppointmentId(r.appointment_id),
                    status: read_status(&r.status)?,
                    version: r.version,
                    sync: worst(&r.syncs)?,
                    open: r.open,
                })
            })
            .collect()
    }

    /// Jobs, newest first, a page of at most 200.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn jobs(&self, company_id: i32, filter: &JobFilter) -> Result<Vec<JobView>, StoreError> {
        let rows = sqlx::query_as!(
            JobRow,
            "SELECT company_id, job_id, kind, subject, appointment_id, state, run_at, attempt, crashes,
                    expected_version, found_version, found_status, superseded_by, outcome, created_at, finished_at
             FROM job WHERE company_id = $1 AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR state = $3)
               AND ($4::uuid IS NULL OR appointment_id = $4) AND ($5::uuid IS NULL OR job_id < $5)
             ORDER BY job_id DESC LIMIT $6",
            company_id,
            filter.kind.map(Kind::as_str),
            filter.state.map(State::as_str),
            filter.appointment_id.map(|a| a.0),
            filter.before.map(|j| j.0),
            filter.limit.clamp(1, 200)
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(JobRow::view).collect()
    }

    /// One job.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn job(&self, company_id: i32, job_id: JobId) -> Result<Option<JobView>, StoreError> {
        let row = sqlx::query_as!(
            JobRow,
            "SELECT company_id, job_id, kind, subject, appointment_id, state, run_at, attempt, crashes,
                    expected_version, found_version, found_status, superseded_by, outcome, created_at, finished_at
             FROM job WHERE company_id = $1 AND job_id = $2",
            company_id,
            job_id.0
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(JobRow::view).transpose()
    }

    /// Every queue, of one company or of all.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn queues(&self, company_id: Option<i32>) -> Result<Vec<QueueView>, StoreError> {
        // Three reads of three small partial indexes; the finished rows are not touched.
        let rows = sqlx::query!(
            r#"SELECT kind AS "kind!", count(*) FILTER (WHERE state = 'available') AS "available!",
                      count(*) FILTER (WHERE state = 'retryable') AS "retryable!",
                      count(*) FILTER (WHERE state = 'running') AS "running!",
                      count(*) FILTER (WHERE state = 'parked') AS "parked!",
                      EXTRACT(EPOCH FROM max(clock_timestamp() - run_at) FILTER (
                        WHERE state IN ('available', 'retryable') AND run_at <= now()))::float8 AS oldest_due_seconds
               FROM (SELECT company_id, kind, state, run_at FROM job WHERE state IN ('available', 'retryable')
                     UNION ALL SELECT company_id, kind, state, run_at FROM job WHERE state = 'running'
                     UNION ALL SELECT company_id, kind, state, run_at FROM job WHERE state = 'parked') j
               WHERE $1::int IS NULL OR company_id = $1 GROUP BY kind"#,
            company_id
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(Kind::ALL
            .into_iter()
            .map(|kind| {
                let row = rows.iter().find(|r| r.kind == kind.as_str());
                QueueView {
                    kind,
                    available: row.map_or(0, |r| r.available),
                    retryable: row.map_or(0, |r| r.retryable),
                    running: row.map_or(0, |r| r.running),
                    parked: row.map_or(0, |r| r.parked),
                    oldest_due_seconds: row.and_then(|r| r.oldest_due_seconds),
                }
            })
            .collect())
    }

    /// Whom a person must ring, oldest first, at most 500.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn callbacks(&self, company_id: i32, open_only: bool) -> Result<Vec<CallbackView>, StoreError> {
        let rows = sqlx::query!(
            "SELECT callback_id, appointment_id, reason, created_at, done_at, assigned_to, phone, customer_name, said
             FROM callback_request
             WHERE company_id = $1 AND (NOT $2 OR done_at IS NULL) ORDER BY created_at LIMIT 500",
            company_id,
            open_only
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|r| CallbackView {
                callback_id: r.callback_id,
                appointment_id: r.appointment_id.map(AppointmentId),
                reason: r.reason,
                created_at: r.created_at,
                done_at: r.done_at,
                assigned_to: r.assigned_to,
                phone: r.phone,
                customer_name: r.customer_name,
                said: r.said,
            })
            .collect())
    }
}

/// The worst of several, by what it asks of people.
fn worst(syncs: &[String]) -> Result<Sync, StoreError> {
    const BAD_TO_GOOD: [Sync; 7] = [
        Sync::NeedsReview,
        Sync::Orphaned,
        Sync::Unknown,
        Sync::InFlight,
        Sync::Pending,
        Sync::AwaitingConfirmation,
        Sync::Synced,
    ];
    let worst = BAD_TO_GOOD.into_iter().find(|bad| syncs.iter().any(|s| s == bad.as_str()));
    worst.ok_or(StoreError::Broken { what: "an appointment has no segment" })
}

struct JobRow {
    company_id: i32,
    job_id: Uuid,
    kind: String,
    subject: String,
    appointment_id: Option<Uuid>,
    state: String,
    run_at: DateTime<Utc>,
    attempt: i16,
    crashes: i16,
    expected_version: Option<i32>,
    found_version: Option<i32>,
    found_status: Option<String>,
    superseded_by: Option<Uuid>,
    outcome: Option<String>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

impl JobRow {
    fn view(self) -> Result<JobView, StoreError> {
        Ok(JobView {
            job: JobRef { company_id: self.company_id, job_id: JobId(self.job_id) },
            key: format!("{}:{}", self.kind, self.subject),
            kind: Kind::parse(&self.kind).ok_or(StoreError::Broken { what: "a job has an unknown kind" })?,
            appointment_id: self.appointment_id.map(AppointmentId),
            state: State::parse(&self.state).ok_or(StoreError::Broken { what: "a job has an unknown state" })?,
            run_at: self.run_at,
            attempt: self.attempt,
            crashes: self.crashes,
            expected_version: self.expected_version,
            found_version: self.found_version,
            found_status: self.found_status,
            superseded_by: self.superseded_by.map(JobId),
            outcome: self.outcome,
            created_at: self.created_at,
            finished_at: self.finished_at,
        })
    }
}
