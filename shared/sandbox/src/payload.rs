//! What a webhook says. Its fields are those of Cal.com's version 2021-10-20, its unevenness included: the format of
//! times, metadata and iCalendar fields differ by the code that sends it. Deliberately absent: who is told, and when.

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::{OffsetComponents, Tz};
use serde_json::{Map, Value, json};

use crate::answer::iso;
use crate::booking::{Booking, Status};
use crate::config::EventType;
use crate::webhook::Trigger;

/// Something that has happened to a booking, or in the case of a cancellation is about to.
pub(crate) struct Event {
    /// The booking as it is then.
    pub(crate) booking: Booking,
    /// What it is a booking of, if that is still there.
    pub(crate) event_type: Option<EventType>,
    pub(crate) occasion: Occasion,
}

/// What has happened.
pub(crate) enum Occasion {
    Made,
    /// It replaces this one. From Cal.com's own pages, which send no metadata along, if not from the API.
    Moved {
        previous: Box<Booking>,
        through_the_api: bool,
    },
    Confirmed,
    Declined,
    Cancelled,
}

impl Event {
    pub(crate) fn trigger(&self) -> Trigger {
        let pending = self.booking.status == Status::Pending;
        match &self.occasion {
            Occasion::Made | Occasion::Moved { .. } if pending => Trigger::BookingRequested,
            Occasion::Made | Occasion::Confirmed => Trigger::BookingCreated,
            Occasion::Moved { .. } => Trigger::BookingRescheduled,
            Occasion::Declined => Trigger::BookingRejected,
            Occasion::Cancelled => Trigger::BookingCancelled,
        }
    }

    /// The body.
    pub(crate) fn body(&self, created_at: DateTime<Utc>) -> String {
        let trigger = self.trigger().as_str();
        json!({ "triggerEvent": trigger, "createdAt": iso(created_at), "payload": self.payload() }).to_string()
    }

    fn payload(&self) -> Value {
        let booking = &self.booking;
        let event_type = self.event_type.as_ref();
        let mut payload = json!({
            "bookerUrl": "https://cal.com",
            "title": booking.title,
            "additionalNotes": "",
            "type": booking.event_type_slug,
            "description": "",
            "eventTypeId": booking.event_type_id,
            "seatsPerTimeSlot": null,
            "organizer": organizer(booking),
            "attendees": [attendee(booking)],
            "customInputs": {},
            "responses": responses(&booking.responses),
            "userFieldsResponses": {},
            "location": booking.location,
            "destinationCalendar": null,
            "requiresConfirmation": event_type.is_some_and(|it| it.requires_confirmation),
            "eventTitle": event_type.and_then(|it| it.title.as_deref()).unwrap_or(&booking.event_type_slug),
            "eventDescription": "",
            "price": 0,
            "currency": "usd",
            "length": (booking.end - booking.start).num_minutes(),
            "startTime": self.moment(booking.start),
            "endTime": self.moment(booking.end),
            "uid": booking.uid,
            "bookingId": booking.id,
            "status": booking.status.as_str().to_uppercase(),
        });
        match &self.occasion {
            Occasion::Made => payload["metadata"] = json!(booking.metadata),
            Occasion::Moved { previous, through_the_api } => {
                payload["rescheduleId"] = json!(previous.id);
                payload["rescheduleUid"] = json!(previous.uid);
                payload["rescheduleStartTime"] = json!(self.moment(previous.start));
                payload["rescheduleEndTime"] = json!(self.moment(previous.end));
                if let Some(by) = &booking.rescheduled_by {
                    payload["rescheduledBy"] = json!(by);
                }
                payload["metadata"] = if *through_the_api { json!(booking.metadata) } else { json!({}) };
            }
            // Only the link of a video call stands in the metadata of a confirmation, and the sandbox makes no calls.
            Occasion::Confirmed => {}
            Occasion::Declined => payload["rejectionReason"] = json!(booking.rejection_reason),
            Occasion::Cancelled => {
                payload["cancellationReason"] = json!(booking.cancellation_reason);
                payload["requestReschedule"] = json!(false);
                if !booking.cancelled_by.is_empty() {
                    payload["cancelledBy"] = json!(booking.cancelled_by);
                }
            }
        }
        match self.occasion {
            Occasion::Made | Occasion::Moved { .. } | Occasion::Cancelled => {
                payload["iCalUID"] = json!(booking.ics_uid);
                payload["iCalSequence"] = json!(booking.ics_sequence);
            }
            // Both are sent by the code of the host's decision, which does not load them.
            Occasion::Confirmed | Occasion::Declined => {}
        }
        payload
    }

    fn moment(&self, at: DateTime<Utc>) -> String {
        match self.occasion {
            Occasion::Made | Occasion::Moved { .. } => at.to_rfc3339_opts(SecondsFormat::Secs, true),
            Occasion::Confirmed | Occasion::Declined => iso(at),
            Occasion::Cancelled => {
                at.with_timezone(&zone(&self.booking.host.time_zone)).to_rfc3339_opts(SecondsFormat::Secs, false)
            }
        }
    }
}

fn organizer(booking: &Booking) -> Value {
    let host = &booking.host;
    json!({
        "id": host.id,
        "name": host.name,
        "email": host.email,
        "username": host.username,
        "usernameInOrg": null,
        "timeZone": host.time_zone,
        "language": { "locale": "en" },
        "timeFormat": "h:mma",
        "utcOffset": utc_offset_minutes(booking.start, &host.time_zone),
    })
}

fn attendee(booking: &Booking) -> Value {
    let attendee = &booking.attendee;
    let (first, last) = attendee.name.split_once(' ').unwrap_or((&attendee.name, ""));
    let mut shown = json!({
        "email": attendee.email,
        "name": attendee.name,
        "firstName": first,
        "lastName": last,
        "timeZone": attendee.time_zone,
        "language": { "locale": attendee.language },
        "utcOffset": utc_offset_minutes(booking.start, &attendee.time_zone),
    });
    if let Some(phone_number) = &attendee.phone_number {
        shown["phoneNumber"] = json!(phone_number);
    }
    shown
}

/// The answers to the booking form, each with the name of its label.
fn responses(given: &Map<String, Value>) -> Value {
    let made_up = ["displayEmail", "displayGuests"];
    let shown = given.iter().filter(|(slug, _)| !made_up.contains(&slug.as_str())).map(|(slug, value)| {
        let label = match slug.as_str() {
            "name" => "your_name",
            "email" => "email_address",
            "attendeePhoneNumber" => "phone_number",
            "guests" => "additional_guests",
            "rescheduledReason" => "reschedule_reason",
            slug => slug,
        };
        (slug.clone(), json!({ "label": label, "value": value, "isHidden": false }))
    });
    Value::Object(shown.collect())
}

fn utc_offset_minutes(at: DateTime<Utc>, time_zone: &str) -> i64 {
    let offset = *at.with_timezone(&zone(time_zone)).offset();
    (offset.base_utc_offset() + offset.dst_offset()).num_minutes()
}

/// A host's zone is the configuration's and may be no zone at all.
fn zone(name: &str) -> Tz {
    name.parse().unwrap_or(Tz::UTC)
}
