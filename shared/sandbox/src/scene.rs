//! Everything that a sandbox is at one moment, and what a request does to it: read, decide, change.
//! Deliberately absent: the lock around it, and the way of the reply (server.rs).

use std::time::Instant;

use axum::http::StatusCode;
use chrono::{DateTime, SubsecRound, Utc};
use serde_json::Value;

use crate::answer::{Answer, Refusal};
use crate::booking::Booking;
use crate::calendar::{Calendar, Done};
use crate::fault::{self, Marker};
use crate::input;
use crate::ledger::{Effect, Ledger, Subject};
use crate::limiter::Limiter;
use crate::list;
use crate::payload::{Event, Occasion};
use crate::plan::{Latency, Player};
use crate::replica::Replica;
use crate::request::{Caller, Head, Received, Route, authenticate};
use crate::slots;

/// All of it, behind one lock.
pub(crate) struct Scene {
    pub(crate) calendar: Calendar,
    pub(crate) ledger: Ledger,
    pub(crate) latency: Latency,
    pub(crate) limiter: Limiter,
    pub(crate) player: Player,
    pub(crate) replica: Replica,
    pub(crate) requests: u64,
}

/// Who asks for a change, and on which way.
#[derive(Clone, Copy)]
pub(crate) enum Origin {
    /// The API, with a good key or without any.
    Api { authenticated: bool },
    /// Cal.com's own pages, where the host is at home.
    Others,
}

impl Scene {
    pub(crate) fn decide(
        &mut self,
        api_key: Option<&str>,
        head: &Head,
        body: &Received,
        now: DateTime<Utc>,
    ) -> Result<Outcome, Refusal> {
        let caller = admit(api_key, head)?;
        let origin = caller.origin();
        match &head.route {
            Route::Create | Route::Cancel(_) | Route::Reschedule(_) => {
                self.change(&head.route, body.json()?, origin, now)
            }
            Route::Confirm(_) | Route::Decline(_) => match caller {
                Caller::KeyHolder(_) => self.change(&head.route, body.json()?, origin, now),
                Caller::Anybody => Err(no_authentication()),
            },
            Route::Read(uid) => {
                let unseen = self.replica.unseen(Instant::now());
                let seen = unseen.get(uid.as_str()).copied().unwrap_or_else(|| self.calendar.find(uid));
                match seen {
                    Some(booking) => Ok(Outcome::Shown(Answer::success(StatusCode::OK, booking.wire()))),
                    None => Err(Refusal::not_found(format!("Booking with uid={uid} was not found in the database"))),
                }
            }
            Route::List => match caller {
                Caller::KeyHolder(_) => {
                    let query = list::parse(&head.uri)?;
                    Ok(Outcome::Shown(self.calendar.list(&query, &self.replica.unseen(Instant::now()), now)))
                }
                Caller::Anybody => Err(no_authentication()),
            },
            Route::Slots => {
                let query = slots::parse(&head.uri)?;
                let unseen = self.replica.unseen(Instant::now());
                Ok(Outcome::Shown(Answer::success(StatusCode::OK, self.calendar.slots(&query, &unseen, now)?)))
            }
            Route::Reassign(..) | Route::Delete(_) | Route::Unknown => Err(no_route(head)),
        }
    }

    /// The first half of a check that is made too early: `false` where there is nothing to look at.
    pub(crate) fn look(&self, api_key: Option<&str>, head: &Head, body: &Received) -> Result<bool, Refusal> {
        let known = head.version_known && authenticate(api_key, head.authorization.as_deref()).is_ok();
        let Some(body) = body.json().ok().filter(|_| known) else { return Ok(false) };
        match &head.route {
            Route::Create => match input::create(body) {
                Ok(create) => self.calendar.look_before_create(&create).map(|()| true),
                Err(_) => Ok(false),
            },
            Route::Reschedule(uid) => match input::reschedule(body) {
                Ok(reschedule) => self.calendar.look_before_reschedule(uid, &reschedule).map(|()| true),
                Err(_) => Ok(false),
            },
            Route::Cancel(_)
            | Route::Confirm(_)
            | Route::Decline(_)
            | Route::Reassign(..)
            | Route::Delete(_)
            | Route::Read(_)
            | Route::List
            | Route::Slots
            | Route::Unknown => Ok(false),
        }
    }

