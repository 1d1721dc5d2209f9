//! Redis flushed, restarted, cut, slow, away, or with a clock of its own: it costs seconds, never a job.

use std::time::Duration;

use queue::{Doorbell, QueueError};
use tokio::time::Instant;

use crate::{
    rig::{Rig, settings},
    server::{Redis, wait_until},
};

/// apalis: the next acknowledgement fails, the worker ends, and all its handlers are cancelled at their next await.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_in_the_middle_of_a_job_cancels_nothing() {
    let rig = Rig::new(10).await.closed();
    let worker = rig.work("pod-a");
    let jobs = rig.ledger.accept(5);
    rig.ring(&jobs).await;
    wait_until("jobs under way", async || rig.ledger.running() == 5).await;
    rig.redis.ask::<()>("FLUSHALL").await;
    wait_until("a new generation", async || rig.redis.workers().await.iter().any(|name| name != "pod-a-0")).await;
    // The relay does not know, and rings again.
    rig.ring(&jobs).await;
    wait_until("the second rings heard", async || rig.ledger.rings() == 10).await;
    assert_eq!((rig.ledger.running(), rig.ledger.done()), (5, 0));
    rig.open();
    rig.all_done().await;
    rig.finish(vec![worker]).await;
}

/// apalis: every error between it and Redis ends the worker, and nobody starts it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_flush_a_cut_and_a_restart_the_next_job_is_done() {
    let mut rig = Rig::new(10).await;
    let worker = rig.work("pod-a");
    rig.done_through_the_bell(3).await;

    rig.redis.ask::<()>("FLUSHALL").await;
    rig.done_through_the_bell(3).await;

    rig.redis.ask::<usize>("CLIENT KILL TYPE pubsub").await;
    rig.redis.ask::<usize>("CLIENT KILL TYPE normal SKIPME yes").await;
    rig.done_through_the_bell(3).await;

    rig.redis.start_again().await;
    rig.done_through_the_bell(3).await;
    rig.redis.worker().await;
    rig.finish(vec![worker]).await;
}

/// The redis crate gives up after 500 ms; one slow script, and the worker is dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_of_700_ms_is_survived() {
    let rig = Rig::new(10).await;
    let worker = rig.work("pod-a");
    rig.done_through_the_bell(3).await;
    for _ in 0..2 {
        rig.redis.ask::<()>("CLIENT PAUSE 700 ALL").await;
        rig.done_through_the_bell(3).await;
    }
    assert_eq!(rig.redis.worker().await, "pod-a-0", "still the first generation");
    rig.finish(vec![worker]).await;
}

/// apalis: its interval strategy stalls an idle worker until the next heartbeat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_goes_on_asking() {
    let mut rig = Rig::new(10).await;
    rig.settings.heartbeat = Duration::from_secs(60);
    rig.settings.poll = Duration::from_millis(20);
    let worker = rig.work("pod-a");
    rig.redis.worker().await;
    let scripts = async || {
        let stats: String = rig.redis.ask("INFO commandstats").await;
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap_or("0,");
        line.split(',').next().unwrap().parse::<usize>().unwrap()
    };
    wait_until("80 looks of an idle worker", async || scripts().await >= 80).await;
    rig.finish(vec![worker]).await;
}

/// With polls and heartbeats an hour apart only the ring can be what wakes the worker, also after the subscription
/// was cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_wakes_the_worker() {
    let mut rig = Rig::new(10).await;
    rig.settings.heartbeat = Duration::from_secs(3_600);
    rig.settings.poll = Duration::from_secs(3_600);
    let worker = rig.work("pod-a");
    let subscribed =
        async || rig.redis.ask::<(String, usize)>("PUBSUB NUMSUB ring:jobs").await == ("ring:jobs".into(), 1);
    wait_until("a subscriber", subscribed).await;
    rig.redis.worker().await;
    for _ in 0..20 {
        rig.ring(&rig.ledger.accept(1)).await;
        rig.all_done().await;
    }
    rig.redis.ask::<usize>("CLIENT KILL TYPE pubsub").await;
    wait_until("a subscriber again", subscribed).await;
    rig.ring(&rig.ledger.accept(1)).await;
    rig.all_done().await;
    assert_eq!(rig.redis.worker().await, "pod-a-0");
    rig.finish(vec![worker]).await;
}

/// Scores are whole seconds of the pusher's clock, compared with the worker's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pusher_whose_clock_is_ahead_delays_nothing() {
    let rig = Rig::new(10).await;
    rig.ring(&rig.ledger.accept(10)).await;
    let ids: Vec<String> = rig.redis.ask("ZRANGE jobs:scheduled 0 -1").await;
    for id in ids {
        rig.redis.ask::<f64>(&format!("ZINCRBY jobs:scheduled 3600 {id}")).await;
    }
    let workers = vec![rig.work("pod-a"), rig.sweep()];
    rig.all_done().await;
    assert_eq!(rig.ledger.rings(), 0, "no bell was heard");
    rig.finish(workers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_jobs_are_done_and_everybody_answers_in_time() {
    let mut rig = Rig::new(10).await;
    let workers = vec![rig.work("pod-a"), rig.sweep()];
    rig.done_through_the_bell(10).await;
    rig.redis.kill();

    let jobs = rig.ledger.accept(200);
    let asked = Instant::now();
    assert!(matches!(rig.doorbell.ring(&jobs).await, Err(QueueError::Redis(_) | QueueError::Push(_))));
    assert!(matches!(rig.doorbell.out().await, Err(QueueError::Redis(_))));
    assert!(matches!(rig.doorbell.ping().await, Err(QueueError::Redis(_))));
    assert!(asked.elapsed() < Duration::from_secs(12), "three calls of at most 4 s: {:?}", asked.elapsed());
    rig.all_done().await;

    let stopped = Instant::now();
    rig.finish(workers).await;
    assert!(stopped.elapsed() < Duration::from_secs(10), "stopped in {:?}", stopped.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doorbell_made_while_redis_is_away_works_at_once_when_it_is_back() {
    let mut redis = Redis::start().await;
    redis.kill();
    let doorbell = Doorbell::new(&settings(redis.url(), 5)).unwrap();
    for _ in 0..3 {
        doorbell.ping().await.unwrap_err();
    }
    redis.start_again().await;
    doorbell.ping().await.unwrap();
    redis.start_again().await;
    assert_eq!(doorbell.out().await.unwrap(), 0);
}

/// A Redis that accepts and then says nothing holds nobody for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_is_an_error_and_not_a_wait() {
    let rig = Rig::new(10).await;
    let workers = vec![rig.work("pod-a"), rig.sweep()];
    rig.done_through_the_bell(10).await;
    rig.redis.ask::<()>("CLIENT PAUSE 600000 ALL").await;
    let jobs = rig.ledger.accept(10);
    let asked = Instant::now();
    rig.doorbell.ring(&jobs).await.unwrap_err();
    assert!(asked.elapsed() < Duration::from_secs(8), "answered in {:?}", asked.elapsed());
    rig.all_done().await;
    let stopped = Instant::now();
    rig.finish(workers).await;
    assert!(stopped.elapsed() < Duration::from_secs(15), "stopped in {:?}", stopped.elapsed());
}
