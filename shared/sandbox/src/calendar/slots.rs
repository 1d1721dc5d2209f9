//! What is free: each start on the event type's own grid that a booking made at this moment would get. Deliberately
//! absent: working hours. A host here works day and night, as bookings are accepted day and night.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::Calendar;
use crate::answer::Refusal;
use crate::booking::{Booking, Status};
use crate::replica::Unseen;
use crate::slots::SlotsQuery;

/// Nobody is told more than so many days.
const DAYS_MAX: i64 = 366;

impl Calendar {
    /// The free starts by the day on which they lie, as far as a reader sees what is booked.
    pub(crate) fn slots(&self, query: &SlotsQuery, unseen: &Unseen<'_>, now: DateTime<Utc>) -> Result<Value, Refusal> {
        let event_type = self.wanted(&query.wanted)?;
        let step = TimeDelta::minutes(i64::from(event_type.length_minutes));
        let length = query.minutes.map_or(step, |minutes| TimeDelta::minutes(i64::from(minutes)));
        let to = query.to.min(query.from + TimeDelta::days(DAYS_MAX));
        let busy = self.seen_busy(event_type.host.id, query.from, to + length, unseen);
        let mut days = Map::new();
        // The grid lies from midnight of the first day on; what is past is none.
        let midnight = query.from.timestamp().div_euclid(86_400) * 86_400;
        let mut start = DateTime::from_timestamp(midnight, 0).unwrap_or(query.from);
        while start < to {
            let end = start + length;
            if start >= query.from && start >= now && !busy.iter().any(|(from, until)| *from < end && start < *until) {
                let written =
                    |at: DateTime<Utc>| at.with_timezone(&query.time_zone).to_rfc3339_opts(SecondsFormat::Millis, true);
                let mut slot = json!({ "start": written(start) });
                if query.with_end {
                    slot["end"] = written(end).into();
                }
                let day = start.with_timezone(&query.time_zone).format("%Y-%m-%d").to_string();
                if let Some(slots) = days.entry(day).or_insert_with(|| json!([])).as_array_mut() {
                    slots.push(slot);
                }
            }
            start += step;
        }
        Ok(Value::Object(days))
    }

    /// When the host is busy between these, as a reader sees it.
    fn seen_busy(
        &self,
        host: i64,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        unseen: &Unseen<'_>,
    ) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
        let there = self.by_start.range((from - self.longest, 0)..(to, 0)).map(|(_, id)| &self.bookings[id]);
        let seen = there.filter_map(|booking| unseen.get(booking.uid.as_str()).copied().unwrap_or(Some(booking)));
        let deleted = unseen.iter().filter(|(uid, _)| !self.by_uid.contains_key(**uid)).filter_map(|(_, it)| *it);
        let excludes = |booking: &&Booking| booking.status == Status::Accepted && booking.host.id == host;
        seen.chain(deleted).filter(excludes).map(|booking| (booking.start, booking.end)).collect()
    }
}
