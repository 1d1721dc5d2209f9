//! Another time for an appointment, with Cal.com's answers given by hand: the new slot is taken first, the old one kept
//! until Cal.com agrees; refused, the old time stands.

use crate::world::{World, applied, granted, key, settle};
use domain::answer::{Answer, Booking, BookingStatus, BookingUid, Refused};
use domain::appointment::Status;
use domain::effect::EffectKind;
use domain::id::AppointmentId;
use domain::job::State;
use domain::observe::{Hint, Read};
use domain::outcome::{Judgement, Outcome, Past, judge};
use domain::refusal::Refusal;
use domain::resolve::Chain;
use std::sync::Arc;
use store::{
    AcceptError, CancelCommand, Claim, HintSource, How, JobRef, Notice, Noticed, Reading, Replay, RescheduleCommand,
    Who,
};
use tokio::sync::Barrier;

const OCCUPIED: &str = "SELECT count(*) FROM slot WHERE state = 'booked'";

fn to(world: &World, appointment_id: AppointmentId, minutes: i64) -> RescheduleCommand {
    RescheduleCommand {
        company_id: world.company.company_id,
        appointment_id,
        starts_at: world.at(minutes),
        if_match: None,
        who: Who::Customer,
        why: None,
        call: None,
        key: None,
    }
}

/// An appointment at ten, and its job.
async fn requested(world: &World) -> (AppointmentId, JobRef) {
    let accepted = world.store.accept_booking(&world.wish(1, 0)).await.unwrap();
    (accepted.appointment_id, accepted.job.unwrap().job)
}

/// An appointment at ten that Cal.com has confirmed.
async fn scheduled(world: &World) -> AppointmentId {
    let (id, job) = requested(world).await;
    let claimed = granted(world, job).await;
    assert_eq!(settle(world, &claimed, &applied(&claimed, "u1")).await, State::Completed);
    id
}

/// A booking at Cal.com that does not say whose it is, at so many minutes after ten.
fn booking(world: &World, uid: &str, minutes: i64) -> Booking {
    Booking {
        uid: BookingUid::from(uid.to_owned()),
        status: BookingStatus::Accepted,
        start: world.at(minutes),
        end: world.at(minutes + 30),
        event_type_id: 101,
        host_id: Some(1),
        created_at: world.at(0),
        updated_at: None,
        marker: None,
        rescheduled_to: None,
        rescheduled_from: None,
    }
}

/// Status, version, what is known of Cal.com, the start as minutes after ten.
async fn promise(world: &World) -> (String, i64) {
    let sql = "SELECT status || '/' || version || '/' || sync FROM appointment JOIN segment USING (appointment_id)";
    let words: String = sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap();
    let starts_at: chrono::DateTime<chrono::Utc> =
        sqlx::query_scalar("SELECT starts_at FROM appointment").fetch_one(&world.pool).await.unwrap();
    (words, (starts_at - world.at(0)).num_minutes())
}

#[tokio::test]
async fn the_new_time_is_taken_first_and_the_old_one_given_back_last() {
    let world = World::new().await;
    let id = scheduled(&world).await;
    let moved = world.store.accept_reschedule(&to(&world, id, 60)).await.unwrap();
    assert_eq!((moved.how, moved.version, moved.status), (How::New, 3, Status::Scheduled));
    assert_eq!(promise(&world).await, ("scheduled/3/pending".to_owned(), 60));
    assert_eq!(world.count(OCCUPIED).await, 2, "the booking still stands on the old one");
    for taken in [0, 60] {
        let rival = world.store.accept_booking(&world.wish(2, taken)).await;
        assert!(matches!(rival, Err(AcceptError::Refused(_))), "{rival:?}");
    }
    let claimed = granted(&world, moved.job.unwrap().job).await;
    let target = claimed.effect.target.as_ref().map(BookingUid::expose);
    assert_eq!(
        (claimed.effect.kind, target, claimed.asked.starts_at),
        (EffectKind::Reschedule, Some("u1"), Some(world.at(60)))
    );
    assert_eq!(settle(&world, &claimed, &applied(&claimed, "u2")).await, State::Completed);
    assert_eq!(promise(&world).await, ("scheduled/3/synced".to_owned(), 60));
    assert_eq!(world.count(OCCUPIED).await, 1);
    assert_eq!(
        world.count("SELECT count(*) FROM segment WHERE calcom_uid = 'u2' AND calcom_slot_id = slot_id").await,
        1
    );
    assert!(world.store.accept_booking(&world.wish(2, 0)).await.is_ok(), "the old time is free again");
    world.gone().await;
}

