//! `/v1/appointments`: accept, read, call off.
//!
//! A body is read into typed fields first; the decision is the store's; then the doorbell, then, if asked for, a wait that
//! holds no connection. Deliberately absent: composites, Cal.com's uid.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, FixedOffset, Timelike, Utc};
use chrono_tz::Tz;
use domain::appointment::Status;
use domain::id::AppointmentId;
use domain::phone::Identity;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::time::Duration;
use store::{
    AcceptError, Accepted, AppointmentView, BookingCommand, CancelCommand, CustomerFacts, Enqueued, HoldUse, How,
    Replay, RequestKey, Source, TokenHash, Who,
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::body::{Raw, V1_BYTES_MAX, must_be_json};
use crate::candidates::{self, CandidateTime};
use crate::fee::Fee;
use crate::fields::{Fields, Text};
use crate::holds::hold_token;
use crate::key::{MayBook, MayRead};
use crate::person::{EMAIL_CHARS_MAX, NAME_CHARS_MAX, PHONE_CHARS_MAX, own_email, phone};
use crate::prefer::{self, etag};
use crate::problem::{CommandProblems, Done, Problem, ReadProblems};
use crate::waiting::Until;

const NOTES_CHARS_MAX: usize = 2_000;
pub(crate) const REASON_CHARS_MAX: usize = 500;
/// A date and time with offset is shorter.
const INSTANT_CHARS_MAX: usize = 40;

/// A wish for an appointment.
#[derive(Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "describes the wire in the OpenAPI document")]
pub(crate) struct NewAppointment {
    /// Where.
    branch_id: i32,
    /// What.
    service_id: i32,
    /// With whom; absent = anybody who does it there.
    staff_id: Option<i32>,
    /// When, with offset, on a whole minute. Instead of it: `any_of`.
    starts_at: Option<DateTime<FixedOffset>>,
    /// Several times that would do: the first that is free is booked, and one only.
    #[schema(min_items = 1, max_items = 20)]
    any_of: Option<Vec<CandidateTime>>,
    /// The token of a hold, which becomes this appointment. One that has run out is no reason to refuse.
    #[schema(max_length = 100)]
    hold_token: Option<String>,
    /// For whom.
    customer: NewCustomer,
    /// For the business.
    #[schema(max_length = 2000)]
    notes: Option<String>,
}

/// Who comes. Without a phone nobody else's appointments are ever his.
#[derive(Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCustomer {
    /// As it shall stand in the calendar.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// A valid number, E.164 or as dialled in Germany.
    #[schema(max_length = 40)]
    phone: Option<String>,
    /// An address of the customer's own.
    #[schema(max_length = 254, format = "email")]
    email: Option<String>,
}

/// Why it is called off.
#[derive(Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancellation {
    /// For the history.
    #[schema(max_length = 500)]
    reason: Option<String>,
}

/// [`NewAppointment`], read.
#[derive(Debug)]
struct Wish {
    branch_id: i32,
    service_id: i32,
    staff_id: Option<i32>,
    /// Never empty.
    times: Vec<CandidateTime>,
    hold: Option<TokenHash>,
    customer: NewCustomer,
    notes: Option<String>,
}

impl Wish {
    fn read(raw: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(raw)?;
        let branch_id = fields.id("branch_id")?;
        let service_id = fields.id("service_id")?;
        let staff_id = fields.optional_id("staff_id")?;
        let times = match candidates::any_of(&mut fields)? {
            Some(times) => times,
            None => vec![CandidateTime::only(read_start(&mut fields)?)],
        };
        let hold = hold_token(&mut fields)?;
        let mut customer = fields.object("customer")?;
        let notes = fields.optional_text("notes", Text::Paragraph, NOTES_CHARS_MAX)?;
        fields.finish()?;
        let name = customer.text("name", Text::Line, NAME_CHARS_MAX)?;
        let phone = customer.optional_text("phone", Text::Line, PHONE_CHARS_MAX)?;
        let email = customer.optional_text("email", Text::Line, EMAIL_CHARS_MAX)?;
        customer.finish()?;
        let customer = NewCustomer { name, phone, email };
        Ok(Self { branch_id, service_id, staff_id, times, hold, customer, notes })
    }

