//! A booking and the hold it was preceded by: found by its token, or by the call that made it, and turned into the
//! booking's own slot.
//!
//! Absent: the decision. What is read here is a hint which row to try; the statement that books compares and sets.

use crate::BookingCommand;
use crate::error::StoreError;
use chrono::{DateTime, Utc};
use domain::id::{AppointmentId, SlotId};
use domain::slot::TimeRange;
use sqlx::PgConnection;

/// What became of the hold that a booking came with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HoldUse {
    /// It has become the booking.
    Used,
    /// It had run out, or there is none of that token any more; the time was still free.
    Expired,
    /// It is of another time, length or member of staff; what was asked for was free.
    Unfit,
}

impl HoldUse {
    /// Its word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Expired => "expired",
            Self::Unfit => "unfit",
        }
    }
}

/// The hold of a booking.
pub(crate) enum Hold {
    /// It came without one.
    None,
    /// It came with one that keeps nothing any more.
    Expired,
    /// It may be there still.
    Live(Live),
}

/// The row to be tried.
pub(crate) struct Live {
    pub(crate) appointment_id: AppointmentId,
    pub(crate) slot_id: SlotId,
    pub(crate) staff_id: i32,
    pub(crate) during: TimeRange,
    pub(crate) token_hash: Vec<u8>,
}

/// By the token that was shown, else by the call; of several the one of the first candidate.
pub(crate) async fn find_hold(
    conn: &mut PgConnection,
    command: &BookingCommand,
    starts: &[DateTime<Utc>],
) -> Result<Hold, StoreError> {
    let call_id = command.call.as_ref().map(|call| call.call_id.as_str());
    if command.hold.is_none() && call_id.is_none() {
        return Ok(Hold::None);
    }
    let row = sqlx::query!(
        r#"SELECT appointment_id, slot_id, staff_id, lower(during) AS "starts_at!", upper(during) AS "ends_at!", token_hash,
                  state = 'held' AND expires_at > clock_timestamp() AS "is_live!"
           FROM slot
           WHERE company_id = $1
             AND (token_hash = $2
                  OR (held_in_call = $3 AND lower(during) = ANY($4) AND state || '' IN ('held', 'expired')))
           ORDER BY token_hash = $2 DESC NULLS LAST, state = 'held' AND expires_at > clock_timestamp() DESC,
                    array_position($4, lower(during)), created_at DESC
           LIMIT 1"#,
        command.company_id,
        command.hold.as_ref().map(|hash| &hash.0[..]),
        call_id,
        starts
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else {
        return Ok(if command.hold.is_some() { Hold::Expired } else { Hold::None });
    };
    let live = row.is_live.then_some(row.token_hash).flatten();
    Ok(match (live, TimeRange::new(row.starts_at, row.ends_at)) {
        (Some(token_hash), Some(during)) => Hold::Live(Live {
            appointment_id: AppointmentId(row.appointment_id),
            slot_id: SlotId(row.slot_id),
            staff_id: row.staff_id,
            during,
            token_hash,
        }),
        (None, _) | (_, None) => Hold::Expired,
    })
}

/// Gives a hold back that is in the way of what its own holder books now.
pub(crate) async fn give_back(conn: &mut PgConnection, company_id: i32, hold: &Live) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE slot SET state = 'released', token_hash = NULL, held_by = NULL, ended_at = clock_timestamp()
         WHERE company_id = $1 AND appointment_id = $2 AND slot_id = $3 AND state || '' = 'held' AND token_hash = $4",
        company_id,
        hold.appointment_id.0,
        hold.slot_id.0,
        hold.token_hash
    )
    .execute(conn)
    .await?;
    Ok(())
}
