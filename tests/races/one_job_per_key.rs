//! RC8: a job that is asked for many times. Of each key `kind:appointment` one row waits and one runs, at most; the one
//! that waits re-reads the world, so that nothing asked for is lost. Lost in `tests/naive/lost_cancel.rs`.
//!
//! In this release no two commands enqueue the same key, because a cancel is final. So two tests here bring about, in
//! SQL, what reschedules will: a create that runs under the key of the cancel, and a promise that comes back.

use crate::{at_once, book_at_once, call_off, cancel, ring};
use domain::appointment::Status;
use domain::id::AppointmentId;
use domain::job::Kind;
use futures::future::join_all;
use harness::{World, wait_until};
use queue::{Doorbell, Rung, Task};
use sandbox::{Effect, Entry, What};
use std::convert::Infallible;
use std::time::Duration;
use store::{Accepted, CancelCommand, How, Replay, RequestKey};

const ROUNDS: u32 = 10;
const RIVALS: usize = 32;
/// Of one customer in a storm.
const CHANGES: u32 = 40;
/// Keeps a request at Cal.com for long enough to be met there, and ends before our timeout.
const SLOW: Duration = Duration::from_millis(300);

/// One cancel of `RIVALS` is new and has a job of its own, and the others hear that it is cancelled.
async fn one_of_all_cancels_is_new(world: &World, id: AppointmentId) {
    let command = cancel(world, id);
    let rivals = (0..RIVALS).map(|_| call_off(world.store.clone(), command.clone())).collect();
    let (new, others): (Vec<_>, Vec<_>) = at_once(rivals).await.into_iter().partition(|a| a.how == How::New);
    assert_eq!((new.len(), others.len()), (1, RIVALS - 1));
    let job = new[0].job.unwrap();
    assert_eq!((job.kind, job.coalesced, new[0].ring.as_slice()), (Kind::Sync, false, &[job.job][..]));
    for answer in &others {
        assert_eq!((answer.how, answer.job, answer.ring.len()), (How::Unchanged, None, 0));
    }
    for answer in new.iter().chain(&others) {
        assert_eq!((answer.version, answer.status), (2, Status::Cancelled));
    }
}

/// The most that was ever seen at one time.
#[derive(Default, Debug)]
struct Seen {
    looks: u32,
    waiting_of_a_key: i64,
    running_of_a_key: i64,
    unresolved_of_an_appointment: i64,
    live_of_a_marker: usize,
}

impl Seen {
    async fn look(&mut self, world: &World) {
        let most = "SELECT COALESCE(max(waiting), 0), COALESCE(max(running), 0), COALESCE(max(unresolved), 0) FROM (
              SELECT count(*) FILTER (WHERE state IN ('available', 'retryable')) AS waiting,
                     count(*) FILTER (WHERE state = 'running') AS running, 0::int8 AS unresolved
              FROM job GROUP BY company_id, subject, kind
              UNION ALL
              SELECT 0, 0, count(*) FROM calcom_op WHERE state IN ('sent', 'unknown')
              GROUP BY company_id, appointment_id) m";
        let (waiting, running, unresolved): (i64, i64, i64) =
            sqlx::query_as(most).fetch_one(&world.pool).await.unwrap();
        let live = world.live();
        let of_its_marker = |b: &sandbox::Booking| live.iter().filter(|other| other.metadata == b.metadata).count();
        self.looks += 1;
        self.waiting_of_a_key = self.waiting_of_a_key.max(waiting);
        self.running_of_a_key = self.running_of_a_key.max(running);
        self.unresolved_of_an_appointment = self.unresolved_of_an_appointment.max(unresolved);
        self.live_of_a_marker = self.live_of_a_marker.max(live.iter().map(of_its_marker).max().unwrap_or(0));
    }

    async fn look_on(&mut self, world: &World) -> Infallible {
        loop {
            self.look(world).await;
        }
    }

    /// Watches a story from its beginning to its end: never two of anything of which there may be one.
    async fn of(world: &World, story: impl Future<Output = ()>) -> Self {
        let mut seen = Self::default();
        seen.look(world).await;
        tokio::select! {
            () = story => {}
            never = seen.look_on(world) => match never {},
        }
        seen.look(world).await;
        let most = [seen.waiting_of_a_key, seen.running_of_a_key, seen.unresolved_of_an_appointment];
        assert!(most.iter().all(|n| *n <= 1) && seen.live_of_a_marker <= 1, "{seen:?}");
        seen
    }
}

