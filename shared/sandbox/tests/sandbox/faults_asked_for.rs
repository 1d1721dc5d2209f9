//! When a fault strikes: by the rules of a plan, by a marker, by `PUT /_sandbox/faults`. Deliberately absent: what each
//! fault does (faults.rs).

use reqwest::Method;
use sandbox::{Config, Fault, Faults, On, Rule, What};
use serde_json::{Value, json};

use crate::client::{Client, body, config, event_type, reply};

const NINE: &str = "2050-09-05T09:00:00Z";

fn start(n: u32) -> String {
    format!("2050-09-{:02}T{:02}:00:00Z", 5 + n / 20, n % 20)
}

async fn statuses(client: &Client, count: u32) -> Vec<u16> {
    let mut statuses = Vec::new();
    for n in 0..count {
        statuses.push(client.create(101, &start(n)).await.status);
    }
    statuses
}

#[tokio::test]
async fn the_nth_of_a_kind_is_struck_and_no_other() {
    let client = Client::start(config()).await;
    let rules = vec![Rule::nth(On::Create, 2, Fault::BrokenBefore)];
    client.sandbox.set_faults(Faults { seed: None, rules: rules.clone() }).unwrap();
    client.get("/bookings").await;
    assert_eq!(statuses(&client, 3).await, [201, 500, 201]);
    client.sandbox.set_faults(Faults { seed: None, rules }).unwrap();
    assert_eq!(client.create(201, NINE).await.status, 201, "the count begins anew");
    assert_eq!(client.create(201, "2050-09-05T10:00:00Z").await.status, 500);
}

#[tokio::test]
async fn the_same_seed_plays_the_same_faults() {
    let likely = |on, fault| Rule { probability: Some(0.3), ..Rule::every(on, fault) };
    let rules = vec![likely(On::Create, Fault::BrokenAfter), likely(On::Create, Fault::TooManyRequests)];
    let mut played = Vec::new();
    for (seed, of_the_config) in [(Some(7), None), (Some(7), Some(8)), (None, Some(7)), (Some(8), Some(7))] {
        let client =
            Client::start(Config { seed: of_the_config, faults: Faults { seed, rules: rules.clone() }, ..config() })
                .await;
        played.push(statuses(&client, 40).await);
    }
    assert_eq!(played[0], played[1]);
    assert_eq!(played[0], played[2]);
    assert_ne!(played[0], played[3]);
    for status in [201, 429, 500] {
        assert!(played[0].contains(&status), "{played:?}");
    }
}

#[tokio::test]
async fn the_first_rule_that_strikes_counts() {
    let client = Client::start(config()).await;
    let rules = vec![Rule::nth(On::Create, 1, Fault::TooManyRequests), Rule::every(On::Create, Fault::BrokenBefore)];
    client.sandbox.set_faults(Faults { seed: None, rules }).unwrap();
    assert_eq!(statuses(&client, 2).await, [429, 500]);
}

#[tokio::test]
async fn a_plan_is_put_shown_and_refused_over_http() {
    let client = Client::start(config()).await;
    let put = |plan: Value| client.control(Method::PUT, "/faults").json(&plan).send();
    let plan = json!({ "seed": 7, "rules": [
        { "on": "create", "nth": 1, "fault": "500_after" },
        { "on": "list", "probability": 0.5, "fault": "hang_before", "delay_ms": 10 },
    ]});
    let mut shown = plan.clone();
    shown["replica_lag_ms"] = json!(0);
    assert_eq!(put(plan.clone()).await.unwrap().json::<Value>().await.unwrap(), shown);
    assert_eq!(client.create(101, NINE).await.status, 500);
    for wrong in [
        json!({ "on": "create", "nth": 0, "fault": "429" }),
        json!({ "on": "create", "nth": 1, "probability": 0.5, "fault": "429" }),
        json!({ "on": "create", "probability": 1.5, "fault": "429" }),
        json!({ "on": "create", "fault": "429", "delay_ms": 600_001 }),
    ] {
        assert_eq!(put(json!({ "rules": [wrong] })).await.unwrap().status(), 400, "{wrong}");
    }
    for wrong in [json!({ "on": "reserve", "fault": "429" }), json!({ "on": "create", "fault": "flood" })] {
        assert_eq!(put(json!({ "rules": [wrong] })).await.unwrap().status(), 422, "{wrong}");
    }
    assert_eq!(reply(client.control(Method::GET, "/faults")).await.body, shown, "what is refused changes nothing");
    for wrong in [json!({ "seed": 8 }), json!({ "replica_lag_ms": 600_001 })] {
        assert_eq!(put(wrong.clone()).await.unwrap().status(), 400, "{wrong}");
    }
    shown["replica_lag_ms"] = json!(250);
    let lagging = put(json!({ "replica_lag_ms": 250 })).await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(lagging, shown, "a missing key leaves that as it is");
    put(json!({ "rules": [] })).await.unwrap();
    assert_eq!(client.create(201, NINE).await.status, 201);
}

