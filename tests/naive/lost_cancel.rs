//! RC8, lost. The old system skipped a job when one of the same key existed, running ones included: a cancel that came
//! while the create ran was dropped, and the booking stayed at Cal.com. Won in `races/one_job_per_key.rs`.
//!
//! Impossible with us because of the two partial indexes (migrations/0004): one may wait *behind* one that runs. Beside
//! them `enqueue` (store/src/enqueue.rs) merges by DO UPDATE under the appointment's lock, and a job ends only after it
//! has compared promise and Cal.com once more (`compare`, store/src/promise.rs); here it acts on what it read first.

use domain::id::AppointmentId;
use harness::World;
use sandbox::{Entry, What};
use serde_json::json;
use sqlx::PgConnection;
use tokio::sync::Barrier;
use uuid::Uuid;

const INSERT: &str = "INSERT INTO job (company_id, job_id, kind, subject, appointment_id)
                      VALUES ($1, $2, 'sync', $3::uuid::text, $3)";
/// Any live one counts, waiting or running.
const EXISTS: &str = "SELECT EXISTS (SELECT FROM job WHERE kind = 'sync' AND appointment_id = $1
                        AND state IN ('available', 'retryable', 'running'))";

/// A promise whose jobs are only those that the test makes.
async fn promised() -> (World, AppointmentId) {
    let world = World::new().await;
    let id = world.book(0).await;
    sqlx::query("DELETE FROM job").execute(&world.pool).await.unwrap();
    (world, id)
}

/// Puts a job into the ledger unless one of its key lives. True = put.
async fn enqueue_unless_one_lives(world: &World, id: AppointmentId, between: Option<&Barrier>) -> bool {
    let lives: bool = sqlx::query_scalar(EXISTS).bind(id.0).fetch_one(&world.pool).await.unwrap();
    if let Some(between) = between {
        between.wait().await;
    }
    if !lives {
        let insert = sqlx::query(INSERT).bind(world.company.company_id).bind(Uuid::now_v7()).bind(id.0);
        insert.execute(&world.pool).await.unwrap();
    }
    !lives
}

/// Takes a job that waits, and reads the promise: the check. False = it is called off already.
async fn begin(world: &World, id: AppointmentId) -> bool {
    let status = "SELECT status FROM appointment WHERE appointment_id = $1";
    let status: String = sqlx::query_scalar(status).bind(id.0).fetch_one(&world.pool).await.unwrap();
    let take = "UPDATE job SET state = 'running', lease_until = now() + interval '1 hour' WHERE job_id = (
                  SELECT job_id FROM job WHERE state = 'available' AND appointment_id = $1 LIMIT 1)";
    let taken = sqlx::query(take).bind(id.0).execute(&world.pool).await.unwrap();
    assert_eq!(taken.rows_affected(), 1, "a job was to wait");
    status == "requested"
}

/// Makes the booking, and ends the job: the use.
async fn end(world: &World, id: AppointmentId) -> u16 {
    let wish = world.wish(0).await;
    let attendee =
        json!({"name": wish.facts.name, "phoneNumber": wish.facts.phone.unwrap().as_e164(), "timeZone": "UTC"});
    let body = json!({"eventTypeId": 101, "start": wish.starts_at.to_rfc3339(), "attendee": attendee});
    let post = reqwest::Client::new().post(format!("{}/bookings", world.sandbox.url)).json(&body);
    let answer = post.bearer_auth("cal_test").header("cal-api-version", "2024-08-13").send().await.unwrap();
    let end = "UPDATE job SET state = 'completed', lease_until = NULL, finished_at = now() WHERE job_id = (
                 SELECT job_id FROM job WHERE state = 'running' AND appointment_id = $1 LIMIT 1)";
    assert_eq!(sqlx::query(end).bind(id.0).execute(&world.pool).await.unwrap().rows_affected(), 1);
    answer.status().as_u16()
}

async fn call_off(conn: &mut PgConnection, id: AppointmentId) {
    let cancel = "UPDATE appointment SET status = 'cancelled', version = version + 1 WHERE appointment_id = $1";
    sqlx::query(cancel).bind(id.0).execute(conn).await.unwrap();
}

/// Nobody is left to do anything, the customer has cancelled, and the business expects him.
async fn is_lost(world: &World, id: AppointmentId) {
    assert_eq!(world.count("SELECT count(*) FROM job WHERE finished_at IS NULL").await, 0);
    assert_eq!((world.status(id).await.as_str(), world.live().len()), ("cancelled", 1));
}

#[tokio::test]
async fn a_cancel_is_dropped_because_the_create_runs() {
    let (world, id) = promised().await;
    assert!(enqueue_unless_one_lives(&world, id, None).await);
    assert!(begin(&world, id).await, "the create has read the promise");
    call_off(&mut world.pool.acquire().await.unwrap(), id).await;
    assert!(!enqueue_unless_one_lives(&world, id, None).await, "dropped as a duplicate");
    assert_eq!(end(&world, id).await, 201);
    is_lost(&world, id).await;
    world.gone().await;
}

/// Merging into the one that waits is not enough: DO NOTHING neither locks it nor stops a claim that has read already.
#[tokio::test]
async fn a_cancel_is_merged_into_a_job_that_has_read_before_it() {
    let (world, id) = promised().await;
    let mut caller = world.pool.begin().await.unwrap();
    assert!(enqueue_unless_one_lives(&world, id, None).await);
    call_off(&mut caller, id).await;
    let merge = sqlx::AssertSqlSafe(format!("{INSERT} ON CONFLICT DO NOTHING"));
    let merge = sqlx::query(merge).bind(world.company.company_id).bind(Uuid::now_v7()).bind(id.0);
    assert_eq!(merge.execute(&mut *caller).await.unwrap().rows_affected(), 0, "one waits: merged into it");
    assert!(begin(&world, id).await, "it has begun, and does not know");
    caller.commit().await.unwrap();
    assert_eq!(end(&world, id).await, 201);
    is_lost(&world, id).await;
    world.gone().await;
}

/// Look, then insert: both see nothing, two jobs wait, and Cal.com is asked twice for one booking.
#[tokio::test]
async fn two_who_look_first_enqueue_twice() {
    let (world, id) = promised().await;
    sqlx::query("DROP INDEX one_waiting_job_per_key, one_running_job_per_key").execute(&world.pool).await.unwrap();
    let between = Barrier::new(2);
    let enqueue = || enqueue_unless_one_lives(&world, id, Some(&between));
    assert_eq!(tokio::join!(enqueue(), enqueue()), (true, true));
    assert!(begin(&world, id).await && begin(&world, id).await, "both run");
    let answers = (end(&world, id).await, end(&world, id).await);
    assert_eq!(answers, (201, 409), "only Cal.com's own unique key saves it");
    let ledger = world.sandbox.ledger();
    let posts = |e: &&Entry| e.what == What::Arrival && e.method == "POST";
    assert_eq!(ledger.iter().filter(posts).count(), 2, "requests for one booking");
    world.gone().await;
}
