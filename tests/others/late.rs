//! A create whose answer is lost and whose effect comes late: within Δ, where the look finds it, and beyond, where nobody
//! waits for it any more. In the end Cal.com has what was promised last, and nothing else.

use crate::{by_sweep, by_webhook, move_to};
use domain::id::AppointmentId;
use harness::{Process, QUARANTINE, World, wait_until};
use sandbox::{Effect, Entry, Fault, Faults, On, Rule};
use std::time::Duration;

/// Long enough for a caller who changes his mind, and for no other look than the one that finds it.
const WITHIN: Duration = Duration::from_millis(1_500);
/// Longer than anybody waits for an effect.
const BEYOND: Duration = QUARANTINE.saturating_mul(3);

/// The first create has its effect so long after its client has gone.
async fn late(after: Duration) -> World {
    let world = World::new().await;
    let delay_ms = Some(u64::try_from(after.as_millis()).unwrap());
    let rule = Rule { delay_ms, ..Rule::nth(On::Create, 1, Fault::LateEffectHang) };
    world.sandbox.set_faults(Faults { seed: None, rules: vec![rule] }).unwrap();
    world
}

/// Waits until the create's answer is lost.
async fn asked(world: &World) -> AppointmentId {
    let id = world.book(0).await;
    wait_until("an unknown outcome", async || world.sync(id).await == "unknown").await;
    assert_eq!(world.effects(Effect::Created), 0, "it has not arrived yet");
    id
}

/// The story as an operator reads it has these parts, in this order.
fn tells(world: &World, id: AppointmentId, parts: &[&str]) {
    let story = world.askpro(&["appointments", "timeline", &id.0.to_string()]);
    eprintln!("{story}\n");
    let mut rest = story.as_str();
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("the story lacks `{part}` (or has it too early)"));
        rest = &rest[at..];
    }
    for booking in world.sandbox.bookings() {
        assert!(!story.contains(&booking.uid), "a uid is a capability");
    }
}

/// When something had this effect for the n-th time.
fn when(world: &World, effect: Effect, nth: usize) -> Entry {
    world.sandbox.ledger().into_iter().filter(|e| e.effect == Some(effect)).nth(nth).unwrap()
}

/// How long the late one, which was the n-th to be made, was there.
fn says_how_long(world: &World, nth: usize, what: &str) {
    let apart = when(world, Effect::Cancelled, 0).at - when(world, Effect::Created, nth).at;
    eprintln!("{what}: gone {:.1} s after it appeared", apart.as_seconds_f64());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_arrives_within_the_quarantine_is_found_and_called_off() {
    let world = late(WITHIN).await;
    let _worker = world.worker_with(&by_sweep());
    let id = asked(&world).await;
    world.cancel(id).await;
    world.rests().await;
    assert_eq!((world.effects(Effect::Created), world.effects(Effect::Cancelled)), (1, 1));
    assert_eq!((world.creates().0.len(), world.live().len()), (1, 0), "asked once, and nothing stays");
    assert_eq!(world.count("SELECT count(*) FROM spare_booking").await, 0, "its own op has found it");
    tells(
        &world,
        id,
        &[
            "accepted as requested",
            "asked to make a booking",
            "from requested to cancelled",
            "has made the booking",
            "asked to cancel the booking",
            "has cancelled the booking",
            "The time is free again",
        ],
    );
    world.at_rest().await;
}

/// The orphan proper: its op has ended, the time has been given back, nobody looks for it.
async fn beyond_the_quarantine(world: World, _worker: Process, what: &str) {
    let id = asked(&world).await;
    world.cancel(id).await;
    world.rests().await;
    assert_eq!(world.effects(Effect::Created), 0, "given up before it came");
    assert_eq!(world.count("SELECT count(*) FROM slot WHERE state = 'booked'").await, 0, "and its time given back");
    wait_until("the orphan's end", async || world.effects(Effect::Cancelled) == 1).await;
    world.sandbox.webhooks_at_rest().await;
    world.rests().await;
    assert_eq!((world.effects(Effect::Created), world.live().len()), (1, 0));
    let gone = "SELECT count(*) FROM spare_booking WHERE gone_at IS NOT NULL";
    assert_eq!(world.count(gone).await, world.count("SELECT count(*) FROM spare_booking").await);
    assert_eq!(world.count(gone).await, 1, "called off as a spare");
    says_how_long(&world, 0, what);
    tells(
        &world,
        id,
        &[
            "accepted as requested",
            "asked to make a booking",
            "from requested to cancelled",
            "has not made the booking",
            "The time is free again",
            "asked to cancel the booking",
            "has cancelled the booking",
        ],
    );
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_arrives_beyond_the_quarantine_is_told_of_and_called_off() {
    let world = late(BEYOND).await;
    let api = world.api().await;
    world.hears(&api).await;
    let worker = world.worker_with(&by_webhook());
    beyond_the_quarantine(world, worker, "told by a webhook").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_arrives_beyond_the_quarantine_is_swept_up() {
    let world = late(BEYOND).await;
    let worker = world.worker_with(&by_sweep());
    beyond_the_quarantine(world, worker, "found by the sweep").await;
}

/// Asked for at one time, moved to another one while nobody knew: one booking, at the time promised last.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_while_the_create_is_unknown_leaves_one_booking() {
    for (after, creates) in [(WITHIN, 1), (BEYOND, 2)] {
        let world = late(after).await;
        let _worker = world.worker_with(&by_sweep());
        let id = asked(&world).await;
        let promised = world.wish(2).await.starts_at;
        move_to(&world, id, promised).await;
        world.rests().await;
        wait_until("the late create", async || world.effects(Effect::Created) == creates).await;
        wait_until("one booking", async || world.live().len() == 1).await;
        world.rests().await;
        assert_eq!(world.live().iter().map(|booking| booking.start).collect::<Vec<_>>(), [promised]);
        assert_eq!(world.booking(id).await.unwrap().start, promised);
        if creates == 2 {
            says_how_long(&world, 1, "the create that was given up");
            tells(
                &world,
                id,
                &[
                    "asked to make a booking",
                    "rescheduled",
                    "has not made the booking",
                    "asked to make a booking",
                    "has made the booking",
                    "asked to cancel the booking",
                ],
            );
        } else {
            tells(
                &world,
                id,
                &[
                    "asked to make a booking",
                    "rescheduled",
                    "has made the booking",
                    "asked to move the booking",
                    "has moved the booking",
                ],
            );
        }
        world.at_rest().await;
    }
}
