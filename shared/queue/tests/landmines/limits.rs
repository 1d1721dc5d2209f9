//! How much: names out at a time, jobs at a time, keys for ever.

use std::{sync::Arc, time::Duration};

use queue::{Rung, keep_clean};
use redis::AsyncCommands;

use crate::{rig::Rig, server::wait_until};

/// apalis: 8,000 due names cannot be fetched by anybody, ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_due_jobs_do_not_wedge_the_queue() {
    let rig = Rig::new(50).await;
    let jobs = rig.ledger.accept(20_000);
    assert_eq!(rig.doorbell.ring(&jobs).await.unwrap(), Rung { pushed: 1_000, skipped: 19_000 });
    assert_eq!(rig.doorbell.ring(&jobs[..3]).await.unwrap(), Rung { pushed: 0, skipped: 3 });
    assert_eq!(rig.doorbell.ring(&[]).await.unwrap(), Rung::default());
    assert_eq!(rig.redis.ask::<usize>("ZCARD jobs:scheduled").await, 1_000);
    assert_eq!(rig.doorbell.out().await.unwrap(), 1_000);

    let worker = rig.work("pod-a");
    wait_until("a thousand done", async || rig.ledger.done() == 1_000).await;
    wait_until("none out", async || rig.doorbell.out().await.unwrap() == 0).await;
    assert_eq!(rig.doorbell.ring(&rig.ledger.due()[..10]).await.unwrap(), Rung { pushed: 10, skipped: 0 });
    wait_until("the next ten done", async || rig.ledger.done() == 1_010).await;
    assert_eq!(rig.redis.worker().await, "pod-a-0");
    rig.finish(vec![worker]).await;
}

/// What a worker has taken counts as out, also when many ring at the same moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_in_flight_count_as_out() {
    let rig = Rig::new(30).await.closed().patient();
    let worker = rig.work("pod-a");
    rig.ring(&rig.ledger.accept(100)).await;
    wait_until("slots full", async || rig.ledger.running() == 30).await;
    assert_eq!(rig.doorbell.out().await.unwrap(), 100);
    assert!(rig.redis.inflight().await < 60, "one batch at work, and less than one in the hand");
    let jobs = Arc::new(rig.ledger.accept(5_000));
    let ringers: Vec<_> = (0..8)
        .map(|_| {
            let (doorbell, jobs) = (rig.doorbell.clone(), jobs.clone());
            tokio::spawn(async move { doorbell.ring(&jobs).await.unwrap() })
        })
        .collect();
    for ringer in ringers {
        ringer.await.unwrap();
    }
    let out = rig.doorbell.out().await.unwrap();
    assert!((1_000..1_000 + 8 * 500).contains(&out), "{out} out: one batch each too many, at the worst");
    rig.open();
    rig.finish(vec![worker]).await;
}

/// apalis: without `concurrency` everything starts at once; without `persist_results` nothing is acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_names_run_in_the_slots_and_are_acknowledged() {
    let mut rig = Rig::new(50).await;
    rig.settings.out_max = 4_000;
    rig.doorbell = queue::Doorbell::new(&rig.settings).unwrap();
    let jobs = rig.ledger.accept(5_000);
    rig.ring(&jobs[..4_000]).await;
    let worker = rig.work("pod-a");
    wait_until("room", async || rig.doorbell.out().await.unwrap() <= 3_000).await;
    rig.ring(&jobs[4_000..]).await;
    rig.all_done().await;
    wait_until("none out", async || rig.doorbell.out().await.unwrap() == 0).await;
    assert_eq!(rig.redis.inflight().await, 0);
    assert_eq!(rig.redis.ask::<usize>("SCARD jobs:done").await, 5_000);
    assert_eq!(rig.ledger.rings(), 5_000, "none came twice");
    assert!(rig.ledger.peak() <= 50, "{} at a time", rig.ledger.peak());
    assert_eq!(rig.redis.worker().await, "pod-a-0");
    rig.finish(vec![worker]).await;
}

