//! Every answer that is not the one hoped for, as RFC 9457 `application/problem+json`; and every HTTP status code that
//! this API uses.
//!
//! A problem says what is wrong, which field it is about, and what to do. Deliberately absent: causes. What we tell
//! ourselves goes to the log, once, here.

use axum::Json;
use axum::http::header::{ETAG, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono_tz::Tz;
use domain::appointment::Status;
use domain::hours::Offer;
use domain::id::AppointmentId;
use domain::policy::{Denial, Reason};
use domain::refusal::Refusal;
use serde::Serialize;
use serde_json::{Map, Value, json};
use store::{AcceptError, StoreError};
use utoipa::{IntoResponses, ToSchema};

use crate::prefer::etag;

/// Before a problem's code it makes its type.
const TYPE_PREFIX: &str = "https://askpro.dev/problems/";
/// Alternatives in one answer.
const ALTERNATIVES_MAX: usize = 3;
/// Worth waiting when the database is away or busy, seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

/// What went well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Done {
    /// It is so, and was before.
    Known,
    /// It is accepted; Cal.com has not confirmed yet.
    Accepted,
    /// It is confirmed at Cal.com.
    Confirmed,
    /// It is made.
    Created,
    /// There is none of it any more.
    Gone,
}

impl Done {
    /// Its HTTP status.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Known => StatusCode::OK,
            Self::Accepted => StatusCode::ACCEPTED,
            Self::Confirmed | Self::Created => StatusCode::CREATED,
            Self::Gone => StatusCode::NO_CONTENT,
        }
    }
}