#[tokio::test]
async fn refused_by_cal_com_the_old_time_stands_and_a_person_rings() {
    let world = World::new().await;
    let id = scheduled(&world).await;
    let moved = world.store.accept_reschedule(&to(&world, id, 60)).await.unwrap();
    let claimed = granted(&world, moved.job.unwrap().job).await;
    let refusal =
        judge(EffectKind::Reschedule, Answer::Refused { status: 400, reason: Refused::NotAllowed }, Past::Clean);
    let Judgement::Settle(refused @ Outcome::Refused(_)) = refusal else { panic!("{refusal:?}") };
    assert_eq!(settle(&world, &claimed, &refused).await, State::Completed, "it was asked for version 3");
    assert_eq!(promise(&world).await, ("scheduled/4/synced".to_owned(), 0));
    assert_eq!(world.count(OCCUPIED).await, 1);
    let told = "SELECT count(*) FROM callback_request WHERE reason = 'reschedule_refused_by_calcom'";
    assert_eq!(world.count(told).await, 1);
    let history: Vec<String> =
        sqlx::query_scalar("SELECT what FROM appointment_event ORDER BY version").fetch_all(&world.pool).await.unwrap();
    assert_eq!(history, ["requested", "scheduled", "rescheduled", "moved_back"]);
    assert!(world.store.accept_booking(&world.wish(2, 60)).await.is_ok(), "the new time is free again");
    world.gone().await;
}

/// 10:00 → 11:00 → 10:00 while the create of 10:00 runs: nothing is moved at all, and "scheduled" is true when it is said.
#[tokio::test]
async fn there_and_back_while_the_create_runs_is_no_move() {
    let world = World::new().await;
    let (id, job) = requested(&world).await;
    let create = granted(&world, job).await;
    for minutes in [60, 0] {
        world.store.accept_reschedule(&to(&world, id, minutes)).await.unwrap();
    }
    assert_eq!(promise(&world).await, ("requested/3/in_flight".to_owned(), 0));
    assert_eq!(world.count(OCCUPIED).await, 2, "an op is unresolved: nothing is given back");
    settle(&world, &create, &applied(&create, "u1")).await;
    assert_eq!(promise(&world).await, ("scheduled/4/synced".to_owned(), 0));
    assert_eq!(world.count(OCCUPIED).await, 1);
    assert_eq!(world.count("SELECT count(*) FROM calcom_op").await, 1);
    world.gone().await;
}

/// 10:00 → 11:00 while the create of 10:00 runs: it is recorded as what it is, and moved afterwards.
#[tokio::test]
async fn a_move_while_the_create_runs_is_made_after_it() {
    let world = World::new().await;
    let (id, job) = requested(&world).await;
    let create = granted(&world, job).await;
    let moved = world.store.accept_reschedule(&to(&world, id, 60)).await.unwrap();
    assert!(matches!(world.store.claim(moved.job.unwrap().job, "w").await.unwrap(), Claim::Busy { .. }));
    assert_eq!(settle(&world, &create, &applied(&create, "u1")).await, State::Retryable);
    assert_eq!(promise(&world).await, ("requested/2/pending".to_owned(), 60), "ten o'clock is not what was promised");
    let claimed = granted(&world, moved.job.unwrap().job).await;
    assert_eq!(claimed.effect.kind, EffectKind::Reschedule);
    settle(&world, &claimed, &applied(&claimed, "u2")).await;
    assert_eq!(promise(&world).await, ("scheduled/3/synced".to_owned(), 60));
    assert_eq!(world.count(OCCUPIED).await, 1);
    world.gone().await;
}

