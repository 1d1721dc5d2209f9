//! Status, message and broken connection → [`Answer`]: the one table of what Cal.com's refusals mean.
//!
//! Texts are compared whole (a booking's uid in them with the one we asked about), and by their beginning only where
//! Cal.com appends to them. Deliberately absent: guesses. A text that is not in the table is our bug or configuration,
//! and whatever may have been done is [`Answer::Unknown`].

use std::time::Duration;

use domain::answer::{Ambiguity, Answer, LookFailure, Refused};
use domain::budget::{Heard, Purpose};
use serde_json::Value;

/// What was asked, as far as the meaning of a refusal depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked<'a> {
    Create,
    Cancel { uid: &'a str },
    Reschedule { uid: &'a str },
    Get { uid: &'a str },
    List,
    Slots,
}

impl Asked<'_> {
    /// For log lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Asked::Create => "create",
            Asked::Cancel { .. } => "cancel",
            Asked::Reschedule { .. } => "reschedule",
            Asked::Get { .. } => "get",
            Asked::List => "list",
            Asked::Slots => "slots",
        }
    }

    /// What the budget counts it as; `reads` is what reads are for.
    pub(crate) fn purpose(self, reads: Purpose) -> Purpose {
        match self {
            Asked::Create | Asked::Cancel { .. } | Asked::Reschedule { .. } => Purpose::Act,
            Asked::Get { .. } | Asked::List => reads,
            Asked::Slots => Purpose::Slots,
        }
    }
}

/// What came back instead of a 2xx.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No byte left.
    NotSent { wait: Option<Duration> },
    /// The key cannot be written into a header, so Cal.com cannot have issued it.
    UnusableKey,
    /// 429.
    Throttled { wait: Duration },
    /// 4xx, with its message if the body was one of Cal.com's two envelopes.
    Client { status: u16, message: Option<String> },
    /// Anything else.
    Ambiguous { why: Ambiguity, wait: Option<Duration> },
}

impl Failure {
    pub(crate) fn unknown(why: Ambiguity) -> Self {
        Self::Ambiguous { why, wait: None }
    }
}

