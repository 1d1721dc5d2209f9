//! `/_sandbox/…`: what a test or an operator may see and set, beside the API. Never recorded in the ledger and never
//! delayed. Deliberately absent: a way to change a booking or an entry, for then they would prove nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::booking::Booking;
use crate::config::EventType;
use crate::fault::Faults;
use crate::ledger::Entry;
use crate::server::Server;

pub(crate) fn router() -> Router<Arc<Server>> {
    Router::new()
        .route("/_sandbox/event-types", get(event_types).put(put_event_types))
        .route("/_sandbox/bookings", get(bookings))
        .route("/_sandbox/ledger", get(ledger))
        .route("/_sandbox/latency", put(put_latency))
        .route("/_sandbox/faults", get(faults).put(put_faults))
}

/// Which entries of the ledger to show.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerQuery {
    /// Only entries with a greater `seq`.
    #[serde(default)]
    after_seq: u64,
}

/// The body of `PUT /_sandbox/latency`; a missing key leaves that latency as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LatencyInput {
    before_ms: Option<u64>,
    after_ms: Option<u64>,
}

/// The latency now in force, in milliseconds.
#[derive(Serialize)]
struct LatencyOutput {
    before_ms: u128,
    after_ms: u128,
}

async fn event_types(State(server): State<Arc<Server>>) -> Json<Vec<EventType>> {
    Json(server.event_types())
}

async fn put_event_types(
    State(server): State<Arc<Server>>,
    Json(event_types): Json<Vec<EventType>>,
) -> Result<Json<Vec<EventType>>, (StatusCode, String)> {
    server.set_event_types(event_types).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    Ok(Json(server.event_types()))
}

async fn bookings(State(server): State<Arc<Server>>) -> Json<Vec<Value>> {
    Json(server.bookings().iter().map(Booking::wire).collect())
}

async fn ledger(State(server): State<Arc<Server>>, Query(query): Query<LedgerQuery>) -> Json<Vec<Entry>> {
    Json(server.ledger(query.after_seq))
}

async fn put_latency(State(server): State<Arc<Server>>, Json(input): Json<LatencyInput>) -> Json<LatencyOutput> {
    let latency =
        server.set_latency(input.before_ms.map(Duration::from_millis), input.after_ms.map(Duration::from_millis));
    Json(LatencyOutput { before_ms: latency.before.as_millis(), after_ms: latency.after.as_millis() })
}

async fn faults(State(server): State<Arc<Server>>) -> Json<Faults> {
    Json(server.faults())
}

async fn put_faults(
    State(server): State<Arc<Server>>,
    Json(faults): Json<Faults>,
) -> Result<Json<Faults>, (StatusCode, String)> {
    server.set_faults(faults).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    Ok(Json(server.faults()))
}
