//! The limiter: a window, a block, its headers, and its trace in the ledger.

use std::time::Duration;

use reqwest::Method;
use sandbox::{Config, Fault, Faults, On, RateLimit, Rule, What, most_in_any};
use serde_json::{Value, json};

use crate::client::{Client, body, config, reply};

const NINE: &str = "2050-09-05T09:00:00Z";
const THREE: RateLimit = RateLimit { requests: 3, window_ms: 60_000, block_ms: 60_000 };

async fn limited() -> Client {
    Client::start(Config { rate_limit: Some(THREE), api_key: None, ..config() }).await
}

/// Status, limit, remaining, reset of a list with this key.
async fn list(client: &Client, key: Option<&str>) -> (u16, Vec<String>) {
    let mut request = client.bare(Method::GET, "/bookings").header("cal-api-version", "2024-08-13");
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let response = request.send().await.unwrap();
    assert!(!response.headers().contains_key("retry-after"));
    let of = |name: &str| response.headers().get(format!("x-ratelimit-{name}-default"));
    let headers = ["limit", "remaining", "reset"].into_iter().filter_map(of);
    (response.status().as_u16(), headers.map(|value| value.to_str().unwrap().to_owned()).collect())
}

fn said(status: u16, limit: u64, remaining: u64, reset: u64) -> (u16, Vec<String>) {
    (status, vec![limit.to_string(), remaining.to_string(), reset.to_string()])
}

#[tokio::test]
async fn a_window_then_a_block_then_a_window() {
    let client = limited().await;
    assert_eq!(list(&client, Some("a")).await, said(200, 3, 2, 60));
    client.set_now("2050-09-01T08:00:20.500Z");
    assert_eq!(list(&client, Some("a")).await, said(200, 3, 1, 40), "seconds to wait, rounded up");
    client.set_now("2050-09-01T08:00:59.999Z");
    assert_eq!(list(&client, Some("a")).await, said(200, 3, 0, 1));
    assert_eq!(list(&client, Some("a")).await, said(429, 3, 0, 60), "the block begins with the excess");
    client.set_now("2050-09-01T08:01:59.998Z");
    assert_eq!(list(&client, Some("a")).await, said(429, 3, 0, 1));
    client.set_now("2050-09-01T08:01:59.999Z");
    assert_eq!(list(&client, Some("a")).await, said(200, 3, 2, 60));
    client.set_now("2050-09-01T08:02:59.999Z");
    assert_eq!(list(&client, Some("a")).await, said(200, 3, 2, 60), "a window that was not used up just ends");
}

#[tokio::test]
async fn who_is_throttled_reads_the_real_words_and_changes_nothing() {
    let client = limited().await;
    for hour in 9..12 {
        assert_eq!(client.create(101, &format!("2050-09-05T{hour:02}:00:00Z")).await.status, 201);
    }
    let refused = client.create(201, NINE).await;
    let message = "CustomThrottlerGuard - Too many requests. Please try again later.";
    assert_eq!((refused.status, refused.message()), (429, message));
    assert_eq!(refused.body["error"]["code"], "ThrottlerException");
    assert_eq!(client.sandbox.bookings().len(), 3);
    let ledger = client.sandbox.ledger();
    let fourth: Vec<_> = ledger.iter().filter(|entry| entry.request == 4).collect();
    assert_eq!(fourth.iter().map(|entry| entry.what).collect::<Vec<_>>(), [What::Arrival, What::Reply]);
    assert!(fourth.iter().all(|entry| entry.throttled && entry.fault.is_none()));
    assert_eq!(ledger.iter().filter(|entry| entry.throttled).count(), 2);
    assert_eq!(fourth[1].status, Some(429));
}

#[tokio::test]
async fn every_key_counts_for_itself_and_all_without_one_together() {
    let client = limited().await;
    for _ in 0..3 {
        list(&client, Some("a")).await;
    }
    assert_eq!(list(&client, Some("a")).await.0, 429);
    assert_eq!(list(&client, Some("b")).await, said(200, 3, 2, 60));
    assert_eq!(list(&client, None).await, said(401, 3, 2, 60), "a refusal of a later guard counts, too");
    let keys: Vec<_> = client.sandbox.ledger().iter().filter(|it| it.what == What::Arrival).map(|it| it.key).collect();
    assert_eq!(keys, [Some(1), Some(1), Some(1), Some(1), Some(2), None]);
}