/// apalis: while it holds more names than it has slots it sends no heartbeat, and acknowledges nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_jobs_are_long_is_not_taken_for_dead() {
    let rig = Rig::new(4).await.closed();
    let worker = rig.work("pod-a");
    rig.ring(&rig.ledger.accept(3)).await;
    wait_until("three under way", async || rig.ledger.running() == 3).await;
    rig.ring(&rig.ledger.accept(4)).await;
    wait_until("slots full", async || rig.ledger.running() == 4).await;
    let beat = async || rig.redis.ask::<i64>("ZSCORE jobs:workers pod-a-0").await;
    let first = beat().await;
    wait_until("heartbeats beyond the orphan time", async || beat().await >= first + 5).await;
    wait_until("names given up", async || rig.doorbell.out().await.unwrap() == 0).await;
    assert_eq!((rig.ledger.running(), rig.ledger.due().len()), (4, 3), "what had no slot is still due");
    rig.open();
    rig.done_through_the_bell(1).await;
    assert_eq!(rig.redis.worker().await, "pod-a-0");
    rig.finish(vec![worker]).await;
}

/// Doorbell and direct claimer share the slots; so do the generations of a worker that dies again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_workers_together_never_exceed_the_slots() {
    let rig = Rig::new(8).await.closed();
    let workers = vec![rig.work("pod-a"), rig.sweep()];
    let jobs = rig.ledger.accept(400);
    rig.ring(&jobs).await;
    wait_until("slots full", async || rig.ledger.running() == 8).await;
    for generation in 1..=2 {
        rig.redis.ask::<()>("FLUSHALL").await;
        let name = format!("pod-a-{generation}");
        wait_until("the next generation", async || rig.redis.workers().await.contains(&name)).await;
        rig.ring(&jobs).await;
    }
    rig.open();
    rig.all_done().await;
    assert_eq!(rig.ledger.peak(), 8);
    rig.finish(workers).await;
}

/// apalis keeps 390 bytes of each name for ever, and a hash of each worker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_leaves_no_keys_behind() {
    let rig = Rig::new(50).await;
    let worker = rig.work("pod-a");
    // Workers that were killed: a hash each, and no entry in the list.
    let mut redis = rig.redis.connection().await;
    for n in 0..700 {
        let key = format!("jobs:workers:metadata:pod-{n}-0");
        let _: usize = redis.hset(key, "service", "gone").await.unwrap();
    }
    let _: usize = redis.sadd("jobs:dead", "DEAD").await.unwrap();
    let _: usize = redis.hset("jobs:data", "DEAD", "\"1/x\"").await.unwrap();
    let _: usize = redis.hset("jobs:meta:DEAD", "attempts", 25).await.unwrap();
    for _ in 0..3 {
        rig.done_through_the_bell(1_000).await;
    }
    wait_until("none out", async || rig.doorbell.out().await.unwrap() == 0).await;
    assert!(rig.redis.ask::<usize>("DBSIZE").await > 3_000);

    let janitor = tokio::spawn(keep_clean(rig.settings.clone(), rig.crew.stop.clone(), Duration::from_secs(1)));
    wait_until("hardly a key", async || rig.redis.ask::<usize>("DBSIZE").await < 10).await;
    assert_eq!(rig.redis.ask::<usize>("HLEN jobs:data").await, 0);
    let metadata: Vec<String> = rig.redis.ask("KEYS jobs:workers:metadata:*").await;
    assert_eq!(metadata, ["jobs:workers:metadata:pod-a-0"], "the living keep theirs");

    // It comes again, also after an outage, and does not disturb.
    rig.redis.ask::<usize>("CLIENT KILL TYPE normal SKIPME yes").await;
    rig.done_through_the_bell(1_000).await;
    wait_until("hardly a key again", async || rig.redis.ask::<usize>("DBSIZE").await < 10).await;
    rig.finish(vec![worker, janitor]).await;
}
