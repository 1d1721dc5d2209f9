//! Around every request: an id, a span, a time limit, two metrics. The route is logged, never the path, the query, a
//! header or a body: they may name a person.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;
use uuid::Uuid;

use crate::problem::Problem;

/// A request that takes longer is answered with 503. Longer than the longest wait and a statement's limit together.
const REQUEST_MAX: Duration = Duration::from_secs(30);

pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", |path| path.as_str()).to_owned();
    let method = request.method().as_str().to_owned();
    let id = Uuid::now_v7().to_string();
    let span = tracing::info_span!("request", id, method, route);
    let began = Instant::now();
    let answered = tokio::time::timeout(REQUEST_MAX, next.run(request)).instrument(span.clone()).await;
    let mut response = answered.unwrap_or_else(|_| Problem::timeout().into_response());
    let (took, status) = (began.elapsed(), response.status().as_u16());
    span.in_scope(|| tracing::debug!(status, took_ms = took.as_millis(), "answered"));
    let labels = [("route", route), ("method", method), ("status", status.to_string())];
    metrics::counter!("api_requests_total", &labels).increment(1);
    metrics::histogram!("api_request_seconds", &labels[..1]).record(took.as_secs_f64());
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// A panic is a fault of ours: said once in the log, and answered as such. Its text may hold anything and is not logged.
pub(crate) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a request panicked");
    metrics::counter!("api_panics_total").increment(1);
    Problem::internal().into_response()
}
