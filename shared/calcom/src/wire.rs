//! Cal.com's JSON as it has it (bookings, `cal-api-version` 2024-08-13), and the step from it to a [`Booking`].
//!
//! Types are strict and strings bounded where we rely on them; what we do not read (attendees, titles, locations) is not
//! even deserialised, so nothing personal of an answer stays in memory. Deliberately absent: fields that we never send.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use domain::answer::{Booking, BookingStatus, BookingUid};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::marker::{KEY_FIELD, MAC_FIELD, MarkerKeys};

/// Cal.com's uids have 22 characters.
const UID_BYTES_MAX: usize = 64;

/// An instant as Cal.com's inputs want it: with seconds, always `Z` (without an offset it would be read as UTC anyway).
pub(crate) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Whether a uid can stand in a path without changing it.
pub(crate) fn is_uid(uid: &str) -> bool {
    !uid.is_empty()
        && uid.len() <= UID_BYTES_MAX
        && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateBody<'a> {
    pub(crate) event_type_id: i64,
    pub(crate) start: String,
    pub(crate) attendee: AttendeeBody<'a>,
    pub(crate) metadata: MetadataBody,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttendeeBody<'a> {
    pub(crate) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<&'a str>,
    pub(crate) time_zone: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) phone_number: Option<&'a str>,
    pub(crate) language: &'a str,
}

/// Strings only: Cal.com's deeper layers refuse other values that its outer one accepts.
#[derive(Serialize)]
pub(crate) struct MetadataBody {
    pub(crate) gateway_key: String,
    pub(crate) gateway_mac: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CancelBody<'a> {
    pub(crate) cancellation_reason: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RescheduleBody<'a> {
    pub(crate) start: String,
    pub(crate) rescheduling_reason: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListParameters {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event_type_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after_start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before_end: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after_updated_at: Option<String>,
    /// So that a booking made between two pages lands on the last one, and moves none of the others.
    pub(crate) sort_created: &'static str,
    pub(crate) take: u32,
    pub(crate) skip: u32,
}

#[derive(Deserialize)]
struct Success<T> {
    status: String,
    data: T,
}

#[derive(Deserialize)]
struct PageBody {
    status: String,
    data: Vec<Value>,
    pagination: Pagination,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pagination {
    has_next_page: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookingBody {
    uid: String,
    status: String,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    event_type_id: i64,
    /// Read leniently: when the user is gone its id, or all of it, is the word "unknown".
    #[serde(default)]
    hosts: Value,
    created_at: DateTime<Utc>,
    #[serde(default)]
    updated_at: Option<DateTime<Utc>>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    rescheduled_to_uid: Option<String>,
    #[serde(default)]
    rescheduled_from_uid: Option<String>,
}

#[derive(Deserialize)]
struct SlotBody {
    start: DateTime<Utc>,
}

/// The starts of a 2xx to a question for slots, earliest first. `None`: not the envelope, or a start that cannot be read.
pub(crate) fn slots(body: &[u8]) -> Option<Vec<DateTime<Utc>>> {
    let days: Success<BTreeMap<String, Vec<SlotBody>>> = serde_json::from_slice(body).ok()?;
    if days.status != "success" {
        return None;
    }
    let mut starts: Vec<_> = days.data.into_values().flatten().map(|slot| slot.start).collect();
    starts.sort_unstable();
    starts.dedup();
    Some(starts)
}

/// The booking of a 2xx. `None`: not the envelope, not a booking, or one that makes no sense; a recurring or seated
/// event type answers with an array, which is none of ours.
pub(crate) fn booking(body: &[u8], markers: &MarkerKeys, company: i32) -> Option<Booking> {
    let success: Success<BookingBody> = serde_json::from_slice(body).ok()?;
    if success.status == "success" { success.data.into_booking(markers, company) } else { None }
}

/// One page of a list.
pub(crate) struct Page {
    /// What could be read.
    pub(crate) bookings: Vec<Booking>,
    /// How many entries the page had, readable or not.
    pub(crate) entries: u32,
    /// How many of them could not be read, and bear nothing of ours.
    pub(crate) unreadable: u32,
    /// Whether another page follows.
    pub(crate) more: bool,
}

/// A page of a list. `None`: not the envelope, or an entry that bears our marker and cannot be read: passing
/// over it could hide a booking of ours. Other people's unreadable bookings are counted and left out.
pub(crate) fn page(body: &[u8], markers: &MarkerKeys, company: i32) -> Option<Page> {
    let PageBody { status, data, pagination } = serde_json::from_slice(body).ok()?;
    if status != "success" {
        return None;
    }
    let entries = u32::try_from(data.len()).ok()?;
    let mut bookings = Vec::with_capacity(data.len());
    let mut unreadable = 0;
    for entry in data {
        let word = |field| entry.get("metadata")?.get(field)?.as_str();
        let ours = word(KEY_FIELD).zip(word(MAC_FIELD)).and_then(|(key, mac)| markers.verify(company, key, mac));
        match BookingBody::deserialize(entry).ok().and_then(|body| body.into_booking(markers, company)) {
            Some(booking) => bookings.push(booking),
            None if ours.is_some() => return None,
            None => unreadable += 1,
        }
    }
    Some(Page { bookings, entries, unreadable, more: pagination.has_next_page })
}

impl BookingBody {
    fn into_booking(self, markers: &MarkerKeys, company: i32) -> Option<Booking> {
        if self.start >= self.end {
            return None;
        }
        let word = |field| self.metadata.as_ref()?.get(field)?.as_str();
        let marker = word(KEY_FIELD).zip(word(MAC_FIELD)).and_then(|(key, mac)| markers.verify(company, key, mac));
        Some(Booking {
            status: BookingStatus::read(&self.status),
            start: self.start,
            end: self.end,
            event_type_id: self.event_type_id,
            host_id: self.hosts.get(0).and_then(|host| host.get("id")?.as_i64()),
            created_at: self.created_at,
            updated_at: self.updated_at,
            marker,
            uid: uid(self.uid)?,
            rescheduled_to: other_uid(self.rescheduled_to_uid)?,
            rescheduled_from: other_uid(self.rescheduled_from_uid)?,
        })
    }
}

fn uid(uid: String) -> Option<BookingUid> {
    is_uid(&uid).then(|| BookingUid::from(uid))
}

/// `Some(None)`: there is no other booking, however that is written.
#[allow(clippy::option_option, reason = "the outer one is whether it can be read, for `?`")]
fn other_uid(written: Option<String>) -> Option<Option<BookingUid>> {
    match written {
        None => Some(None),
        Some(empty) if empty.is_empty() => Some(None),
        Some(written) => uid(written).map(Some),
    }
}
