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
    let made = client.sandbox.create_by_others(&theirs).await.unwrap();
    assert!(client.sandbox.create_by_others(&theirs).await.unwrap_err().to_string().contains("booking_conflict_error"));
    let moved = client.sandbox.reschedule_by_others(&made.uid, at(ELEVEN)).await.unwrap();
    assert_eq!((moved.start, moved.rescheduled_from_uid.as_ref()), (at(ELEVEN), Some(&made.uid)));
    let cancelled = client.sandbox.cancel_by_others(&moved.uid).await.unwrap();
    assert_eq!(cancelled.status, Status::Cancelled);
    assert!(client.sandbox.cancel_by_others(&moved.uid).await.is_err());
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
    assert!(client.sandbox.create_by_others(&marked).await.is_ok());
    assert_eq!(client.create(101, NINE).await.status, 500, "the first that the API sees");
}

#[tokio::test]
async fn others_book_with_copied_and_forged_metadata() {
    let client = Client::start(config()).await;
    let ours = client.create(101, NINE).await;
    let mut theirs = body(201, NINE);
    theirs["metadata"] = ours.data()["metadata"].clone();
    theirs["metadata"]["gateway_mac"] = json!("k1:forged");
    let made = client.sandbox.create_by_others(&theirs).await.unwrap();
    assert_eq!(made.marker(), ours.data()["metadata"]["gateway_key"].as_str());
    let read = client.get(&format!("/bookings/{}", made.uid)).await;
    assert_eq!(read.data()["metadata"], theirs["metadata"]);
}

#[tokio::test]
async fn others_hand_a_booking_over_and_its_uid_stays() {
    let client = Client::start(config()).await;
    let uid = client.create(101, NINE).await.uid().to_owned();
    client.set_now("2050-09-01T09:00:00Z");
    let hand = |host_id: i64| {
        reply(client.control(Method::POST, &format!("/bookings/{uid}/host")).json(&json!({ "host_id": host_id })))
    };
    let handed = hand(2).await;
    assert_eq!((handed.status, handed.uid(), &handed.data()["hosts"][0]["id"]), (200, &*uid, &json!(2)));
    assert_eq!(handed.data()["updatedAt"], "2050-09-01T09:00:00.000Z");
    assert_eq!(client.get(&format!("/bookings/{uid}")).await.body, handed.body);
    assert_eq!(client.create(201, NINE).await.status, 409, "the new host is busy");
    assert_eq!(client.create(101, NINE).await.status, 201, "the old one is free");
    assert_eq!(hand(1).await.status, 409, "and now busy again");
    assert_eq!(hand(7).await.status, 400, "nobody");
    let back = client.create(101, ELEVEN).await.uid().to_owned();
    assert_eq!(client.sandbox.reassign_by_others(&back, 2).await.unwrap().host.id, 2);
    client.cancel(&back).await;
    assert!(client.sandbox.reassign_by_others(&back, 1).await.is_err());
    let effects = client.sandbox.ledger().iter().filter(|it| it.effect == Some(Effect::Reassigned)).count();
    assert_eq!(effects, 2);
}

#[tokio::test]
async fn others_delete_a_booking_and_it_is_gone() {
    let client = Client::start(config()).await;
    let first = client.create(101, NINE).await.uid().to_owned();
    let second = client.create(101, ELEVEN).await.uid().to_owned();
    let deleted = reply(client.control(Method::DELETE, &format!("/bookings/{first}"))).await;
    assert_eq!((deleted.status, deleted.body), (200, json!({ "status": "success", "data": null })));
    assert_eq!(client.get(&format!("/bookings/{first}")).await.status, 404);
    assert_eq!(client.cancel(&first).await.status, 404);
    assert_eq!(client.get("/bookings").await.data().as_array().unwrap().len(), 1);
    let again = client.create(101, NINE).await;
    assert_eq!((again.status, &again.data()["id"]), (201, &json!(3)), "its time is free, its number is not");
    client.sandbox.delete_by_others(&second).await.unwrap();
    assert!(client.sandbox.delete_by_others(&second).await.is_err());
    assert_eq!(client.sandbox.bookings().len(), 1);
    let ledger = client.sandbox.ledger();
    let gone: Vec<_> = ledger.iter().filter(|it| it.effect == Some(Effect::Deleted)).collect();
    assert_eq!(gone.iter().map(|it| it.uid.as_deref()).collect::<Vec<_>>(), [Some(&*first), Some(&*second)]);
    assert_eq!((gone[0].method.as_str(), gone[0].path.clone()), ("DELETE", format!("/_sandbox/bookings/{first}")));
}
