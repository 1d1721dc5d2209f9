//! Reads that lag behind: a change is done and told, and neither a read by uid nor a list shows it yet. Deliberately
//! absent: waiting for a moment of the clock; the tests read again until the change is seen.

use std::time::{Duration, Instant};

use sandbox::Config;
use serde_json::Value;

use crate::client::{Client, Reply, at, config};

const NINE: &str = "2050-09-05T09:00:00Z";
const ELEVEN: &str = "2050-09-05T11:00:00Z";
/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(600);
const LAG: Duration = Duration::from_millis(400);

async fn read(client: &Client, uid: &str) -> Reply {
    client.get(&format!("/bookings/{uid}")).await
}

async fn listed(client: &Client, query: &str) -> Vec<(String, String)> {
    let page = client.get(&format!("/bookings{query}")).await;
    let text = |booking: &Value, key: &str| booking[key].as_str().unwrap().to_owned();
    page.data().as_array().unwrap().iter().map(|it| (text(it, "uid"), text(it, "status"))).collect()
}

#[tokio::test]
async fn a_new_booking_is_invisible_to_reads_and_exists_for_the_rules() {
    let client = Client::start(Config { replica_lag: FOR_EVER, ..config() }).await;
    let uid = client.create(101, NINE).await.uid().to_owned();
    assert_eq!(read(&client, &uid).await.status, 404);
    assert!(listed(&client, "").await.is_empty());
    assert_eq!(client.create(101, NINE).await.status, 409);
    assert_eq!(client.cancel(&uid).await.status, 200);
    assert_eq!(read(&client, &uid).await.status, 404, "the oldest change that is not seen decides");
}

#[tokio::test]
async fn a_cancel_and_a_move_are_seen_late_and_both_at_once() {
    let client = Client::start(config()).await;
    let cancelled = client.create(101, NINE).await.uid().to_owned();
    let old = client.create(201, NINE).await.uid().to_owned();
    client.sandbox.set_replica_lag(FOR_EVER);
    client.cancel(&cancelled).await;
    let new = client.reschedule(&old, ELEVEN).await.uid().to_owned();
    let accepted = |uid: &String| (uid.clone(), "accepted".to_owned());
    assert_eq!(read(&client, &cancelled).await.data()["status"], "accepted");
    assert_eq!(read(&client, &old).await.data()["rescheduledToUid"], Value::Null);
    assert_eq!(read(&client, &new).await.status, 404);
    assert_eq!(listed(&client, "?status=cancelled").await, []);
    assert_eq!(listed(&client, "?sortCreated=asc").await, [accepted(&cancelled), accepted(&old)]);

    client.sandbox.set_replica_lag(Duration::ZERO);
    assert_eq!(read(&client, &cancelled).await.data()["status"], "cancelled");
    assert_eq!(read(&client, &old).await.data()["rescheduledToUid"], new.as_str());
    assert_eq!(listed(&client, "?status=upcoming").await, [accepted(&new)]);
}

#[tokio::test]
async fn a_change_is_seen_when_the_lag_is_over_and_not_before() {
    let client = Client::start(Config { replica_lag: LAG, ..config() }).await;
    let before = Instant::now();
    let uid = client.create(101, NINE).await.uid().to_owned();
    let made = Instant::now();
    let unseen = read(&client, &uid).await.status;
    // On a machine that stands still for so long, the first read proves nothing.
    assert!(unseen == 404 || made.elapsed() >= LAG);
    while read(&client, &uid).await.status == 404 {
        assert!(made.elapsed() < Duration::from_secs(10));
    }
    assert!(before.elapsed() >= LAG);
    assert_eq!(listed(&client, "").await.len(), 1);
}

#[tokio::test]
async fn what_others_do_is_seen_late_too() {
    let client = Client::start(config()).await;
    let uid = client.create(101, NINE).await.uid().to_owned();
    client.sandbox.set_replica_lag(FOR_EVER);
    let moved = client.sandbox.reschedule_by_others(&uid, at(ELEVEN)).await.unwrap();
    assert_eq!(read(&client, &uid).await.data()["status"], "accepted");
    assert_eq!(read(&client, &moved.uid).await.status, 404);
}

#[tokio::test]
async fn a_deleted_booking_is_seen_until_the_lag_is_over() {
    let client = Client::start(config()).await;
    let uid = client.create(101, NINE).await.uid().to_owned();
    let later = client.create(101, ELEVEN).await.uid().to_owned();
    client.sandbox.set_replica_lag(FOR_EVER);
    client.sandbox.delete_by_others(&uid).await.unwrap();
    assert_eq!(read(&client, &uid).await.status, 200);
    let accepted = |uid: &String| (uid.clone(), "accepted".to_owned());
    assert_eq!(listed(&client, "").await, [accepted(&uid), accepted(&later)]);
    client.sandbox.set_replica_lag(Duration::ZERO);
    assert_eq!(read(&client, &uid).await.status, 404);
    assert_eq!(listed(&client, "").await, [accepted(&later)]);
}

#[tokio::test]
async fn what_was_updated_lately_is_not_seen_either() {
    let client = Client::start(config()).await;
    let pending = client.create(301, NINE).await.uid().to_owned();
    let handed = client.create(101, ELEVEN).await.uid().to_owned();
    client.sandbox.set_replica_lag(FOR_EVER);
    client.set_now("2050-09-02T08:00:00Z");
    client.sandbox.confirm_by_others(&pending).await.unwrap();
    client.sandbox.reassign_by_others(&handed, 2).await.unwrap();
    let since = "?afterUpdatedAt=2050-09-02T00:00:00Z";
    assert_eq!(listed(&client, since).await, []);
    client.sandbox.set_replica_lag(Duration::ZERO);
    let accepted = |uid: &String| (uid.clone(), "accepted".to_owned());
    assert_eq!(listed(&client, since).await, [accepted(&pending), accepted(&handed)]);
}
