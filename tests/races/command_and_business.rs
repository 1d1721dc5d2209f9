//! RC3 as a whole: a move, a cancel and the business's own change at Cal.com, all at once. Of the two who name one version
//! exactly one succeeds; only where the business's change has been read before both, none does. At rest Cal.com has what is
//! promised, and nothing else.
//!
//! `RC3_ROUNDS` says how often (40).

use crate::move_and_cancel::{Wish, decided, promised_is_booked, to};
use crate::{at_once, cancel};
use futures::FutureExt;
use futures::future::BoxFuture;
use harness::{Setup, World, wait_until};
use serde_json::json;
use store::{AcceptError, CancelCommand, How};

const STAFF: u32 = 8;
/// What a round needs of one member of staff: its own time, the customer's wish, and where the business moves it.
const TIMES: u32 = 3;
/// Rounds whose appointments are made, and come to rest, together.
const BATCH: u32 = 50;
/// Every appointment is scheduled, at this version, when its round begins.
const VERSION: i32 = 2;

/// What a rival came to.
#[derive(PartialEq, Eq, Debug)]
enum Came {
    Moved,
    Cancelled,
    /// It heard that another version stands.
    Stale,
    /// The business's change, and whether Cal.com made it.
    AtCalcom(bool),
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_commands_wins_whatever_the_business_does() {
    let rounds: u32 = std::env::var("RC3_ROUNDS").map_or(40, |rounds| rounds.parse().unwrap());
    let world = World::of(Setup { staff: STAFF.try_into().unwrap(), ..Setup::default() }).await;
    let api = world.api().await;
    world.hears(&api).await;
    let workers = [world.worker(None), world.worker(None)];
    // Round after round in turn with all the staff: so is the n-th wish.
    let nth = |round: u32, which: u32| (round / STAFF * TIMES + which) * STAFF + round % STAFF;
    let http = reqwest::Client::new();
    let (mut ids, mut tally) = (vec![], [0; 4]);
    for round in 0..rounds {
        if round % BATCH == 0 {
            for round in round..rounds.min(round + BATCH) {
                ids.push(world.book(nth(round, 0)).await);
            }
            world.calm().await;
        }
        let id = ids[usize::try_from(round).unwrap()];
        let uid = world.booking(id).await.unwrap().uid;
        let (wish, elsewhere) = (world.wish(nth(round, 1)).await, world.wish(nth(round, 2)).await);
        let (verb, body) = match round % 2 {
            0 => ("reschedule", json!({"start": elsewhere.starts_at})),
            _ => ("cancel", json!({})),
        };
        let asked = http.post(format!("{}/_sandbox/bookings/{uid}/{verb}", world.sandbox.root)).json(&body);
        let business = async move { Came::AtCalcom(asked.send().await.unwrap().status().is_success()) };
        let moves = Wish::Move(to(&world, id, wish.starts_at, Some(VERSION)));
        let cancels = Wish::Cancel(CancelCommand { if_match: Some(VERSION), ..cancel(&world, id) });
        let rivals: Vec<BoxFuture<'static, Came>> = vec![
            command(&world, moves, Came::Moved).boxed(),
            business.boxed(),
            command(&world, cancels, Came::Cancelled).boxed(),
        ];
        let mut answers = at_once(rivals).await;
        let made = answers.contains(&Came::AtCalcom(true));
        answers.retain(|came| matches!(came, Came::Moved | Came::Cancelled));
        assert!(answers.len() <= 1, "round {round}: two winners of one version: {answers:?}");
        tally[3] += usize::from(made);
        match answers.first() {
            Some(Came::Moved) => tally[0] += 1,
            Some(_) => tally[1] += 1,
            None => {
                tally[2] += 1;
                let next = &world.history(id).await[usize::try_from(VERSION).unwrap()];
                assert_eq!(next.who, "business", "round {round}: nobody won");
            }
        }
    }
    let [moved, cancelled, neither, made] = tally;
    eprintln!(
        "{rounds} rounds: {moved} times the move won, {cancelled} times the cancel; {neither} times the business's change \
         had been read before both; {made} of its changes were made"
    );
    assert!(moved + cancelled > 0 && made > 0, "there was a race");
    wait_until("Cal.com's state", async || {
        world.calm().await;
        world.count("SELECT count(*) FROM appointment WHERE status = 'scheduled'").await
            == i64::try_from(world.live().len()).unwrap()
    })
    .await;
    promised_is_booked(&world).await;
    drop(workers);
    world.at_rest().await;
}

/// One that names the version, and what it comes to if it wins.
fn command(world: &World, wish: Wish, won: Came) -> impl Future<Output = Came> + Send + use<> {
    let store = world.store.clone();
    async move {
        match decided(store, wish).await {
            Ok(accepted) => {
                assert_eq!((accepted.how, accepted.version), (How::New, VERSION + 1));
                won
            }
            Err(AcceptError::StaleVersion { current, .. }) if current > VERSION => Came::Stale,
            other => panic!("{other:?}"),
        }
    }
}
