//! From a request to its reply: arrival, plan, effect, reply, each noted in the ledger. A request is handled in a task
//! of its own, so that a client who goes away changes nothing but the fate of the reply, as at the real Cal.com.
//! Deliberately absent: the rules of booking (calendar.rs), the reading of a request (request.rs),
//! the body of a reply on its way (reply.rs) and the checks of its body or query (input.rs, list.rs).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use http_body_util::LengthLimitError;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::answer::{Answer, Refusal};
use crate::booking::Booking;
use crate::calendar::Calendar;
use crate::config::{Checks, Clock, Config, EventType, Overlap};
use crate::connection::Switch;
use crate::fault::Faults;
use crate::ledger::{Entry, Fate, Ledger, Subject};
use crate::plan::{Latency, Plan, Player, Reply, When};
use crate::replica::Replica;
use crate::reply::{Delivery, plain};
use crate::request::{Head, Received, Route};
use crate::scene::{Outcome, Scene};

/// Largest body read; a longer one is answered 413.
const BODY_MAX_BYTES: usize = 1024 * 1024;

/// All that a sandbox is, behind one lock.
pub(crate) struct Server {
    api_key: Option<String>,
    clock: Clock,
    seed: Option<u64>,
    state: Mutex<Scene>,
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
        let inner = Scene {
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
    fn lock(&self) -> MutexGuard<'_, Scene> {
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
        let Scene { player, ledger, latency, .. } = &mut *inner;
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

/// A request under way.
struct Call {
    number: u64,
    subject: Subject,
    plan: Plan,
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
