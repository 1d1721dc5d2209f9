//! RC1, lost. The old system asked a cache of 60 s whether a time was free, and then booked it. Its report recommended
//! `lockForUpdate()`, or a lock in Redis on the exact start: both lose too. Won in `races/one_slot_one_appointment.rs`.
//!
//! Impossible with us because of one line, `slots_no_overlap` (migrations/0003). Before it `lock_staff`
//! (store/src/accept.rs) makes rivals wait their turn and look again: a loser hears what is free, and no error.

use chrono::{DateTime, TimeDelta, Utc};
use harness::{World, wait_until};
use sqlx::postgres::PgDatabaseError;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use uuid::Uuid;

const LOOK: &str = "SELECT 1 FROM slot WHERE state = 'booked' AND staff_id = 1
                    AND during && tstzrange($1, $1 + interval '30 minutes')";
/// The report's fix: what matches no row locks nothing.
const LOCK: &str = "SELECT 1 FROM slot WHERE state = 'booked' AND staff_id = 1
                    AND during && tstzrange($1, $1 + interval '30 minutes') FOR UPDATE";
const INSERT: &str =
    "INSERT INTO slot (company_id, appointment_id, slot_id, segment_no, staff_id, during, state, promise_version)
                      VALUES ($1, $2, $2, 1, 1, tstzrange($3, $3 + interval '30 minutes'), 'booked', 1)";

/// Check, then act: books if `check` finds nobody there. True = booked.
async fn book(world: &World, starts_at: DateTime<Utc>, check: &'static str, between: &Barrier) -> sqlx::Result<bool> {
    let mut tx = world.pool.begin().await?;
    let found: Option<i32> = sqlx::query_scalar(check).bind(starts_at).fetch_optional(&mut *tx).await?;
    between.wait().await;
    if found.is_some() {
        return Ok(false);
    }
    let insert = sqlx::query(INSERT).bind(world.company.company_id).bind(Uuid::now_v7()).bind(starts_at);
    insert.execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(true)
}

/// Two callers at once, `apart` from one another.
async fn both(world: &World, check: &'static str, apart: TimeDelta) -> [sqlx::Result<bool>; 2] {
    let ten = world.wish(4).await.starts_at;
    let between = Barrier::new(2);
    tokio::join!(book(world, ten, check, &between), book(world, ten + apart, check, &between)).into()
}

async fn without_the_constraint() -> World {
    let world = World::new().await;
    sqlx::query("ALTER TABLE slot DROP CONSTRAINT slots_no_overlap").execute(&world.pool).await.unwrap();
    world
}

async fn pairs_that_overlap(world: &World) -> i64 {
    let pairs = "SELECT count(*) FROM slot a JOIN slot b USING (company_id, staff_id)
                 WHERE a.during && b.during AND a.slot_id < b.slot_id AND a.state = 'booked' AND b.state = 'booked'";
    world.count(pairs).await
}

#[tokio::test]
async fn look_then_insert_books_twice() {
    let world = without_the_constraint().await;
    let answers = both(&world, LOOK, TimeDelta::zero()).await;
    assert!(answers.iter().all(|booked| matches!(booked, Ok(true))), "both hear yes: {answers:?}");
    assert_eq!(pairs_that_overlap(&world).await, 1);
    world.gone().await;
}

#[tokio::test]
async fn select_for_update_of_no_row_books_twice() {
    let world = without_the_constraint().await;
    let answers = both(&world, LOCK, TimeDelta::minutes(15)).await;
    assert!(answers.iter().all(|booked| matches!(booked, Ok(true))), "both hear yes: {answers:?}");
    assert_eq!(pairs_that_overlap(&world).await, 1);
    world.gone().await;
}

/// Laravel's `Cache::lock(…)->get()`, in Redis itself: true = ours.
async fn lock(slot: Uuid, starts_at: DateTime<Utc>, milliseconds: u32) -> bool {
    let url = std::env::var("TEST_REDIS_URL").unwrap();
    let address = url.trim_start_matches("redis://").split('/').next().unwrap().to_owned();
    let mut redis = BufReader::new(TcpStream::connect(address).await.unwrap());
    let set = format!("SET slot_lock:{slot}:{} 1 NX PX {milliseconds}\r\n", starts_at.timestamp());
    redis.write_all(set.as_bytes()).await.unwrap();
    let mut answer = String::new();
    redis.read_line(&mut answer).await.unwrap();
    match answer.as_str() {
        "+OK\r\n" => true,
        "$-1\r\n" => false,
        other => panic!("Redis said {other:?}"),
    }
}

#[tokio::test]
async fn a_lock_on_the_exact_start_misses_what_overlaps() {
    let world = without_the_constraint().await;
    let (slot, ten, apart) = (Uuid::now_v7(), world.wish(4).await.starts_at, TimeDelta::minutes(15));
    assert!(lock(slot, ten, 60_000).await && lock(slot, ten + apart, 60_000).await, "each has his lock");
    assert!(!lock(slot, ten, 60_000).await, "and it does lock the exact start");
    let answers = both(&world, LOOK, apart).await;
    assert!(answers.iter().all(|booked| matches!(booked, Ok(true))), "both hear yes: {answers:?}");
    assert_eq!(pairs_that_overlap(&world).await, 1);
    world.gone().await;
}

/// The call to Cal.com takes longer than the lock lives; nothing tells its owner.
#[tokio::test]
async fn a_lock_with_a_time_limit_ends_under_a_slow_call() {
    let world = without_the_constraint().await;
    let (slot, ten) = (Uuid::now_v7(), world.wish(4).await.starts_at);
    assert!(lock(slot, ten, 100).await);
    wait_until("the end of the lock", async || lock(slot, ten, 60_000).await).await;
    let answers = both(&world, LOOK, TimeDelta::zero()).await;
    assert!(answers.iter().all(|booked| matches!(booked, Ok(true))), "both hear yes: {answers:?}");
    assert_eq!(pairs_that_overlap(&world).await, 1);
    world.gone().await;
}

/// Half of ours: with the constraint nobody books twice, but the loser is a failure (or a deadlock), not an answer.
#[tokio::test]
async fn with_the_constraint_alone_the_second_fails() {
    let world = World::new().await;
    let answers = both(&world, LOOK, TimeDelta::minutes(15)).await;
    let failed: Vec<_> = answers.iter().filter_map(|booked| booked.as_ref().err()).collect();
    let [error] = failed[..] else { panic!("{answers:?}") };
    let error = error.as_database_error().unwrap().downcast_ref::<PgDatabaseError>();
    assert!(error.code() == "40P01" || error.constraint() == Some("slots_no_overlap"), "{error}");
    assert_eq!(pairs_that_overlap(&world).await, 0);
    assert_eq!(world.count("SELECT count(*) FROM slot WHERE state = 'booked'").await, 1);
    world.gone().await;
}