    /// What is told of a change before it is done: of a cancellation that is allowed.
    pub(crate) fn foretell(&self, route: &Route, body: &Value, origin: Origin, now: DateTime<Utc>) -> Option<Event> {
        let Route::Cancel(uid) = route else { return None };
        let cancel = input::cancel(body).ok()?;
        let booking = self.calendar.as_cancelled(uid, cancel, origin.authenticated(), now).ok()?;
        Some(self.event(booking, Occasion::Cancelled))
    }

    /// The same for a request to the API, which may not even get so far.
    pub(crate) fn foretell_of(
        &self,
        api_key: Option<&str>,
        head: &Head,
        body: &Received,
        now: DateTime<Utc>,
    ) -> Option<Event> {
        let origin = admit(api_key, head).ok()?.origin();
        self.foretell(&head.route, body.json().ok()?, origin, now)
    }

    /// Changes the calendar, and keeps from the replica what it shall not see yet.
    pub(crate) fn change(
        &mut self,
        route: &Route,
        body: &Value,
        origin: Origin,
        now: DateTime<Utc>,
    ) -> Result<Outcome, Refusal> {
        // The real database keeps milliseconds, and a list is asked for what was changed after one of them.
        let now = now.trunc_subsecs(3);
        let before = route.uid().filter(|_| self.replica.lags()).and_then(|uid| self.calendar.find(uid)).cloned();
        let calendar = &mut self.calendar;
        let (status, done) = match route {
            Route::Create => (StatusCode::CREATED, calendar.create(input::create(body)?, now)?),
            Route::Cancel(uid) => {
                (StatusCode::OK, calendar.cancel(uid, input::cancel(body)?, origin.authenticated(), now)?)
            }
            Route::Reschedule(uid) => (StatusCode::CREATED, calendar.reschedule(uid, input::reschedule(body)?, now)?),
            Route::Confirm(uid) => (StatusCode::OK, calendar.confirm(uid, now)?),
            Route::Decline(uid) => (StatusCode::OK, calendar.decline(uid, input::decline(body)?, now)?),
            Route::Reassign(uid, host_id) => (StatusCode::OK, calendar.reassign(uid, *host_id, now)?),
            Route::Delete(uid) => (StatusCode::OK, calendar.delete(uid)?),
            Route::Read(_) | Route::List | Route::Slots | Route::Unknown => {
                return Err(Refusal::not_found("Cannot change anything"));
            }
        };
        let at = Instant::now();
        match done.effect {
            Some(Effect::Created) => self.replica.note(done.uid.clone(), None, at),
            Some(Effect::Cancelled | Effect::Confirmed | Effect::Declined | Effect::Reassigned | Effect::Deleted) => {
                self.replica.note(done.uid.clone(), before, at);
            }
            Some(Effect::Rescheduled) => {
                self.replica.note(done.uid.clone(), None, at);
                self.replica.note(done.previous_uid.clone().unwrap_or_default(), before, at);
            }
            None => {}
        }
        Ok(Outcome::Done(status, done))
    }

    /// Notes what has changed, shows it, and says what is to be told of it.
    pub(crate) fn done(
        &mut self,
        number: u64,
        subject: &mut Subject,
        status: StatusCode,
        done: Done,
        origin: Origin,
        now: DateTime<Utc>,
    ) -> (Answer, Option<Event>) {
        let told = self.tell(&done, origin);
        let Done { uid, effect, previous_uid } = done;
        subject.uid = Some(uid.clone());
        if let Some(effect) = effect {
            self.ledger.effect(now, number, subject, effect, previous_uid);
        }
        (Answer::success(status, self.calendar.find(&uid).map_or(Value::Null, Booking::wire)), told)
    }

    /// A handover and a deletion have no trigger at Cal.com; a cancellation has been told before it was done.
    fn tell(&self, done: &Done, origin: Origin) -> Option<Event> {
        let occasion = match done.effect? {
            Effect::Created => Occasion::Made,
            Effect::Rescheduled => {
                let previous = self.calendar.find(done.previous_uid.as_deref()?)?;
                let through_the_api = matches!(origin, Origin::Api { .. });
                Occasion::Moved { previous: Box::new(previous.clone()), through_the_api }
            }
            Effect::Confirmed => Occasion::Confirmed,
            Effect::Declined => Occasion::Declined,
            Effect::Cancelled | Effect::Reassigned | Effect::Deleted => return None,
        };
        Some(self.event(self.calendar.find(&done.uid)?.clone(), occasion))
    }

