//! A request as it comes off the wire: which route, which version, whose key, what body. Deliberately absent: what to do
//! about it (server.rs) and what may stand in the body (input.rs).

use axum::body::Bytes;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};

use crate::answer::Refusal;
use crate::fault::On;

/// The only version of the bookings controller that is here.
const BOOKINGS_VERSION: &str = "2024-08-13";
/// The same of the slots controller.
const SLOTS_VERSION: &str = "2024-09-04";

/// The head of a request, as far as it matters here.
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    /// Path with query, as error envelopes show it.
    pub(crate) url: String,
    pub(crate) route: Route,
    pub(crate) version_known: bool,
    pub(crate) authorization: Option<String>,
}

impl Head {
    pub(crate) fn new(method: Method, uri: Uri, headers: &HeaderMap) -> Self {
        let url = uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string);
        let route = Route::of(&method, uri.path());
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let wanted = if matches!(route, Route::Slots) { SLOTS_VERSION } else { BOOKINGS_VERSION };
        let version_known = text("cal-api-version").as_deref() == Some(wanted);
        Self { method, uri, url, route, version_known, authorization: text(AUTHORIZATION.as_str()) }
    }
}

/// The routes that are here. A text is the uid in the path.
pub(crate) enum Route {
    Create,
    List,
    Read(String),
    Cancel(String),
    Reschedule(String),
    Confirm(String),
    Decline(String),
    Slots,
    /// To the host of this number. For others only: no path of the API leads here.
    Reassign(String, i64),
    /// For others only, too.
    Delete(String),
    Unknown,
}

impl Route {
    fn of(method: &Method, path: &str) -> Self {
        if path == "/v2/slots" && method == Method::GET {
            return Self::Slots;
        }
        let Some(rest) = path.strip_prefix("/v2/bookings") else { return Self::Unknown };
        let segments: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
        match (method, segments.as_slice()) {
            _ if !(rest.is_empty() || rest.starts_with('/')) => Self::Unknown,
            (&Method::POST, []) => Self::Create,
            (&Method::GET, []) => Self::List,
            (&Method::GET, [uid]) => Self::Read((*uid).to_owned()),
            (&Method::POST, [uid, "cancel"]) => Self::Cancel((*uid).to_owned()),
            (&Method::POST, [uid, "reschedule"]) => Self::Reschedule((*uid).to_owned()),
            (&Method::POST, [uid, "confirm"]) => Self::Confirm((*uid).to_owned()),
            (&Method::POST, [uid, "decline"]) => Self::Decline((*uid).to_owned()),
            _ => Self::Unknown,
        }
    }

    /// The kind of request, for the rules of faults.
    pub(crate) fn on(&self) -> Option<On> {
        match self {
            Self::Create => Some(On::Create),
            Self::Cancel(_) => Some(On::Cancel),
            Self::Reschedule(_) => Some(On::Reschedule),
            Self::Read(_) => Some(On::Get),
            Self::List => Some(On::List),
            Self::Slots => Some(On::Slots),
            Self::Confirm(_) | Self::Decline(_) | Self::Reassign(..) | Self::Delete(_) | Self::Unknown => None,
        }
    }

    /// The booking that it names.
    pub(crate) fn uid(&self) -> Option<&str> {
        match self {
            Self::Read(uid)
            | Self::Cancel(uid)
            | Self::Reschedule(uid)
            | Self::Confirm(uid)
            | Self::Decline(uid)
            | Self::Reassign(uid, _)
            | Self::Delete(uid) => Some(uid),
            Self::Create | Self::List | Self::Slots | Self::Unknown => None,
        }
    }
}

/// A body that has come completely, or is too long to be read.
pub(crate) enum Received {
    Json(Value),
    NotJson(String),
    TooLong,
}

impl Received {
    /// A body that is not declared as JSON, or is empty, is an empty object: so the real body parser hands it on.
    pub(crate) fn new(bytes: &Bytes, headers: &HeaderMap) -> Self {
        let declared = headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
        if !declared || bytes.is_empty() {
            return Self::Json(json!({}));
        }
        match serde_json::from_slice(bytes) {
            Ok(value) => Self::Json(value),
            Err(error) => Self::NotJson(format!("Unexpected token in JSON: {error}")),
        }
    }

    pub(crate) fn json(&self) -> Result<&Value, Refusal> {
        match self {
            Self::Json(value) => Ok(value),
            Self::NotJson(message) => Err(Refusal::bad_request(message.as_str())),
            Self::TooLong => Err(Refusal::flat(StatusCode::PAYLOAD_TOO_LARGE, "request entity too large")),
        }
    }
}

/// Who calls.
pub(crate) enum Caller<'a> {
    /// With a good key: this one.
    KeyHolder(&'a str),
    Anybody,
}

/// Most routes are open to anybody, but a wrong key is refused everywhere. The throttler runs before the guards and
/// is the first to find that a key with Cal.com's prefix is unknown.
pub(crate) fn authenticate<'a>(api_key: Option<&str>, authorization: Option<&'a str>) -> Result<Caller<'a>, Refusal> {
    let Some(key) = authorization.and_then(|value| value.strip_prefix("Bearer ")).filter(|key| !key.is_empty()) else {
        return Ok(Caller::Anybody);
    };
    match api_key {
        None => Ok(Caller::KeyHolder(key)),
        Some(expected) if expected == key => Ok(Caller::KeyHolder(key)),
        Some(_) if key.starts_with("cal_") => Err(Refusal::unauthorized("CustomThrottlerGuard - Invalid API Key")),
        Some(_) => Err(Refusal::unauthorized("ApiAuthStrategy - api key - Your api key is not valid")),
    }
}
