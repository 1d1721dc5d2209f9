//! `/healthz` (the process answers), `/readyz` (Postgres answers; Redis may be away) and `/metrics` (Prometheus).
//!
//! Open to whoever reaches the port: nothing in them belongs to a company.

use std::sync::OnceLock;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::app::App;
use crate::problem::Problem;

/// A database that takes longer is not ready.
const PING_MAX: Duration = Duration::from_secs(2);
/// Bounds of the histograms, seconds.
const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = String)))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Postgres answers. Redis may be away: nothing but seconds depends on it.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses((status = 200, body = String), (status = 503, description = "Postgres is out of reach"))
)]
pub(crate) async fn readyz(State(app): State<App>) -> Result<&'static str, Problem> {
    match tokio::time::timeout(PING_MAX, app.store.ping()).await {
        Ok(Ok(())) => Ok("ready\n"),
        Ok(Err(_)) | Err(_) => Err(Problem::away()),
    }
}

/// Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String)))]
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    app.metrics.run_upkeep();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render()).into_response()
}

/// The recorder of this process, installed at the first call. Where somebody else has installed one before, ours stays
/// empty.
pub(crate) fn recorder() -> PrometheusHandle {
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
