//! Bookings a second from a backlog: all accepted first, then one worker process with 50 in flight and the times of
//! production, against a sandbox without latency in a process of its own. Three rounds, each in a world of its own.
//!
//! Deliberately absent: the API. The statements are told from the last round, CPU from all of them.

use crate::meters::{
    Statement, cpu_seconds, cpu_seconds_of_postgres, cpu_seconds_of_redis, forget_statements, statements, wal_flushes,
};
use harness::{Process, Setup, World};
use serde_json::{Value, json};
use sqlx::Row;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const ROUNDS: usize = 3;
const STAFF: i32 = 250;
const SLOTS: u32 = 50;
/// Callers at a time while the backlog is accepted.
const CALLERS: usize = 20;
/// Between two looks whether it is over; the figures come from the ledger's own times.
const LOOK: Duration = Duration::from_millis(250);
/// A round that takes longer is no measurement.
const PATIENCE: Duration = Duration::from_secs(600);
/// Statements that are told.
const TOLD: usize = 10;

/// One round.
struct Round {
    accepted_a_second: f64,
    bookings_a_second: f64,
    /// From the first claim until nothing was left, the customers' jobs included.
    seconds: f64,
    /// Milliseconds a booking of each process, the largest first.
    cpu_ms: Vec<(&'static str, f64)>,
    wal_flushes: f64,
    statements: Vec<Statement>,
}

pub(crate) async fn run(bookings: u32) -> Value {
    println!("{bookings} bookings from a backlog, {SLOTS} in flight, {ROUNDS} rounds");
    println!("round   accepted/s   bookings/s   all done after   WAL flushes/booking   CPU ms a booking");
    let mut rounds = Vec::new();
    for n in 1..=ROUNDS {
        let round = round(bookings).await;
        let cpu: Vec<_> = round.cpu_ms.iter().map(|(name, ms)| format!("{name} {ms:.2}")).collect();
        let (accepted, booked, seconds) = (round.accepted_a_second, round.bookings_a_second, round.seconds);
        let (flushes, cpu) = (round.wal_flushes, cpu.join(", "));
        println!("{n:>5} {accepted:>12.0} {booked:>12.0} {seconds:>14.1} s {flushes:>21.2}   {cpu}");
        rounds.push(round);
    }
    let statements = tell_statements(&rounds[ROUNDS - 1], bookings);
    let figure = |of: fn(&Round) -> f64| rounds.iter().map(of).collect::<Vec<_>>();
    json!({
        "bench": "throughput", "bookings": bookings, "slots": SLOTS,
        "bookings_a_second": median(figure(|r| r.bookings_a_second)),
        "rounds": figure(|r| r.bookings_a_second),
        "accepted_a_second": median(figure(|r| r.accepted_a_second)),
        "seconds": median(figure(|r| r.seconds)),
        "wal_flushes": median(figure(|r| r.wal_flushes)),
        "cpu_ms": rounds.iter().map(|r| r.cpu_ms.iter().copied().collect()).collect::<Vec<Value>>(),
        "statements": statements,
    })
}

async fn round(bookings: u32) -> Round {
    let world = World::of(Setup { staff: STAFF, ..Setup::default() }).await;
    let sandbox = OtherSandbox::like(&world).await;
    let accepted_a_second = accept(&world, bookings).await;
    // As after any day of work. Who wakes first, autovacuum or the worker, is not to be measured.
    sqlx::query("ANALYZE").execute(&world.pool).await.unwrap();
    forget_statements(&world.pool).await;

    let before = Meters::read(&world, &sandbox, None).await;
    let worker = start_worker(&world, &sandbox);
    drained(&world).await;
    let after = Meters::read(&world, &sandbox, Some(&worker)).await;
    let statements = statements(&world.pool).await;
    drop(worker);

    let scheduled = world.count("SELECT count(*) FROM appointment WHERE status = 'scheduled'").await;
    assert_eq!((scheduled, sandbox.live().await), (bookings.into(), bookings as usize), "every one, and once");
    let times =
        "SELECT extract(epoch FROM max(t.ended_at) FILTER (WHERE j.kind = 'booking') - min(t.started_at))::float8,
                        extract(epoch FROM max(t.ended_at) - min(t.started_at))::float8
                 FROM job_attempt t JOIN job j USING (company_id, job_id)";
    let times = sqlx::query(times).fetch_one(&world.pool).await.unwrap();
    let (booked_after, seconds): (f64, f64) = (times.get(0), times.get(1));
    world.gone().await;
    Round {
        accepted_a_second,
        bookings_a_second: f64::from(bookings) / booked_after,
        seconds,
        cpu_ms: after.cpu_ms_since(&before, bookings),
        wal_flushes: (after.wal_flushes - before.wal_flushes) as f64 / f64::from(bookings),
        statements,
    }
}

/// Accepts all of them and rings for none: a backlog. Says how many a second.
async fn accept(world: &World, bookings: u32) -> f64 {
    let mut wishes = Vec::new();
    for n in 0..bookings {
        wishes.push(world.wish(n).await);
    }
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for wishes in wishes.chunks(wishes.len().div_ceil(CALLERS)) {
        let (store, wishes) = (world.store.clone(), wishes.to_vec());
        callers.spawn(async move {
            for wish in &wishes {
                store.accept_booking(wish).await.unwrap();
            }
        });
    }
    callers.join_all().await;
    f64::from(bookings) / begun.elapsed().as_secs_f64()
}

fn start_worker(world: &World, sandbox: &OtherSandbox) -> Process {
    world.worker_with(&[
        ("ASKPRO_CALCOM_URL", format!("{}/v2", sandbox.root)),
        ("ASKPRO_SLOTS", SLOTS.to_string()),
        ("ASKPRO_CALCOM_TIMEOUT_MS", "8000".to_owned()),
        ("ASKPRO_LEASE_MS", "10000".to_owned()),
        ("ASKPRO_RENEWAL_MS", "3000".to_owned()),
        ("ASKPRO_WORKER_LOCK_WAIT_MS", "2000".to_owned()),
        ("ASKPRO_QUARANTINE_MS", "90000".to_owned()),
    ])
}

async fn drained(world: &World) {
    let begun = Instant::now();
    let left = "SELECT count(*) FROM job WHERE finished_at IS NULL /* by the bench */";
    while world.count(left).await > 0 {
        assert!(begun.elapsed() < PATIENCE, "{} jobs were left", world.count(left).await);
        tokio::time::sleep(LOOK).await;
    }
}

/// What can be read off at a moment.
struct Meters {
    cpu_seconds: [(&'static str, f64); 4],
    wal_flushes: i64,
}

impl Meters {
    async fn read(world: &World, sandbox: &OtherSandbox, worker: Option<&Process>) -> Self {
        let redis = std::env::var("TEST_REDIS_URL").unwrap();
        let cpu_seconds = [
            ("worker", worker.map_or(0.0, |worker| cpu_seconds(worker.id()))),
            ("PostgreSQL", cpu_seconds_of_postgres(&world.pool).await),
            ("Redis", cpu_seconds_of_redis(&redis).await),
            ("sandbox", cpu_seconds(sandbox.process.id())),
        ];
        Self { cpu_seconds, wal_flushes: wal_flushes(&world.pool).await }
    }

    fn cpu_ms_since(&self, before: &Self, bookings: u32) -> Vec<(&'static str, f64)> {
        let each = |seconds: f64| seconds * 1_000.0 / f64::from(bookings);
        let pairs = self.cpu_seconds.iter().zip(before.cpu_seconds);
        let mut cpu: Vec<_> = pairs.map(|((name, after), (_, before))| (*name, each(after - before))).collect();
        cpu.sort_by(|a, b| b.1.total_cmp(&a.1));
        cpu
    }
}

/// The sandbox as a program; in this process it would share two cores with the clock.
struct OtherSandbox {
    process: Child,
    root: String,
}

impl OtherSandbox {
    /// With the event types of this world's own one.
    async fn like(world: &World) -> Self {
        let program = std::env::current_exe().unwrap().with_file_name("sandbox");
        let mut command = Command::new(program);
        command.env("RUST_LOG", "warn").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("the sandbox is built beside the bench");
        let url = BufReader::new(process.stdout.take().unwrap()).lines().next().expect("it says its URL").unwrap();
        let root = url.trim_end_matches("/v2").to_owned();
        let path = "_sandbox/event-types";
        let ours = get(&format!("{}/{path}", world.sandbox.root)).await;
        let put = reqwest::Client::new().put(format!("{root}/{path}")).json(&ours).send().await.unwrap();
        assert!(put.status().is_success(), "{}", put.status());
        Self { process, root }
    }

    async fn live(&self) -> usize {
        let bookings = get(&format!("{}/_sandbox/bookings", self.root)).await;
        bookings.as_array().unwrap().iter().filter(|booking| booking["status"] == "accepted").count()
    }
}

impl Drop for OtherSandbox {
    fn drop(&mut self) {
        let _gone_already = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn get(url: &str) -> Value {
    let bytes = reqwest::get(url).await.unwrap().bytes().await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn tell_statements(round: &Round, bookings: u32) -> Vec<Value> {
    let all: f64 = round.statements.iter().map(|statement| statement.milliseconds).sum();
    println!(
        "\nThe {TOLD} most expensive statements; PostgreSQL ran {:.2} ms a booking of them all",
        all / f64::from(bookings)
    );
    println!("share   calls/booking   ms/call   statement");
    let mut told = Vec::new();
    for Statement { query, calls, milliseconds } in round.statements.iter().take(TOLD) {
        let (share, each) = (milliseconds / all, *calls as f64 / f64::from(bookings));
        let milliseconds = milliseconds / *calls as f64;
        let query: String = query.chars().take(110).collect();
        println!("{:>4.0} % {each:>15.2} {milliseconds:>9.3}   {query}", share * 100.0);
        told.push(json!({"share": share, "calls": each, "milliseconds": milliseconds, "query": query}));
    }
    told
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}
