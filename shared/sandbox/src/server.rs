//! From a request to its reply: arrival, plan, effect, reply, each noted in the ledger. A request is handled in a task
//! of its own, so that a client who goes away changes nothing but the fate of the reply, as at the real Cal.com.
//! Deliberately absent: the rules of booking (calendar.rs), the reading of a request (request.rs),
//! the body of a reply on its way (reply.rs) and the checks of its body or query (input.rs, list.rs).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use http_body_util::LengthLimitError;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::answer::{Answer, Refusal};
use crate::booking::Booking;
use crate::calendar::{Calendar, Done};
use crate::config::{Checks, Clock, Config, EventType, Overlap};
use crate::connection::Switch;
use crate::fault::{self, Faults, Marker};
use crate::input;
use crate::ledger::{Effect, Entry, Fate, Ledger, Subject};
use crate::list;
use crate::plan::{Latency, Plan, Player, Reply, When};
use crate::replica::Replica;
use crate::reply::{Delivery, plain};
use crate::request::{Caller, Head, Received, Route, authenticate};

/// Largest body read; a longer one is answered 413.
const BODY_MAX_BYTES: usize = 1024 * 1024;

/// All that a sandbox is, behind one lock.
pub(crate) struct Server {
    api_key: Option<String>,
    clock: Clock,
    seed: Option<u64>,
    state: Mutex<Inner>,
}

struct Inner {
    calendar: Calendar,
    ledger: Ledger,
    latency: Latency,
    player: Player,
    replica: Replica,
    requests: u64,
}

pub(crate) fn router(server: Arc<Server>) -> Router {
    crate::control::router().merge(crate::others::router()).fallback(receive).with_state(server)
}

impl Server {
    pub(crate) fn new(config: Config) -> anyhow::Result<Self> {
        let latency = Latency { before: config.latency_before, after: config.latency_after };
        let mut calendar = Calendar::new(config.natural_key, config.overlap, config.seed);
        calendar.set_event_types(config.event_types)?;
        let player = Player::new(config.faults, config.seed)?;
        let inner = Inner {
            calendar,
            ledger: Ledger::default(),
            latency,
            player,
            replica: Replica::new(config.replica_lag),
            requests: 0,
        };
        Ok(Self { api_key: config.api_key, clock: config.clock, seed: config.seed, state: Mutex::new(inner) })
    }

    pub(crate) fn ledger(&self, after_seq: u64) -> Vec<Entry> {
        self.lock().ledger.since(after_seq).to_vec()
    }

    pub(crate) fn bookings(&self) -> Vec<Booking> {
        self.lock().calendar.bookings().to_vec()
    }

    pub(crate) fn booking(&self, uid: &str) -> Option<Booking> {
        self.lock().calendar.find(uid).cloned()
    }

    pub(crate) fn event_types(&self) -> Vec<EventType> {
        self.lock().calendar.event_types()
    }

    pub(crate) fn set_event_types(&self, event_types: Vec<EventType>) -> anyhow::Result<()> {
        self.lock().calendar.set_event_types(event_types)
    }

    pub(crate) fn set_latency(&self, before: Option<Duration>, after: Option<Duration>) -> Latency {
        let mut inner = self.lock();
        inner.latency.before = before.unwrap_or(inner.latency.before);
        inner.latency.after = after.unwrap_or(inner.latency.after);
        inner.latency
    }

    pub(crate) fn faults(&self) -> Faults {
        self.lock().player.faults().clone()
    }

    /// Counts and draws begin anew. Requests that have arrived keep the fault that they met.
    pub(crate) fn set_faults(&self, faults: Faults) -> anyhow::Result<()> {
        self.lock().player = Player::new(faults, self.seed)?;
        Ok(())
    }

    pub(crate) fn replica_lag(&self) -> Duration {
        self.lock().replica.lag()
    }

    pub(crate) fn set_replica_lag(&self, lag: Duration) {
        self.lock().replica.set_lag(lag);
    }

    pub(crate) fn checks(&self) -> Checks {
        self.lock().calendar.checks()
    }

    pub(crate) fn set_checks(&self, checks: Checks) {
        self.lock().calendar.set_checks(checks);
    }

