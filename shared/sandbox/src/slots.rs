//! `GET /v2/slots`: what may be asked. As at the real server, a bound without a time is a whole day, and parameters that
//! nobody knows are ignored. Deliberately absent: dynamic events of several users (`usernames`) and seats.

use axum::extract::Query;
use axum::http::Uri;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::json;

use crate::answer::Refusal;
use crate::input::{Wanted, moment};

/// A well-formed query.
#[derive(Debug)]
pub(crate) struct SlotsQuery {
    pub(crate) wanted: Wanted,
    /// Slots start here or later.
    pub(crate) from: DateTime<Utc>,
    /// Slots start before.
    pub(crate) to: DateTime<Utc>,
    /// The dates and times of the answer are of this zone.
    pub(crate) time_zone: Tz,
    /// Instead of the event type's own length.
    pub(crate) minutes: Option<u32>,
    /// Whether the end is told, too (`format=range`).
    pub(crate) with_end: bool,
}

/// Reads the query.
pub(crate) fn parse(uri: &Uri) -> Result<SlotsQuery, Refusal> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri).map(|query| query.0).unwrap_or_default();
    let text = |wanted: &str| pairs.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.as_str());
    let mut errors = Vec::new();
    let mut wrong = |key: &str, constraint: &str, message: &str| {
        errors.push(
            json!({ "property": key, "value": text(key), "children": [], "constraints": { constraint: message } }),
        );
    };
    let event_type_id = text("eventTypeId").map(str::parse::<i64>);
    if matches!(event_type_id, Some(Err(_))) {
        wrong("eventTypeId", "isNumber", "eventTypeId must be a number");
    }
    let time_zone = text("timeZone").map_or(Ok(Tz::UTC), str::parse::<Tz>);
    if time_zone.is_err() {
        wrong("timeZone", "isTimeZone", "timeZone must be a valid IANA time-zone");
    }
    let minutes = text("duration").map(str::parse::<u32>);
    if matches!(minutes, Some(Err(_) | Ok(0))) {
        wrong("duration", "min", "duration must not be less than 1");
    }
    let with_end = match text("format") {
        None | Some("time") => false,
        Some("range") => true,
        Some(_) => {
            wrong("format", "isEnum", "format must be either 'range' or 'time'");
            false
        }
    };
    if !errors.is_empty() {
        return Err(Refusal::invalid_query(errors));
    }
    let wanted = match (event_type_id, text("eventTypeSlug"), text("username"), text("teamSlug")) {
        (Some(Ok(id)), ..) => Wanted::Id(id),
        (_, Some(slug), Some(username), _) => Wanted::OfUser { slug: slug.to_owned(), username: username.to_owned() },
        (_, Some(slug), None, Some(team)) => Wanted::OfTeam { slug: slug.to_owned(), team: team.to_owned() },
        _ => {
            return Err(Refusal::bad_request(
                "Either eventTypeId or eventTypeSlug + username or eventTypeSlug + teamSlug must be provided",
            ));
        }
    };
    // A plus sign that was not encoded has become a space on the way.
    let bound = |key: &str| moment(&text(key)?.replace(' ', "+"));
    let whole_day = text("end").is_some_and(|end| end.len() == 10);
    let to = bound("end").map(|to| if whole_day { to + TimeDelta::days(1) } else { to });
    let (Some(from), Some(to), Ok(time_zone)) = (bound("start"), to, time_zone) else { return Err(bad_range()) };
    if from > to {
        return Err(bad_range());
    }
    Ok(SlotsQuery { wanted, from, to, time_zone, minutes: minutes.and_then(Result::ok), with_end })
}

fn bad_range() -> Refusal {
    Refusal::bad_request("Invalid time range given - check the 'start' and 'end' query parameters.")
}
