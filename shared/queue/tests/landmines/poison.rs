//! What cannot be read: apalis takes it for an error of the backend. The worker that takes it dies, its batch comes back
//! after the orphan time, and kills the next one.

use redis::AsyncCommands;

use crate::{rig::Rig, server::wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_that_is_no_json_and_an_id_without_data_kill_one_worker_each_and_no_job() {
    let rig = Rig::new(10).await;
    let mut redis = rig.redis.connection().await;
    rig.ring(&rig.ledger.accept(30)).await;
    let bad = "01JZ0000000000000000000BAD";
    let _: usize = redis.hset("jobs:data", bad, "{no json").await.unwrap();
    let fields = [("attempts", "0"), ("max_attempts", "25"), ("status", "Pending")];
    let _: () = redis.hset_multiple(format!("jobs:meta:{bad}"), &fields).await.unwrap();
    let _: usize = redis.zadd("jobs:scheduled", bad, 1).await.unwrap();
    let _: usize = redis.zadd("jobs:scheduled", "01JZ00000000000000000GHST1", 2).await.unwrap();

    let worker = rig.work("pod-a");
    rig.done_through_the_bell(30).await;
    wait_until("none out", async || rig.doorbell.out().await.unwrap() == 0).await;
    let survivor = rig.redis.worker().await;
    assert!(["pod-a-1", "pod-a-2"].contains(&survivor.as_str()), "{survivor}: one restart per poison at the most");
    assert_eq!(rig.redis.inflight().await, 0, "what it held is gone");
    assert!(!redis.hexists::<_, _, bool>("jobs:data", bad).await.unwrap(), "and leaves nothing behind");
    assert!(!redis.exists::<_, bool>(format!("jobs:meta:{bad}")).await.unwrap());

    // Beyond the orphan time, by the survivor's own heartbeats, it has not come back.
    let beat = async || rig.redis.ask::<i64>(&format!("ZSCORE jobs:workers {survivor}")).await;
    let seen = beat().await;
    wait_until("heartbeats beyond the orphan time", async || beat().await >= seen + 5).await;
    rig.done_through_the_bell(10).await;
    assert_eq!(rig.redis.worker().await, survivor);
    rig.finish(vec![worker]).await;
}

/// JSON, but not the name of a job: taken, told, acknowledged, nobody dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_string_that_is_no_name_of_a_job_is_passed_over() {
    let rig = Rig::new(10).await;
    let mut redis = rig.redis.connection().await;
    let odd = "01JZ0000000000000000000DDD";
    let _: usize = redis.hset("jobs:data", odd, "\"not a job\"").await.unwrap();
    let fields = [("attempts", "0"), ("max_attempts", "25"), ("status", "Pending")];
    let _: () = redis.hset_multiple(format!("jobs:meta:{odd}"), &fields).await.unwrap();
    let _: usize = redis.zadd("jobs:scheduled", odd, 1).await.unwrap();
    let worker = rig.work("pod-a");
    rig.done_through_the_bell(10).await;
    wait_until("acknowledged", async || redis.clone().sismember("jobs:done", odd).await.unwrap()).await;
    assert_eq!(rig.redis.worker().await, "pod-a-0");
    rig.finish(vec![worker]).await;
}
