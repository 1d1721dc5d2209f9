//! The ledger: order, contents, clients that go away, latency, many requests in flight.

use std::time::{Duration, Instant};

use reqwest::Method;
use sandbox::{Effect, Entry, Fate, What};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{Client, body, config, event_type, reply};

const NINE: &str = "2050-09-05T09:00:00Z";
const MARKER: &str = "0b9f0a6e-0000-4000-8000-000000000001";

fn replies(ledger: &[Entry]) -> usize {
    ledger.iter().filter(|entry| entry.what == What::Reply).count()
}

#[tokio::test]
async fn every_entry_with_every_key() {
    let client = Client::start(config()).await;
    let uid = client.create(101, NINE).await.uid().to_owned();
    client.create(101, NINE).await;
    client.get(&format!("/bookings/{uid}")).await;
    client.get("/bookings?take=1").await;
    client.cancel(&uid).await;

    let entry = |seq: u64, request: u64, what: &str, method: &str, path: &str| {
        json!({
            "seq": seq, "at": "2050-09-01T08:00:00.000000Z", "what": what, "request": request, "method": method,
            "path": path, "marker": null, "event_type_id": null, "start": null, "uid": null, "previous_uid": null,
            "effect": null, "status": null, "fate": null, "key": 1, "throttled": false,
        })
    };
    let with = |mut entry: Value, more: Value| {
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    };
    let about = |uid: Option<&str>| json!({ "marker": MARKER, "event_type_id": 101, "start": "2050-09-05T09:00:00.000Z", "uid": uid });
    let sent = |status: u16| json!({ "status": status, "fate": "sent" });
    let (list, read, cancel) = ("/v2/bookings", format!("/v2/bookings/{uid}"), format!("/v2/bookings/{uid}/cancel"));
    let uid = Some(uid.as_str());
    let expected = json!([
        with(entry(1, 1, "arrival", "POST", list), about(None)),
        with(with(entry(2, 1, "effect", "POST", list), about(uid)), json!({ "effect": "created" })),
        with(with(entry(3, 1, "reply", "POST", list), about(uid)), sent(201)),
        with(entry(4, 2, "arrival", "POST", list), about(None)),
        with(with(entry(5, 2, "reply", "POST", list), about(None)), sent(409)),
        with(entry(6, 3, "arrival", "GET", &read), json!({ "uid": uid })),
        with(with(entry(7, 3, "reply", "GET", &read), json!({ "uid": uid })), sent(200)),
        entry(8, 4, "arrival", "GET", list),
        with(entry(9, 4, "reply", "GET", list), sent(200)),
        with(entry(10, 5, "arrival", "POST", &cancel), about(uid)),
        with(with(entry(11, 5, "effect", "POST", &cancel), about(uid)), json!({ "effect": "cancelled" })),
        with(with(entry(12, 5, "reply", "POST", &cancel), about(uid)), sent(200)),
    ]);
    let shown = reply(client.control(Method::GET, "/ledger")).await;
    assert_eq!(shown.body, expected);
    let rest = reply(client.control(Method::GET, "/ledger?after_seq=10")).await;
    assert_eq!(rest.body, json!([expected[10], expected[11]]));
}

