//! A worker dies by SIGKILL at each step in turn; another one finds what it left. One booking each time, one effect at
//! Cal.com, and nothing sent a second time before its quarantine is over.
//!
//! Needs binaries with the feature `crashpoints`; `./dev test` builds them.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(feature = "crashpoints")]

use chrono::TimeDelta;
use harness::{QUARANTINE, World, wait_until};
use std::time::Duration;

/// Kills a worker at `point`, lets another one go on, and says how many create requests it took.
async fn dies_at(point: &str) -> usize {
    let world = World::new().await;
    let id = world.book(0).await;
    let mut first = world.worker(Some(point));
    assert_eq!(first.ended().await, None, "{point}: it was to be killed");
    let _second = world.worker(None);
    world.rests().await;
    assert_eq!(world.status(id).await, "scheduled", "{point}");
    let (posts, effects) = world.creates();
    assert_eq!(effects, 1, "{point}: effects at Cal.com");
    nothing_twice_within_the_quarantine(&world).await;
    world.at_rest().await;
    posts.len()
}

/// Between two create requests of one marker lies at least Δ, counted from the intent of the first.
async fn nothing_twice_within_the_quarantine(world: &World) {
    let (posts, _) = world.creates();
    let sent: Vec<chrono::DateTime<chrono::Utc>> =
        sqlx::query_scalar("SELECT sent_at FROM calcom_op WHERE kind = 'create' ORDER BY sent_at")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    for (earlier, later) in sent.iter().zip(posts.iter().skip(1)) {
        let apart = later.at - *earlier;
        assert!(apart >= TimeDelta::from_std(QUARANTINE).unwrap(), "sent again after {apart}");
    }
}

/// The intent is committed and nothing was sent: only after Δ may it be asked for.
#[tokio::test(flavor = "multi_thread")]
async fn between_claim_and_act() {
    assert_eq!(dies_at("claimed#1").await, 1);
}

/// The booking stands, and only Cal.com knows: it is found and adopted, not made again.
#[tokio::test(flavor = "multi_thread")]
async fn between_act_and_settle() {
    assert_eq!(dies_at("answered#1").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_settle() {
    assert_eq!(dies_at("settled#1").await, 1);
}

/// Killed while its request is at Cal.com: the effect comes after its death, or has come before.
async fn dies_in_the_call(before: Duration, after: Duration) {
    let world = World::new().await;
    world.sandbox.set_latency(before, after);
    let id = world.book(0).await;
    let mut first = world.worker(None);
    wait_until("the request's arrival", async || !world.creates().0.is_empty()).await;
    if !after.is_zero() {
        wait_until("the effect", async || world.creates().1 == 1).await;
    }
    first.kill();
    world.sandbox.set_latency(Duration::ZERO, Duration::ZERO);
    let _second = world.worker(None);
    world.rests().await;
    assert_eq!(world.status(id).await, "scheduled");
    assert_eq!((world.creates().0.len(), world.creates().1), (1, 1), "requests and effects");
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_call_before_the_effect() {
    dies_in_the_call(Duration::from_millis(800), Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_call_after_the_effect() {
    dies_in_the_call(Duration::ZERO, Duration::from_millis(800)).await;
}

/// The caller changes his mind while the create is on its way: no booking stays, the time is free again.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_while_the_create_is_in_flight_leaves_nothing_behind() {
    let world = World::new().await;
    world.sandbox.set_latency(Duration::from_millis(400), Duration::from_millis(400));
    let id = world.book(0).await;
    let _worker = world.worker(None);
    wait_until("the request's arrival", async || !world.creates().0.is_empty()).await;
    world.cancel(id).await;
    assert_eq!(world.status(id).await, "cancelled", "at once");
    world.rests().await;
    assert_eq!(world.live().len(), 0);
    assert_eq!(world.creates().1, 1, "it was made, and called off");
    world.at_rest().await;
}

/// SIGTERM: what is in flight is settled, and no attempt and no crash is counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_what_is_in_flight() {
    let world = World::new().await;
    world.sandbox.set_latency(Duration::from_millis(500), Duration::ZERO);
    for n in 0..20 {
        world.book(n).await;
    }
    let mut worker = world.worker(None);
    wait_until("requests in flight", async || world.creates().0.len() >= 10).await;
    let begun = world.count("SELECT count(*) FROM calcom_op").await;
    worker.stop();
    assert_eq!(worker.ended().await, Some(0), "drained");
    let settled = "SELECT count(*) FROM appointment WHERE status = 'scheduled'";
    assert!(world.count(settled).await >= begun, "what was claimed is settled");
    assert_eq!(world.count("SELECT count(*) FROM job WHERE state = 'running'").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM calcom_op WHERE state <> 'applied' OR looks > 0").await, 0);
    let _another = world.worker(None);
    world.rests().await;
    assert_eq!(world.count("SELECT count(*) FROM job WHERE attempt > 0 OR crashes > 0").await, 0);
    assert_eq!(world.live().len(), 20);
    world.at_rest().await;
}
