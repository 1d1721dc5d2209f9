//! The op that a running job has sent: what settle reads of it, and the two ways to record what came of it, with the
//! booking of its segment.
//!
//! Absent: what follows for the promise and for the job; that is settle's.

use crate::claimed::Claimed;
use crate::error::StoreError;
use crate::promise::Locked;
use chrono::{DateTime, Utc};
use domain::answer::BookingUid;
use domain::id::SlotId;
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
    locked: &Locked,
    segment_no: i16,
    booking: Option<(&BookingUid, SlotId)>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE segment SET calcom_uid = $4, calcom_slot_id = $5
         WHERE company_id = $1 AND appointment_id = $2 AND segment_no = $3",
        locked.company_id,
        locked.appointment_id.0,
        segment_no,
        booking.map(|(uid, _)| uid.expose()),
        booking.map(|(_, slot)| slot.0)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A booking is not live any more: whether it was the recorded one or a spare, it is that no longer.
pub(crate) async fn forget_booking(
    conn: &mut PgConnection,
    locked: &Locked,
    uid: &BookingUid,
) -> Result<(), StoreError> {
    sqlx::query!(
        "WITH spare AS (
           UPDATE spare_booking SET gone_at = clock_timestamp()
           WHERE company_id = $1 AND appointment_id = $2 AND calcom_uid = $3)
         UPDATE segment SET calcom_uid = NULL, calcom_slot_id = NULL
         WHERE company_id = $1 AND appointment_id = $2 AND calcom_uid = $3",
        locked.company_id,
        locked.appointment_id.0,
        uid.expose()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Bookings that live, bear the segment's marker and are owned by no promise. How many of them are news.
pub(crate) async fn record_spares(
    conn: &mut PgConnection,
    locked: &Locked,
    segment_no: i16,
    uids: &[BookingUid],
) -> Result<u64, StoreError> {
    if uids.is_empty() {
        return Ok(0);
    }
    let uids: Vec<String> = uids.iter().map(|uid| uid.expose().to_owned()).collect();
    let new = sqlx::query!(
        "INSERT INTO spare_booking (company_id, appointment_id, segment_no, calcom_uid)
         SELECT $1, $2, $3, uid FROM unnest($4::text[]) AS u (uid)
         ON CONFLICT ON CONSTRAINT one_spare_per_booking DO UPDATE SET gone_at = NULL
           WHERE spare_booking.gone_at IS NOT NULL",
        locked.company_id,
        locked.appointment_id.0,
        segment_no,
        &uids
    )
    .execute(conn)
    .await?;
    metrics::counter!("askpro_spare_bookings_total").increment(new.rows_affected());
    Ok(new.rows_affected())
}
