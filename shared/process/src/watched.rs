//! What is seen of a process from outside: whether it is ready, and its metrics.
//!
//! Deliberately absent: the routes (each program words its own answers), and Redis: nothing but seconds depends on it.

use std::sync::OnceLock;
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use store::Store;

/// A database that takes longer is not ready.
const PING_MAX: Duration = Duration::from_secs(2);
/// Bounds of the histograms, seconds.
const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Does Postgres answer in time?
pub async fn is_ready(store: &Store) -> bool {
    matches!(tokio::time::timeout(PING_MAX, store.ping()).await, Ok(Ok(())))
}

/// What this process has counted. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// The recorder of this process, installed at the first call. Where somebody else has installed one before, ours
    /// stays empty.
    pub fn of_this_process() -> Self {
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
        Self(RECORDER.get_or_init(install).clone())
    }
}

/// Prometheus' text format.
impl IntoResponse for Metrics {
    fn into_response(self) -> Response {
        self.0.run_upkeep();
        ([(CONTENT_TYPE, "text/plain; version=0.0.4")], self.0.render()).into_response()
    }
}
