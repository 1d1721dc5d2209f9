//! `/v1/callbacks`: whom a person must ring, because what they were told is no longer true.
//!
//! Deliberately absent: the number; it is the appointment's, and stays in the record.

use axum::Json;
use axum::extract::{Query, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::key::MayRead;
use crate::problem::{Problem, ReadProblems};

/// One request to ring somebody.
#[derive(Serialize, ToSchema)]
pub(crate) struct Callback {
    id: Uuid,
    appointment_id: Option<Uuid>,
    reason: String,
    created_at: DateTime<Utc>,
    done_at: Option<DateTime<Utc>>,
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
    let callbacks = app.store.callbacks(company_id, open_only).await?.into_iter().map(|view| Callback {
        id: view.callback_id,
        appointment_id: view.appointment_id.map(|id| id.0),
        reason: view.reason,
        created_at: view.created_at,
        done_at: view.done_at,
    });
    Ok(Json(Callbacks { callbacks: callbacks.collect() }))
}
