//! The way to claim that needs no Redis: what is due, in batches. One job an appointment, one transaction a batch; nobody
//! is waited for, and one that fails stops nobody else.

use crate::world::World;
use domain::id::AppointmentId;
use domain::job::State;
use std::collections::HashSet;
use store::{Claim, Claimed, JobRef, StoreError};

const DUE: &str = "UPDATE job SET run_at = clock_timestamp() - interval '2 seconds' WHERE state = 'available'";

/// Books the first half hour of so many days, and makes all of it due.
async fn backlog(world: &World, days: u32) -> Vec<AppointmentId> {
    let mut ids = Vec::new();
    for n in 0..days {
        let wish = world.wish(n, i64::from(n) * 24 * 60);
        ids.push(world.store.accept_booking(&wish).await.unwrap().appointment_id);
    }
    world.sql(DUE).await;
    ids
}

/// What was granted, and how many are to be claimed by themselves.
async fn claim(world: &World, limit: i64) -> (Vec<Claimed>, Vec<JobRef>) {
    let batch = world.store.claim_due(limit, "w").await.unwrap();
    (batch.claims.into_iter().filter_map(granted).collect(), batch.alone)
}

fn granted(claim: Claim) -> Option<Claimed> {
    match claim {
        Claim::Granted(claimed) => Some(*claimed),
        Claim::Event(_) | Claim::Ended { .. } | Claim::Busy { .. } | Claim::Gone => None,
    }
}

#[tokio::test]
async fn a_batch_is_one_transaction_and_waits_for_nobody() {
    let world = World::new().await;
    let ids = backlog(&world, 4).await;
    let mut elsewhere = world.pool.begin().await.unwrap();
    let lock = "SELECT FROM appointment WHERE appointment_id = $1 FOR UPDATE";
    sqlx::query(lock).bind(ids[1].0).execute(&mut *elsewhere).await.unwrap();

    let (granted, alone) = claim(&world, 10).await;
    assert_eq!((granted.len(), alone.len()), (3, 0), "one job each, and not the one that is locked");
    assert!(granted.iter().all(|c| c.appointment_id != ids[1]));
    assert_eq!(world.count("SELECT count(DISTINCT xmin::text) FROM calcom_op").await, 1, "one transaction");
    assert_eq!(world.count("SELECT count(*) FROM calcom_op WHERE state = 'sent'").await, 3);
    assert_eq!(claim(&world, 10).await.0.len(), 0, "their customers' jobs wait for them");

    elsewhere.rollback().await.unwrap();
    assert_eq!(claim(&world, 10).await.0[0].appointment_id, ids[1]);
    world.gone().await;
}

#[tokio::test]
async fn customers_are_learnt_where_nothing_else_is_to_be_done() {
    let world = World::new().await;
    backlog(&world, 2).await;
    world.sql("UPDATE job SET run_at = clock_timestamp() + interval '1 hour' WHERE kind = 'booking'").await;
    let (granted, alone) = claim(&world, 10).await;
    assert_eq!((granted.len(), alone.len()), (0, 2));
    for job in alone {
        let learnt = world.store.claim(job, "w").await.unwrap();
        assert!(matches!(learnt, Claim::Ended { state: State::Completed, .. }), "{learnt:?}");
    }
    world.gone().await;
}

#[tokio::test]
async fn one_that_fails_stops_nobody_else_and_burns_nothing() {
    let world = World::new().await;
    let ids = backlog(&world, 3).await;
    world.sql("ALTER TABLE appointment DROP CONSTRAINT appointment_status_is_known").await;
    world.sql(&format!("UPDATE appointment SET status = 'strange' WHERE appointment_id = '{}'", ids[0])).await;
    let (granted, alone) = claim(&world, 10).await;
    assert_eq!((granted.len(), alone.len()), (0, 3), "the batch is rolled back");
    let mut fences = Vec::new();
    for job in alone {
        match world.store.claim(job, "w").await {
            Ok(Claim::Granted(claimed)) => fences.push(claimed.fence),
            other => assert!(matches!(other, Err(StoreError::Broken { .. })), "{other:?}"),
        }
    }
    assert_eq!(fences, [1, 1], "and nothing was burnt by it");
    let untouched =
        "SELECT count(*) FROM job WHERE state = 'available' AND fence = 0 AND crashes = 0 AND kind = 'booking'";
    assert_eq!(world.count(untouched).await, 1);
    world.gone().await;
}

/// During an upgrade the newer release enqueues what this one does not know.
#[tokio::test]
async fn a_kind_of_a_newer_release_is_left_to_it() {
    let world = World::new().await;
    backlog(&world, 2).await;
    world.sql("ALTER TABLE job DROP CONSTRAINT job_kind_is_known").await;
    world.sql("UPDATE job SET kind = 'holiday' WHERE kind = 'customer'").await;
    let (granted, alone) = claim(&world, 10).await;
    assert_eq!((granted.len(), alone.len()), (2, 0));
    let foreign: Vec<uuid::Uuid> =
        sqlx::query_scalar("SELECT job_id FROM job WHERE kind = 'holiday'").fetch_all(&world.pool).await.unwrap();
    for job_id in &foreign {
        let job = JobRef { job_id: domain::id::JobId(*job_id), ..granted[0].job };
        assert!(matches!(world.store.claim(job, "w").await.unwrap(), Claim::Gone));
    }
    assert_eq!(foreign.len(), 2);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_a_backlog_and_nothing_is_claimed_twice() {
    let world = World::new().await;
    let ids = backlog(&world, 40).await;
    let drain = |worker: &'static str| {
        let store = world.store.clone();
        async move {
            let mut got = Vec::new();
            loop {
                let claims = store.claim_due(4, worker).await.unwrap().claims;
                let before = got.len();
                got.extend(claims.into_iter().filter_map(granted).map(|claimed| claimed.appointment_id));
                if got.len() == before {
                    return got;
                }
            }
        }
    };
    let (one, two) = tokio::join!(tokio::spawn(drain("one")), tokio::spawn(drain("two")));
    let both = [one.unwrap(), two.unwrap(), drain("rest").await].concat();
    assert_eq!(both.iter().collect::<HashSet<_>>(), ids.iter().collect::<HashSet<_>>());
    assert_eq!(both.len(), 40, "each once");
    assert_eq!(world.count("SELECT count(*) FROM calcom_op").await, 40);
    world.gone().await;
}
