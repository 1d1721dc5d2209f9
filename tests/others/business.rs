//! The business changes a booking of ours at Cal.com, and a webhook tells: the company's policy decides what follows for
//! the customer, and history says who it was.

use crate::{by_webhook, move_to, starts_at};
use chrono::{DateTime, TimeDelta, Utc};
use domain::id::AppointmentId;
use domain::observe::ExternalChanges::{OursWins, Review};
use harness::{Api, Change, Process, World, wait_until};
use sandbox::{Effect, Status};

/// A world whose Cal.com tells an API of everything, and a worker that only sweeps when it starts.
async fn told() -> (World, Api, Process) {
    let world = World::new().await;
    let api = world.api().await;
    world.hears(&api).await;
    let worker = world.worker_with(&by_webhook());
    (world, api, worker)
}

fn by_business(what: &str, why: &str) -> Change {
    Change { what: what.to_owned(), who: "business".to_owned(), why: Some(why.to_owned()) }
}

/// When time is kept for an appointment.
async fn kept(world: &World, id: AppointmentId) -> Vec<DateTime<Utc>> {
    let sql = "SELECT lower(during) FROM slot WHERE appointment_id = $1 AND state = 'booked' ORDER BY during";
    sqlx::query_scalar(sql).bind(id.0).fetch_all(&world.pool).await.unwrap()
}

