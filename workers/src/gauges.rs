//! The numbers of `/metrics` that are a state and not a count: read from the record every few seconds.
//!
//! Deliberately absent: a leader. Every process says the same; whoever draws them takes the maximum.

use store::Gauges;
use tokio_util::sync::CancellationToken;

use crate::rounds::go_round;
use crate::world::World;

/// Every so many rounds they are read.
const EVERY: u32 = 5;

/// Reads them until `stop`.
pub(crate) async fn gauges(world: World, stop: CancellationToken) {
    let mut rounds = 0_u32;
    go_round("gauges", stop, || {
        let due = rounds.is_multiple_of(EVERY);
        rounds = rounds.wrapping_add(1);
        let store = world.store.clone();
        async move {
            if due {
                show(&store.gauges().await?);
            }
            Ok(())
        }
    })
    .await;
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn show(gauges: &Gauges) {
    let counts = [
        ("askpro_needs_review", gauges.needs_review),
        ("askpro_orphans", gauges.orphans),
        ("askpro_inbox", gauges.inbox),
        ("askpro_parked", gauges.parked),
    ];
    for (name, count) in counts {
        metrics::gauge!(name).set(count as f64);
    }
    metrics::gauge!("askpro_ops", "state" => "sent").set(gauges.ops_sent as f64);
    metrics::gauge!("askpro_ops", "state" => "unknown").set(gauges.ops_unknown as f64);
    metrics::gauge!("askpro_oldest_unresolved_op_seconds").set(gauges.oldest_unresolved_seconds);
    metrics::gauge!("askpro_inbox_lag_seconds").set(gauges.inbox_lag_seconds);
    metrics::gauge!("askpro_oldest_due_job_seconds").set(gauges.oldest_due_seconds);
}