#[tokio::test]
async fn a_marker_strikes_its_request_once_and_lets_the_repetition_pass() {
    let client = Client::start(config()).await;
    for (n, place) in ["/metadata/anything", "/attendee/name", "/attendee/email"].into_iter().enumerate() {
        let mut marked = body(101, &start(u32::try_from(n).unwrap()));
        marked["metadata"]["anything"] = json!("");
        *marked.pointer_mut(place).unwrap() = json!("max.fault:500_before@example.com");
        assert_eq!(client.post("/bookings", &marked).await.status, 500, "{place}");
        assert_eq!(client.post("/bookings", &marked).await.status, 201, "{place}");
    }
    let marked = json!({ "cancellationReason": "changed plans (fault:429:3000)" });
    let path = format!("/bookings/{}/cancel", client.sandbox.bookings()[0].uid);
    assert_eq!(client.post(&path, &marked).await.status, 429);
    assert_eq!(client.post(&path, &marked).await.status, 200);
}

#[tokio::test]
async fn a_marker_can_wait_for_a_later_request_about_its_booking() {
    let client = Client::start(config()).await;
    let mut marked = body(101, NINE);
    marked["attendee"]["name"] = json!("Max fault:reschedule:500_before fault:cancel:500_after");
    let uid = client.post("/bookings", &marked).await.uid().to_owned();
    assert_eq!(client.reschedule(&uid, "2050-09-05T11:00:00Z").await.status, 500);
    let moved = client.reschedule(&uid, "2050-09-05T11:00:00Z").await.uid().to_owned();
    assert_eq!(client.cancel(&moved).await.status, 500);
    assert_eq!(client.cancel(&moved).await.status, 400, "cancelled already");
}

#[tokio::test]
async fn what_only_resembles_a_marker_is_none() {
    let client = Client::start(config()).await;
    for (n, name) in ["fault:", "fault:flood", "fault: 500_after", "fault:get:429"].iter().enumerate() {
        let mut marked = body(101, &start(u32::try_from(n).unwrap()));
        marked["attendee"]["name"] = json!(name);

        assert_eq!(client.post("/bookings", &marked).await.status, 201, "{name}");
    }
}

#[tokio::test]
async fn hundreds_at_once_meet_as_many_faults_as_one_by_one() {
    let client = Client::start(config()).await;
    client.sandbox.set_event_types((1..=300).map(|n| event_type(1_000 + n, 1_000 + n, 30)).collect()).unwrap();
    let rules = vec![Rule { probability: Some(0.2), ..Rule::every(On::Create, Fault::BrokenAfter) }];
    client.sandbox.set_faults(Faults { seed: Some(7), rules: rules.clone() }).unwrap();
    let at_once = futures::future::join_all((1..=300).map(|n| client.create(1_000 + n, NINE))).await;
    let struck = at_once.iter().filter(|reply| reply.status == 500).count();
    client.sandbox.set_faults(Faults { seed: Some(7), rules }).unwrap();
    let mut one_by_one = 0;
    for n in 1..=300 {
        one_by_one += usize::from(client.create(1_000 + n, "2050-09-05T12:00:00Z").await.status == 500);
    }
    assert_eq!(struck, one_by_one);
    let effects = client.sandbox.ledger().iter().filter(|entry| entry.what == What::Effect).count();
    assert_eq!(effects, 600);
}
