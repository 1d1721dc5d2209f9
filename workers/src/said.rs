//! Forgets what voice agents said in calls that are over. The call's own job does that, too, when it hears of the end;
//! this does it for the calls whose end nobody told.

use tokio_util::sync::CancellationToken;

use crate::rounds::go_round;
use crate::world::World;

/// Forgets until `stop`.
pub(crate) async fn forget_said(world: World, stop: CancellationToken) {
    go_round("said", stop, || async {
        let forgotten = world.store.forget_said().await?;
        metrics::counter!("askpro_sayings_forgotten_total").increment(forgotten);
        Ok(())
    })
    .await;
}
