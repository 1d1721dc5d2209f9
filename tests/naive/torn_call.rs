//! RC9, lost. The old job made call, customer and appointment in statements of their own: one that died between two of
//! them left a part behind, and when it was run again it found the call and believed that all was done. Won in
//! `races/whole_calls.rs` and `crashes/telephone.rs`.
//!
//! Impossible with us because `make_call` (store/src/call.rs) and `accept` are one transaction each, because the job
//! re-reads all events instead of asking whether somebody was here before, and, last, because of
//! `one_call_per_retell_id` (migrations/0002) and `call_that_was_told_of_has_a_customer` (migrations/0011).

use harness::World;
use sqlx::AssertSqlSafe;
use tokio::sync::Barrier;

const CUSTOMER: &str = "'00000000-0000-0000-0000-000000000001'::uuid";
const APPOINTMENT: &str = "'00000000-0000-0000-0000-000000000002'::uuid";

/// `ProcessRetellCallJob::handle()`, statement by statement.
fn statements() -> [String; 4] {
    [
        "INSERT INTO call (company_id, call_id, from_number, status)
           VALUES (1, 'call_a', '+4915112345678', 'ended')"
            .to_owned(),
        format!(
            "INSERT INTO customer (company_id, customer_id, phone, language)
               VALUES (1, {CUSTOMER}, '+4915112345678', 'de')"
        ),
        format!("UPDATE call SET customer_id = {CUSTOMER} WHERE call_id = 'call_a'"),
        format!(
            "INSERT INTO appointment (company_id, appointment_id, customer_id, branch_id, service_id, starts_at, ends_at,
                                      time_zone, status, source, call_id, given_name, language)
               VALUES (1, {APPOINTMENT}, {CUSTOMER}, 1, 1, now(), now() + interval '1 hour', 'UTC', 'requested', 'voice',
                       'call_a', 'Lena Vogt', 'de')"
        ),
    ]
}

async fn without_the_constraints() -> World {
    let world = World::new().await;
    assert_eq!(world.company.company_id, 1);
    let drop = "ALTER TABLE call DROP CONSTRAINT one_call_per_retell_id,
                                 DROP CONSTRAINT call_that_was_told_of_has_a_customer";
    sqlx::query(drop).execute(&world.pool).await.unwrap();
    world
}

/// Runs it up to its death before the n-th statement. False = "this call is done already".
async fn handle(world: &World, dies_before: usize, between: Option<&Barrier>) -> bool {
    let done = world.count("SELECT count(*) FROM call WHERE call_id = 'call_a'").await > 0;
    if let Some(between) = between {
        between.wait().await;
    }
    if done {
        return false;
    }
    for statement in statements().into_iter().take(dies_before) {
        sqlx::query(AssertSqlSafe(statement)).execute(&world.pool).await.unwrap();
    }
    true
}

#[tokio::test]
async fn whoever_dies_between_two_statements_leaves_a_part_for_ever() {
    let all = statements().len();
    for dies_before in 1..all {
        let world = without_the_constraints().await;
        assert!(handle(&world, dies_before, None).await);
        assert_ne!(world.torn_calls().await, 0, "after {dies_before} of {all} statements");
        assert!(!handle(&world, all, None).await, "told again, it finds the call and believes that all is done");
        assert_ne!(world.torn_calls().await, 0, "for ever");
        assert_eq!(world.count("SELECT count(*) FROM appointment").await, 0, "the customer's booking is nowhere");
        world.gone().await;
    }
}

/// Without a death it is torn as well, for as long as it takes.
#[tokio::test]
async fn everybody_sees_the_parts_while_it_runs() {
    let world = without_the_constraints().await;
    let mut torn = Vec::new();
    for statement in statements() {
        sqlx::query(AssertSqlSafe(statement)).execute(&world.pool).await.unwrap();
        torn.push(world.torn_calls().await > 0);
    }
    assert_eq!(torn, [true; 4], "and at the end there is an appointment without a time, a history or a job");
    world.gone().await;
}

#[tokio::test]
async fn two_deliveries_that_look_first_make_two_calls() {
    let world = without_the_constraints().await;
    let between = Barrier::new(2);
    let both = tokio::join!(handle(&world, 1, Some(&between)), handle(&world, 1, Some(&between)));
    assert_eq!(both, (true, true));
    assert_eq!(world.count("SELECT count(*) FROM call WHERE call_id = 'call_a'").await, 2);
    world.gone().await;
}