/// A problem on its way out.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    more: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, title, detail: detail.into(), more: Map::new(), headers: Vec::new() }
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    fn header_value(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    fn retry_after(self, seconds: u32) -> Self {
        self.header_value(RETRY_AFTER, &seconds.to_string())
    }

    /// The last part of its type.
    #[cfg(test)]
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// The body is no JSON object.
    pub(crate) fn json(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_json", "The body is not a JSON object", detail)
    }

    /// The body could not be read to its end.
    pub(crate) fn unread() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "incomplete_body", "The body did not arrive", "send the request again")
    }

    /// The body is longer than it may be.
    pub(crate) fn too_large(bytes_max: usize) -> Self {
        let detail = format!("a body here has at most {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large", detail)
    }

    /// The body is declared as something else than JSON.
    pub(crate) fn media_type() -> Self {
        let detail = "send content-type: application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body must be JSON", detail)
    }

    /// A field that must be there is not.
    pub(crate) fn missing(field: &str) -> Self {
        let detail = format!("`{field}` is missing: add it");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "missing_field", "A field is missing", detail).with("field", field)
    }

    /// A field that nobody knows.
    pub(crate) fn unknown(field: &str, known: &str) -> Self {
        let known = if known.is_empty() { "no field is known" } else { &format!("known are {known}") };
        let detail = format!("`{field}` is not known here: remove it; {known}");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown_field", "A field is unknown", detail).with("field", field)
    }

    /// A field with a value that cannot be used; `wanted` says what can.
    pub(crate) fn invalid(field: &str, wanted: &str) -> Self {
        let detail = format!("`{field}`: {wanted}");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", "A field cannot be used", detail)
            .with("field", field)
    }

    /// A header with a value that cannot be used.
    pub(crate) fn header(name: &str, wanted: &str) -> Self {
        let detail = format!("{name}: {wanted}");
        Self::new(StatusCode::BAD_REQUEST, "invalid_header", "A header cannot be used", detail).with("field", name)
    }

    /// No key, or one that is not valid (any more).
    pub(crate) fn no_key() -> Self {
        let detail = "send Authorization: Bearer <api key> with a key that is active";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "The API key is missing or not valid", detail)
            .header_value(WWW_AUTHENTICATE, "Bearer")
    }

    /// A key without the scope.
    pub(crate) fn no_scope(scope: &str) -> Self {
        let detail = format!("this needs a key with the scope `{scope}`");
        Self::new(StatusCode::FORBIDDEN, "forbidden", "The API key does not allow this", detail).with("scope", scope)
    }

    /// Retell's signature is missing, wrong, too old, or from the future; or there is no such company.
    pub(crate) fn signature() -> Self {
        let detail = "sign the raw body with the company's Retell key: x-retell-signature: v=<unix ms>,d=<hex>, at most 5 \
                      minutes old";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_signature", "The signature is not valid", detail)
    }

    /// Cal.com's signature is missing or not valid, or the webhook has no secret.
    pub(crate) fn calcom_signature() -> Self {
        let detail = "give the webhook at Cal.com the company's webhook secret: x-cal-signature-256 is the hex of \
                      HMAC-SHA256 over the raw body";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_signature", "The signature is not valid", detail)
    }

    /// Signed, but nothing that Cal.com sends.
    pub(crate) fn no_webhook() -> Self {
        let detail = "send Cal.com's default payload as JSON: {\"triggerEvent\", \"createdAt\", \"payload\"}";
        Self::new(StatusCode::BAD_REQUEST, "no_webhook", "This is no webhook of Cal.com", detail)
    }

    /// Path and body of a function call name two functions.
    pub(crate) fn names_differ() -> Self {
        let detail =
            "the function named in the path and the one named in the body must be the same: correct the tool's URL";
        Self::new(StatusCode::BAD_REQUEST, "function_names_differ", "Two functions are named", detail)
            .with("field", "name")
    }

    /// There is nothing here, or it is another company's: the same words for both.
    pub(crate) fn not_found() -> Self {
        let detail = "there is nothing here for this key: check the id and the company of the key";
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
    }

    /// No such method on this path.
    pub(crate) fn method() -> Self {
        let detail = "this path does not know this method; see /openapi.json";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", detail)
    }

    /// The request took too long.
    pub(crate) fn timeout() -> Self {
        let detail = "it is not known whether this was done: ask again, with the same Idempotency-Key";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", "This took too long", detail)
            .retry_after(RETRY_AFTER_SECONDS)
    }

    /// The database is away.
    pub(crate) fn away() -> Self {
        let detail = "the database is out of reach: try again, with the same Idempotency-Key";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable for the moment", detail)
            .retry_after(RETRY_AFTER_SECONDS)
    }

    /// A bug of ours.
    pub(crate) fn internal() -> Self {
        let detail = "this is a fault of the gateway; its log says more";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    /// Others were busy with the same staff for too long.
    pub(crate) fn busy(retry_after_seconds: u32) -> Self {
        let detail = "others are booking the same staff just now and nothing was written: try again";
        Self::new(StatusCode::CONFLICT, "busy", "Busy", detail).retry_after(retry_after_seconds)
    }

    /// Cal.com did not give it, and the caller waited to hear that.
    pub(crate) fn rejected(id: AppointmentId, why: Option<&str>, alternatives: &[Offer], time_zone: Tz) -> Self {
        let why = why.unwrap_or("no reason is recorded");
        let detail = format!("Cal.com did not confirm this appointment ({why}): choose another time");
        Self::new(StatusCode::CONFLICT, Status::Rejected.as_str(), "Rejected", detail)
            .with("appointment_id", id.to_string())
            .with("alternatives", offers(alternatives, time_zone))
            .header_value(LOCATION, &format!("/v1/appointments/{id}"))
    }

    /// Cal.com did not move it, and the caller waited to hear that.
    pub(crate) fn not_moved(id: AppointmentId) -> Self {
        let detail =
            "Cal.com did not accept the new time, and the time before stands: read it again, choose another one";
        Self::new(StatusCode::CONFLICT, Status::Rejected.as_str(), "Rejected", detail)
            .with("appointment_id", id.to_string())
            .header_value(LOCATION, &format!("/v1/appointments/{id}"))
    }

    /// A command that was not accepted. Alternatives are given in the branch's time zone.
    pub(crate) fn not_accepted(error: AcceptError, time_zone: Tz) -> Self {
        match error {
            AcceptError::Refused(refusal) => Self::refused(&refusal, time_zone),
            AcceptError::StaleVersion { current, status } => {
                let detail = format!("the appointment is at version {current} now: read it again, then decide again");
                Self::new(StatusCode::PRECONDITION_FAILED, "stale_version", "The appointment has changed", detail)
                    .with("current", json!({ "version": current, "status": status.as_str() }))
                    .header_value(ETAG, &etag(current))
            }
            AcceptError::KeyReused => {
                let detail = "this Idempotency-Key was used for another request: take a new one";
                let title = "The Idempotency-Key belongs to another request";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", title, detail)
                    .with("field", "Idempotency-Key")
            }
            AcceptError::Busy { retry_after_seconds } => Self::busy(retry_after_seconds),
            AcceptError::NotFound => Self::not_found(),
            AcceptError::Store(error) => Self::from(error),
        }
    }

    /// This key holds as many times as it may.
    pub(crate) fn too_many_holds(most: u32, seconds: u32) -> Self {
        let detail = format!("this API key holds {most} times already: book one, give one back, or wait {seconds} s");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_holds", "Too many holds", detail).retry_after(seconds)
    }

    /// A wish that is refused. Alternatives are given in the branch's time zone.
    pub(crate) fn refused(refusal: &Refusal, time_zone: Tz) -> Self {
        let conflict = StatusCode::CONFLICT;
        let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
        let (status, title, what_to_do, field) = match refusal {
            Refusal::Taken { .. } => (conflict, "Taken", "choose another time", Some("starts_at")),
            Refusal::BeingReleased { .. } => (conflict, "Being released", "try again, or choose another time", None),
            Refusal::OutsideHours { .. } => (unprocessable, "Closed", "choose another time", Some("starts_at")),
            Refusal::TooSoon { .. } => (unprocessable, "Too soon", "choose a later time", Some("starts_at")),
            Refusal::InThePast => (unprocessable, "In the past", "choose a time that is to come", Some("starts_at")),
            Refusal::UnknownService => (unprocessable, "Unknown service", "choose another service", Some("service_id")),
            Refusal::UnknownBranch => (unprocessable, "Unknown branch", "choose another branch", Some("branch_id")),
            Refusal::UnknownStaff => {
                (unprocessable, "Unknown staff", "choose another person, or leave it out", Some("staff_id"))
            }
            Refusal::Final { .. } => (unprocessable, "Final", "nothing is left to be done", None),
            Refusal::Policy(_) => (unprocessable, "Not allowed by the policy", "see `possible` for what is", None),
        };
        let mut problem = Self::new(status, refusal.code(), title, format!("{refusal}: {what_to_do}"));
        if let Some(field) = field {
            problem = problem.with("field", field);
        }
        if let Refusal::BeingReleased { seconds, .. } = refusal {
            problem = problem.retry_after((*seconds).max(1));
        }
        if let Refusal::Final { status } = refusal {
            problem = problem.with("current", json!({ "status": status.as_str() }));
        }
        if let Refusal::Policy(denial) = refusal {
            problem = problem.denied(denial, time_zone);
        }
        if status == conflict || !refusal.alternatives().is_empty() {
            problem = problem.with("alternatives", offers(refusal.alternatives(), time_zone));
        }
        problem
    }
}

