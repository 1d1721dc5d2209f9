//! `GET /v2/bookings`: filters, order and pages. As at the real server there is no filter by metadata, and unknown
//! parameters are ignored. Filters by team are known and match nothing, for the sandbox has no teams.

use std::cmp::Ordering;

use axum::extract::Query;
use axum::http::Uri;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::answer::{Answer, Refusal};
use crate::booking::{Booking, Status};
use crate::input::moment;

const TAKE_DEFAULT: usize = 100;
const TAKE_MAX: usize = 250;
const STATUSES: [&str; 5] = ["upcoming", "recurring", "past", "cancelled", "unconfirmed"];

/// A well-formed query. All moments are inclusive bounds.
#[derive(Debug, Default)]
pub(crate) struct ListQuery {
    statuses: Vec<String>,
    event_type_ids: Option<Vec<i64>>,
    of_a_team: bool,
    attendee_email: Option<String>,
    attendee_name: Option<String>,
    booking_uid: Option<String>,
    after_start: Option<DateTime<Utc>>,
    before_end: Option<DateTime<Utc>>,
    after_created: Option<DateTime<Utc>>,
    before_created: Option<DateTime<Utc>>,
    after_updated: Option<DateTime<Utc>>,
    before_updated: Option<DateTime<Utc>>,
    sort_start: Option<Direction>,
    sort_end: Option<Direction>,
    sort_created: Option<Direction>,
    sort_updated: Option<Direction>,
    take: usize,
    skip: usize,
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    Ascending,
    Descending,
}

impl ListQuery {
    /// No booking outside of these starts can match: it has to start within `afterStart`, and before it ends.
    pub(crate) fn start_bounds(&self) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        (self.after_start, self.before_end)
    }
}

/// Reads the query of a list.
pub(crate) fn parse(uri: &Uri) -> Result<ListQuery, Refusal> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri).map(|query| query.0).unwrap_or_default();
    let mut query = ListQuery { take: TAKE_DEFAULT, ..ListQuery::default() };
    let mut errors = Vec::new();
    for (key, value) in &pairs {
        let wrong = |constraint: &str, message: String| json!({ "property": key, "value": value, "children": [], "constraints": { constraint: message } });
        let finding = match key.as_str() {
            "status" => match value.split(',').find(|status| !STATUSES.contains(status)) {
                None => {
                    query.statuses.extend(value.split(',').map(str::to_owned));
                    None
                }
                Some(_) => Some(wrong("isEnum", format!("Invalid status. Allowed are {}", STATUSES.join(", ")))),
            },
            "eventTypeId" | "eventTypeIds" => match value.split(',').map(|id| id.trim().parse()).collect() {
                Ok(ids) => {
                    query.event_type_ids = Some(ids);
                    None
                }
                Err(_) => Some(wrong("isNumber", format!("{key} must be a number"))),
            },
            "teamId" | "teamsIds" => {
                query.of_a_team = true;
                None
            }
            "attendeeEmail" => {
                // A plus sign that was not encoded has become a space on the way.
                query.attendee_email = Some(value.trim().replace(' ', "+"));
                None
            }
            "attendeeName" => {
                query.attendee_name = Some(value.trim().to_owned());
                None
            }
            "bookingUid" => {
                query.booking_uid = Some(value.trim().to_owned());
                None
            }
            "afterStart" | "beforeEnd" | "afterCreatedAt" | "beforeCreatedAt" | "afterUpdatedAt"
            | "beforeUpdatedAt" => {
                let at = moment(value);
                match key.as_str() {
                    "afterStart" => query.after_start = at,
                    "beforeEnd" => query.before_end = at,
                    "afterCreatedAt" => query.after_created = at,
                    "beforeCreatedAt" => query.before_created = at,
                    "afterUpdatedAt" => query.after_updated = at,
                    _ => query.before_updated = at,
                }
                at.is_none().then(|| wrong("isIso8601", format!("{key} must be a valid ISO 8601 date string")))
            }
            "sortStart" | "sortEnd" | "sortCreated" | "sortUpdatedAt" => {
                let direction = match value.as_str() {
                    "asc" => Some(Direction::Ascending),
                    "desc" => Some(Direction::Descending),
                    _ => None,
                };
                match key.as_str() {
                    "sortStart" => query.sort_start = direction,
                    "sortEnd" => query.sort_end = direction,
                    "sortCreated" => query.sort_created = direction,
                    _ => query.sort_updated = direction,
                }
                let named = match key.as_str() {
                    "sortStart" => "SortStart",
                    "sortEnd" => "SortEnd",
                    // The real message of `sortUpdatedAt` names the wrong parameter, too.
                    _ => "SortCreated",
                };
                direction.is_none().then(|| wrong("isIn", format!("{named} must be either \"asc\" or \"desc\".")))
            }
            "take" => match value.parse() {
                Ok(take @ 1..=TAKE_MAX) => {
                    query.take = take;
                    None
                }
                Ok(0) => Some(wrong("min", "take must not be less than 1".to_owned())),
                Ok(_) => Some(wrong("max", format!("take must not be greater than {TAKE_MAX}"))),
                Err(_) => Some(wrong("isNumber", "take must be a number".to_owned())),
            },
            "skip" => match value.parse() {
                Ok(skip) => {
                    query.skip = skip;
                    None
                }
                Err(_) => Some(wrong("min", "skip must not be less than 0".to_owned())),
            },
            _ => None,
        };
        errors.extend(finding);
    }
    if errors.is_empty() { Ok(query) } else { Err(Refusal::invalid_query(errors)) }
}

