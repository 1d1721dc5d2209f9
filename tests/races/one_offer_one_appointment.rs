//! RC2: many are offered the same time instead of another, and all want it. One has it; the others are told precisely,
//! whether they book, hold, or name several times. At the edge of a hold's life the database's clock decides.
//! Lost in `tests/naive/remembered_offer.rs`.

use crate::{at_once, book_at_once, decided};
use chrono::{DateTime, TimeDelta, Utc};
use domain::hours::Offer;
use domain::phone::Identity;
use domain::refusal::Refusal;
use harness::{Setup, World, wait_until};
use secrecy::ExposeSecret;
use std::collections::BTreeSet;
use store::{
    AcceptError, Accepted, BookingCommand, CallFacts, Candidate, Held, HoldCommand, HoldUse, Holder, How, NotHeld,
    Store, StoreError, TokenHash,
};

const ROUNDS: u32 = 10;

/// A time for each round, two hours apart.
async fn time(world: &World, round: u32) -> DateTime<Utc> {
    world.wish(0).await.starts_at + TimeDelta::days((round / 5).into()) + TimeDelta::hours((round % 5 * 2).into())
}

/// The n-th caller, in a call of his own, wants that time of the first member of staff.
async fn wish(world: &World, n: u32, starts_at: DateTime<Utc>) -> BookingCommand {
    let call = CallFacts { call_id: format!("call_{n}_{starts_at}"), from_number: None, to_number: None };
    BookingCommand { staff_id: Some(1), starts_at, call: Some(call), ..world.wish(n).await }
}

fn to_hold(wish: &BookingCommand) -> HoldCommand {
    let BookingCommand { company_id, branch_id, service_id, staff_id, starts_at, .. } = *wish;
    let (holder, call) = (Holder::Caller(wish.who.clone()), wish.call.clone());
    HoldCommand { company_id, branch_id, service_id, staff_id, starts_at, holder, call }
}

/// A machine that is too slow for its lock or its pool says so, and nothing was decided: a client asks again.
async fn held(store: Store, command: HoldCommand) -> Result<Held, Refusal> {
    loop {
        match store.hold(&command).await {
            Ok(held) => return Ok(held),
            Err(NotHeld::No(AcceptError::Refused(refusal))) => return Err(refusal),
            Err(NotHeld::No(AcceptError::Busy { .. } | AcceptError::Store(StoreError::Away(_)))) => {}
            Err(other) => panic!("no answer to a hold: {other:?}"),
        }
    }
}

/// Everybody else has heard `Taken`, and what is free instead.
fn one_has_it<T>(answers: Vec<Result<T, Refusal>>, what: &str) -> T {
    let count = answers.len();
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, count - 1), "{what}");
    for refusal in lost.into_iter().filter_map(Result::err) {
        assert!(matches!(&refusal, Refusal::Taken { alternatives } if alternatives.len() == 3), "{what}: {refusal:?}");
    }
    won.into_iter().find_map(Result::ok).unwrap()
}

async fn slots(world: &World, state: &str) -> i64 {
    let count = "SELECT count(*) FROM slot WHERE state = $1";
    sqlx::query_scalar(count).bind(state).fetch_one(&world.pool).await.unwrap()
}

