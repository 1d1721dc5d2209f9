//! The doorbell worker: an apalis worker on Redis, and the supervision without which it would die of any hiccup.
//!
//! Whatever goes wrong between apalis and Redis (a flush, a restart, a slow reply, one name without data) ends the
//! worker. So: each start is a new generation under a fresh name (a name that was used is refused, or stolen); the work
//! is spawned and outlives it; what the dead one held is dropped, because it may be what killed it, and would come back
//! after the orphan time to kill the next one; and no name is held for long, because a worker with more names than free
//! slots does not beat (apalis-redis 1.0.0 minds its buffer before its heart). Dropped names are rows that are still
//! due: the direct claimer takes them.
//!
//! Deliberately absent: `Monitor` (no pause between restarts), retry layers (they sleep in the slot), `Err` towards
//! apalis (it would retry by rules of its own).

use std::{
    convert::Infallible,
    error::Error,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    panic::AssertUnwindSafe,
    sync::LazyLock,
    time::Duration,
};

use apalis::prelude::{BackendExt, WorkerBuilder, WorkerBuilderExt};
use apalis_redis::{Config, RedisStorage};
use futures::FutureExt;
use redis::{Client, Script, aio::MultiplexedConnection};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{
    Crew, QueueError, QueueSettings, Task,
    bell::{Bell, listen},
    connection::{self, connect},
};

/// A worker that has not ended this long after the stop is left behind. Below the orphan time.
const STOP_MAX: Duration = Duration::from_secs(10);
/// The last clean-up delays a stop by no more than this.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Removes all that a worker left in Redis: its name, and what it had taken.
static FORGET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local inflight = KEYS[2] .. ':' .. ARGV[1]
        for _, id in ipairs(redis.call('SMEMBERS', inflight)) do
            redis.call('HDEL', KEYS[3], id)
            redis.call('UNLINK', KEYS[4] .. ':' .. id)
        end
        redis.call('UNLINK', inflight, KEYS[1] .. ':metadata:' .. ARGV[1])
        return redis.call('ZREM', KEYS[1], ARGV[1])
        ",
    )
});

type Died = Box<dyn Error + Send + Sync>;

/// Performs each job that is rung for, until the crew stops. `boot` must be new with every start of the process (pod
/// and ULID). Names that are taken when the crew stops are given up; the work under way goes on, on the tracker.
///
/// Returns within 12 s of the stop, normally at once; earlier only if the settings cannot work ([`crate::Doorbell::new`]
/// tells), after an error in the log.
pub async fn answer_the_bell<F, Fut>(settings: QueueSettings, boot: String, crew: Crew, perform: F)
where
    F: Fn(Task) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let client = match connection::client(&settings) {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(error = &error as &dyn Error, "no doorbell: its settings cannot work");
            return;
        }
    };
    let config = settings.apalis();
    let mut generation: u64 = 0;
    let mut leftover = None;
    let mut away = false;
    while !crew.stop.is_cancelled() {
        let ready = tokio::select! {
            ready = prepare(&client, &config, &mut leftover) => ready,
            () = crew.stop.cancelled() => break,
        };
        match ready {
            Ok(connection) => {
                away = false;
                let name = format!("{boot}-{generation}");
                generation += 1;
                leftover = Some(name.clone());
                let end = serve(&client, connection, &settings, &name, &crew, &perform).await;
                if let Err(error) = end {
                    metrics::counter!("askpro_doorbell_restarts_total").increment(1);
                    tracing::warn!(worker = name, error = &*error as &dyn Error, "the doorbell worker died");
                }
            }
            // An outage is told once, not at every attempt.
            Err(error) if !away => {
                away = true;
                tracing::warn!(error = &error as &dyn Error, "no doorbell while Redis is away");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = sleep(pause(&boot, generation)) => {}
            () = crew.stop.cancelled() => {}
        }
    }
    // Not done, it costs the next worker one look at an expired name.
    let _ = timeout(FAREWELL_MAX, prepare(&client, &config, &mut leftover)).await;
}

/// A new connection, on which the last generation has been forgotten.
async fn prepare(
    client: &Client,
    config: &Config,
    leftover: &mut Option<String>,
) -> Result<MultiplexedConnection, QueueError> {
    let mut connection = connect(client).await?;
    if let Some(name) = leftover.as_deref() {
        FORGET
            .key(config.workers_set())
            .key(config.inflight_jobs_set())
            .key(config.job_data_hash())
            .key(config.job_meta_hash())
            .arg(name)
            .invoke_async::<i64>(&mut connection)
            .await
            .map_err(QueueError::Redis)?;
        *leftover = None;
    }
    Ok(connection)
}

/// One generation, from its registration to its end. `Ok` only if it was told to stop.
async fn serve<F, Fut>(
    client: &Client,
    connection: MultiplexedConnection,
    settings: &QueueSettings,
    name: &str,
    crew: &Crew,
    perform: &F,
) -> Result<(), Died>
where
    F: Fn(Task) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (ring, rings) = mpsc::channel(1);
    let backend = RedisStorage::<String, MultiplexedConnection>::new(connection)
        .with_config(settings.apalis())
        .poll_with_strategy(Bell::new(settings.poll, rings));
    let (held_max, hands) = (settings.held_max(), (crew.clone(), perform.clone()));
    let worker = WorkerBuilder::new(name).backend(backend).concurrency(settings.slots).build(move |name: String| {
        let (crew, perform) = hands.clone();
        async move {
            // Given up while it waits for a slot: still due. While it is worked on: the work goes on.
            let _ = timeout(held_max, answer(name, crew, perform)).await;
        }
    });
    let stop = crew.stop.clone();
    let stopped = async move {
        stop.cancelled().await;
        Ok::<(), io::Error>(())
    };
    let channel = settings.ring_channel();
    tokio::select! {
        // apalis has panics of its own, where its state machine meets what it does not expect.
        end = AssertUnwindSafe(worker.run_until(stopped)).catch_unwind() => match end {
            Ok(Ok(())) if crew.stop.is_cancelled() => Ok(()),
            Ok(Ok(())) => Err("it ended by itself".into()),
            Ok(Err(error)) => Err(error.into()),
            Err(_panic) => Err("apalis panicked".into()),
        },
        never = listen(client, &channel, ring) => match never {},
        never = overdue(crew) => never.map(|never: Infallible| match never {}),
    }
}

/// The handler. Ends well whatever happens, and at once when the crew stops: an apalis worker that waits for work
/// neither beats nor acknowledges.
async fn answer<F, Fut>(name: String, crew: Crew, perform: F)
where
    F: Fn(Task) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let Ok(task) = name.parse::<Task>() else {
        tracing::warn!("something in the queue is not the name of a job");
        return;
    };
    let Some(slot) = crew.slot().await else { return };
    let work = crew.start(slot, async move { perform(task).await });
    tokio::select! {
        _ended = work => {}
        () = crew.stop.cancelled() => {}
    }
}

async fn overdue(crew: &Crew) -> Result<Infallible, Died> {
    crew.stop.cancelled().await;
    sleep(STOP_MAX).await;
    Err("it did not stop in time".into())
}

/// 200 to 800 ms, different for each process and each time, so that a fleet does not come back as one.
fn pause(boot: &str, generation: u64) -> Duration {
    let mut hash = DefaultHasher::new();
    (boot, generation).hash(&mut hash);
    Duration::from_millis(200 + hash.finish() % 600)
}