    /// A change that comes from elsewhere: the API's rules, none of its waiting, and no fault.
    pub(crate) fn by_others(&self, route: &Route, body: &Value) -> Answer {
        let mut inner = self.lock();
        let now = self.clock.now();
        let path = match route {
            Route::Cancel(uid) => format!("/_sandbox/bookings/{uid}/cancel"),
            Route::Reschedule(uid) => format!("/_sandbox/bookings/{uid}/reschedule"),
            Route::Create | Route::Read(_) | Route::List | Route::Unknown => "/_sandbox/bookings".to_owned(),
        };
        let mut subject = inner.subject(route, Some(body));
        subject.method = Method::POST.to_string();
        subject.path.clone_from(&path);
        match inner.change(route, body, true, now) {
            Ok(Outcome::Done(status, done)) => {
                inner.requests += 1;
                let number = inner.requests;
                inner.done(number, &mut subject, status, done, now)
            }
            Ok(Outcome::Shown(answer)) => answer,
            Err(refusal) => refusal.answer(&path, now),
        }
    }

    pub(crate) fn note_reply(&self, request: u64, subject: &Subject, status: Option<u16>, fate: Fate) {
        self.lock().ledger.reply(self.clock.now(), request, subject, status, fate);
    }

    /// A panic under the lock leaves entries that were true when written: better to show them than to hide them.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers the request and notes its arrival.
    fn arrive(&self, head: &Head, body: &Received) -> Call {
        let mut inner = self.lock();
        let now = self.clock.now();
        inner.requests += 1;
        let number = inner.requests;
        let mut subject = inner.subject(&head.route, body.json().ok());
        subject.method = head.method.to_string();
        head.uri.path().clone_into(&mut subject.path);
        let marker = inner.marker(head, body);
        let Inner { player, ledger, latency, .. } = &mut *inner;
        let plan = player.decide(head.route.on(), marker, &subject.name(), *latency);
        subject.fault = plan.fault;
        ledger.arrival(now, number, &subject);
        Call { number, subject, plan }
    }

    /// Arrival lies behind, the reply ahead: waits, acts and answers as planned. The fate of the reply is noted wherever
    /// it ends.
    async fn handle(
        self: Arc<Self>,
        mut call: Call,
        head: Head,
        body: Received,
        switch: Switch,
        mut hand_over: oneshot::Sender<Response>,
    ) {
        let Plan { latency, effect, reply, .. } = call.plan;
        pause(latency.before).await;
        let truth = match effect {
            When::First => Some(self.perform(&mut call, &head, &body).await),
            When::Never | When::After(_) => None,
        };
        pause(latency.after).await;
        let now = self.clock.now();
        let said = match reply {
            Reply::Broken => Some(Refusal::broken().answer(&head.url, now)),
            Reply::TooMany(wait) => Some(Answer::too_many(wait, &head.url, now)),
            Reply::Truth | Reply::Late(_) | Reply::Half | Reply::Closed | Reply::Reset | Reply::Hang(_) => truth,
        };
        let status = said.as_ref().map(|answer| answer.status);
        tracing::debug!(request = call.number, method = %head.method, ?status, fault = ?call.plan.fault, "answered");
        let (delivery, ended) = Delivery::new(Arc::clone(&self), call.number, call.subject.clone(), status);
        match (reply, said) {
            (Reply::Half, Some(answer)) => {
                // If the client is gone, so is the receiver: the response comes back and is dropped here, which notes
                // its fate. So below.
                let _ = hand_over.send(delivery.half(answer));
            }
            (Reply::Late(wait), Some(answer)) => {
                pause(wait).await;
                let _ = hand_over.send(delivery.whole(answer, Fate::Late));
            }
            (Reply::Truth | Reply::Broken | Reply::TooMany(_), Some(answer)) => {
                let _ = hand_over.send(delivery.whole(answer, Fate::Sent));
            }
            (Reply::Reset, _) => {
                drop(delivery);
                switch.reset();
                let _ = hand_over.send(withheld());
            }
            (Reply::Hang(longest), _) => {
                tokio::select! {
                    () = hand_over.closed() => {}
                    () = tokio::time::sleep(longest) => {}
                }
                drop(delivery);
                switch.close();
                let _ = hand_over.send(withheld());
            }
            (Reply::Closed | Reply::Truth | Reply::Broken | Reply::TooMany(_) | Reply::Half | Reply::Late(_), _) => {
                drop(delivery);
                switch.close();
                let _ = hand_over.send(withheld());
            }
        }
        if let When::After(wait) = effect {
            // The sender is never used, only dropped.
            let _ = ended.await;
            pause(wait).await;
            self.perform(&mut call, &head, &body).await;
        }
    }

