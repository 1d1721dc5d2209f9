//! Accept a booking: one transaction that locks, re-reads, decides, and writes the appointment with everything it
//! implies, or nothing.
//!
//! Order of locks: request key, call, staff by id (of all times that would do), customer; then what is new. The check
//! stands beside its use: whatever is decided on is read in a statement after the lock.

use crate::attach::attach;
use crate::command::{AcceptError, Accepted, BookingCommand, Candidate, Decision, How, answer};
use crate::convert::{Hold, HoldUse, Live, find_hold, give_back};
use crate::diary::occupied;
use crate::enqueue::{Enqueued, enqueue};
use crate::error::StoreError;
use crate::fee::read_fee;
use crate::place::{No, Place, Spot, qualified, read_place, within_rules};
use crate::request::{Earlier, Opened, Request};
use crate::{JobRef, Store};
use chrono::{DateTime, Utc};
use domain::appointment::Status;
use domain::id::{AppointmentId, CustomerId, JobId, Lineage, SlotId};
use domain::job::{Kind, State};
use domain::phone::Phone;
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
    /// Takes a slot, of several times that would do the first that is free, and makes the appointment, its history, and
    /// its jobs; the caller rings them.
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
        let candidates = command.candidates();
        let starts: Vec<_> = candidates.iter().map(|c| c.starts_at).collect();
        let mut tx = self.pool.begin().await?;
        match request.open(&mut tx, ids.appointment, Some(ids.booking)).await? {
            Opened::New => {}
            Opened::Reused => return Ok(Err(AcceptError::KeyReused)),
            Opened::Decided(earlier) => {
                let stands = |status, starts_at| {
                    !request.must_stand()
                        || (matches!(status, Status::Requested | Status::Scheduled) && starts.contains(&starts_at))
                };
                if let Some(replayed) = replay(&mut tx, company_id, earlier, stands).await? {
                    return Ok(Ok(replayed));
                }
            }
        }
        let BookingCommand { branch_id, service_id, staff_id, .. } = *command;
        let spot = Spot { company_id, branch_id, service_id, staff_id };
        let qualified = match qualified(&mut tx, Spot { staff_id: None, ..spot }).await? {
            Ok((all, _)) => all,
            Err(refusal) => return Ok(Err(AcceptError::Refused(refusal))),
        };
        let Some(wanted) = wanted(&candidates, &qualified) else {
            return Ok(Err(AcceptError::Refused(Refusal::UnknownStaff)));
        };
        lock_staff(&mut tx, company_id, &wanted).await?;
        let customer_id = attach_customer(&mut tx, command, ids.customer).await?;
        let Some(place) = read_place(&mut tx, spot, &wanted).await? else {
            return Ok(Err(AcceptError::Refused(Refusal::UnknownService)));
        };
        let theirs = already_theirs(&mut tx, company_id, service_id, &starts, customer_id).await?;
        if let Some((appointment_id, version, status)) = theirs {
            request.close(&mut tx, appointment_id, Some(customer_id), None, version).await?;
            self.commit(tx, &place.xid).await?;
            let how = How::AlreadyYours;
            return Ok(Ok(Accepted {
                appointment_id,
                version,
                status,
                how,
                job: None,
                ring: vec![],
                hold: None,
                fee: None,
            }));
        }
        let wish = Booking { command, ids, customer_id, place: &place };
        let hold = find_hold(&mut tx, command, &starts).await?;
        let (appointment_id, hold) = match wish.first_free(&mut tx, &candidates, &hold).await? {
            Ok(taken) => taken,
            Err(no) => {
                let offers = match no {
                    No::Past => vec![],
                    No::Soon | No::Closed | No::Taken | No::BeingReleased { .. } => {
                        let (wished, who) = (command.starts_at, Some(customer_id));
                        self.offers_to(&mut tx, spot, &place, qualified, wished, who).await?
                    }
                };
                return Ok(Err(AcceptError::Refused(no.with(offers, place.minimum_minutes))));
            }
        };
        let (job, rings) = enqueue(&mut tx, company_id, Kind::Booking, appointment_id, 1, ids.booking).await?;
        let (facts, facts_rings) = enqueue(&mut tx, company_id, Kind::Customer, appointment_id, 1, ids.facts).await?;
        request.close(&mut tx, appointment_id, Some(customer_id), Some(job.job.job_id), 1).await?;
        self.commit(tx, &place.xid).await?;
        let ring = [(job.job, rings), (facts.job, facts_rings)].into_iter().filter(|j| j.1).map(|j| j.0).collect();
        let (status, how) = (Status::Requested, How::New);
        Ok(Ok(Accepted { appointment_id, version: 1, status, how, job: Some(job), ring, hold, fee: None }))
    }
}

