//! Bring forward: the one way in which a floor or a next look becomes earlier. Only a hint from Cal.com and a person may.

use crate::JobRef;
use crate::error::StoreError;
use crate::promise::Locked;
use domain::id::JobId;
use sqlx::PgConnection;

/// Under the appointment's lock: an op whose outcome is not known is looked for now, and whatever waits for this
/// appointment is due now. Returns what may be rung.
pub(crate) async fn bring_forward(conn: &mut PgConnection, locked: &Locked) -> Result<Vec<JobRef>, StoreError> {
    sqlx::query!(
        "UPDATE calcom_op SET next_look_at = clock_timestamp()
         WHERE company_id = $1 AND appointment_id = $2 AND state = 'unknown' AND next_look_at > clock_timestamp()",
        locked.company_id,
        locked.appointment_id.0
    )
    .execute(&mut *conn)
    .await?;
    let rows = sqlx::query!(
        "UPDATE job SET not_before = LEAST(not_before, now()), run_at = LEAST(run_at, now()), rung_at = now()
         WHERE company_id = $1 AND subject = $2 AND state IN ('available', 'retryable') AND run_at > now()
         RETURNING job_id",
        locked.company_id,
        locked.appointment_id.0.to_string()
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| JobRef { company_id: locked.company_id, job_id: JobId(r.job_id) }).collect())
}