/// Sends a whole request on a connection of its own and hands back the connection, unread.
async fn sent(client: &Client, path: &str, body: &Value) -> TcpStream {
    let mut stream = TcpStream::connect(client.sandbox.address).await.unwrap();
    let body = body.to_string();
    let request = format!(
        "POST /v2{path} HTTP/1.1\r\nhost: sandbox\r\ncal-api-version: 2024-08-13\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_effect_does_not_prevent_it() {
    let client = Client::start(config()).await;
    client.sandbox.set_latency(Duration::from_millis(300), Duration::ZERO);
    let connection = sent(&client, "/bookings", &body(101, NINE)).await;
    client.ledger_when(|ledger| ledger.len() == 1).await;
    assert!(client.sandbox.bookings().is_empty());
    drop(connection);
    let ledger = client.ledger_when(|ledger| replies(ledger) == 1).await;
    assert_eq!(ledger.iter().map(|entry| entry.what).collect::<Vec<_>>(), [What::Arrival, What::Effect, What::Reply]);
    assert_eq!(ledger[1].effect, Some(Effect::Created));
    assert_eq!((ledger[2].status, ledger[2].fate), (Some(201), Some(Fate::Dropped)));
    assert_eq!(client.sandbox.bookings()[0].marker(), Some(MARKER));
}

#[tokio::test]
async fn a_client_that_goes_away_after_the_effect_does_not_undo_it() {
    let client = Client::start(config()).await;
    let uid = client.create(101, NINE).await.uid().to_owned();
    client.sandbox.set_latency(Duration::ZERO, Duration::from_millis(300));
    let connection = sent(&client, &format!("/bookings/{uid}/cancel"), &json!({})).await;
    client.ledger_when(|ledger| ledger.len() == 5).await;
    drop(connection);
    let ledger = client.ledger_when(|ledger| replies(ledger) == 2).await;
    assert_eq!(ledger[4].effect, Some(Effect::Cancelled));
    assert_eq!((ledger[5].status, ledger[5].fate), (Some(200), Some(Fate::Dropped)));
}

#[tokio::test]
async fn a_client_with_a_timeout_is_one_that_goes_away() {
    let client = Client::start(config()).await;
    client.sandbox.set_latency(Duration::from_millis(400), Duration::ZERO);
    let request = client.bare(Method::POST, "/bookings").header("cal-api-version", "2024-08-13").json(&body(101, NINE));
    let error = request.timeout(Duration::from_millis(100)).send().await.unwrap_err();
    assert!(error.is_timeout());
    let ledger = client.ledger_when(|ledger| replies(ledger) == 1).await;
    assert_eq!(ledger[1].effect, Some(Effect::Created));
    assert_eq!(ledger[2].fate, Some(Fate::Dropped));
}

#[tokio::test]
async fn half_a_request_is_no_arrival() {
    let client = Client::start(config()).await;
    let mut stream = TcpStream::connect(client.sandbox.address).await.unwrap();
    let half = b"POST /v2/bookings HTTP/1.1\r\nhost: x\r\ncal-api-version: 2024-08-13\r\ncontent-length: 99\r\n\r\n{";
    stream.write_all(half).await.unwrap();
    drop(stream);
    client.get("/bookings").await;
    assert!(client.sandbox.ledger().iter().all(|entry| entry.method == "GET"));
}

#[tokio::test]
async fn latency_delays_mutations_only_and_lies_where_it_was_put() {
    let client = Client::start(config()).await;
    let (before, after) = (Duration::from_millis(150), Duration::from_millis(100));
    client.sandbox.set_latency(before, after);
    let started = Instant::now();
    let created = client.create(101, NINE);
    let effect = async {
        client.ledger_when(|ledger| ledger.iter().any(|entry| entry.what == What::Effect)).await;
        started.elapsed()
    };
    let (created, effect) = futures::future::join(created, effect).await;
    let whole = started.elapsed();
    assert_eq!(created.status, 201);
    assert!(effect >= before, "{effect:?}");
    assert!(whole >= before + after, "{whole:?}");

    client.sandbox.set_latency(Duration::from_secs(3_600), Duration::ZERO);
    client.get("/bookings").await;
    client.get(&format!("/bookings/{}", created.uid())).await;
    assert_eq!(client.post("/bookings/x/unknown", &json!({})).await.status, 404);
}

#[tokio::test]
async fn five_hundred_requests_in_flight() {
    let client = Client::start(config()).await;
    client.sandbox.set_event_types((1..=500).map(|n| event_type(1_000 + n, 1_000 + n, 30)).collect()).unwrap();
    client.sandbox.set_latency(Duration::from_secs(5), Duration::ZERO);
    let in_flight = client.ledger_when(|ledger| ledger.len() >= 500);
    let posts = futures::future::join_all((1..=500).map(|n| client.create(1_000 + n, NINE)));
    let (in_flight, created) = futures::future::join(in_flight, posts).await;
    assert_eq!(replies(&in_flight), 0, "all had arrived before the first reply");
    assert!(created.iter().all(|reply| reply.status == 201));
    let ledger = client.sandbox.ledger();
    assert_eq!(ledger.len(), 1_500);
    for (n, entry) in ledger.iter().enumerate() {
        assert_eq!(entry.seq, n as u64 + 1);
    }
    for request in 1..=500 {
        let course: Vec<What> =
            ledger.iter().filter(|entry| entry.request == request).map(|entry| entry.what).collect();
        assert_eq!(course, [What::Arrival, What::Effect, What::Reply]);
    }
}
