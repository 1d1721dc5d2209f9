//! Webhooks that come twice, late, in any order or not at all, by a seeded plan; and the list that proves it.

use reqwest::Method;
use sandbox::{Attempt, Config, Outcome, WebhookPlan};
use serde_json::{Value, json};

use crate::client::{Client, config, event_type, reply};
use crate::receiver::Receiver;

const NINE: &str = "2050-09-05T09:00:00Z";
/// Longer than any test.
const FOR_EVER_MS: u64 = 600_000;

async fn planned(plan: WebhookPlan) -> (Client, Receiver) {
    let receiver = Receiver::start().await;
    let webhooks = vec![receiver.subscription()];
    let client = Client::start(Config { webhooks, webhook_plan: plan, ..config() }).await;
    (client, receiver)
}

/// The plan's attempts for so many bookings, each told to one subscription.
async fn attempts(client: &Client, bookings: i64) -> Vec<Attempt> {
    let first = client.sandbox.webhook_attempts().len();
    let hosts = client.sandbox.bookings().len() as i64 + 1_000;
    let event_types = (1..=bookings).map(|n| event_type(hosts + n, hosts + n, 30)).collect();
    client.sandbox.set_event_types(event_types).unwrap();
    for n in 1..=bookings {
        assert_eq!(client.create(hosts + n, NINE).await.status, 201);
    }
    client.sandbox.webhook_attempts().split_off(first)
}

#[tokio::test]
async fn duplicates_are_the_same_to_the_byte() {
    let (client, receiver) = planned(WebhookPlan { duplicates: 2, ..WebhookPlan::default() }).await;
    let uid = client.create(101, NINE).await.uid().to_owned();
    let got = receiver.got();
    assert_eq!(got.len(), 3);
    let signature = |n: usize| got[n].header("x-cal-signature-256");
    assert!((1..3).all(|n| got[n].text == got[0].text && signature(n) == signature(0)));
    let noted = client.sandbox.webhook_attempts();
    let told: Vec<_> = noted.iter().map(|it| (it.seq, it.copy, it.subscription, it.uid == uid, it.outcome)).collect();
    assert_eq!(told, [0, 1, 2].map(|n| (u64::from(n) + 1, n, 0, true, Outcome::Answered)));
}

#[tokio::test]
async fn a_share_is_never_sent_and_the_seed_says_which() {
    let plan = WebhookPlan { seed: Some(7), drop: 0.5, ..WebhookPlan::default() };
    let (client, receiver) = planned(plan.clone()).await;
    let first = attempts(&client, 40).await;
    let dropped = first.iter().filter(|it| it.outcome == Outcome::Dropped).count();
    assert!((5..=35).contains(&dropped), "{dropped}");
    assert_eq!(receiver.got().len(), 40 - dropped);
    assert!(first.iter().all(|it| (it.outcome == Outcome::Dropped) == it.sent_at.is_none()));
    client.sandbox.set_webhook_plan(plan).unwrap();
    let outcomes = |attempts: &[Attempt]| attempts.iter().map(|it| it.outcome).collect::<Vec<_>>();
    assert_eq!(outcomes(&attempts(&client, 40).await), outcomes(&first), "the same seed, the same course");
    client.sandbox.set_webhook_plan(WebhookPlan { seed: Some(8), drop: 0.5, ..WebhookPlan::default() }).unwrap();
    assert_ne!(outcomes(&attempts(&client, 40).await), outcomes(&first));
}

#[tokio::test]
async fn a_cancellation_that_is_lost_is_a_cancellation() {
    let (client, receiver) = planned(WebhookPlan { drop: 1.0, ..WebhookPlan::default() }).await;
    let uid = client.create(101, NINE).await.uid().to_owned();
    assert_eq!(client.cancel(&uid).await.data()["status"], "cancelled");
    client.sandbox.webhooks_at_rest().await;
    assert_eq!(receiver.got().len(), 0);
    assert!(client.sandbox.webhook_attempts().iter().all(|it| it.outcome == Outcome::Dropped));
    assert_eq!(client.sandbox.webhook_attempts().len(), 2);
}

