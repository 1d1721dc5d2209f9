//! `/v1/callbacks`: whom a person must ring, because what they were told is no longer true or because they asked for it;
//! who takes care of one, and that it is done.
//!
//! Only who asks to be rung has name and number here. Deliberately absent: those of an appointment's customer; they stay in
//! the record.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::{CallbackView, Who};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::appointments::REASON_CHARS_MAX;
use crate::body::{Raw, V1_BYTES_MAX, must_be_json};
use crate::fields::{Fields, Text};
use crate::key::{MayBook, MayRead};
use crate::person::NAME_CHARS_MAX;
use crate::problem::{CommandProblems, Problem, ReadProblems};

/// One request to ring somebody.
#[derive(Serialize, ToSchema)]
pub(crate) struct Callback {
    id: Uuid,
    appointment_id: Option<Uuid>,
    reason: String,
    created_at: DateTime<Utc>,
    done_at: Option<DateTime<Utc>>,
    /// Who takes care of it.
    assigned_to: Option<String>,
    /// Where somebody who asks to be rung can be reached, E.164.
    phone: Option<String>,
    /// His name, as said.
    customer_name: Option<String>,
    /// What it is about, in his words.
    said: Option<String>,
}

impl From<CallbackView> for Callback {
    fn from(view: CallbackView) -> Self {
        Self {
            id: view.callback_id,
            appointment_id: view.appointment_id.map(|id| id.0),
            reason: view.reason,
            created_at: view.created_at,
            done_at: view.done_at,
            assigned_to: view.assigned_to,
            phone: view.phone,
            customer_name: view.customer_name,
            said: view.said,
        }
    }
}

/// The list.
#[derive(Serialize, ToSchema)]
pub(crate) struct Callbacks {
    callbacks: Vec<Callback>,
}

/// Whom a person must ring.
#[utoipa::path(
    get, path = "/v1/callbacks", tag = "callbacks", security(("api_key" = ["read"])),
    params(("open" = Option<bool>, Query, description = "only those that are not done (true)")),
    responses((status = 200, body = Callbacks), ReadProblems)
)]
pub(crate) async fn list(
    State(app): State<App>,
    MayRead(company_id): MayRead,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Callbacks>, Problem> {
    let mut open_only = true;
    for (name, value) in &query {
        open_only = match (name.as_str(), value.as_str()) {
            ("open", "true") => true,
            ("open", "false") => false,
            ("open", _) => return Err(Problem::invalid("open", "must be true or false")),
            _ => {
                let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
                return Err(Problem::unknown(&shown, "open"));
            }
        };
    }
    let callbacks = app.store.callbacks(company_id, open_only).await?.into_iter().map(Callback::from);
    Ok(Json(Callbacks { callbacks: callbacks.collect() }))
}

/// Who is to take care of a callback.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "describes the wire in the OpenAPI document")]
pub(crate) struct Assignment {
    /// A colleague, by the name that the business uses.
    #[schema(min_length = 1, max_length = 200)]
    to: String,
    /// For the record.
    #[schema(max_length = 500)]
    reason: Option<String>,
}

/// What came of ringing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "describes the wire in the OpenAPI document")]
pub(crate) struct Doing {
    /// For the record.
    #[schema(max_length = 500)]
    reason: Option<String>,
}

/// How a callback stands.
#[derive(Serialize, ToSchema)]
pub(crate) struct CallbackState {
    id: Uuid,
    appointment_id: Option<Uuid>,
    assigned_to: Option<String>,
    done_at: Option<DateTime<Utc>>,
    /// Was it this request that changed it?
    changed: bool,
}

/// Note who takes care of a callback; another one may take it over.
#[utoipa::path(
    post, path = "/v1/callbacks/{id}/assign", tag = "callbacks", security(("api_key" = ["book"])),
    params(("id" = Uuid, Path, description = "the callback")),
    request_body = Assignment,
    responses((status = 200, body = CallbackState, description = "So it stands"), CommandProblems)
)]
pub(crate) async fn assign(
    State(app): State<App>,
    MayBook(company_id): MayBook,
    Path(id): Path<String>,
    headers: HeaderMap,
    Raw(body): Raw<V1_BYTES_MAX>,
) -> Result<Json<CallbackState>, Problem> {
    must_be_json(&headers)?;
    let id = Uuid::try_parse(&id).map_err(|_| Problem::not_found())?;
    let mut fields = Fields::parse(&body)?;
    let to = fields.text("to", Text::Line, NAME_CHARS_MAX)?;
    let why = fields.optional_text("reason", Text::Paragraph, REASON_CHARS_MAX)?;
    fields.finish()?;
    let assigned = app.store.assign_callback(company_id, id, &to, Who::Business, why.as_deref()).await?;
    let assigned = assigned.ok_or_else(Problem::not_found)?;
    if assigned.done_at.is_some() {
        return Err(Problem::done_already());
    }
    let (appointment_id, assigned_to) = (assigned.appointment_id.map(|id| id.0), assigned.assigned_to);
    Ok(Json(CallbackState { id, appointment_id, assigned_to, done_at: None, changed: assigned.is_new }))
}

/// Note that a callback is done; said twice it is done once, and the first time stands.
#[utoipa::path(
    post, path = "/v1/callbacks/{id}/done", tag = "callbacks", security(("api_key" = ["book"])),
    params(("id" = Uuid, Path, description = "the callback")),
    request_body = Option<Doing>,
    responses((status = 200, body = CallbackState, description = "It is done"), CommandProblems)
)]
pub(crate) async fn done(
    State(app): State<App>,
    MayBook(company_id): MayBook,
    Path(id): Path<String>,
    headers: HeaderMap,
    Raw(body): Raw<V1_BYTES_MAX>,
) -> Result<Json<CallbackState>, Problem> {
    must_be_json(&headers)?;
    let id = Uuid::try_parse(&id).map_err(|_| Problem::not_found())?;
    let mut fields = Fields::parse(&body)?;
    let why = fields.optional_text("reason", Text::Paragraph, REASON_CHARS_MAX)?;
    fields.finish()?;
    let done = app.store.called_back(company_id, id, Who::Business, why.as_deref()).await?;
    let done = done.ok_or_else(Problem::not_found)?;
    let (appointment_id, done_at) = (done.appointment_id.map(|id| id.0), Some(done.done_at));
    Ok(Json(CallbackState { id, appointment_id, assigned_to: done.assigned_to, done_at, changed: done.is_new }))
}
