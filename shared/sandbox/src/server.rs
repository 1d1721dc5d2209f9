//! From a request to its reply: arrival, plan, effect, reply, each noted in the ledger. A request is handled in a task
//! of its own, so that a client who goes away changes nothing but the fate of the reply, as at the real Cal.com.
//! Deliberately absent: the rules of booking (calendar.rs), the reading of a request (request.rs)
//! and the checks of its body or query (input.rs, list.rs).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use http_body_util::{BodyExt, Full, LengthLimitError};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use uuid::Builder;

use crate::answer::{Answer, Refusal};
use crate::booking::Booking;
use crate::calendar::{Calendar, Done};
use crate::config::{Clock, Config, EventType};
use crate::input;
use crate::ledger::{Entry, Fate, Ledger, Subject};
use crate::list;
use crate::plan::{self, Latency, Plan};
use crate::request::{Caller, Head, Received, Route, authenticate};

/// Largest body read; a longer one is answered 413.
const BODY_MAX_BYTES: usize = 1024 * 1024;

/// All that a sandbox is, behind one lock.
pub(crate) struct Server {
    api_key: Option<String>,
    clock: Clock,
    state: Mutex<Inner>,
}

struct Inner {
    calendar: Calendar,
    ledger: Ledger,
    latency: Latency,
    requests: u64,
}

pub(crate) fn router(server: Arc<Server>) -> Router {
    crate::control::router().fallback(receive).with_state(server)
}

impl Server {
    pub(crate) fn new(config: Config) -> anyhow::Result<Self> {
        let latency = Latency { before: config.latency_before, after: config.latency_after };
        let mut calendar = Calendar::new(config.natural_key, config.overlap, config.seed);
        calendar.set_event_types(config.event_types)?;
        let inner = Inner { calendar, ledger: Ledger::default(), latency, requests: 0 };
        Ok(Self { api_key: config.api_key, clock: config.clock, state: Mutex::new(inner) })
    }

    pub(crate) fn ledger(&self, after_seq: u64) -> Vec<Entry> {
        self.lock().ledger.since(after_seq).to_vec()
    }

    pub(crate) fn bookings(&self) -> Vec<Booking> {
        self.lock().calendar.bookings().to_vec()
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
        let subject = inner.subject(head, body);
        inner.ledger.arrival(now, number, &subject);
        Call { number, subject, latency: inner.latency }
    }

    /// Arrival lies behind, the reply ahead: waits as planned, acts, and hands back the response whose fate will be
    /// noted wherever it ends.
    async fn handle(self: Arc<Self>, mut call: Call, head: Head, body: Received) -> Response {
        let answer = if head.route.mutates() {
            match plan::decide(call.latency, &call.subject) {
                Plan::Act { before, after } => {
                    pause(before).await;
                    let answer = self.act(&mut call, &head, &body);
                    pause(after).await;
                    answer
                }
            }
        } else {
            self.act(&mut call, &head, &body)
        };
        tracing::debug!(request = call.number, method = %head.method, status = answer.status.as_u16(), "answered");
        respond(self, call, answer)
    }

