//! The sweep: every company's bookings at Cal.com are read again and again, and whatever differs from the record becomes
//! a notice. Webhooks are only faster; they may all be lost.
//!
//! Deliberately absent: repairs (the notice's job makes them), and a leader: a company's turn is taken in the record.

use std::time::Duration;

use calcom::ListQuery;
use chrono::TimeDelta;
use domain::answer::Booking;
use futures::StreamExt;
use store::{Noticed, StoreError, Turn};
use tokio_util::sync::CancellationToken;

use crate::rounds::go_round;
use crate::world::World;

/// Companies that one process sweeps at once, and in one round.
const AT_ONCE: usize = 4;
const TURNS_MAX: usize = 64;

/// Sweeps until `stop`.
pub(crate) async fn sweep(world: World, every: Duration, audit_every: Duration, stop: CancellationToken) {
    go_round("sweep", stop, || {
        let world = world.clone();
        async move {
            let mut turns = Vec::new();
            while turns.len() < TURNS_MAX {
                match world.store.sweep_turn(every, audit_every).await? {
                    Some(turn) => turns.push(turn),
                    None => break,
                }
            }
            let swept = futures::stream::iter(turns).map(|turn| {
                let world = world.clone();
                async move { company(&world, turn).await }
            });
            let results: Vec<Result<(), StoreError>> = swept.buffer_unordered(AT_ONCE).collect().await;
            results.into_iter().collect()
        }
    })
    .await;
}

/// One company's turn. What cannot be read now is read in the next turn.
async fn company(world: &World, turn: Turn) -> Result<(), StoreError> {
    let Some(key) = world.calcom_key(turn.company_id).await? else { return Ok(()) };
    let list = |query: ListQuery| {
        let (world, key) = (world.clone(), key.clone());
        async move { world.calcom.sweeping().list(&key, &query, &world.markers, turn.company_id).await }
    };
    let updated = match list(ListQuery::Updated { after: turn.after }).await {
        Ok(updated) => updated,
        Err(failure) => return not_read(turn, &failure),
    };
    notice(world, turn, &updated, false).await?;
    if turn.audit {
        let upcoming = match list(ListQuery::Upcoming { from: turn.began }).await {
            Ok(upcoming) => upcoming,
            Err(failure) => return not_read(turn, &failure),
        };
        notice(world, turn, &upcoming, true).await?;
        let before = turn.began.checked_sub_signed(world.quarantine).unwrap_or(turn.began);
        world.store.forget_external(turn.company_id, &upcoming, before).await?;
    }
    world.store.swept(&turn, &updated).await
}

async fn notice(world: &World, turn: Turn, listed: &[Booking], complete: bool) -> Result<(), StoreError> {
    // A booking that begins now may be listed as past.
    let began = turn.began.checked_add_signed(TimeDelta::minutes(1)).unwrap_or(turn.began);
    let compared = world.store.compare_listed(turn.company_id, listed, complete, began).await?;
    for drift in &compared.drifts {
        if let Noticed::New { ring, .. } = world.store.take_notice(&drift.notice).await? {
            metrics::counter!("askpro_drift_total", "difference" => drift.difference.as_str()).increment(1);
            tracing::info!(
                company = turn.company_id,
                appointment = %drift.appointment_id,
                difference = drift.difference.as_str(),
                "Cal.com and the record differ"
            );
            world.bell.ring(ring.as_slice());
        }
    }
    world.store.note_external(turn.company_id, &compared.external).await?;
    Ok(())
}

fn not_read(turn: Turn, failure: &domain::answer::LookFailure) -> Result<(), StoreError> {
    metrics::counter!("askpro_sweeps_failed_total").increment(1);
    tracing::warn!(company = turn.company_id, ?failure, "a company's bookings could not be read");
    Ok(())
}
