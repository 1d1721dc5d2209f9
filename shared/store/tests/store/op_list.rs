//! What was asked of Cal.com, and a look that a person wants now.

use crate::world::{World, applied, granted, settle};
use domain::appointment::Sync;
use domain::effect::EffectKind;
use domain::id::AppointmentId;
use domain::job::{Kind, State};
use domain::outcome::Outcome;
use std::time::Duration;
use store::{AcceptError, JobRef, Mode, OpFilter, OpState};
use uuid::Uuid;

const ALL: OpFilter =
    OpFilter { company_id: None, appointment_id: None, state: None, older_than: None, limit: 50, before: None };

async fn book(world: &World, n: u32) -> (AppointmentId, JobRef) {
    let accepted = world.store.accept_booking(&world.wish(n, i64::from(n) * 30)).await.unwrap();
    (accepted.appointment_id, accepted.job.unwrap().job)
}

#[tokio::test]
async fn requests_are_found_by_state_age_company_and_appointment() {
    let world = World::new().await;
    let company_id = world.company.company_id;
    let mut ids = Vec::new();
    for n in 0..3 {
        let (id, job) = book(&world, n).await;
        let claimed = granted(&world, job).await;
        let outcomes = [applied(&claimed, "a-secret-uid"), Outcome::Unknown { answered: Some(409) }];
        if let Some(outcome) = outcomes.get(n as usize) {
            settle(&world, &claimed, outcome).await;
        }
        ids.push(id);
    }
    let ops = world.store.ops(&ALL).await.unwrap();
    let seen: Vec<_> = ops.iter().map(|op| (op.appointment_id, op.state)).collect();
    assert_eq!(seen, [(ids[2], OpState::Sent), (ids[1], OpState::Unknown), (ids[0], OpState::Applied)], "newest first");
    assert!(ops.iter().all(|op| op.kind == EffectKind::Create && op.company == "salon"));
    assert_eq!((ops[1].answered_status, ops[1].next_look_at.is_some(), ops[0].next_look_at), (Some(409), true, None));
    assert!(!format!("{ops:?}").contains("secret"), "never the uid");

    let found = async |filter: OpFilter| world.store.ops(&filter).await.unwrap();
    for (state, id) in [(OpState::Sent, ids[2]), (OpState::Unknown, ids[1]), (OpState::Applied, ids[0])] {
        let of_it = found(OpFilter { state: Some(state), ..ALL }).await;
        assert_eq!(of_it.iter().map(|op| op.appointment_id).collect::<Vec<_>>(), [id]);
        assert_eq!(found(OpFilter { appointment_id: Some(id), ..ALL }).await, of_it);
    }
    assert_eq!(found(OpFilter { company_id: Some(company_id), ..ALL }).await.len(), 3);
    assert!(found(OpFilter { company_id: Some(99), ..ALL }).await.is_empty());
    let page = found(OpFilter { limit: 2, ..ALL }).await;
    assert_eq!(found(OpFilter { before: Some(page[1].op_id), ..ALL }).await, ops[2..]);
    world
        .sql(&format!("UPDATE calcom_op SET sent_at = now() - interval '10 min' WHERE appointment_id = '{}'", ids[1]))
        .await;
    let old = found(OpFilter { older_than: Some(Duration::from_secs(300)), ..ALL }).await;
    assert_eq!(old.iter().map(|op| op.appointment_id).collect::<Vec<_>>(), [ids[1]]);
    world.gone().await;
}

#[tokio::test]
async fn a_look_is_brought_forward_and_the_job_that_makes_it_is_named() {
    let world = World::new().await;
    let company_id = world.company.company_id;
    let verify = async |id| world.store.verify_op(company_id, id, Some("the salon rang")).await;
    let (id, booking) = book(&world, 1).await;
    assert_eq!(verify(id).await.unwrap(), None, "nothing was asked");
    assert!(matches!(verify(AppointmentId(Uuid::from_u128(1))).await, Err(AcceptError::NotFound)));
    assert_eq!(world.count("SELECT count(*) FROM operator_action").await, 0);

    let create = granted(&world, booking).await;
    let at_it = verify(id).await.unwrap().unwrap();
    assert_eq!((at_it.op_id, at_it.job_id, at_it.is_running), (create.op_id, booking.job_id, true));
    settle(&world, &create, &Outcome::Unknown { answered: None }).await;
    let due = verify(id).await.unwrap().unwrap();
    assert_eq!((due.job_id, due.job_kind, due.is_running), (booking.job_id, Kind::Booking, false));
    assert_eq!(granted(&world, booking).await.mode, Mode::Resolve);
    assert_eq!(world.count("SELECT count(*) FROM job WHERE kind = 'sync'").await, 0, "one that waits suffices");
    let noted =
        "SELECT count(*) FROM operator_action WHERE what = 'ops verify' AND why = 'the salon rang' AND subject = (
                   SELECT appointment_id::text FROM appointment)";
    assert_eq!(world.count(noted).await, 2);
    world.gone().await;
}

#[tokio::test]
async fn where_no_job_waits_one_is_enqueued() {
    let world = World::new().await;
    let (id, booking) = book(&world, 1).await;
    let create = granted(&world, booking).await;
    settle(&world, &create, &Outcome::Unknown { answered: None }).await;
    world.sql("UPDATE calcom_op SET sent_at = now() - interval '1 h', next_look_at = now()").await;
    world.sql("UPDATE job SET not_before = '-infinity', run_at = now()").await;
    let look = granted(&world, booking).await;
    assert_eq!(settle(&world, &look, &Outcome::Unknown { answered: None }).await, State::Parked, "out of patience");
    let verifying = world.store.verify_op(world.company.company_id, id, None).await.unwrap().unwrap();
    assert_eq!((verifying.job_kind, verifying.is_running), (Kind::Sync, false));
    let job = JobRef { job_id: verifying.job_id, ..booking };
    let look = granted(&world, job).await;
    assert_eq!((look.mode, look.op_id), (Mode::Resolve, create.op_id));
    assert_eq!(settle(&world, &look, &applied(&create, "u1")).await, State::Completed);
    let view = world.store.appointment(world.company.company_id, id).await.unwrap().unwrap();
    assert_eq!(view.sync, Sync::Synced);
    world.gone().await;
}
