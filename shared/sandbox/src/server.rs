//! From a request to its reply: arrival, plan, effect, webhooks, reply, each noted. A request is handled in a task
//! of its own, so that a client who goes away changes nothing but the fate of the reply, as at the real Cal.com.
//! Deliberately absent: the rules of booking (calendar.rs), the reading of a request (request.rs),
//! the body of a reply on its way (reply.rs) and the checks of its body or query (input.rs, list.rs).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use http_body_util::LengthLimitError;
use tokio::sync::oneshot;

use crate::answer::{Answer, Rate, Refusal};
use crate::booking::Booking;
use crate::calendar::Calendar;
use crate::config::{Checks, Clock, Config, EventType, Overlap};
use crate::connection::Switch;
use crate::fault::Faults;
use crate::ledger::{Entry, Fate, Ledger, Subject};
use crate::limiter::{Limiter, RateLimit};
use crate::payload::Event;
use crate::plan::{Latency, Plan, Player, Reply, When};
use crate::postman::{Parcel, Postman};
use crate::replica::Replica;
use crate::reply::{Delivery, plain};
use crate::request::{Caller, Head, Received};
use crate::scene::{Origin, Outcome, Scene, admit};

/// Largest body read; a longer one is answered 413.
const BODY_MAX_BYTES: usize = 1024 * 1024;

/// All that a sandbox is, behind one lock, and the postman, who has his own.
pub(crate) struct Server {
    api_key: Option<String>,
    clock: Clock,
    seed: Option<u64>,
    state: Mutex<Scene>,
    pub(crate) postman: Arc<Postman>,
}

impl Server {
    pub(crate) fn new(config: Config) -> anyhow::Result<Self> {
        let latency = Latency { before: config.latency_before, after: config.latency_after };
        let mut calendar = Calendar::new(config.natural_key, config.overlap, config.seed);
        calendar.set_event_types(config.event_types)?;
        let player = Player::new(config.faults, config.seed)?;
        let postman = Postman::new(config.webhooks, config.webhook_plan, config.seed, config.clock.clone())?;
        let inner = Scene {
            calendar,
            ledger: Ledger::default(),
            latency,
            limiter: Limiter::new(config.rate_limit)?,
            player,
            replica: Replica::new(config.replica_lag),
            requests: 0,
        };
        Ok(Self {
            api_key: config.api_key,
            clock: config.clock,
            seed: config.seed,
            state: Mutex::new(inner),
            postman: Arc::new(postman),
        })
    }

    pub(crate) fn ledger(&self, after_seq: u64) -> Vec<Entry> {
        self.lock().ledger.since(after_seq).to_vec()
    }

    pub(crate) fn bookings(&self) -> Vec<Booking> {
        self.lock().calendar.bookings().cloned().collect()
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

    pub(crate) fn rate_limit(&self) -> Option<RateLimit> {
        self.lock().limiter.limit()
    }

    /// Every key begins anew.
    pub(crate) fn set_rate_limit(&self, limit: Option<RateLimit>) -> anyhow::Result<()> {
        self.lock().limiter.set_limit(limit)
    }

    /// Tells what is told before the change, changes, and tells of the change; each `act` and its webhooks under one
    /// lock. Hands back the answer, and the webhooks that are to follow the reply.
    pub(crate) async fn carry_out(
        &self,
        foretell: impl FnOnce(&Scene, DateTime<Utc>) -> Option<Event>,
        act: impl FnOnce(&mut Scene, DateTime<Utc>) -> (Answer, Option<Event>),
    ) -> (Answer, Vec<Parcel>) {
        let copies =
            |event: Option<Event>, now| event.map(|event| self.postman.copies(&event, now)).unwrap_or_default();
        let foretold = {
            let scene = self.lock();
            let now = self.clock.now();
            copies(foretell(&scene, now), now)
        };
        let mut later = self.postman.deliver(foretold).await;
        let (answer, told) = {
            let mut scene = self.lock();
            let now = self.clock.now();
            let (answer, event) = act(&mut scene, now);
            (answer, copies(event, now))
        };
        later.extend(self.postman.deliver(told).await);
        (answer, later)
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
        let Scene { player, ledger, latency, limiter, .. } = &mut *inner;
        // The limiter is the first of the guards: it counts what has a route and no wrong key, and a request that it
        // turns away meets no fault.
        let grant = match admit(self.api_key.as_deref(), head) {
            Ok(Caller::KeyHolder(key)) => {
                subject.key = Some(limiter.number(key));
                limiter.count(subject.key, now)
            }
            Ok(Caller::Anybody) => limiter.count(None, now),
            Err(_) => None,
        };
        let plan = match grant.as_ref().filter(|grant| grant.throttled) {
            Some(grant) => Plan::throttled(grant.rate.reset),
            None => player.decide(head.route.on(), marker, &subject.name(), *latency),
        };
        subject.throttled = grant.as_ref().is_some_and(|grant| grant.throttled);
        subject.fault = plan.fault;
        ledger.arrival(now, number, &subject);
        Call { number, subject, plan, rate: grant.map(|grant| grant.rate) }
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
        let (truth, later) = match effect {
            When::First => {
                let (answer, later) = self.perform(&mut call, &head, &body).await;
                (Some(answer), later)
            }
            When::Never | When::After(_) => (None, Vec::new()),
        };
        pause(latency.after).await;
        let now = self.clock.now();
        let said = match reply {
            Reply::Broken => Some(Refusal::broken().answer(&head.url, now)),
            Reply::TooMany(wait) => Some(Answer::too_many(&self.lock().limiter.feigned(wait), &head.url, now)),
            Reply::Truth | Reply::Late(_) | Reply::Half | Reply::Closed | Reply::Reset | Reply::Hang(_) => truth,
        };
        let said = match (said, &call.rate) {
            (Some(answer), Some(rate)) if answer.headers.is_empty() => Some(answer.with_rate(rate)),
            (said, _) => said,
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
        // The sender is never used, only dropped.
        let _ = ended.await;
        self.postman.follow(later).await;
        if let When::After(wait) = effect {
            pause(wait).await;
            let (_, later) = self.perform(&mut call, &head, &body).await;
            self.postman.follow(later).await;
        }
    }

    /// Looks, waits as long as the real server has its eyes shut, and acts; or acts at once.
    async fn perform(&self, call: &mut Call, head: &Head, body: &Received) -> (Answer, Vec<Parcel>) {
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
                Err(refusal) => return (refusal.answer(&head.url, self.clock.now()), Vec::new()),
            }
        }
        let api_key = self.api_key.as_deref();
        let foretell = |scene: &Scene, now| scene.foretell_of(api_key, head, body, now);
        self.carry_out(foretell, |scene, now| match scene.decide(api_key, head, body, now) {
            Ok(Outcome::Shown(answer)) => (answer, None),
            Ok(Outcome::Done(status, done)) => {
                let origin = Origin::Api { authenticated: call.subject.key.is_some() };
                scene.done(call.number, &mut call.subject, status, done, origin, now)
            }
            Err(refusal) => (refusal.answer(&head.url, now), None),
        })
        .await
    }
}

/// A request under way.
struct Call {
    number: u64,
    subject: Subject,
    plan: Plan,
    /// What the limiter says of it, while it is on.
    rate: Option<Rate>,
}

/// Every request that is not for `/_sandbox`.
pub(crate) async fn receive(
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
