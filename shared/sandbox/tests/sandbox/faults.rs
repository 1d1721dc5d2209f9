//! Each fault as the client meets it, and what the ledger and the bookings say of it. Deliberately absent: when a fault
//! strikes (faults_asked_for.rs).

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use reqwest::Method;
use sandbox::{Config, Effect, Entry, Fate, Fault, Faults, On, Overlap, Rule, What};

use crate::client::{Client, body, config, reply};

const NINE: &str = "2050-09-05T09:00:00Z";

async fn playing(rule: Rule) -> Client {
    let client = Client::start(config()).await;
    client.sandbox.set_faults(Faults { seed: None, rules: vec![rule] }).unwrap();
    client
}

fn delayed(on: On, fault: Fault, delay_ms: u64) -> Rule {
    Rule { delay_ms: Some(delay_ms), ..Rule::every(on, fault) }
}

fn replied(ledger: &[Entry]) -> bool {
    ledger.iter().any(|entry| entry.what == What::Reply)
}

fn course(ledger: &[Entry]) -> Vec<What> {
    ledger.iter().map(|entry| entry.what).collect()
}

/// Status and fate of the only reply.
fn told(ledger: &[Entry]) -> (Option<u16>, Option<Fate>) {
    let replies: Vec<_> = ledger.iter().filter(|entry| entry.what == What::Reply).collect();
    assert_eq!(replies.len(), 1);
    (replies[0].status, replies[0].fate)
}

fn is_reset(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionReset) {
            return true;
        }
        cause = inner.source();
    }
    false
}

const NOTHING: [What; 2] = [What::Arrival, What::Reply];
const DONE: [What; 3] = [What::Arrival, What::Effect, What::Reply];
const LATE: [What; 3] = [What::Arrival, What::Reply, What::Effect];

#[tokio::test]
async fn refuse_closes_the_connection_and_does_nothing() {
    let client = playing(Rule::every(On::Create, Fault::Refuse)).await;
    let error = client.try_create(101, NINE).await.unwrap_err();
    assert!(!is_reset(&error) && !error.is_timeout(), "{error:?}");
    let ledger = client.sandbox.ledger();
    assert_eq!(course(&ledger), NOTHING);
    assert_eq!(told(&ledger), (None, Some(Fate::Dropped)));
    assert!(ledger.iter().all(|entry| entry.fault == Some(Fault::Refuse)));
    assert!(client.sandbox.bookings().is_empty());
}

#[tokio::test]
async fn too_many_requests_has_the_limiters_headers_and_body() {
    let client = playing(delayed(On::Create, Fault::TooManyRequests, 4_100)).await;
    let response = client.try_create(101, NINE).await.unwrap();
    assert_eq!(response.status(), 429);
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    assert_eq!(header("X-RateLimit-Limit-Default").as_deref(), Some("120"));
    assert_eq!(header("X-RateLimit-Remaining-Default").as_deref(), Some("0"));
    assert_eq!(header("X-RateLimit-Reset-Default").as_deref(), Some("5"), "seconds, rounded up");
    assert_eq!(header("Retry-After"), None);
    let said: serde_json::Value = response.json().await.unwrap();
    assert_eq!(said["error"]["code"], "ThrottlerException");
    assert_eq!(said["error"]["message"], "CustomThrottlerGuard - Too many requests. Please try again later.");
    let ledger = client.ledger_when(replied).await;
    assert_eq!((course(&ledger), told(&ledger)), (NOTHING.to_vec(), (Some(429), Some(Fate::Sent))));
}

#[tokio::test]
async fn a_500_comes_before_or_after_the_effect() {
    for (fault, expected, made) in [(Fault::BrokenBefore, NOTHING.to_vec(), 0), (Fault::BrokenAfter, DONE.to_vec(), 1)]
    {
        let client = playing(Rule::every(On::Create, fault)).await;
        let said = client.create(101, NINE).await;
        assert_eq!(
            (said.status, said.body),
            (500, serde_json::json!({ "statusCode": 500, "message": "Internal server error" }))
        );
        let ledger = client.ledger_when(replied).await;
        assert_eq!((course(&ledger), told(&ledger)), (expected, (Some(500), Some(Fate::Sent))));
        assert_eq!(client.sandbox.bookings().len(), made);
    }
}

#[tokio::test]
async fn a_reset_comes_before_or_after_the_effect() {
    let cases = [(Fault::ResetBefore, NOTHING.to_vec(), None, 0), (Fault::ResetAfter, DONE.to_vec(), Some(201), 1)];
    for (fault, expected, status, made) in cases {
        let client = playing(Rule::every(On::Create, fault)).await;
        let error = client.try_create(101, NINE).await.unwrap_err();
        assert!(is_reset(&error), "{error:?}");
        let ledger = client.sandbox.ledger();
        assert_eq!((course(&ledger), told(&ledger)), (expected, (status, Some(Fate::Dropped))));
        assert_eq!(client.sandbox.bookings().len(), made);
    }
}

#[tokio::test]
async fn a_hanging_request_ends_with_its_client() {
    let cases = [(Fault::HangBefore, NOTHING.to_vec(), None), (Fault::HangAfter, DONE.to_vec(), Some(201))];
    for (fault, expected, status) in cases {
        let client = playing(Rule::every(On::Create, fault)).await;
        let request = client.bare(Method::POST, "/bookings").header("cal-api-version", "2024-08-13");
        let request = request.json(&body(101, NINE)).timeout(Duration::from_millis(300));
        assert!(request.send().await.unwrap_err().is_timeout());
        let ledger = client.ledger_when(replied).await;
        assert_eq!((course(&ledger), told(&ledger)), (expected, (status, Some(Fate::Dropped))));
    }
}

