//! Accept a booking: one transaction that locks, re-reads, decides, and writes the appointment with everything it
//! implies, or nothing.
//!
//! Order of locks: request key, call, staff by id, customer; then what is new. The check stands beside its use: whatever
//! is decided on is read in a statement after the lock.

use crate::command::{AcceptError, Accepted, BookingCommand, Decision, How, answer};
use crate::diary::occupied;
use crate::enqueue::{Enqueued, enqueue};
use crate::error::StoreError;
use crate::place::{No, Place, qualified, read_place, within_rules};
use crate::request::{Earlier, Opened, Request};
use crate::{JobRef, Store};
use chrono::{DateTime, Utc};
use domain::appointment::Status;
use domain::id::{AppointmentId, CustomerId, JobId, Lineage, SlotId};
use domain::job::{Kind, State};
use domain::phone::{Identity, Phone};
use domain::refusal::Refusal;
use domain::slot::TimeRange;
use sqlx::PgConnection;
use uuid::Uuid;

/// The ids of everything a booking makes, kept across retries.
struct Ids {
    appointment: AppointmentId,
    customer: CustomerId,
    slot: SlotId,
    lineage: Lineage,
    booking: JobId,
    facts: JobId,
}

impl Ids {
    fn fresh() -> Self {
        let id = Uuid::now_v7;
        Self {
            appointment: AppointmentId(id()),
            customer: CustomerId(id()),
            slot: SlotId(id()),
            lineage: Lineage(id()),
            booking: JobId(id()),
            facts: JobId(id()),
        }
    }
}

impl Store {
    /// Takes a slot and makes the appointment, its history, and its jobs; the caller rings them.
    ///
    /// # Errors
    /// See [`AcceptError`]; in every case nothing was written, except that after `Store(Away)` nobody knows.
    pub async fn accept_booking(&self, command: &BookingCommand) -> Result<Accepted, AcceptError> {
        let ids = Ids::fresh();
        answer(self.retrying("accept_booking", || self.book(command, &ids)).await)
    }

    async fn book(&self, command: &BookingCommand, ids: &Ids) -> Result<Decision, StoreError> {
        let company_id = command.company_id;
        let request = Request { company_id, key: command.key.as_ref(), call: command.call.as_ref() };
        let spot = command.spot();
        let mut tx = self.pool.begin().await?;
        match request.open(&mut tx, ids.appointment, Some(ids.booking)).await? {
            Opened::New => {}
            Opened::Reused => return Ok(Err(AcceptError::KeyReused)),
            Opened::Decided(earlier) => {
                let stands = |status, starts_at| {
                    !request.must_stand()
                        || (matches!(status, Status::Requested | Status::Scheduled) && starts_at == command.starts_at)
                };
                if let Some(replayed) = replay(&mut tx, company_id, earlier, stands).await? {
                    return Ok(Ok(replayed));
                }
            }
        }
        let (qualified, wanted) = match qualified(&mut tx, spot).await? {
            Ok(staff) => staff,
            Err(refusal) => return Ok(Err(AcceptError::Refused(refusal))),
        };
        lock_staff(&mut tx, company_id, &wanted).await?;
        let customer_id = attach_customer(&mut tx, command, ids.customer).await?;
        let Some(place) = read_place(&mut tx, spot, &wanted).await? else {
            return Ok(Err(AcceptError::Refused(Refusal::UnknownService)));
        };
        if let Some((appointment_id, version, status)) = already_theirs(&mut tx, command, customer_id).await? {
            request.close(&mut tx, appointment_id, Some(customer_id), None, version).await?;
            self.commit(tx, &place.xid).await?;
            let how = How::AlreadyYours;
            return Ok(Ok(Accepted { appointment_id, version, status, how, job: None, ring: vec![] }));
        }
        let no = match within_rules(command.starts_at, &place) {
            Ok(during) => self.take(&mut tx, command, ids, customer_id, &place, during).await?,
            Err(no) => Some(no),
        };
        if let Some(no) = no {
            let offers = match no {
                No::Past => vec![],
                No::Soon | No::Closed | No::Taken | No::BeingReleased { .. } => {
                    self.offers(&mut tx, spot, &place, qualified, command.starts_at).await?
                }
            };
            return Ok(Err(AcceptError::Refused(no.with(offers, place.minimum_minutes))));
        }
        let (job, rings) = enqueue(&mut tx, company_id, Kind::Booking, ids.appointment, 1, ids.booking).await?;
        let (facts, facts_rings) = enqueue(&mut tx, company_id, Kind::Customer, ids.appointment, 1, ids.facts).await?;
        request.close(&mut tx, ids.appointment, Some(customer_id), Some(job.job.job_id), 1).await?;
        self.commit(tx, &place.xid).await?;
        let ring = [(job.job, rings), (facts.job, facts_rings)].into_iter().filter(|j| j.1).map(|j| j.0).collect();
        Ok(Ok(Accepted {
            appointment_id: ids.appointment,
            version: 1,
            status: Status::Requested,
            how: How::New,
            job: Some(job),
            ring,
        }))
    }