/// The old system's scenario: a time is taken, all callers are offered the same one instead, and all say yes.
async fn all_take_the_same_offer(callers: u32) {
    let world = World::new().await;
    let _worker = world.worker(None);
    for round in 0..ROUNDS {
        let taken = time(&world, round).await;
        decided(world.store.clone(), wish(&world, 999, taken).await).await.unwrap();
        let mut offers: BTreeSet<DateTime<Utc>> = BTreeSet::new();
        let mut takers = Vec::new();
        for n in 0..callers {
            let wish = wish(&world, n, taken).await;
            let Err(refusal) = decided(world.store.clone(), wish.clone()).await else { panic!("it was taken") };
            let offer: Offer = refusal.alternatives()[0];
            offers.insert(offer.during.start());
            takers.push(BookingCommand { starts_at: offer.during.start(), staff_id: Some(offer.staff_id), ..wish });
        }
        assert_eq!(offers.len(), 1, "all are offered the same: {offers:?}");
        let won = one_has_it(book_at_once(&world, takers).await, &format!("round {round}"));
        assert_eq!(won.how, How::New);
    }
    world.rests().await;
    assert_eq!(world.creates().1, 2 * ROUNDS as usize);
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_callers_with_the_same_offer_one_has_it() {
    all_take_the_same_offer(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_callers_with_the_same_offer_one_has_it() {
    all_take_the_same_offer(32).await;
}

/// A hold ends the race early: one keeps the time, and everybody who books afterwards is told so, but him.
#[tokio::test(flavor = "multi_thread")]
async fn of_32_callers_one_keeps_the_time_and_he_alone_can_book_it() {
    let world = World::new().await;
    let _worker = world.worker(None);
    for round in 0..ROUNDS {
        let starts_at = time(&world, round).await;
        let mut wishes = Vec::new();
        for n in 0..32 {
            wishes.push(wish(&world, n, starts_at).await);
        }
        let holding = wishes.iter().map(|wish| held(world.store.clone(), to_hold(wish)));
        let answers = at_once(holding.collect::<Vec<_>>()).await;
        let holder = answers.iter().position(Result::is_ok).expect("somebody has it");
        one_has_it(answers, &format!("round {round}"));
        let booked = book_at_once(&world, wishes).await;
        assert_eq!(booked.iter().position(Result::is_ok), Some(holder), "round {round}");
        assert_eq!(one_has_it(booked, &format!("round {round}")).hold, Some(HoldUse::Used));
    }
    world.rests().await;
    assert_eq!((slots(&world, "held").await, slots(&world, "booked").await), (0, ROUNDS.into()));
    world.at_rest().await;
}

enum Played {
    Booked(Result<Accepted, Refusal>),
    Held(Result<Held, Refusal>),
    Nothing,
}

/// Its owner converts it, others book or hold the time, the loop cleans up, all in the instant at which it runs out. One
/// of them has the time, whoever that is, and no hold becomes a booking after its end.
#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_of_a_hold_one_has_the_time() {
    const EDGES: u32 = 60;
    let world = World::new().await;
    let (mut used, mut expired, mut lost) = (0, 0, 0);
    for round in 0..EDGES {
        let starts_at = world.wish(round).await.starts_at;
        let owner = wish(&world, 500, starts_at).await;
        let keeps = held(world.store.clone(), HoldCommand { call: None, ..to_hold(&owner) }).await.unwrap();
        // From 8 ms before to 2 ms after: some rounds each way.
        let edge = "UPDATE slot SET expires_at = clock_timestamp() + make_interval(secs => $1) WHERE state = 'held'";
        let seconds = f64::from(round % 6) * 0.002 - 0.002;
        sqlx::query(edge).bind(seconds).execute(&world.pool).await.unwrap();
        let owner = BookingCommand { hold: Some(TokenHash::of(keeps.token.expose_secret())), ..owner };
        let mut rivals: Vec<_> = Vec::new();
        for n in 0..6_u32 {
            let (store, rival) = (world.store.clone(), wish(&world, n, starts_at).await);
            let owner = owner.clone();
            rivals.push(async move {
                match n {
                    0 => Played::Booked(decided(store, owner).await),
                    1 | 2 => Played::Booked(decided(store, rival).await),
                    3 => Played::Held(held(store, to_hold(&rival)).await),
                    _ => {
                        store.expire_holds().await.unwrap();
                        Played::Nothing
                    }
                }
            });
        }
        let played = at_once(rivals).await;
        let mut winners = 0;
        for (n, played) in played.into_iter().enumerate() {
            match played {
                Played::Booked(Ok(accepted)) => {
                    winners += 1;
                    match (n, accepted.hold) {
                        (0, Some(HoldUse::Used)) => used += 1,
                        (0, Some(HoldUse::Expired)) => expired += 1,
                        (1.., None) => lost += 1,
                        other => panic!("round {round}: {other:?}"),
                    }
                }
                Played::Held(Ok(_)) => {
                    winners += 1;
                    lost += 1;
                }
                Played::Booked(Err(refusal)) | Played::Held(Err(refusal)) => assert_eq!(refusal.code(), "taken"),
                Played::Nothing => {}
            }
        }
        assert_eq!(winners, 1, "round {round}");
        assert_eq!(slots(&world, "booked").await + slots(&world, "held").await, 1, "round {round}");
        let overlaps = "SELECT count(*) FROM slot WHERE state = 'booked' AND appointment_id NOT IN (SELECT appointment_id FROM appointment)";
        assert_eq!(world.count(overlaps).await, 0, "a slot without its appointment");
        world.sql("UPDATE slot SET state = 'released', token_hash = NULL, held_by = NULL WHERE state IN ('booked', 'held')").await;
    }
    eprintln!("{EDGES} edges: the owner converted {used}, was lucky {expired}, was too late {lost}");
    let late = "SELECT count(*) FROM slot WHERE state = 'released' AND expires_at IS NOT NULL AND ended_at IS NULL";
    assert!(world.count(late).await >= i64::from(used), "what was converted remembers its end");
    assert_eq!(world.count("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").await, 0);
    world.gone().await;
}

/// By the clock alone, without a race: a hold whose time is over is never converted, although nobody has cleaned up.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_not_converted_after_its_end() {
    let world = World::new().await;
    for (n, (seconds, is)) in [(60.0, HoldUse::Used), (0.0, HoldUse::Expired)].into_iter().enumerate() {
        let wish = wish(&world, 7, time(&world, u32::try_from(n).unwrap()).await).await;
        held(world.store.clone(), to_hold(&wish)).await.unwrap();
        let end = "UPDATE slot SET expires_at = clock_timestamp() + make_interval(secs => $1) WHERE state = 'held'";
        sqlx::query(end).bind(seconds).execute(&world.pool).await.unwrap();
        let booked = decided(world.store.clone(), wish).await.unwrap();
        assert_eq!(booked.hold, Some(is));
    }
    assert_eq!((slots(&world, "booked").await, slots(&world, "expired").await), (2, 1));
    world.gone().await;
}

/// Each names the same times in an order of his own, with several staff: as many win as there is room, none twice, and
/// nobody waits for anybody in a circle.
#[tokio::test(flavor = "multi_thread")]
async fn of_callers_with_several_times_as_many_win_as_there_are_times() {
    let world = World::of(Setup { staff: 3, ..Setup::default() }).await;
    let _worker = world.worker(None);
    for round in 0..ROUNDS {
        let starts_at = time(&world, round).await;
        let room: Vec<Candidate> = (1..=3)
            .flat_map(|id| [0, 30].map(|m| (id, m)))
            .map(|(id, minutes)| Candidate { staff_id: Some(id), starts_at: starts_at + TimeDelta::minutes(minutes) })
            .collect();
        let mut wishes = Vec::new();
        for n in 0..24_u32 {
            let mut times = room.clone();
            times.rotate_left(n as usize % room.len());
            if n % 2 == 0 {
                times.reverse();
            }
            let first = times.remove(0);
            let (staff_id, starts_at) = (first.staff_id, first.starts_at);
            wishes.push(BookingCommand { staff_id, starts_at, or_else: times, ..world.wish(round * 100 + n).await });
        }
        let answers = book_at_once(&world, wishes).await;
        let ids: BTreeSet<_> = answers.iter().flatten().map(|accepted| accepted.appointment_id).collect();
        assert_eq!(ids.len(), room.len(), "round {round}");
        let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
        assert!(refused.clone().all(|no| no.code() == "taken"), "round {round}");
        assert_eq!(refused.count(), 24 - room.len(), "round {round}");
    }
    world.rests().await;
    world.at_rest().await;
}

/// Whoever made the hold dies: nothing has to be told to anybody, its end frees the time.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_process_held_is_free_when_its_time_is_over() {
    let world = World::new().await;
    let mut api = world.api_with(&[("ASKPRO_HOLD_TTL_SECONDS", "1".to_owned())]).await;
    let wish = world.wish(0).await;
    let body = serde_json::json!({"branch_id": 1, "service_id": 1, "starts_at": wish.starts_at.to_rfc3339()});
    let answer = api.post("/v1/holds", &[], &body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    api.process.kill();
    let rival = BookingCommand { who: Identity::Anonymous("another".to_owned()), ..world.wish(1).await };
    let rival = BookingCommand { starts_at: wish.starts_at, ..rival };
    wait_until("the end of the hold", async || decided(world.store.clone(), rival.clone()).await.is_ok()).await;
    // Another one, which nobody wants: the worker's loop ends it.
    let left = HoldCommand { starts_at: wish.starts_at + TimeDelta::hours(2), ..to_hold(&rival) };
    held(world.store.clone(), left).await.unwrap();
    world.sql("UPDATE slot SET expires_at = clock_timestamp() WHERE state = 'held'").await;
    let _worker = world.worker(None);
    wait_until("the loop", async || slots(&world, "held").await == 0).await;
    assert_eq!(slots(&world, "expired").await, 2);
    world.rests().await;
    world.at_rest().await;
}
