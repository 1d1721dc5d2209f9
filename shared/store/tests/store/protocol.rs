//! Claim, settle and rescue, with Cal.com's answers given by hand: what is promised, what is occupied, what is due.

use crate::world::{World, applied, granted, settle};
use domain::answer::{Answer, BookingUid, Refused};
use domain::effect::EffectKind;
use domain::id::AppointmentId;
use domain::job::State;
use domain::outcome::{Judgement, Outcome, Past, judge};
use store::{CancelCommand, Claim, JobRef, Mode, Settled, Who};

struct Booked {
    id: AppointmentId,
    booking: JobRef,
    customer: JobRef,
}

async fn book(world: &World) -> Booked {
    let accepted = world.store.accept_booking(&world.wish(1, 0)).await.unwrap();
    let booking = accepted.job.unwrap().job;
    let customer = accepted.ring.iter().copied().find(|j| *j != booking).unwrap();
    Booked { id: accepted.appointment_id, booking, customer }
}

async fn cancel(world: &World, id: AppointmentId) -> JobRef {
    let command = CancelCommand {
        company_id: world.company.company_id,
        appointment_id: id,
        if_match: None,
        who: Who::Customer,
        why: None,
        call: None,
        key: None,
    };
    world.store.accept_cancel(&command).await.unwrap().job.unwrap().job
}

async fn word(world: &World, sql: &str) -> String {
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(&world.pool).await.unwrap()
}

async fn status(world: &World) -> String {
    word(world, "SELECT status || '/' || version || '/' || sync FROM appointment JOIN segment USING (appointment_id)")
        .await
}

const OCCUPIED: &str = "SELECT count(*) FROM slot WHERE state = 'booked'";

#[tokio::test]
async fn a_booking_is_confirmed_and_its_customer_learnt() {
    let world = World::new().await;
    let booked = book(&world).await;
    let claimed = granted(&world, booked.booking).await;
    assert_eq!((claimed.mode, claimed.effect.kind), (Mode::Act, EffectKind::Create));
    assert_eq!(status(&world).await, "requested/1/in_flight");
    assert!(matches!(world.store.claim(booked.booking, "other").await.unwrap(), Claim::Gone));
    assert!(world.store.renew(claimed.job, claimed.fence).await.unwrap());
    assert_eq!(settle(&world, &claimed, &applied(&claimed, "u1")).await, State::Completed);
    assert_eq!(status(&world).await, "scheduled/2/synced");
    let again = world.store.settle(&claimed, &applied(&claimed, "u1"), 0.0).await.unwrap();
    assert_eq!(again, Settled::Done { state: State::Completed, ring: vec![] }, "a lost reply to COMMIT");
    assert!(!world.store.renew(claimed.job, claimed.fence).await.unwrap());
    let learnt = world.store.claim(booked.customer, "w").await.unwrap();
    assert!(matches!(learnt, Claim::Ended { state: State::Completed, .. }), "{learnt:?}");
    assert_eq!(word(&world, "SELECT name FROM customer").await, "Customer 1");
    assert_eq!(world.count("SELECT count(*) FROM job_attempt").await, 2);
    assert_eq!(world.count("SELECT count(*) FROM job WHERE state <> 'completed'").await, 0);
    world.gone().await;
}

#[tokio::test]
async fn a_cancel_during_the_create_wins_and_gives_the_time_back_last() {
    let world = World::new().await;
    let booked = book(&world).await;
    let create = granted(&world, booked.booking).await;
    let sync = cancel(&world, booked.id).await;
    assert_eq!(world.count(OCCUPIED).await, 1, "the create may still arrive");
    assert!(matches!(world.store.claim(sync, "w").await.unwrap(), Claim::Busy { until: Some(_), .. }));
    let Settled::Done { state, ring } = world.store.settle(&create, &applied(&create, "u1"), 0.0).await.unwrap() else {
        panic!("lost")
    };
    assert_eq!(state, State::Retryable);
    assert_eq!(ring.len(), 3, "all of its jobs are due now: {ring:?}");
    assert_eq!(world.count(OCCUPIED).await, 1, "the booking stands");
    let undo = granted(&world, sync).await;
    assert_eq!(
        (undo.effect.kind, undo.effect.target.as_ref().map(BookingUid::expose)),
        (EffectKind::Cancel, Some("u1"))
    );
    assert_eq!(settle(&world, &undo, &Outcome::Gone).await, State::Completed);
    assert_eq!(world.count(OCCUPIED).await, 0);
    let late = world.store.claim(booked.booking, "w").await.unwrap();
    assert!(matches!(late, Claim::Ended { state: State::Superseded, expected: Some(1), found: 2, .. }), "{late:?}");
    assert_eq!(status(&world).await, "cancelled/2/synced");
    assert_eq!(
        word(&world, "SELECT string_agg(version::text, ',' ORDER BY version) FROM appointment_event").await,
        "1,2"
    );
    let story = world.store.timeline(world.company.company_id, booked.id).await.unwrap().unwrap();
    let told = |what: &str| story.iter().filter(|t| t.what == what).count();
    assert_eq!((told("claimed"), told("settled"), told("sent"), told("answered"), told("released")), (3, 3, 2, 2, 1));
    let of_the_booking: Vec<_> =
        story.iter().filter(|t| t.job_id == Some(booked.booking.job_id)).map(|t| t.what.as_str()).collect();
    let in_order = ["enqueued", "claimed", "sent", "answered", "settled", "claimed", "settled", "superseded"];
    assert_eq!(of_the_booking, in_order, "causes before effects, and each turn once");
    let overtaken = story.iter().find(|t| t.what == "answered").unwrap();
    assert!(overtaken.detail.ends_with("Meanwhile the promise has become version 2: that is next."), "{overtaken:?}");
    world.gone().await;
}

