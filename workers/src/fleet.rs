//! One worker process, from its start to its drain: the doorbell, the direct claimer, the loops, the health listener.
//!
//! On stop nothing new is taken; what runs goes on, and keeps renewing its leases, for at most `drain_ms`. Deliberately
//! absent: giving cut jobs back. Their leases run out, and rescue has them.

use std::time::Duration;

use anyhow::Context;
use queue::{Crew, QueueSettings, answer_the_bell, claim_directly, keep_clean};
use settings::Settings;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::budget::tell_budgets;
use crate::gauges::gauges;
use crate::health;
use crate::holds::expire_holds;
use crate::perform::{Work, claim_due, perform};
use crate::relay::relay;
use crate::rescue::rescue;
use crate::said::forget_said;
use crate::sweep::sweep;
use crate::world::World;

/// The direct claimer asks so often.
const CLAIM_EVERY: Duration = Duration::from_secs(1);
/// Jobs of one batch: the lease of the first runs while the last is claimed.
const BATCH_MAX: usize = 16;
/// The janitor of Redis cleans so often.
const CLEAN_EVERY: Duration = Duration::from_secs(30);

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drained {
    /// Jobs that were still at work when the drain was over.
    pub cut: usize,
}

/// Works until `stop`, then drains for at most `drain_ms`. Neither Postgres nor Redis has to be there at the start.
///
/// # Errors
/// The settings cannot work, or `metrics_listen` cannot be listened on.
pub async fn run(settings: Settings, stop: CancellationToken) -> anyhow::Result<Drained> {
    let boot = format!("worker-{}", Ulid::generate());
    let world = World::new(&settings, &boot)?;
    let listener = TcpListener::bind(settings.metrics_listen)
        .await
        .with_context(|| format!("metrics_listen = {}", settings.metrics_listen))?;
    let ended = CancellationToken::new();
    let routes = health::routes(world.store.clone(), stop.clone());
    let serving = tokio::spawn(
        axum::serve(listener, routes).with_graceful_shutdown(ended.clone().cancelled_owned()).into_future(),
    );
    tracing::info!(worker = boot, slots = settings.slots, "working");

    let crew = Crew::new(settings.slots, stop.clone());
    let mut takers = takers(&world, &settings, boot, &crew);
    let mut beside = JoinSet::new();
    beside.spawn(relay(world.clone(), stop.clone()));
    beside.spawn(rescue(world.clone(), stop.clone()));
    beside.spawn(expire_holds(world.clone(), stop.clone()));
    beside.spawn(forget_said(world.clone(), stop.clone()));
    let periods = [settings.sweep_ms, settings.audit_ms].map(Duration::from_millis);
    beside.spawn(sweep(world.clone(), periods[0], periods[1], stop.clone()));
    beside.spawn(gauges(world.clone(), stop.clone()));
    beside.spawn(tell_budgets(world.clone(), settings.calcom_requests_per_minute, stop.clone()));
    beside.spawn(keep_clean(QueueSettings::read(&settings), stop.clone(), CLEAN_EVERY));

    stop.cancelled().await;
    let drained = drain(&crew, &mut takers, Instant::now() + Duration::from_millis(settings.drain_ms)).await;
    beside.shutdown().await;
    ended.cancel();
    serving.abort();
    tracing::info!(cut = drained.cut, "drained");
    Ok(drained)
}

/// The two ways in which work comes: rung for, or due.
fn takers(world: &World, settings: &Settings, boot: String, crew: &Crew) -> JoinSet<()> {
    let mut takers = JoinSet::new();
    let answering = world.clone();
    takers.spawn(answer_the_bell(QueueSettings::read(settings), boot, crew.clone(), move |task| {
        let world = answering.clone();
        async move { perform(&world, Work::Rung(task)).await }
    }));
    let (claiming, working) = (world.clone(), world.clone());
    takers.spawn(claim_directly(
        CLAIM_EVERY,
        BATCH_MAX,
        crew.clone(),
        move |limit| {
            let world = claiming.clone();
            async move { claim_due(&world, limit).await }
        },
        move |work| {
            let world = working.clone();
            async move { perform(&world, work).await }
        },
    ));
    takers
}

/// First whoever takes work ends, so that nothing is started any more, then the work itself.
async fn drain(crew: &Crew, takers: &mut JoinSet<()>, until: Instant) -> Drained {
    let ending = async {
        while takers.join_next().await.is_some() {}
        crew.tracker.close();
        crew.tracker.wait().await;
    };
    let cut = match timeout_at(until, ending).await {
        Ok(()) => 0,
        Err(_over) => crew.tracker.len(),
    };
    if cut > 0 {
        tracing::warn!(cut, "the drain is over; these jobs are left to their leases");
    }
    Drained { cut }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_what_runs_and_counts_what_it_cuts() {
        for (takes, cut) in [(Duration::from_secs(5), 0), (Duration::from_secs(50), 2)] {
            let crew = Crew::new(2, CancellationToken::new());
            for _ in 0..2 {
                crew.tracker.spawn(sleep(takes));
            }
            let mut takers = JoinSet::new();
            takers.spawn(sleep(Duration::from_secs(1)));
            let begun = Instant::now();
            let drained = drain(&crew, &mut takers, begun + Duration::from_secs(12)).await;
            assert_eq!(drained, Drained { cut });
            assert!(begun.elapsed() <= Duration::from_millis(12_100));
        }
    }
}
