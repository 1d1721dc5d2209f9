//! One booking, and how API v2 shows it. Deliberately absent: who may change it and when (calendar.rs).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::answer::iso;
use crate::config::Host;

/// A booking as the sandbox keeps it. Only others than the API can remove one.
#[derive(Clone, Debug, PartialEq)]
pub struct Booking {
    /// Number in the database; not accepted in any path.
    pub id: i64,
    /// Name in paths: 22 random alphanumerics. Whoever knows it may read, cancel and reschedule.
    pub uid: String,
    /// `<event> between <host> and <attendee>`.
    pub title: String,
    /// The host at the time of booking.
    pub host: Host,
    /// Where it stands.
    pub status: Status,
    /// Empty unless a cancellation gave one.
    pub cancellation_reason: String,
    /// Empty unless an authenticated caller cancelled: then the host's address.
    pub cancelled_by: String,
    /// Empty unless the host declined and gave one. The API does not show it, a webhook does.
    pub rejection_reason: String,
    /// Given by the reschedule that made this booking.
    pub rescheduling_reason: Option<String>,
    /// `rescheduledBy` of the reschedule that replaced or made this booking.
    pub rescheduled_by: Option<String>,
    /// The booking that this one replaces.
    pub rescheduled_from_uid: Option<String>,
    /// The booking that replaces this one.
    pub rescheduled_to_uid: Option<String>,
    /// First moment, inclusive.
    pub start: DateTime<Utc>,
    /// Last moment, exclusive.
    pub end: DateTime<Utc>,
    /// What was booked.
    pub event_type_id: i64,
    /// Its slug at the time of booking.
    pub event_type_slug: String,
    /// Phone number, address or link; `integrations:daily` if none was given.
    pub location: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed; when it was made, if never.
    pub updated_at: DateTime<Utc>,
    /// The caller's own; inherited by reschedules.
    pub metadata: BTreeMap<String, String>,
    /// `<first uid>@Cal.com`; inherited by reschedules.
    pub ics_uid: String,
    /// 0 for a new booking; one more for each reschedule and for the cancellation. Only webhooks show it.
    pub ics_sequence: u32,
    /// Who booked.
    pub attendee: Attendee,
    /// Further e-mail addresses.
    pub guests: Vec<String>,
    /// Answers to the booking form.
    pub responses: Map<String, Value>,
}

/// Where a booking stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It excludes others at its host.
    Accepted,
    /// It waits for the host and excludes nobody.
    Pending,
    /// It was cancelled or replaced.
    Cancelled,
    /// The host has declined it.
    Rejected,
}

impl Status {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Pending => "pending",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
        }
    }

    /// Whether anybody still expects to come.
    pub(crate) fn is_live(self) -> bool {
        matches!(self, Self::Accepted | Self::Pending)
    }
}

/// Who booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attendee {
    /// Full name.
    pub name: String,
    /// As given, or `<digits>@sms.cal.com` for an attendee without one.
    pub email: String,
    /// E.164, as given.
    pub phone_number: Option<String>,
    /// IANA time zone.
    pub time_zone: String,
    /// One of Cal.com's 43 languages.
    pub language: String,
}

impl Booking {
    /// The gateway's marker, `metadata.gateway_key`.
    pub fn marker(&self) -> Option<&str> {
        self.metadata.get("gateway_key").map(String::as_str)
    }

    /// The texts in which a marker for a later request may stand.
    pub(crate) fn texts(&self) -> Vec<&str> {
        let metadata = self.metadata.values().map(String::as_str);
        [self.attendee.name.as_str(), self.attendee.email.as_str()].into_iter().chain(metadata).collect()
    }

    /// The `data` of API v2's replies. `displayEmail` repeats `email`: they differ only for managed users, which the
    /// sandbox has not. `rating` is left out while unrated: the real server sends a `null` that its own published
    /// schema forbids.
    pub fn wire(&self) -> Value {
        let mut attendee = json!({
            "name": self.attendee.name,
            "email": self.attendee.email,
            "displayEmail": self.attendee.email,
            "timeZone": self.attendee.time_zone,
            "language": self.attendee.language,
            "absent": false,
        });
        if let Some(phone_number) = &self.attendee.phone_number {
            attendee["phoneNumber"] = json!(phone_number);
        }
        let mut data = json!({
            "id": self.id,
            "uid": self.uid,
            "title": self.title,
            "description": "",
            "hosts": [{
                "id": self.host.id,
                "name": self.host.name,
                "email": self.host.email,
                "displayEmail": self.host.email,
                "username": self.host.username,
                "timeZone": self.host.time_zone,
            }],
            "status": self.status.as_str(),
            "cancellationReason": self.cancellation_reason,
            "cancelledByEmail": self.cancelled_by,
            "start": iso(self.start),
            "end": iso(self.end),
            "duration": (self.end - self.start).num_minutes(),
            "eventTypeId": self.event_type_id,
            "eventType": { "id": self.event_type_id, "slug": self.event_type_slug },
            "location": self.location,
            "meetingUrl": self.location,
            "absentHost": false,
            "createdAt": iso(self.created_at),
            "updatedAt": iso(self.updated_at),
            "metadata": self.metadata,
            "icsUid": self.ics_uid,
            "attendees": [attendee],
            "bookingFieldsResponses": self.responses,
        });
        if !self.guests.is_empty() {
            data["guests"] = json!(self.guests);
        }
        let when_set = [
            ("reschedulingReason", &self.rescheduling_reason),
            ("rescheduledByEmail", &self.rescheduled_by),
            ("rescheduledFromUid", &self.rescheduled_from_uid),
            ("rescheduledToUid", &self.rescheduled_to_uid),
        ];
        for (key, value) in when_set {
            if let Some(value) = value {
                data[key] = json!(value);
            }
        }
        data
    }
}
