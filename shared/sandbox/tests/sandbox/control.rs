//! `/_sandbox/…`, and starting and stopping.

use std::time::Duration;

use reqwest::Method;
use sandbox::Config;
use serde_json::json;

use crate::client::{Client, body, config, event_type, reply};

const NINE: &str = "2050-09-05T09:00:00Z";

#[tokio::test]
async fn event_types_are_added_and_replaced() {
    let client = Client::start(Config::default()).await;
    assert_eq!(client.create(101, NINE).await.status, 404);
    let given = json!([{
        "id": 101, "slug": "haircut", "length_minutes": 30,
        "host": {
            "id": 1, "name": "Anna Berg", "email": "anna@salon.test", "username": "anna",
            "time_zone": "Europe/Berlin",
        },
        "requires_confirmation": false,
    }]);
    let put = || client.control(Method::PUT, "/event-types");
    let shown = reply(put().json(&given)).await;
    assert_eq!((shown.status, &shown.body), (200, &given));
    assert_eq!(client.create(101, NINE).await.data()["duration"], 30);
    let mut longer = given.clone();
    longer[0]["length_minutes"] = json!(60);
    reply(put().json(&longer)).await;
    assert_eq!(reply(client.control(Method::GET, "/event-types")).await.body, longer);
    assert_eq!(client.create(101, "2050-09-05T10:00:00Z").await.data()["duration"], 60);

    longer[0]["length_minutes"] = json!(0);
    assert_eq!(put().json(&longer).send().await.unwrap().status(), 400);
    longer[0]["colour"] = json!("red");
    assert_eq!(put().json(&longer).send().await.unwrap().status(), 422);
}

#[tokio::test]
async fn bookings_are_shown_as_the_api_shows_them() {
    let client = Client::start(config()).await;
    let first = client.create(101, NINE).await;
    let second = client.create(201, NINE).await;
    let cancelled = client.cancel(first.uid()).await;
    let shown = reply(client.control(Method::GET, "/bookings")).await;
    assert_eq!(shown.body, json!([cancelled.data(), second.data()]));
    assert_eq!(client.sandbox.bookings().len(), 2);
}

#[tokio::test]
async fn latency_is_set_from_outside() {
    let client = Client::start(config()).await;
    let put = |body| reply(client.control(Method::PUT, "/latency").json(&body));
    assert_eq!(put(json!({ "before_ms": 7, "after_ms": 9 })).await.body, json!({ "before_ms": 7, "after_ms": 9 }));
    assert_eq!(put(json!({ "after_ms": 0 })).await.body, json!({ "before_ms": 7, "after_ms": 0 }));
    assert!(client.sandbox.ledger().is_empty(), "the control surface leaves no trace");
}

#[tokio::test]
async fn a_seed_repeats_the_uids() {
    let mut uids = Vec::new();
    for _ in 0..2 {
        let client = Client::start(Config { seed: Some(7), ..config() }).await;
        uids.push(client.create(101, NINE).await.uid().to_owned());
    }
    assert_eq!(uids[0], uids[1]);
}

#[tokio::test]
async fn stopping_waits_for_what_is_in_flight() {
    let client = Client::start(config()).await;
    client.sandbox.set_latency(Duration::from_millis(300), Duration::ZERO);
    let request = client.bare(Method::POST, "/bookings").header("cal-api-version", "2024-08-13").json(&body(101, NINE));
    let pending = tokio::spawn(reply(request));
    client.ledger_when(|ledger| ledger.len() == 1).await;
    let address = client.sandbox.address;
    client.sandbox.stop().await.unwrap();
    assert_eq!(pending.await.unwrap().status, 201);
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn unusable_event_types_do_not_start() {
    let config = Config { event_types: vec![event_type(1, 1, 0)], ..Config::default() };
    assert!(sandbox::start(config).await.is_err());
}