    fn command(self, company_id: i32, language: String, key: Option<RequestKey>) -> Result<BookingCommand, Problem> {
        let phone = self.customer.phone.map(|raw| phone(&raw, "customer.phone")).transpose()?;
        own_email(self.customer.email.as_deref(), "customer.email")?;
        let who = match (&phone, &key) {
            (Some(phone), _) => Identity::Phone(phone.clone()),
            (None, Some(key)) => Identity::Anonymous(key.key.clone()),
            (None, None) => Identity::Anonymous(format!("api:{}", Uuid::now_v7())),
        };
        let mut times = self.times.iter().map(|time| time.candidate(self.staff_id));
        let first = times.next().ok_or_else(|| Problem::missing("starts_at"))?;
        Ok(BookingCommand {
            company_id,
            branch_id: self.branch_id,
            service_id: self.service_id,
            staff_id: first.staff_id,
            starts_at: first.starts_at,
            who,
            facts: CustomerFacts { name: self.customer.name, email: self.customer.email, phone, language },
            notes: self.notes,
            source: Source::Api,
            call: None,
            key,
            hold: self.hold,
            or_else: times.collect(),
        })
    }
}

/// `starts_at` of a body.
pub(crate) fn read_start(fields: &mut Fields) -> Result<DateTime<FixedOffset>, Problem> {
    let written = fields.text("starts_at", Text::Line, INSTANT_CHARS_MAX)?;
    let wanted = "must be RFC 3339 with an offset, on a whole minute, for example 2026-11-25T14:30:00+01:00";
    DateTime::parse_from_rfc3339(&written)
        .ok()
        .filter(|at| at.second() == 0 && at.nanosecond() == 0)
        .ok_or_else(|| Problem::invalid(&fields.path("starts_at"), wanted))
}

/// An appointment, as promised, and what is known of Cal.com's side.
#[derive(Serialize, ToSchema)]
pub(crate) struct Appointment {
    id: Uuid,
    /// Counts the promise; the ETag is `"v<version>"`.
    version: i32,
    /// requested, scheduled, completed, no_show, cancelled or rejected.
    status: &'static str,
    /// What is known of Cal.com's side: pending, in_flight, synced, awaiting_confirmation, unknown, needs_review.
    sync: &'static str,
    /// With the branch's offset.
    starts_at: DateTime<FixedOffset>,
    ends_at: DateTime<FixedOffset>,
    time_zone: String,
    branch_id: i32,
    service_id: i32,
    service: String,
    staff_id: i32,
    staff: String,
    /// api or voice.
    source: String,
    call_id: Option<String>,
    created_at: DateTime<Utc>,
    /// Why it was rejected or cancelled.
    reason: Option<String>,
}

impl From<AppointmentView> for Appointment {
    fn from(view: AppointmentView) -> Self {
        let time_zone = view.time_zone.parse().unwrap_or(Tz::UTC);
        let local = |at: DateTime<Utc>| at.with_timezone(&time_zone).fixed_offset();
        Self {
            id: view.appointment_id.0,
            version: view.version,
            status: view.status.as_str(),
            sync: view.sync.as_str(),
            starts_at: local(view.starts_at),
            ends_at: local(view.ends_at),
            time_zone: view.time_zone,
            branch_id: view.branch_id,
            service_id: view.service_id,
            service: view.service_name,
            staff_id: view.staff_id,
            staff: view.staff_name,
            source: view.source,
            call_id: view.call_id,
            created_at: view.created_at,
            reason: view.reason,
        }
    }
}

/// The job that a command put into the ledger.
#[derive(Serialize, ToSchema)]
pub(crate) struct AcceptedJob {
    id: Uuid,
    kind: &'static str,
    key: String,
    state: &'static str,
    /// It waited already, and this command was merged into it.
    coalesced: bool,
}

impl AcceptedJob {
    fn of(job: &Enqueued, id: AppointmentId) -> Self {
        let kind = job.kind.as_str();
        let key = format!("{kind}:{id}");
        Self { id: job.job.job_id.0, kind, key, state: job.state.as_str(), coalesced: job.coalesced }
    }
}

/// What became of a command.
#[derive(Serialize, ToSchema)]
pub(crate) struct Outcome {
    appointment: Appointment,
    /// `null` if nothing was left to do.
    job: Option<AcceptedJob>,
    /// What became of `hold_token`: used, expired (the time was still free), unfit (the hold is of another time, length or
    /// member of staff); absent if none was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<&'static str>,
    /// What this change costs; `null` if no policy speaks of a fee.
    fee: Option<Fee>,
}

