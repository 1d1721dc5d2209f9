//! The op that a running job has sent: what settle reads of it, and the two ways to record what came of it, with the
//! booking of its segment.
//!
//! Absent: what follows for the promise and for the job; that is settle's.

use crate::claimed::Claimed;
use crate::error::StoreError;
use chrono::{DateTime, Utc};
use domain::answer::BookingUid;
use domain::id::SlotId;
use domain::slot::TimeRange;
use sqlx::PgConnection;
use uuid::Uuid;

/// A job that runs under the claim that settles it, and its op without an end.
pub(crate) struct Running {
    pub(crate) expected_version: Option<i32>,
    pub(crate) has_heir: bool,
    pub(crate) op: SentOp,
    pub(crate) now: DateTime<Utc>,
}

/// What was asked.
pub(crate) struct SentOp {
    pub(crate) appointment_version: i32,
    pub(crate) sent_at: DateTime<Utc>,
    pub(crate) looks: i16,
    pub(crate) slot_id: Option<Uuid>,
    pub(crate) starts_at: Option<DateTime<Utc>>,
}

impl Running {
    /// `None`: the fence has moved, the claim is over.
    pub(crate) async fn read(conn: &mut PgConnection, claimed: &Claimed) -> Result<Option<Self>, StoreError> {
        let row = sqlx::query!(
            r#"SELECT j.fence = $3 AND j.state = 'running' AS "ours!", j.expected_version, clock_timestamp() AS "now!",
                      EXISTS (SELECT FROM job w WHERE w.company_id = j.company_id AND w.subject = j.subject
                                AND w.kind = j.kind AND w.state IN ('available', 'retryable')) AS "has_heir!",
                      o.appointment_version AS "appointment_version?", o.sent_at AS "sent_at?", o.looks AS "looks?",
                      o.slot_id, o.starts_at
               FROM job j LEFT JOIN calcom_op o
                 ON o.company_id = j.company_id AND o.appointment_id = $4 AND o.op_id = $5
                    AND o.job_id = j.job_id AND o.fence = j.fence AND o.resolved_at IS NULL
               WHERE j.company_id = $1 AND j.job_id = $2"#,
            claimed.job.company_id,
            claimed.job.job_id.0,
            claimed.fence,
            claimed.appointment_id.0,
            claimed.op_id.0
        )
        .fetch_one(conn)
        .await?;
        if !row.ours {
            return Ok(None);
        }
        let (Some(appointment_version), Some(sent_at), Some(looks)) = (row.appointment_version, row.sent_at, row.looks)
        else {
            return Err(StoreError::Broken { what: "a running job has lost its op" });
        };
        let op = SentOp { appointment_version, sent_at, looks, slot_id: row.slot_id, starts_at: row.starts_at };
        Ok(Some(Self { expected_version: row.expected_version, has_heir: row.has_heir, op, now: row.now }))
    }
}

/// The op has its end.
pub(crate) async fn end_op(
    conn: &mut PgConnection,
    claimed: &Claimed,
    state: &str,
    uid: Option<&BookingUid>,
    answered: Option<u16>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE calcom_op SET state = $4, uid = COALESCE($5, uid), resolved_at = clock_timestamp(),
                answered_status = COALESCE($6, answered_status)
         WHERE company_id = $1 AND appointment_id = $2 AND op_id = $3 AND resolved_at IS NULL",
        claimed.job.company_id,
        claimed.appointment_id.0,
        claimed.op_id.0,
        state,
        uid.map(BookingUid::expose),
        answered.and_then(|s| i16::try_from(s).ok())
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The op stays unresolved, and nothing new is authorised for its appointment.
pub(crate) async fn keep_open(
    conn: &mut PgConnection,
    claimed: &Claimed,
    answered: Option<u16>,
    next_look_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE calcom_op SET state = 'unknown', next_look_at = $4, answered_status = COALESCE($5, answered_status)
         WHERE company_id = $1 AND appointment_id = $2 AND op_id = $3 AND resolved_at IS NULL",
        claimed.job.company_id,
        claimed.appointment_id.0,
        claimed.op_id.0,
        next_look_at,
        answered.and_then(|s| i16::try_from(s).ok())
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Which booking of a segment is live at Cal.com, and on which slot it stands; `None` = none is.
pub(crate) async fn record_booking(
    conn: &mut PgConnection,
    claimed: &Claimed,
    booking: Option<(&BookingUid, Option<Uuid>)>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE segment SET calcom_uid = $4, calcom_slot_id = $5
         WHERE company_id = $1 AND appointment_id = $2 AND segment_no = $3",
        claimed.job.company_id,
        claimed.appointment_id.0,
        claimed.effect.segment_no,
        booking.map(|(uid, _)| uid.expose()),
        booking.and_then(|(_, slot)| slot)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The slot on which a segment's booking stands at Cal.com.
pub(crate) async fn live_slot(
    conn: &mut PgConnection,
    claimed: &Claimed,
) -> Result<Option<(SlotId, TimeRange)>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT p.slot_id, lower(p.during) AS "starts_at!", upper(p.during) AS "ends_at!"
           FROM segment g JOIN slot p ON p.company_id = g.company_id AND p.appointment_id = g.appointment_id
                                      AND p.slot_id = g.calcom_slot_id
           WHERE g.company_id = $1 AND g.appointment_id = $2 AND g.segment_no = $3"#,
        claimed.job.company_id,
        claimed.appointment_id.0,
        claimed.effect.segment_no
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.and_then(|r| Some((SlotId(r.slot_id), TimeRange::new(r.starts_at, r.ends_at)?))))
}