#[tokio::test]
async fn what_has_no_route_or_a_wrong_key_is_not_counted() {
    let limit = RateLimit { requests: 1, ..THREE };
    let client = Client::start(Config { rate_limit: Some(limit), api_key: Some("good".to_owned()), ..config() }).await;
    for _ in 0..2 {
        assert_eq!(list(&client, Some("cal_wrong")).await, (401, Vec::new()));
        assert_eq!(reply(client.bare(Method::GET, "/bookings").bearer_auth("good")).await.status, 404, "no version");
    }
    assert_eq!(list(&client, Some("good")).await, said(200, 1, 0, 60));
}

#[tokio::test]
async fn it_is_off_until_it_is_switched_on_and_off_again() {
    let client = Client::start(config()).await;
    let put = |body: Value| reply(client.control(Method::PUT, "/rate-limit").json(&body));
    assert_eq!(reply(client.control(Method::GET, "/rate-limit")).await.body, Value::Null);
    for _ in 0..200 {
        assert_eq!(list(&client, Some("a")).await, (200, Vec::new()));
    }
    let on = put(json!({ "requests": 1, "block_ms": 1_500 })).await.body;
    assert_eq!(on, json!({ "requests": 1, "window_ms": 60_000, "block_ms": 1_500 }));
    assert_eq!(list(&client, Some("a")).await, said(200, 1, 0, 60));
    assert_eq!(list(&client, Some("a")).await, said(429, 1, 0, 2));
    let wrong = client.control(Method::PUT, "/rate-limit").json(&json!({ "requests": 0 })).send().await.unwrap();
    assert_eq!(wrong.status(), 400);
    assert_eq!(list(&client, Some("a")).await, said(429, 1, 0, 2), "as it was");
    assert_eq!(put(json!({})).await.body, json!({ "requests": 120, "window_ms": 60_000, "block_ms": 60_000 }));
    assert_eq!(list(&client, Some("a")).await, said(200, 120, 119, 60), "every key begins anew");
    client.sandbox.set_rate_limit(Some(RateLimit { requests: 1, ..THREE })).unwrap();
    assert_eq!(list(&client, Some("a")).await.0, 200);
    assert_eq!(list(&client, Some("a")).await.0, 429);
    assert_eq!(put(Value::Null).await.body, Value::Null);
    assert_eq!(list(&client, Some("a")).await, (200, Vec::new()));
}

#[tokio::test]
async fn a_throttled_request_uses_up_no_fault_and_others_are_not_limited() {
    let client = Client::start(Config { rate_limit: Some(RateLimit { requests: 1, ..THREE }), ..config() }).await;
    let rules = vec![Rule::nth(On::List, 2, Fault::BrokenBefore)];
    client.sandbox.set_faults(Faults { seed: None, rules }).unwrap();
    assert_eq!(list(&client, Some("a")).await.0, 200);
    assert_eq!(list(&client, Some("a")).await.0, 429);
    assert_eq!(list(&client, Some("b")).await, said(500, 1, 0, 60), "the second that passed; it has the headers");
    for hour in 9..12 {
        let theirs = body(101, &format!("2050-09-05T{hour:02}:00:00Z"));
        assert!(client.sandbox.create_by_others(&theirs).await.is_ok());
    }
}

#[tokio::test]
async fn the_ledger_tells_the_most_in_any_window() {
    let client = limited().await;
    let window = Duration::from_secs(60);
    assert_eq!(most_in_any(&client.sandbox.ledger(), window), 0);
    for (second, key) in [(0, "a"), (30, "a"), (50, "a"), (50, "b"), (59, "b"), (60, "a"), (89, "a"), (89, "a")] {
        client.set_now(&format!("2050-09-01T08:{:02}:{:02}Z", second / 60, second % 60));
        list(&client, Some(key)).await;
    }
    // Of a: 30, 50, 60, 89, 89. The first of them and that at 60 s are not in one window.
    let ledger = client.sandbox.ledger();
    assert_eq!(most_in_any(&ledger, window), 5);
    assert_eq!(most_in_any(&ledger, Duration::from_secs(30)), 3);
    assert_eq!(most_in_any(&ledger, Duration::from_secs(29)), 2, "60 and 89 are not in one window of 29 s");
    assert_eq!(most_in_any(&ledger, Duration::from_millis(1)), 2);
}
