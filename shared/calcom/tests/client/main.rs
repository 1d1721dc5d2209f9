//! The client of Cal.com against peers that this test runs itself: what is sent byte for byte, and what each answer,
//! broken connection and silence becomes.
//!
//! Deliberately absent: the sandbox (it would share our misunderstandings) and the network.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod gate;
mod looks;
mod mutations;
mod peer;
mod slots;
mod transport;

use std::sync::Arc;
use std::time::{Duration, Instant};

use calcom::{Attendee, Client, ClientSettings, Create, MarkerKeys};
use chrono::{DateTime, Utc};
use domain::answer::BookingUid;
use gate::Doorman;
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) const COMPANY: i32 = 7;
pub(crate) const LINEAGE: Uuid = Uuid::from_u128(0x0190_f5a2_7c3e_7b11_8a4d_5e6f_7081_92a3);
pub(crate) const UID: &str = "bfkkD7vGq3a9X2cWmRtYzP";
pub(crate) const NEW_UID: &str = "newwD7vGq3a9X2cWmRtYzP";

pub(crate) fn settings(base_url: String) -> ClientSettings {
    ClientSettings {
        base_url,
        timeout: Duration::from_secs(5),
        bookings_version: "2024-08-13".to_owned(),
        slots_version: "2024-09-04".to_owned(),
        body_max_bytes: 1 << 20,
        allow_insecure: false,
    }
}

pub(crate) fn client(base_url: String) -> Client {
    Client::new(settings(base_url), Arc::new(Doorman::default())).unwrap()
}

pub(crate) fn key() -> SecretString {
    SecretString::from("cal_test_0123456789secret")
}

pub(crate) fn markers() -> MarkerKeys {
    MarkerKeys::new(vec![("k1".to_owned(), SecretString::from("0123456789abcdef0123456789abcdef"))]).unwrap()
}

pub(crate) fn uid() -> BookingUid {
    BookingUid::from(UID.to_owned())
}

pub(crate) fn at(instant: &str) -> DateTime<Utc> {
    instant.parse().unwrap()
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

pub(crate) fn ask() -> Create<'static> {
    Create {
        event_type_id: 123,
        start: at("2050-09-05T09:00:00Z"),
        attendee: Attendee {
            name: "Jürgen Müßiggang",
            email: Some("juergen@example.com"),
            phone_e164: Some("+4915112345678"),
            time_zone: "Europe/Berlin",
            language: "de",
        },
        lineage: LINEAGE,
        company: COMPANY,
    }
}

/// A booking as Cal.com answers with it.
pub(crate) fn booking() -> Value {
    let marker = markers().sign(COMPANY, LINEAGE);
    json!({
        "id": 4711,
        "uid": UID,
        "title": "Haarschnitt between Anna and Jürgen Müßiggang",
        "description": "",
        "hosts": [{"id": 42, "name": "Anna", "email": "anna@example.com", "displayEmail": "anna@example.com",
            "username": "anna", "timeZone": "Europe/Berlin"}],
        "status": "accepted",
        "start": "2050-09-05T09:00:00.000Z",
        "end": "2050-09-05T09:30:00.000Z",
        "duration": 30,
        "eventTypeId": 123,
        "eventType": {"id": 123, "slug": "haarschnitt"},
        "location": "+4915112345678",
        "meetingUrl": null,
        "absentHost": false,
        "createdAt": "2050-09-01T08:15:30.123Z",
        "updatedAt": null,
        "metadata": {"gateway_key": marker.key, "gateway_mac": marker.mac},
        "rating": null,
        "icsUid": "bfkkD7vGq3a9X2cWmRtYzP@Cal.com",
        "attendees": [{"name": "Jürgen Müßiggang", "email": "juergen@example.com", "timeZone": "Europe/Berlin",
            "language": "de", "absent": false, "phoneNumber": "+4915112345678"}],
        "guests": [],
        "bookingFieldsResponses": {"name": "Jürgen Müßiggang"},
        "cancellationReason": ""
    })
}

/// The booking with some fields replaced.
pub(crate) fn booking_with(fields: Value) -> Value {
    let mut booking = booking();
    for (field, value) in fields.as_object().unwrap() {
        booking[field] = value.clone();
    }
    booking
}

pub(crate) fn success(data: Value) -> String {
    json!({"status": "success", "data": data}).to_string()
}
