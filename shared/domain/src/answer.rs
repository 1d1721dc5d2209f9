//! What one request to Cal.com told us; nothing here decides anything.
//!
//! Deliberately absent: how the answer was got (`calcom`), what follows from it (`outcome`, `op`), and every word of
//! Cal.com's own error texts: past this edge they do not exist.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Names a booking at Cal.com, and lets whoever holds it read, move and cancel that booking without any credentials:
/// a capability. Never logged whole, never a key, never given to the voice agent.
#[derive(Clone, PartialEq, Eq)]
pub struct BookingUid(String);

impl BookingUid {
    /// The whole uid: for the record and for the next request to Cal.com, nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for BookingUid {
    fn from(uid: String) -> Self {
        Self(uid)
    }
}

impl fmt::Debug for BookingUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid:{}…", self.0.chars().take(4).collect::<String>())
    }
}

/// What Cal.com says a booking is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BookingStatus {
    /// It stands.
    Accepted,
    /// The business has to confirm it; until then it keeps nobody else out.
    Pending,
    /// Cancelled, or moved: then `rescheduled_to` says where it went.
    Cancelled,
    /// The business declined to confirm it.
    Rejected,
    /// A word that we do not know: for a person.
    Unknown,
}

impl BookingStatus {
    /// Its word, in Cal.com's JSON as in the record.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Pending => "pending",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown",
        }
    }

    /// Reads its word; any other is `Unknown`.
    #[must_use]
    pub fn read(word: &str) -> Self {
        let known = [Self::Accepted, Self::Pending, Self::Cancelled, Self::Rejected];
        known.into_iter().find(|status| status.as_str() == word).unwrap_or(Self::Unknown)
    }
}

/// A booking as Cal.com has it. Its times and its host are Cal.com's claims: compare them with what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// Its name at Cal.com; a reschedule gives it a new one.
    pub uid: BookingUid,
    /// What it is now.
    pub status: BookingStatus,
    /// When it begins.
    pub start: DateTime<Utc>,
    /// When it ends; always after `start`.
    pub end: DateTime<Utc>,
    /// The event type that was booked.
    pub event_type_id: i64,
    /// The first host, if Cal.com still knows one.
    pub host_id: Option<i64>,
    /// When Cal.com wrote it, by Cal.com's clock.
    pub created_at: DateTime<Utc>,
    /// When Cal.com last changed it, by Cal.com's clock.
    pub updated_at: Option<DateTime<Utc>>,
    /// The lineage of the segment that it was made for, only if the marker's MAC was valid.
    pub marker: Option<Uuid>,
    /// The booking that replaced this one.
    pub rescheduled_to: Option<BookingUid>,
    /// The booking that this one replaced.
    pub rescheduled_from: Option<BookingUid>,
}

/// Why Cal.com will not do it, now or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Outside the event type's booking window or inside its minimum notice.
    OutOfBounds,
    /// The time has passed.
    InThePast,
    /// This customer has as many bookings as the business allows.
    LimitReached,
    /// The business does not allow it: no cancellations, or too late to reschedule.
    NotAllowed,
}

/// Why it is not known what a request did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// No answer before the deadline.
    Timeout,
    /// The connection broke after the request may have been written, or while the answer was read.
    Reset,
    /// A status of 500 or more: Cal.com answers so about bookings that exist, too.
    ServerError(u16),
    /// An answer that is not what was asked for: too long, not JSON, not a booking.
    BadBody,
    /// An answer that points elsewhere; it was not followed.
    Redirect,
}

/// What a mutating request came back with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 2xx with a booking: done.
    Applied(Booking),
    /// The time is taken, or the booking was already moved, perhaps by ourselves: look before believing it.
    Taken {
        /// The HTTP status.
        status: u16,
    },
    /// Cancel only: it had been cancelled before.
    AlreadyCancelled,
    /// Cancel and reschedule only: Cal.com does not find the booking.
    NotFound,
    /// Refused for good.
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why.
        reason: Refused,
    },
    /// Every other 4xx: our bug or somebody's configuration.
    Misconfigured {
        /// The HTTP status.
        status: u16,
    },
    /// No byte of the request left this process: not done.
    NotSent {
        /// For how long it is of no use to try again, if that is known.
        wait: Option<Duration>,
    },
    /// 429: not done, and this Cal.com key rests.
    Throttled {
        /// For how long.
        wait: Duration,
    },
    /// It may have been done.
    Unknown {
        /// Why that is not known.
        why: Ambiguity,
    },
}

/// A read that failed. It says nothing about what Cal.com has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookFailure {
    /// No connection, or not yet allowed.
    NotSent {
        /// For how long it is of no use to try again, if that is known.
        wait: Option<Duration>,
    },
    /// 429: this Cal.com key rests.
    Throttled {
        /// For how long.
        wait: Duration,
    },
    /// 401 or 403: the key is not valid for this.
    Unauthorized,
    /// Timeout, reset, 5xx, redirect.
    NoAnswer {
        /// For how long it is of no use to try again, if that is known.
        wait: Option<Duration>,
    },
    /// Anything else: an answer that could not be read or is not Cal.com's.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_four_characters_of_a_uid() {
        let uid = BookingUid::from("bfkkD7vGq3a9X2cWmRtYzP".to_owned());
        assert_eq!(format!("{uid:?}"), "uid:bfkk…");
        assert_eq!(uid.expose(), "bfkkD7vGq3a9X2cWmRtYzP");
        assert_eq!(format!("{:?}", BookingUid::from("äöüß€".to_owned())), "uid:äöüß…");
        assert_eq!(format!("{:?}", BookingUid::from(String::new())), "uid:…");
    }
}
