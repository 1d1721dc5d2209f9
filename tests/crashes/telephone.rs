//! RC9 with deaths: an API or a worker dies, or loses a COMMIT, at each step of a telephone call in which something is
//! booked. Retell tells and asks again what was not answered; of the call there is nothing or everything at every moment,
//! and everything at the end.

use crate::unhurried;
use crashpoint::Point;
use futures::future::join_all;
use harness::{Answer, Api, BRANCH_PHONE, CALL_EVENTS, Commit, Proxy, World};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

const CALL_ID: &str = "call_of_a_death";
const HEAR: &[&str] = &["INSERT INTO call_event"];
const MAKE: &[&str] = &["UPDATE call SET customer_id = $3, status"];

/// Retell: asks this API, and if no usable answer comes, another one.
async fn heard<F: Future<Output = reqwest::Result<Answer>>>(ask: impl Fn(usize) -> F) -> Answer {
    for nth in 0..4 {
        if let Ok(answer) = ask(nth).await
            && answer.status == 200
        {
            return answer;
        }
    }
    panic!("nobody answers");
}

/// The whole call: it begins, something is booked, it ends.
async fn telephone(world: &World, apis: &[Api]) {
    let from = world.wish(0).await.facts.phone.unwrap().as_e164().to_owned();
    let about = World::call(CALL_ID, &from);
    let api = |nth: usize| &apis[nth.min(apis.len() - 1)];
    let told = async |event: &'static str| drop(heard(|nth| api(nth).tell(event, &about)).await);
    told(CALL_EVENTS[0]).await;
    let wish = world.wish(0).await;
    let call = json!({"call_id": CALL_ID, "from_number": from, "to_number": BRANCH_PHONE});
    let args = json!({"customer_name": wish.facts.name, "datetime": wish.starts_at.to_rfc3339()});
    let booked: Value = heard(|nth| api(nth).try_call("book_appointment", &call, &args)).await.body;
    assert_eq!(booked["success"], true, "{booked}");
    told(CALL_EVENTS[2]).await;
    told(CALL_EVENTS[1]).await;
}

/// Runs the story, waits for rest, and looks at every moment whether the call is there as a whole or not at all.
async fn at_every_moment<T>(world: &World, what: &str, story: impl Future<Output = T>) -> T {
    let over = AtomicBool::new(false);
    let watch = async {
        while !over.load(SeqCst) {
            assert_eq!(world.torn_calls().await, 0, "{what}");
        }
    };
    let story = async {
        let kept = story.await;
        world.rests().await;
        over.store(true, SeqCst);
        kept
    };
    tokio::join!(watch, story).1
}

async fn is_whole(world: World, what: &str) {
    let whole =
        "SELECT count(*) FROM call c JOIN appointment a USING (company_id, appointment_id, call_id, customer_id)
                 JOIN customer u USING (company_id, customer_id)
                 WHERE c.status = 'ended' AND c.summary = 'About ' || c.call_id AND a.status = 'scheduled'
                   AND u.phone = c.from_number";
    assert_eq!(world.count(whole).await, 1, "{what}");
    for one in ["SELECT count(*) FROM call", "SELECT count(*) FROM customer", "SELECT count(*) FROM appointment"] {
        assert_eq!(world.count(one).await, 1, "{what}: {one}");
    }
    assert_eq!(world.live().len(), 1, "{what}");
    world.at_rest().await;
}

async fn api_dies(point: Point, passage: u32) {
    let world = World::new().await;
    let crash = ("CRASH_AT", format!("{}#{passage}", point.name()));
    let mut apis = [world.api_with(&[crash]).await, world.api().await];
    let _worker = world.worker_with(&unhurried());
    let what = format!("the API dies at {}#{passage}", point.name());
    at_every_moment(&world, &what, telephone(&world, &apis)).await;
    assert_eq!(apis[0].process.ended().await, None, "{what}: it was to be killed");
    is_whole(world, &what).await;
}

async fn worker_dies(point: Point) {
    let world = World::new().await;
    let mut first = world.worker(Some(&format!("{}#1", point.name())));
    let apis = [world.api().await];
    let story = async {
        telephone(&world, &apis).await;
        assert_eq!(first.ended().await, None, "{point:?}: it was to be killed");
        world.worker(None)
    };
    let _second = at_every_moment(&world, point.name(), story).await;
    is_whole(world, point.name()).await;
}

/// What becomes of the COMMIT, and does whoever sent it die?
const LOSSES: [(Commit, bool); 4] =
    [(Commit::Unsent, false), (Commit::Unsent, true), (Commit::Done, false), (Commit::Done, true)];

async fn api_loses((commit, dies): (Commit, bool)) {
    let world = World::new().await;
    let proxy = Proxy::start(&world.database_url()).await;
    let stop = proxy.stop(commit, HEAR);
    let apis = [world.api_with(&[("ASKPRO_DATABASE_URL", proxy.url.clone())]).await, world.api().await];
    let _worker = world.worker_with(&unhurried());
    let what = format!("COMMIT of an event is {commit:?}, the API dies: {dies}");
    let cut = async {
        let stopped = stop.happened().await;
        if dies {
            apis[0].process.shoot();
        }
        drop(stopped);
    };
    at_every_moment(&world, &what, async { tokio::join!(telephone(&world, &apis), cut) }).await;
    is_whole(world, &what).await;
}

async fn worker_loses((commit, dies): (Commit, bool)) {
    let world = World::new().await;
    let proxy = Proxy::start(&world.database_url()).await;
    let stop = proxy.stop(commit, MAKE);
    let mut first = world.worker_with(&[("ASKPRO_DATABASE_URL", proxy.url.clone())]);
    let apis = [world.api().await];
    let what = format!("COMMIT of a call is {commit:?}, the worker dies: {dies}");
    let cut = async {
        let stopped = stop.happened().await;
        if dies {
            first.kill();
        }
        drop(stopped);
        dies.then(|| world.worker(None))
    };
    let _second = at_every_moment(&world, &what, async { tokio::join!(cut, telephone(&world, &apis)).0 }).await;
    is_whole(world, &what).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_outlives_the_death_of_an_api_over_each_of_its_steps() {
    // Begun, booked, analysed, ended: a commit each.
    for passage in 1..=4 {
        api_dies(Point::AcceptCommitted, passage).await;
    }
    api_dies(Point::Dispatched, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_outlives_the_death_of_a_worker_at_any_point() {
    join_all([Point::Claimed, Point::Answered, Point::Settled].map(worker_dies)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_commit_is_lost_is_told_again_and_kept_once() {
    for loss in LOSSES {
        api_loses(loss).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_commit_is_lost_is_made_again_or_was_made() {
    for loss in LOSSES {
        worker_loses(loss).await;
    }
}