    /// Looks, waits as long as the real server has its eyes shut, and acts; or acts at once.
    async fn perform(&self, call: &mut Call, head: &Head, body: &Received) -> Answer {
        let looked = {
            let inner = self.lock();
            match inner.calendar.checks().overlap {
                Overlap::Toctou(window) => Some((window, inner.look(self.api_key.as_deref(), head, body))),
                Overlap::Strict | Overlap::Off => None,
            }
        };
        if let Some((window, free)) = looked {
            match free {
                Ok(true) => pause(window).await,
                Ok(false) => {}
                Err(refusal) => return refusal.answer(&head.url, self.clock.now()),
            }
        }
        self.act(call, head, body)
    }

    /// Checks, changes and notes the change, all under one lock.
    fn act(&self, call: &mut Call, head: &Head, body: &Received) -> Answer {
        let mut inner = self.lock();
        let now = self.clock.now();
        match inner.decide(self.api_key.as_deref(), head, body, now) {
            Ok(Outcome::Shown(answer)) => answer,
            Ok(Outcome::Done(status, done)) => inner.done(call.number, &mut call.subject, status, done, now),
            Err(refusal) => refusal.answer(&head.url, now),
        }
    }
}

impl Inner {
    fn decide(
        &mut self,
        api_key: Option<&str>,
        head: &Head,
        body: &Received,
        now: DateTime<Utc>,
    ) -> Result<Outcome, Refusal> {
        // The router comes before the guards. A request without the right version really falls back to an older
        // controller, which has other paths and bodies; here it finds no route, the most frequent way to notice.
        if !head.version_known || matches!(head.route, Route::Unknown) {
            return Err(Refusal::not_found(format!("Cannot {} {}", head.method, head.url)));
        }
        let caller = authenticate(api_key, head.authorization.as_deref())?;
        match &head.route {
            Route::Create | Route::Cancel(_) | Route::Reschedule(_) => {
                self.change(&head.route, body.json()?, matches!(caller, Caller::KeyHolder), now)
            }
            Route::Read(uid) => {
                let unseen = self.replica.unseen(Instant::now());
                let seen = unseen.get(uid.as_str()).copied().unwrap_or_else(|| self.calendar.find(uid));
                match seen {
                    Some(booking) => Ok(Outcome::Shown(Answer::success(StatusCode::OK, booking.wire()))),
                    None => Err(Refusal::not_found(format!("Booking with uid={uid} was not found in the database"))),
                }
            }
            Route::List => match caller {
                Caller::KeyHolder => {
                    let query = list::parse(&head.uri)?;
                    Ok(Outcome::Shown(self.calendar.list(&query, &self.replica.unseen(Instant::now()), now)))
                }
                Caller::Anybody => Err(Refusal::unauthorized(
                    "PermissionsGuard - no authentication provided. Provide either authorization bearer token containing \
                     managed user access token or oAuth client id in 'x-cal-client-id' header.",
                )),
            },
            Route::Unknown => Err(Refusal::not_found(format!("Cannot {} {}", head.method, head.url))),
        }
    }

