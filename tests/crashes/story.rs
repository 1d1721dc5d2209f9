//! A cancel that arrives while the create is at Cal.com, and its story as the operator reads it.

use crate::unhurried;
use harness::{World, wait_until};
use sandbox::{Entry, What};
use std::time::Duration;

/// Before and after the effect: the create takes 3 s.
const LATENCY: Duration = Duration::from_millis(1_500);

/// The caller changes his mind while the create is on its way: no booking stays, the time is free again.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_while_the_create_is_in_flight_leaves_nothing_behind() {
    let world = World::new().await;
    world.sandbox.set_latency(LATENCY, LATENCY);
    let id = world.book(0).await;
    let _worker = world.worker_with(&unhurried());
    wait_until("the request's arrival", async || !world.creates().0.is_empty()).await;
    world.cancel(id).await;
    assert_eq!(world.status(id).await, "cancelled", "at once");
    let answered = |entry: &Entry| entry.what == What::Reply && entry.method == "POST";
    assert!(!world.sandbox.ledger().iter().any(answered), "the create was still in flight");
    world.rests().await;
    assert_eq!(world.live().len(), 0);
    assert_eq!(world.creates().1, 1, "it was made, and called off");
    let story = world.askpro(&["appointments", "timeline", &id.0.to_string()]);
    eprintln!("{story}");
    let told: Vec<usize> = ["accepted as requested", "from requested to cancelled", "asked to cancel the booking"]
        .iter()
        .map(|part| story.find(part).unwrap_or_else(|| panic!("the story lacks `{part}`")))
        .collect();
    assert!(told.is_sorted(), "in this order");
    let versions: Vec<i32> = sqlx::query_scalar("SELECT version FROM appointment_event ORDER BY version")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(versions, [1, 2], "history without gaps");
    assert_ne!(world.book(0).await, id, "the time is free: the same wish is a new appointment");
    world.rests().await;
    assert_eq!(world.live().len(), 1);
    world.at_rest().await;
}
