//! A worker dies or stands still around its call to Cal.com.

use crate::{FOUND, INTENDED_AGAIN, cost};
use harness::{Commit, LEASE, Process, Proxy, World, wait_until};
use std::time::{Duration, Instant};

/// Shorter than the call may take.
const LATENCY: Duration = Duration::from_millis(800);
/// Longer than anybody may believe in a lease.
const STANDSTILL: Duration = LEASE.saturating_mul(2);

/// Killed while its request is at Cal.com: the effect comes after its death, or has come before.
async fn dies_in_the_call(before: Duration, after: Duration, what: &str) {
    let world = World::new().await;
    world.sandbox.set_latency(before, after);
    let id = world.book(0).await;
    let mut first = world.worker(None);
    wait_until("the request's arrival", async || !world.creates().0.is_empty()).await;
    if !after.is_zero() {
        wait_until("the effect", async || world.creates().1 == 1).await;
    }
    first.kill();
    let died = Instant::now();
    world.sandbox.set_latency(Duration::ZERO, Duration::ZERO);
    let _second = world.worker(None);
    cost(&world, "create", what, died).await.must_be(&FOUND, what);
    assert_eq!(world.status(id).await, "scheduled");
    assert_eq!(world.creates().1, 1, "effects");
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_call_before_the_effect() {
    dies_in_the_call(LATENCY, Duration::ZERO, "killed in the call before its effect").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_call_after_the_effect() {
    dies_in_the_call(Duration::ZERO, LATENCY, "killed in the call after its effect").await;
}

/// It wakes up with an answer in its hands, and nothing is left to say.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stands_still_in_its_call_has_lost_the_job() {
    let world = World::new().await;
    world.sandbox.set_latency(LATENCY, Duration::ZERO);
    let id = world.book(0).await;
    let first = world.worker(None);
    wait_until("the request's arrival", async || !world.creates().0.is_empty()).await;
    first.pause();
    let since = Instant::now();
    let second = world.worker(None);
    let what = "the worker stands still in its call";
    cost(&world, "create", what, since).await.must_be(&FOUND, what);
    assert_eq!(world.status(id).await, "scheduled");
    wakes_up(&world, since, first, second).await;
    world.at_rest().await;
}

/// Its claim is committed, its call is not made; when it wakes up, its time to make it is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stands_still_before_its_call_does_not_make_it() {
    let world = World::new().await;
    let proxy = Proxy::start(&world.database_url()).await;
    let stop = proxy.stop(Commit::Done, &["INSERT INTO calcom_op"]);
    let id = world.book(0).await;
    let first = world.worker_with(&[("ASKPRO_DATABASE_URL", proxy.url.clone())]);
    let stopped = stop.happened().await;
    first.pause();
    stopped.answer();
    let since = Instant::now();
    let second = world.worker(None);
    let what = "the worker stands still before its call";
    cost(&world, "create", what, since).await.must_be(&INTENDED_AGAIN, what);
    assert_eq!(world.status(id).await, "scheduled");
    wakes_up(&world, since, first, second).await;
    world.at_rest().await;
}

/// The job is done by another one, which leaves. The first one wakes up, ends what it was at, does the next booking, and
/// has asked Cal.com for nothing else.
async fn wakes_up(world: &World, since: Instant, mut first: Process, mut second: Process) {
    tokio::time::sleep(STANDSTILL.saturating_sub(since.elapsed())).await;
    second.kill();
    first.go_on();
    let next = world.book(1).await;
    world.rests().await;
    first.stop();
    assert_eq!(first.ended().await, Some(0), "it has ended what it was at");
    assert_eq!(world.status(next).await, "scheduled");
    assert_eq!((world.creates().0.len(), world.creates().1), (2, 2), "requests and effects: one a booking");
}
