//! Redis or PostgreSQL is taken away in the middle of 500 bookings. Of Redis nobody notices anything; after the death of
//! PostgreSQL whoever had heard "accepted" has his appointment, and whoever asks again has one and not two. What Cal.com
//! does to us is beside it: its limiter (`limiter`), its absence (`outage`), and a part of the matrix of its faults
//! (`matrix`).
//!
//! Deliberately absent: a death at one exact step (`tests/crashes`), slow servers, full disks.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod limiter;
#[cfg(feature = "crashpoints")]
mod matrix;
mod outage;

use futures::{StreamExt, stream};
use harness::{Api, Postgres, Process, Redis, Setup, World, wait_for, wait_until};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use uuid::Uuid;

const BOOKINGS: usize = 500;
const CALLERS: usize = 20;
const STAFF: i32 = 25;
/// The fault strikes as soon as so many have been answered.
const STRIKES_AFTER: usize = 150;
/// Of Cal.com, before and after each effect: so that some bookings are at Cal.com when it strikes.
const LATENCY: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn flushing_redis_loses_nothing() {
    let redis = Redis::start().await;
    let world = world(&redis, None).await;
    let (api, workers, wishes) = programs(&world).await;
    let strike = async || {
        assert!(redis.keys().await > 0, "there was something to lose");
        redis.flush().await;
    };
    let tally = booked_during(&world, &api, &wishes, strike).await;
    nobody_notices("FLUSHALL", world, &redis, tally).await;
    drop(workers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_empty_loses_nothing() {
    let mut redis = Redis::start().await;
    let world = world(&redis, None).await;
    let (api, workers, wishes) = programs(&world).await;
    let strike = async || {
        assert!(redis.keys().await > 0, "there was something to lose");
        redis.kill();
        redis.restart().await;
    };
    let tally = booked_during(&world, &api, &wishes, strike).await;
    nobody_notices("Redis killed and started again", world, &redis, tally).await;
    drop(workers);
}

/// `REDIS_AWAY_SECONDS` says for how long.
#[tokio::test(flavor = "multi_thread")]
async fn without_redis_everything_goes_on() {
    let seconds = std::env::var("REDIS_AWAY_SECONDS").map_or(5, |seconds| seconds.parse().unwrap());
    let mut redis = Redis::start().await;
    let world = world(&redis, None).await;
    let (api, workers, wishes) = programs(&world).await;
    let mut scheduled_without = 0;
    let strike = async || {
        redis.kill();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        scheduled_without = world.count("SELECT count(*) FROM appointment WHERE status = 'scheduled'").await;
        redis.restart().await;
    };
    let tally = booked_during(&world, &api, &wishes, strike).await;
    eprintln!("Redis away for {seconds} s: {scheduled_without} were scheduled before it was back");
    nobody_notices("Redis away", world, &redis, tally).await;
    drop(workers);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_outlives_the_death_of_postgres() {
    let redis = Redis::start().await;
    let mut postgres = Postgres::start().await;
    let world = world(&redis, Some(&postgres)).await;
    let (api, workers, wishes) = programs(&world).await;
    let strike = async || {
        postgres.kill().await;
        postgres.restart().await;
    };
    let tally = booked_during(&world, &api, &wishes, strike).await;
    all_are_scheduled("PostgreSQL killed and started again", &world, &tally).await;
    let again = stream::iter(&wishes).enumerate().map(|(n, wish)| accepted(&api, n, wish, &tally.failures));
    let again: BTreeMap<usize, Uuid> = again.buffer_unordered(CALLERS).collect().await;
    let moved = again.into_iter().filter(|(wish, id)| tally.accepted.get(wish) != Some(id)).count();
    assert_eq!(moved, 0, "a key means the same appointment as before its death");
    world.at_rest().await;
    drop(workers);
}

async fn world(redis: &Redis, postgres: Option<&Postgres>) -> World {
    let shared = Setup::default();
    let postgres = postgres.map_or(shared.postgres, Postgres::url);
    let world = World::of(Setup { staff: STAFF, redis: redis.url(), postgres }).await;
    world.sandbox.set_latency(LATENCY, LATENCY);
    world
}

async fn programs(world: &World) -> (Api, [Process; 2], Vec<Value>) {
    let wishes = stream::iter(0..BOOKINGS).then(|n| world.written(n.try_into().unwrap())).collect().await;
    (world.api().await, [world.worker(None), world.worker(None)], wishes)
}

/// How it went for the callers.
struct Tally {
    begun: Instant,
    /// Which appointment each wish became.
    accepted: BTreeMap<usize, Uuid>,
    /// 5xx and cut connections, each of them followed by another try.
    failures: AtomicUsize,
    /// Had been answered when the fault struck.
    before: usize,
    /// Jobs that had no end when the fault struck.
    unfinished: i64,
}

/// 500 bookings by 20 callers at a time; the fault strikes in their middle.
async fn booked_during(world: &World, api: &Api, wishes: &[Value], strike: impl AsyncFnOnce()) -> Tally {
    let (begun, failures, answered) = (Instant::now(), AtomicUsize::new(0), watch::Sender::new(0));
    let callers = stream::iter(wishes).enumerate().map(|(n, wish)| accepted(api, n, wish, &failures));
    let callers = callers.buffer_unordered(CALLERS).inspect(|_| answered.send_modify(|count| *count += 1)).collect();
    let fault = async {
        answered.subscribe().wait_for(|count| *count >= STRIKES_AFTER).await.unwrap();
        let unfinished = world.count("SELECT count(*) FROM job WHERE finished_at IS NULL").await;
        let before = *answered.borrow();
        strike().await;
        (before, unfinished)
    };
    let (accepted, (before, unfinished)): (BTreeMap<usize, Uuid>, _) = tokio::join!(callers, fault);
    assert!(before < BOOKINGS && unfinished > 0, "it struck in the middle: {before} answers, {unfinished} jobs to do");
    Tally { begun, accepted, failures, before, unfinished }
}

/// The n-th wish as a patient client brings it: again with the same key until it is answered.
async fn accepted(api: &Api, n: usize, wish: &Value, failures: &AtomicUsize) -> (usize, Uuid) {
    let key = format!("wish-{n}");
    wait_for("an answer", async || match api.try_post("/v1/appointments", &[("idempotency-key", &key)], wish).await {
        Ok(answer) if answer.status < 300 => Some((n, appointment(&answer.body))),
        Ok(answer) if answer.status < 500 => panic!("the {n}th wish: {answer:?}"),
        Ok(_) | Err(_) => {
            failures.fetch_add(1, SeqCst);
            None
        }
    })
    .await
}

fn appointment(body: &Value) -> Uuid {
    body["appointment"]["id"].as_str().unwrap().parse().unwrap()
}

/// A loss of Redis: the callers hear of nothing, and the workers find their way back to it.
async fn nobody_notices(fault: &str, world: World, redis: &Redis, tally: Tally) {
    all_are_scheduled(fault, &world, &tally).await;
    assert_eq!(tally.failures.into_inner(), 0, "5xx");
    wait_until("the workers' return to Redis", async || redis.workers().await > 0).await;
    world.at_rest().await;
}

/// None lost, none doubled, by the record and by Cal.com.
async fn all_are_scheduled(fault: &str, world: &World, tally: &Tally) {
    world.rests().await;
    let seconds = tally.begun.elapsed().as_secs_f64();
    let scheduled: Vec<Uuid> = sqlx::query_scalar("SELECT appointment_id FROM appointment WHERE status = 'scheduled'")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    let (live, (requests, effects)) = (world.live(), world.creates());
    eprintln!(
        "{fault}: {BOOKINGS} bookings, {} answered before and {} after, {} jobs under way when it struck, {} 5xx, \
         {} scheduled, {} live, {} requests, {effects} effects, {seconds:.1} s",
        tally.before,
        BOOKINGS - tally.before,
        tally.unfinished,
        tally.failures.load(SeqCst),
        scheduled.len(),
        live.len(),
        requests.len(),
    );
    let accepted: BTreeSet<Uuid> = tally.accepted.values().copied().collect();
    assert_eq!(accepted.len(), BOOKINGS, "each has an appointment of its own");
    let lost: Vec<_> = accepted.iter().filter(|id| !scheduled.contains(id)).collect();
    assert!(lost.is_empty(), "accepted and not scheduled: {lost:?}");
    let all = world.count("SELECT count(*) FROM appointment").await;
    assert_eq!(usize::try_from(all).unwrap(), BOOKINGS, "there is nothing else");
    let times: BTreeSet<_> = live.iter().map(|booking| (booking.host.id, booking.start)).collect();
    assert_eq!((live.len(), times.len(), effects), (BOOKINGS, BOOKINGS, BOOKINGS), "live, distinct, ever made");
}
