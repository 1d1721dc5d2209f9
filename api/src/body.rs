//! Reads a request's raw body, up to a limit; JSON is somebody else's business, because a signature covers raw bytes.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use futures::StreamExt;

use crate::app::App;
use crate::problem::Problem;

/// A body of at most `BYTES_MAX` bytes.
pub(crate) struct Raw<const BYTES_MAX: usize>(pub(crate) Bytes);

/// What is too long is read on to here and thrown away: if it were left unread the connection would be reset, and the
/// answer with it.
const DISCARDED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest body of `/v1`.
pub(crate) const V1_BYTES_MAX: usize = 64 * 1024;
/// The longest body of `/calcom`.
pub(crate) const CALCOM_BYTES_MAX: usize = 256 * 1024;
/// The longest body of `/retell`: a call carries its transcript.
pub(crate) const RETELL_BYTES_MAX: usize = 2 * 1024 * 1024;

impl<const BYTES_MAX: usize> FromRequest<App> for Raw<BYTES_MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &App) -> Result<Self, Problem> {
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|bytes: usize| bytes > DISCARDED_BYTES_MAX) {
            return Err(Problem::too_large(BYTES_MAX));
        }
        let mut chunks = request.into_body().into_data_stream();
        let (mut body, mut bytes) = (Vec::new(), 0_usize);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Problem::unread())?;
            bytes += chunk.len();
            if bytes <= BYTES_MAX {
                body.extend_from_slice(&chunk);
            }
            if bytes > DISCARDED_BYTES_MAX {
                break;
            }
        }
        if bytes > BYTES_MAX { Err(Problem::too_large(BYTES_MAX)) } else { Ok(Self(Bytes::from(body))) }
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
