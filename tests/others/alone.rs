//! The sweep alone: no webhook is ever sent, and whatever differs is found all the same and repaired, or put before a
//! person. Doubled it does no harm, and of other companies it sees nothing.

use crate::{by_sweep, starts_at};
use domain::observe::ExternalChanges::OursWins;
use harness::{World, wait_until};
use sandbox::{Effect, Status};

#[tokio::test(flavor = "multi_thread")]
async fn each_difference_is_found_and_repaired_or_put_before_a_person() {
    let world = World::of(harness::Setup { staff: 2, ..harness::Setup::default() }).await;
    let _workers = [world.worker_with(&by_sweep()), world.worker_with(&by_sweep())];
    let mut ids = vec![];
    for n in 0..5 {
        ids.push(world.scheduled(2 * n).await);
    }
    world.rests().await;
    let [cancelled, moved, reassigned, copied, deleted] = ids[..] else { panic!() };
    let uid = async |id| world.booking(id).await.unwrap().uid;
    let elsewhere = world.wish(20).await.starts_at;
    let mut spare = world.foreign(22).await;
    spare["metadata"] = world.marker(copied).await;
    let sandbox = &world.sandbox;
    sandbox.cancel_by_others(&uid(cancelled).await).await.unwrap();
    sandbox.reschedule_by_others(&uid(moved).await, elsewhere).await.unwrap();
    sandbox.reassign_by_others(&uid(reassigned).await, 2).await.unwrap();
    sandbox.create_by_others(&spare).await.unwrap();
    // Not while it might have been made just now.
    wait_until("the end of its quarantine", async || {
        world.count("SELECT count(*) FROM calcom_op WHERE sent_at > now() - interval '3 seconds'").await == 0
    })
    .await;
    let gone = uid(deleted).await;
    sandbox.delete_by_others(&gone).await.unwrap();

    wait_until("what was called off", async || world.status(cancelled).await == "cancelled").await;
    wait_until("what was moved", async || starts_at(&world, moved).await == elsewhere).await;
    world.needs_review(reassigned).await;
    let spares = "SELECT count(*) FROM spare_booking WHERE gone_at IS NOT NULL";
    wait_until("the spare one's end", async || world.count(spares).await == 1).await;
    wait_until("the lost one, made again", async || {
        world.booking(deleted).await.is_some_and(|booking| booking.uid != gone && booking.status == Status::Accepted)
    })
    .await;
    world.rests().await;
    assert_eq!(world.callbacks(cancelled).await, ["cancelled_by_business"]);
    assert_eq!(world.callbacks(moved).await, ["moved_by_business"]);
    assert_eq!(world.callbacks(reassigned).await, ["host_changed"]);
    assert_eq!(world.booking(copied).await.unwrap().start, world.wish(6).await.starts_at);
    assert_eq!(world.booking(deleted).await.unwrap().start, world.wish(8).await.starts_at);
    assert_eq!(world.live().len(), 4, "as many as are promised");
    assert_eq!(world.effects(Effect::Created), 7, "five, the spare one, and the lost one again");
    assert_eq!(world.sandbox.webhook_attempts(), [], "nobody was told");
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bookings_of_others_are_found_and_forgotten() {
    let world = World::new().await;
    let _worker = world.worker_with(&by_sweep());
    let busy = async || world.count("SELECT count(*) FROM external_busy").await;
    let (kept, deleted) = (world.foreign(0).await, world.foreign(1).await);
    let kept = world.sandbox.create_by_others(&kept).await.unwrap();
    let deleted = world.sandbox.create_by_others(&deleted).await.unwrap();
    wait_until("two busy times", async || busy().await == 2).await;
    world.sandbox.delete_by_others(&deleted.uid).await.unwrap();
    wait_until("one of them", async || busy().await == 1).await;
    world.sandbox.cancel_by_others(&kept.uid).await.unwrap();
    wait_until("none", async || busy().await == 0).await;
    world.at_rest().await;
}

/// What is repeated is repaired again: the business moves what we have put back.
#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_goes_on_from_where_it_was() {
    let world = World::new().await;
    world.policy(OursWins).await;
    let _workers = [world.worker_with(&by_sweep()), world.worker_with(&by_sweep())];
    let id = world.scheduled(0).await;
    let read_until = "SELECT count(*) FROM calcom_cursor WHERE read_until >= (SELECT max(sent_at) FROM calcom_op)";
    wait_until("the cursor", async || world.count(read_until).await == 1).await;
    let promised = world.wish(0).await.starts_at;
    for n in 1..4 {
        let uid = world.booking(id).await.unwrap().uid;
        world.sandbox.reschedule_by_others(&uid, world.wish(n).await.starts_at).await.unwrap();
        wait_until("the move put back", async || {
            world.booking(id).await.is_some_and(|booking| booking.uid != uid && booking.start == promised)
        })
        .await;
        world.rests().await;
        wait_until("the cursor, further on", async || world.count(read_until).await == 1).await;
    }
    assert_eq!(world.effects(Effect::Rescheduled), 6, "each move was undone once");
    world.at_rest().await;
}

/// One company's key cannot be read, the other one has none of the first one's troubles and sees none of its bookings.
#[tokio::test(flavor = "multi_thread")]
async fn companies_are_swept_apart() {
    let world = World::new().await;
    let other = world.another_company().await;
    let broken = "UPDATE company_secret SET sealed = decode(repeat('00', 32), 'hex') WHERE company_id = $1";
    let worker = world.worker_with(&by_sweep());
    let id = world.scheduled(0).await;
    world.sandbox.create_by_others(&world.foreign(2).await).await.unwrap();
    wait_until("a busy time", async || world.count("SELECT count(*) FROM external_busy").await == 1).await;
    let swept = "SELECT count(*) FROM calcom_cursor WHERE read_until IS NOT NULL";
    wait_until("both cursors", async || world.count(swept).await == 2).await;
    let foreign = "SELECT (SELECT count(*) FROM external_busy WHERE company_id = $1)
                        + (SELECT count(*) FROM webhook_inbox WHERE company_id = $1)
                        + (SELECT count(*) FROM job WHERE company_id = $1)";
    let seen: i64 = sqlx::query_scalar(foreign).bind(other).fetch_one(&world.pool).await.unwrap();
    assert_eq!(seen, 0, "the other company sees nothing of it");
    drop(worker);
    sqlx::query(broken).bind(other).execute(&world.pool).await.unwrap();
    let _worker = world.worker_with(&by_sweep());
    world.sandbox.cancel_by_others(&world.booking(id).await.unwrap().uid).await.unwrap();
    wait_until("what was called off", async || world.status(id).await == "cancelled").await;
    world.rests().await;
    world.gone().await;
}