#[tokio::test]
async fn a_hanging_request_ends_after_its_delay() {
    let client = playing(delayed(On::Create, Fault::HangBefore, 150)).await;
    let started = Instant::now();
    let error = client.try_create(101, NINE).await.unwrap_err();
    assert!(!error.is_timeout() && started.elapsed() >= Duration::from_millis(150), "{error:?}");
    assert_eq!(told(&client.sandbox.ledger()), (None, Some(Fate::Dropped)));
}

#[tokio::test]
async fn a_cut_body_shows_its_status_and_half_of_its_json() {
    let client = playing(Rule::every(On::Create, Fault::CutBody)).await;
    let mut response = client.try_create(101, NINE).await.unwrap();
    assert_eq!(response.status(), 201);
    let length = response.content_length().unwrap();
    let mut got = Vec::new();
    let end = loop {
        match response.chunk().await {
            Ok(Some(bytes)) => got.extend(bytes),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert!(end.is_some(), "the client notices");
    assert_eq!(got.len() as u64, length / 2);
    assert!(got.starts_with(b"{"));
    let ledger = client.ledger_when(replied).await;
    assert_eq!((course(&ledger), told(&ledger)), (DONE.to_vec(), (Some(201), Some(Fate::Dropped))));
}

#[tokio::test]
async fn a_late_reply_is_true_and_called_late() {
    let client = playing(delayed(On::Create, Fault::LateReply, 150)).await;
    let started = Instant::now();
    assert_eq!(client.create(101, NINE).await.status, 201);
    assert!(started.elapsed() >= Duration::from_millis(150));
    let ledger = client.ledger_when(replied).await;
    assert_eq!((course(&ledger), told(&ledger)), (DONE.to_vec(), (Some(201), Some(Fate::Late))));
}

#[tokio::test]
async fn a_late_effect_comes_after_its_answer() {
    let client = playing(delayed(On::Create, Fault::LateEffect, 200)).await;
    let answered = client.create(101, NINE);
    assert_eq!(answered.await.status, 500);
    let ledger = client.ledger_when(|ledger| ledger.len() == 3).await;
    assert_eq!((course(&ledger), told(&ledger)), (LATE.to_vec(), (Some(500), Some(Fate::Sent))));
    assert_eq!(ledger[2].effect, Some(Effect::Created));
    assert_eq!(ledger[2].uid.as_deref(), Some(client.sandbox.bookings()[0].uid.as_str()));
}

#[tokio::test]
async fn a_late_effect_that_hangs_comes_after_its_client_has_gone() {
    let client = playing(delayed(On::Create, Fault::LateEffectHang, 100)).await;
    let request = client.bare(Method::POST, "/bookings").header("cal-api-version", "2024-08-13");
    let request = request.json(&body(101, NINE)).timeout(Duration::from_millis(300));
    assert!(request.send().await.unwrap_err().is_timeout());
    let ledger = client.ledger_when(|ledger| ledger.len() == 3).await;
    assert_eq!((course(&ledger), told(&ledger)), (LATE.to_vec(), (None, Some(Fate::Dropped))));
}

#[tokio::test]
async fn a_late_effect_duplicates_a_repetition_where_nothing_prevents_it() {
    let client = Client::start(Config { natural_key: false, overlap: Overlap::Off, ..config() }).await;
    let late = Rule { delay_ms: Some(200), ..Rule::nth(On::Create, 1, Fault::LateEffect) };
    client.sandbox.set_faults(Faults { seed: None, rules: vec![late] }).unwrap();
    assert_eq!(client.create(101, NINE).await.status, 500);
    assert_eq!(client.create(101, NINE).await.status, 201);
    let made = |ledger: &[Entry]| ledger.iter().filter(|entry| entry.effect == Some(Effect::Created)).count();
    let ledger = client.ledger_when(|ledger| made(ledger) == 2).await;
    let order: Vec<_> = ledger.iter().filter(|entry| entry.what == What::Effect).map(|entry| entry.request).collect();
    assert_eq!(order, [2, 1]);
}

#[tokio::test]
async fn moves_cancels_and_reads_meet_faults_too() {
    let client = Client::start(config()).await;
    let uid = client.create(101, NINE).await.uid().to_owned();
    let rules = vec![
        Rule::nth(On::Reschedule, 1, Fault::BrokenAfter),
        Rule::nth(On::Cancel, 1, Fault::ResetAfter),
        Rule::nth(On::Get, 1, Fault::BrokenBefore),
        Rule::nth(On::List, 1, Fault::Refuse),
    ];
    client.sandbox.set_faults(Faults { seed: None, rules }).unwrap();
    assert_eq!(client.reschedule(&uid, "2050-09-05T11:00:00Z").await.status, 500);
    let moved = client.sandbox.bookings()[1].uid.clone();
    let cancelled = client.try_post(&format!("/bookings/{moved}/cancel"), &serde_json::json!({})).await;
    assert!(is_reset(&cancelled.unwrap_err()));
    assert_eq!(client.get(&format!("/bookings/{moved}")).await.status, 500);
    assert_eq!(client.get(&format!("/bookings/{moved}")).await.data()["status"], "cancelled");
    let list = || client.bare(Method::GET, "/bookings").header("cal-api-version", "2024-08-13").bearer_auth("any");
    assert!(list().send().await.is_err());
    assert_eq!(reply(list()).await.status, 200);
    let effects: Vec<_> = client.sandbox.ledger().iter().filter_map(|entry| entry.effect).collect();
    assert_eq!(effects, [Effect::Created, Effect::Rescheduled, Effect::Cancelled]);
}
