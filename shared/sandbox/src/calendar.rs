//! The bookings and the rules by which they come about. Each check and the change that rests on it happen in one call
//! under the server's one lock: here nothing can slip between them. What the host does with a booking is in
//! calendar/host.rs. Deliberately absent: HTTP, waiting, the ledger.

mod host;
mod slots;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use rand::Rng;
use rand::SeedableRng;
use rand::distr::Alphanumeric;
use rand::rngs::StdRng;
use serde_json::json;

use crate::answer::{Answer, Refusal};
use crate::booking::{Attendee, Booking, Status};
use crate::config::{Checks, EventType, Host, Overlap};
use crate::input::{Cancel, Create, Reschedule, Wanted};
use crate::ledger::Effect;
use crate::list::{self, ListQuery};
use crate::replica::Unseen;

/// Length of a uid, as of Cal.com's short UUIDs.
const UID_CHARS: usize = 22;

/// Bookings and event types. Times of the indices are starts; the second half of a pair is the id of a booking.
pub(crate) struct Calendar {
    natural_key: bool,
    overlap: Overlap,
    rng: StdRng,
    event_types: BTreeMap<i64, EventType>,
    /// By id, which is the order of creation.
    bookings: BTreeMap<i64, Booking>,
    last_id: i64,
    by_uid: HashMap<String, i64>,
    by_start: BTreeSet<(DateTime<Utc>, i64)>,
    /// ACCEPTED bookings by the id of their host: those that exclude others.
    accepted: HashMap<i64, BTreeSet<(DateTime<Utc>, i64)>>,
    /// No booking is longer: how far back one can start that reaches into a given moment.
    longest: TimeDelta,
}

/// What a permitted change came to.
pub(crate) struct Done {
    /// The booking to show.
    pub(crate) uid: String,
    /// `None` if an earlier booking was found instead of a new one being made.
    pub(crate) effect: Option<Effect>,
    /// The booking that was replaced.
    pub(crate) previous_uid: Option<String>,
}

