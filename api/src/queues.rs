//! `/v1/queues`: how much waits, per kind of job; only this company's.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::key::MayRead;
use crate::problem::{Problem, ReadProblems};

/// One queue; it is named after its kind of job.
#[derive(Serialize, ToSchema)]
pub(crate) struct Queue {
    name: &'static str,
    available: i64,
    retryable: i64,
    running: i64,
    /// These need a person.
    parked: i64,
    /// How long the oldest due one has waited; `null` if none is due.
    oldest_due_seconds: Option<f64>,
}

/// Every queue.
#[derive(Serialize, ToSchema)]
pub(crate) struct Queues {
    queues: Vec<Queue>,
}

/// How much waits.
#[utoipa::path(
    get, path = "/v1/queues", tag = "jobs", security(("api_key" = ["read"])),
    responses((status = 200, body = Queues), ReadProblems)
)]
pub(crate) async fn list(State(app): State<App>, MayRead(company_id): MayRead) -> Result<Json<Queues>, Problem> {
    let queues = app.store.queues(Some(company_id)).await?.into_iter().map(|view| Queue {
        name: view.kind.as_str(),
        available: view.available,
        retryable: view.retryable,
        running: view.running,
        parked: view.parked,
        oldest_due_seconds: view.oldest_due_seconds,
    });
    Ok(Json(Queues { queues: queues.collect() }))
}