/// Cal.com tells of our own bookings, moves and cancels, too, and within our own requests.
#[tokio::test(flavor = "multi_thread")]
async fn what_we_do_ourselves_is_recognised_without_a_look() {
    let (world, _api, _worker) = told().await;
    wait_until("the sweep at the start", async || world.reads() >= 2).await;
    let reads = world.reads();
    let (moved, cancelled) = (world.scheduled(0).await, world.scheduled(1).await);
    move_to(&world, moved, world.wish(5).await.starts_at).await;
    world.calm().await;
    world.cancel(cancelled).await;
    world.calm().await;
    assert_eq!(world.sandbox.webhook_attempts().len(), 4, "two made, one moved, one called off");
    assert!(world.sandbox.webhook_attempts().iter().all(|attempt| attempt.status == Some(200)));
    let heard = world.heard().await;
    assert!(!heard.is_empty() && heard.iter().all(|outcome| outcome == "nothing_new"), "{heard:?}");
    assert_eq!(world.reads(), reads, "nothing had to be read");
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_booking_of_ours_is_recognised_too() {
    let (world, _api, _worker) = told().await;
    wait_until("the sweep at the start", async || world.reads() >= 2).await;
    world.confirms_by_hand();
    let reads = world.reads();
    let id = world.book(0).await;
    wait_until("the request", async || world.sync(id).await == "awaiting_confirmation").await;
    world.calm().await;
    assert_eq!((world.status(id).await.as_str(), world.heard().await), ("requested", vec!["nothing_new".to_owned()]));
    assert_eq!(world.reads(), reads, "nothing had to be read");
    world.cancel(id).await;
    world.calm().await;
    assert_eq!(world.effects(Effect::Cancelled), 1);
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_by_the_business_the_appointment_follows() {
    let (world, _api, _worker) = told().await;
    let id = world.scheduled(0).await;
    world.sandbox.cancel_by_others(&world.booking(id).await.unwrap().uid).await.unwrap();
    world.calm().await;
    assert_eq!(world.status(id).await, "cancelled");
    assert_eq!(world.history(id).await.last(), Some(&by_business("cancelled", "cancelled_at_calcom")));
    assert_eq!(world.callbacks(id).await, ["cancelled_by_business"], "nobody's appointment is called off silently");
    assert_eq!(world.creates().1, 1, "and it is not made again");
    assert_ne!(world.book(0).await, id, "the time is free again");
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moved_by_the_business_the_appointment_follows() {
    let (world, _api, _worker) = told().await;
    let id = world.scheduled(0).await;
    let (before, after) = (world.wish(0).await.starts_at, world.wish(4).await.starts_at);
    world.sandbox.reschedule_by_others(&world.booking(id).await.unwrap().uid, after).await.unwrap();
    world.calm().await;
    assert_eq!((world.status(id).await.as_str(), starts_at(&world, id).await), ("scheduled", after));
    assert_eq!(world.history(id).await.last(), Some(&by_business("moved", "moved_at_calcom")));
    assert_eq!(world.callbacks(id).await, ["moved_by_business"]);
    assert_eq!(kept(&world, id).await, [after], "the old time is free, the new one is kept");
    assert_eq!(world.booking(id).await.unwrap().start, after);
    assert_eq!(world.effects(Effect::Rescheduled), 1, "only the business's own");
    let other = world.book(0).await;
    assert_eq!(starts_at(&world, other).await, before);
    world.calm().await;
    world.at_rest().await;
}

/// Also further than one move, each before we have looked.
#[tokio::test(flavor = "multi_thread")]
async fn moved_twice_and_back_the_last_counts() {
    let (world, _api, _worker) = told().await;
    let id = world.scheduled(0).await;
    let mut uid = world.booking(id).await.unwrap().uid;
    for n in [4, 6, 0, 8] {
        let to = world.wish(n).await.starts_at;
        uid = world.sandbox.reschedule_by_others(&uid, to).await.unwrap().uid;
    }
    world.calm().await;
    let booking = world.booking(id).await.unwrap();
    assert_eq!((booking.uid, booking.start), (uid, world.wish(8).await.starts_at));
    assert_eq!(kept(&world, id).await, [world.wish(8).await.starts_at]);
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_our_word_counts_a_move_is_put_back_and_a_cancel_made_again() {
    let (world, _api, _worker) = told().await;
    world.policy(OursWins).await;
    let (moved, cancelled) = (world.scheduled(0).await, world.scheduled(1).await);
    let promised = world.wish(0).await.starts_at;
    let elsewhere = world.wish(4).await.starts_at;
    world.sandbox.reschedule_by_others(&world.booking(moved).await.unwrap().uid, elsewhere).await.unwrap();
    world.sandbox.cancel_by_others(&world.booking(cancelled).await.unwrap().uid).await.unwrap();
    wait_until("the move put back", async || world.effects(Effect::Rescheduled) == 2).await;
    wait_until("the booking made again", async || world.effects(Effect::Created) == 3).await;
    world.calm().await;
    for id in [moved, cancelled] {
        assert_eq!(world.status(id).await, "scheduled");
        assert!(world.history(id).await.iter().all(|line| line.who != "business"), "the promise has not changed");
        assert_eq!(world.booking(id).await.unwrap().status, Status::Accepted);
    }
    assert_eq!(world.booking(moved).await.unwrap().start, promised);
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_person_decides_nothing_is_done_meanwhile() {
    let (world, _api, _worker) = told().await;
    world.policy(Review).await;
    let (moved, cancelled) = (world.scheduled(0).await, world.scheduled(1).await);
    let elsewhere = world.wish(4).await.starts_at;
    world.sandbox.reschedule_by_others(&world.booking(moved).await.unwrap().uid, elsewhere).await.unwrap();
    world.sandbox.cancel_by_others(&world.booking(cancelled).await.unwrap().uid).await.unwrap();
    for id in [moved, cancelled] {
        world.needs_review(id).await;
    }
    world.calm().await;
    assert_eq!(world.callbacks(moved).await, ["moved_elsewhere"]);
    assert_eq!(world.callbacks(cancelled).await, ["cancelled_elsewhere"]);
    for id in [moved, cancelled] {
        assert_eq!(world.status(id).await, "scheduled", "what was promised stands");
    }
    assert_eq!(kept(&world, moved).await, [world.wish(0).await.starts_at, elsewhere], "both times stay occupied");
    assert_eq!(kept(&world, cancelled).await, [world.wish(1).await.starts_at]);
    assert_eq!((world.effects(Effect::Created), world.effects(Effect::Rescheduled)), (2, 1), "nothing was undone");
    // The customer decides himself: the held version is over.
    for id in [moved, cancelled] {
        world.cancel(id).await;
    }
    world.calm().await;
    assert_eq!(world.live().len(), 0);
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_booking_is_confirmed_or_declined_by_the_business() {
    let (world, _api, _worker) = told().await;
    world.confirms_by_hand();
    let (confirmed, declined) = (world.book(0).await, world.book(1).await);
    for id in [confirmed, declined] {
        wait_until("the request", async || world.sync(id).await == "awaiting_confirmation").await;
    }
    world.calm().await;
    world.sandbox.confirm_by_others(&world.booking(confirmed).await.unwrap().uid).await.unwrap();
    world.sandbox.decline_by_others(&world.booking(declined).await.unwrap().uid, "closed").await.unwrap();
    world.calm().await;
    assert_eq!((world.status(confirmed).await.as_str(), world.sync(confirmed).await.as_str()), ("scheduled", "synced"));
    assert_eq!(world.callbacks(confirmed).await, Vec::<String>::new());
    assert_eq!(world.status(declined).await, "rejected");
    assert_eq!(world.history(declined).await.last(), Some(&by_business("rejected", "declined_at_calcom")));
    assert_eq!(world.callbacks(declined).await, ["declined_by_business"]);
    world.at_rest().await;
}

/// The business has moved one booking to a time that another appointment has: a person decides, nobody is cancelled.
#[tokio::test(flavor = "multi_thread")]
async fn moved_onto_another_appointment_s_time_a_person_decides() {
    let (world, _api, worker) = told().await;
    let id = world.scheduled(0).await;
    world.calm().await;
    drop(worker);
    // This one is promised, and not at Cal.com yet.
    let other = world.book(1).await;
    let theirs = world.wish(1).await.starts_at;
    world.sandbox.reschedule_by_others(&world.booking(id).await.unwrap().uid, theirs).await.unwrap();
    let _worker = world.worker_with(&by_webhook());
    world.needs_review(id).await;
    world.calm().await;
    assert_eq!(world.callbacks(id).await, ["conflict"]);
    assert_eq!(
        (world.status(id).await.as_str(), kept(&world, id).await),
        ("scheduled", vec![world.wish(0).await.starts_at])
    );
    // Cal.com had given their time away: they hear it.
    assert_eq!(
        (world.status(other).await.as_str(), world.callbacks(other).await),
        ("rejected", vec!["rejected_by_calcom".to_owned()])
    );
    assert_eq!(world.booking(id).await.unwrap().start, theirs, "the record knows where it stands");
    world.gone().await;
}

/// The customer's newer wish stands against a move that the business made without knowing of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_wish_of_the_customer_stands_against_a_move() {
    let (world, _api, worker) = told().await;
    let id = world.scheduled(0).await;
    world.calm().await;
    drop(worker);
    let (wish, elsewhere) = (world.wish(6).await.starts_at, world.wish(4).await.starts_at);
    world.sandbox.reschedule_by_others(&world.booking(id).await.unwrap().uid, elsewhere).await.unwrap();
    move_to(&world, id, wish).await;
    let _worker = world.worker_with(&by_webhook());
    world.calm().await;
    let booking = world.booking(id).await.unwrap();
    assert_eq!((booking.start, booking.status), (wish, Status::Accepted));
    assert_eq!(starts_at(&world, id).await, wish);
    assert_eq!(kept(&world, id).await, [wish]);
    world.at_rest().await;
}

/// Onto a part of its own time.
#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_was_moved_by_minutes_keeps_its_length() {
    let (world, _api, _worker) = told().await;
    let id = world.scheduled(0).await;
    let after = world.wish(0).await.starts_at + TimeDelta::minutes(15);
    world.sandbox.reschedule_by_others(&world.booking(id).await.unwrap().uid, after).await.unwrap();
    world.calm().await;
    assert_eq!(starts_at(&world, id).await, after);
    assert_eq!(kept(&world, id).await, [after]);
    let ends: DateTime<Utc> =
        sqlx::query_scalar("SELECT ends_at FROM appointment").fetch_one(&world.pool).await.unwrap();
    assert_eq!(ends, after + TimeDelta::minutes(30));
    world.at_rest().await;
}
