//! What one booking costs the record: three commits that wait for the disk, one for its request that does not, and one
//! more for its customer. `bench cost` has the other figures.
//! Deliberately absent: a time; how long a commit takes is the disk's affair, how many there are is ours.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod steps;

use harness::{Wire, World};

/// The first ones also prepare their statements; the commits are the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_booking_commits_thrice_and_once_for_its_request_and_its_customer_once() {
    let world = World::new().await;
    let wire = Wire::start(&world.database_url()).await;
    let store = world.store_through(&wire.url);
    for n in 0..3 {
        let traffic = steps::book(&world, &store, &wire, n).await;
        assert!(traffic.iter().all(|step| step.statements >= 3), "the wire sees what is said: {traffic:?}");
        assert_eq!(traffic.map(|step| step.commits), [1; 5], "commits of {:?}, booking {n}", steps::STEPS);
    }
    assert_eq!(world.count("SELECT count(*) FROM appointment WHERE status = 'scheduled'").await, 3);
    assert_eq!(world.count("SELECT count(*) FROM customer WHERE name_learnt_at IS NOT NULL").await, 3);
    world.at_rest().await;
}

/// Whose turn it is costs nothing as long as there is plenty for everybody.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_claim_for_a_scarce_key_counts_the_older_promises() {
    let world = World::new().await;
    let wire = Wire::start(&world.database_url()).await;
    let store = world.store_through(&wire.url);
    let mut statements = Vec::new();
    for n in 0..4 {
        if n == 3 {
            // Its last outage ended just now.
            world.sql("UPDATE calcom_key SET up_since = now()").await;
        }
        statements.push(steps::book(&world, &store, &wire, n).await[1].statements);
    }
    assert_eq!(statements[1..], [statements[1], statements[1], statements[1] + 1]);
    world.at_rest().await;
}
