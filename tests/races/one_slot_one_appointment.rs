//! RC1: many want one time of one member of staff. Whoever comes second has waited for the staff's lock, meets the
//! constraint `slots_no_overlap`, and hears what is free instead. Lost in `tests/naive/double_booking.rs`.

use crate::{at_once, book_at_once, call_off, cancel, decided, ring};
use chrono::{DateTime, TimeDelta, Utc};
use domain::hours::Offer;
use domain::refusal::Refusal;
use futures::future::join_all;
use harness::{Api, Setup, WISHES_A_DAY, World, wait_for, wait_until};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use store::{Accepted, BookingCommand, How};

const ROUNDS: u32 = 10;
const RIVALS: u32 = 32;
/// A service lasts half an hour, so that any two starts within it overlap.
const STARTS: u32 = 30;

/// A time for each round, two hours apart: room for the winner, and for a loser who takes what he is offered.
async fn time(world: &World, round: u32) -> DateTime<Utc> {
    let rounds_a_day = WISHES_A_DAY / 4 - 1;
    let day = TimeDelta::days((round / rounds_a_day).into());
    world.wish(0).await.starts_at + day + TimeDelta::hours((round % rounds_a_day * 2).into())
}

/// Rivals, each a customer of his own; the n-th wants to start `n % starts` minutes after `time`.
async fn rivals(world: &World, count: u32, time: DateTime<Utc>, starts: u32) -> Vec<BookingCommand> {
    let mut wishes = Vec::new();
    for n in 0..count {
        wishes.push(BookingCommand {
            staff_id: Some(1),
            starts_at: time + TimeDelta::minutes((n % starts).into()),
            ..world.wish(n).await
        });
    }
    wishes
}

/// The winners, and the losers with what they were offered: everybody else must have heard `Taken`.
fn winners_and_losers(
    wishes: Vec<BookingCommand>,
    answers: Vec<Result<Accepted, Refusal>>,
) -> (Vec<Accepted>, Vec<(BookingCommand, Vec<Offer>)>) {
    let (mut won, mut lost) = (vec![], vec![]);
    for (wish, answer) in wishes.into_iter().zip(answers) {
        match answer {
            Ok(accepted) => won.push(accepted),
            Err(Refusal::Taken { alternatives }) => lost.push((wish, alternatives)),
            Err(other) => panic!("refused for another reason: {other:?}"),
        }
    }
    (won, lost)
}

/// Three offers, none of which touches a time that somebody has.
async fn all_are_free(world: &World, offers: &[Offer]) {
    assert_eq!(offers.len(), 3, "{offers:?}");
    let touched = "SELECT count(*) FROM slot WHERE state = 'booked' AND staff_id = $1 AND during && tstzrange($2, $3)";
    for offer in offers {
        let (start, end) = (offer.during.start(), offer.during.end());
        let query = sqlx::query_scalar::<_, i64>(touched).bind(offer.staff_id).bind(start).bind(end);
        assert_eq!(query.fetch_one(&world.pool).await.unwrap(), 0, "{offer:?}");
    }
}

