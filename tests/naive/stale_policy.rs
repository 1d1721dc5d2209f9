//! RC7, lost. The old system read a policy, or had it in its cache, decided, and saved the change afterwards; nothing kept
//! the policy as it was until then. Won in `races/policy_and_changes.rs`.
//!
//! Impossible with us because the deciding transaction holds the company's `policy_head` (store/src/policy.rs).

use domain::id::AppointmentId;
use domain::policy::{Asking, Case, Operation, Policies, Ruling, Scope, decide};
use harness::{World, flat, policy};
use store::Ground;
use tokio::sync::Barrier;

const ROUNDS: u32 = 10;

/// What the appointment's handler makes of a policy that it has read.
async fn fee(world: &World, policies: &Policies, id: AppointmentId) -> Option<i64> {
    let (_, case) = world.store.policy_case(world.company.company_id, id).await.unwrap().unwrap();
    match decide(policies, Operation::Cancellation, &Case { who: Asking::Known, ..case }) {
        Ruling::Allowed { fee } => fee.map(|fee| fee.minor.into()),
        Ruling::Denied(denial) => panic!("{denial:?}"),
    }
}

/// The change and what it was decided by, in one transaction, as the old system had it in its best moments.
async fn save(world: &World, policies: &Policies, id: AppointmentId, fee: Option<i64>) {
    let sql = "WITH a AS (UPDATE appointment SET status = 'cancelled', version = 2 WHERE appointment_id = $1 RETURNING *)
               INSERT INTO appointment_event (company_id, appointment_id, version, what, from_status, to_status, who,
                                              policy_version, fee_minor, fee_currency)
               SELECT company_id, appointment_id, 2, 'cancelled', 'requested', 'cancelled', 'customer', $2, $3, 'EUR' FROM a";
    sqlx::query(sql).bind(id.0).bind(policies.head()).bind(fee).execute(&world.pool).await.unwrap();
}

/// The price goes up between the check and its use, and the customer is told the old one afterwards.
#[tokio::test]
async fn a_policy_that_is_read_before_the_transaction_is_a_policy_of_yesterday() {
    let world = World::new().await;
    world.witness_policies().await;
    let company = |minor| policy(Scope::Company, Operation::Cancellation, flat(minor));
    world.publish(Scope::Company, &company(100)).await;
    for round in 0..ROUNDS {
        let id = world.book(round).await;
        let (read, published) = (Barrier::new(2), Barrier::new(2));
        let cancel = async {
            let policies = world.store.policies(world.company.company_id, Ground::default()).await.unwrap();
            let fee = fee(&world, &policies, id).await;
            read.wait().await;
            published.wait().await;
            save(&world, &policies, id, fee).await;
        };
        let publish = async {
            read.wait().await;
            world.publish(Scope::Company, &company(101 + round)).await;
            published.wait().await;
        };
        tokio::join!(cancel, publish);
    }
    let decided = world.decided().await;
    let lost = decided.iter().filter(|one| one.policy_version == one.head - 1 && one.head > 1).count();
    assert_eq!((decided.len(), lost), (ROUNDS as usize, ROUNDS as usize), "{decided:#?}");
    world.gone().await;
}

/// It is read once and kept: every change after the next publication is wrong.
#[tokio::test]
async fn a_policy_in_a_cache_is_wrong_for_as_long_as_it_is_there() {
    let world = World::new().await;
    world.witness_policies().await;
    let company = |minor| policy(Scope::Company, Operation::Cancellation, flat(minor));
    world.publish(Scope::Company, &company(100)).await;
    let cached = world.store.policies(world.company.company_id, Ground::default()).await.unwrap();
    world.publish(Scope::Company, &company(1_500)).await;
    for n in 0..ROUNDS {
        let id = world.book(n).await;
        let fee = fee(&world, &cached, id).await;
        save(&world, &cached, id, fee).await;
    }
    let decided = world.decided().await;
    assert_eq!(decided.len(), ROUNDS as usize);
    assert!(
        decided.iter().all(|one| (one.policy_version, one.head, one.fee_minor) == (1, 2, Some(100))),
        "{decided:#?}"
    );
    world.gone().await;
}
