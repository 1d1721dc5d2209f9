//! RC2, lost. The old system looked for free times, remembered them for five minutes, and booked the one that the caller
//! chose without looking again; its own remedy was a mark "reserved" that was looked at before and set after.
//! Won in `tests/races/one_offer_one_appointment.rs`.
//!
//! Impossible with us because an offer is advice, a hold is a row under the same constraint as a booking
//! (`slots_no_overlap`), and its end is compared in the statement that books (store/src/accept.rs).

use chrono::{DateTime, TimeDelta, Utc};
use harness::World;
use tokio::sync::Barrier;
use uuid::Uuid;

const FREE: &str =
    "SELECT start FROM generate_series($1::timestamptz, $1 + interval '2 hours', interval '30 minutes') start
                    WHERE NOT EXISTS (SELECT FROM slot WHERE staff_id = 1 AND state IN ('held', 'booked')
                                        AND during && tstzrange(start, start + interval '30 minutes'))
                    ORDER BY start LIMIT 1";
const BOOK: &str =
    "INSERT INTO slot (company_id, appointment_id, slot_id, segment_no, staff_id, during, state, promise_version)
     VALUES ($1, $2, $2, 1, 1, tstzrange($3, $3 + interval '30 minutes'), 'booked', 1)";
const HOLD: &str = "INSERT INTO slot (company_id, appointment_id, slot_id, segment_no, staff_id, during, state,
                                      promise_version, expires_at, token_hash, held_by)
                    VALUES ($1, $2, $2, 1, 1, tstzrange($3, $3 + interval '30 minutes'), 'held', 1,
                            clock_timestamp() + interval '120 seconds', sha256($4::text::bytea), $4)";

async fn without_the_constraint() -> World {
    let world = World::new().await;
    sqlx::query("ALTER TABLE slot DROP CONSTRAINT slots_no_overlap").execute(&world.pool).await.unwrap();
    world
}

async fn offered(world: &World, wished: DateTime<Utc>) -> DateTime<Utc> {
    sqlx::query_scalar(FREE).bind(wished).fetch_one(&world.pool).await.unwrap()
}

async fn book(world: &World, starts_at: DateTime<Utc>) -> sqlx::Result<()> {
    let insert = sqlx::query(BOOK).bind(world.company.company_id).bind(Uuid::now_v7()).bind(starts_at);
    insert.execute(&world.pool).await.map(drop)
}

async fn pairs_that_overlap(world: &World) -> i64 {
    world
        .count(
            "SELECT count(*) FROM slot a JOIN slot b USING (company_id, staff_id)
             WHERE a.during && b.during AND a.slot_id < b.slot_id AND a.state IN ('held', 'booked')
               AND b.state IN ('held', 'booked')",
        )
        .await
}

/// Two callers are offered the same time, think about it, and say yes.
#[tokio::test]
async fn an_offer_that_is_only_remembered_is_booked_twice() {
    let world = without_the_constraint().await;
    let wished = world.wish(0).await.starts_at;
    book(&world, wished).await.unwrap();
    let thinking = Barrier::new(2);
    let caller = async || {
        let remembered = offered(&world, wished).await;
        thinking.wait().await;
        book(&world, remembered).await.map(|()| remembered)
    };
    let (one, other) = tokio::join!(caller(), caller());
    assert_eq!(one.unwrap(), other.unwrap(), "both were offered the same, and both hear yes");
    assert_eq!(pairs_that_overlap(&world).await, 1);
    world.gone().await;
}

/// Looked at before, marked after: a hold that is no constraint is held twice.
#[tokio::test]
async fn a_hold_that_only_marks_is_held_twice() {
    let world = without_the_constraint().await;
    let wished = world.wish(0).await.starts_at;
    let between = Barrier::new(2);
    let hold = async |who: &str| {
        let free = offered(&world, wished).await;
        between.wait().await;
        let insert = sqlx::query(HOLD).bind(world.company.company_id).bind(Uuid::now_v7()).bind(free).bind(who);
        insert.execute(&world.pool).await.unwrap();
        free
    };
    let (one, other) = tokio::join!(hold("call:one"), hold("call:other"));
    assert_eq!(one, other, "both were told that it is kept for them");
    assert_eq!(pairs_that_overlap(&world).await, 1);
    world.gone().await;
}

/// "It has not run out", says the check; then the process stands still for longer than the hold lives, its time is given
/// to another, and the first one books on what it knows.
#[tokio::test]
async fn a_hold_that_is_checked_first_and_used_later_books_over_its_successor() {
    let world = without_the_constraint().await;
    let (company_id, id, starts_at) = (world.company.company_id, Uuid::now_v7(), world.wish(0).await.starts_at);
    sqlx::query(HOLD).bind(company_id).bind(id).bind(starts_at).bind("call:one").execute(&world.pool).await.unwrap();
    let is_mine = "SELECT count(*) FROM slot WHERE state = 'held' AND expires_at > clock_timestamp()";
    assert_eq!(world.count(is_mine).await, 1, "the check");
    // Meanwhile it ends, and the next caller books.
    world
        .sql("UPDATE slot SET state = 'expired', token_hash = NULL, held_by = NULL, ended_at = clock_timestamp()")
        .await;
    book(&world, starts_at + TimeDelta::minutes(15)).await.unwrap();
    let late =
        sqlx::query("UPDATE slot SET state = 'booked' WHERE appointment_id = $1").bind(id).execute(&world.pool).await;
    assert_eq!(late.unwrap().rows_affected(), 1, "the use");
    assert_eq!(pairs_that_overlap(&world).await, 1);
    world.gone().await;
}
