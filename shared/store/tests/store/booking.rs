//! Accepting a booking: one winner, and a precise answer for everybody else.

use crate::world::{World, call, key, phone};
use chrono::TimeDelta;
use domain::appointment::{Status, Sync};
use domain::job::{Kind, State};
use domain::phone::Identity;
use domain::refusal::Refusal;
use std::collections::HashSet;
use std::sync::Arc;
use store::{AcceptError, Accepted, BookingCommand, CancelCommand, How, JobFilter, Replay, Who, Whose};
use tokio::sync::Barrier;

/// All at once, from a barrier.
async fn herd(world: &World, wishes: Vec<BookingCommand>) -> Vec<Result<Accepted, AcceptError>> {
    let barrier = Arc::new(Barrier::new(wishes.len()));
    let tasks: Vec<_> = wishes
        .into_iter()
        .map(|wish| {
            let (store, barrier) = (world.store.clone(), barrier.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                store.accept_booking(&wish).await
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

fn refusal(answer: Result<Accepted, AcceptError>) -> Refusal {
    match answer {
        Err(AcceptError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_booking_is_a_slot_a_segment_an_event_and_two_jobs() {
    let world = World::new().await;
    let wish = BookingCommand { call: call("c1"), notes: Some("Tür links".to_owned()), ..world.wish(1, 0) };
    let accepted = world.store.accept_booking(&wish).await.unwrap();
    assert_eq!((accepted.how, accepted.version, accepted.status), (How::New, 1, Status::Requested));
    let job = accepted.job.unwrap();
    assert_eq!((job.kind, job.coalesced, job.state), (Kind::Booking, false, State::Available));
    assert_eq!(accepted.ring.len(), 2);
    assert_eq!(accepted.ring[0], job.job);
    let company_id = world.company.company_id;
    let view = world.store.appointment(company_id, accepted.appointment_id).await.unwrap().unwrap();
    assert_eq!((view.starts_at, view.ends_at), (world.at(0), world.at(30)));
    assert_eq!((view.status, view.sync, view.version), (Status::Requested, Sync::Pending, 1));
    assert_eq!((view.service_name.as_str(), view.staff_name.as_str()), ("Service 1", "Staff 1"));
    assert_eq!((view.source.as_str(), view.call_id.as_deref()), ("api", Some("c1")));
    assert_eq!(world.count("SELECT count(*) FROM slot WHERE state = 'booked' AND promise_version = 1").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM appointment_event WHERE what = 'requested'").await, 1);
    assert_eq!(
        world.count("SELECT count(*) FROM call WHERE customer_id IS NOT NULL AND appointment_id IS NOT NULL").await,
        1
    );
    assert_eq!(
        world.count("SELECT count(*) FROM job WHERE subject = appointment_id::text AND rung_at > '-infinity'").await,
        2
    );
    for whose in [Whose::Call("c1".to_owned()), Whose::Phone(phone(1))] {
        assert_eq!(world.store.upcoming_of(company_id, &whose, 5).await.unwrap(), std::slice::from_ref(&view));
    }
    assert!(world.store.upcoming_of(company_id, &Whose::Phone(phone(2)), 5).await.unwrap().is_empty());
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_rivals_for_one_slot_one_wins_and_the_others_hear_what_is_free() {
    let world = World::new().await;
    let answers = herd(&world, (0..32).map(|n| world.wish(n, 0)).collect()).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for answer in lost {
        let Refusal::Taken { alternatives } = refusal(answer) else { panic!("another refusal") };
        let offers: Vec<_> = alternatives.iter().map(|o| (o.staff_id, o.during.start())).collect();
        assert_eq!(offers, [(1, world.at(30)), (1, world.at(-30)), (1, world.at(24 * 60))]);
    }
    for table in [
        "SELECT count(*) FROM slot",
        "SELECT count(*) FROM appointment",
        "SELECT count(*) FROM segment",
        "SELECT count(*) FROM customer",
        "SELECT count(*) FROM appointment_event",
    ] {
        assert_eq!(world.count(table).await, 1, "{table}: a refusal leaves nothing");
    }
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_means_the_first_who_is_free() {
    let world = World::new().await;
    let wishes = (0..24).map(|n| BookingCommand { staff_id: None, ..world.wish(n, 0) }).collect();
    let won: Vec<Accepted> = herd(&world, wishes).await.into_iter().filter_map(Result::ok).collect();
    assert_eq!(won.len(), 3);
    assert_eq!(world.count("SELECT count(DISTINCT staff_id) FROM slot WHERE state = 'booked'").await, 3);
    let Refusal::Taken { alternatives } =
        refusal(world.store.accept_booking(&BookingCommand { staff_id: None, ..world.wish(50, 15) }).await)
    else {
        panic!("another refusal")
    };
    assert_eq!(alternatives[0].during.start(), world.at(30));
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crossing_wishes_never_deadlock() {
    let world = World::new().await;
    let wishes = (0..60)
        .map(|n| BookingCommand {
            staff_id: [None, Some(1), Some(2), Some(3)][n as usize % 4],
            ..world.wish(n % 7, i64::from(n % 5) * 15)
        })
        .collect();
    for answer in herd(&world, wishes).await {
        assert!(matches!(answer, Ok(_) | Err(AcceptError::Refused(Refusal::Taken { .. }))), "{answer:?}");
    }
    let overlaps = "SELECT count(*) FROM slot a JOIN slot b ON a.staff_id = b.staff_id AND a.slot_id < b.slot_id
                    AND a.during && b.during WHERE a.state = 'booked' AND b.state = 'booked'";
    assert_eq!(world.count(overlaps).await, 0);
    let strays = "SELECT count(*) FROM appointment a FULL JOIN slot s USING (appointment_id)
                  FULL JOIN segment g USING (appointment_id) FULL JOIN appointment_event e USING (appointment_id)
                  WHERE a.appointment_id IS NULL OR s.slot_id IS NULL OR g.lineage IS NULL OR e.version IS NULL";
    assert_eq!(world.count(strays).await, 0);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_wish_of_the_same_customer_is_already_theirs() {
    let world = World::new().await;
    let answers = herd(&world, (0..12).map(|_| BookingCommand { staff_id: None, ..world.wish(1, 0) }).collect()).await;
    let answers: Vec<Accepted> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|a| a.how == How::New).count(), 1);
    assert_eq!(answers.iter().filter(|a| a.how == How::AlreadyYours && a.ring.is_empty()).count(), 11);
    assert_eq!(answers.iter().map(|a| a.appointment_id).collect::<HashSet<_>>().len(), 1);
    let other = world.store.accept_booking(&world.wish(2, 0)).await;
    assert_eq!(refusal(other).code(), "taken");
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_phone_is_one_customer_and_a_withheld_number_never_merges() {
    let world = World::new().await;
    let herd_of_one = (0..16).map(|n| world.wish(7, i64::from(n) * 30)).collect();
    assert!(herd(&world, herd_of_one).await.into_iter().all(|a| a.is_ok()));
    assert_eq!(world.count("SELECT count(*) FROM customer").await, 1);
    let anonymous = |n: u32, id: &str| BookingCommand {
        who: Identity::Anonymous(id.to_owned()),
        staff_id: Some(2),
        ..world.wish(n, i64::from(n) * 30)
    };
    let wishes = vec![anonymous(1, "a"), anonymous(2, "b"), anonymous(3, "a"), anonymous(4, "c")];
    assert!(herd(&world, wishes).await.into_iter().all(|a| a.is_ok()));
    assert_eq!(world.count("SELECT count(*) FROM customer WHERE anonymous_call_id IS NOT NULL").await, 3);
    world.sql("UPDATE customer SET deleted_at = now()").await;
    world.store.accept_booking(&BookingCommand { staff_id: Some(3), ..world.wish(7, 15) }).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM customer WHERE deleted_at IS NULL").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM customer").await, 4);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_has_one_decision() {
    let world = World::new().await;
    let wish = |body| BookingCommand { key: key("k", body, Replay::Always), ..world.wish(1, 0) };
    let answers = herd(&world, (0..16).map(|_| wish(1)).collect()).await;
    let answers: Vec<Accepted> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|a| a.how == How::New).count(), 1);
    let new = answers.iter().find(|a| a.how == How::New).unwrap();
    for replayed in answers.iter().filter(|a| a.how != How::New) {
        assert_eq!(replayed.how, How::Replayed);
        assert_eq!((replayed.appointment_id, replayed.job.unwrap().job), (new.appointment_id, new.job.unwrap().job));
        assert!(replayed.ring.is_empty());
    }
    assert!(matches!(world.store.accept_booking(&wish(2)).await, Err(AcceptError::KeyReused)));
    let refused = BookingCommand { key: key("k2", 1, Replay::Always), ..world.wish(2, 0) };
    assert_eq!(refusal(world.store.accept_booking(&refused).await).code(), "taken");
    assert_eq!(world.count("SELECT count(*) FROM request_key").await, 1, "a refusal leaves no key");
    world.gone().await;
}

#[tokio::test]
async fn a_function_is_replayed_only_while_its_effect_stands() {
    let world = World::new().await;
    let company_id = world.company.company_id;
    let book = BookingCommand { key: key("fn:book", 1, Replay::WhileItStands), call: call("c1"), ..world.wish(1, 0) };
    let cancel = |appointment_id| CancelCommand {
        company_id,
        appointment_id,
        if_match: None,
        who: Who::Customer,
        why: None,
        call: call("c1"),
        key: key("fn:cancel", 2, Replay::WhileItStands),
    };
    let first = world.store.accept_booking(&book).await.unwrap();
    assert_eq!(world.store.accept_booking(&book).await.unwrap().how, How::Replayed);
    world.store.accept_cancel(&cancel(first.appointment_id)).await.unwrap();
    assert_eq!(world.store.accept_cancel(&cancel(first.appointment_id)).await.unwrap().how, How::Replayed);
    let second = world.store.accept_booking(&book).await.unwrap();
    assert_eq!(second.how, How::New, "book, cancel, book are three effects");
    assert_ne!(second.appointment_id, first.appointment_id);
    let replayed = world.store.accept_booking(&book).await.unwrap();
    assert_eq!((replayed.how, replayed.appointment_id), (How::Replayed, second.appointment_id));
    let again = world.store.accept_cancel(&cancel(second.appointment_id)).await.unwrap();
    assert_eq!((again.how, again.appointment_id), (How::New, second.appointment_id));
    world.gone().await;
}

#[tokio::test]
async fn what_the_rules_do_not_allow_is_refused_by_its_name() {
    let world = World::new().await;
    let soon =
        chrono::DateTime::from_timestamp(world.count("SELECT extract(epoch FROM clock_timestamp())::bigint").await, 0)
            .unwrap();
    let wish = world.wish(1, 0);
    let cases = [
        (BookingCommand { branch_id: 9, ..wish.clone() }, "unknown_branch"),
        (BookingCommand { service_id: 9, ..wish.clone() }, "unknown_service"),
        (BookingCommand { service_id: 3, ..wish.clone() }, "unknown_service"),
        (BookingCommand { staff_id: Some(9), ..wish.clone() }, "unknown_staff"),
        (BookingCommand { staff_id: Some(2), service_id: 2, ..wish.clone() }, "unknown_staff"),
        (BookingCommand { starts_at: soon - TimeDelta::minutes(1), ..wish.clone() }, "in_the_past"),
        (BookingCommand { starts_at: soon + TimeDelta::minutes(5), ..wish.clone() }, "too_soon"),
        (BookingCommand { starts_at: world.at(8 * 60 - 15), ..wish.clone() }, "outside_hours"),
        (BookingCommand { company_id: 99, ..wish.clone() }, "unknown_branch"),
    ];
    for (wish, code) in cases {
        let refusal = refusal(world.store.accept_booking(&wish).await);
        assert_eq!(refusal.code(), code);
        let offers = if matches!(code, "too_soon" | "outside_hours") { 3 } else { 0 };
        assert_eq!(refusal.alternatives().len(), offers, "{code}");
    }
    assert!(world.store.accept_booking(&BookingCommand { starts_at: world.at(7 * 60 + 30), ..wish }).await.is_ok());
    world.gone().await;
}

#[tokio::test]
async fn holds_and_other_peoples_bookings_are_in_the_way_until_they_end() {
    let world = World::new().await;
    let at = |minutes| world.at(minutes).to_rfc3339();
    world
        .sql(&format!(
            "INSERT INTO external_busy (company_id, calcom_uid, staff_id, during)
             VALUES ({}, 'x', 1, tstzrange('{}', '{}'))",
            world.company.company_id,
            at(0),
            at(10)
        ))
        .await;
    assert_eq!(refusal(world.store.accept_booking(&world.wish(1, 0)).await).code(), "taken");
    world
        .sql(&format!(
            "INSERT INTO slot (company_id, appointment_id, slot_id, segment_no, staff_id, during, state, promise_version,
                               expires_at, token_hash, held_by)
             VALUES ({}, gen_random_uuid(), gen_random_uuid(), 1, 1, tstzrange('{}', '{}'), 'held', 1,
                     now() + interval '1 hour', 'x', 'key:x')",
            world.company.company_id,
            at(60),
            at(90)
        ))
        .await;
    assert_eq!(refusal(world.store.accept_booking(&world.wish(1, 60)).await).code(), "taken");
    world.sql("UPDATE slot SET expires_at = now()").await;
    world.store.accept_booking(&world.wish(1, 60)).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM slot WHERE state = 'expired' AND ended_at IS NOT NULL").await, 1);
    world.gone().await;
}

#[tokio::test]
async fn a_lock_that_is_not_to_be_had_is_a_named_answer() {
    let world = World::new().await;
    let mut tx = world.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM staff FOR UPDATE").execute(&mut *tx).await.unwrap();
    let answer = world.store.accept_booking(&world.wish(1, 0)).await;
    assert!(matches!(answer, Err(AcceptError::Busy { retry_after_seconds: 1.. })), "{answer:?}");
    tx.rollback().await.unwrap();
    world.store.accept_booking(&world.wish(1, 0)).await.unwrap();
    let filter = JobFilter { kind: Some(Kind::Booking), state: None, appointment_id: None, limit: 10, before: None };
    assert_eq!(world.store.jobs(world.company.company_id, &filter).await.unwrap().len(), 1);
    world.gone().await;
}
