//! `POST /v2/bookings/{uid}/cancel`: once and no more, by the uid alone, and what it leaves behind.

use reqwest::Method;
use sandbox::Status;
use serde_json::json;

use crate::client::{Client, Reply, bad_request, config, not_found, reply};

const NINE: &str = "2050-09-05T09:00:00Z";

#[tokio::test]
async fn cancelling_is_not_idempotent() {
    let client = Client::start(config()).await;
    let created = client.create(101, NINE).await;
    let uid = created.uid();
    client.set_now("2050-09-02T08:00:00Z");
    let cancelled = client.cancel(uid).await;
    let mut expected = created.body.clone();
    expected["data"]["status"] = json!("cancelled");
    expected["data"]["cancellationReason"] = json!("changed plans");
    expected["data"]["cancelledByEmail"] = json!("anna@salon.test");
    expected["data"]["updatedAt"] = json!("2050-09-02T08:00:00.000Z");
    assert_eq!(cancelled, Reply { status: 200, body: expected });
    client.set_now("2050-09-01T08:00:00Z");
    assert_eq!(
        client.cancel(uid).await,
        bad_request(
            &format!("/v2/bookings/{uid}/cancel"),
            &format!(
                "Can't cancel booking with uid={uid} because it has been cancelled already. Please provide uid of a \
                 booking that is not cancelled."
            ),
        ),
    );
    assert_eq!(client.sandbox.bookings()[0].status, Status::Cancelled);
}

#[tokio::test]
async fn only_the_uid_names_a_booking() {
    let client = Client::start(config()).await;
    let created = client.create(101, NINE).await;
    assert_eq!(created.data()["id"], 1);
    assert_eq!(client.cancel("1").await, not_found("/v2/bookings/1/cancel", "Booking with uid=1 not found"));
    assert_eq!(client.sandbox.bookings()[0].status, Status::Accepted);
}

#[tokio::test]
async fn an_ended_booking_stays() {
    let client = Client::start(config()).await;
    let created = client.create(101, NINE).await;
    client.set_now("2050-09-05T09:30:00Z");
    assert_eq!(
        client.cancel(created.uid()).await,
        Reply {
            status: 400,
            body: json!({ "statusCode": 400, "message": "Cannot cancel a booking that has already ended" }),
        },
    );
}

#[tokio::test]
async fn bodies() {
    let client = Client::start(config()).await;
    let created = client.create(101, NINE).await;
    let path = format!("/bookings/{}/cancel", created.uid());
    assert_eq!(
        client.post(&path, &json!({ "reason": "x" })).await,
        bad_request(&format!("/v2{path}"), "reason property is wrong,property reason should not exist "),
    );
    let anonymous = reply(client.bare(Method::POST, &path).header("cal-api-version", "2024-08-13")).await;
    assert_eq!(anonymous.status, 200, "neither a body nor a key is needed");
    assert_eq!(anonymous.data()["cancelledByEmail"], "");
}
