//! Holds: whom they keep out and for how long, whose bookings they become, and how many one may have.

use crate::world::{World, call, key, phone};
use chrono::{DateTime, TimeDelta, Utc};
use domain::phone::Identity;
use domain::refusal::Refusal;
use secrecy::ExposeSecret;
use store::{
    AcceptError, Accepted, BookingCommand, Candidate, Held, HoldCommand, HoldUse, Holder, How, NotHeld, Replay,
    TokenHash,
};

/// The n-th caller wants to keep that time of the first member of staff, in his call.
fn wish(world: &World, n: u32, minutes: i64) -> HoldCommand {
    HoldCommand {
        company_id: world.company.company_id,
        branch_id: 1,
        service_id: 1,
        staff_id: Some(1),
        starts_at: world.at(minutes),
        holder: Holder::Caller(Identity::Phone(phone(n))),
        call: call(&format!("call_{n}")),
    }
}

async fn held(world: &World, n: u32, minutes: i64) -> Held {
    world.store.hold(&wish(world, n, minutes)).await.unwrap()
}

fn token(held: &Held) -> TokenHash {
    TokenHash::of(held.token.expose_secret())
}

fn refusal(answer: Result<Accepted, AcceptError>) -> Refusal {
    match answer {
        Err(AcceptError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn not_held(answer: Result<Held, NotHeld>) -> Refusal {
    match answer {
        Err(NotHeld::No(AcceptError::Refused(refusal))) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// Its time is over, and nobody has cleaned it up.
async fn run_out(world: &World) {
    assert!(world.sql("UPDATE slot SET expires_at = clock_timestamp() WHERE state = 'held'").await > 0);
}

#[tokio::test]
async fn a_hold_keeps_everybody_out_and_becomes_the_appointment_whose_id_it_bears() {
    let world = World::new().await;
    let keeps = held(&world, 1, 0).await;
    assert_eq!((keeps.staff_id, keeps.during.start(), keeps.during.end()), (1, world.at(0), world.at(30)));
    assert!((119..=120).contains(&keeps.seconds_left), "{}", keeps.seconds_left);
    assert!(keeps.token.expose_secret().len() >= 48, "256 bits");
    let stored = "SELECT count(*) FROM slot WHERE state = 'held' AND octet_length(token_hash) = 32";
    assert_eq!(world.count(stored).await, 1);
    let Refusal::Taken { alternatives } = refusal(world.store.accept_booking(&world.wish(2, 15)).await) else {
        panic!("another refusal")
    };
    assert_eq!(alternatives[0].during.start(), world.at(30), "nearest");
    assert_eq!(not_held(world.store.hold(&wish(&world, 3, 0)).await).code(), "taken");

    let id: uuid::Uuid = sqlx::query_scalar("SELECT appointment_id FROM slot").fetch_one(&world.pool).await.unwrap();
    let wish = BookingCommand { hold: Some(token(&keeps)), staff_id: None, ..world.wish(1, 0) };
    let booked = world.store.accept_booking(&wish).await.unwrap();
    assert_eq!((booked.how, booked.hold, booked.appointment_id.0), (How::New, Some(HoldUse::Used), id));
    let whole = "SELECT count(*) FROM slot s JOIN appointment a USING (company_id, appointment_id)
                 JOIN segment g USING (company_id, appointment_id, slot_id) JOIN job j USING (company_id, appointment_id)
                 WHERE s.state = 'booked' AND s.token_hash IS NULL AND s.held_by IS NULL AND j.kind = 'booking'
                   AND a.status = 'requested' AND g.event_type_id = 101";
    assert_eq!((world.count(whole).await, world.count("SELECT count(*) FROM slot").await), (1, 1));
    assert!(!world.store.release_hold(world.company.company_id, token(&keeps), None).await.unwrap(), "it is booked");
    let other = BookingCommand { hold: Some(token(&keeps)), ..world.wish(2, 0) };
    assert_eq!(refusal(world.store.accept_booking(&other).await).code(), "taken", "a token is used once");
    world.gone().await;
}

#[tokio::test]
async fn a_hold_that_has_run_out_keeps_nobody_out_and_its_owner_may_still_be_lucky() {
    let world = World::new().await;
    let keeps = held(&world, 1, 0).await;
    run_out(&world).await;
    let late = BookingCommand { hold: Some(token(&keeps)), ..world.wish(1, 0) };
    let lucky = world.store.accept_booking(&late).await.unwrap();
    assert_eq!((lucky.how, lucky.hold), (How::New, Some(HoldUse::Expired)), "the time was free");
    assert_eq!(world.count("SELECT count(*) FROM slot WHERE state = 'expired' AND ended_at IS NOT NULL").await, 1);

    let keeps = held(&world, 3, 60).await;
    run_out(&world).await;
    let rival = world.store.accept_booking(&world.wish(4, 60)).await.unwrap();
    assert_eq!((rival.how, rival.hold), (How::New, None), "nobody has cleaned up, and it was in nobody's way");
    let late = BookingCommand { hold: Some(token(&keeps)), ..world.wish(3, 60) };
    let Refusal::Taken { alternatives } = refusal(world.store.accept_booking(&late).await) else {
        panic!("another refusal")
    };
    assert_eq!(alternatives.len(), 3);

    held(&world, 5, 120).await;
    run_out(&world).await;
    assert_eq!(world.store.expire_holds().await.unwrap(), 1);
    assert_eq!(world.store.expire_holds().await.unwrap(), 0);
    let left = "SELECT count(*) FROM slot WHERE state = 'held' OR token_hash IS NOT NULL OR held_by IS NOT NULL";
    assert_eq!(world.count(left).await, 0, "and nobody's number is kept");
    let cleaned = BookingCommand { call: call("call_5"), ..world.wish(5, 120) };
    assert_eq!(world.store.accept_booking(&cleaned).await.unwrap().hold, Some(HoldUse::Expired), "its call remembers");
    world.gone().await;
}

#[tokio::test]
async fn the_booking_of_the_same_call_finds_what_it_holds() {
    let world = World::new().await;
    let in_call = |n: u32, minutes| BookingCommand { call: call(&format!("call_{n}")), ..world.wish(n, minutes) };
    world.store.hold(&HoldCommand { staff_id: Some(2), ..wish(&world, 1, 0) }).await.unwrap();
    let anybody = BookingCommand { staff_id: None, ..in_call(1, 0) };
    assert_eq!(world.store.accept_booking(&anybody).await.unwrap().hold, Some(HoldUse::Used));
    let of_two = "SELECT count(*) FROM segment WHERE staff_id = 2 AND event_type_id = 102";
    assert_eq!(world.count(of_two).await, 1, "with whom it was held, not with the first who is free");

    held(&world, 2, 0).await;
    let longer = BookingCommand { service_id: 2, ..in_call(2, 0) };
    let longer = world.store.accept_booking(&longer).await.unwrap();
    assert_eq!(longer.hold, Some(HoldUse::Unfit), "45 minutes instead of 30: the caller's own hold makes room");
    let slots = "SELECT count(*) FROM slot WHERE staff_id = 1 AND state = 'booked' AND upper(during) - lower(during) = interval '45 minutes'";
    assert_eq!(world.count(slots).await, 1);
    assert_eq!(world.count("SELECT count(*) FROM slot WHERE state = 'released'").await, 1);

    held(&world, 3, 120).await;
    let elsewhere = world.store.accept_booking(&in_call(3, 180)).await.unwrap();
    assert_eq!(elsewhere.hold, None, "another time has nothing to do with it");
    assert_eq!(refusal(world.store.accept_booking(&in_call(4, 120)).await).code(), "taken");
    world.gone().await;
}

#[tokio::test]
async fn asked_again_the_same_call_keeps_the_same_time_no_longer() {
    let world = World::new().await;
    let (first, again) = (held(&world, 1, 0).await, held(&world, 1, 0).await);
    assert_eq!((first.expires_at, first.during), (again.expires_at, again.during));
    assert_eq!(world.count("SELECT count(*) FROM slot").await, 1);
    let company_id = world.company.company_id;
    assert!(!world.store.release_hold(company_id, token(&first), None).await.unwrap(), "only the newest token counts");
    assert!(!world.store.release_hold(company_id, token(&again), Some("call_2")).await.unwrap(), "not its call");
    assert!(!world.store.release_hold(company_id + 1, token(&again), None).await.unwrap(), "not its company");
    assert!(world.store.release_hold(company_id, token(&again), Some("call_1")).await.unwrap());
    assert!(!world.store.release_hold(company_id, token(&again), None).await.unwrap(), "once");
    world.store.accept_booking(&world.wish(2, 0)).await.unwrap();

    held(&world, 3, 60).await;
    held(&world, 3, 120).await;
    assert_eq!(world.store.release_holds_of(company_id, "call_4").await.unwrap(), 0);
    assert_eq!(world.store.release_holds_of(company_id, "call_3").await.unwrap(), 2);
    assert_eq!(world.count("SELECT count(*) FROM slot WHERE state = 'held' OR held_by IS NOT NULL").await, 0);
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_holds_more_than_he_may_also_when_he_asks_for_all_at_once() {
    let world = World::new().await;
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..12_u32 {
        // Other calls of one number, and other members of staff: no lock of theirs is the same.
        let (store, staff_id) = (world.store.clone(), Some(i32::try_from(n % 3).unwrap() + 1));
        let call = call(&format!("other_{n}"));
        let wish = HoldCommand { staff_id, call, ..wish(&world, 1, i64::from(n / 3) * 30) };
        asking.spawn(async move { store.hold(&wish).await });
    }
    let answers = asking.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    let too_many =
        |answer: &Result<Held, NotHeld>| matches!(answer, Err(NotHeld::TooMany { most: 3, seconds: 1..=120 }));
    assert_eq!(answers.iter().filter(|answer| too_many(answer)).count(), 9);
    assert_eq!(world.count("SELECT count(*) FROM slot WHERE state = 'held'").await, 3);
    held(&world, 2, 300).await;
    let program = HoldCommand { holder: Holder::ApiKey("0a0a0a0a".to_owned()), call: None, ..wish(&world, 0, 330) };
    world.store.hold(&program).await.unwrap();
    run_out(&world).await;
    assert!(too_many(&Err(NotHeld::TooMany { most: 3, seconds: 1 })), "what the next line must not be");
    held(&world, 1, 360).await;
    world.gone().await;
}

#[tokio::test]
async fn the_rules_of_a_hold_are_those_of_a_booking() {
    let world = World::new().await;
    let cases = [
        (HoldCommand { branch_id: 9, ..wish(&world, 1, 0) }, "unknown_branch"),
        (HoldCommand { service_id: 9, ..wish(&world, 1, 0) }, "unknown_service"),
        (HoldCommand { staff_id: Some(9), ..wish(&world, 1, 0) }, "unknown_staff"),
        (HoldCommand { starts_at: world.at(-14 * 24 * 60), ..wish(&world, 1, 0) }, "in_the_past"),
        (wish(&world, 1, 8 * 60), "outside_hours"),
    ];
    for (wish, code) in cases {
        assert_eq!(not_held(world.store.hold(&wish).await).code(), code);
    }
    assert_eq!(world.count("SELECT count(*) FROM slot").await + world.count("SELECT count(*) FROM call").await, 0);
    world.gone().await;
}

fn or(staff_id: Option<i32>, starts_at: DateTime<Utc>) -> Candidate {
    Candidate { staff_id, starts_at }
}

#[tokio::test]
async fn of_several_times_the_first_that_is_free_is_booked() {
    let world = World::new().await;
    for minutes in [0, 60] {
        world.store.accept_booking(&world.wish(9, minutes)).await.unwrap();
    }
    let or_else = vec![or(Some(1), world.at(60)), or(Some(1), world.at(-30)), or(Some(2), world.at(0))];
    let any_of = BookingCommand { or_else, key: key("k", 1, Replay::Always), ..world.wish(1, 0) };
    let booked = world.store.accept_booking(&any_of).await.unwrap();
    let view = world.store.appointment(world.company.company_id, booked.appointment_id).await.unwrap().unwrap();
    assert_eq!((booked.how, view.starts_at, view.staff_id), (How::New, world.at(-30), 1));
    assert_eq!(world.store.accept_booking(&any_of).await.unwrap().how, How::Replayed);
    let without_key = BookingCommand { key: None, ..any_of.clone() };
    let again = world.store.accept_booking(&without_key).await.unwrap();
    assert_eq!((again.how, again.appointment_id), (How::AlreadyYours, booked.appointment_id), "not another one");

    let all_taken = BookingCommand { or_else: vec![or(Some(1), world.at(60))], ..world.wish(2, 0) };
    let Refusal::Taken { alternatives } = refusal(world.store.accept_booking(&all_taken).await) else {
        panic!("another refusal")
    };
    assert_eq!(alternatives.len(), 3);
    let past = or(None, world.at(-14 * 24 * 60));
    let past_and_taken =
        BookingCommand { starts_at: past.starts_at, or_else: vec![or(Some(1), world.at(0))], ..world.wish(2, 0) };
    assert_eq!(refusal(world.store.accept_booking(&past_and_taken).await).code(), "taken", "the more hopeful reason");
    let only_past = BookingCommand { starts_at: past.starts_at, or_else: vec![past], ..world.wish(2, 0) };
    assert_eq!(refusal(world.store.accept_booking(&only_past).await).code(), "in_the_past");
    let unknown = BookingCommand { or_else: vec![or(Some(9), world.at(90))], ..world.wish(2, 90) };
    assert_eq!(refusal(world.store.accept_booking(&unknown).await).code(), "unknown_staff");
    let shared = BookingCommand { or_else: vec![or(None, world.at(0))], ..world.wish(3, 0) };
    let shared = world.store.accept_booking(&shared).await.unwrap();
    let view = world.store.appointment(world.company.company_id, shared.appointment_id).await.unwrap().unwrap();
    assert_eq!((view.starts_at, view.staff_id), (world.at(0), 2), "the same time with anybody");
    world.gone().await;
}

#[tokio::test]
async fn of_several_times_the_one_that_is_held_is_taken_in_its_turn() {
    let world = World::new().await;
    let keeps = held(&world, 1, 60).await;
    world.store.accept_booking(&world.wish(9, 0)).await.unwrap();
    let or_else = vec![or(Some(1), world.at(60)), or(Some(1), world.at(90))];
    let any_of = BookingCommand { or_else, hold: Some(token(&keeps)), ..world.wish(1, 0) };
    let booked = world.store.accept_booking(&any_of).await.unwrap();
    assert_eq!(booked.hold, Some(HoldUse::Used));
    let view = world.store.appointment(world.company.company_id, booked.appointment_id).await.unwrap().unwrap();
    assert_eq!(view.starts_at, world.at(60));
    assert_eq!(world.at(90) - view.starts_at, TimeDelta::minutes(30));
    world.gone().await;
}
