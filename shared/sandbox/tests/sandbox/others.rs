//! Bookings made, moved and cancelled by others than the gateway.

use reqwest::Method;
use sandbox::{Config, Effect, Entry, Fault, Faults, On, Rule, Status, What};
use serde_json::json;

use crate::client::{Client, at, body, config, reply};

const NINE: &str = "2050-09-05T09:00:00Z";
const ELEVEN: &str = "2050-09-05T11:00:00Z";

#[tokio::test]
async fn others_book_move_and_cancel_by_the_same_rules() {
    let client = Client::start(Config { api_key: Some("cal_live_good".to_owned()), ..config() }).await;
    let post = |path: String, body| reply(client.control(Method::POST, &path).json(&body));
    let made = post("/bookings".to_owned(), body(101, NINE)).await;
    assert_eq!(made.status, 201);
    assert_eq!(client.get(&format!("/bookings/{}", made.uid())).await.body, made.body);
    assert_eq!(client.create(101, NINE).await.status, 409, "the gateway comes too late");
    let moved = post(format!("/bookings/{}/reschedule", made.uid()), json!({ "start": ELEVEN })).await;
    assert_eq!((moved.status, &moved.data()["rescheduledFromUid"]), (201, &made.data()["uid"]));
    let cancelled = post(format!("/bookings/{}/cancel", moved.uid()), json!({})).await;
    assert_eq!((cancelled.status, &cancelled.data()["cancelledByEmail"]), (200, &json!("anna@salon.test")));
    assert_eq!(client.create(101, NINE).await.status, 201);
    let refused = post("/bookings".to_owned(), body(101, NINE)).await;
    assert_eq!((refused.status, refused.message()), (409, "booking_conflict_error"));
    assert_eq!(post("/bookings".to_owned(), json!({})).await.status, 400);
    assert_eq!(post("/bookings/nobody/cancel".to_owned(), json!({})).await.status, 404);
}

#[tokio::test]
async fn what_others_do_is_one_effect_in_the_ledger() {
    let client = Client::start(config()).await;
    let mut theirs = body(101, NINE);
    theirs["metadata"] = json!({});
    let made = client.sandbox.create_by_others(&theirs).unwrap();
    assert!(client.sandbox.create_by_others(&theirs).unwrap_err().to_string().contains("booking_conflict_error"));
    let moved = client.sandbox.reschedule_by_others(&made.uid, at(ELEVEN)).unwrap();
    assert_eq!((moved.start, moved.rescheduled_from_uid.as_ref()), (at(ELEVEN), Some(&made.uid)));
    let cancelled = client.sandbox.cancel_by_others(&moved.uid).unwrap();
    assert_eq!(cancelled.status, Status::Cancelled);
    assert!(client.sandbox.cancel_by_others(&moved.uid).is_err());
    let told = |entry: &Entry| (entry.seq, entry.request, entry.what, entry.effect, entry.uid.clone());
    assert_eq!(
        client.sandbox.ledger().iter().map(told).collect::<Vec<_>>(),
        [
            (1, 1, What::Effect, Some(Effect::Created), Some(made.uid.clone())),
            (2, 2, What::Effect, Some(Effect::Rescheduled), Some(moved.uid.clone())),
            (3, 3, What::Effect, Some(Effect::Cancelled), Some(moved.uid.clone())),
        ]
    );
    let ledger = client.sandbox.ledger();
    assert!(ledger.iter().all(|entry| entry.path.starts_with("/_sandbox/bookings") && entry.marker.is_none()));
    assert_eq!(ledger[1].previous_uid.as_ref(), Some(&made.uid));
}

#[tokio::test]
async fn others_meet_no_faults_and_use_none_up() {
    let client = Client::start(config()).await;
    let rules = vec![Rule::nth(On::Create, 1, Fault::BrokenBefore)];
    client.sandbox.set_faults(Faults { seed: None, rules }).unwrap();
    let mut marked = body(201, NINE);
    marked["attendee"]["name"] = json!("fault:500_after");
    assert!(client.sandbox.create_by_others(&marked).is_ok());
    assert_eq!(client.create(101, NINE).await.status, 500, "the first that the API sees");
}
