//! Somebody else has changed a booking of ours at Cal.com: first the record says what is there now, then the company's
//! policy says what becomes of the promise. Used by settle, where an op was overtaken, and by what a hint led to.
//!
//! A booking that was moved takes time of its own: whoever calls with one has locked the segment's staff before the
//! appointment.

use crate::accept::lock_staff;
use crate::error::StoreError;
use crate::external::not_busy;
use crate::op::record_booking;
use crate::promise::{Cause, Locked};
use domain::answer::{Booking, BookingStatus};
use domain::appointment::{Change, Learnt, Status};
use domain::effect::Segment;
use domain::id::{AppointmentId, JobId, SlotId};
use domain::observe::ExternalChanges;
use domain::outcome::Elsewhere;
use domain::slot::TimeRange;
use sqlx::PgConnection;
use uuid::Uuid;

/// What a change by somebody else comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Follows {
    /// Compare promise and Cal.com again.
    Compare,
    /// A person decides; that is written already.
    Held(&'static str),
}

/// Where a booking stands.
struct Stand {
    slot: SlotId,
    during: TimeRange,
    /// False: the time is another appointment's, so no slot keeps it for this one.
    ours: bool,
}

/// The staff of an appointment, locked before the appointment itself.
pub(crate) async fn lock_staff_of(
    conn: &mut PgConnection,
    company_id: i32,
    appointment_id: AppointmentId,
) -> Result<(), StoreError> {
    let staff = sqlx::query_scalar!(
        "SELECT DISTINCT staff_id FROM segment WHERE company_id = $1 AND appointment_id = $2 ORDER BY staff_id",
        company_id,
        appointment_id.0
    )
    .fetch_all(&mut *conn)
    .await?;
    lock_staff(conn, company_id, &staff).await
}

/// Records what somebody else has done to the segment's booking, and does what the company's policy says. `current`: the
/// promise still names where the booking stood; a newer wish of the customer stands against a move, and so does any wish
/// against a move that we have asked for ourselves and given up.
pub(crate) async fn overtaken(
    conn: &mut PgConnection,
    locked: &mut Locked,
    segment: &Segment,
    by: &Elsewhere,
    current: bool,
    job: (JobId, i64),
) -> Result<Follows, StoreError> {
    let policy = policy(conn, locked.company_id).await?;
    match by {
        Elsewhere::Moved(booking) => {
            let decided = current && !is_ours_and_late(conn, locked, segment, booking).await?;
            let policy = if decided { policy } else { ExternalChanges::OursWins };
            moved(conn, locked, segment, booking, policy, job).await
        }
        // Nobody has decided anything: it is not there, and the promise wants it.
        Elsewhere::Vanished => {
            record_booking(conn, locked, segment.no, None).await?;
            Ok(Follows::Compare)
        }
        Elsewhere::Declined if locked.status == Status::Requested => {
            record_booking(conn, locked, segment.no, None).await?;
            let cause = Cause { who: "business", why: Some("declined_at_calcom"), job: Some(job) };
            locked.change(conn, Change::Reject, cause).await?;
            locked.call_back(conn, "declined_by_business").await?;
            Ok(Follows::Compare)
        }
        Elsewhere::Cancelled | Elsewhere::Declined => {
            record_booking(conn, locked, segment.no, None).await?;
            called_off(conn, locked, segment, policy, job).await
        }
    }
}

/// Is it where an op of ours wanted it that counts as never sent, or as refused? Then Cal.com was slower than Δ, and nobody
/// else has decided anything.
async fn is_ours_and_late(
    conn: &mut PgConnection,
    locked: &Locked,
    segment: &Segment,
    booking: &Booking,
) -> Result<bool, StoreError> {
    let is_so = sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM calcom_op o WHERE o.company_id = $1 AND o.appointment_id = $2 AND o.segment_no = $3
               AND o.kind = 'reschedule' AND o.state IN ('never', 'refused') AND o.starts_at = $4
               AND o.target_uid = $5) AS "is_so!""#,
        locked.company_id,
        locked.appointment_id.0,
        segment.no,
        booking.start,
        segment.live.as_ref().map(|live| live.uid.expose())
    )
    .fetch_one(conn)
    .await?;
    Ok(is_so)
}

async fn called_off(
    conn: &mut PgConnection,
    locked: &mut Locked,
    segment: &Segment,
    policy: ExternalChanges,
    job: (JobId, i64),
) -> Result<Follows, StoreError> {
    if locked.status.wants_booking() != Some(true) {
        return Ok(Follows::Compare);
    }
    match policy {
        ExternalChanges::ExternalWins => {
            let cause = Cause { who: "business", why: Some("cancelled_at_calcom"), job: Some(job) };
            locked.change(conn, Change::Cancel, cause).await?;
            locked.call_back(conn, "cancelled_by_business").await?;
            Ok(Follows::Compare)
        }
        ExternalChanges::OursWins => Ok(Follows::Compare),
        ExternalChanges::Review => held(conn, locked, segment, "cancelled_elsewhere").await,
    }
}

