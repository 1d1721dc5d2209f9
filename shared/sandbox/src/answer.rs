//! How Cal.com says yes and no. There are two shapes of no: the envelope of its own exception filters, and NestJS's
//! flat default for errors thrown deeper down, which no filter knows. Deliberately absent: any rule about when.

use std::time::Duration;

use axum::http::StatusCode;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

/// A reply before it is put on the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    /// Beyond those that every reply has.
    pub(crate) headers: Vec<(&'static str, u64)>,
}

impl Answer {
    /// `{"status":"success","data":…}`.
    pub(crate) fn success(status: StatusCode, data: Value) -> Self {
        Self { status, body: json!({ "status": "success", "data": data }), headers: Vec::new() }
    }

    /// `{"status":"success","data":[…],"pagination":{…}}`.
    pub(crate) fn page(data: Vec<Value>, pagination: Value) -> Self {
        let body = json!({ "status": "success", "data": data, "pagination": pagination });
        Self { status: StatusCode::OK, body, headers: Vec::new() }
    }
}

impl Answer {
    /// 429 with the limiter's headers.
    pub(crate) fn too_many(rate: &Rate, url: &str, now: DateTime<Utc>) -> Self {
        Refusal::throttled().answer(url, now).with_rate(rate)
    }

    /// Adds the limiter's headers. The reset is the number of seconds to wait, rounded up; there is no `Retry-After`.
    pub(crate) fn with_rate(mut self, rate: &Rate) -> Self {
        self.headers = vec![
            ("x-ratelimit-limit-default", rate.limit),
            ("x-ratelimit-remaining-default", rate.remaining),
            ("x-ratelimit-reset-default", u64::try_from(rate.reset.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX)),
        ];
        self
    }
}

/// What the limiter says of a key, in the headers of a reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Requests granted in each window.
    pub(crate) limit: u64,
    /// Requests left in this one.
    pub(crate) remaining: u64,
    /// Until the window or the block is over.
    pub(crate) reset: Duration,
}

/// A no, not yet tied to a URL and a moment.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Envelope { code: &'static str, details: Value },
    Flat,
}

impl Refusal {
    /// 400 in the envelope.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::exception(StatusCode::BAD_REQUEST, "BadRequestException", "Bad Request", message.into())
    }

    /// 400 of the global validation pipe: a fixed message, the findings in `details.errors`.
    pub(crate) fn invalid_query(errors: Vec<Value>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: "Bad Request Exception".to_owned(),
            shape: Shape::Envelope { code: "BadRequestException", details: json!({ "errors": errors }) },
        }
    }

    /// 400 of the Zod filter, whose code is a constant instead of a class name.
    pub(crate) fn schema_violation(message: impl Into<String>) -> Self {
        let message = message.into();
        let details = json!(message);
        Self { status: StatusCode::BAD_REQUEST, message, shape: Shape::Envelope { code: "BAD_REQUEST", details } }
    }

    /// 400 of the filter for errors of the layer below, whose code is that layer's.
    pub(crate) fn of_trpc(message: impl Into<String>) -> Self {
        let message = message.into();
        let details = json!(message);
        Self { status: StatusCode::BAD_REQUEST, message, shape: Shape::Envelope { code: "TRPCError", details } }
    }

    /// 401 in the envelope.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::exception(StatusCode::UNAUTHORIZED, "UnauthorizedException", "Unauthorized", message.into())
    }

    /// 404 in the envelope.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::exception(StatusCode::NOT_FOUND, "NotFoundException", "Not Found", message.into())
    }

    /// Any status in NestJS's flat default.
    pub(crate) fn flat(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), shape: Shape::Flat }
    }

    /// 400 in NestJS's flat default.
    pub(crate) fn flat_bad_request(message: impl Into<String>) -> Self {
        Self::flat(StatusCode::BAD_REQUEST, message)
    }

    /// 400: somebody is there already.
    pub(crate) fn not_available() -> Self {
        Self::bad_request("User either already has booking at this time or is not available")
    }

    /// 429 of the limiter, without its headers: [`Answer::too_many`] is the whole of it.
    fn throttled() -> Self {
        let message = "CustomThrottlerGuard - Too many requests. Please try again later.".to_owned();
        let details = json!(message);
        let shape = Shape::Envelope { code: "ThrottlerException", details };
        Self { status: StatusCode::TOO_MANY_REQUESTS, message, shape }
    }

    /// 500: something broke, and nobody says what.
    pub(crate) fn broken() -> Self {
        Self::flat(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
    }

    /// 409: the unique key of host, start and end was hit.
    pub(crate) fn booking_conflict() -> Self {
        Self::flat(StatusCode::CONFLICT, "booking_conflict_error")
    }

    /// The reply to a request for `url` (path with query), given at `now`.
    pub(crate) fn answer(self, url: &str, now: DateTime<Utc>) -> Answer {
        let Self { status, message, shape } = self;
        let body = match shape {
            Shape::Envelope { code, details } => json!({
                "status": "error",
                "timestamp": iso(now),
                "path": url,
                "error": { "code": code, "message": message, "details": details },
            }),
            Shape::Flat => json!({ "statusCode": status.as_u16(), "message": message }),
        };
        Answer { status, body, headers: Vec::new() }
    }

    fn exception(status: StatusCode, code: &'static str, error: &'static str, message: String) -> Self {
        let details = json!({ "message": message, "error": error, "statusCode": status.as_u16() });
        Self { status, message, shape: Shape::Envelope { code, details } }
    }
}

/// A moment as JavaScript writes it: `2050-09-05T09:00:00.000Z`.
pub(crate) fn iso(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Millis, true)
}
