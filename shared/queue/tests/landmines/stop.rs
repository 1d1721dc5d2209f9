//! Stopping, panics, restarts of a pod: nothing hangs, nothing is cut, nothing starts twice.

use std::time::Duration;

use queue::answer_the_bell;
use tokio::time::Instant;

use crate::{
    rig::Rig,
    server::{wait_for, wait_until},
};

/// apalis: acknowledgements pass a channel that nobody drains while it stops; it waits for its handlers for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_with_200_in_flight_is_quick_and_cuts_nothing() {
    let rig = Rig::new(200).await.closed().patient();
    let worker = rig.work("pod-a");
    rig.ring(&rig.ledger.accept(200)).await;
    wait_until("200 in flight", async || rig.ledger.running() == 200).await;
    assert_eq!(rig.redis.inflight().await, 200, "held by apalis too");
    let claimer = rig.sweep();

    let stopped = Instant::now();
    rig.crew.stop.cancel();
    worker.await.unwrap();
    claimer.await.unwrap();
    assert!(stopped.elapsed() < Duration::from_secs(3), "stopped in {:?}", stopped.elapsed());
    assert_eq!((rig.ledger.running(), rig.ledger.done()), (200, 0), "the work goes on");
    assert_eq!(rig.redis.workers().await, [""; 0], "no name is left");
    assert_eq!(rig.redis.inflight().await, 0);

    // Nothing new is taken.
    let late = rig.ledger.accept(5);
    rig.ring(&late).await;
    rig.open();
    rig.crew.tracker.close();
    rig.crew.tracker.wait().await;
    assert_eq!((rig.ledger.done(), rig.ledger.due()), (200, late));
}

/// Names that wait for a slot are given up at once, and their rows stay due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_gives_up_what_still_waits_for_a_slot() {
    let rig = Rig::new(10).await.closed().patient();
    let claimer = rig.sweep();
    rig.ledger.accept(10);
    wait_until("all slots taken by the claimer", async || rig.ledger.running() == 10).await;
    let worker = rig.work("pod-a");
    rig.ring(&rig.ledger.accept(50)).await;
    wait_until("names taken, without a slot", async || rig.redis.inflight().await >= 10).await;

    let stopped = Instant::now();
    rig.crew.stop.cancel();
    worker.await.unwrap();
    claimer.await.unwrap();
    assert!(stopped.elapsed() < Duration::from_secs(3), "stopped in {:?}", stopped.elapsed());
    assert_eq!((rig.ledger.running(), rig.ledger.due().len(), rig.ledger.peak()), (10, 50, 10));
    rig.open();
    rig.finish(vec![]).await;
}

/// apalis: a panic unwinds the worker, or with `catch_panic` retries by rules of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_ends_a_job_and_nothing_else() {
    let rig = Rig::new(5).await;
    let jobs = rig.ledger.accept(20);
    let (ledger, bad) = (rig.ledger.clone(), jobs[3]);
    let worker = tokio::spawn(answer_the_bell(rig.settings.clone(), "pod-a".into(), rig.crew.clone(), move |task| {
        let ledger = ledger.clone();
        async move {
            assert!(ledger.claim(task));
            assert_ne!(task, bad, "thrown on purpose");
            ledger.settle(task);
        }
    }));
    rig.ring(&jobs).await;
    wait_until("the others done", async || rig.ledger.done() == 19).await;
    wait_until("all acknowledged", async || rig.redis.ask::<usize>("SCARD jobs:done").await == 20).await;
    assert_eq!(rig.redis.worker().await, "pod-a-0", "it lives");
    assert_eq!(rig.ledger.rings(), 20, "each was rung for once");
    assert_eq!(rig.crew.semaphore.available_permits(), 5, "its slot is free");
    let ids: Vec<String> = rig.redis.ask("SMEMBERS jobs:done").await;
    for id in ids {
        let meta = format!("HGET jobs:meta:{id} attempts");
        assert!(rig.redis.ask::<usize>(&meta).await <= 1, "apalis tries nothing twice");
    }
    assert_eq!(rig.redis.ask::<usize>("ZCARD jobs:scheduled").await, 0);
    assert_eq!(rig.redis.ask::<usize>("SCARD jobs:dead").await, 0);
    rig.finish(vec![worker]).await;
}

/// apalis: a name used before is refused for a heartbeat, then steals the names of its living twin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_boots_of_one_pod_do_not_disturb_each_other() {
    let rig = Rig::new(20).await.closed();
    let first = rig.work("pod-a-01");
    wait_until("the first boot", async || rig.redis.workers().await == ["pod-a-01-0"]).await;
    rig.ring(&rig.ledger.accept(10)).await;
    wait_until("work of the first", async || rig.ledger.running() == 10).await;
    let second = rig.work("pod-a-02");
    wait_until("both", async || rig.redis.workers().await.len() == 2).await;
    rig.ring(&rig.ledger.accept(10)).await;
    wait_until("all under way", async || rig.ledger.running() == 20).await;
    // Beyond the orphan time, by the heartbeats of both: whatever were to be stolen would be by now.
    for name in ["pod-a-01-0", "pod-a-02-0"] {
        let beat = async || rig.redis.ask::<i64>(&format!("ZSCORE jobs:workers {name}")).await;
        let seen = beat().await;
        wait_until("heartbeats beyond the orphan time", async || beat().await >= seen + 5).await;
    }
    rig.open();
    rig.all_done().await;
    assert_eq!(rig.ledger.rings(), 20, "no job started twice");
    let mut names = rig.redis.workers().await;
    names.sort();
    assert_eq!(names, ["pod-a-01-0", "pod-a-02-0"], "neither had to start again");
    rig.finish(vec![first, second]).await;
}

/// A restart under the same name within the orphan time, after a stop: the name is free, since it was forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn even_the_same_boot_name_may_come_back_after_a_stop() {
    let mut rig = Rig::new(5).await;
    let worker = rig.work("pod-a");
    rig.done_through_the_bell(5).await;
    rig.finish(vec![worker]).await;
    rig.crew = queue::Crew::new(5, tokio_util::sync::CancellationToken::new());
    let worker = rig.work("pod-a");
    rig.done_through_the_bell(5).await;
    let name = wait_for("a worker", async || rig.redis.workers().await.pop()).await;
    assert_eq!(name, "pod-a-0");
    rig.finish(vec![worker]).await;
}
