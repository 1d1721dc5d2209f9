//! `POST /v2/bookings/{uid}/reschedule`: the new booking, the old one, and what stands in the way.

use sandbox::{Effect, Status};
use serde_json::json;

use crate::client::{Client, bad_request, body, config, not_found};

const NINE: &str = "2050-09-05T09:00:00Z";
const TEN: &str = "2050-09-05T10:00:00Z";

#[tokio::test]
async fn a_new_booking_replaces_the_old_one() {
    let client = Client::start(config()).await;
    let old = client.create(101, NINE).await;
    let path = format!("/bookings/{}/reschedule", old.uid());
    let new = client
        .post(&path, &json!({ "start": TEN, "reschedulingReason": "late", "rescheduledBy": "max@example.com" }))
        .await;
    assert_eq!(new.status, 201);
    assert_ne!(new.uid(), old.uid());
    let mut expected = old.data().clone();
    expected["id"] = json!(2);
    expected["uid"] = json!(new.uid());
    expected["start"] = json!("2050-09-05T10:00:00.000Z");
    expected["end"] = json!("2050-09-05T10:30:00.000Z");
    expected["rescheduledFromUid"] = json!(old.uid());
    expected["reschedulingReason"] = json!("late");
    expected["rescheduledByEmail"] = json!("max@example.com");
    expected["bookingFieldsResponses"]["rescheduledReason"] = json!("late");
    assert_eq!(new.data(), &expected, "metadata and icsUid are inherited");

    let read = client.get(&format!("/bookings/{}", old.uid())).await;
    assert_eq!(read.data()["status"], "cancelled");
    assert_eq!(read.data()["rescheduledToUid"], new.uid());
    let ledger = client.sandbox.ledger();
    let effect = ledger.iter().find(|entry| entry.effect == Some(Effect::Rescheduled)).unwrap();
    assert_eq!(effect.uid.as_deref(), Some(new.uid()));
    assert_eq!(effect.previous_uid.as_deref(), Some(old.uid()));
    assert_eq!(effect.marker.as_deref(), Some("0b9f0a6e-0000-4000-8000-000000000001"));
    assert_eq!(client.create(101, NINE).await.status, 201, "the old slot is free");
}

#[tokio::test]
async fn what_is_cancelled_cannot_be_moved() {
    let client = Client::start(config()).await;
    let old = client.create(101, NINE).await;
    let new = client.reschedule(old.uid(), TEN).await;
    let (old, new) = (old.uid(), new.uid());
    assert_eq!(
        client.reschedule(old, TEN).await,
        bad_request(
            &format!("/v2/bookings/{old}/reschedule"),
            &format!(
                "Can't reschedule booking with uid={old} because it has been cancelled and rescheduled already to \
                 booking with uid={new}. You probably want to reschedule {new} instead by passing it within the \
                 request URL."
            ),
        ),
    );
    client.cancel(new).await;
    assert_eq!(
        client.reschedule(new, TEN).await,
        bad_request(
            &format!("/v2/bookings/{new}/reschedule"),
            &format!(
                "Can't reschedule booking with uid={new} because it has been cancelled. Please provide uid of a \
                 booking that is not cancelled."
            ),
        ),
    );
    assert_eq!(
        client.reschedule("1", TEN).await,
        not_found("/v2/bookings/1/reschedule", "Booking with uid=1 was not found in the database"),
    );
}

#[tokio::test]
async fn only_its_own_old_booking_does_not_stand_in_its_way() {
    let client = Client::start(config()).await;
    let first = client.create(101, NINE).await;
    let second = client.create(101, TEN).await;
    assert_eq!(client.reschedule(first.uid(), TEN).await.status, 409);
    assert_eq!(client.reschedule(first.uid(), "2050-09-05T09:45:00Z").await.status, 400);
    let moved = client.reschedule(first.uid(), "2050-09-05T09:15:00Z").await;
    assert_eq!(moved.status, 201, "overlapping itself is no conflict");
    let path = format!("/v2/bookings/{}/reschedule", second.uid());
    assert_eq!(
        client.reschedule(second.uid(), "2050-09-01T07:00:00Z").await,
        bad_request(&path, "Attempting to book a meeting in the past."),
    );
    let live = client.sandbox.bookings().iter().filter(|booking| booking.status == Status::Accepted).count();
    assert_eq!(live, 2);
}

#[tokio::test]
async fn only_the_host_confirms_at_once() {
    let client = Client::start(config()).await;
    let old = client.post("/bookings", &body(301, NINE)).await;
    let by = |by: &str, start: &str| json!({ "start": start, "rescheduledBy": by });
    let path = format!("/bookings/{}/reschedule", old.uid());
    let waiting = client.post(&path, &by("max@example.com", TEN)).await;
    assert_eq!(waiting.data()["status"], "pending");
    let path = format!("/bookings/{}/reschedule", waiting.uid());
    let confirmed = client.post(&path, &by("anna@salon.test", NINE)).await;
    assert_eq!(confirmed.data()["status"], "accepted");
}
