//! RC7: policies are published while appointments are called off and moved. Each decision in the history equals the one
//! that is made again from the number that stands beside it, and that number was the newest when it was committed.

use crate::move_and_cancel::{Wish, decided, to};
use crate::{at_once, cancel};
use domain::policy::{Asking, Case, Denial, InForce, Operation, Policies, Policy, Ruling, Scope, Terms, decide};
use domain::refusal::Refusal;
use harness::{World, flat, policy};
use std::collections::BTreeMap;
use store::{AcceptError, Accepted, Published, Store};
use uuid::Uuid;

const ROUNDS: u32 = 240;

enum Answer {
    Published(i32),
    Changed(Result<Accepted, Denial>),
}

/// What the n-th publication says: another fee each time, for company, service and staff in turn; some close the door.
fn nth(n: u32) -> (Scope, Policy) {
    let scope = [Scope::Company, Scope::Staff(1), Scope::Service(1), Scope::Staff(1)][n as usize % 4];
    let operation = [Operation::Cancellation, Operation::Reschedule][n as usize / 4 % 2];
    let hours_before = (n % 5 == 4).then_some(8_000);
    (scope, policy(scope, operation, Terms { hours_before, ..flat(100 + n) }))
}

/// All that was in force with a number: the newest of each scope up to it.
fn in_force(published: &BTreeMap<i32, (Scope, Policy)>, head: i32) -> Policies {
    let mut newest: Vec<InForce> = vec![];
    for (version, (scope, policy)) in published.range(..=head).rev() {
        if newest.iter().all(|one| one.scope != *scope) {
            newest.push(InForce { scope: *scope, version: *version, policy: policy.clone() });
        }
    }
    Policies::new(head, newest)
}

async fn changes(store: Store, wish: Wish) -> Answer {
    match decided(store, wish).await {
        Ok(accepted) => Answer::Changed(Ok(accepted)),
        Err(AcceptError::Refused(Refusal::Policy(denial))) => Answer::Changed(Err(denial)),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_by_was_in_force_when_it_was_committed() {
    let world = World::new().await;
    world.witness_policies().await;
    let company_id = world.company.company_id;
    let mut published = BTreeMap::new();
    let (mut begins, mut moved, mut denied, mut newer) = (BTreeMap::<Uuid, _>::new(), 0, 0, 0);
    for round in 0..ROUNDS {
        let [off, away, free] = [0, 1, 2].map(|n| 3 * round + n);
        let (called_off, moves) = (world.book(off).await, world.book(away).await);
        for (id, n) in [(called_off, off), (moves, away)] {
            begins.insert(id.0, world.wish(n).await.starts_at);
        }
        let (scope, policy) = nth(round);
        let (store, wanted) = (world.store.clone(), policy.clone());
        let publishes = async move {
            match store.publish_policy(company_id, scope, &wanted, "season").await.unwrap() {
                Published::New { version } => Answer::Published(version),
                other @ (Published::Unchanged | Published::NoSuchScope) => panic!("{other:?}"),
            }
        };
        let command = to(&world, moves, world.wish(free).await.starts_at, None);
        let rivals: Vec<futures::future::BoxFuture<'static, Answer>> = vec![
            Box::pin(changes(world.store.clone(), Wish::Cancel(cancel(&world, called_off)))),
            Box::pin(publishes),
            Box::pin(changes(world.store.clone(), Wish::Move(command))),
        ];
        let before = i32::try_from(round).unwrap();
        let mut refused = vec![];
        for (nth, answer) in at_once(rivals).await.into_iter().enumerate() {
            match answer {
                Answer::Published(version) => {
                    assert_eq!(version, before + 1, "numbers have no gaps");
                    published.insert(version, (scope, policy.clone()));
                }
                Answer::Changed(Ok(accepted)) => moved += u32::from(accepted.appointment_id == moves),
                Answer::Changed(Err(denial)) => refused.push((nth, denial)),
            }
        }
        for (nth, denial) in refused {
            let (operation, id) = [(Operation::Cancellation, called_off), (Operation::Reschedule, moves)][nth / 2];
            let now = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&world.pool).await.unwrap();
            let case = Case { who: Asking::Known, starts_at: begins[&id.0], now, reschedules: 0, cancellations: 0 };
            let by = [before, before + 1].map(|head| decide(&in_force(&published, head), operation, &case));
            assert!(by.contains(&Ruling::Denied(denial)), "round {round}: {by:?}");
            denied += 1;
        }
    }
    let decided = world.decided().await;
    for one in &decided {
        assert_eq!(one.policy_version, one.head, "{one:?} was decided by what was no longer in force");
        let operation = if one.to_status == "cancelled" { Operation::Cancellation } else { Operation::Reschedule };
        let starts_at = begins[&one.appointment_id];
        let case = Case { who: Asking::Known, starts_at, now: one.at, reschedules: 0, cancellations: 0 };
        let again = decide(&in_force(&published, one.policy_version), operation, &case);
        let Ruling::Allowed { fee } = again else { panic!("{one:?}, and now {again:?}") };
        assert_eq!(one.fee_minor, fee.map(|fee| fee.minor.into()), "{one:?}");
    }
    for (round, id) in (1..).zip(begins.keys().collect::<Vec<_>>().chunks(2)) {
        newer += decided.iter().filter(|one| id.contains(&&one.appointment_id) && one.policy_version == round).count();
    }
    assert_eq!(decided.len() as u32 + denied, 2 * ROUNDS, "each was decided once");
    assert!(moved > 0 && denied > 0, "{moved} moved, {denied} denied");
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(world.count(deadlocks).await, 0, "deadlocks");
    eprintln!("{ROUNDS} rounds: {denied} denied; {newer} of {} decided by what was published meanwhile", decided.len());
    world.gone().await;
}
