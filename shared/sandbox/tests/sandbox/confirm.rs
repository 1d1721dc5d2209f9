//! `POST /v2/bookings/{uid}/confirm` and `…/decline`, and the same by others.

use reqwest::Method;
use sandbox::{Effect, Status};
use serde_json::{Value, json};

use crate::client::{Client, Reply, body, config, not_found, reply};

const NINE: &str = "2050-09-05T09:00:00Z";

async fn pending(client: &Client, start: &str, email: &str) -> String {
    let mut asked = body(301, start);
    asked["attendee"]["email"] = json!(email);
    asked["attendee"]["phoneNumber"] = Value::Null;
    let made = client.post("/bookings", &asked).await;
    assert_eq!((made.status, &made.data()["status"]), (201, &json!("pending")));
    made.uid().to_owned()
}

async fn listed(client: &Client, status: &str) -> Vec<String> {
    let page = client.get(&format!("/bookings?sortCreated=asc&status={status}")).await;
    page.data().as_array().unwrap().iter().map(|booking| booking["uid"].as_str().unwrap().to_owned()).collect()
}

async fn confirm(client: &Client, uid: &str) -> Reply {
    client.post(&format!("/bookings/{uid}/confirm"), &json!({})).await
}

async fn decline(client: &Client, uid: &str) -> Reply {
    client.post(&format!("/bookings/{uid}/decline"), &json!({ "reason": "full" })).await
}

#[tokio::test]
async fn a_confirmed_booking_keeps_its_uid_and_excludes_others() {
    let client = Client::start(config()).await;
    let uid = pending(&client, NINE, "max@example.com").await;
    assert_eq!(listed(&client, "unconfirmed").await, [&*uid]);
    client.set_now("2050-09-01T09:00:00Z");
    let confirmed = confirm(&client, &uid).await;
    assert_eq!((confirmed.status, confirmed.uid(), &confirmed.data()["status"]), (200, &*uid, &json!("accepted")));
    assert_eq!(confirmed.data()["updatedAt"], "2050-09-01T09:00:00.000Z");
    assert_eq!(client.get(&format!("/bookings/{uid}")).await.body, confirmed.body);
    assert_eq!(listed(&client, "unconfirmed").await, [""; 0]);
    assert_eq!(listed(&client, "upcoming").await, [&*uid]);
    assert_eq!(client.create(101, NINE).await.status, 409);
    assert_eq!(client.create(102, "2050-09-05T09:15:00Z").await.status, 400);
    let again = confirm(&client, &uid).await;
    assert_eq!((again.status, again.message()), (400, "Booking already confirmed"));
    assert_eq!(again.body["error"]["code"], "TRPCError");
    assert_eq!(client.sandbox.ledger().iter().filter(|it| it.effect == Some(Effect::Confirmed)).count(), 1);
}

#[tokio::test]
async fn a_declined_booking_is_rejected_and_stays_so() {
    let client = Client::start(config()).await;
    let uid = pending(&client, NINE, "max@example.com").await;
    client.set_now("2050-09-01T09:00:00Z");
    let declined = decline(&client, &uid).await;
    assert_eq!((declined.status, declined.uid(), &declined.data()["status"]), (200, &*uid, &json!("rejected")));
    assert_eq!(declined.data()["updatedAt"], "2050-09-01T09:00:00.000Z");
    assert_eq!(client.sandbox.bookings()[0].rejection_reason, "full");
    assert_eq!((listed(&client, "unconfirmed").await.len(), listed(&client, "upcoming").await.len()), (0, 0));
    assert_eq!(listed(&client, "cancelled").await, [&*uid], "to a list it is cancelled");
    for refused in [confirm(&client, &uid).await, decline(&client, &uid).await] {
        assert_eq!((refused.status, refused.message()), (400, "Booking is rejected and cannot be confirmed"));
    }
    let moved = client.reschedule(&uid, "2050-09-05T11:00:00Z").await;
    assert_eq!((moved.status, moved.message()), (404, "Could not find original booking"));
    let anew = pending(&client, NINE, "max@example.com").await;
    assert_ne!(anew, uid, "asked for again it is another one");
    assert_eq!(client.sandbox.ledger().iter().filter(|it| it.effect == Some(Effect::Declined)).count(), 1);
}

#[tokio::test]
async fn two_pending_bookings_of_one_time_can_both_be_confirmed() {
    let client = Client::start(config()).await;
    for email in ["max@example.com", "eva@example.com"] {
        let uid = pending(&client, NINE, email).await;
        // The second has to be made before the first is confirmed, and is.
        if email == "eva@example.com" {
            let first = client.sandbox.bookings()[0].uid.clone();
            assert_eq!((confirm(&client, &first).await.status, confirm(&client, &uid).await.status), (200, 200));
        }
    }
    assert!(client.sandbox.bookings().iter().all(|booking| booking.status == Status::Accepted));
}

#[tokio::test]
async fn both_need_a_key_and_a_booking() {
    let client = Client::start(config()).await;
    let uid = pending(&client, NINE, "max@example.com").await;
    for verb in ["confirm", "decline"] {
        let path = format!("/bookings/{uid}/{verb}");
        let anybody = client.bare(Method::POST, &path).header("cal-api-version", "2024-08-13").json(&json!({}));
        assert_eq!(reply(anybody).await.status, 401);
        let path = format!("/bookings/nobody/{verb}");
        let message = "Booking with uid=nobody not found";
        assert_eq!(client.post(&path, &json!({})).await, not_found(&format!("/v2{path}"), message));
    }
    let wrong = client.post(&format!("/bookings/{uid}/decline"), &json!({ "reason": 7, "colour": "red" })).await;
    assert_eq!(wrong.status, 400);
    assert_eq!(
        wrong.message(),
        "colour property is wrong,property colour should not exist , reason property is wrong,reason must be a string "
    );
    assert_eq!(client.sandbox.bookings()[0].status, Status::Pending);
}

#[tokio::test]
async fn others_confirm_and_decline() {
    let client = Client::start(config()).await;
    let post = |path: String| reply(client.control(Method::POST, &path));
    let first = pending(&client, NINE, "max@example.com").await;
    let second = pending(&client, NINE, "eva@example.com").await;
    assert_eq!(post(format!("/bookings/{first}/confirm")).await.data()["status"], "accepted");
    assert_eq!(post(format!("/bookings/{second}/decline")).await.data()["status"], "rejected");
    assert_eq!(post(format!("/bookings/{first}/confirm")).await.status, 400);
    let third = pending(&client, "2050-09-06T09:00:00Z", "max@example.com").await;
    let fourth = pending(&client, "2050-09-07T09:00:00Z", "max@example.com").await;
    assert_eq!(client.sandbox.confirm_by_others(&third).await.unwrap().status, Status::Accepted);
    let declined = client.sandbox.decline_by_others(&fourth, "full").await.unwrap();
    assert_eq!((declined.status, declined.rejection_reason.as_str()), (Status::Rejected, "full"));
    assert!(client.sandbox.confirm_by_others(&fourth).await.is_err());
}
