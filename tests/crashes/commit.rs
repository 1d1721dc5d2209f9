//! The connection to PostgreSQL is cut at one COMMIT: before it has arrived, or after it is done and before its answer.
//! Whoever sent it cannot know which, and asks; or dies over it, and another one goes on.

use crate::{Cost, FOUND, INTENDED_AGAIN, PLAIN, appointment, cost, unhurried};
use harness::{Commit, Proxy, World};
use std::time::Instant;

const ACCEPT: &[&str] = &["INSERT INTO request_key", "INSERT INTO appointment"];
const CLAIM: &[&str] = &["INSERT INTO calcom_op"];
const SETTLE: &[&str] = &["UPDATE calcom_op", "INSERT INTO job_attempt"];

/// What happens to the program whose COMMIT it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sender {
    Lives,
    Dies,
}

/// A worker loses this COMMIT, at this price; another one comes only if it dies. Answers how many attempts the ledger has.
async fn a_worker_loses(statements: &'static [&'static str], commit: Commit, sender: Sender, price: &Cost) -> i64 {
    let world = World::new().await;
    let proxy = Proxy::start(&world.database_url()).await;
    let stop = proxy.stop(commit, statements);
    let id = world.book(0).await;
    let times = if *price == PLAIN { unhurried().to_vec() } else { vec![] };
    let through = [("ASKPRO_DATABASE_URL", proxy.url.clone())];
    let mut first = world.worker_with(&[&times[..], &through].concat());
    let stopped = stop.happened().await;
    let since = Instant::now();
    if sender == Sender::Dies {
        first.kill();
    }
    drop(stopped);
    let _second = (sender == Sender::Dies).then(|| world.worker_with(&times));
    let what = format!("COMMIT of {} is {commit:?}, the worker {sender:?}", statements.join(" + "));
    cost(&world, "create", &what, since).await.must_be(price, &what);
    assert_eq!(
        (world.status(id).await.as_str(), world.creates().1),
        ("scheduled", 1),
        "{what}: and effects at Cal.com"
    );
    let attempts = "SELECT count(*) FROM job_attempt JOIN job USING (company_id, job_id) WHERE kind = 'booking'";
    let attempts = world.count(attempts).await;
    world.at_rest().await;
    attempts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settle_that_is_done_is_found_in_the_ledger_by_its_worker() {
    assert_eq!(a_worker_loses(SETTLE, Commit::Done, Sender::Lives, &PLAIN).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settle_that_is_done_needs_nobody_after_its_worker() {
    assert_eq!(a_worker_loses(SETTLE, Commit::Done, Sender::Dies, &PLAIN).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settle_that_was_lost_is_settled_again() {
    assert_eq!(a_worker_loses(SETTLE, Commit::Unsent, Sender::Lives, &PLAIN).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settle_that_was_lost_with_its_worker_is_looked_for() {
    assert!(a_worker_loses(SETTLE, Commit::Unsent, Sender::Dies, &FOUND).await >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_done_is_found_by_its_worker() {
    assert_eq!(a_worker_loses(CLAIM, Commit::Done, Sender::Lives, &PLAIN).await, 1);
}

/// Nobody knows whether it was sent: only after the quarantine may it be asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_done_and_lost_its_worker_waits_for_the_quarantine() {
    assert!(a_worker_loses(CLAIM, Commit::Done, Sender::Dies, &INTENDED_AGAIN).await >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_was_lost_is_claimed_again() {
    assert_eq!(a_worker_loses(CLAIM, Commit::Unsent, Sender::Lives, &PLAIN).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_was_lost_with_its_worker_was_never_made() {
    assert_eq!(a_worker_loses(CLAIM, Commit::Unsent, Sender::Dies, &PLAIN).await, 1);
}

/// The COMMIT of an accept is lost. The caller hears this status (`None`: nothing), and then, with the same key, that one.
async fn an_api_loses(commit: Commit, sender: Sender, hears: Option<u16>, then: u16) {
    let world = World::new().await;
    let proxy = Proxy::start(&world.database_url()).await;
    let stop = proxy.stop(commit, ACCEPT);
    let mut first = world.api_with(&[("ASKPRO_DATABASE_URL", proxy.url.clone())]).await;
    let (key, wish) = ([("idempotency-key", "one-wish")], world.written(0).await);
    let cut = async {
        let stopped = stop.happened().await;
        if sender == Sender::Dies {
            first.process.shoot();
        }
        drop(stopped);
        Instant::now()
    };
    let (heard, since) = tokio::join!(first.try_post("/v1/appointments", &key, &wish), cut);
    assert_eq!(heard.as_ref().ok().map(|answer| answer.status), hears, "{heard:?}");
    if sender == Sender::Dies {
        assert_eq!(first.process.ended().await, None, "killed");
    }
    let again = world.api().await.post("/v1/appointments", &key, &wish).await;
    assert_eq!(again.status, then, "{again:?}");
    if let Some(answer) = heard.ok().filter(|answer| answer.status < 300) {
        assert_eq!(appointment(&answer), appointment(&again), "the same, not another one");
    }
    assert_eq!(world.count("SELECT count(*) FROM appointment").await, 1);
    let _worker = world.worker_with(&unhurried());
    let what = format!("COMMIT of an accept is {commit:?}, the API {sender:?}");
    cost(&world, "create", &what, since).await.must_be(&PLAIN, &what);
    assert_eq!(world.live().len(), 1, "{what}");
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accept_that_is_done_is_answered_as_such() {
    an_api_loses(Commit::Done, Sender::Lives, Some(202), 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accept_that_is_done_is_repeated_by_another_api() {
    an_api_loses(Commit::Done, Sender::Dies, None, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accept_that_was_lost_is_not_answered_as_done() {
    an_api_loses(Commit::Unsent, Sender::Lives, Some(503), 202).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accept_that_was_lost_with_its_api_was_never_made() {
    an_api_loses(Commit::Unsent, Sender::Dies, None, 202).await;
}