/// How a text of the table is compared.
enum Text {
    /// The whole message.
    Whole(&'static str),
    /// Its beginning: Cal.com appends to it.
    Begins(&'static str),
    /// The whole message, which names the booking that we asked about.
    AboutUid(&'static str, &'static str),
    /// Its beginning, which names the booking that we asked about: another uid follows.
    AboutUidBegins(&'static str, &'static str),
}

#[derive(Clone, Copy)]
enum Means {
    Taken,
    AlreadyCancelled,
    NotFound,
    Refused(Refused),
}

/// Which requests a row is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Booking,
    Cancel,
    Reschedule,
    CancelOrReschedule,
}

impl On {
    fn covers(self, asked: Asked<'_>) -> bool {
        match asked {
            Asked::Create => self == On::Booking,
            Asked::Cancel { .. } => self == On::Cancel || self == On::CancelOrReschedule,
            Asked::Reschedule { .. } => self != On::Cancel,
            Asked::Get { .. } | Asked::List | Asked::Slots => false,
        }
    }
}

/// `Any` is any 4xx: Cal.com's raw error codes leak with more than one.
enum At {
    Only(u16),
    Any,
}

struct Row(On, At, Text, Means);

use At::{Any, Only};
use Means::{AlreadyCancelled, NotFound, Taken};
use On::{Booking, Cancel, CancelOrReschedule, Reschedule};
use Text::{AboutUid, AboutUidBegins, Begins, Whole};

/// Cal.com API v2, bookings 2024-08-13, and the raw codes of its `packages/lib/errorCodes.ts`.
const TABLE: &[Row] = &[
    Row(Booking, Only(400), Whole("User either already has booking at this time or is not available"), Taken),
    Row(
        Booking,
        Only(400),
        Whole("One of the hosts either already has booking at this time or is not available"),
        Taken,
    ),
    Row(
        Booking,
        Only(400),
        Begins("The event type can't be booked at the \"start\" time provided"),
        Means::Refused(Refused::OutOfBounds),
    ),
    Row(Booking, Only(400), Whole("Attempting to book a meeting in the past."), Means::Refused(Refused::InThePast)),
    Row(
        Booking,
        Only(400),
        // "You can reschedule your existing booking (UID)…" may follow.
        Begins("Attendee with this email can't book because the maximum number of active bookings has been reached."),
        Means::Refused(Refused::LimitReached),
    ),
    Row(Booking, Any, Whole("no_available_users_found_error"), Taken),
    Row(Booking, Any, Whole("hosts_unavailable_for_booking"), Taken),
    Row(Booking, Any, Whole("fixed_hosts_unavailable_for_booking"), Taken),
    Row(Booking, Any, Whole("round_robin_host_unavailable_for_booking"), Taken),
    Row(Booking, Any, Whole("booking_conflict_error"), Taken),
    Row(Booking, Any, Whole("booking_seats_full_error"), Taken),
    Row(Booking, Any, Whole("booking_time_out_of_bounds_error"), Means::Refused(Refused::OutOfBounds)),
    Row(Booking, Any, Whole("booker_limit_exceeded_error"), Means::Refused(Refused::LimitReached)),
    Row(Booking, Any, Whole("booker_limit_exceeded_error_reschedule"), Means::Refused(Refused::LimitReached)),
    Row(
        Reschedule,
        Only(403),
        Whole("Rescheduling is not allowed within the minimum notice period before the event"),
        Means::Refused(Refused::NotAllowed),
    ),
    // Moved before, perhaps by our own earlier request: the old booking says where to.
    Row(
        Reschedule,
        Only(400),
        AboutUidBegins(
            "Can't reschedule booking with uid=",
            " because it has been cancelled and rescheduled already to booking with uid=",
        ),
        Taken,
    ),
    // Cancelled by somebody: only a look can say by whom.
    Row(
        Reschedule,
        Only(400),
        AboutUid(
            "Can't reschedule booking with uid=",
            " because it has been cancelled. Please provide uid of a booking that is not cancelled.",
        ),
        Taken,
    ),
    Row(
        Cancel,
        Only(400),
        AboutUid(
            "Can't cancel booking with uid=",
            " because it has been cancelled already. Please provide uid of a booking that is not cancelled.",
        ),
        AlreadyCancelled,
    ),
    Row(Cancel, Only(400), Whole("Cannot cancel a booking that has already ended"), Means::Refused(Refused::InThePast)),
    Row(Cancel, Only(400), Whole("This event type does not allow cancellations"), Means::Refused(Refused::NotAllowed)),
    Row(CancelOrReschedule, Only(404), AboutUid("Booking with uid=", " not found"), NotFound),
    Row(CancelOrReschedule, Only(404), AboutUid("Booking with uid=", " was not found in the database"), NotFound),
];

impl Text {
    fn matches(&self, message: &str, uid: Option<&str>) -> bool {
        let after = |before| message.strip_prefix::<&str>(before)?.strip_prefix(uid?);
        match *self {
            Whole(text) => message == text,
            Begins(text) => message.starts_with(text),
            AboutUid(before, text) => after(before).is_some_and(|rest| rest == text),
            AboutUidBegins(before, text) => after(before).is_some_and(|rest| rest.starts_with(text)),
        }
    }
}

/// What a failed mutation means.
pub(crate) fn answer(asked: Asked<'_>, failure: Failure) -> Answer {
    match failure {
        Failure::NotSent { wait } => Answer::NotSent { wait },
        // What Cal.com would have said.
        Failure::UnusableKey => Answer::Misconfigured { status: 401 },
        Failure::Throttled { wait } => Answer::Throttled { wait },
        Failure::Ambiguous { why, wait: _ } => Answer::Unknown { why },
        Failure::Client { status, message } => refusal(asked, status, message.as_deref()),
    }
}

fn refusal(asked: Asked<'_>, status: u16, message: Option<&str>) -> Answer {
    let uid = match asked {
        Asked::Cancel { uid } | Asked::Reschedule { uid } | Asked::Get { uid } => Some(uid),
        Asked::Create | Asked::List | Asked::Slots => None,
    };
    let row = TABLE.iter().find(|Row(on, at, text, _)| {
        let at_status = match at {
            Only(only) => *only == status,
            Any => true,
        };
        on.covers(asked) && at_status && message.is_some_and(|message| text.matches(message, uid))
    });
    match row {
        Some(Row(.., Taken)) => Answer::Taken { status },
        Some(Row(.., AlreadyCancelled)) => Answer::AlreadyCancelled,
        Some(Row(.., NotFound)) => Answer::NotFound,
        Some(Row(.., Means::Refused(reason))) => Answer::Refused { status, reason: *reason },
        // A conflict is one whatever its text: the unique slot key, Prisma's record that already exists, no more seats.
        None if status == 409 && Booking.covers(asked) => Answer::Taken { status },
        None => Answer::Misconfigured { status },
    }
}

/// What a failed read means; `Ok` is Cal.com's own "there is no such booking". A 404 of anything else (a wrong base
/// URL, a proxy) is a failure: "not there" must never come from a place where nothing is.
pub(crate) fn look(asked: Asked<'_>, failure: Failure) -> Result<(), LookFailure> {
    match failure {
        Failure::NotSent { wait } => Err(LookFailure::NotSent { wait }),
        Failure::Throttled { wait } => Err(LookFailure::Throttled { wait }),
        Failure::UnusableKey | Failure::Client { status: 401 | 403, .. } => Err(LookFailure::Unauthorized),
        Failure::Client { status: 404, message: Some(message) } => match asked {
            Asked::Get { uid }
                if TABLE
                    .iter()
                    .any(|Row(.., text, means)| matches!(means, NotFound) && text.matches(&message, Some(uid))) =>
            {
                Ok(())
            }
            Asked::Get { .. }
            | Asked::List
            | Asked::Slots
            | Asked::Create
            | Asked::Cancel { .. }
            | Asked::Reschedule { .. } => Err(LookFailure::Other),
        },
        Failure::Ambiguous { why: _, wait } => Err(LookFailure::NoAnswer { wait }),
        Failure::Client { .. } => Err(LookFailure::Other),
    }
}

/// The message of an error body: `error.message` of Cal.com's own envelope, `message` of Nest's default one. `None` for
/// everything else: HTML of a proxy, a list of validation errors.
pub(crate) fn message(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let own = value.get("error").and_then(|error| error.get("message"));
    own.or_else(|| value.get("message"))?.as_str().map(str::to_owned)
}

/// What an error before the head of an answer means.
pub(crate) fn of_sending(error: &reqwest::Error) -> Failure {
    // `is_connect` is DNS, TCP and TLS, all before the first byte of the request; a builder error is before that.
    if error.is_connect() || error.is_builder() { Failure::NotSent { wait: None } } else { of_reading(error) }
}

/// What an error after the head of an answer means.
pub(crate) fn of_reading(error: &reqwest::Error) -> Failure {
    Failure::unknown(if error.is_timeout() { Ambiguity::Timeout } else { Ambiguity::Reset })
}

/// What a request that was let out tells of Cal.com.
pub(crate) fn heard<T>(result: &Result<T, Failure>) -> Heard {
    match result {
        Ok(_) | Err(Failure::Client { .. } | Failure::UnusableKey) => Heard::Answered,
        Err(Failure::Throttled { wait }) => Heard::Throttled(*wait),
        Err(Failure::NotSent { .. }) => Heard::NotSent,
        Err(Failure::Ambiguous { .. }) => Heard::Ambiguous,
    }
}

/// Cal.com blocks for 60 s.
const WAIT_DEFAULT: Duration = Duration::from_secs(60);
/// More than this is no number of seconds (documents of others call the header a Unix timestamp).
const WAIT_MAX_SECONDS: u64 = 3_600;

/// How long a throttled key rests: the longest of the `X-RateLimit-Reset-*` headers, in seconds.
pub(crate) fn wait<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Duration {
    headers
        .filter(|(name, _)| name.starts_with("x-ratelimit-reset"))
        .filter_map(|(_, value)| std::str::from_utf8(value).ok()?.trim().parse::<u64>().ok())
        .filter(|seconds| *seconds <= WAIT_MAX_SECONDS)
        .max()
        .map_or(WAIT_DEFAULT, |seconds| Duration::from_secs(seconds.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "oldoldoldoldoldoldold1";

    fn refused(asked: Asked<'_>, status: u16, message: &str) -> Answer {
        answer(asked, Failure::Client { status, message: Some(message.to_owned()) })
    }

    #[test]
    fn every_row_means_what_it_says_for_what_it_is_about_and_nothing_elsewhere() {
        let all = [Asked::Create, Asked::Cancel { uid: UID }, Asked::Reschedule { uid: UID }];
        for Row(on, at, text, means) in TABLE {
            let message = match text {
                Whole(text) | Begins(text) => (*text).to_owned(),
                AboutUid(before, after) | AboutUidBegins(before, after) => format!("{before}{UID}{after}"),
            };
            let statuses: &[u16] = match at {
                Only(only) => &[*only],
                Any => &[400, 403, 409, 422],
            };
            for &status in statuses {
                for asked in all {
                    let expected = match (on.covers(asked), means) {
                        (true, Taken) => Answer::Taken { status },
                        (true, AlreadyCancelled) => Answer::AlreadyCancelled,
                        (true, NotFound) => Answer::NotFound,
                        (true, Means::Refused(reason)) => Answer::Refused { status, reason: *reason },
                        (false, _) if status == 409 && Booking.covers(asked) => Answer::Taken { status },
                        (false, _) => Answer::Misconfigured { status },
                    };
                    assert_eq!(refused(asked, status, &message), expected, "{asked:?} {status} {message}");
                    if let (Only(_), true) = (at, on.covers(asked)) {
                        let elsewhere = refused(asked, 418, &message);
                        assert_eq!(elsewhere, Answer::Misconfigured { status: 418 }, "{message}");
                    }
                    let longer = format!("Error: {message}");
                    assert!(matches!(
                        refused(asked, status, &longer),
                        Answer::Misconfigured { .. } | Answer::Taken { status: 409 }
                    ));
                }
            }
        }
    }

    #[test]
    fn a_text_about_another_booking_is_not_about_ours() {
        let message = "Can't cancel booking with uid=another because it has been cancelled already. \
                       Please provide uid of a booking that is not cancelled.";
        assert_eq!(refused(Asked::Cancel { uid: UID }, 400, message), Answer::Misconfigured { status: 400 });
        let message = "Booking with uid=another not found";
        assert_eq!(refused(Asked::Cancel { uid: UID }, 404, message), Answer::Misconfigured { status: 404 });
        let failure = Failure::Client { status: 404, message: Some(message.to_owned()) };
        assert_eq!(look(Asked::Get { uid: UID }, failure), Err(LookFailure::Other));
    }

    #[test]
    fn messages_of_both_envelopes_and_of_none() {
        assert_eq!(message(br#"{"status":"error","error":{"code":"X","message":"a"}}"#).as_deref(), Some("a"));
        assert_eq!(message(br#"{"statusCode":409,"message":"b"}"#).as_deref(), Some("b"));
        assert_eq!(message(br#"{"statusCode":404,"message":"c","error":"Not Found"}"#).as_deref(), Some("c"));
        for none in [&b""[..], b"<html>502</html>", b"[]", b"null", b"{}", br#"{"message":["a"]}"#, b"\xff", b"\"a\""] {
            assert_eq!(message(none), None);
        }
    }

    #[test]
    fn waits() {
        let of = |headers: &[(&'static str, &'static str)]| {
            wait(headers.iter().map(|(name, value)| (*name, value.as_bytes()))).as_secs()
        };
        assert_eq!(of(&[]), 60);
        assert_eq!(of(&[("x-ratelimit-reset-default", "37")]), 37);
        assert_eq!(of(&[("x-ratelimit-reset-default", "7"), ("x-ratelimit-reset-burst", "41")]), 41);
        assert_eq!(of(&[("x-ratelimit-reset-default", "0")]), 1);
        assert_eq!(of(&[("x-ratelimit-reset-default", "1760700000")]), 60);
        assert_eq!(of(&[("x-ratelimit-reset-default", "-1")]), 60);
        assert_eq!(of(&[("x-ratelimit-reset-default", "soon")]), 60);
        assert_eq!(of(&[("x-ratelimit-limit-default", "120")]), 60);
    }
}
