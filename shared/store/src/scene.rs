//! What a claim reads once it holds the appointment's lock: the job, the op without an end, the segment's past. Each in
//! a statement after the lock; deciding is the domain's.

use crate::JobRef;
use crate::claim::Attendee;
use crate::error::StoreError;
use crate::promise::Locked;
use chrono::{DateTime, Utc};
use domain::answer::BookingUid;
use domain::effect::EffectKind;
use domain::id::{CustomerId, OpId};
use domain::job::{Kind, OpenOp, State};
use domain::outcome::Past;
use sqlx::PgConnection;

/// A job that is due, and the clock.
pub(crate) struct Waiting {
    pub(crate) job: JobRef,
    pub(crate) kind: Kind,
    pub(crate) fence: i64,
    pub(crate) expected_version: Option<i32>,
    pub(crate) busy_until: Option<DateTime<Utc>>,
    pub(crate) paused_until: Option<DateTime<Utc>>,
    pub(crate) now: DateTime<Utc>,
}

/// The one op without an end.
pub(crate) struct FoundOp {
    pub(crate) op_id: OpId,
    pub(crate) kind: EffectKind,
    pub(crate) segment_no: i16,
    pub(crate) sent_at: DateTime<Utc>,
    pub(crate) starts_at: Option<DateTime<Utc>>,
    pub(crate) event_type_id: Option<i64>,
    pub(crate) target: Option<BookingUid>,
    pub(crate) answered: Option<u16>,
    pub(crate) open: OpenOp,
}

/// The job, if it waits and is due.
pub(crate) async fn waiting(conn: &mut PgConnection, job: JobRef, kind: Kind) -> Result<Option<Waiting>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT j.state, j.fence, j.expected_version, j.run_at <= clock_timestamp() AS "due!",
                  clock_timestamp() AS "now!",
                  (SELECT max(r.lease_until) FROM job r WHERE r.company_id = j.company_id AND r.subject = j.subject
                     AND r.state = 'running') AS busy_until,
                  (SELECT p.until FROM calcom_pause p WHERE p.company_id = j.company_id
                     AND p.until > clock_timestamp()) AS paused_until
           FROM job j WHERE j.company_id = $1 AND j.job_id = $2"#,
        job.company_id,
        job.job_id.0
    )
    .fetch_one(conn)
    .await?;
    let waits = State::parse(&row.state).is_some_and(State::waits);
    Ok((waits && row.due).then_some(Waiting {
        job,
        kind,
        fence: row.fence,
        expected_version: row.expected_version,
        busy_until: row.busy_until,
        paused_until: row.paused_until,
        now: row.now,
    }))
}

/// What was asked of Cal.com and has no end yet.
pub(crate) async fn open_op(conn: &mut PgConnection, locked: &Locked) -> Result<Option<FoundOp>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT o.op_id, o.kind, o.segment_no, o.sent_at, o.starts_at, o.event_type_id, o.target_uid,
                  o.answered_status, o.next_look_at,
                  COALESCE((SELECT h.fence = o.fence FROM job h
                            WHERE h.company_id = o.company_id AND h.job_id = o.job_id), false) AS "owned!"
           FROM calcom_op o
           WHERE o.company_id = $1 AND o.appointment_id = $2 AND o.state IN ('sent', 'unknown')"#,
        locked.company_id,
        locked.appointment_id.0
    )
    .fetch_optional(conn)
    .await?;
    row.map(|r| {
        Ok(FoundOp {
            op_id: OpId(r.op_id),
            kind: EffectKind::parse(&r.kind).ok_or(StoreError::Broken { what: "an op has an unknown kind" })?,
            segment_no: r.segment_no,
            sent_at: r.sent_at,
            starts_at: r.starts_at,
            event_type_id: r.event_type_id,
            target: r.target_uid.map(BookingUid::from),
            answered: r.answered_status.and_then(|s| u16::try_from(s).ok()),
            open: OpenOp { owned: r.owned, next_look_at: r.next_look_at },
        })
    })
    .transpose()
}

/// What the other ops of a segment tell: was any outcome unclear, and which bookings they have accounted for.
pub(crate) async fn history(
    conn: &mut PgConnection,
    locked: &Locked,
    segment_no: i16,
    but: OpId,
) -> Result<(Past, Vec<BookingUid>), StoreError> {
    let rows = sqlx::query!(
        "SELECT state, looks, uid FROM calcom_op
         WHERE company_id = $1 AND appointment_id = $2 AND segment_no = $3 AND op_id <> $4",
        locked.company_id,
        locked.appointment_id.0,
        segment_no,
        but.0
    )
    .fetch_all(conn)
    .await?;
    let ambiguous = rows.iter().any(|r| r.looks > 0);
    let accounted = rows.into_iter().filter_map(|r| r.uid.map(BookingUid::from)).collect();
    Ok((if ambiguous { Past::Ambiguous } else { Past::Clean }, accounted))
}

/// Whom the booking is to name.
pub(crate) async fn attendee(conn: &mut PgConnection, locked: &Locked) -> Result<Attendee, StoreError> {
    let row = sqlx::query!(
        "SELECT given_name, given_email, given_phone, time_zone, language, customer_id FROM appointment
         WHERE company_id = $1 AND appointment_id = $2",
        locked.company_id,
        locked.appointment_id.0
    )
    .fetch_one(conn)
    .await?;
    Ok(Attendee {
        name: row.given_name,
        email: row.given_email,
        phone_e164: row.given_phone,
        time_zone: row.time_zone,
        language: row.language,
        customer_id: CustomerId(row.customer_id),
    })
}
