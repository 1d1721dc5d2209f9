//! The `customer` job: what an appointment tells of its customer becomes the customer's, if it is newer. It has no
//! external effect, so claim, act and settle are one transaction.

use crate::claimed::Claim;
use crate::error::StoreError;
use crate::ledger::{Attempt, finish, record};
use crate::promise::Locked;
use crate::{JobRef, Store};
use domain::id::AppointmentId;
use domain::job::{Kind, State};

impl Store {
    /// Merges name, e-mail and language. Locks customer, then appointment, and re-reads.
    pub(crate) async fn merge_customer(&self, job: JobRef, worker: &str) -> Result<Claim, StoreError> {
        let mut tx = self.pool.begin().await?;
        let about = sqlx::query_scalar!(
            r#"SELECT a.appointment_id FROM job j JOIN appointment a USING (company_id, appointment_id)
               JOIN customer c USING (company_id, customer_id)
               WHERE j.company_id = $1 AND j.job_id = $2 AND j.kind = $3 FOR NO KEY UPDATE OF c"#,
            job.company_id,
            job.job_id.0,
            Kind::Customer.as_str()
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(appointment_id) = about.map(AppointmentId) else { return Ok(Claim::Gone) };
        let Some(locked) = Locked::wait_for(&mut tx, job.company_id, appointment_id).await? else {
            return Err(StoreError::Broken { what: "a job has no appointment" });
        };
        let row = sqlx::query!(
            r#"SELECT state, fence, expected_version, run_at <= clock_timestamp() AS "due!", clock_timestamp() AS "now!"
               FROM job
               WHERE company_id = $1 AND job_id = $2"#,
            job.company_id,
            job.job_id.0
        )
        .fetch_one(&mut *tx)
        .await?;
        if !(row.due && State::parse(&row.state).is_some_and(State::waits)) {
            return Ok(Claim::Gone);
        }
        sqlx::query!(
            "UPDATE customer c SET
               name = CASE WHEN a.created_at >= COALESCE(c.name_learnt_at, '-infinity') THEN a.given_name ELSE c.name END,
               name_learnt_at = GREATEST(a.created_at, c.name_learnt_at),
               email = CASE WHEN a.given_email IS NOT NULL AND a.created_at >= COALESCE(c.email_learnt_at, '-infinity')
                            THEN a.given_email ELSE c.email END,
               email_learnt_at = CASE WHEN a.given_email IS NULL THEN c.email_learnt_at
                                      ELSE GREATEST(a.created_at, c.email_learnt_at) END,
               language = CASE WHEN a.created_at >= COALESCE(c.name_learnt_at, '-infinity') THEN a.language
                               ELSE c.language END
             FROM appointment a
             WHERE a.company_id = $1 AND a.appointment_id = $2
               AND c.company_id = a.company_id AND c.customer_id = a.customer_id",
            job.company_id,
            appointment_id.0
        )
        .execute(&mut *tx)
        .await?;
        let (state, outcome) = (State::Completed, "merged");
        let (fence, seen_version, started_at) = (row.fence + 1, Some(locked.version), Some(row.now));
        record(&mut tx, &Attempt { job, fence, seen_version, worker, outcome, started_at }).await?;
        if !finish(&mut tx, job, row.fence, state, Some(&locked), outcome).await? {
            return Err(StoreError::Broken { what: "a job's fence moved under its subject's lock" });
        }
        tx.commit().await?;
        Ok(Claim::Ended { state, expected: row.expected_version, found: locked.version, ring: vec![] })
    }
}
