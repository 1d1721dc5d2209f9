//! `/_sandbox/webhooks…`: who is told of changes, how deliveries are disturbed, and what became of each. Deliberately
//! absent: showing a secret.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde::{Deserialize, Serialize};

use crate::server::Server;
use crate::webhook::{Attempt, Subscription, Trigger, WebhookPlan};

/// How long a caller may wait for rest, unless told otherwise, and at most.
const REST_MS: u64 = 30_000;
const REST_MAX_MS: u64 = 600_000;

pub(super) fn router() -> Router<Arc<Server>> {
    Router::new()
        .route("/_sandbox/webhooks", get(webhooks).put(put_webhooks))
        .route("/_sandbox/webhooks/plan", get(plan).put(put_plan))
        .route("/_sandbox/webhooks/attempts", get(attempts))
        .route("/_sandbox/webhooks/at-rest", get(at_rest))
}

/// A subscription as it is shown.
#[derive(Serialize)]
struct Shown {
    url: String,
    signed: bool,
    triggers: Option<Vec<Trigger>>,
}

/// Which attempts to show.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AttemptsQuery {
    /// Only those with a greater `seq`.
    #[serde(default)]
    after_seq: u64,
}

/// How long to wait.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RestQuery {
    within_ms: Option<u64>,
}

/// How many copies wait to be sent or answered.
#[derive(Serialize)]
struct Rest {
    outstanding: usize,
}

type Refused = (StatusCode, String);

async fn webhooks(State(server): State<Arc<Server>>) -> Json<Vec<Shown>> {
    Json(shown(&server))
}

async fn put_webhooks(
    State(server): State<Arc<Server>>,
    Json(subscriptions): Json<Vec<Subscription>>,
) -> Result<Json<Vec<Shown>>, Refused> {
    server.postman.set_subscriptions(subscriptions).map_err(refused)?;
    Ok(Json(shown(&server)))
}

async fn plan(State(server): State<Arc<Server>>) -> Json<WebhookPlan> {
    Json(server.postman.plan())
}

async fn put_plan(
    State(server): State<Arc<Server>>,
    Json(plan): Json<WebhookPlan>,
) -> Result<Json<WebhookPlan>, Refused> {
    server.postman.set_plan(plan).map_err(refused)?;
    Ok(Json(server.postman.plan()))
}

async fn attempts(State(server): State<Arc<Server>>, Query(query): Query<AttemptsQuery>) -> Json<Vec<Attempt>> {
    Json(server.postman.attempts(query.after_seq))
}

async fn at_rest(State(server): State<Arc<Server>>, Query(query): Query<RestQuery>) -> (StatusCode, Json<Rest>) {
    let within = Duration::from_millis(query.within_ms.unwrap_or(REST_MS).min(REST_MAX_MS));
    let rested = tokio::time::timeout(within, server.postman.at_rest()).await;
    let status = if rested.is_ok() { StatusCode::OK } else { StatusCode::GATEWAY_TIMEOUT };
    (status, Json(Rest { outstanding: server.postman.outstanding() }))
}

fn shown(server: &Server) -> Vec<Shown> {
    let shown = |Subscription { url, secret, triggers }| {
        let signed = secret.is_some_and(|secret| !secret.is_empty());
        Shown { url, signed, triggers }
    };
    server.postman.subscriptions().into_iter().map(shown).collect()
}

fn refused(error: anyhow::Error) -> Refused {
    (StatusCode::BAD_REQUEST, error.to_string())
}
