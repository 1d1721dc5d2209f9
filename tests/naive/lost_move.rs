//! RC3, lost. The old system checked the version and saved the whole row later, and it believed what a webhook said. Won in
//! `races/command_and_business.rs`.
//!
//! Impossible with us because the version is compared under the appointment's lock, in the transaction that writes
//! (`accept_reschedule`, `accept_cancel`), and because a webhook is a hint: its job reads the booking (store/src/event.rs).

use chrono::{DateTime, Utc};
use domain::id::AppointmentId;
use harness::World;
use serde_json::json;
use tokio::sync::Barrier;

/// A row as its handler has read it.
struct Row {
    status: String,
    starts_at: DateTime<Utc>,
    version: i32,
}

async fn read(world: &World, id: AppointmentId) -> Row {
    let sql = "SELECT status, starts_at, version FROM appointment WHERE appointment_id = $1";
    let (status, starts_at, version) = sqlx::query_as(sql).bind(id.0).fetch_one(&world.pool).await.unwrap();
    Row { status, starts_at, version }
}

/// All of it, changed or not, as an object mapper does it.
async fn save(world: &World, id: AppointmentId, row: &Row) {
    let sql = "UPDATE appointment SET status = $2, starts_at = $3, ends_at = $3 + interval '30 minutes', version = $4
               WHERE appointment_id = $1";
    let save = sqlx::query(sql).bind(id.0).bind(&row.status).bind(row.starts_at).bind(row.version + 1);
    save.execute(&world.pool).await.unwrap();
}

/// What the job of a change asks of Cal.com, and what that answers.
async fn ask(world: &World, uid: &str, verb: &str, body: serde_json::Value) -> u16 {
    let post = reqwest::Client::new().post(format!("{}/bookings/{uid}/{verb}", world.sandbox.url)).json(&body);
    post.bearer_auth("cal_test").header("cal-api-version", "2024-08-13").send().await.unwrap().status().as_u16()
}

/// Both name the version that they have seen, both are right, and both are told that it is done.
#[tokio::test]
async fn two_commands_name_one_version_and_both_win() {
    let world = World::new().await;
    let worker = world.worker(None);
    let id = world.scheduled(0).await;
    world.rests().await;
    drop(worker);
    let (uid, wish) = (world.booking(id).await.unwrap().uid, world.wish(4).await.starts_at);
    let (checked, written) = (Barrier::new(2), Barrier::new(2));
    let cancel = async {
        let row = read(&world, id).await;
        let is_so = row.version == 2;
        checked.wait().await;
        save(&world, id, &Row { status: "cancelled".to_owned(), ..row }).await;
        written.wait().await;
        is_so
    };
    let moves = async {
        let row = read(&world, id).await;
        let is_so = row.version == 2;
        checked.wait().await;
        written.wait().await;
        save(&world, id, &Row { starts_at: wish, ..row }).await;
        is_so
    };
    assert_eq!(tokio::join!(cancel, moves), (true, true), "two winners");
    assert_eq!(ask(&world, &uid, "cancel", json!({"cancellationReason": "changed his mind"})).await, 200);
    assert_eq!(ask(&world, &uid, "reschedule", json!({"start": wish})).await, 400, "nothing is left to be moved");
    let row = read(&world, id).await;
    assert_eq!(
        (row.status.as_str(), row.starts_at, row.version),
        ("scheduled", wish, 3),
        "of two changes one is known"
    );
    assert_eq!(world.live().len(), 0, "the customer comes, and nobody expects him");
    world.gone().await;
}

/// The business moves a booking twice, and the webhooks come in the other order.
#[tokio::test]
async fn a_webhook_that_is_believed_puts_the_past_in_place_of_the_present() {
    let world = World::new().await;
    let worker = world.worker(None);
    let id = world.scheduled(0).await;
    world.rests().await;
    drop(worker);
    let mut uid = world.booking(id).await.unwrap().uid;
    let mut told = vec![];
    for n in [2, 4] {
        let booking = world.sandbox.reschedule_by_others(&uid, world.wish(n).await.starts_at).await.unwrap();
        (uid, told) = (booking.uid, [told, vec![booking.start]].concat());
    }
    for starts_at in told.into_iter().rev() {
        let row = read(&world, id).await;
        save(&world, id, &Row { starts_at, ..row }).await;
    }
    let (row, live) = (read(&world, id).await, world.live());
    assert_eq!(live.iter().map(|booking| booking.start).collect::<Vec<_>>(), [world.wish(4).await.starts_at]);
    assert_eq!(row.starts_at, world.wish(2).await.starts_at, "the customer is told a time that is over");
    world.gone().await;
}
