//! `/healthz` (the process answers), `/readyz` (Postgres answers; Redis may be away) and `/metrics` (Prometheus).
//!
//! Open to whoever reaches the port: nothing in them belongs to a company.

use axum::extract::State;
use process::{Metrics, is_ready};

use crate::app::App;
use crate::problem::Problem;

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
    if is_ready(&app.store).await { Ok("ready\n") } else { Err(Problem::away()) }
}

/// Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String)))]
pub(crate) async fn metrics(State(app): State<App>) -> Metrics {
    app.metrics
}
