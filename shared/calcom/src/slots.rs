//! Cal.com's free time: one request for one event type and one range.
//!
//! Deliberately absent: reservations (they protect nobody, and hide the time from ourselves), seats, and any memory of an
//! answer: that is `availability`'s.

use chrono::{DateTime, Utc};
use domain::answer::LookFailure;
use secrecy::SecretString;

use crate::client::Client;
use crate::failure::{self, Asked};
use crate::wire;

impl Client {
    /// The starts at which this event type can be booked, from `from` on and before `to`, earliest first, as Cal.com's read
    /// replica sees them: advice. The budget grants it less than anything else.
    ///
    /// # Errors
    /// [`LookFailure`]; `Other` for an event type that Cal.com does not have.
    pub async fn slots(
        &self,
        key: &SecretString,
        event_type_id: i64,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<DateTime<Utc>>, LookFailure> {
        let query =
            [("eventTypeId", event_type_id.to_string()), ("start", wire::instant(from)), ("end", wire::instant(to))];
        let request = self.request_slots().query(&query).query(&[("timeZone", "UTC"), ("format", "time")]);
        let body = match self.send(key, Asked::Slots, request, self.until(None)).await {
            Ok(body) => body,
            Err(failure) => {
                failure::look(Asked::Slots, failure)?;
                return Err(LookFailure::Other);
            }
        };
        let starts = wire::slots(&body).ok_or_else(|| {
            tracing::warn!(request = Asked::Slots.name(), "Cal.com's answer could not be read");
            LookFailure::Other
        })?;
        // Its bounds are whole days for some of its versions.
        Ok(starts.into_iter().filter(|start| from <= *start && *start < to).collect())
    }
}