#[tokio::test]
async fn an_unknown_outcome_keeps_the_slot_and_is_looked_for_before_anything_is_sent_again() {
    let world = World::new().await;
    let booked = book(&world).await;
    let create = granted(&world, booked.booking).await;
    assert_eq!(settle(&world, &create, &Outcome::Unknown { answered: None }).await, State::Retryable);
    assert_eq!(status(&world).await, "requested/1/unknown");
    cancel(&world, booked.id).await;
    assert_eq!(world.count(OCCUPIED).await, 1);
    assert!(matches!(world.store.claim(booked.booking, "w").await.unwrap(), Claim::Gone), "its look is not due");
    world.sql("UPDATE calcom_op SET next_look_at = now()").await;
    world.sql("UPDATE job SET not_before = '-infinity', run_at = now()").await;
    let look = granted(&world, booked.booking).await;
    assert_eq!((look.mode, look.op_id, look.asked.past), (Mode::Resolve, create.op_id, Past::Ambiguous));
    settle(&world, &look, &Outcome::Never).await;
    assert_eq!(world.count(OCCUPIED).await, 0, "cancelled, and nothing can arrive any more");
    world.gone().await;
}

#[tokio::test]
async fn a_refusal_is_told_to_a_person_and_frees_the_time() {
    let world = World::new().await;
    let booked = book(&world).await;
    let create = granted(&world, booked.booking).await;
    let answer = Answer::Refused { status: 400, reason: Refused::OutOfBounds };
    let Judgement::Settle(outcome) = judge(EffectKind::Create, answer, create.asked.past) else { panic!() };
    assert_eq!(settle(&world, &create, &outcome).await, State::Completed);
    assert_eq!(status(&world).await, "rejected/2/synced");
    assert_eq!(world.count(OCCUPIED).await, 0);
    assert_eq!(world.store.callbacks(world.company.company_id, true).await.unwrap().len(), 1);
    world.gone().await;
}

#[tokio::test]
async fn what_needs_a_person_is_parked_with_its_slot() {
    let world = World::new().await;
    let booked = book(&world).await;
    let create = granted(&world, booked.booking).await;
    assert_eq!(settle(&world, &create, &Outcome::Review { why: "event_type_unknown" }).await, State::Parked);
    assert_eq!(status(&world).await, "requested/1/needs_review");
    assert_eq!(world.count(OCCUPIED).await, 1);
    world.gone().await;
}

#[tokio::test]
async fn a_dead_worker_costs_a_crash_its_late_settle_only_leaves_evidence() {
    let world = World::new().await;
    let booked = book(&world).await;
    let zombie = granted(&world, booked.booking).await;
    assert_eq!(world.store.rescue(10).await.unwrap(), vec![], "its lease runs");
    world.sql("UPDATE job SET lease_until = now() - interval '1 second' WHERE state = 'running'").await;
    assert!(world.store.rescue(10).await.unwrap().contains(&booked.booking));
    let late = world.store.settle(&zombie, &applied(&zombie, "u1"), 0.0).await.unwrap();
    assert_eq!(late, Settled::Lost);
    assert_eq!(status(&world).await, "requested/1/in_flight");
    assert_eq!(word(&world, "SELECT state || uid FROM calcom_op").await, "sentu1");
    let look = granted(&world, booked.booking).await;
    assert_eq!(look.mode, Mode::Resolve);
    for crash in 2..=3 {
        world.sql("UPDATE job SET lease_until = now() - interval '1 second' WHERE state = 'running'").await;
        world.store.rescue(10).await.unwrap();
        if crash < 3 {
            granted(&world, booked.booking).await;
        }
    }
    assert_eq!(status(&world).await, "requested/1/needs_review");
    assert_eq!(world.count("SELECT count(*) FROM job WHERE state = 'parked' AND crashes = 3").await, 1);
    assert_eq!(world.count(OCCUPIED).await, 1);
    world.gone().await;
}

#[tokio::test]
async fn the_relay_takes_what_nobody_rang_for_and_the_direct_claimer_what_is_overdue() {
    let world = World::new().await;
    let booked = book(&world).await;
    assert_eq!(world.store.relay(10).await.unwrap(), vec![], "accept has rung itself");
    world.sql("UPDATE job SET rung_at = '-infinity', run_at = now() - interval '2 seconds'").await;
    let taken = world.store.relay(10).await.unwrap();
    assert_eq!(taken.len(), 2);
    assert_eq!(world.store.relay(10).await.unwrap(), vec![]);
    let batch = world.store.claim_due(10, "w").await.unwrap();
    let [Claim::Granted(claimed)] = &batch.claims[..] else { panic!("{batch:?}") };
    assert_eq!(claimed.job, booked.booking, "the customer's job waits for the booking's");
    assert!(taken.contains(&booked.booking));
    world.gone().await;
}
