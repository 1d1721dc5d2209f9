//! Rings again for what is due and has not been rung for lately: what a lost ring, a lost Redis or a full one left.
//!
//! Deliberately absent: the choice of the process that does it this second; the record makes it, with a lock that is
//! only tried.

use tokio_util::sync::CancellationToken;

use crate::bell::{self, task};
use crate::rounds::go_round;
use crate::world::World;

/// Names of one round: as many as may be out in Redis.
const CAP: i64 = 1_000;

/// Relays until `stop`.
pub(crate) async fn relay(world: World, stop: CancellationToken) {
    go_round("relay", stop, || async {
        let due = world.store.relay(CAP).await?;
        if !due.is_empty() {
            metrics::counter!("askpro_relayed_total").increment(due.len() as u64);
            bell::ring(&world.doorbell, &due.iter().map(task).collect::<Vec<_>>()).await;
        }
        Ok(())
    })
    .await;
}
