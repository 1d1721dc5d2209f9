//! Frees held slots whose time is over. Accepts do that for the slots they need; this does it for the rest.

use tokio_util::sync::CancellationToken;

use crate::rounds::go_round;
use crate::world::World;

/// Expires holds until `stop`.
pub(crate) async fn expire_holds(world: World, stop: CancellationToken) {
    go_round("holds", stop, || async {
        let expired = world.store.expire_holds().await?;
        metrics::counter!("askpro_holds_expired_total").increment(expired);
        Ok(())
    })
    .await;
}