/// Ask for an appointment.
#[utoipa::path(
    post, path = "/v1/appointments", tag = "appointments", security(("api_key" = ["book"])),
    params(("Idempotency-Key" = Option<String>, Header, description = "the same key is the same wish; at most 255 characters"),
           ("Prefer" = Option<String>, Header, description = "wait=N: wait up to N (at most 10) seconds for Cal.com")),
    request_body = NewAppointment,
    responses((status = 202, body = Outcome, description = "Accepted: the slot is yours, Cal.com is being asked",
                   headers(("Location" = String, description = "the appointment"), ("ETag" = String, description = "its version"))),
              (status = 201, body = Outcome, description = "Confirmed at Cal.com within the wait"),
              (status = 200, body = Outcome, description = "It was yours already, or this key was decided before"),
              CommandProblems)
)]
pub(crate) async fn create(
    State(app): State<App>,
    MayBook(company_id): MayBook,
    headers: HeaderMap,
    Raw(body): Raw<V1_BYTES_MAX>,
) -> Result<Response, Problem> {
    must_be_json(&headers)?;
    let key = request_key(&headers, "POST /v1/appointments", &body)?;
    let wish = Wish::read(&body)?;
    let company = app.store.company_by_id(company_id).await?.ok_or_else(Problem::not_found)?;
    let command = wish.command(company_id, company.language, key)?;
    let accepted = match app.store.accept_booking(&command).await {
        Ok(accepted) => accepted,
        Err(error) => {
            let offers = matches!(&error, AcceptError::Refused(no) if !no.alternatives().is_empty());
            let branch_id = command.branch_id;
            let time_zone = if offers { branch_zone(&app, company_id, branch_id).await? } else { company.time_zone };
            return Err(Problem::not_accepted(error, time_zone));
        }
    };
    app.bell.committed(&accepted.ring);
    let wait = prefer::wait(&headers);
    if accepted.status == Status::Requested {
        app.waiting.wait_for((company_id, accepted.appointment_id), Until::Decided, wait).await;
    }
    let view = app.store.appointment(company_id, accepted.appointment_id).await?.ok_or_else(Problem::internal)?;
    let done = match (accepted.how, view.status) {
        (How::Replayed | How::AlreadyYours | How::Unchanged, _) => Done::Known,
        (How::New, Status::Rejected) if !wait.is_zero() => {
            let instead = app.store.free_instead(&command.sought(), view.starts_at).await?;
            let time_zone = branch_zone(&app, company_id, command.branch_id).await?;
            return Err(Problem::rejected(accepted.appointment_id, view.reason.as_deref(), &instead, time_zone));
        }
        (How::New, Status::Scheduled) if !wait.is_zero() => Done::Confirmed,
        (How::New, _) => Done::Accepted,
    };
    Ok(answer(done, &accepted, view, wait))
}

/// Alternatives are told in the branch's own time.
pub(crate) async fn branch_zone(app: &App, company_id: i32, branch_id: i32) -> Result<Tz, Problem> {
    let catalog = app.store.catalog(company_id).await?;
    let branch = catalog.branches.iter().find(|branch| branch.branch_id == branch_id);
    Ok(branch.map_or(catalog.company.time_zone, |branch| branch.hours.time_zone))
}

/// Read one appointment.
#[utoipa::path(
    get, path = "/v1/appointments/{id}", tag = "appointments", security(("api_key" = ["read"])),
    params(("id" = Uuid, Path, description = "the appointment")),
    responses((status = 200, body = Appointment, headers(("ETag" = String, description = "`\"v<version>\"`, for If-Match"))),
              ReadProblems)
)]
pub(crate) async fn read(
    State(app): State<App>,
    MayRead(company_id): MayRead,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let view = app.store.appointment(company_id, named(&id)?).await?.ok_or_else(Problem::not_found)?;
    let version = view.version;
    let mut response = Json(Appointment::from(view)).into_response();
    insert(&mut response, ETAG, &etag(version));
    Ok(response)
}

/// What happened to an appointment, and why: readable without the source.
#[derive(Serialize, ToSchema)]
pub(crate) struct Timeline {
    /// The promise now.
    status: &'static str,
    /// Ordered by time.
    entries: Vec<Entry>,
}

/// One thing that happened.
#[derive(Serialize, ToSchema)]
pub(crate) struct Entry {
    at: DateTime<Utc>,
    /// One word: accepted, claimed, sent, answered, scheduled, …
    what: String,
    /// Who did it.
    who: String,
    /// One sentence.
    detail: String,
    /// The version of the promise that it made.
    version: Option<i32>,
    job_id: Option<Uuid>,
    attempt: Option<i64>,
}