    fn event(&self, booking: Booking, occasion: Occasion) -> Event {
        let event_type = self.calendar.event_type(booking.event_type_id).cloned();
        Event { booking, event_type, occasion }
    }

    /// The marker that stands in the request for itself, or in the booking that it names for a request of its kind.
    pub(crate) fn marker(&self, head: &Head, body: &Received) -> Option<Marker> {
        let on = head.route.on()?;
        let body = body.json().ok();
        let own: Vec<&str> = match &head.route {
            Route::Create => body.map(input::texts).unwrap_or_default(),
            Route::Cancel(_) => body.and_then(|body| body["cancellationReason"].as_str()).into_iter().collect(),
            Route::Reschedule(_) => body.and_then(|body| body["reschedulingReason"].as_str()).into_iter().collect(),
            Route::Confirm(_)
            | Route::Decline(_)
            | Route::Reassign(..)
            | Route::Delete(_)
            | Route::Read(_)
            | Route::List
            | Route::Slots
            | Route::Unknown => Vec::new(),
        };
        let named = head.route.uid().and_then(|uid| self.calendar.find(uid));
        let of_the_booking = named.map(Booking::texts).unwrap_or_default();
        let own = own.into_iter().flat_map(fault::markers).find(|marker| marker.on.is_none_or(|meant| meant == on));
        own.or_else(|| of_the_booking.into_iter().flat_map(fault::markers).find(|marker| marker.on == Some(on)))
    }

    /// What can be known of a request on arrival, before anything is checked.
    pub(crate) fn subject(&self, route: &Route, body: Option<&Value>) -> Subject {
        let mut subject = Subject::default();
        match route {
            Route::Create => {
                subject.marker = body.and_then(|body| body["metadata"]["gateway_key"].as_str()).map(str::to_owned);
                subject.event_type_id = body.and_then(|body| body["eventTypeId"].as_i64());
                subject.start = body.and_then(|body| input::moment(body["start"].as_str()?));
            }
            Route::Cancel(uid)
            | Route::Reschedule(uid)
            | Route::Confirm(uid)
            | Route::Decline(uid)
            | Route::Reassign(uid, _)
            | Route::Delete(uid) => {
                subject.uid = Some(uid.clone());
                if let Some(booking) = self.calendar.find(uid) {
                    subject.marker = booking.marker().map(str::to_owned);
                    subject.event_type_id = Some(booking.event_type_id);
                    subject.start = Some(booking.start);
                }
                if matches!(route, Route::Reschedule(_)) {
                    subject.start = body.and_then(|body| input::moment(body["start"].as_str()?));
                }
            }
            Route::Read(uid) => subject.uid = Some(uid.clone()),
            Route::List | Route::Slots | Route::Unknown => {}
        }
        subject
    }
}

/// What the API did with a request.
pub(crate) enum Outcome {
    /// A read.
    Shown(Answer),
    /// A change, or the repetition of one.
    Done(StatusCode, Done),
}

impl Origin {
    fn authenticated(self) -> bool {
        matches!(self, Self::Others | Self::Api { authenticated: true })
    }
}

impl Caller<'_> {
    fn origin(&self) -> Origin {
        Origin::Api { authenticated: matches!(self, Self::KeyHolder(_)) }
    }
}

/// The router comes before the guards. A request without the right version really falls back to an older controller,
/// which has other paths and bodies; here it finds no route, the most frequent way to notice.
pub(crate) fn admit<'a>(api_key: Option<&str>, head: &'a Head) -> Result<Caller<'a>, Refusal> {
    if !head.version_known || matches!(head.route, Route::Unknown) {
        return Err(no_route(head));
    }
    authenticate(api_key, head.authorization.as_deref())
}

fn no_route(head: &Head) -> Refusal {
    Refusal::not_found(format!("Cannot {} {}", head.method, head.url))
}

fn no_authentication() -> Refusal {
    Refusal::unauthorized(
        "PermissionsGuard - no authentication provided. Provide either authorization bearer token containing \
         managed user access token or oAuth client id in 'x-cal-client-id' header.",
    )
}
