//! What an appointment's story tells of Cal.com's own side: the hints that came, and what a reading of them came to.

use super::Told;
use crate::error::StoreError;
use chrono::{DateTime, Utc};
use domain::answer::BookingStatus;
use domain::id::AppointmentId;
use sqlx::PgConnection;

/// The hints about its bookings, as they came. The bodies stay where they are: they hold uids.
pub(super) async fn hints(
    conn: &mut PgConnection,
    company_id: i32,
    id: AppointmentId,
) -> Result<Vec<Told>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT i.received_at, i.said_status, i.said_start,
                  CASE WHEN i.source = 'sweep' THEN split_part(convert_from(i.body, 'UTF8'), ' ', 1) END AS found
           FROM segment g JOIN webhook_inbox i ON i.company_id = g.company_id AND i.subject = g.lineage::text
           WHERE g.company_id = $1 AND g.appointment_id = $2 ORDER BY i.received_at"#,
        company_id,
        id.0
    )
    .fetch_all(conn)
    .await?;
    let told = rows.into_iter().map(|r| {
        let status = r.said_status.as_deref().map(BookingStatus::read);
        match r.found.as_deref() {
            None => Told::new(r.received_at, "told", "calcom", said(status.as_ref(), r.said_start)),
            Some(found) => Told::new(r.received_at, "swept", "gateway", differs(found, status.as_ref(), r.said_start)),
        }
    });
    Ok(told.collect())
}

fn at(start: Option<DateTime<Utc>>) -> String {
    start.map(|start| format!(" at {}", start.format("%Y-%m-%d %H:%M UTC"))).unwrap_or_default()
}

fn said(status: Option<&BookingStatus>, start: Option<DateTime<Utc>>) -> String {
    let what = match status {
        Some(BookingStatus::Accepted) => format!("a booking stands{}", at(start)),
        Some(BookingStatus::Pending) => format!("a booking{} waits for the business", at(start)),
        Some(BookingStatus::Cancelled) => "the booking is called off".to_owned(),
        Some(BookingStatus::Rejected) => "the business has declined the booking".to_owned(),
        Some(BookingStatus::Unknown) | None => "something has happened to the booking".to_owned(),
    };
    format!("Cal.com has told: {what}.")
}

/// `found` is the first word of a sweep's notice.
fn differs(found: &str, status: Option<&BookingStatus>, start: Option<DateTime<Utc>>) -> String {
    match (found, status) {
        ("status", Some(status)) => format!("The sweep has seen that the booking is {} at Cal.com.", status.as_str()),
        ("time", _) => format!("The sweep has seen the booking{} at Cal.com.", at(start)),
        ("host", _) => "The sweep has seen the booking with another host at Cal.com.".to_owned(),
        ("not_ours", _) => {
            format!("The sweep has seen a booking{} that bears our mark and no promise owns.", at(start))
        }
        ("missing", _) => "The sweep has not seen the booking at Cal.com.".to_owned(),
        ("read", _) => format!("A booking{} turned out to be of this appointment.", at(start)),
        (_, _) => "The sweep has seen a difference at Cal.com.".to_owned(),
    }
}

/// How a turn at such a hint ended; `None`: the word is another job's.
pub(super) fn came_of(outcome: &str) -> Option<&'static str> {
    Some(match outcome {
        "nothing_new" => "the record knew it already",
        "read_too_early" => "Cal.com does not show yet what it has told; it is read again",
        "not_read" => "Cal.com could not be read; it is read again",
        "op_unresolved" => "a request of our own has no outcome yet, and goes first",
        "promise_changed" => "the promise has changed meanwhile; it is read again",
        "confirmed" => "the business has confirmed the booking",
        "awaits_confirmation" => "the booking waits for the business again",
        "changed_by_others" => "the booking was changed by somebody else, and the record knows it now",
        "spare_booking" => "a booking lives that no promise owns; it is called off",
        "conflict" => "its time is somebody else's, too; a person decides",
        "moved_elsewhere" => "the business has moved the booking; a person decides",
        "cancelled_elsewhere" => "the business has called the booking off; a person decides",
        "host_changed" => "the business has given the booking to somebody else; a person decides",
        "unknown_booking_status" => "the booking's status is a word that nobody knows; a person looks",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_a_sentence() {
        let start = Some(DateTime::UNIX_EPOCH);
        assert_eq!(
            said(Some(&BookingStatus::Accepted), start),
            "Cal.com has told: a booking stands at 1970-01-01 00:00 UTC."
        );
        assert_eq!(said(Some(&BookingStatus::Cancelled), start), "Cal.com has told: the booking is called off.");
        let cancelled = differs("status", Some(&BookingStatus::Cancelled), start);
        assert_eq!(cancelled, "The sweep has seen that the booking is cancelled at Cal.com.");
        assert_eq!(differs("time", None, start), "The sweep has seen the booking at 1970-01-01 00:00 UTC at Cal.com.");
    }
}
