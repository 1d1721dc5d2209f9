//! RC9: what Retell tells of a call comes twice, in any order, at the same time as the bookings of that call and as other
//! calls of the same person. `call` and `accept` each write all they have to write in one transaction: at every moment a
//! call is there as a whole or not at all. Lost in `tests/naive/torn_call.rs`; with deaths in `tests/crashes/telephone.rs`.

use crate::{at_once, decided};
use domain::phone::{Identity, Phone};
use futures::FutureExt;
use futures::future::BoxFuture;
use harness::{Api, BRANCH_PHONE, CALL_EVENTS, Setup, World};
use phonenumber::country::Id::DE;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use store::{BookingCommand, CallFacts, Replay, RequestKey};

const ROUNDS: u32 = 4;
/// In one round, all at once.
const CALLS: u32 = 8;
/// So many calls in a row are one person's; the last one in each row is of a withheld number.
const CALLS_OF_ONE: u32 = 4;
/// In each call.
const BOOKINGS: u32 = 2;
const STAFF: u32 = 4;
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

fn caller(call: u32) -> Option<Phone> {
    let withheld = call % CALLS_OF_ONE == CALLS_OF_ONE - 1;
    (!withheld).then(|| Phone::parse(&format!("+4915119{:06}", call / CALLS_OF_ONE), DE).unwrap())
}

/// The nth booking in a call, each of a time of its own; staff in turn.
async fn wish(world: &World, call: u32, nth: u32) -> BookingCommand {
    let n = call * BOOKINGS + nth;
    let mut wish = world.wish(n * STAFF + n % STAFF).await;
    let call_id = format!("call_no_{call}");
    let phone = caller(call);
    wish.who = phone.clone().map_or_else(|| Identity::Anonymous(call_id.clone()), Identity::Phone);
    wish.facts.phone = phone.clone();
    wish.key = Some(RequestKey { key: format!("{call_id}:{nth}"), body_hash: [7; 32], replay: Replay::WhileItStands });
    let from_number = phone.as_ref().map_or("anonymous", Phone::as_e164).to_owned();
    wish.call = Some(CallFacts { call_id, from_number: Some(from_number), to_number: Some(BRANCH_PHONE.to_owned()) });
    wish
}

/// Retell tells it until it is heard.
async fn told(api: Arc<Api>, event: &'static str, call: u32) {
    let phone = caller(call);
    let about = World::call(&format!("call_no_{call}"), phone.as_ref().map_or("anonymous", Phone::as_e164));
    loop {
        match api.tell(event, &about).await.unwrap().status {
            200 => return,
            503 => {}
            other => panic!("{event} was answered with {other}"),
        }
    }
}

/// In every other call nobody books before its beginning was heard: then the record of the call is often made first.
async fn booked(world: &World, api: &Arc<Api>, call: u32, nth: u32) -> BoxFuture<'static, ()> {
    let (store, api, wish) = (world.store.clone(), api.clone(), wish(world, call, nth).await);
    async move {
        if call.is_multiple_of(2) {
            told(api, CALL_EVENTS[0], call).await;
        }
        drop(decided(store, wish).await.unwrap());
    }
    .boxed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_whole_or_not_there_whatever_comes_when() {
    let world = World::of(Setup { staff: 4, ..Setup::default() }).await;
    let api = Arc::new(world.api().await);
    let _workers = [world.worker(None), world.worker(None)];
    let over = AtomicBool::new(false);
    let watch = async {
        let mut looks = 0;
        while !over.load(SeqCst) {
            assert_eq!(world.torn_calls().await, 0, "at look {looks}");
            looks += 1;
        }
        looks
    };
    let rounds = async {
        for round in 0..ROUNDS {
            let mut rivals: Vec<BoxFuture<'static, ()>> = Vec::new();
            for call in round * CALLS..(round + 1) * CALLS {
                let order = ORDERS[usize::try_from(call).unwrap() % ORDERS.len()];
                let twice = order.into_iter().chain(order).map(|n| CALL_EVENTS[n]);
                rivals.extend(twice.map(|event| told(api.clone(), event, call).boxed()));
                for nth in 0..BOOKINGS {
                    rivals.push(booked(&world, &api, call, nth).await);
                }
            }
            at_once(rivals).await;
        }
        world.rests().await;
        over.store(true, SeqCst);
    };
    let (looks, ()) = tokio::join!(watch, rounds);
    assert!(looks > 10, "only {looks} looks");

    let calls = i64::from(ROUNDS * CALLS);
    let whole = "SELECT count(*) FROM call c WHERE status = 'ended' AND summary = 'About ' || call_id AND successful
                   AND 3 = (SELECT count(*) FROM call_event e WHERE e.call_id = c.call_id)
                   AND 2 = (SELECT count(*) FROM appointment a WHERE a.call_id = c.call_id
                              AND a.customer_id = c.customer_id AND a.status = 'scheduled')";
    assert_eq!(world.count(whole).await, calls);
    assert_eq!(world.count("SELECT count(*) FROM call").await, calls);
    let (persons, withheld) = (calls / i64::from(CALLS_OF_ONE), calls / i64::from(CALLS_OF_ONE));
    assert_eq!(world.count("SELECT count(*) FROM customer WHERE phone IS NOT NULL").await, persons);
    assert_eq!(world.count("SELECT count(*) FROM customer WHERE phone IS NULL").await, withheld);
    let jobs = "SELECT count(*) FROM job WHERE kind = 'call' AND state <> 'completed'";
    assert_eq!(world.count(jobs).await, 0);
    world.at_rest().await;
}