/// The whole history of one appointment.
#[utoipa::path(
    get, path = "/v1/appointments/{id}/timeline", tag = "appointments", security(("api_key" = ["read"])),
    params(("id" = Uuid, Path, description = "the appointment")),
    responses((status = 200, body = Timeline), ReadProblems)
)]
pub(crate) async fn timeline(
    State(app): State<App>,
    MayRead(company_id): MayRead,
    Path(id): Path<String>,
) -> Result<Json<Timeline>, Problem> {
    let id = named(&id)?;
    let view = app.store.appointment(company_id, id).await?.ok_or_else(Problem::not_found)?;
    let told = app.store.timeline(company_id, id).await?.ok_or_else(Problem::not_found)?;
    let entries = told.into_iter().map(|told| Entry {
        at: told.at,
        what: told.what,
        who: told.who,
        detail: told.detail,
        version: told.version,
        job_id: told.job_id.map(|job| job.0),
        attempt: told.attempt,
    });
    Ok(Json(Timeline { status: view.status.as_str(), entries: entries.collect() }))
}

/// Call an appointment off. The promise is cancelled at once; Cal.com is told by the job.
#[utoipa::path(
    post, path = "/v1/appointments/{id}/cancel", tag = "appointments", security(("api_key" = ["book"])),
    params(("id" = Uuid, Path, description = "the appointment"),
           ("If-Match" = Option<String>, Header, description = "the ETag that the appointment must still have"),
           ("Idempotency-Key" = Option<String>, Header, description = "the same key is the same wish; at most 255 characters"),
           ("Prefer" = Option<String>, Header, description = "wait=N: wait up to N (at most 10) seconds for Cal.com")),
    request_body = Option<Cancellation>,
    responses((status = 202, body = Outcome, description = "Cancelled; Cal.com is being told"),
              (status = 200, body = Outcome, description = "It was cancelled already, or this key was decided before"),
              CommandProblems)
)]
pub(crate) async fn cancel(
    State(app): State<App>,
    MayBook(company_id): MayBook,
    Path(id): Path<String>,
    headers: HeaderMap,
    Raw(body): Raw<V1_BYTES_MAX>,
) -> Result<Response, Problem> {
    must_be_json(&headers)?;
    let appointment_id = named(&id)?;
    let key = request_key(&headers, &format!("POST /v1/appointments/{appointment_id}/cancel"), &body)?;
    let mut fields = Fields::parse(&body)?;
    let why = fields.optional_text("reason", Text::Paragraph, REASON_CHARS_MAX)?;
    fields.finish()?;
    let if_match = prefer::if_match(&headers)?;
    let who = Who::Business;
    let command = CancelCommand { company_id, appointment_id, if_match, who, why, call: None, key };
    let accepted = app.store.accept_cancel(&command).await;
    let accepted = accepted.map_err(|error| Problem::not_accepted(error, Tz::UTC))?;
    app.bell.committed(&accepted.ring);
    let wait = prefer::wait(&headers);
    if accepted.job.is_some() {
        app.waiting.wait_for((company_id, accepted.appointment_id), Until::AtRest, wait).await;
    }
    let view = app.store.appointment(company_id, accepted.appointment_id).await?.ok_or_else(Problem::internal)?;
    let done = match accepted.how {
        How::New | How::AlreadyYours => Done::Accepted,
        How::Replayed | How::Unchanged => Done::Known,
    };
    Ok(answer(done, &accepted, view, wait))
}

pub(crate) fn answer(done: Done, accepted: &Accepted, view: AppointmentView, wait: Duration) -> Response {
    let (id, version) = (accepted.appointment_id, view.version);
    let job = accepted.job.as_ref().map(|job| AcceptedJob::of(job, id));
    let (hold, fee) = (accepted.hold.map(HoldUse::as_str), accepted.fee.map(Fee::from));
    let mut response = (done.status(), Json(Outcome { appointment: view.into(), job, hold, fee })).into_response();
    insert(&mut response, LOCATION, &format!("/v1/appointments/{id}"));
    insert(&mut response, ETAG, &etag(version));
    if !wait.is_zero() {
        insert(&mut response, HeaderName::from_static("preference-applied"), &format!("wait={}", wait.as_secs()));
    }
    response
}

