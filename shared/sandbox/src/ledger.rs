//! The ledger: what arrived, what took effect, what became of each reply. Append-only; an entry is written under the
//! same lock as the change that it tells of, so `seq` is the true order. Nothing here interprets or removes an entry.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use crate::fault::Fault;

/// One line of the ledger. Every key is always present in JSON, `null` where it does not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// 1, 2, 3 … without gaps.
    pub seq: u64,
    /// The sandbox's clock when the entry was written; RFC 3339 with microseconds.
    #[serde(serialize_with = "micros")]
    pub at: DateTime<Utc>,
    /// Which of the three moments of a request this is.
    pub what: What,
    /// Number of the request, 1, 2, 3 … in order of arrival; ties its entries together.
    pub request: u64,
    /// HTTP method; a read is a `GET`.
    pub method: String,
    /// Path without the query, e.g. `/v2/bookings`.
    pub path: String,
    /// `metadata.gateway_key` of a create, or of the booking that a cancel or reschedule names. `null` for reads.
    pub marker: Option<String>,
    /// Event type of that booking.
    pub event_type_id: Option<i64>,
    /// Start asked for (create, reschedule) or start of the booking named (cancel); `null` if unreadable.
    #[serde(serialize_with = "millis_or_null")]
    pub start: Option<DateTime<Utc>>,
    /// The booking: the one named by the path on arrival; the one made, once it is made.
    pub uid: Option<String>,
    /// Of a reschedule's effect: the uid that was replaced.
    pub previous_uid: Option<String>,
    /// What changed; set if and only if `what` is `effect`.
    pub effect: Option<Effect>,
    /// HTTP status of the reply, set only if `what` is `reply`; `null` where a fault left nothing to say.
    pub status: Option<u16>,
    /// What became of the reply; set if and only if `what` is `reply`.
    pub fate: Option<Fate>,
    /// Which API key called, numbered by first appearance (1, 2, 3 …); `null` without a good key, and for others.
    pub key: Option<u64>,
    /// Whether the limiter turned the request away, in each of its entries.
    pub throttled: bool,
    /// The fault that befell the request, in each of its entries; the one key that is left out where it does not apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// The moments of a request: one arrival, at most one effect, one reply, in this order; only a fault that says so
/// has the effect after the reply. A request whose body never came completely is no arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The request is here completely; nothing has been checked.
    Arrival,
    /// The state has changed.
    Effect,
    /// The reply has been handed to the connection, or it is certain that it never will be.
    Reply,
}

/// What a request changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// A booking exists that did not.
    Created,
    /// A booking is cancelled that was not.
    Cancelled,
    /// One booking is cancelled and another one replaces it.
    Rescheduled,
    /// A pending booking is accepted.
    Confirmed,
    /// A pending booking is rejected.
    Declined,
    /// A booking has another host.
    Reassigned,
    /// A booking is gone, as if it had never been.
    Deleted,
}

/// What became of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// Handed to the connection. It can still be lost on the way: only the client knows.
    Sent,
    /// The client had closed the connection before, or a fault withheld the reply or cut it in the middle.
    Dropped,
    /// Handed to the connection, after a fault had held it back.
    Late,
}

/// What a request is about, as far as is known; copied into each of its entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) marker: Option<String>,
    pub(crate) event_type_id: Option<i64>,
    pub(crate) start: Option<DateTime<Utc>>,
    pub(crate) uid: Option<String>,
    pub(crate) key: Option<u64>,
    pub(crate) throttled: bool,
    pub(crate) fault: Option<Fault>,
}

impl Subject {
    /// What tells this request from others: the same for a repetition of it.
    pub(crate) fn name(&self) -> String {
        format!("{:?} {:?} {:?}", self.marker, self.uid, self.start)
    }
}

/// The entries so far.
#[derive(Default)]
pub(crate) struct Ledger {
    entries: Vec<Entry>,
}

impl Ledger {
    pub(crate) fn arrival(&mut self, at: DateTime<Utc>, request: u64, subject: &Subject) {
        self.append(at, What::Arrival, request, subject);
    }

    pub(crate) fn effect(
        &mut self,
        at: DateTime<Utc>,
        request: u64,
        subject: &Subject,
        effect: Effect,
        previous_uid: Option<String>,
    ) {
        let entry = self.append(at, What::Effect, request, subject);
        entry.effect = Some(effect);
        entry.previous_uid = previous_uid;
    }

    pub(crate) fn reply(
        &mut self,
        at: DateTime<Utc>,
        request: u64,
        subject: &Subject,
        status: Option<u16>,
        fate: Fate,
    ) {
        let entry = self.append(at, What::Reply, request, subject);
        entry.status = status;
        entry.fate = Some(fate);
    }

    /// The entries with `seq` greater than `after_seq`.
    pub(crate) fn since(&self, after_seq: u64) -> &[Entry] {
        let skip = usize::try_from(after_seq).unwrap_or(usize::MAX).min(self.entries.len());
        &self.entries[skip..]
    }

    fn append(&mut self, at: DateTime<Utc>, what: What, request: u64, subject: &Subject) -> &mut Entry {
        let Subject { method, path, marker, event_type_id, start, uid, key, throttled, fault } = subject.clone();
        let seq = self.entries.len() as u64 + 1;
        self.entries.push(Entry {
            seq,
            at,
            what,
            request,
            method,
            path,
            marker,
            event_type_id,
            start,
            uid,
            previous_uid: None,
            effect: None,
            status: None,
            fate: None,
            key,
            throttled,
            fault,
        });
        let last = self.entries.len() - 1;
        &mut self.entries[last]
    }
}

/// The most requests of one API key that arrived in any stretch of so long a time, turned away or not; those without a
/// key count as of one more. A client that never exceeds `n` in `window` is never throttled by a limit of `n` in it.
pub fn most_in_any(ledger: &[Entry], window: Duration) -> usize {
    let mut arrivals: HashMap<Option<u64>, Vec<DateTime<Utc>>> = HashMap::new();
    for entry in ledger.iter().filter(|entry| entry.what == What::Arrival) {
        arrivals.entry(entry.key).or_default().push(entry.at);
    }
    let most = |mut moments: Vec<DateTime<Utc>>| {
        moments.sort_unstable();
        let within = |first: usize| moments[first..].partition_point(|&at| at < moments[first] + window);
        (0..moments.len()).map(within).max().unwrap_or_default()
    };
    arrivals.into_values().map(most).max().unwrap_or_default()
}

fn micros<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

fn millis_or_null<S: Serializer>(start: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match start {
        Some(start) => serializer.serialize_some(&start.to_rfc3339_opts(SecondsFormat::Millis, true)),
        None => serializer.serialize_none(),
    }
}
