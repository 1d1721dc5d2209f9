//! The request headers that steer a command: `Prefer: wait=N`, `Idempotency-Key`, `If-Match`; and the `ETag` we give.
//!
//! Deliberately absent: lists of ETags and weak ones; a version is a number of ours.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::IF_MATCH;

use crate::problem::Problem;

/// The longest wait that can be asked for, seconds; a longer one is cut to it.
const WAIT_SECONDS_MAX: u64 = 10;
/// The longest `Idempotency-Key`, characters.
const KEY_CHARS_MAX: usize = 255;

/// The wait of `Prefer: wait=N` (RFC 7240); none, and what cannot be read, is zero: a preference is never an error.
pub(crate) fn wait(headers: &HeaderMap) -> Duration {
    let written = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let seconds = written.flat_map(|value| value.split([',', ';'])).find_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        let seconds = value.trim().trim_matches('"').parse::<u64>().ok()?;
        name.trim().eq_ignore_ascii_case("wait").then_some(seconds)
    });
    Duration::from_secs(seconds.unwrap_or(0).min(WAIT_SECONDS_MAX))
}

/// The `Idempotency-Key`, if there is one.
///
/// # Errors
/// Empty, too long, given twice, or not printable ASCII.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    const NAME: &str = "Idempotency-Key";
    let mut given = headers.get_all(NAME).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let key = value.to_str().ok().map(str::trim).filter(|key| !key.is_empty() && key.len() <= KEY_CHARS_MAX);
    match (key, given.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(Problem::header(NAME, "give it once, with 1 to 255 printable ASCII characters")),
    }
}

/// The version that `If-Match` names; `None` if there is no such header or it is `*`.
///
/// # Errors
/// Anything else than one `"v<version>"`.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<i32>, Problem> {
    let mut given = headers.get_all(IF_MATCH).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let written = value.to_str().unwrap_or_default().trim();
    if written == "*" && given.next().is_none() {
        return Ok(None);
    }
    let version = written.strip_prefix("\"v").and_then(|rest| rest.strip_suffix('"'));
    let version = version.filter(|digits| digits.bytes().all(|b| b.is_ascii_digit())).and_then(|v| v.parse().ok());
    match (version, given.next()) {
        (Some(version), None) => Ok(Some(version)),
        _ => Err(Problem::header("If-Match", "give the ETag of the appointment, for example \"v3\", or leave it out")),
    }
}

/// The `ETag` of a version.
pub(crate) fn etag(version: i32) -> String {
    format!("\"v{version}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_wait_is_at_most_ten_seconds() {
        let seconds = |values: &[&str]| wait(&headers("prefer", values)).as_secs();
        assert_eq!(seconds(&["wait=4"]), 4);
        assert_eq!(seconds(&["respond-async, Wait=\"3\""]), 3);
        assert_eq!(seconds(&["respond-async", "wait=2"]), 2);
        assert_eq!(seconds(&["wait=3600"]), 10);
        for nothing in [&[][..], &["wait"], &["wait=soon"], &["wait=-1"], &["await=5"]] {
            assert_eq!(seconds(nothing), 0, "{nothing:?}");
        }
    }

    #[test]
    fn an_etag_is_read_back() {
        let read = |values: &[&str]| if_match(&headers("if-match", values)).map_err(|p| p.code());
        assert_eq!(read(&[&etag(7)]), Ok(Some(7)));
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["*"]), Ok(None));
        for bad in [&["7"][..], &["\"7\""], &["W/\"v7\""], &["\"v\""], &["\"v+7\""], &["\"v1\", \"v2\""], &["*", "*"]] {
            assert_eq!(read(bad), Err("invalid_header"), "{bad:?}");
        }
        assert_eq!(read(&["\"v99999999999\""]), Err("invalid_header"));
    }

    #[test]
    fn an_idempotency_key_is_short_and_single() {
        let read = |values: &[&str]| {
            idempotency_key(&headers("idempotency-key", values)).map(|k| k.map(str::to_owned)).map_err(|p| p.code())
        };
        assert_eq!(read(&["abc"]), Ok(Some("abc".to_owned())));
        assert_eq!(read(&[]), Ok(None));
        assert!(read(&[&"k".repeat(255)]).is_ok());
        for bad in [&[""][..], &["a", "b"]] {
            assert_eq!(read(bad), Err("invalid_header"));
        }
        assert_eq!(read(&[&"k".repeat(256)]), Err("invalid_header"));
    }
}
