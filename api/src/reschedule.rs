//! `/v1/appointments/{id}/reschedule`: another time for an appointment.
//!
//! The new time is promised at once and the old one kept until Cal.com agrees; refused there, the old time stands and
//! whoever waited is told so. Deliberately absent: another member of staff.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, FixedOffset, Utc};
use chrono_tz::Tz;
use serde::Deserialize;
use store::{How, RescheduleCommand, Who};
use utoipa::ToSchema;

use crate::app::App;
use crate::appointments::{Outcome, REASON_CHARS_MAX, answer, named, read_start, request_key};
use crate::body::{Raw, V1_BYTES_MAX, must_be_json};
use crate::fields::{Fields, Text};
use crate::key::MayBook;
use crate::prefer;
use crate::problem::{CommandProblems, Done, Problem};
use crate::waiting::Until;

/// Another time.
#[derive(Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTime {
    /// When, with offset, on a whole minute.
    starts_at: DateTime<FixedOffset>,
    /// For the history.
    #[schema(max_length = 500)]
    reason: Option<String>,
}

impl NewTime {
    fn read(raw: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(raw)?;
        let starts_at = read_start(&mut fields)?;
        let reason = fields.optional_text("reason", Text::Paragraph, REASON_CHARS_MAX)?;
        fields.finish()?;
        Ok(Self { starts_at, reason })
    }
}

/// Move an appointment.
#[utoipa::path(
    post, path = "/v1/appointments/{id}/reschedule", tag = "appointments", security(("api_key" = ["book"])),
    params(("id" = uuid::Uuid, Path, description = "the appointment"),
           ("If-Match" = Option<String>, Header, description = "the ETag that the appointment must still have"),
           ("Idempotency-Key" = Option<String>, Header, description = "the same key is the same wish; at most 255 characters"),
           ("Prefer" = Option<String>, Header, description = "wait=N: wait up to N (at most 10) seconds for Cal.com")),
    request_body = NewTime,
    responses((status = 202, body = Outcome, description = "The new time is promised; Cal.com is being asked, or has agreed within the wait (`sync`)"),
              (status = 200, body = Outcome, description = "It was at that time already, or this key was decided before"),
              CommandProblems)
)]
pub(crate) async fn reschedule(
    State(app): State<App>,
    MayBook(company_id): MayBook,
    Path(id): Path<String>,
    headers: HeaderMap,
    Raw(body): Raw<V1_BYTES_MAX>,
) -> Result<Response, Problem> {
    must_be_json(&headers)?;
    let appointment_id = named(&id)?;
    let key = request_key(&headers, &format!("POST /v1/appointments/{appointment_id}/reschedule"), &body)?;
    let NewTime { starts_at, reason: why } = NewTime::read(&body)?;
    let (starts_at, if_match) = (starts_at.with_timezone(&Utc), prefer::if_match(&headers)?);
    let who = Who::Business;
    let command = RescheduleCommand { company_id, appointment_id, starts_at, if_match, who, why, call: None, key };
    let accepted = match app.store.accept_reschedule(&command).await {
        Ok(accepted) => accepted,
        Err(error) => {
            let view = app.store.appointment(company_id, appointment_id).await?;
            let time_zone = view.and_then(|view| view.time_zone.parse().ok()).unwrap_or(Tz::UTC);
            return Err(Problem::not_accepted(error, time_zone));
        }
    };
    app.bell.committed(&accepted.ring);
    let wait = prefer::wait(&headers);
    if accepted.job.is_some() {
        app.waiting.wait_for((company_id, appointment_id), Until::AtRest, wait).await;
    }
    let view = app.store.appointment(company_id, appointment_id).await?.ok_or_else(Problem::internal)?;
    let done = match accepted.how {
        How::New if !wait.is_zero() && view.version > accepted.version && view.starts_at != starts_at => {
            return Err(Problem::not_moved(appointment_id));
        }
        How::New | How::AlreadyYours => Done::Accepted,
        How::Replayed | How::Unchanged => Done::Known,
    };
    Ok(answer(done, &accepted, view, wait))
}
