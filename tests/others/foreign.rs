//! Bookings that are none of ours: they take time, they give it back, and whoever copies or forges our marker is no one
//! of ours.

use crate::by_webhook;
use domain::refusal::Refusal;
use harness::{World, wait_until};
use store::AcceptError;

async fn busy(world: &World) -> i64 {
    world.count("SELECT count(*) FROM external_busy").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_of_others_takes_time_and_gives_it_back() {
    let world = World::new().await;
    let api = world.api().await;
    world.hears(&api).await;
    let _worker = world.worker_with(&by_webhook());
    let booking = world.sandbox.create_by_others(&world.foreign(0).await).await.unwrap();
    world.calm().await;
    assert_eq!(busy(&world).await, 1);
    let answer = world.store.accept_booking(&world.wish(0).await).await;
    assert!(matches!(answer, Err(AcceptError::Refused(Refusal::Taken { .. }))), "{answer:?}");
    let moved = world.sandbox.reschedule_by_others(&booking.uid, world.wish(1).await.starts_at).await.unwrap();
    world.calm().await;
    assert_eq!(busy(&world).await, 1, "one booking, one time");
    world.scheduled(0).await;
    let answer = world.store.accept_booking(&world.wish(1).await).await;
    assert!(matches!(answer, Err(AcceptError::Refused(Refusal::Taken { .. }))), "{answer:?}");
    world.sandbox.cancel_by_others(&moved.uid).await.unwrap();
    world.calm().await;
    assert_eq!(busy(&world).await, 0);
    world.scheduled(1).await;
    world.calm().await;
    assert_eq!(world.creates().0.len(), 2, "Cal.com was not asked for what was known to be taken");
    world.at_rest().await;
}

/// Cal.com's check is late, and it books somebody onto a time that it has confirmed to us.
#[tokio::test(flavor = "multi_thread")]
async fn a_booking_of_others_over_a_confirmed_one_is_put_before_a_person() {
    let world = World::new().await;
    let api = world.api().await;
    world.hears(&api).await;
    let _worker = world.worker_with(&by_webhook());
    let id = world.scheduled(0).await;
    world.calm().await;
    world.sandbox.set_checks(sandbox::Checks { natural_key: false, overlap: sandbox::Overlap::Off });
    world.sandbox.create_by_others(&world.foreign(0).await).await.unwrap();
    world.needs_review(id).await;
    world.calm().await;
    assert_eq!(world.callbacks(id).await, ["conflict"]);
    assert_eq!(world.status(id).await, "scheduled", "nobody's appointment is called off");
    assert_eq!(world.live().len(), 2);
    world.gone().await;
}

/// Anyone can book with any metadata: only a marker that we have signed counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_marker_is_nobody_s() {
    let world = World::new().await;
    let api = world.api().await;
    world.hears(&api).await;
    let _worker = world.worker_with(&by_webhook());
    let id = world.scheduled(0).await;
    world.calm().await;
    let mut forged = world.foreign(2).await;
    forged["metadata"] = world.marker(id).await;
    let mac = forged["metadata"]["gateway_mac"].as_str().unwrap().to_owned();
    let (key_id, digest) = mac.split_once(':').unwrap();
    let flipped = if digest.starts_with('0') { "1" } else { "0" };
    forged["metadata"]["gateway_mac"] = format!("{key_id}:{flipped}{}", &digest[1..]).into();
    world.sandbox.create_by_others(&forged).await.unwrap();
    world.calm().await;
    assert_eq!(world.count("SELECT count(*) FROM spare_booking").await, 0, "not one of ours, so not ours to cancel");
    assert_eq!(busy(&world).await, 1, "but its time is taken");
    assert_eq!(world.live().len(), 2);
    assert_eq!(world.booking(id).await.unwrap().start, world.wish(0).await.starts_at);
    world.gone().await;
}

/// One that bears a marker of ours, and that no promise owns, is called off by an op of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_spare_booking_is_called_off() {
    let world = World::new().await;
    let api = world.api().await;
    world.hears(&api).await;
    let _worker = world.worker_with(&by_webhook());
    let id = world.scheduled(0).await;
    world.calm().await;
    let mut copied = world.foreign(2).await;
    copied["metadata"] = world.marker(id).await;
    world.sandbox.create_by_others(&copied).await.unwrap();
    wait_until("the orphan", async || {
        world.count("SELECT count(*) FROM spare_booking WHERE gone_at IS NOT NULL").await == 1
    })
    .await;
    world.calm().await;
    assert_eq!(world.live().len(), 1);
    assert_eq!(world.booking(id).await.unwrap().start, world.wish(0).await.starts_at);
    world.at_rest().await;
}
