//! SIGTERM with 20 calls in flight: what was begun is finished, and nothing that was not is begun.
//! `DRAIN_ROUNDS` says how often.

use crate::unhurried;
use harness::{World, wait_until};
use sandbox::What;
use std::time::{Duration, Instant};

const JOBS: u32 = 20;
/// Long enough for all of them to be at Cal.com at once.
const LATENCY: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_what_is_in_flight() {
    let rounds = std::env::var("DRAIN_ROUNDS").map_or(2, |rounds| rounds.parse().unwrap());
    assert!(rounds > 0, "no round");
    for round in 1..=rounds {
        drained(round).await;
    }
}

async fn drained(round: u32) {
    let world = World::new().await;
    world.sandbox.set_latency(LATENCY, Duration::ZERO);
    let mut worker = world.worker_with(&unhurried());
    let api = world.api().await;
    for n in 0..JOBS {
        let answer = api.post("/v1/appointments", &[], &world.written(n).await).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let jobs = usize::try_from(JOBS).unwrap();
    wait_until("requests in flight", async || world.creates().0.len() == jobs).await;
    let answered = world.sandbox.ledger().into_iter().filter(|e| e.what == What::Reply && e.method == "POST").count();
    worker.stop();
    let stopped = Instant::now();
    assert_eq!(worker.ended().await, Some(0), "it drained in its time and cut nothing");
    eprintln!(
        "round {round}: SIGTERM with {} in flight, drained in {:.1} s",
        jobs - answered,
        stopped.elapsed().as_secs_f64()
    );
    assert!(answered < jobs, "something was in flight");
    assert_eq!(world.count("SELECT count(*) FROM appointment WHERE status = 'scheduled'").await, i64::from(JOBS));
    assert_eq!(world.count("SELECT count(*) FROM job WHERE state = 'running'").await, 0);
    let _another = world.worker_with(&unhurried());
    world.rests().await;
    assert_eq!(world.count("SELECT count(*) FROM job WHERE attempt > 0 OR crashes > 0").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM calcom_op WHERE state <> 'applied' OR looks > 0").await, 0);
    assert_eq!((world.creates().0.len(), world.creates().1, world.live().len()), (jobs, jobs, jobs));
    world.at_rest().await;
}
