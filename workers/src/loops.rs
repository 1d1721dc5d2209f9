//! The loops of every worker process: relay, rescue, expiry of holds. Once a second, harmless when doubled.

use crate::perform::{World, ring_for};
use std::time::Duration;
use store::StoreError;
use tokio_util::sync::CancellationToken;

/// Rows that one round of a loop takes.
const BATCH: i64 = 500;

/// Rings what is due and nobody rang for.
pub(crate) async fn relay(world: World, stop: CancellationToken) {
    while pause(&stop).await {
        match world.store.relay(BATCH).await {
            Ok(due) => ring_for(&world, &due).await,
            Err(error) => report("relay", &error),
        }
    }
}

/// Gives back what a dead worker held.
pub(crate) async fn rescue(world: World, stop: CancellationToken) {
    while pause(&stop).await {
        match world.store.rescue(BATCH).await {
            Ok(due) => ring_for(&world, &due).await,
            Err(error) => report("rescue", &error),
        }
    }
}

/// Expires holds whose time is over.
pub(crate) async fn expire_holds(world: World, stop: CancellationToken) {
    while pause(&stop).await {
        if let Err(error) = world.store.expire_holds().await {
            report("hold expiry", &error);
        }
    }
}

/// About a second, with jitter. False = stop.
async fn pause(stop: &CancellationToken) -> bool {
    let wait = Duration::from_millis(rand::random_range(800..1_200));
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(wait) => true,
    }
}

fn report(what: &'static str, error: &StoreError) {
    tracing::warn!(what, %error, "a loop's round failed; the next one tries again");
}