/// I19: no op acted twice. `kind` is create or cancel.
async fn every_op_had_one_effect_at_most(world: &World, kind: &str, effect: Effect) -> usize {
    let ledger = world.sandbox.ledger();
    let asks =
        |e: &&Entry| e.what == What::Arrival && e.method == "POST" && (kind == "cancel") == e.path.ends_with("/cancel");
    let (asked, happened) =
        (ledger.iter().filter(asks).count(), ledger.iter().filter(|e| e.effect == Some(effect)).count());
    let ops = "SELECT count(*), count(*) FILTER (WHERE state = 'applied') FROM calcom_op WHERE kind = $1";
    let (sent, applied): (i64, i64) = sqlx::query_as(ops).bind(kind).fetch_one(&world.pool).await.unwrap();
    assert!(asked <= usize::try_from(sent).unwrap(), "{kind}: {asked} requests for {sent} ops");
    assert_eq!(happened, usize::try_from(applied).unwrap(), "{kind}: effects, and ops that say so");
    happened
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_cancels_one_is_new_and_cal_com_is_never_asked() {
    let world = World::new().await;
    let mut booked = vec![];
    for n in 0..ROUNDS {
        booked.push(world.book(n).await);
    }
    let seen = Seen::of(&world, async {
        for id in &booked {
            one_of_all_cancels_is_new(&world, *id).await;
        }
    });
    let seen = seen.await;
    assert!(seen.looks > 2 && seen.waiting_of_a_key == 1, "{seen:?}");
    assert_eq!(world.changes_not_acted_on().await, i64::from(2 * ROUNDS), "every booking and every cancel");
    let _workers = [world.worker(None), world.worker(None)];
    world.rests().await;
    // The sweep reads; nothing else may have been asked.
    let asked = world.sandbox.ledger().into_iter().filter(|entry| entry.method == "POST").count();
    assert_eq!(asked, 0, "nothing was booked before the cancel");
    world.at_rest().await;
}

/// Old and new want the same key: the create runs, and the cancel waits behind it. Nothing is dropped.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_waits_behind_the_create_that_runs_under_its_key() {
    let world = World::new().await;
    world.sandbox.set_latency(Duration::from_secs(2), Duration::ZERO);
    // A worker that waits for Cal.com longer than it is stopped.
    let patient = [("ASKPRO_CALCOM_TIMEOUT_MS", 8_000), ("ASKPRO_LEASE_MS", 20_000), ("ASKPRO_QUARANTINE_MS", 20_000)];
    let patient = patient.map(|(name, milliseconds)| (name, milliseconds.to_string()));
    let seen = Seen::of(&world, async {
        for n in 1..=3 {
            let id = world.book(n).await;
            let one_job = "WITH others AS (DELETE FROM job WHERE kind = 'customer' AND state = 'available')
                           UPDATE job SET kind = 'sync' WHERE kind = 'booking'";
            assert_eq!(sqlx::query(one_job).execute(&world.pool).await.unwrap().rows_affected(), 1);
            let worker = world.worker_with(&patient);
            wait_until("the create's arrival", async || world.creates().0.len() == n as usize).await;
            worker.pause();
            one_of_all_cancels_is_new(&world, id).await;
            let both = "SELECT count(*) FROM job r JOIN job w USING (company_id, subject, kind)
                        WHERE r.state = 'running' AND w.state = 'available'";
            assert_eq!(world.count(both).await, 1, "one runs, one waits");
            worker.go_on();
            world.rests().await;
            assert_eq!((world.status(id).await.as_str(), world.live().len()), ("cancelled", 0));
        }
    });
    let seen = seen.await;
    assert!(seen.looks > 2 && seen.waiting_of_a_key == 1 && seen.running_of_a_key == 1, "{seen:?}");
    assert_eq!((seen.unresolved_of_an_appointment, seen.live_of_a_marker), (1, 1));
    let made = every_op_had_one_effect_at_most(&world, "create", Effect::Created).await;
    let undone = every_op_had_one_effect_at_most(&world, "cancel", Effect::Cancelled).await;
    assert_eq!((made, undone), (3, 3));
    world.at_rest().await;
}

/// Takes a cancel back, as no command of this release does: the promise, its event and its slot, under its lock.
async fn take_back(world: &World, id: AppointmentId) {
    let mut tx = world.pool.begin().await.unwrap();
    let lock = "SELECT FROM appointment WHERE appointment_id = $1 FOR NO KEY UPDATE";
    sqlx::query(lock).bind(id.0).execute(&mut *tx).await.unwrap();
    let promise = "WITH a AS (
            UPDATE appointment SET status = 'requested', version = version + 1
            WHERE appointment_id = $1 AND status = 'cancelled' RETURNING company_id, appointment_id, version),
          s AS (
            UPDATE slot SET state = 'booked', ended_at = NULL FROM a WHERE slot.appointment_id = a.appointment_id)
          INSERT INTO appointment_event (company_id, appointment_id, version, what, from_status, to_status, who)
          SELECT company_id, appointment_id, version, 'requested', 'cancelled', 'requested', 'customer' FROM a";
    sqlx::query(promise).bind(id.0).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

