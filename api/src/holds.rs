//! `/v1/holds`: a time is kept for a short while, for somebody who is still deciding.
//!
//! Whoever has the token may book (`hold_token`) or give back. Deliberately absent: reading a hold, prolonging one, and
//! `Idempotency-Key`: a hold whose answer was lost runs out by itself.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, FixedOffset, Utc};
use chrono_tz::Tz;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use store::{AcceptError, HoldCommand, Holder, NotHeld, TokenHash};
use utoipa::ToSchema;

use crate::app::App;
use crate::appointments::{branch_zone, read_start};
use crate::body::{Raw, V1_BYTES_MAX, must_be_json};
use crate::fields::{Fields, Text};
use crate::key::{MayBook, MayHold};
use crate::problem::{CommandProblems, Done, Problem, ProblemBody};

/// A token is shorter; what is longer is none.
const TOKEN_CHARS_MAX: usize = 100;

/// A time to be kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "describes the wire in the OpenAPI document")]
pub(crate) struct NewHold {
    /// Where.
    branch_id: i32,
    /// What.
    service_id: i32,
    /// With whom; absent = anybody who does it there.
    staff_id: Option<i32>,
    /// When, with offset, on a whole minute.
    starts_at: DateTime<FixedOffset>,
}

/// A time that is kept.
#[derive(Serialize, ToSchema)]
pub(crate) struct Hold {
    /// Shown once: give it as `hold_token` when you book, or DELETE it.
    token: String,
    /// From then on, by the database's clock, the time is free again.
    expires_at: DateTime<FixedOffset>,
    /// With the branch's offset.
    starts_at: DateTime<FixedOffset>,
    ends_at: DateTime<FixedOffset>,
    /// With whom.
    staff_id: i32,
}

/// Keep a time for a short while.
#[utoipa::path(
    post, path = "/v1/holds", tag = "holds", security(("api_key" = ["book"])),
    request_body = NewHold,
    responses((status = 201, body = Hold, description = "Kept; nobody else can book it until it expires"),
              (status = 429, body = ProblemBody, content_type = "application/problem+json",
               description = "This API key holds as many times as it may; see Retry-After"),
              CommandProblems)
)]
pub(crate) async fn create(
    State(app): State<App>,
    MayHold { company_id, key_id }: MayHold,
    headers: HeaderMap,
    Raw(body): Raw<V1_BYTES_MAX>,
) -> Result<Response, Problem> {
    must_be_json(&headers)?;
    let mut fields = Fields::parse(&body)?;
    let (branch_id, service_id) = (fields.id("branch_id")?, fields.id("service_id")?);
    let staff_id = fields.optional_id("staff_id")?;
    let starts_at = read_start(&mut fields)?.with_timezone(&Utc);
    fields.finish()?;
    let holder = Holder::ApiKey(key_id);
    let command = HoldCommand { company_id, branch_id, service_id, staff_id, starts_at, holder, call: None };
    let held = app.store.hold(&command).await;
    let time_zone = match &held {
        Ok(_) => branch_zone(&app, company_id, branch_id).await?,
        Err(NotHeld::No(AcceptError::Refused(no))) if !no.alternatives().is_empty() => {
            branch_zone(&app, company_id, branch_id).await?
        }
        Err(NotHeld::No(_) | NotHeld::TooMany { .. }) => Tz::UTC,
    };
    let held = held.map_err(|no| match no {
        NotHeld::TooMany { most, seconds } => Problem::too_many_holds(most, seconds),
        NotHeld::No(error) => Problem::not_accepted(error, time_zone),
    })?;
    let local = |at: DateTime<Utc>| at.with_timezone(&time_zone).fixed_offset();
    let hold = Hold {
        token: held.token.expose_secret().to_owned(),
        expires_at: local(held.expires_at),
        starts_at: local(held.during.start()),
        ends_at: local(held.during.end()),
        staff_id: held.staff_id,
    };
    let mut response = (Done::Created.status(), Json(hold)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Give a time back. Also for a hold that has run out, was booked, or never was: there is none of it afterwards.
#[utoipa::path(
    delete, path = "/v1/holds/{token}", tag = "holds", security(("api_key" = ["book"])),
    params(("token" = String, Path, description = "as it was shown")),
    responses((status = 204, description = "Nothing is held by this token (any more)"), CommandProblems)
)]
pub(crate) async fn release(
    State(app): State<App>,
    MayBook(company_id): MayBook,
    Path(token): Path<String>,
) -> Result<Response, Problem> {
    app.store.release_hold(company_id, TokenHash::of(&token), None).await?;
    Ok(Done::Gone.status().into_response())
}

/// `hold_token` of a body.
pub(crate) fn hold_token(fields: &mut Fields) -> Result<Option<TokenHash>, Problem> {
    let token = fields.optional_text("hold_token", Text::Line, TOKEN_CHARS_MAX)?;
    Ok(token.as_deref().map(TokenHash::of))
}
