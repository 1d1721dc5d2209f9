//! Accept a new time for an appointment: the new slot is taken first, the old one is kept until Cal.com agrees.
//!
//! Order of locks: request key, call, policy head, staff, appointment. Deliberately absent: another member of staff (Cal.com's
//! booking keeps its event type, and that is one person's), and composites.

use crate::accept::{lock_staff, replay};
use crate::command::Who;
use crate::command::{AcceptError, Accepted, Decision, How, answer};
use crate::diary::occupied;
use crate::enqueue::enqueue;
use crate::error::StoreError;
use crate::place::{No, Spot, qualified, read_place, within_rules};
use crate::policy::hold_policies;
use crate::promise::{Cause, Locked};
use crate::release::release;
use crate::request::{CallFacts, Opened, Request, RequestKey};
use crate::{JobRef, Store};
use chrono::{DateTime, Utc};
use domain::appointment::{Change, IllegalChange, Learnt, Status};
use domain::id::{AppointmentId, JobId, SlotId};
use domain::job::Kind;
use domain::money::Money;
use domain::policy::Operation;
use domain::refusal::Refusal;
use domain::slot::TimeRange;
use sqlx::PgConnection;
use uuid::Uuid;

/// A wish for another time.
#[derive(Clone, Debug)]
pub struct RescheduleCommand {
    /// Whose business.
    pub company_id: i32,
    /// Which.
    pub appointment_id: AppointmentId,
    /// To when.
    pub starts_at: DateTime<Utc>,
    /// The version it must be at; `None` = any.
    pub if_match: Option<i32>,
    /// Who wishes it.
    pub who: Who,
    /// As said.
    pub why: Option<String>,
    /// In which call.
    pub call: Option<CallFacts>,
    /// Under which name it may be repeated.
    pub key: Option<RequestKey>,
}

/// What never changes of an appointment: where, what, with whom.
struct Fixed {
    spot: Spot,
    staff_id: i32,
}

impl Store {
    /// Where an appointment stood before its last move; `None` = it was never moved.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn stood_before(&self, company_id: i32, id: AppointmentId) -> Result<Option<DateTime<Utc>>, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"SELECT lower(during) AS "starts_at!" FROM slot
               WHERE company_id = $1 AND appointment_id = $2 AND segment_no = 1
               ORDER BY promise_version DESC OFFSET 1 LIMIT 1"#,
            company_id,
            id.0
        )
        .fetch_optional(&self.pool)
        .await?)
    }

    /// Promises the new time and enqueues the job that moves the booking at Cal.com. Refused by Cal.com, the old time
    /// stands.
    ///
    /// # Errors
    /// See [`AcceptError`]; in every case nothing was written, except that after `Store(Away)` nobody knows.
    pub async fn accept_reschedule(&self, command: &RescheduleCommand) -> Result<Accepted, AcceptError> {
        let fresh = (SlotId(Uuid::now_v7()), JobId(Uuid::now_v7()));
        answer(self.retrying("accept_reschedule", || self.reschedule(command, fresh)).await)
    }

    async fn reschedule(&self, command: &RescheduleCommand, fresh: (SlotId, JobId)) -> Result<Decision, StoreError> {
        let (company_id, appointment_id) = (command.company_id, command.appointment_id);
        let request = Request { company_id, key: command.key.as_ref(), call: command.call.as_ref() };
        let mut tx = self.pool.begin().await?;
        match request.open(&mut tx, appointment_id, None).await? {
            Opened::New => {}
            Opened::Reused => return Ok(Err(AcceptError::KeyReused)),
            Opened::Decided(earlier) => {
                let stands = |status: Status, starts_at| {
                    !request.must_stand() || (status.wants_booking() == Some(true) && starts_at == command.starts_at)
                };
                if let Some(replayed) = replay(&mut tx, company_id, earlier, stands).await? {
                    return Ok(Ok(replayed));
                }
            }
        }
        let held = hold_policies(&mut tx, company_id, appointment_id, Operation::Reschedule, command.who).await?;
        let Some(fixed) = fixed(&mut tx, command).await? else { return Ok(Err(AcceptError::NotFound)) };
        lock_staff(&mut tx, company_id, &[fixed.staff_id]).await?;
        let Some(mut locked) = Locked::wait_for(&mut tx, company_id, appointment_id).await? else {
            return Ok(Err(AcceptError::NotFound));
        };
        if command.if_match.is_some_and(|version| version != locked.version) {
            let (current, status) = (locked.version, locked.status);
            return Ok(Err(AcceptError::StaleVersion { current, status }));
        }
        if let Err(IllegalChange { from: status, .. }) = locked.status.after(Change::Move) {
            return Ok(Err(AcceptError::Refused(Refusal::Final { status })));
        }
        let Some(place) = read_place(&mut tx, fixed.spot, &[fixed.staff_id]).await? else {
            return Ok(Err(AcceptError::Refused(Refusal::UnknownService)));
        };
        if locked.starts_at == command.starts_at {
            request.close(&mut tx, appointment_id, None, None, locked.version).await?;
            self.commit(tx, &place.xid).await?;
            return Ok(Ok(accepted(&locked, How::Unchanged, None, vec![], None)));
        }
        if let Some(held) = held.filter(|_| locked.starts_at > place.now)
            && let Err(denied) = held.rule_on(&mut tx, &mut locked, Operation::Reschedule).await?
        {
            return Ok(Err(AcceptError::Refused(denied)));
        }
        let fee = locked.ruled.and_then(|ruled| ruled.fee);
        let taken = match within_rules(command.starts_at, &place) {
            _ if locked.starts_at <= place.now => Err(No::Past),
            Ok(during) => take(&mut tx, command, &fixed, during, fresh.0, locked.version + 1).await?,
            Err(no) => Err(no),
        };
        let to = match taken {
            Ok(to) => to,
            Err(no) => {
                let offers = match (no, qualified(&mut tx, fixed.spot).await?) {
                    (No::Past, _) | (_, Err(_)) => vec![],
                    (No::Soon | No::Closed | No::Taken | No::BeingReleased { .. }, Ok(_)) => {
                        self.offers(&mut tx, fixed.spot, &place, vec![fixed.staff_id], command.starts_at).await?
                    }
                };
                return Ok(Err(AcceptError::Refused(no.with(offers, place.minimum_minutes))));
            }
        };
        let cause = Cause { who: command.who.as_str(), why: command.why.as_deref(), job: None };
        locked.move_to(&mut tx, to, "rescheduled", cause).await?;
        if !is_unresolved(&mut tx, &locked).await? {
            let segments = locked.segments(&mut tx).await?;
            locked.learn(&mut tx, &segments, None, Learnt::Differs).await?;
        }
        release(&mut tx, company_id, appointment_id).await?;
        let (job, rings) = enqueue(&mut tx, company_id, Kind::Sync, appointment_id, locked.version, fresh.1).await?;
        request.close(&mut tx, appointment_id, None, Some(job.job.job_id), locked.version).await?;
        self.commit(tx, &place.xid).await?;
        let ring = if rings { vec![job.job] } else { vec![] };
        Ok(Ok(accepted(&locked, How::New, Some(job), ring, fee)))
    }
}

