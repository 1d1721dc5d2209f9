//! Reads a request's raw body, up to a limit; JSON is somebody else's business, because a signature covers raw bytes.

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};

use crate::app::App;
use crate::problem::Problem;

/// A body of at most `BYTES_MAX` bytes.
pub(crate) struct Raw<const BYTES_MAX: usize>(pub(crate) Bytes);

/// The longest body of `/v1`.
pub(crate) const V1_BYTES_MAX: usize = 64 * 1024;
/// The longest body of `/retell`: a call carries its transcript.
pub(crate) const RETELL_BYTES_MAX: usize = 2 * 1024 * 1024;

impl<const BYTES_MAX: usize> FromRequest<App> for Raw<BYTES_MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &App) -> Result<Self, Problem> {
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|bytes: usize| bytes > BYTES_MAX) {
            return Err(Problem::too_large(BYTES_MAX));
        }
        match to_bytes(request.into_body(), BYTES_MAX.saturating_add(1)).await {
            Ok(bytes) if bytes.len() > BYTES_MAX => Err(Problem::too_large(BYTES_MAX)),
            Ok(bytes) => Ok(Self(bytes)),
            // Longer than that without having said so, or the connection broke: to the caller both mean the same.
            Err(_) if announced.is_none() => Err(Problem::too_large(BYTES_MAX)),
            Err(_) => Err(Problem::unread()),
        }
    }
}

/// Refuses a body that is declared as something else than JSON; one that is not declared is taken as JSON.
///
/// # Errors
/// 415.
pub(crate) fn must_be_json(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(declared) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence =
        declared.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    Err(Problem::media_type())
}