#[tokio::test]
async fn delays_are_drawn_for_each_copy_and_nobody_waits_for_them() {
    let plan = WebhookPlan { seed: Some(7), delay_ms_max: FOR_EVER_MS, ..WebhookPlan::default() };
    let (client, receiver) = planned(plan.clone()).await;
    let first = attempts(&client, 10).await;
    let delays = |attempts: &[Attempt]| attempts.iter().map(|it| it.delay_ms.unwrap()).collect::<Vec<_>>();
    assert!(delays(&first).iter().all(|delay| *delay <= FOR_EVER_MS));
    assert!(!delays(&first).is_sorted(), "they overtake one another: {:?}", delays(&first));
    assert_eq!(receiver.got().len(), 0);
    let at_rest = reply(client.control(Method::GET, "/webhooks/at-rest?within_ms=1")).await;
    assert_eq!((at_rest.status, at_rest.body), (504, json!({ "outstanding": 10 })));

    client.sandbox.set_webhook_plan(plan).unwrap();
    assert_eq!(delays(&attempts(&client, 10).await), delays(&first), "the same seed, the same course");
}

#[tokio::test]
async fn what_was_delayed_arrives_and_then_there_is_rest() {
    let (client, receiver) = planned(WebhookPlan { delay_ms_max: 30, duplicates: 1, ..WebhookPlan::default() }).await;
    attempts(&client, 5).await;
    client.sandbox.webhooks_at_rest().await;
    assert_eq!(receiver.got().len(), 10);
    let at_rest = reply(client.control(Method::GET, "/webhooks/at-rest")).await;
    assert_eq!((at_rest.status, at_rest.body), (200, json!({ "outstanding": 0 })));
}

#[tokio::test]
async fn the_control_surface_sets_and_shows_it_all_but_the_secret() {
    let receiver = Receiver::start().await;
    let client = Client::start(config()).await;
    let put = |path: &str, body: Value| reply(client.control(Method::PUT, path).json(&body));
    let given = json!([
        { "url": receiver.url, "secret": "s3", "triggers": ["BOOKING_CREATED", "BOOKING_CANCELLED"] },
        { "url": receiver.url, "secret": null },
    ]);
    let shown = json!([
        { "url": receiver.url, "signed": true, "triggers": ["BOOKING_CREATED", "BOOKING_CANCELLED"] },
        { "url": receiver.url, "signed": false, "triggers": null },
    ]);
    assert_eq!(put("/webhooks", given).await.body, shown);
    assert_eq!(reply(client.control(Method::GET, "/webhooks")).await.body, shown);
    let plan = put("/webhooks/plan", json!({ "seed": 7, "duplicates": 1 })).await.body;
    assert_eq!(plan, json!({ "seed": 7, "mode": "inline", "duplicates": 1, "delay_ms_max": 0, "drop": 0.0 }));
    assert_eq!(reply(client.control(Method::GET, "/webhooks/plan")).await.body, plan);

    let uid = client.create(101, NINE).await.uid().to_owned();
    let noted = reply(client.control(Method::GET, "/webhooks/attempts?after_seq=3")).await.body;
    let time = "2050-09-01T08:00:00Z";
    assert_eq!(
        noted,
        json!([{
            "seq": 4, "trigger": "BOOKING_CREATED", "uid": uid, "subscription": 1, "copy": 1, "at": time,
            "delay_ms": null, "sent_at": time, "status": 200, "outcome": "answered",
        }])
    );

    for (path, wrong) in [
        ("/webhooks", json!([{ "url": "ftp://127.0.0.1/" }])),
        ("/webhooks", json!([{ "url": "nowhere" }])),
        ("/webhooks/plan", json!({ "drop": 1.5 })),
        ("/webhooks/plan", json!({ "delay_ms_max": 600_001 })),
        ("/webhooks/plan", json!({ "duplicates": 101 })),
    ] {
        let refused = client.control(Method::PUT, path).json(&wrong).send().await.unwrap();
        assert_eq!(refused.status(), 400, "{wrong}");
    }
    assert_eq!(reply(client.control(Method::GET, "/webhooks/plan")).await.body, plan, "as it was");
}
