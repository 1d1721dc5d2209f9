//! What is due: the direct claimer's candidates, the relay's rows. Loops, not jobs; harmless when doubled.

use crate::error::StoreError;
use crate::{JobRef, Store};
use domain::id::{AppointmentId, JobId};
use domain::job::Kind;

/// A job that may be claimed; only the claim knows.
pub(crate) struct Due {
    pub(crate) job: JobRef,
    /// Whose lock comes first; `None`: its kind's locks begin elsewhere, so it is claimed by itself.
    pub(crate) appointment_id: Option<AppointmentId>,
}

impl Store {
    /// Due for a second, not running anywhere, one a subject (its customer last); read without a lock. Of the oldest ones
    /// any: workers that ask at once are not to meet at the same rows.
    pub(crate) async fn due(&self, limit: i64) -> Result<Vec<Due>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT d.company_id AS "company_id!", d.job_id AS "job_id!", d.kind AS "kind!",
                      d.appointment_id FROM (
                 SELECT DISTINCT ON (c.company_id, c.subject) c.* FROM (
                   SELECT company_id, subject, job_id, kind, appointment_id FROM job
                   WHERE state IN ('available', 'retryable') AND run_at <= clock_timestamp() - interval '1 second'
                   ORDER BY run_at, created_at LIMIT 10 * $1::bigint) c
                 WHERE NOT EXISTS (SELECT FROM job r WHERE r.company_id = c.company_id AND r.subject = c.subject
                                     AND r.state = 'running')
                 ORDER BY c.company_id, c.subject, c.kind = $2) d
               ORDER BY random() LIMIT $1::bigint"#,
            limit,
            Kind::Customer.as_str()
        )
        .fetch_all(&self.pool)
        .await?;
        // A kind that only a newer release knows is that one's to claim.
        let due = rows.into_iter().filter_map(|r| {
            let job = JobRef { company_id: r.company_id, job_id: JobId(r.job_id) };
            let appointment_id = match Kind::parse(&r.kind)? {
                Kind::Booking | Kind::Sync => r.appointment_id.map(AppointmentId),
                Kind::Customer | Kind::CalcomEvent | Kind::Call => None,
            };
            Some(Due { job, appointment_id })
        });
        Ok(due.collect())
    }

    /// Takes what is due and has not been rung for within 10 s, oldest first, at most `cap`. One process of the fleet
    /// at a time; the others get nothing. Never waits while it holds rows.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn relay(&self, cap: i64) -> Result<Vec<JobRef>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let alone = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock(hashtext('askpro relay')) AS "alone!""#)
            .fetch_one(&mut *tx)
            .await?;
        if !alone {
            return Ok(vec![]);
        }
        let rows = sqlx::query!(
            "WITH due AS MATERIALIZED (
               SELECT company_id, job_id FROM job
               WHERE state IN ('available', 'retryable') AND run_at <= clock_timestamp()
                 AND rung_at < clock_timestamp() - interval '10 seconds'
               ORDER BY run_at, created_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED)
             UPDATE job SET rung_at = clock_timestamp() FROM due
             WHERE job.company_id = due.company_id AND job.job_id = due.job_id RETURNING job.company_id, job.job_id",
            cap
        )
        .fetch_all(&mut *tx)
        .await?;
        if rows.is_empty() {
            return Ok(vec![]);
        }
        tx.commit().await?;
        Ok(rows.into_iter().map(|r| JobRef { company_id: r.company_id, job_id: JobId(r.job_id) }).collect())
    }
}
