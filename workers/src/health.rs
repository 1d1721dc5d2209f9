//! `/healthz` (the process answers), `/readyz` (Postgres answers and nobody stops us; Redis may be away) and `/metrics`.
//!
//! Open to whoever reaches the port: nothing in them belongs to a company.

use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use store::Store;
use tokio_util::sync::CancellationToken;

/// A database that takes longer is not ready.
const PING_MAX: Duration = Duration::from_secs(2);
/// Bounds of the histograms, seconds.
const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Clone)]
struct Health {
    store: Store,
    stop: CancellationToken,
    metrics: PrometheusHandle,
}

/// The three routes.
pub(crate) fn routes(store: Store, stop: CancellationToken) -> Router {
    let health = Health { store, stop, metrics: recorder() };
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn readyz(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match tokio::time::timeout(PING_MAX, health.store.ping()).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n"),
        Ok(Err(_)) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "Postgres is out of reach\n"),
    }
}

async fn metrics(State(health): State<Health>) -> Response {
    health.metrics.run_upkeep();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], health.metrics.render()).into_response()
}

/// The recorder of this process, installed at the first call. Where somebody else has installed one before, ours stays
/// empty.
fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let builder = PrometheusBuilder::new();
        let builder = builder.set_buckets(&BUCKETS).unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::debug!("a metrics recorder was installed before");
        }
        handle
    };
    RECORDER.get_or_init(install).clone()
}
