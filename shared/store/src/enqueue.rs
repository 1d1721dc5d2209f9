//! Puts a job into the ledger, in the transaction that makes it necessary and under its subject's lock. A job of the
//! same key that already waits takes the request over; nothing is lost, because it re-reads the world.

use crate::JobRef;
use crate::error::StoreError;
use domain::id::{AppointmentId, JobId};
use domain::job::{Kind, State};
use sqlx::PgConnection;

/// The job that will do what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enqueued {
    /// Which.
    pub job: JobRef,
    /// Of which kind.
    pub kind: Kind,
    /// Did it wait already, and was this request merged into it?
    pub coalesced: bool,
    /// Where it stands.
    pub state: State,
}

/// Enqueues, due now; `fresh` is the id it has if no job of its key waits. The second half of the answer is true if it
/// is to be rung after the commit: then it counts as rung.
pub(crate) async fn enqueue(
    conn: &mut PgConnection,
    company_id: i32,
    kind: Kind,
    appointment_id: AppointmentId,
    expected_version: i32,
    fresh: JobId,
) -> Result<(Enqueued, bool), StoreError> {
    let subject = appointment_id.0.to_string();
    enqueue_about(conn, company_id, kind, &subject, Some(appointment_id), Some(expected_version), fresh).await
}

/// As [`enqueue`], for a job whose subject is no appointment; `appointment_id` is whose lock covers it all the same.
pub(crate) async fn enqueue_about(
    conn: &mut PgConnection,
    company_id: i32,
    kind: Kind,
    subject: &str,
    appointment_id: Option<AppointmentId>,
    expected_version: Option<i32>,
    fresh: JobId,
) -> Result<(Enqueued, bool), StoreError> {
    // DO NOTHING would lose a wake to a claim that is being committed; the floor is never lowered.
    let row = sqlx::query!(
        r#"INSERT INTO job (company_id, job_id, kind, subject, appointment_id, expected_version, rung_at, created_at)
           VALUES ($1, $2, $3, $4, $5, $6, now(), clock_timestamp())
           ON CONFLICT (company_id, subject, kind) WHERE state IN ('available', 'retryable') DO UPDATE SET
             run_at = GREATEST(LEAST(job.run_at, EXCLUDED.run_at), job.not_before),
             expected_version = GREATEST(job.expected_version, EXCLUDED.expected_version),
             attempt = CASE WHEN EXCLUDED.expected_version > job.expected_version THEN 0 ELSE job.attempt END,
             rung_at = CASE WHEN job.not_before <= EXCLUDED.run_at THEN now() ELSE job.rung_at END
           RETURNING job_id, job_id = $2 AS "is_new!", state, run_at <= now() AS "is_due!""#,
        company_id,
        fresh.0,
        kind.as_str(),
        subject,
        appointment_id.map(|id| id.0),
        expected_version
    )
    .fetch_one(conn)
    .await?;
    let job = JobRef { company_id, job_id: JobId(row.job_id) };
    let state = State::parse(&row.state).ok_or(StoreError::Broken { what: "a job has an unknown state" })?;
    Ok((Enqueued { job, kind, coalesced: !row.is_new, state }, row.is_due))
}
