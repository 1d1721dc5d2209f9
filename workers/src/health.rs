//! `/healthz` (the process answers), `/readyz` (Postgres answers and nobody stops us; Redis may be away) and `/metrics`.
//!
//! Open to whoever reaches the port: nothing in them belongs to a company.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use process::{Metrics, is_ready};
use store::Store;
use tokio_util::sync::CancellationToken;

/// The three routes.
pub(crate) fn routes(store: Store, stop: CancellationToken) -> Router {
    let metrics = Metrics::of_this_process();
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async move || readyz(&store, &stop).await))
        .route("/metrics", get(async move || metrics))
}

async fn readyz(store: &Store, stop: &CancellationToken) -> (StatusCode, &'static str) {
    if stop.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else if is_ready(store).await {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "Postgres is out of reach\n")
    }
}