async fn moved(
    conn: &mut PgConnection,
    locked: &mut Locked,
    segment: &Segment,
    booking: &Booking,
    policy: ExternalChanges,
    job: (JobId, i64),
) -> Result<Follows, StoreError> {
    let stand = stand(conn, locked, segment, booking).await?;
    record_booking(conn, locked, segment.no, Some((&booking.uid, stand.slot))).await?;
    // A booking that is ours now is nobody else's time.
    not_busy(conn, locked.company_id, &booking.uid).await?;
    if booking.status == BookingStatus::Pending {
        locked.learn(conn, std::slice::from_ref(segment), None, Learnt::Awaits).await?;
    }
    if locked.status.wants_booking() != Some(true) || stand.slot == segment.promised.slot {
        return Ok(Follows::Compare);
    }
    match policy {
        ExternalChanges::ExternalWins if stand.ours => {
            let cause = Cause { who: "business", why: Some("moved_at_calcom"), job: Some(job) };
            locked.move_to(conn, (stand.slot, stand.during), "moved", cause).await?;
            locked.call_back(conn, "moved_by_business").await?;
            Ok(Follows::Compare)
        }
        ExternalChanges::ExternalWins => held(conn, locked, segment, "conflict").await,
        ExternalChanges::OursWins => Ok(Follows::Compare),
        ExternalChanges::Review => held(conn, locked, segment, "moved_elsewhere").await,
    }
}

async fn held(
    conn: &mut PgConnection,
    locked: &Locked,
    segment: &Segment,
    reason: &'static str,
) -> Result<Follows, StoreError> {
    locked.hold(conn, segment, reason).await?;
    Ok(Follows::Held(reason))
}

/// The slot on which a booking stands: one that there is, or a new one for its time.
async fn stand(
    conn: &mut PgConnection,
    locked: &Locked,
    segment: &Segment,
    booking: &Booking,
) -> Result<Stand, StoreError> {
    if booking.start == segment.promised.during.start() {
        return Ok(Stand { slot: segment.promised.slot, during: segment.promised.during, ours: true });
    }
    if let Some(live) = segment.live.as_ref().filter(|live| live.during.start() == booking.start) {
        return Ok(Stand { slot: live.slot, during: live.during, ours: true });
    }
    let during = TimeRange::new(booking.start, booking.end);
    let during = during.ok_or(StoreError::Broken { what: "a booking ends before it begins" })?;
    let slot = SlotId(Uuid::now_v7());
    let ours = take_slot(conn, locked, segment.no, slot, during, "booked").await?
        || !take_slot(conn, locked, segment.no, slot, during, "released").await?;
    Ok(Stand { slot, during, ours })
}

/// `released`: it only says where the booking stands and keeps nobody out; the time is somebody else's. False = taken.
async fn take_slot(
    conn: &mut PgConnection,
    locked: &Locked,
    segment_no: i16,
    slot: SlotId,
    during: TimeRange,
    state: &str,
) -> Result<bool, StoreError> {
    let taken = sqlx::query!(
        "INSERT INTO slot (company_id, appointment_id, slot_id, segment_no, staff_id, during, state, promise_version,
                           created_at, ended_at)
         SELECT $1, $2, $3, $4, g.staff_id, tstzrange($5, $6, '[)'), $7, $8, statement_timestamp(),
                CASE WHEN $7 = 'released' THEN statement_timestamp() END
         FROM segment g WHERE g.company_id = $1 AND g.appointment_id = $2 AND g.segment_no = $4
         ON CONFLICT ON CONSTRAINT slots_no_overlap DO NOTHING",
        locked.company_id,
        locked.appointment_id.0,
        slot.0,
        segment_no,
        during.start(),
        during.end(),
        state,
        locked.version
    )
    .execute(conn)
    .await?;
    Ok(taken.rows_affected() == 1)
}

pub(crate) async fn policy(conn: &mut PgConnection, company_id: i32) -> Result<ExternalChanges, StoreError> {
    let word = sqlx::query_scalar!("SELECT external_changes FROM company WHERE company_id = $1", company_id)
        .fetch_one(conn)
        .await?;
    ExternalChanges::parse(&word).ok_or(StoreError::Broken { what: "a company has an unknown policy" })
}
