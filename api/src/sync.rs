//! `/v1/appointments/{id}/sync`: another try for what keeps an appointment and Cal.com apart, now and not when its back-off
//! or a person would have it.
//!
//! Deliberately absent: any change of the promise, and so `If-Match`.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use chrono_tz::Tz;
use store::{How, SyncCommand};

use crate::app::App;
use crate::appointments::{Outcome, answer, named, request_key};
use crate::body::{Raw, V1_BYTES_MAX, must_be_json};
use crate::fields::Fields;
use crate::key::MayBook;
use crate::prefer;
use crate::problem::{CommandProblems, Done, Problem};
use crate::waiting::Until;

/// Try again to bring Cal.com to what is promised. What waits is due at once, what needed a person is tried once more.
#[utoipa::path(
    post, path = "/v1/appointments/{id}/sync", tag = "appointments", security(("api_key" = ["book"])),
    params(("id" = uuid::Uuid, Path, description = "the appointment"),
           ("Idempotency-Key" = Option<String>, Header, description = "the same key is the same wish; at most 255 characters"),
           ("Prefer" = Option<String>, Header, description = "wait=N: wait up to N (at most 10) seconds for Cal.com")),
    responses((status = 202, body = Outcome, description = "The job is due; `coalesced` says whether one waited already"),
              (status = 200, body = Outcome, description = "This key was decided before"),
              CommandProblems)
)]
pub(crate) async fn sync(
    State(app): State<App>,
    MayBook(company_id): MayBook,
    Path(id): Path<String>,
    headers: HeaderMap,
    Raw(body): Raw<V1_BYTES_MAX>,
) -> Result<Response, Problem> {
    must_be_json(&headers)?;
    let appointment_id = named(&id)?;
    let key = request_key(&headers, &format!("POST /v1/appointments/{appointment_id}/sync"), &body)?;
    Fields::parse(&body)?.finish()?;
    let accepted = app.store.accept_sync(&SyncCommand { company_id, appointment_id, key }).await;
    let accepted = accepted.map_err(|error| Problem::not_accepted(error, Tz::UTC))?;
    app.bell.committed(&accepted.ring);
    let wait = prefer::wait(&headers);
    app.waiting.wait_for((company_id, appointment_id), Until::AtRest, wait).await;
    let view = app.store.appointment(company_id, appointment_id).await?.ok_or_else(Problem::internal)?;
    let done = match accepted.how {
        How::New | How::AlreadyYours | How::Unchanged => Done::Accepted,
        How::Replayed => Done::Known,
    };
    Ok(answer(done, &accepted, view, wait))
}