/// One page of those of `candidates` (in order of their starts) that match.
pub(crate) fn page(candidates: Vec<&Booking>, query: &ListQuery, now: DateTime<Utc>) -> Answer {
    let mut matching: Vec<&Booking> =
        candidates.into_iter().filter(|booking| matches_query(booking, query, now)).collect();
    // Stable sorts, the least important first: the first named of start, end, created, updated decides.
    sort(&mut matching, query.sort_updated, |booking| booking.updated_at);
    sort(&mut matching, query.sort_created, |booking| booking.created_at);
    sort(&mut matching, query.sort_end, |booking| booking.end);
    sort(&mut matching, query.sort_start, |booking| booking.start);

    let total = matching.len();
    let data: Vec<Value> = matching.into_iter().skip(query.skip).take(query.take).map(Booking::wire).collect();
    let remaining = total.saturating_sub(query.skip.saturating_add(query.take));
    let pagination = json!({
        "totalItems": total,
        "remainingItems": remaining,
        "returnedItems": data.len(),
        "itemsPerPage": query.take,
        "currentPage": query.skip / query.take + 1,
        "totalPages": total.div_ceil(query.take),
        "hasNextPage": remaining > 0,
        "hasPreviousPage": query.skip > 0,
    });
    Answer::page(data, pagination)
}

fn matches_query(booking: &Booking, query: &ListQuery, now: DateTime<Utc>) -> bool {
    let not_before = |bound: Option<DateTime<Utc>>, at: DateTime<Utc>| bound.is_none_or(|bound| at >= bound);
    let not_after = |bound: Option<DateTime<Utc>>, at: DateTime<Utc>| bound.is_none_or(|bound| at <= bound);
    let is = |wanted: &Option<String>, actual: &str| wanted.as_deref().is_none_or(|wanted| wanted == actual);
    !query.of_a_team
        && (query.statuses.is_empty() || query.statuses.iter().any(|status| stands(booking, status, now)))
        && query.event_type_ids.as_ref().is_none_or(|ids| ids.contains(&booking.event_type_id))
        && is(&query.attendee_email, &booking.attendee.email)
        && is(&query.attendee_name, &booking.attendee.name)
        && is(&query.booking_uid, &booking.uid)
        && not_before(query.after_start, booking.start)
        && not_after(query.before_end, booking.end)
        && not_before(query.after_created, booking.created_at)
        && not_after(query.before_created, booking.created_at)
        && not_before(query.after_updated, booking.updated_at)
        && not_after(query.before_updated, booking.updated_at)
}

/// Cal.com's listing states are not the statuses of bookings: what waits for the host is upcoming, too.
fn stands(booking: &Booking, listing: &str, now: DateTime<Utc>) -> bool {
    let live = booking.status.is_live();
    match listing {
        "upcoming" => live && booking.end >= now,
        "past" => live && booking.end <= now,
        "cancelled" => !live,
        "unconfirmed" => booking.status == Status::Pending && booking.end >= now,
        _ => false,
    }
}

fn sort(bookings: &mut [&Booking], direction: Option<Direction>, key: impl Fn(&Booking) -> DateTime<Utc>) {
    match direction {
        None => {}
        Some(Direction::Ascending) => bookings.sort_by_key(|booking| key(booking)),
        Some(Direction::Descending) => bookings.sort_by(|a, b| -> Ordering { key(b).cmp(&key(a)) }),
    }
}
