//! The one rule that gives time back: while no op is unresolved, each slot that neither the promise nor the recorded
//! booking names. No other code releases.

use crate::error::StoreError;
use domain::id::AppointmentId;
use sqlx::PgConnection;

/// Ends every transaction under the appointment's lock, as a statement of its own: inside the one that resolves an op,
/// that op still looks unresolved. Returns how many slots are free now.
pub(crate) async fn release(
    conn: &mut PgConnection,
    company_id: i32,
    appointment_id: AppointmentId,
) -> Result<u64, StoreError> {
    // `||''` keeps the planner away from the exclusion constraint's index.
    let released = sqlx::query!(
        "UPDATE slot s SET state = 'released', ended_at = clock_timestamp()
         WHERE s.company_id = $1 AND s.appointment_id = $2 AND s.state || '' = 'booked'
           AND NOT EXISTS (SELECT FROM calcom_op o WHERE o.company_id = $1 AND o.appointment_id = $2
                             AND o.state IN ('sent', 'unknown'))
           AND NOT EXISTS (SELECT FROM segment g JOIN appointment a USING (company_id, appointment_id)
                           WHERE g.company_id = $1 AND g.appointment_id = $2
                             AND (g.calcom_slot_id = s.slot_id
                                  OR (g.slot_id = s.slot_id AND a.status NOT IN ('cancelled', 'rejected'))))",
        company_id,
        appointment_id.0
    )
    .execute(conn)
    .await?;
    Ok(released.rows_affected())
}