async fn one_wins(count: u32, starts: u32) {
    let world = World::new().await;
    let _worker = world.worker(None);
    for round in 0..ROUNDS {
        let wishes = rivals(&world, count, time(&world, round).await, starts).await;
        let answers = book_at_once(&world, wishes.clone()).await;
        let (won, lost) = winners_and_losers(wishes, answers);
        assert_eq!((won.len(), lost.len()), (1, count as usize - 1), "round {round}");
        assert_eq!(won[0].how, How::New);
        for (_, offers) in &lost {
            all_are_free(&world, offers).await;
        }
        let (wish, offers) = &lost[0];
        let second = BookingCommand { starts_at: offers[0].during.start(), ..wish.clone() };
        assert_eq!(world.store.accept_booking(&second).await.unwrap().how, How::New, "what is offered can be had");
    }
    world.rests().await;
    let booked = 2 * ROUNDS as usize;
    assert_eq!((world.live().len(), world.creates().1), (booked, booked));
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_rivals_for_one_start_one_wins() {
    one_wins(32, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_100_rivals_for_one_start_one_wins() {
    one_wins(100, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_rivals_whose_times_overlap_one_wins() {
    one_wins(32, STARTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_100_rivals_whose_times_overlap_one_wins() {
    one_wins(100, STARTS).await;
}

/// Whoever does not mind with whom: as many win as there are staff, each with one of them.
#[tokio::test(flavor = "multi_thread")]
async fn two_of_staff_have_two_winners() {
    let world = World::of(Setup { staff: 2, ..Setup::default() }).await;
    let _worker = world.worker(None);
    for round in 0..ROUNDS {
        let anybody = |wish| BookingCommand { staff_id: None, ..wish };
        let wishes = rivals(&world, RIVALS, time(&world, round).await, STARTS).await;
        let wishes: Vec<_> = wishes.into_iter().map(anybody).collect();
        let answers = book_at_once(&world, wishes.clone()).await;
        let (won, lost) = winners_and_losers(wishes, answers);
        assert_eq!((won.len(), lost.len()), (2, RIVALS as usize - 2), "round {round}");
        for (_, offers) in &lost {
            all_are_free(&world, offers).await;
        }
    }
    world.rests().await;
    let hosts: Vec<i64> = world.live().iter().map(|booking| booking.host.id).collect();
    let rounds = ROUNDS as usize;
    assert_eq!([1, 2].map(|id| hosts.iter().filter(|host| **host == id).count()), [rounds, rounds]);
    world.at_rest().await;
}

/// The old system's own scenario: one customer asks twice at once, here with whomever. He has it, and hears that it is
/// his, although wishes for different staff do not wait for one another's locks: his own row is the last of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_asks_many_times_has_one_appointment() {
    let world = World::of(Setup { staff: 4, ..Setup::default() }).await;
    let _worker = world.worker(None);
    for round in 0..ROUNDS {
        let (starts_at, wish) = (time(&world, round).await, world.wish(round).await);
        let whoms = [None, Some(1), Some(2), Some(3), Some(4)].into_iter().cycle().take(RIVALS as usize);
        let wishes = whoms.map(|staff_id| BookingCommand { staff_id, starts_at, ..wish.clone() }).collect();
        let answers = book_at_once(&world, wishes).await;
        let answers: Vec<Accepted> = answers.into_iter().map(Result::unwrap).collect();
        let ids: HashSet<_> = answers.iter().map(|accepted| accepted.appointment_id).collect();
        let how = |how| answers.iter().filter(|accepted| accepted.how == how).count();
        let others = RIVALS as usize - 1;
        assert_eq!((ids.len(), how(How::New), how(How::AlreadyYours)), (1, 1, others), "round {round}");
    }
    world.rests().await;
    assert_eq!((world.live().len(), world.creates().1), (ROUNDS as usize, ROUNDS as usize));
    world.at_rest().await;
}

/// Its status, its problem if it is one, and how many times it offers. Asks until it is decided, as a client does.
async fn post(api: Arc<Api>, body: Value) -> (u16, Option<String>, usize) {
    loop {
        let answer = api.post("/v1/appointments", &[], &body).await;
        let problem = answer.body["type"].as_str().and_then(|url| Some(url.rsplit_once('/')?.1.to_owned()));
        if !matches!(problem.as_deref(), Some("busy" | "unavailable")) {
            return (answer.status, problem, answer.body["alternatives"].as_array().map_or(0, Vec::len));
        }
    }
}

/// Nothing that decides is in the memory of a process: two of them are one.
#[tokio::test(flavor = "multi_thread")]
async fn of_rivals_at_two_apis_one_wins() {
    let world = World::new().await;
    let apis = [Arc::new(world.api().await), Arc::new(world.api().await)];
    let _worker = world.worker(None);
    for round in 0..ROUNDS {
        let wishes = rivals(&world, RIVALS, time(&world, round).await, STARTS).await;
        let posts = wishes.into_iter().enumerate().map(|(n, wish)| {
            let customer = json!({"name": wish.facts.name, "phone": wish.facts.phone.unwrap().as_e164()});
            let body = json!({"branch_id": 1, "service_id": 1, "staff_id": 1, "customer": customer,
                              "starts_at": wish.starts_at.to_rfc3339()});
            post(apis[n % 2].clone(), body)
        });
        let answers = at_once(posts.collect()).await;
        let count = |status, problem: Option<&str>, offers| {
            answers.iter().filter(|a| (a.0, a.1.as_deref(), a.2) == (status, problem, offers)).count()
        };
        let (won, lost) = (count(202, None, 0), count(409, Some("taken"), 3));
        assert_eq!((won, lost), (1, RIVALS as usize - 1), "round {round}: {answers:?}");
    }
    world.rests().await;
    assert_eq!((world.live().len(), world.creates().1), (ROUNDS as usize, ROUNDS as usize));
    world.at_rest().await;
}

/// Booked, called off, booked by the next, while workers tell Cal.com: a time is given away when Cal.com has let go of
/// it and no sooner, else somebody with a promise would be refused there.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_goes_from_hand_to_hand_and_cal_com_refuses_nobody() {
    let world = World::new().await;
    world.sandbox.set_latency(Duration::from_millis(10), Duration::from_millis(10));
    let _workers = [world.worker(None), world.worker(None)];
    let (time, bell) = (time(&world, 0).await, world.doorbell());
    let hands = (0..8).map(|n| {
        let (world, bell) = (&world, &bell);
        async move {
            let wish = BookingCommand { starts_at: time, ..world.wish(n).await };
            for turn in 0..5 {
                let had = wait_for("the time", async || match decided(world.store.clone(), wish.clone()).await {
                    Ok(accepted) => Some(accepted),
                    Err(Refusal::Taken { .. } | Refusal::BeingReleased { .. }) => None,
                    Err(other) => panic!("refused for another reason: {other:?}"),
                });
                let had = had.await;
                assert_eq!(had.how, How::New);
                ring(bell, &had).await;
                // Called off at once, or when it stands.
                if (n + turn) % 2 == 0 {
                    let id = had.appointment_id;
                    wait_until("a decision", async || world.status(id).await != "requested").await;
                    assert_eq!(world.status(id).await, "scheduled");
                }
                ring(bell, &call_off(world.store.clone(), cancel(world, had.appointment_id)).await).await;
            }
        }
    });
    join_all(hands).await;
    world.rests().await;
    assert_eq!(world.count("SELECT count(*) FROM appointment WHERE status = 'cancelled'").await, 40);
    assert_eq!(world.count("SELECT count(*) FROM appointment").await, 40);
    assert!(world.creates().1 >= 20, "those that stood");
    assert_eq!(world.count("SELECT count(*) FROM calcom_op WHERE state = 'refused'").await, 0, "refused at Cal.com");
    assert_eq!(world.count("SELECT count(*) FROM callback_request").await, 0);
    world.at_rest().await;
}