impl Problem {
    /// Why a policy says no, in words and numbers, and what is possible instead.
    fn denied(self, denial: &Denial, time_zone: Tz) -> Self {
        let possible: Vec<_> = denial.possible.iter().map(|operation| operation.as_str()).collect();
        let problem = self.with("reason", denial.reason.as_str()).with("possible", possible);
        match denial.reason {
            Reason::DeadlineMissed { hours_before, until } => problem
                .with("hours_before", hours_before)
                .with("possible_until", until.with_timezone(&time_zone).to_rfc3339()),
            Reason::QuotaExceeded { max } | Reason::MaxReschedulesReached { max } => problem.with("max", max),
            Reason::PolicyDisabled | Reason::AnonymousCallerRestricted => problem,
        }
    }

    /// It is done, and nobody is needed any more.
    pub(crate) fn done_already() -> Self {
        let detail = "somebody has done this callback already: read the list again";
        Self::new(StatusCode::CONFLICT, "done", "Done already", detail)
    }
}

fn offers(alternatives: &[Offer], time_zone: Tz) -> Value {
    let nearest = alternatives.iter().take(ALTERNATIVES_MAX);
    nearest
        .map(|offer| {
            let starts_at = offer.during.start().with_timezone(&time_zone).to_rfc3339();
            json!({ "starts_at": starts_at, "staff_id": offer.staff_id })
        })
        .collect()
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Away { .. } => {
                tracing::warn!(%error, "the database is out of reach");
                Self::away()
            }
            StoreError::LockWait => Self::busy(RETRY_AFTER_SECONDS),
            StoreError::Broken { .. } | StoreError::Refused { .. } | StoreError::Database { .. } => {
                tracing::error!(%error, "a request failed by a fault of ours");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = Map::new();
        body.insert("type".to_owned(), format!("{TYPE_PREFIX}{}", self.code).into());
        body.insert("title".to_owned(), self.title.into());
        body.insert("status".to_owned(), self.status.as_u16().into());
        body.insert("detail".to_owned(), self.detail.into());
        body.extend(self.more);
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(axum::http::header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.headers);
        response
    }
}

/// A problem as it goes over the wire (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
#[allow(dead_code, reason = "describes the wire in the OpenAPI document")]
pub(crate) struct ProblemBody {
    /// `https://askpro.dev/problems/<code>`.
    r#type: String,
    /// The same for every problem of this type.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong and what to do.
    detail: String,
    /// The field, parameter or header that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// Free starts nearby, the next three.
    #[serde(skip_serializing_if = "Option::is_none")]
    alternatives: Option<Vec<Alternative>>,
    /// The appointment that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    appointment_id: Option<String>,
    /// Of `policy`: deadline_missed, quota_exceeded, max_reschedules_reached, policy_disabled or
    /// anonymous_caller_restricted.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Of `policy`: what is possible instead, cancellation, reschedule or callback_service.
    #[serde(skip_serializing_if = "Option::is_none")]
    possible: Option<Vec<String>>,
    /// Of `deadline_missed`: the last moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    possible_until: Option<String>,
}