#[tokio::test]
async fn what_cannot_be_moved_is_refused_by_its_name_and_nothing_is_written() {
    let world = World::new().await;
    let id = scheduled(&world).await;
    world.store.accept_booking(&world.wish(2, 120)).await.unwrap();
    let events = "SELECT count(*) FROM appointment_event";
    let before = (world.count(events).await, world.count(OCCUPIED).await);
    let refused = async |minutes| match world.store.accept_reschedule(&to(&world, id, minutes)).await {
        Err(AcceptError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let taken = refused(120).await;
    assert!(matches!(&taken, Refusal::Taken { alternatives } if alternatives.len() == 3), "{taken:?}");
    assert!(matches!(refused(12 * 60).await, Refusal::OutsideHours { .. }));
    assert_eq!(refused(-8 * 24 * 60).await, Refusal::InThePast);
    let stale = RescheduleCommand { if_match: Some(1), ..to(&world, id, 60) };
    let stale = world.store.accept_reschedule(&stale).await;
    assert!(matches!(stale, Err(AcceptError::StaleVersion { current: 2, .. })), "{stale:?}");
    let foreign = RescheduleCommand { company_id: 99, ..to(&world, id, 60) };
    assert!(matches!(world.store.accept_reschedule(&foreign).await, Err(AcceptError::NotFound)));
    assert_eq!(world.store.accept_reschedule(&to(&world, id, 0)).await.unwrap().how, How::Unchanged);
    assert_eq!((world.count(events).await, world.count(OCCUPIED).await), before, "nothing was written");

    let cancel = CancelCommand {
        company_id: world.company.company_id,
        appointment_id: id,
        if_match: None,
        who: Who::Customer,
        why: None,
        call: None,
        key: None,
    };
    world.store.accept_cancel(&cancel).await.unwrap();
    assert_eq!(refused(60).await, Refusal::Final { status: Status::Cancelled });
    world.gone().await;
}

#[tokio::test]
async fn a_repeated_wish_moves_once() {
    let world = World::new().await;
    let id = scheduled(&world).await;
    let wish = RescheduleCommand { key: key("k", 1, Replay::Always), ..to(&world, id, 60) };
    let first = world.store.accept_reschedule(&wish).await.unwrap();
    let again = world.store.accept_reschedule(&wish).await.unwrap();
    assert_eq!((first.how, again.how, again.version), (How::New, How::Replayed, first.version));
    let other = RescheduleCommand { key: key("k", 2, Replay::Always), ..to(&world, id, 90) };
    assert!(matches!(world.store.accept_reschedule(&other).await, Err(AcceptError::KeyReused)));
    world.gone().await;
}

/// RC3 in the record: of a move and a cancel that name one version exactly one succeeds; and of two who want to move to
/// one time.
#[tokio::test(flavor = "multi_thread")]
async fn of_rivals_exactly_one_succeeds() {
    let world = World::new().await;
    for round in 0..10 {
        let ten = i64::from(round) * 24 * 60;
        let mut ids = vec![];
        for (n, minutes) in [(2 * round, ten), (2 * round + 1, ten + 30)] {
            ids.push(world.store.accept_booking(&world.wish(n, minutes)).await.unwrap().appointment_id);
        }
        let barrier = Arc::new(Barrier::new(2));
        let moves = ids.iter().map(|id| {
            let (store, barrier, wish) = (world.store.clone(), barrier.clone(), to(&world, *id, ten + 120));
            tokio::spawn(async move {
                barrier.wait().await;
                store.accept_reschedule(&wish).await
            })
        });
        let mut won = 0;
        for rival in moves.collect::<Vec<_>>() {
            match rival.await.unwrap() {
                Ok(accepted) => won += i32::from(accepted.how == How::New),
                Err(AcceptError::Refused(Refusal::Taken { alternatives })) => assert_eq!(alternatives.len(), 3),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(won, 1, "round {round}");
    }
    assert_eq!(world.count("SELECT count(*) FROM appointment WHERE version = 2").await, 10);
    world.gone().await;
}

/// A stranger's booking over the old time concerns nobody who leaves: the move is not put before a person.
#[tokio::test]
async fn a_stranger_over_the_old_time_does_not_hold_a_move() {
    let world = World::new().await;
    let id = scheduled(&world).await;
    let moved = world.store.accept_reschedule(&to(&world, id, 60)).await.unwrap();
    let stranger = booking(&world, "stranger", 15);
    assert_eq!(world.store.note_external(world.company.company_id, &[stranger]).await.unwrap(), 1);
    assert_eq!(world.count("SELECT count(*) FROM callback_request").await, 0, "nothing for a person");
    let claimed = granted(&world, moved.job.unwrap().job).await;
    assert_eq!(settle(&world, &claimed, &applied(&claimed, "u2")).await, State::Completed);
    assert_eq!(promise(&world).await, ("scheduled/3/synced".to_owned(), 60));
    let another = booking(&world, "another", 75);
    assert_eq!(world.store.note_external(world.company.company_id, &[another]).await.unwrap(), 1);
    assert_eq!(
        promise(&world).await,
        ("scheduled/3/needs_review".to_owned(), 60),
        "over the new time it is in the way"
    );
    world.gone().await;
}

/// A move that was given up and comes late all the same is nobody's decision: the newer wish stands. To any other time it
/// is the business that has moved it.
#[tokio::test]
async fn a_move_of_ours_that_comes_late_is_not_the_businesss() {
    for (found_at, follows) in [(60, ("scheduled/4/pending", 0)), (90, ("scheduled/5/synced", 90))] {
        let world = World::new().await;
        let id = scheduled(&world).await;
        let there = world.store.accept_reschedule(&to(&world, id, 60)).await.unwrap();
        let claimed = granted(&world, there.job.unwrap().job).await;
        world.store.accept_reschedule(&to(&world, id, 0)).await.unwrap();
        settle(&world, &claimed, &Outcome::Never).await;
        assert_eq!(promise(&world).await, ("scheduled/4/synced".to_owned(), 0));

        let moved_from = claimed.effect.target.clone().unwrap();
        let mut first = booking(&world, moved_from.expose(), 0);
        first.status = BookingStatus::Cancelled;
        let moves = vec![booking(&world, "late", found_at)];
        let hint = Hint { uid: moved_from.clone(), status: Some(BookingStatus::Cancelled), start: None };
        let (company_id, source, body) = (world.company.company_id, HintSource::Sweep, b"a hint".to_vec());
        let notice = Notice { company_id, source, body, hint, replaces: None, lineage: None, chain: String::new() };
        let Noticed::New { job, .. } = world.store.take_notice(&notice).await.unwrap() else { panic!("known") };
        let Claim::Event(event) = world.store.claim(job, "w").await.unwrap() else { panic!("not granted") };
        let read = Read { bookings: vec![(moved_from, Some(Chain { first, moves }))] };
        world.store.settle_event(&event, &Reading::Read(read), 0.0).await.unwrap();
        let (words, minutes) = promise(&world).await;
        assert_eq!((words.as_str(), minutes), follows, "found at {found_at}");
        let callbacks = world.count("SELECT count(*) FROM callback_request WHERE reason = 'moved_by_business'").await;
        assert_eq!(callbacks, i64::from(found_at == 90));
        world.gone().await;
    }
}