/// One who keeps changing his mind; his last word is not a cancel. Says of each cancel that was new: was it merged?
async fn changes(world: &World, id: AppointmentId, bell: Option<&Doorbell>) -> Vec<bool> {
    let mut merged = vec![];
    for _ in 0..CHANGES {
        let accepted = call_off(world.store.clone(), cancel(world, id)).await;
        match accepted.how {
            How::New => merged.push(accepted.job.unwrap().coalesced),
            How::Unchanged => assert_eq!(accepted.job, None),
            How::Replayed | How::AlreadyYours => panic!("{accepted:?}"),
        }
        if let Some(bell) = bell {
            ring(bell, &accepted).await;
        }
        take_back(world, id).await;
    }
    merged
}

/// Many cancels of one key while others of it wait, are claimed, run and end: the last word is one, and it is heard.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_storm_of_changes_none_is_lost() {
    let world = World::new().await;
    world.sandbox.set_latency(Duration::from_millis(5), Duration::from_millis(5));
    let (id, bell) = (world.book(0).await, world.doorbell());
    let seen = Seen::of(&world, async {
        let merged = join_all((0..8).map(|_| changes(&world, id, None))).await.concat();
        assert_eq!(merged.iter().filter(|merged| !**merged).count(), 1, "all others were merged into the first");
        assert!(world.changes_not_acted_on().await > i64::from(CHANGES), "the storm has blown");
        let _workers = [world.worker(None), world.worker(None)];
        wait_until("the workers", async || !world.sandbox.ledger().is_empty()).await;
        let merged = join_all((0..8).map(|_| changes(&world, id, Some(&bell)))).await.concat();
        assert!(merged.len() >= CHANGES as usize, "{} changes", merged.len());
        call_off(world.store.clone(), cancel(&world, id)).await;
        world.rests().await;
    });
    let seen = seen.await;
    assert!(seen.looks > 2 && seen.waiting_of_a_key == 1, "{seen:?}");
    assert_eq!((world.status(id).await.as_str(), world.live().len()), ("cancelled", 0));
    let made = every_op_had_one_effect_at_most(&world, "create", Effect::Created).await;
    let undone = every_op_had_one_effect_at_most(&world, "cancel", Effect::Cancelled).await;
    assert!(made > 0 && made == undone, "{made} made, {undone} undone");
    world.at_rest().await;
}

/// The same request, many times at once: one decision, one job, told to everybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_has_one_job() {
    let world = World::new().await;
    let key = |name: String| Some(RequestKey { key: name, body_hash: [0; 32], replay: Replay::Always });
    let one_job = |answers: Vec<Accepted>, kind| {
        let count = |how| answers.iter().filter(|a| a.how == how).count();
        assert_eq!((count(How::New), count(How::Replayed)), (1, RIVALS - 1));
        let jobs: Vec<_> = answers.iter().map(|a| a.job.unwrap()).collect();
        assert!(jobs.iter().all(|job| job.job == jobs[0].job && job.kind == kind), "{jobs:?}");
    };
    for round in 0..ROUNDS {
        let mut wish = world.wish(round).await;
        wish.key = key(format!("book-{round}"));
        let answers = book_at_once(&world, vec![wish; RIVALS]).await;
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        let command =
            CancelCommand { key: key(format!("cancel-{round}")), ..cancel(&world, answers[0].appointment_id) };
        one_job(answers, Kind::Booking);
        let cancels = (0..RIVALS).map(|_| call_off(world.store.clone(), command.clone())).collect();
        one_job(at_once(cancels).await, Kind::Sync);
    }
    let _worker = world.worker(None);
    world.rests().await;
    world.at_rest().await;
}

/// A bell may ring as often as it likes: before anybody listens, while the job runs, and after its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_rings_are_one_effect() {
    let world = World::new().await;
    world.sandbox.set_latency(SLOW, SLOW);
    let accepted = world.store.accept_booking(&world.wish(0).await).await.unwrap();
    let job = accepted.job.unwrap().job;
    let bell = world.doorbell();
    let ring = || async {
        let task = Task { company_id: job.company_id, job_id: job.job_id.0 };
        let rings = (0..50).map(|_| {
            let bell = bell.clone();
            async move { bell.ring(&[task, task]).await.unwrap() }
        });
        let rung = at_once(rings.collect()).await;
        assert!(rung.iter().all(|rung| *rung == Rung { pushed: 2, skipped: 0 }), "{rung:?}");
    };
    ring().await;
    let _workers = [world.worker(None), world.worker(None)];
    wait_until("the create's arrival", async || !world.creates().0.is_empty()).await;
    ring().await;
    world.rests().await;
    ring().await;
    wait_until("silence", async || bell.out().await.unwrap() == 0).await;
    assert_eq!((world.creates().0.len(), world.creates().1), (1, 1), "requests and effects");
    assert_eq!(world.count("SELECT count(*) FROM calcom_op").await, 1);
    let attempts = "SELECT count(*) FROM job_attempt JOIN job USING (company_id, job_id) WHERE kind = 'booking'";
    let looks = world.count("SELECT looks::int8 FROM calcom_op").await;
    assert_eq!(world.count(attempts).await, 1 + looks, "one that sent, and one for each look at what was slow");
    world.at_rest().await;
}