fn accepted(
    locked: &Locked,
    how: How,
    job: Option<crate::Enqueued>,
    ring: Vec<JobRef>,
    fee: Option<Money>,
) -> Accepted {
    let (appointment_id, version, status) = (locked.appointment_id, locked.version, locked.status);
    Accepted { appointment_id, version, status, how, job, ring, hold: None, fee }
}

/// Read before any lock; it never changes.
async fn fixed(conn: &mut PgConnection, command: &RescheduleCommand) -> Result<Option<Fixed>, StoreError> {
    let row = sqlx::query!(
        "SELECT a.branch_id, a.service_id, g.staff_id FROM appointment a JOIN segment g USING (company_id, appointment_id)
         WHERE a.company_id = $1 AND a.appointment_id = $2 AND g.segment_no = 1",
        command.company_id,
        command.appointment_id.0
    )
    .fetch_optional(conn)
    .await?;
    let company_id = command.company_id;
    Ok(row.map(|r| {
        let (branch_id, service_id, staff_id) = (r.branch_id, r.service_id, r.staff_id);
        Fixed { spot: Spot { company_id, branch_id, service_id, staff_id: Some(staff_id) }, staff_id }
    }))
}

/// The slot for the new time: one of this appointment that is still occupied (the caller went back and forth), or a new
/// one.
async fn take(
    conn: &mut PgConnection,
    command: &RescheduleCommand,
    fixed: &Fixed,
    during: TimeRange,
    fresh: SlotId,
    version: i32,
) -> Result<Result<(SlotId, TimeRange), No>, StoreError> {
    let (company_id, staff_id) = (command.company_id, fixed.staff_id);
    let occupied = occupied(conn, company_id, &[staff_id], during, command.appointment_id).await?;
    if let Some(other) = occupied.first() {
        return Ok(Err(other.free_in_seconds.map_or(No::Taken, |seconds| No::BeingReleased { seconds })));
    }
    let own = sqlx::query_scalar!(
        "SELECT slot_id FROM slot WHERE company_id = $1 AND appointment_id = $2 AND segment_no = 1 AND staff_id = $3
           AND lower(during) = $4 AND upper(during) = $5 AND state || '' = 'booked'",
        company_id,
        command.appointment_id.0,
        staff_id,
        during.start(),
        during.end()
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(own) = own {
        return Ok(Ok((SlotId(own), during)));
    }
    let taken = sqlx::query!(
        "INSERT INTO slot (company_id, appointment_id, slot_id, segment_no, staff_id, during, state, promise_version)
         VALUES ($1, $2, $3, 1, $4, tstzrange($5, $6, '[)'), 'booked', $7)
         ON CONFLICT ON CONSTRAINT slots_no_overlap DO NOTHING",
        company_id,
        command.appointment_id.0,
        fresh.0,
        staff_id,
        during.start(),
        during.end(),
        version
    )
    .execute(conn)
    .await?;
    Ok(if taken.rows_affected() == 1 { Ok((fresh, during)) } else { Err(No::Taken) })
}

async fn is_unresolved(conn: &mut PgConnection, locked: &Locked) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM calcom_op WHERE company_id = $1 AND appointment_id = $2
                            AND state IN ('sent', 'unknown')) AS "is_unresolved!""#,
        locked.company_id,
        locked.appointment_id.0
    )
    .fetch_one(conn)
    .await?)
}