/// All staff of these times, by id: what has to be locked. `None`: one of them does not do it here.
fn wanted(candidates: &[Candidate], qualified: &[i32]) -> Option<Vec<i32>> {
    if candidates.iter().filter_map(|c| c.staff_id).any(|id| !qualified.contains(&id)) {
        return None;
    }
    let anybody = candidates.iter().any(|c| c.staff_id.is_none());
    let is_wanted = |id: &i32| anybody || candidates.iter().any(|c| c.staff_id == Some(*id));
    Some(qualified.iter().copied().filter(is_wanted).collect())
}

/// What a booking knows when its locks are held.
struct Booking<'a> {
    command: &'a BookingCommand,
    ids: &'a Ids,
    customer_id: CustomerId,
    place: &'a Place,
}

/// The row that keeps the time: a new one, or a hold that becomes it.
struct Row<'a> {
    appointment_id: AppointmentId,
    slot_id: SlotId,
    staff_id: i32,
    event_type_id: i64,
    during: TimeRange,
    hold: Option<&'a Live>,
}

impl Booking<'_> {
    /// Takes the first time that is to be had. Else the reason of the first that is not simply over.
    async fn first_free(
        &self,
        conn: &mut PgConnection,
        candidates: &[Candidate],
        hold: &Hold,
    ) -> Result<Result<(AppointmentId, Option<HoldUse>), No>, StoreError> {
        let mut no = None;
        for candidate in candidates {
            let taken = match within_rules(candidate.starts_at, self.place) {
                Ok(during) => self.take(conn, candidate.staff_id, during, hold).await?,
                Err(no) => Err(no),
            };
            match taken {
                Ok(taken) => return Ok(Ok(taken)),
                Err(other) => no = no.filter(|no| *no != No::Past).or(Some(other)),
            }
        }
        Ok(Err(no.unwrap_or(No::Taken)))
    }

    /// The hold becomes the appointment, or else the first host who is free gets it.
    async fn take(
        &self,
        conn: &mut PgConnection,
        staff_id: Option<i32>,
        during: TimeRange,
        hold: &Hold,
    ) -> Result<Result<(AppointmentId, Option<HoldUse>), No>, StoreError> {
        let company_id = self.command.company_id;
        let hosts: Vec<(i32, i64)> =
            self.place.hosts.iter().copied().filter(|host| staff_id.is_none_or(|wanted| wanted == host.0)).collect();
        let mut used = match hold {
            Hold::None => None,
            Hold::Expired => Some(HoldUse::Expired),
            Hold::Live(_) => Some(HoldUse::Unfit),
        };
        if let Hold::Live(live) = hold
            && let Some(&(staff_id, event_type_id)) = hosts.iter().find(|host| host.0 == live.staff_id)
        {
            let (appointment_id, slot_id) = (live.appointment_id, live.slot_id);
            let row = Row { appointment_id, slot_id, staff_id, event_type_id, during, hold: Some(live) };
            if live.during == during {
                if self.insert(conn, &row).await? {
                    return Ok(Ok((appointment_id, Some(HoldUse::Used))));
                }
                used = Some(HoldUse::Expired);
            } else if live.during.overlaps(during) {
                give_back(conn, company_id, live).await?;
            }
        }
        let staff: Vec<i32> = hosts.iter().map(|h| h.0).collect();
        let (appointment_id, slot_id) = (self.ids.appointment, self.ids.slot);
        let occupied = occupied(conn, company_id, &staff, during, appointment_id).await?;
        let free = hosts.into_iter().filter(|h| !occupied.iter().any(|o| o.staff_id == h.0));
        for (staff_id, event_type_id) in free {
            let row = Row { appointment_id, slot_id, staff_id, event_type_id, during, hold: None };
            if self.insert(conn, &row).await? {
                return Ok(Ok((appointment_id, used)));
            }
        }
        Ok(Err(No::among(&occupied)))
    }

    /// Slot, appointment, segment and event, or nothing: false = the time is taken, or the hold is one no longer.
    async fn insert(&self, conn: &mut PgConnection, row: &Row<'_>) -> Result<bool, StoreError> {
        let command = self.command;
        let facts = &command.facts;
        let taken = sqlx::query_scalar!(
            r#"WITH h AS (
             UPDATE slot SET state = 'booked', token_hash = NULL, held_by = NULL
             WHERE company_id = $1 AND appointment_id = $2 AND slot_id = $3 AND state || '' = 'held' AND token_hash = $20
               AND expires_at > clock_timestamp() RETURNING slot_id),
           n AS (
             INSERT INTO slot (company_id, appointment_id, slot_id, segment_no, staff_id, during, state, promise_version)
             SELECT $1, $2, $3, 1, $4, tstzrange($5, $6, '[)'), 'booked', 1 WHERE $20::bytea IS NULL
             ON CONFLICT ON CONSTRAINT slots_no_overlap DO NOTHING RETURNING slot_id),
           s AS (SELECT slot_id FROM h UNION ALL SELECT slot_id FROM n),
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
            row.appointment_id.0,
            row.slot_id.0,
            row.staff_id,
            row.during.start(),
            row.during.end(),
            self.customer_id.0,
            command.branch_id,
            command.service_id,
            self.place.hours.time_zone.name(),
            command.source.as_str(),
            command.call.as_ref().map(|c| c.call_id.as_str()),
            facts.name,
            facts.email,
            facts.phone.as_ref().map(Phone::as_e164),
            facts.language,
            command.notes,
            row.event_type_id,
            self.ids.lineage.0,
            row.hold.map(|hold| &hold.token_hash[..])
        )
        .fetch_one(conn)
        .await?;
        Ok(taken == 1)
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
        r#"SELECT a.status, a.version, a.starts_at, j.kind AS "kind?", j.state AS "state?", e.fee_minor AS "fee_minor?",
                  e.fee_currency AS "fee_currency?"
           FROM appointment a LEFT JOIN job j ON j.company_id = a.company_id AND j.job_id = $3
                LEFT JOIN appointment_event e ON e.company_id = a.company_id AND e.appointment_id = a.appointment_id
                                             AND e.version = $4
           WHERE a.company_id = $1 AND a.appointment_id = $2"#,
        company_id,
        earlier.appointment_id.0,
        earlier.job_id.map(|j| j.0),
        earlier.version
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
    let (appointment_id, version, how) = (earlier.appointment_id, row.version, How::Replayed);
    let fee = read_fee(row.fee_minor, row.fee_currency.as_deref())?;
    Ok(Some(Accepted { appointment_id, version, status, how, job, ring: vec![], hold: None, fee }))
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

/// Finds or makes the customer, and holds his row.
async fn attach_customer(
    conn: &mut PgConnection,
    command: &BookingCommand,
    fresh: CustomerId,
) -> Result<CustomerId, StoreError> {
    attach(conn, command.company_id, (&command.who).into(), &command.facts.language, fresh).await
}

/// Does the customer have the same service at one of these times already? A booking has locked his row.
pub(crate) async fn already_theirs(
    conn: &mut PgConnection,
    company_id: i32,
    service_id: i32,
    starts: &[DateTime<Utc>],
    customer_id: CustomerId,
) -> Result<Option<(AppointmentId, i32, Status)>, StoreError> {
    let row = sqlx::query!(
        "SELECT appointment_id, version, status FROM appointment
         WHERE company_id = $1 AND customer_id = $2 AND service_id = $3 AND starts_at = ANY($4)
           AND status IN ('requested', 'scheduled') ORDER BY array_position($4, starts_at) LIMIT 1",
        company_id,
        customer_id.0,
        service_id,
        starts
    )
    .fetch_optional(conn)
    .await?;
    row.map(|r| Ok((AppointmentId(r.appointment_id), r.version, read_status(&r.status)?))).transpose()
}
