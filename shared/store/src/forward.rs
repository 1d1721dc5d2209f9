//! Brings forward what an appointment waits for, at the word of somebody who may know more than the back-off does: a
//! webhook, an operator, an integrator. No other code lowers a floor or a next look.

use crate::JobRef;
use crate::error::StoreError;
use crate::promise::Locked;
use domain::id::JobId;
use sqlx::PgConnection;

/// Makes the next look of the unresolved op due now, unless its request is still in the hands of the worker that sent it,
/// and the waiting jobs, below their floor too. Returns these, to be rung after the commit. It enqueues nothing: where
/// no job waits, nobody will look.
///
/// It shortens no quarantine: what a look that comes too early does not find is looked for again.
pub(crate) async fn bring_forward(conn: &mut PgConnection, locked: &Locked) -> Result<Vec<JobRef>, StoreError> {
    sqlx::query!(
        "UPDATE calcom_op o SET next_look_at = LEAST(o.next_look_at, now())
         WHERE o.company_id = $1 AND o.appointment_id = $2 AND o.state IN ('sent', 'unknown')
           AND (o.state = 'unknown' OR NOT EXISTS (
                  SELECT FROM job h WHERE h.company_id = o.company_id AND h.job_id = o.job_id AND h.fence = o.fence))",
        locked.company_id,
        locked.appointment_id.0
    )
    .execute(&mut *conn)
    .await?;
    let rows = sqlx::query!(
        "UPDATE job SET run_at = LEAST(run_at, now()), not_before = LEAST(not_before, now()), rung_at = now()
         WHERE company_id = $1 AND subject = $2 AND state IN ('available', 'retryable') RETURNING job_id",
        locked.company_id,
        locked.appointment_id.0.to_string()
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| JobRef { company_id: locked.company_id, job_id: JobId(r.job_id) }).collect())
}
