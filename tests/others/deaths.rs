//! A worker dies while it follows a hint: after its claim, with what it has read, after its settle. Cal.com tells nothing
//! twice and nobody sweeps; what was told is in the inbox, the lease runs out, and the next worker reads it again.

use crate::by_webhook;
use harness::{Process, World, wait_until};

const POINTS: [&str; 3] = ["claimed", "answered", "settled"];

fn dying(world: &World, point: &str) -> Process {
    let crash_at = [("CRASH_AT", point.to_owned())];
    world.worker_with(&[&by_webhook()[..], &crash_at[..]].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_by_the_business_outlives_whoever_reads_it() {
    for point in POINTS {
        let world = World::new().await;
        let api = world.api().await;
        world.hears(&api).await;
        let first = world.worker_with(&by_webhook());
        let id = world.scheduled(0).await;
        world.calm().await;
        drop(first);

        let mut dies = dying(&world, point);
        let uid = world.booking(id).await.unwrap().uid;
        world.sandbox.cancel_by_others(&uid).await.unwrap();
        assert_eq!(dies.ended().await, None, "killed at {point}");
        let _next = world.worker_with(&by_webhook());
        wait_until("the cancellation", async || world.status(id).await == "cancelled").await;
        world.calm().await;
        let by_whom: Vec<String> = world.history(id).await.into_iter().map(|line| line.who).collect();
        assert_eq!(by_whom, ["customer", "calcom", "business"], "once, at {point}");
        assert_eq!(world.callbacks(id).await, ["cancelled_by_business"], "at {point}");
        assert!(world.live().is_empty(), "at {point}");
        world.at_rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_booking_outlives_whoever_reads_it() {
    for point in POINTS {
        let world = World::new().await;
        let api = world.api().await;
        world.hears(&api).await;
        let mut dies = dying(&world, point);
        world.sandbox.create_by_others(&world.foreign(0).await).await.unwrap();
        assert_eq!(dies.ended().await, None, "killed at {point}");
        let _next = world.worker_with(&by_webhook());
        world.calm().await;
        assert_eq!(world.count("SELECT count(*) FROM external_busy").await, 1, "at {point}");
        assert_eq!(world.count("SELECT count(*) FROM webhook_inbox WHERE applied_at IS NULL").await, 0, "at {point}");
        world.gone().await;
    }
}
