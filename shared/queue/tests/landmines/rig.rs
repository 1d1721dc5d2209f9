//! One test's world: a Redis, a ledger, a crew, and a gate at which the work can be held.

use std::{sync::Arc, time::Duration};

use queue::{Crew, Doorbell, QueueSettings, Task, answer_the_bell, claim_directly};
use tokio::{sync::Semaphore, task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    ledger::Ledger,
    server::{Redis, wait_until},
};

pub struct Rig {
    pub redis: Redis,
    pub settings: QueueSettings,
    pub ledger: Ledger,
    pub crew: Crew,
    pub doorbell: Doorbell,
    /// Work waits here for a permit; open from the start unless `closed()`.
    pub gate: Arc<Semaphore>,
}

/// Short times: an orphan time of 3 s instead of 15 s.
pub fn settings(redis_url: String, slots: usize) -> QueueSettings {
    QueueSettings {
        redis_url,
        queue: "jobs".into(),
        slots,
        heartbeat: Duration::from_secs(1),
        missed_heartbeats: 3,
        poll: Duration::from_millis(50),
        out_max: 1_000,
    }
}

impl Rig {
    pub async fn new(slots: usize) -> Rig {
        let redis = Redis::start().await;
        let settings = settings(redis.url(), slots);
        Rig {
            doorbell: Doorbell::new(&settings).unwrap(),
            crew: Crew::new(slots, CancellationToken::new()),
            ledger: Ledger::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            settings,
            redis,
        }
    }

    /// No work ends before `open`.
    pub fn closed(mut self) -> Rig {
        self.gate = Arc::new(Semaphore::new(0));
        self
    }

    /// Names are held for a minute and a half before they are given up.
    pub fn patient(mut self) -> Rig {
        self.settings.heartbeat = Duration::from_secs(60);
        self
    }

    pub fn open(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// The doorbell worker of a process.
    pub fn work(&self, boot: &str) -> JoinHandle<()> {
        let (ledger, gate) = (self.ledger.clone(), self.gate.clone());
        tokio::spawn(answer_the_bell(self.settings.clone(), boot.into(), self.crew.clone(), move |task| {
            let (ledger, gate) = (ledger.clone(), gate.clone());
            async move {
                if ledger.claim(task) {
                    act(ledger, gate, task).await;
                }
            }
        }))
    }

    /// The direct claimer of a process; it asks ten times as often as a real one.
    pub fn sweep(&self) -> JoinHandle<()> {
        let (ledger, due, gate) = (self.ledger.clone(), self.ledger.clone(), self.gate.clone());
        let claim = move |n| {
            let claimed = due.claim_due(n);
            async move { claimed }
        };
        tokio::spawn(claim_directly(Duration::from_millis(100), 20, self.crew.clone(), claim, move |task| {
            act(ledger.clone(), gate.clone(), task)
        }))
    }

    /// Rings for new jobs, and again for those that are still due, as the relay does, until all are done.
    pub async fn done_through_the_bell(&self, jobs: usize) {
        self.ledger.accept(jobs);
        let ring = async {
            loop {
                let _ = self.doorbell.ring(&self.ledger.due()).await;
                sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::select! {
            () = self.all_done() => {}
            () = ring => {}
        }
    }

    pub async fn all_done(&self) {
        wait_until("all jobs done once", async || self.ledger.all_done_once()).await;
    }

    /// Rings once; all must go out.
    pub async fn ring(&self, tasks: &[Task]) {
        let rung = self.doorbell.ring(tasks).await.unwrap();
        assert_eq!((rung.pushed, rung.skipped), (tasks.len(), 0));
    }

    /// Stops the crew and waits for it as a server does.
    pub async fn finish(&self, workers: Vec<JoinHandle<()>>) {
        self.crew.stop.cancel();
        for worker in workers {
            worker.await.unwrap();
        }
        self.crew.tracker.close();
        self.crew.tracker.wait().await;
    }
}

async fn act(ledger: Ledger, gate: Arc<Semaphore>, task: Task) {
    gate.acquire().await.unwrap().forget();
    ledger.settle(task);
}
