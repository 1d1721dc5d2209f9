//! `/_sandbox/…`: what a test or an operator may see and set, beside the API. Never recorded in the ledger and never
//! delayed. Deliberately absent: bookings by others (others.rs), and a way to change a booking against the rules or any
//! entry, for then they would prove nothing. Webhooks have a file of their own (control/webhooks.rs).

mod webhooks;

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
use crate::config::{EventType, Overlap};
use crate::fault::{DELAY_MAX_MS, Faults, Rule};
use crate::ledger::Entry;
use crate::limiter::RateLimit;
use crate::server::Server;

pub(crate) fn router() -> Router<Arc<Server>> {
    webhooks::router()
        .route("/_sandbox/event-types", get(event_types).put(put_event_types))
        .route("/_sandbox/bookings", get(bookings))
        .route("/_sandbox/ledger", get(ledger))
        .route("/_sandbox/latency", put(put_latency))
        .route("/_sandbox/faults", get(faults).put(put_faults))
        .route("/_sandbox/checks", get(checks).put(put_checks))
        .route("/_sandbox/rate-limit", get(rate_limit).put(put_rate_limit))
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

/// The body of `PUT /_sandbox/faults`; a missing key leaves that as it is, except that a seed goes with rules.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultsInput {
    seed: Option<u64>,
    rules: Option<Vec<Rule>>,
    replica_lag_ms: Option<u64>,
}

/// The plan of faults and the lag now in force.
#[derive(Serialize)]
struct FaultsOutput {
    #[serde(flatten)]
    faults: Faults,
    replica_lag_ms: u128,
}

/// The body of `PUT /_sandbox/checks`, where a missing key leaves that as it is; and what is now in force.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChecksInput {
    natural_key: Option<NaturalKey>,
    overlap_check: Option<Overlap>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum NaturalKey {
    ExactSlot,
    Off,
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

async fn faults(State(server): State<Arc<Server>>) -> Json<FaultsOutput> {
    Json(in_force(&server))
}

async fn put_faults(
    State(server): State<Arc<Server>>,
    Json(input): Json<FaultsInput>,
) -> Result<Json<FaultsOutput>, (StatusCode, String)> {
    let refused = |reason: String| (StatusCode::BAD_REQUEST, reason);
    if input.replica_lag_ms.is_some_and(|lag| lag > DELAY_MAX_MS) {
        return Err(refused(format!("replica_lag_ms must be at most {DELAY_MAX_MS}")));
    }
    match (input.rules, input.seed) {
        (Some(rules), seed) => {
            server.set_faults(Faults { seed, rules }).map_err(|error| refused(error.to_string()))?;
        }
        (None, Some(_)) => return Err(refused("a seed goes with rules".to_owned())),
        (None, None) => {}
    }
    if let Some(lag) = input.replica_lag_ms {
        server.set_replica_lag(Duration::from_millis(lag));
    }
    Ok(Json(in_force(&server)))
}

fn in_force(server: &Server) -> FaultsOutput {
    FaultsOutput { faults: server.faults(), replica_lag_ms: server.replica_lag().as_millis() }
}

async fn rate_limit(State(server): State<Arc<Server>>) -> Json<Option<RateLimit>> {
    Json(server.rate_limit())
}

/// `null` switches the limiter off.
async fn put_rate_limit(
    State(server): State<Arc<Server>>,
    Json(limit): Json<Option<RateLimit>>,
) -> Result<Json<Option<RateLimit>>, (StatusCode, String)> {
    server.set_rate_limit(limit).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    Ok(Json(server.rate_limit()))
}

async fn checks(State(server): State<Arc<Server>>) -> Json<ChecksInput> {
    Json(checks_in_force(&server))
}

async fn put_checks(State(server): State<Arc<Server>>, Json(input): Json<ChecksInput>) -> Json<ChecksInput> {
    let mut checks = server.checks();
    if let Some(natural_key) = input.natural_key {
        checks.natural_key = matches!(natural_key, NaturalKey::ExactSlot);
    }
    checks.overlap = input.overlap_check.unwrap_or(checks.overlap);
    server.set_checks(checks);
    Json(checks_in_force(&server))
}

fn checks_in_force(server: &Server) -> ChecksInput {
    let checks = server.checks();
    let natural_key = if checks.natural_key { NaturalKey::ExactSlot } else { NaturalKey::Off };
    ChecksInput { natural_key: Some(natural_key), overlap_check: Some(checks.overlap) }
}
