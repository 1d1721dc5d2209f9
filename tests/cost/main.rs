//! What one booking costs the record: three commits, and one more for its customer. `bench cost` has the other figures.
//! Deliberately absent: a time; how long a commit takes is the disk's affair, how many there are is ours.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod steps;

use harness::{Wire, World};

/// The first ones also prepare their statements; the commits are the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_booking_commits_thrice_and_its_customer_once() {
    let world = World::new().await;
    let wire = Wire::start(&world.database_url()).await;
    let store = world.store_through(&wire.url);
    for n in 0..3 {
        let traffic = steps::book(&world, &store, &wire, n).await;
        assert!(traffic.iter().all(|step| step.statements >= 3), "the wire sees what is said: {traffic:?}");
        assert_eq!(traffic.map(|step| step.commits), [1; 4], "commits of {:?}, booking {n}", steps::STEPS);
    }
    assert_eq!(world.count("SELECT count(*) FROM appointment WHERE status = 'scheduled'").await, 3);
    assert_eq!(world.count("SELECT count(*) FROM customer WHERE name_learnt_at IS NOT NULL").await, 3);
    world.at_rest().await;
}
