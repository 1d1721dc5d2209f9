//! Gives the jobs of dead workers back: whose lease has run out waits again, with one crash more.
//!
//! Deliberately absent: any look at the worker. A lease that has ended says everything, by the database's clock; the
//! record counts what was rescued.

use tokio_util::sync::CancellationToken;

use crate::rounds::go_round;
use crate::world::World;

/// Jobs of one round. A whole process dies with its slots; the next round takes the rest.
const CAP: i64 = 200;

/// Rescues until `stop`.
pub(crate) async fn rescue(world: World, stop: CancellationToken) {
    go_round("rescue", stop, || async {
        let ring = world.store.rescue(CAP).await?;
        if !ring.is_empty() {
            tracing::info!(jobs = ring.len(), "leases ran out; what waits may be rung for");
            world.bell.ring(&ring);
        }
        Ok(())
    })
    .await;
}