impl Calendar {
    pub(crate) fn new(natural_key: bool, overlap: Overlap, seed: Option<u64>) -> Self {
        Self {
            natural_key,
            overlap,
            rng: seed.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64),
            event_types: BTreeMap::new(),
            bookings: BTreeMap::new(),
            last_id: 0,
            by_uid: HashMap::new(),
            by_start: BTreeSet::new(),
            accepted: HashMap::new(),
            longest: TimeDelta::zero(),
        }
    }

    pub(crate) fn checks(&self) -> Checks {
        Checks { natural_key: self.natural_key, overlap: self.overlap }
    }

    /// Holds for bookings from now on; those that are there stay, even where they would be refused.
    pub(crate) fn set_checks(&mut self, checks: Checks) {
        self.natural_key = checks.natural_key;
        self.overlap = checks.overlap;
    }

    pub(crate) fn event_types(&self) -> Vec<EventType> {
        self.event_types.values().cloned().collect()
    }

    pub(crate) fn set_event_types(&mut self, event_types: Vec<EventType>) -> anyhow::Result<()> {
        for event_type in &event_types {
            event_type.check()?;
        }
        self.event_types.extend(event_types.into_iter().map(|event_type| (event_type.id, event_type)));
        Ok(())
    }

    pub(crate) fn event_type(&self, id: i64) -> Option<&EventType> {
        self.event_types.get(&id)
    }

    pub(crate) fn bookings(&self) -> impl Iterator<Item = &Booking> {
        self.bookings.values()
    }

    pub(crate) fn find(&self, uid: &str) -> Option<&Booking> {
        self.by_uid.get(uid).map(|id| &self.bookings[id])
    }

    /// One page of the bookings that match, as far as a reader sees them.
    pub(crate) fn list(&self, query: &ListQuery, unseen: &Unseen<'_>, now: DateTime<Utc>) -> Answer {
        let (from, to) = query.start_bounds();
        let lower = from.map_or(Bound::Unbounded, |from| Bound::Included((from, 0)));
        let upper = to.map_or(Bound::Unbounded, |to| Bound::Included((to, i64::MAX)));
        let mut candidates: Vec<&Booking> = if from.zip(to).is_some_and(|(from, to)| from > to) {
            Vec::new()
        } else {
            // The start of a booking never changes: a move makes a new one.
            let found = self.by_start.range((lower, upper)).map(|(_, id)| &self.bookings[id]);
            found.filter_map(|booking| unseen.get(booking.uid.as_str()).copied().unwrap_or(Some(booking))).collect()
        };
        let deleted = unseen.iter().filter(|(uid, _)| !self.by_uid.contains_key(**uid));
        candidates.extend(deleted.filter_map(|(_, before)| *before));
        candidates.sort_by_key(|booking| (booking.start, booking.id));
        list::page(candidates, query, now)
    }

    /// `POST /v2/bookings`.
    pub(crate) fn create(&mut self, create: Create, now: DateTime<Utc>) -> Result<Done, Refusal> {
        let event_type = self.wanted(&create.wanted)?.clone();
        if create.length_given {
            return Err(Refusal::bad_request(
                "Can't specify 'lengthInMinutes' because event type does not have multiple possible lengths. Please, \
                 remove the 'lengthInMinutes' field from the request.",
            ));
        }
        not_past(create.start, now)?;
        if event_type.requires_confirmation
            && let Some(uid) = self.repeated(&event_type, &create)
        {
            return Ok(Done { uid, effect: None, previous_uid: None });
        }
        let status = if event_type.requires_confirmation { Status::Pending } else { Status::Accepted };
        let end = create.start + TimeDelta::minutes(i64::from(event_type.length_minutes));
        self.free(event_type.host.id, create.start, end, status, None)?;

        let uid = self.new_uid();
        let name = event_type.title.as_deref().unwrap_or(&event_type.slug);
        let booking = Booking {
            id: self.next_id(),
            title: title(name, &event_type.host, &create.attendee),
            host: event_type.host,
            status,
            cancellation_reason: String::new(),
            cancelled_by: String::new(),
            rejection_reason: String::new(),
            rescheduling_reason: None,
            rescheduled_by: None,
            rescheduled_from_uid: None,
            rescheduled_to_uid: None,
            start: create.start,
            end,
            event_type_id: event_type.id,
            event_type_slug: event_type.slug,
            location: create.location.unwrap_or_else(|| "integrations:daily".to_owned()),
            created_at: now,
            updated_at: now,
            metadata: create.metadata,
            ics_uid: format!("{uid}@Cal.com"),
            ics_sequence: 0,
            attendee: create.attendee,
            guests: create.guests,
            responses: create.responses,
            uid: uid.clone(),
        };
        self.insert(booking);
        Ok(Done { uid, effect: Some(Effect::Created), previous_uid: None })
    }

    /// `POST /v2/bookings/{uid}/cancel`. Not idempotent: the second one is refused.
    pub(crate) fn cancel(
        &mut self,
        uid: &str,
        cancel: Cancel,
        authenticated: bool,
        now: DateTime<Utc>,
    ) -> Result<Done, Refusal> {
        let cancelled = self.as_cancelled(uid, cancel, authenticated, now)?;
        self.exclude_nobody(cancelled.id);
        self.bookings.insert(cancelled.id, cancelled);
        Ok(Done { uid: uid.to_owned(), effect: Some(Effect::Cancelled), previous_uid: None })
    }

    /// The booking as a cancellation would leave it: what is told of it before it is done.
    pub(crate) fn as_cancelled(
        &self,
        uid: &str,
        cancel: Cancel,
        authenticated: bool,
        now: DateTime<Utc>,
    ) -> Result<Booking, Refusal> {
        let Some(booking) = self.find(uid) else {
            return Err(Refusal::not_found(format!("Booking with uid={uid} not found")));
        };
        if booking.status == Status::Cancelled {
            return Err(Refusal::bad_request(format!(
                "Can't cancel booking with uid={uid} because it has been cancelled already. Please provide uid of a \
                 booking that is not cancelled."
            )));
        }
        if booking.end <= now {
            return Err(Refusal::flat_bad_request("Cannot cancel a booking that has already ended"));
        }
        let cancelled_by = if authenticated { booking.host.email.clone() } else { booking.cancelled_by.clone() };
        Ok(Booking {
            status: Status::Cancelled,
            cancellation_reason: cancel.reason.unwrap_or_default(),
            cancelled_by,
            ics_sequence: booking.ics_sequence + 1,
            updated_at: now,
            ..booking.clone()
        })
    }

    /// `POST /v2/bookings/{uid}/reschedule`: a new booking of the old one's length replaces it, in one step.
    pub(crate) fn reschedule(
        &mut self,
        uid: &str,
        reschedule: Reschedule,
        now: DateTime<Utc>,
    ) -> Result<Done, Refusal> {
        let Some(old) = self.find(uid).cloned() else {
            return Err(Refusal::not_found(format!("Booking with uid={uid} was not found in the database")));
        };
        if old.status == Status::Cancelled {
            return Err(Refusal::bad_request(match &old.rescheduled_to_uid {
                Some(new) => format!(
                    "Can't reschedule booking with uid={uid} because it has been cancelled and rescheduled already to \
                     booking with uid={new}. You probably want to reschedule {new} instead by passing it within the \
                     request URL."
                ),
                None => format!(
                    "Can't reschedule booking with uid={uid} because it has been cancelled. Please provide uid of a \
                     booking that is not cancelled."
                ),
            }));
        }
        if old.status == Status::Rejected {
            return Err(Refusal::flat(StatusCode::NOT_FOUND, "Could not find original booking"));
        }
        not_past(reschedule.start, now)?;
        // Only the host's own address confirms at once; anybody else's puts the booking back to waiting.
        let by_host = reschedule.by.as_deref() == Some(old.host.email.as_str());
        let confirmation = self.event_types.get(&old.event_type_id).is_some_and(|event| event.requires_confirmation);
        let status = if confirmation && !by_host { Status::Pending } else { Status::Accepted };
        let end = reschedule.start + (old.end - old.start);
        self.free(old.host.id, reschedule.start, end, status, Some(old.id))?;

        let new_uid = self.new_uid();
        self.exclude_nobody(old.id);
        let replaced = Booking {
            status: Status::Cancelled,
            updated_at: now,
            rescheduled_to_uid: Some(new_uid.clone()),
            rescheduled_by: reschedule.by.clone(),
            ..old.clone()
        };
        self.bookings.insert(old.id, replaced);
        let mut responses = old.responses;
        if let Some(reason) = &reschedule.reason {
            responses.insert("rescheduledReason".to_owned(), json!(reason));
        }
        let booking = Booking {
            id: self.next_id(),
            uid: new_uid.clone(),
            status,
            rescheduling_reason: reschedule.reason,
            rescheduled_by: reschedule.by,
            rescheduled_from_uid: Some(uid.to_owned()),
            rescheduled_to_uid: None,
            start: reschedule.start,
            end,
            created_at: now,
            updated_at: now,
            responses,
            ics_sequence: old.ics_sequence + 1,
            ..old
        };
        self.insert(booking);
        Ok(Done { uid: new_uid, effect: Some(Effect::Rescheduled), previous_uid: Some(uid.to_owned()) })
    }

    fn wanted(&self, wanted: &Wanted) -> Result<&EventType, Refusal> {
        match wanted {
            Wanted::Id(id) => self
                .event_types
                .get(id)
                .ok_or_else(|| Refusal::not_found(format!("Event type with id {id} not found."))),
            Wanted::OfUser { slug, username } => self
                .event_types
                .values()
                .find(|event_type| event_type.slug == *slug && event_type.host.username == *username)
                .ok_or_else(|| {
                    Refusal::not_found(format!("Event type with slug {slug} belonging to user {username} not found."))
                }),
            Wanted::OfTeam { slug, team } => {
                Err(Refusal::not_found(format!("Event type with slug {slug} belonging to team {team} not found.")))
            }
        }
    }

    /// Where confirmation is required, the same person asking for the same start again is shown the first booking.
    fn repeated(&self, event_type: &EventType, create: &Create) -> Option<String> {
        self.by_start
            .range((create.start, 0)..=(create.start, i64::MAX))
            .map(|(_, id)| &self.bookings[id])
            .find(|booking| {
                booking.event_type_id == event_type.id
                    && booking.status.is_live()
                    && (booking.attendee.email == create.attendee.email
                        || (booking.attendee.phone_number.is_some()
                            && booking.attendee.phone_number == create.attendee.phone_number))
            })
            .map(|booking| booking.uid.clone())
    }

    /// The first half of [`Overlap::Toctou`]: is the host free now? Whatever else is wrong is found in the second half.
    pub(crate) fn look_before_create(&self, create: &Create) -> Result<(), Refusal> {
        let Ok(event_type) = self.wanted(&create.wanted) else { return Ok(()) };
        if event_type.requires_confirmation && self.repeated(event_type, create).is_some() {
            return Ok(());
        }
        let end = create.start + TimeDelta::minutes(i64::from(event_type.length_minutes));
        match self.overlapping(event_type.host.id, create.start, end, None).next() {
            Some(_) => Err(Refusal::not_available()),
            None => Ok(()),
        }
    }

    /// The same for a move.
    pub(crate) fn look_before_reschedule(&self, uid: &str, reschedule: &Reschedule) -> Result<(), Refusal> {
        let Some(old) = self.find(uid) else { return Ok(()) };
        let end = reschedule.start + (old.end - old.start);
        match self.overlapping(old.host.id, reschedule.start, end, Some(old.id)).next() {
            Some(_) if old.status.is_live() => Err(Refusal::not_available()),
            Some(_) | None => Ok(()),
        }
    }

    /// The unique key of ACCEPTED bookings, then the host's availability. `own` is the booking about to be replaced.
    fn free(
        &self,
        host: i64,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
        status: Status,
        own: Option<i64>,
    ) -> Result<(), Refusal> {
        let identical = |booking: &Booking| booking.start == start && booking.end == end;
        if self.natural_key && status == Status::Accepted && self.overlapping(host, start, end, own).any(identical) {
            return Err(Refusal::booking_conflict());
        }
        match self.overlap {
            Overlap::Strict if self.overlapping(host, start, end, own).next().is_some() => {
                Err(Refusal::not_available())
            }
            Overlap::Strict | Overlap::Toctou(_) | Overlap::Off => Ok(()),
        }
    }

    /// The ACCEPTED bookings of a host that share a moment with `start..end`.
    fn overlapping(
        &self,
        host: i64,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
        own: Option<i64>,
    ) -> impl Iterator<Item = &Booking> {
        self.accepted
            .get(&host)
            .into_iter()
            .flat_map(move |accepted| accepted.range((start - self.longest, 0)..(end, 0)))
            .filter(move |(_, id)| Some(*id) != own)
            .map(|(_, id)| &self.bookings[id])
            .filter(move |booking| booking.end > start)
    }

    fn insert(&mut self, booking: Booking) {
        self.longest = self.longest.max(booking.end - booking.start);
        self.by_uid.insert(booking.uid.clone(), booking.id);
        self.by_start.insert((booking.start, booking.id));
        if booking.status == Status::Accepted {
            self.accepted.entry(booking.host.id).or_default().insert((booking.start, booking.id));
        }
        self.bookings.insert(booking.id, booking);
    }

    /// The booking excludes nobody any more, and its unique key is free.
    fn exclude_nobody(&mut self, id: i64) {
        let booking = &self.bookings[&id];
        if let Some(accepted) = self.accepted.get_mut(&booking.host.id) {
            accepted.remove(&(booking.start, id));
        }
    }

    fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    fn new_uid(&mut self) -> String {
        loop {
            let uid: String = (&mut self.rng).sample_iter(Alphanumeric).take(UID_CHARS).map(char::from).collect();
            if !self.by_uid.contains_key(&uid) {
                return uid;
            }
        }
    }
}

fn title(name: &str, host: &Host, attendee: &Attendee) -> String {
    format!("{name} between {} and {}", host.name, attendee.name)
}

fn not_past(start: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), Refusal> {
    if start < now { Err(Refusal::bad_request("Attempting to book a meeting in the past.")) } else { Ok(()) }
}
