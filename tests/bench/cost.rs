//! What one booking costs. By hand, step by step, nothing else running: exactly its own. And from the HTTP request to
//! `scheduled` with API and worker running, less what the same processes do in the same time without a booking.

#[path = "../cost/steps.rs"]
mod steps;

use crate::meters::{cpu_seconds, cpu_seconds_of_postgres, redis_commands};
use harness::{Api, Process, Traffic, Wire, World, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Bookings that prepare the statements of every connection.
const FIRST: u32 = 30;
/// Bookings that are counted.
const COUNTED: u32 = 100;

pub(crate) async fn run() -> Value {
    let by_hand = by_hand().await;
    let running = running().await;
    json!({"bench": "cost", "bookings": COUNTED, "by_hand": by_hand, "running": running})
}

async fn by_hand() -> Value {
    let world = World::new().await;
    let wire = Wire::start(&world.database_url()).await;
    let store = world.store_through(&wire.url);
    for n in 0..FIRST {
        steps::book(&world, &store, &wire, n).await;
    }
    let mut sum = [Traffic::default(); 5];
    for n in FIRST..FIRST + COUNTED {
        let booking = steps::book(&world, &store, &wire, n).await;
        sum.iter_mut().zip(booking).for_each(|(sum, step)| *sum += step);
    }
    assert_eq!(sum.map(|step| step.commits), [u64::from(COUNTED); 5], "accept, claim, ask, settle; customer 1 more");
    println!("One booking by hand:        commits   statements   round trips");
    let mut figures = json!({});
    for (name, step) in steps::STEPS.into_iter().zip(sum) {
        let (commits, statements, trips) = (each(step.commits), each(step.statements), each(step.round_trips));
        println!("  {name:<24} {commits:>8.2} {statements:>12.2} {trips:>13.2}");
        figures[name] = json!({"commits": commits, "statements": statements, "round_trips": trips});
    }
    world.at_rest().await;
    figures
}

/// What has been counted so far of everything that runs.
struct Counted {
    api: Traffic,
    worker: Traffic,
    redis: BTreeMap<String, u64>,
    /// Of API, worker and PostgreSQL.
    cpu: [f64; 3],
}

struct Running {
    world: World,
    redis_url: String,
    wires: [Wire; 2],
    api: Api,
    worker: Process,
}

impl Running {
    async fn start() -> Self {
        let world = World::new().await;
        let wires = [Wire::start(&world.database_url()).await, Wire::start(&world.database_url()).await];
        let through = |wire: &Wire| [("ASKPRO_DATABASE_URL", wire.url.clone())];
        let api = world.api_with(&through(&wires[0])).await;
        let worker = world.worker_with(&through(&wires[1]));
        let redis_url = std::env::var("TEST_REDIS_URL").unwrap();
        Self { world, redis_url, wires, api, worker }
    }

    async fn counted(&self) -> Counted {
        let [api, worker] = [self.wires[0].traffic(), self.wires[1].traffic()];
        let postgres = cpu_seconds_of_postgres(&self.world.pool).await;
        let cpu = [cpu_seconds(self.api.process.id()), cpu_seconds(self.worker.id()), postgres];
        Counted { api, worker, redis: redis_commands(&self.redis_url).await, cpu }
    }

    /// One after another, each until nothing of it is left to do.
    async fn book(&self, from: u32, to: u32) {
        let left = "SELECT count(*) FROM job WHERE finished_at IS NULL";
        for n in from..to {
            let answer = self.api.post("/v1/appointments", &[], &self.world.written(n).await).await;
            assert_eq!(answer.status, 202, "{}", answer.body);
            wait_until("the end of a booking", async || self.world.count(left).await == 0).await;
        }
    }
}

async fn running() -> Value {
    let system = Running::start().await;
    system.book(0, FIRST).await;
    let start = system.counted().await;
    let begun = Instant::now();
    system.book(FIRST, FIRST + COUNTED).await;
    let took = begun.elapsed();
    let busy = system.counted().await;
    tokio::time::sleep(took).await;
    let idle = system.counted().await;

    let net = |count: &dyn Fn(&Counted) -> u64| {
        (count(&busy) as f64 * 2.0 - count(&start) as f64 - count(&idle) as f64) / f64::from(COUNTED)
    };
    let cpu_ms = |of: usize| (busy.cpu[of] * 2.0 - start.cpu[of] - idle.cpu[of]) * 1_000.0 / f64::from(COUNTED);
    println!("\nOne booking, API and worker running, less the same {:.1} s without bookings:", took.as_secs_f64());
    println!("                            commits   statements   round trips   CPU ms");
    let mut figures = json!({"seconds": took.as_secs_f64()});
    type Of = fn(&Counted) -> &Traffic;
    let processes: [(&str, Of); 2] = [("API", |c| &c.api), ("worker", |c| &c.worker)];
    for (at, (name, of)) in processes.into_iter().enumerate() {
        let (commits, statements) = (net(&|c| of(c).commits), net(&|c| of(c).statements));
        let (trips, cpu) = (net(&|c| of(c).round_trips), cpu_ms(at));
        println!("  {name:<24} {commits:>8.2} {statements:>12.2} {trips:>13.2} {cpu:>8.2}");
        figures[name] = json!({"commits": commits, "statements": statements, "round_trips": trips, "cpu_ms": cpu});
    }
    println!("  {:<24} {:>44.2}", "PostgreSQL", cpu_ms(2));
    figures["PostgreSQL"] = json!({"cpu_ms": cpu_ms(2)});

    let redis = |name: &String| net(&|c| c.redis.get(name).copied().unwrap_or_default());
    let commands: BTreeMap<_, _> = idle.redis.keys().map(|name| (name, redis(name))).collect();
    println!("\nRedis commands of it, those inside of scripts too: {:.2}", commands.values().sum::<f64>());
    commands.iter().filter(|(_, each)| **each >= 0.01).for_each(|(name, each)| println!("  {name:<24} {each:>8.2}"));
    let alone = |c: &Counted| c.redis.values().sum::<u64>();
    let a_second = per_second(alone(&idle) - alone(&busy), took);
    println!("  and, whether or not anybody books, {a_second:.1} a second");
    figures["redis"] = json!({"commands": commands, "idle_a_second": a_second});
    system.world.at_rest().await;
    figures
}

fn each(sum: u64) -> f64 {
    sum as f64 / f64::from(COUNTED)
}

fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