    /// The first host who is free gets the appointment; `None` = done.
    async fn take(
        &self,
        conn: &mut PgConnection,
        command: &BookingCommand,
        ids: &Ids,
        customer_id: CustomerId,
        place: &Place,
        during: TimeRange,
    ) -> Result<Option<No>, StoreError> {
        let staff: Vec<i32> = place.hosts.iter().map(|h| h.0).collect();
        let occupied = occupied(conn, command.company_id, &staff, during, ids.appointment).await?;
        let free = place.hosts.iter().filter(|h| !occupied.iter().any(|o| o.staff_id == h.0));
        for &(staff_id, event_type_id) in free {
            if insert(conn, command, ids, customer_id, place, during, staff_id, event_type_id).await? {
                return Ok(None);
            }
        }
        let soonest = occupied.iter().filter_map(|o| o.free_in_seconds).min();
        Ok(Some(soonest.map_or(No::Taken, |seconds| No::BeingReleased { seconds })))
    }
}

/// The decision that a key had, if it may be repeated: ids from the record, the rest as it is now.
pub(crate) async fn replay(
    conn: &mut PgConnection,
    company_id: i32,
    earlier: Earlier,
    stands: impl Fn(Status, DateTime<Utc>) -> bool,
) -> Result<Option<Accepted>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT a.status, a.version, a.starts_at, j.kind AS "kind?", j.state AS "state?"
           FROM appointment a LEFT JOIN job j ON j.company_id = a.company_id AND j.job_id = $3
           WHERE a.company_id = $1 AND a.appointment_id = $2"#,
        company_id,
        earlier.appointment_id.0,
        earlier.job_id.map(|j| j.0)
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let status = read_status(&row.status)?;
    if !stands(status, row.starts_at) {
        return Ok(None);
    }
    let found = earlier.job_id.zip(row.kind.as_deref().and_then(Kind::parse));
    let job = found.zip(row.state.as_deref().and_then(State::parse)).map(|((job_id, kind), state)| Enqueued {
        job: JobRef { company_id, job_id },
        kind,
        coalesced: false,
        state,
    });
    let appointment_id = earlier.appointment_id;
    Ok(Some(Accepted { appointment_id, version: row.version, status, how: How::Replayed, job, ring: vec![] }))
}

pub(crate) fn read_status(word: &str) -> Result<Status, StoreError> {
    Status::parse(word).ok_or(StoreError::Broken { what: "an appointment has an unknown status" })
}

/// In a statement of its own, sorted: whoever waits here reads what the one before committed.
pub(crate) async fn lock_staff(conn: &mut PgConnection, company_id: i32, staff: &[i32]) -> Result<(), StoreError> {
    let locked = sqlx::query_scalar!(
        "SELECT staff_id FROM staff WHERE company_id = $1 AND staff_id = ANY($2) ORDER BY staff_id FOR NO KEY UPDATE",
        company_id,
        staff
    )
    .fetch_all(conn)
    .await?;
    if locked.len() == staff.len() { Ok(()) } else { Err(StoreError::Broken { what: "a member of staff vanished" }) }
}