/// A free start.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes the wire in the OpenAPI document")]
pub(crate) struct Alternative {
    /// With the branch's offset.
    starts_at: String,
    /// With whom.
    staff_id: i32,
}

/// What a reading route may answer beside what was asked for.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes the wire in the OpenAPI document")]
pub(crate) enum ReadProblems {
    /// The API key is missing or not valid.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] ProblemBody),
    /// The API key lacks the scope.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] ProblemBody),
    /// Nothing here for this key.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] ProblemBody),
    /// A parameter cannot be used; `field` names it.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(#[to_schema] ProblemBody),
    /// The database is out of reach; see Retry-After.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] ProblemBody),
}

/// What a command may answer beside what was asked for.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes the wire in the OpenAPI document")]
pub(crate) enum CommandProblems {
    /// No JSON object, or a header that cannot be used.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(#[to_schema] ProblemBody),
    /// The API key is missing or not valid.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] ProblemBody),
    /// The API key lacks the scope.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] ProblemBody),
    /// Nothing here for this key.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] ProblemBody),
    /// `taken`, `being_released`, `busy`, or `rejected` within the wait.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(#[to_schema] ProblemBody),
    /// `If-Match` names another version than the current one.
    #[response(status = 412, content_type = "application/problem+json")]
    Stale(#[to_schema] ProblemBody),
    /// More than 64 KiB.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] ProblemBody),
    /// Not JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(#[to_schema] ProblemBody),
    /// A field cannot be used (`field` names it), or the command is refused for good.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(#[to_schema] ProblemBody),
    /// The database is out of reach; see Retry-After.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] ProblemBody),
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{TimeZone, Utc};
    use domain::slot::TimeRange;

    fn alternatives() -> Vec<Offer> {
        let at = |hour| Utc.with_ymd_and_hms(2026, 11, 25, hour, 0, 0).unwrap();
        (9..14).map(|hour| Offer { staff_id: 2, during: TimeRange::starting(at(hour), 30).unwrap() }).collect()
    }

    #[test]
    fn a_taken_slot_is_a_conflict_with_three_alternatives_in_the_branchs_time() {
        let error = AcceptError::Refused(Refusal::Taken { alternatives: alternatives() });
        let problem = Problem::not_accepted(error, chrono_tz::Europe::Berlin);
        assert_eq!((problem.status, problem.code), (StatusCode::CONFLICT, "taken"));
        let offered = &problem.more["alternatives"];
        assert_eq!(offered.as_array().unwrap().len(), 3);
        assert_eq!(offered[0], json!({ "starts_at": "2026-11-25T10:00:00+01:00", "staff_id": 2 }));
    }

    #[test]
    fn every_refusal_has_its_status_and_its_code() {
        let status = |error| Problem::not_accepted(error, chrono_tz::UTC).status.as_u16();
        let none = Vec::new;
        assert_eq!(status(AcceptError::Refused(Refusal::Taken { alternatives: none() })), 409);
        assert_eq!(status(AcceptError::Refused(Refusal::BeingReleased { seconds: 3, alternatives: none() })), 409);
        assert_eq!(status(AcceptError::Refused(Refusal::OutsideHours { alternatives: none() })), 422);
        assert_eq!(status(AcceptError::Refused(Refusal::TooSoon { minimum_minutes: 15, alternatives: none() })), 422);
        for refusal in [Refusal::InThePast, Refusal::UnknownService, Refusal::UnknownBranch, Refusal::UnknownStaff] {
            assert_eq!(status(AcceptError::Refused(refusal)), 422);
        }
        assert_eq!(status(AcceptError::Refused(Refusal::Final { status: Status::Completed })), 422);
        let denial = Denial { reason: Reason::PolicyDisabled, possible: vec![] };
        assert_eq!(status(AcceptError::Refused(Refusal::Policy(denial))), 422);
        assert_eq!(status(AcceptError::StaleVersion { current: 3, status: Status::Cancelled }), 412);
        assert_eq!(status(AcceptError::KeyReused), 422);
        assert_eq!(status(AcceptError::Busy { retry_after_seconds: 2 }), 409);
        assert_eq!(status(AcceptError::NotFound), 404);
    }

    #[test]
    fn the_wire_form() {
        let response = Problem::busy(2).into_response();
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "2");
    }
}
