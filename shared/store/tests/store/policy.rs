//! Policies in the record: never changed, exempting operators, counted under the locks, and one fee for one decision.

use crate::world::{World, key};
use domain::id::AppointmentId;
use domain::policy::{Operation, Policy, Reason, Rule, Scope, Terms};
use domain::refusal::Refusal;
use sqlx::AssertSqlSafe;
use std::sync::Arc;
use store::{AcceptError, CancelCommand, Published, Replay, StoreError, Who};
use tokio::sync::Barrier;

fn cancel(world: &World, appointment_id: AppointmentId) -> CancelCommand {
    let (company_id, who) = (world.company.company_id, Who::Customer);
    CancelCommand { company_id, appointment_id, if_match: None, who, why: None, call: None, key: None }
}

async fn publish(world: &World, scope: Scope, terms: Terms) -> Published {
    let rules = [(Operation::Cancellation, Rule { terms, ..Rule::default() })];
    let policy = Policy::new(scope, rules.into()).unwrap();
    world.store.publish_policy(world.company.company_id, scope, &policy, "season").await.unwrap()
}

fn window(hours: u16) -> Terms {
    Terms { hours_before: Some(hours), ..Terms::default() }
}

#[tokio::test]
async fn a_version_is_never_changed_and_numbers_have_no_gaps() {
    let world = World::new().await;
    assert_eq!(publish(&world, Scope::Company, window(24)).await, Published::New { version: 1 });
    assert_eq!(publish(&world, Scope::Company, window(24)).await, Published::Unchanged);
    assert_eq!(publish(&world, Scope::Staff(9), window(24)).await, Published::NoSuchScope);
    assert_eq!(publish(&world, Scope::Staff(1), window(24)).await, Published::New { version: 2 });
    assert_eq!(publish(&world, Scope::Company, window(48)).await, Published::New { version: 3 });
    for sql in ["UPDATE policy_version SET why = 'x'", "DELETE FROM policy_version", "TRUNCATE policy_version"] {
        let refused = sqlx::query(AssertSqlSafe(sql)).execute(&world.pool).await.map_err(StoreError::from);
        let name = "policy_version_is_append_only";
        assert!(
            matches!(&refused, Err(StoreError::Refused { constraint }) if constraint == name),
            "{sql}: {refused:?}"
        );
    }
    let all = world.store.policy_versions(world.company.company_id, true).await.unwrap();
    let told: Vec<_> = all.iter().map(|view| (view.version, view.scope, view.in_force)).collect();
    assert_eq!(told, [(3, Scope::Company, true), (2, Scope::Staff(1), true), (1, Scope::Company, false)]);
    assert_eq!(world.store.policy_versions(99, true).await.unwrap(), [], "another company's are not seen");
    world.gone().await;
}

#[tokio::test]
async fn an_operator_is_never_denied_and_without_a_policy_nobody_is() {
    let world = World::new().await;
    let book = async |n, minutes| world.store.accept_booking(&world.wish(n, minutes)).await.unwrap().appointment_id;
    let (free, late, by_hand) = (book(1, 0).await, book(2, 30).await, book(3, 60).await);
    let nothing = world.store.accept_cancel(&cancel(&world, free)).await.unwrap();
    assert_eq!(nothing.fee, None);
    publish(&world, Scope::Service(1), window(8_000)).await;
    let refused = world.store.accept_cancel(&cancel(&world, late)).await;
    let Err(AcceptError::Refused(Refusal::Policy(denial))) = refused else { panic!("{refused:?}") };
    assert!(matches!(denial.reason, Reason::DeadlineMissed { hours_before: 8_000, .. }), "{denial:?}");
    let operator = CancelCommand { who: Who::Operator, ..cancel(&world, by_hand) };
    world.store.accept_cancel(&operator).await.unwrap();
    let withheld = CancelCommand { who: Who::Anonymous, ..cancel(&world, late) };
    let refused = world.store.accept_cancel(&withheld).await;
    let Err(AcceptError::Refused(Refusal::Policy(denial))) = refused else { panic!("{refused:?}") };
    assert_eq!(denial.reason, Reason::AnonymousCallerRestricted);
    let stored: Vec<(String, Option<i32>)> =
        sqlx::query_as("SELECT who, policy_version FROM appointment_event WHERE version = 2 ORDER BY at")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!(stored, [("customer".to_owned(), Some(0)), ("operator".to_owned(), None)]);
    world.gone().await;
}

#[tokio::test]
async fn a_decision_that_is_repeated_has_the_fee_that_it_had() {
    let world = World::new().await;
    let fee = |minor| {
        let fee = domain::money::Money { minor, currency: domain::money::Currency::parse("EUR").unwrap() };
        (fee, Terms { tiers: vec![domain::policy::Tier { hours_before: 0, fee }], ..Terms::default() })
    };
    let id = world.store.accept_booking(&world.wish(1, 0)).await.unwrap().appointment_id;
    publish(&world, Scope::Company, fee(1_000).1).await;
    let command = CancelCommand { key: key("k", 1, Replay::Always), ..cancel(&world, id) };
    assert_eq!(world.store.accept_cancel(&command).await.unwrap().fee, Some(fee(1_000).0));
    publish(&world, Scope::Company, fee(2_000).1).await;
    assert_eq!(world.store.accept_cancel(&command).await.unwrap().fee, Some(fee(1_000).0));
    let view = world.store.appointment(world.company.company_id, id).await.unwrap().unwrap();
    assert_eq!(view.fee, Some(fee(1_000).0));
    world.gone().await;
}

/// One customer, many appointments, all called off at once: no more than the quota goes through.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_holds_when_all_are_called_off_at_once() {
    let world = World::new().await;
    publish(&world, Scope::Company, Terms { max: Some(3), ..Terms::default() }).await;
    let mut rivals = vec![];
    let barrier = Arc::new(Barrier::new(8));
    for n in 0..8 {
        let id = world.store.accept_booking(&world.wish(1, n * 30)).await.unwrap().appointment_id;
        let (store, command, barrier) = (world.store.clone(), cancel(&world, id), barrier.clone());
        rivals.push(tokio::spawn(async move {
            barrier.wait().await;
            store.accept_cancel(&command).await
        }));
    }
    let mut won = 0;
    for rival in rivals {
        match rival.await.unwrap() {
            Ok(_) => won += 1,
            Err(AcceptError::Refused(Refusal::Policy(denial))) => {
                assert_eq!(denial.reason, Reason::QuotaExceeded { max: 3 });
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(won, 3);
    world.gone().await;
}