    /// Checks, changes and notes the change, all under one lock.
    fn act(&self, call: &mut Call, head: &Head, body: &Received) -> Answer {
        let mut inner = self.lock();
        let now = self.clock.now();
        match inner.decide(self.api_key.as_deref(), head, body, now) {
            Ok(Outcome::Shown(answer)) => answer,
            Ok(Outcome::Done(status, done)) => {
                let Done { uid, effect, previous_uid } = done;
                call.subject.uid = Some(uid.clone());
                if let Some(effect) = effect {
                    inner.ledger.effect(now, call.number, &call.subject, effect, previous_uid);
                }
                Answer::success(status, inner.calendar.find(&uid).map_or(Value::Null, Booking::wire))
            }
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
            Route::Create => {
                let wanted = input::create(body.json()?)?;
                self.calendar.create(wanted, now).map(|done| Outcome::Done(StatusCode::CREATED, done))
            }
            Route::Cancel(uid) => {
                let wanted = input::cancel(body.json()?)?;
                let authenticated = matches!(caller, Caller::KeyHolder);
                self.calendar.cancel(uid, wanted, authenticated, now).map(|done| Outcome::Done(StatusCode::OK, done))
            }
            Route::Reschedule(uid) => {
                let wanted = input::reschedule(body.json()?)?;
                self.calendar.reschedule(uid, wanted, now).map(|done| Outcome::Done(StatusCode::CREATED, done))
            }
            Route::Read(uid) => match self.calendar.find(uid) {
                Some(booking) => Ok(Outcome::Shown(Answer::success(StatusCode::OK, booking.wire()))),
                None => Err(Refusal::not_found(format!("Booking with uid={uid} was not found in the database"))),
            },
            Route::List => match caller {
                Caller::KeyHolder => {
                    let query = list::parse(&head.uri)?;
                    Ok(Outcome::Shown(self.calendar.list(&query, now)))
                }
                Caller::Anybody => Err(Refusal::unauthorized(
                    "PermissionsGuard - no authentication provided. Provide either authorization bearer token containing \
                     managed user access token or oAuth client id in 'x-cal-client-id' header.",
                )),
            },
            Route::Unknown => Err(Refusal::not_found(format!("Cannot {} {}", head.method, head.url))),
        }
    }

    /// What can be known of a request on arrival, before anything is checked.
    fn subject(&self, head: &Head, body: &Received) -> Subject {
        let mut subject =
            Subject { method: head.method.to_string(), path: head.uri.path().to_owned(), ..Subject::default() };
        let body = body.json().ok();
        match &head.route {
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
                if matches!(head.route, Route::Reschedule(_)) {
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
    latency: Latency,
}

/// What the API did with a request.
enum Outcome {
    /// A read.
    Shown(Answer),
    /// A change, or the repetition of one.
    Done(StatusCode, Done),
}

/// Every request that is not for `/_sandbox`.
async fn receive(State(server): State<Arc<Server>>, request: Request) -> Response {
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
    tokio::spawn(async move {
        // If the client is gone, so is the receiver: the response comes back and is dropped here, which notes its fate.
        let _ = hand_over.send(server.handle(call, head, body).await);
    });
    response.await.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"))
}

async fn pause(latency: Duration) {
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
}

/// The response to `call`, which carries the note of its own fate.
fn respond(server: Arc<Server>, call: Call, answer: Answer) -> Response {
    let bytes = Bytes::from(answer.body.to_string());
    let length = bytes.len();
    let mut delivery = Delivery {
        server,
        request: call.number,
        subject: call.subject,
        status: answer.status.as_u16(),
        fate: Fate::Dropped,
    };
    // The frame is taken when the connection is about to write it.
    let body = Body::new(Full::new(bytes).map_frame(move |frame| {
        delivery.sent();
        frame
    }));
    response(answer.status, length, body)
}

/// A reply outside of the ledger, in NestJS's flat shape.
fn plain(status: StatusCode, message: &str) -> Response {
    let text = json!({ "statusCode": status.as_u16(), "message": message }).to_string();
    response(status, text.len(), Body::from(text))
}

fn response(status: StatusCode, length: usize, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    let id = Builder::from_random_bytes(rand::random()).into_uuid().to_string();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", id);
    }
    response
}

/// A reply on its way. Notes its fate once, when it ends: taken by the connection, or dropped anywhere before that.
struct Delivery {
    server: Arc<Server>,
    request: u64,
    subject: Subject,
    status: u16,
    fate: Fate,
}

impl Delivery {
    fn sent(&mut self) {
        self.fate = Fate::Sent;
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let mut inner = self.server.lock();
        let now = self.server.clock.now();
        inner.ledger.reply(now, self.request, &self.subject, self.status, self.fate);
    }
}
