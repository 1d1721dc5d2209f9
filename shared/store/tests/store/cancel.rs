//! Accepting a cancellation: at once, once, and without giving the time back too early.

use crate::world::{World, key};
use domain::appointment::{Status, Sync};
use domain::id::AppointmentId;
use domain::job::Kind;
use domain::refusal::Refusal;
use std::sync::Arc;
use store::{AcceptError, CancelCommand, How, Replay, Who};
use tokio::sync::Barrier;
use uuid::Uuid;

fn cancel(world: &World, appointment_id: AppointmentId) -> CancelCommand {
    CancelCommand {
        company_id: world.company.company_id,
        appointment_id,
        if_match: None,
        who: Who::Customer,
        why: Some("ill".to_owned()),
        call: None,
        key: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_rivals_who_name_a_version_one_wins() {
    let world = World::new().await;
    let id = world.store.accept_booking(&world.wish(1, 0)).await.unwrap().appointment_id;
    let barrier = Arc::new(Barrier::new(2));
    let rivals = [0, 1].map(|_| {
        let (store, barrier) = (world.store.clone(), barrier.clone());
        let command = CancelCommand { if_match: Some(1), ..cancel(&world, id) };
        tokio::spawn(async move {
            barrier.wait().await;
            store.accept_cancel(&command).await
        })
    });
    let mut won = 0;
    for rival in rivals {
        match rival.await.unwrap() {
            Ok(accepted) => {
                assert_eq!((accepted.how, accepted.version, accepted.status), (How::New, 2, Status::Cancelled));
                assert_eq!(accepted.job.unwrap().kind, Kind::Sync);
                assert_eq!(accepted.ring.len(), 1);
                won += 1;
            }
            Err(AcceptError::StaleVersion { current: 2, status: Status::Cancelled }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(won, 1);
    let again = world.store.accept_cancel(&cancel(&world, id)).await.unwrap();
    assert_eq!((again.how, again.version, again.job), (How::Unchanged, 2, None));
    assert_eq!(world.count("SELECT count(*) FROM appointment_event").await, 2);
    let view = world.store.appointment(world.company.company_id, id).await.unwrap().unwrap();
    assert_eq!((view.status, view.reason.as_deref(), view.sync), (Status::Cancelled, Some("ill"), Sync::Pending));
    world.gone().await;
}

#[tokio::test]
async fn what_a_person_does_by_hand_is_noted_once() {
    let world = World::new().await;
    let id = world.store.accept_booking(&world.wish(1, 0)).await.unwrap().appointment_id;
    let command = CancelCommand { who: Who::Operator, why: Some("flooded".to_owned()), ..cancel(&world, id) };
    world.store.accept_cancel(&command).await.unwrap();
    world.store.accept_cancel(&command).await.unwrap();
    let noted = "SELECT count(*) FROM operator_action WHERE what = 'appointments cancel' AND why = 'flooded'";
    assert_eq!((world.count(noted).await, world.count("SELECT count(*) FROM operator_action").await), (1, 1));
    let of_a_customer = world.store.accept_booking(&world.wish(2, 60)).await.unwrap().appointment_id;
    world.store.accept_cancel(&cancel(&world, of_a_customer)).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM operator_action").await, 1);
    world.gone().await;
}

#[tokio::test]
async fn time_is_given_back_at_once_only_if_cal_com_has_nothing() {
    let world = World::new().await;
    let id = world.store.accept_booking(&world.wish(1, 0)).await.unwrap().appointment_id;
    world.store.accept_cancel(&cancel(&world, id)).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM slot WHERE state = 'released' AND ended_at IS NOT NULL").await, 1);

    let id = world.store.accept_booking(&world.wish(1, 0)).await.unwrap().appointment_id;
    world
        .sql(&format!(
        "INSERT INTO calcom_op (company_id, appointment_id, op_id, segment_no, kind, appointment_version, job_id, fence,
                                event_type_id, starts_at, ends_at, deadline_at)
         VALUES ({}, '{id}', gen_random_uuid(), 1, 'create', 1, gen_random_uuid(), 1, 101, now(), now(), now())",
        world.company.company_id
    ))
        .await;
    world.store.accept_cancel(&cancel(&world, id)).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM slot WHERE state = 'booked'").await, 1, "an op is unresolved");
    let answer = world.store.accept_booking(&world.wish(2, 0)).await;
    let Err(AcceptError::Refused(Refusal::BeingReleased { seconds, alternatives })) = answer else {
        panic!("{answer:?}")
    };
    assert!(seconds > 0 && alternatives.len() == 3);

    world.sql("UPDATE calcom_op SET state = 'applied', resolved_at = now()").await;
    world.sql("UPDATE slot SET state = 'released' WHERE state = 'booked'").await;
    let id = world.store.accept_booking(&world.wish(3, 0)).await.unwrap().appointment_id;
    world.sql(&format!("UPDATE segment SET calcom_uid = 'u', calcom_slot_id = slot_id, sync = 'synced' WHERE appointment_id = '{id}'")).await;
    world.sql(&format!("UPDATE appointment SET status = 'scheduled' WHERE appointment_id = '{id}'")).await;
    world.store.accept_cancel(&cancel(&world, id)).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM slot WHERE state = 'booked'").await, 1, "the booking still stands");
    world.gone().await;
}

#[tokio::test]
async fn what_is_over_or_unknown_cannot_be_called_off() {
    let world = World::new().await;
    let id = world.store.accept_booking(&world.wish(1, 0)).await.unwrap().appointment_id;
    let nobody = cancel(&world, AppointmentId(Uuid::from_u128(1)));
    assert!(matches!(world.store.accept_cancel(&nobody).await, Err(AcceptError::NotFound)));
    let foreign = CancelCommand { company_id: 99, ..cancel(&world, id) };
    assert!(matches!(world.store.accept_cancel(&foreign).await, Err(AcceptError::NotFound)));
    world.sql("UPDATE appointment SET starts_at = now() - interval '2 h', ends_at = now() - interval '1 h'").await;
    let answer = world.store.accept_cancel(&cancel(&world, id)).await;
    assert!(matches!(answer, Err(AcceptError::Refused(Refusal::InThePast))));
    world.sql("UPDATE appointment SET status = 'completed'").await;
    let answer = world.store.accept_cancel(&cancel(&world, id)).await;
    assert!(matches!(answer, Err(AcceptError::Refused(Refusal::Final { status: Status::Completed }))));
    world.gone().await;
}

#[tokio::test]
async fn a_second_wish_joins_the_job_that_waits() {
    let world = World::new().await;
    let company_id = world.company.company_id;
    let id = world.store.accept_booking(&world.wish(1, 0)).await.unwrap().appointment_id;
    world.sql(&format!(
        "INSERT INTO job (company_id, job_id, kind, subject, appointment_id, expected_version, run_at, not_before, attempt)
         VALUES ({company_id}, gen_random_uuid(), 'sync', '{id}', '{id}', 1, now() + interval '1 h',
                 now() + interval '30 min', 2)"
    )).await;
    let command = CancelCommand { key: key("k", 1, Replay::Always), ..cancel(&world, id) };
    let accepted = world.store.accept_cancel(&command).await.unwrap();
    let job = accepted.job.unwrap();
    assert!(job.coalesced && accepted.ring.is_empty(), "the floor holds: not to be rung");
    let view = world.store.job(company_id, job.job.job_id).await.unwrap().unwrap();
    assert_eq!((view.expected_version, view.attempt, view.key), (Some(2), 0, format!("sync:{id}")));
    assert_eq!(world.count("SELECT count(*) FROM job WHERE kind = 'sync' AND run_at = not_before").await, 1);
    let replayed = world.store.accept_cancel(&command).await.unwrap();
    assert_eq!((replayed.how, replayed.job.unwrap().job), (How::Replayed, job.job));
    world.gone().await;
}
