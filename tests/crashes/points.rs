//! Death at each crash point, of an API or of a worker, over a booking, a cancel and a move.

use crate::{Cost, FOUND, INTENDED_AGAIN, PLAIN, appointment, cost, unhurried};
use crashpoint::Point;
use domain::id::AppointmentId;
use futures::future::join_all;
use harness::{Api, World};
use serde_json::{Value, json};
use std::time::Instant;

/// Each point that there is, at its first passage: one that nobody here passes would never die, and fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_booking_outlives_a_death_at_any_point() {
    join_all(Point::ALL.map(booking)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_outlives_a_death_at_any_point() {
    join_all(Point::ALL.map(cancel)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_outlives_a_death_at_any_point() {
    join_all(Point::ALL.map(reschedule)).await;
}

async fn booking(point: Point) {
    let world = World::new().await;
    let begun = Instant::now();
    let wish = world.written(0).await;
    let id = asked(&world, "/v1/appointments", &wish, point).await;
    survived(&world, point).await;
    cost(&world, "create", point.name(), begun).await.must_be(&price(point), point.name());
    assert_eq!(world.status(id).await, "scheduled", "{point:?}");
    assert_eq!(world.count("SELECT count(*) FROM appointment").await, 1, "{point:?}");
    world.at_rest().await;
}

async fn with_a_booking() -> (World, AppointmentId) {
    let world = World::new().await;
    let id = world.book(0).await;
    let mut before = world.worker_with(&unhurried());
    world.rests().await;
    before.kill();
    (world, id)
}

async fn cancel(point: Point) {
    let (world, id) = with_a_booking().await;
    let begun = Instant::now();
    let path = format!("/v1/appointments/{}/cancel", id.0);
    assert_eq!(asked(&world, &path, &json!({"reason": "ill"}), point).await, id);
    survived(&world, point).await;
    cost(&world, "cancel", point.name(), begun).await.must_be(&price(point), point.name());
    assert_eq!(world.status(id).await, "cancelled", "{point:?}");
    assert_eq!((world.live().len(), world.creates().1), (0, 1), "{point:?}: live, ever made");
    world.at_rest().await;
}

async fn reschedule(point: Point) {
    let (world, id) = with_a_booking().await;
    let begun = Instant::now();
    let new = world.wish(5).await.starts_at;
    let path = format!("/v1/appointments/{}/reschedule", id.0);
    assert_eq!(asked(&world, &path, &json!({"starts_at": new.to_rfc3339()}), point).await, id);
    survived(&world, point).await;
    cost(&world, "reschedule", point.name(), begun).await.must_be(&price(point), point.name());
    assert_eq!(world.status(id).await, "scheduled", "{point:?}");
    assert_eq!(world.live().iter().map(|b| b.start).collect::<Vec<_>>(), [new], "{point:?}");
    world.at_rest().await;
}

fn is_in_the_api(point: Point) -> bool {
    match point {
        Point::AcceptCommitted | Point::Dispatched => true,
        Point::Claimed | Point::Answered | Point::Settled => false,
    }
}

fn price(point: Point) -> Cost {
    match point {
        Point::AcceptCommitted | Point::Dispatched | Point::Settled => PLAIN,
        Point::Claimed => INTENDED_AGAIN,
        Point::Answered => FOUND,
    }
}

/// Asks over HTTP. If the API dies over it, the caller asks another one again, with the same key.
async fn asked(world: &World, path: &str, body: &Value, point: Point) -> AppointmentId {
    let key = [("idempotency-key", "one-wish")];
    if !is_in_the_api(point) {
        let answer = world.api().await.post(path, &key, body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        return AppointmentId(appointment(&answer));
    }
    let mut first: Api = world.api_with(&[crash(point)]).await;
    let heard = first.try_post(path, &key, body).await;
    assert_eq!(first.process.ended().await, None, "{point:?}: it was to be killed");
    let again = world.api().await.post(path, &key, body).await;
    assert_eq!(again.status, 200, "decided before: {again:?}");
    match heard {
        Ok(heard) => assert_eq!(appointment(&heard), appointment(&again), "the same, not another one"),
        Err(cut) => assert!(!cut.is_timeout(), "{cut}"),
    }
    AppointmentId(appointment(&again))
}

/// A worker dies there, if that is where workers pass; another one goes on.
async fn survived(world: &World, point: Point) {
    let times = if price(point) == PLAIN { unhurried().to_vec() } else { vec![] };
    if !is_in_the_api(point) {
        let mut first = world.worker_with(&[&times[..], &[crash(point)]].concat());
        assert_eq!(first.ended().await, None, "{point:?}: it was to be killed");
    }
    let _second = world.worker_with(&times);
    world.rests().await;
}

fn crash(point: Point) -> (&'static str, String) {
    ("CRASH_AT", format!("{}#1", point.name()))
}