    /// The first half of a check that is made too early: `false` where there is nothing to look at.
    fn look(&self, api_key: Option<&str>, head: &Head, body: &Received) -> Result<bool, Refusal> {
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
            Route::Cancel(_) | Route::Read(_) | Route::List | Route::Unknown => Ok(false),
        }
    }

    /// Changes the calendar, and keeps from the replica what it shall not see yet.
    fn change(
        &mut self,
        route: &Route,
        body: &Value,
        authenticated: bool,
        now: DateTime<Utc>,
    ) -> Result<Outcome, Refusal> {
        let named = match route {
            Route::Cancel(uid) | Route::Reschedule(uid) => Some(uid),
            Route::Create | Route::Read(_) | Route::List | Route::Unknown => None,
        };
        let before = named.filter(|_| self.replica.lags()).and_then(|uid| self.calendar.find(uid)).cloned();
        let (status, done) = match route {
            Route::Create => (StatusCode::CREATED, self.calendar.create(input::create(body)?, now)?),
            Route::Cancel(uid) => {
                (StatusCode::OK, self.calendar.cancel(uid, input::cancel(body)?, authenticated, now)?)
            }
            Route::Reschedule(uid) => {
                (StatusCode::CREATED, self.calendar.reschedule(uid, input::reschedule(body)?, now)?)
            }
            Route::Read(_) | Route::List | Route::Unknown => return Err(Refusal::not_found("Cannot change anything")),
        };
        let at = Instant::now();
        match done.effect {
            Some(Effect::Created) => self.replica.note(done.uid.clone(), None, at),
            Some(Effect::Cancelled) => self.replica.note(done.uid.clone(), before, at),
            Some(Effect::Rescheduled) => {
                self.replica.note(done.uid.clone(), None, at);
                self.replica.note(done.previous_uid.clone().unwrap_or_default(), before, at);
            }
            None => {}
        }
        Ok(Outcome::Done(status, done))
    }

    /// Notes what has changed, and shows it.
    fn done(
        &mut self,
        number: u64,
        subject: &mut Subject,
        status: StatusCode,
        done: Done,
        now: DateTime<Utc>,
    ) -> Answer {
        let Done { uid, effect, previous_uid } = done;
        subject.uid = Some(uid.clone());
        if let Some(effect) = effect {
            self.ledger.effect(now, number, subject, effect, previous_uid);
        }
        Answer::success(status, self.calendar.find(&uid).map_or(Value::Null, Booking::wire))
    }

    /// The marker that stands in the request for itself, or in the booking that it names for a request of its kind.
    fn marker(&self, head: &Head, body: &Received) -> Option<Marker> {
        let on = head.route.on()?;
        let body = body.json().ok();
        let own: Vec<&str> = match &head.route {
            Route::Create => body.map(input::texts).unwrap_or_default(),
            Route::Cancel(_) => body.and_then(|body| body["cancellationReason"].as_str()).into_iter().collect(),
            Route::Reschedule(_) => body.and_then(|body| body["reschedulingReason"].as_str()).into_iter().collect(),
            Route::Read(_) | Route::List | Route::Unknown => Vec::new(),
        };
        let of_the_booking = match &head.route {
            Route::Cancel(uid) | Route::Reschedule(uid) | Route::Read(uid) => {
                self.calendar.find(uid).map(Booking::texts).unwrap_or_default()
            }
            Route::Create | Route::List | Route::Unknown => Vec::new(),
        };
        let own = own.into_iter().flat_map(fault::markers).find(|marker| marker.on.is_none_or(|meant| meant == on));
        own.or_else(|| of_the_booking.into_iter().flat_map(fault::markers).find(|marker| marker.on == Some(on)))
    }

    /// What can be known of a request on arrival, before anything is checked.
    fn subject(&self, route: &Route, body: Option<&Value>) -> Subject {
        let mut subject = Subject::default();
        match route {
            Route::Create => {
                subject.marker = body.and_then(|body| body["metadata"]["gateway_key"].as_str()).map(str::to_owned);
                subject.event_type_id = body.and_then(|body| body["eventTypeId"].as_i64());
                subject.start = body.and_then(|body| input::moment(body["start"].as_str()?));
            }
            Route::Cancel(uid) | Route::Reschedule(uid) => {
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
            Route::List | Route::Unknown => {}
        }
        subject
    }
}

/// A request under way.
struct Call {
    number: u64,
    subject: Subject,
    plan: Plan,
}

/// What the API did with a request.
enum Outcome {
    /// A read.
    Shown(Answer),
    /// A change, or the repetition of one.
    Done(StatusCode, Done),
}

/// Every request that is not for `/_sandbox`.
async fn receive(
    State(server): State<Arc<Server>>,
    ConnectInfo(switch): ConnectInfo<Switch>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = match to_bytes(body, BODY_MAX_BYTES).await {
        Ok(bytes) => Received::new(&bytes, &parts.headers),
        Err(error) if std::error::Error::source(&error).is_some_and(|cause| cause.is::<LengthLimitError>()) => {
            Received::TooLong
        }
        // The client broke off in the middle: the request has not arrived, and nobody reads this reply.
        Err(_) => return plain(StatusCode::BAD_REQUEST, "request aborted"),
    };
    let head = Head::new(parts.method, parts.uri, &parts.headers);
    let call = server.arrive(&head, &body);
    let (hand_over, response) = oneshot::channel();
    tokio::spawn(server.handle(call, head, body, switch, hand_over));
    response.await.unwrap_or_else(|_| withheld())
}

/// Stands in for a reply on a connection that writes nothing more.
fn withheld() -> Response {
    plain(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
}

async fn pause(latency: Duration) {
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
}
