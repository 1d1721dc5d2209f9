//! Cal.com's own limiter, with its own figures: 120 requests in 60 s, then a block. Four processes book at once for one
//! key and are never turned away; what does not fit into a minute waits for the next one and is lost by nobody.
//!
//! Deliberately absent: a 429 that is not our doing (`shared/calcom` and `shared/store` try what follows from it).

use crate::accepted;
use futures::future::join_all;
use harness::{Redis, Setup, World, wait_until};
use sandbox::{RateLimit, most_in_any};
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

const AT_ONCE: u32 = 100;
/// More than the rest of the first minute's budget.
const MORE: u32 = 30;
const WORKERS: usize = 4;
const STAFF: i32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Redis loses everything as soon as so many are scheduled.
const FLUSHED_AFTER: i64 = 20;

const SCHEDULED: &str = "SELECT count(*) FROM appointment WHERE status = 'scheduled'";

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once_are_scheduled_within_the_budget_and_thirty_more_in_the_next_minute() {
    let redis = Redis::start().await;
    let world = World::of(Setup { staff: STAFF, redis: redis.url(), ..Setup::default() }).await;
    world.sandbox.set_rate_limit(Some(RateLimit::default())).unwrap();
    world.sandbox.set_latency(Duration::from_millis(50), Duration::from_millis(50));
    let api = world.api().await;
    let set = [
        // What Cal.com allows, and the default: the other runs raise it.
        ("ASKPRO_CALCOM_REQUESTS_PER_MINUTE", "120".to_owned()),
        // Nothing is to be of unknown outcome here, however busy the machine is: a look costs a request.
        ("ASKPRO_CALCOM_TIMEOUT_MS", "8000".to_owned()),
        ("ASKPRO_LEASE_MS", "10000".to_owned()),
        ("ASKPRO_RENEWAL_MS", "3000".to_owned()),
        ("ASKPRO_QUARANTINE_MS", "9000".to_owned()),
    ];
    let workers = [(); WORKERS].map(|()| world.worker_with(&set));
    let mut wishes = Vec::new();
    for n in 0..AT_ONCE + MORE {
        wishes.push(world.written(n).await);
    }

    let begun = Instant::now();
    let (failures, numbered) = (AtomicUsize::new(0), wishes.iter().enumerate());
    let mut all: Vec<_> = numbered.map(|(n, wish)| accepted(&api, n, wish, &failures)).collect();
    let second = all.split_off(AT_ONCE as usize);
    join_all(all).await;
    wait_until("the first of them", async || world.count(SCHEDULED).await >= FLUSHED_AFTER).await;
    let flushed_at = world.count(SCHEDULED).await;
    redis.flush().await;
    wait_until("all of them", async || world.count(SCHEDULED).await == i64::from(AT_ONCE)).await;
    let (seconds, first_minute) = (begun.elapsed().as_secs_f64(), world.sandbox.ledger());
    assert!(flushed_at < i64::from(AT_ONCE), "Redis was flushed in their middle");

    join_all(second).await;
    world.rests().await;
    let (all_seconds, ledger) = (begun.elapsed().as_secs_f64(), world.sandbox.ledger());
    let most = most_in_any(&ledger, WINDOW);
    let wasted = world.count("SELECT count(*) FROM calcom_op WHERE state = 'never'").await;
    eprintln!(
        "{AT_ONCE} at once scheduled in {seconds:.1} s, Redis flushed at {flushed_at}; {MORE} more after {all_seconds:.1} s; \
         at most {most} requests in any 60 s ({} of the first), {wasted} intents for nothing",
        most_in_any(&first_minute, WINDOW),
    );
    assert!(!ledger.iter().any(|entry| entry.throttled), "nobody was turned away");
    assert!(most <= 120, "{most} requests within 60 s");
    assert_eq!(world.count("SELECT count(*) FROM segment WHERE sync = 'needs_review'").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM callback_request").await, 0);
    assert_eq!(world.count(SCHEDULED).await, i64::from(AT_ONCE + MORE));
    world.at_rest().await;
    drop(workers);
}