/// Finds or makes the customer, and holds his row: the same phone is the same person, a withheld one only in its call.
async fn attach_customer(
    conn: &mut PgConnection,
    command: &BookingCommand,
    fresh: CustomerId,
) -> Result<CustomerId, StoreError> {
    let (company_id, language) = (command.company_id, &command.facts.language);
    let id = match &command.who {
        Identity::Phone(phone) => {
            sqlx::query_scalar!(
                "INSERT INTO customer (company_id, customer_id, phone, language) VALUES ($1, $2, $3, $4)
                 ON CONFLICT ON CONSTRAINT one_customer_per_phone DO UPDATE SET deleted_at = NULL
                 RETURNING customer_id",
                company_id,
                fresh.0,
                phone.as_e164(),
                language
            )
            .fetch_one(conn)
            .await?
        }
        Identity::Anonymous(call_id) => {
            sqlx::query_scalar!(
                "INSERT INTO customer (company_id, customer_id, anonymous_call_id, language) VALUES ($1, $2, $3, $4)
                 ON CONFLICT ON CONSTRAINT one_customer_per_anonymous_call DO UPDATE SET deleted_at = NULL
                 RETURNING customer_id",
                company_id,
                fresh.0,
                call_id,
                language
            )
            .fetch_one(conn)
            .await?
        }
    };
    Ok(CustomerId(id))
}

/// Does the customer have the same service at the same time already? His row is locked.
async fn already_theirs(
    conn: &mut PgConnection,
    command: &BookingCommand,
    customer_id: CustomerId,
) -> Result<Option<(AppointmentId, i32, Status)>, StoreError> {
    let row = sqlx::query!(
        "SELECT appointment_id, version, status FROM appointment
         WHERE company_id = $1 AND customer_id = $2 AND service_id = $3 AND starts_at = $4
           AND status IN ('requested', 'scheduled') LIMIT 1",
        command.company_id,
        customer_id.0,
        command.service_id,
        command.starts_at
    )
    .fetch_optional(conn)
    .await?;
    row.map(|r| Ok((AppointmentId(r.appointment_id), r.version, read_status(&r.status)?))).transpose()
}

/// Slot, appointment, segment and event, or nothing: false = the time is taken.
#[expect(clippy::too_many_arguments, reason = "one statement, everything it writes")]
async fn insert(
    conn: &mut PgConnection,
    command: &BookingCommand,
    ids: &Ids,
    customer_id: CustomerId,
    place: &Place,
    during: TimeRange,
    staff_id: i32,
    event_type_id: i64,
) -> Result<bool, StoreError> {
    let facts = &command.facts;
    let taken = sqlx::query_scalar!(
        r#"WITH s AS (
             INSERT INTO slot (company_id, appointment_id, slot_id, segment_no, staff_id, during, state, promise_version)
             VALUES ($1, $2, $3, 1, $4, tstzrange($5, $6, '[)'), 'booked', 1)
             ON CONFLICT ON CONSTRAINT slots_no_overlap DO NOTHING RETURNING slot_id),
           a AS (
             INSERT INTO appointment (company_id, appointment_id, customer_id, branch_id, service_id, starts_at, ends_at,
                                      time_zone, status, source, call_id, given_name, given_email, given_phone, language,
                                      notes)
             SELECT $1, $2, $7, $8, $9, $5, $6, $10, 'requested', $11, $12, $13, $14, $15, $16, $17 FROM s),
           g AS (
             INSERT INTO segment (company_id, appointment_id, segment_no, staff_id, event_type_id, lineage, slot_id)
             SELECT $1, $2, 1, $4, $18, $19, slot_id FROM s),
           e AS (
             INSERT INTO appointment_event (company_id, appointment_id, version, what, to_status, who)
             SELECT $1, $2, 1, 'requested', 'requested', 'customer' FROM s)
           SELECT count(*) AS "count!" FROM s"#,
        command.company_id,
        ids.appointment.0,
        ids.slot.0,
        staff_id,
        during.start(),
        during.end(),
        customer_id.0,
        command.branch_id,
        command.service_id,
        place.hours.time_zone.name(),
        command.source.as_str(),
        command.call.as_ref().map(|c| c.call_id.as_str()),
        facts.name,
        facts.email,
        facts.phone.as_ref().map(Phone::as_e164),
        facts.language,
        command.notes,
        event_type_id,
        ids.lineage.0
    )
    .fetch_one(conn)
    .await?;
    Ok(taken == 1)
}