fn insert(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// What is no id is nobody's appointment.
pub(crate) fn named(id: &str) -> Result<AppointmentId, Problem> {
    Uuid::try_parse(id).map(AppointmentId).map_err(|_| Problem::not_found())
}

/// The `Idempotency-Key`, bound to the route and to the body as it was sent.
pub(crate) fn request_key(headers: &HeaderMap, route: &str, body: &[u8]) -> Result<Option<RequestKey>, Problem> {
    let Some(key) = prefer::idempotency_key(headers)? else { return Ok(None) };
    let mut hash = Sha256::new();
    hash.update((route.len() as u64).to_be_bytes());
    hash.update(route.as_bytes());
    hash.update(body);
    Ok(Some(RequestKey { key: format!("api:{key}"), body_hash: hash.finalize().into(), replay: Replay::Always }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn body() -> Value {
        json!({"branch_id": 1, "service_id": 2, "starts_at": "2026-11-25T14:30:00+01:00", "customer": {"name": "Lena Vogt"}})
    }

    fn read(body: &Value) -> Result<Wish, Problem> {
        Wish::read(body.to_string().as_bytes())
    }

    fn command(body: &Value) -> Result<BookingCommand, &'static str> {
        read(body).and_then(|wish| wish.command(7, "de".to_owned(), None)).map_err(|problem| problem.code())
    }

    #[test]
    fn a_body_as_it_should_be() {
        let plain = command(&body()).unwrap();
        assert_eq!((plain.company_id, plain.branch_id, plain.service_id, plain.staff_id), (7, 1, 2, None));
        assert_eq!(plain.starts_at.to_rfc3339(), "2026-11-25T13:30:00+00:00");
        assert!(matches!(&plain.who, Identity::Anonymous(id) if id.starts_with("api:")));
        assert_ne!(plain.who, command(&body()).unwrap().who, "two without a phone are two people");

        let mut with_phone = body();
        with_phone["customer"]["phone"] = json!("0151 12345678");
        let with_phone = command(&with_phone).unwrap();
        let phone = with_phone.facts.phone.unwrap();
        assert_eq!(phone.as_e164(), "+4915112345678");
        assert_eq!(with_phone.who, Identity::Phone(phone));
    }

    #[test]
    fn every_field_is_looked_at() {
        for name in ["branch_id", "service_id", "starts_at", "customer"] {
            let mut missing = body();
            missing.as_object_mut().unwrap().remove(name);
            let problem = read(&missing).unwrap_err();
            assert_eq!(problem.code(), "missing_field");
            assert!(format!("{problem:?}").contains(name));
        }
        let wrong = [
            ("branch_id", json!("1")),
            ("service_id", json!(1.5)),
            ("staff_id", json!(4_000_000_000_i64)),
            ("starts_at", json!("2026-11-25T14:30:00")),
            ("starts_at", json!("2026-11-25T14:30:30+01:00")),
            ("starts_at", json!(1_764_000_000)),
            ("customer", json!("Lena")),
            ("customer", json!({"name": ""})),
            ("customer", json!({"name": "a\u{0}b"})),
            ("customer", json!({"name": "x".repeat(201)})),
            ("customer", json!({"name": "Lena", "phone": "+49151123456"})),
            ("customer", json!({"name": "Lena", "phone": "call me"})),
            ("customer", json!({"name": "Lena", "email": "lena"})),
            ("customer", json!({"name": "Lena", "email": "noreply@salon.de"})),
            ("notes", json!("x".repeat(2_001))),
        ];
        for (name, value) in wrong {
            let mut body = body();
            body[name] = value.clone();
            assert_eq!(command(&body).map(|_| ()), Err("invalid_field"), "{name}: {value}");
        }
        for inside in [false, true] {
            let mut unknown = body();
            let place = if inside { &mut unknown["customer"] } else { &mut unknown };
            place["uid"] = json!("abc");
            assert_eq!(command(&unknown).map(|_| ()), Err("unknown_field"));
        }
    }

    #[test]
    fn a_key_belongs_to_its_route_and_its_body() {
        let mut headers = HeaderMap::new();
        assert_eq!(request_key(&headers, "POST /a", b"{}").unwrap(), None);
        headers.insert("idempotency-key", HeaderValue::from_static("k1"));
        let key = |route, body: &[u8]| request_key(&headers, route, body).unwrap().unwrap();
        assert_eq!(key("POST /a", b"{}").key, "api:k1");
        assert_eq!(key("POST /a", b"{}"), key("POST /a", b"{}"));
        assert_ne!(key("POST /a", b"{}").body_hash, key("POST /b", b"{}").body_hash);
        assert_ne!(key("POST /a", b"{}").body_hash, key("POST /a", b"{ }").body_hash);
    }
}
