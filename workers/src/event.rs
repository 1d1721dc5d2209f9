//! A hint says that something has happened to a booking at Cal.com: it is read, and the record compares.
//!
//! Deliberately absent: what follows from it (`store`, by what `domain` says), and belief in what the hint itself says.

use std::panic::AssertUnwindSafe;

use crashpoint::{Point, here};
use domain::answer::LookFailure;
use domain::observe::Read;
use futures::FutureExt;
use store::{Event, Reading, Settled};
use tracing::Instrument;

use crate::held::HeldEvent;
use crate::lease::Lease;
use crate::look::{Trail, trail};
use crate::world::World;

/// Reads what a hint is about and settles it. Never fails: what goes wrong is read again when the lease has run out.
pub(crate) async fn follow(world: &World, held: HeldEvent) {
    here(Point::Claimed);
    let HeldEvent { event, asked_at } = held;
    let span = tracing::info_span!(
        "event",
        company = event.job.company_id,
        job = %event.job.job_id,
        appointment = event.appointment_id.map(tracing::field::display),
        attempt = event.fence,
    );
    let lease = {
        let (store, job, fence) = (world.store.clone(), event.job, event.fence);
        Lease::keep(asked_at, world.lease, world.renewal, move || {
            let store = store.clone();
            async move { store.renew(job, fence).await }
        })
    };
    async {
        let reading = tokio::select! {
            biased;
            () = lease.lost().cancelled() => return tracing::warn!("the lease was lost; somebody else reads this"),
            reading = AssertUnwindSafe(read(world, &event)).catch_unwind() => match reading {
                Ok(reading) => reading,
                Err(_panic) => return tracing::error!("a reading panicked; its lease will run out"),
            },
        };
        here(Point::Answered);
        settle(world, &event, &reading).await;
    }
    .instrument(span)
    .await;
}

async fn settle(world: &World, event: &Event, reading: &Reading) {
    match world.store.settle_event(event, reading, rand::random()).await {
        Ok(Settled::Done { state, ring }) => {
            here(Point::Settled);
            tracing::info!(state = state.as_str(), "a hint was followed");
            world.bell.ring(&ring);
        }
        Ok(Settled::Lost) => tracing::warn!("the lease was lost; somebody else reads this"),
        Err(error) => {
            metrics::counter!("askpro_not_settled_total").increment(1);
            tracing::error!(error = &error as &dyn std::error::Error, "not settled; its lease will run out");
        }
    }
}

async fn read(world: &World, event: &Event) -> Reading {
    let company = event.job.company_id;
    let key = match world.calcom_key(company).await {
        Ok(Some(key)) => key,
        Ok(None) => {
            tracing::error!("the company has no key of Cal.com");
            return Reading::NotRead { wait: None };
        }
        Err(error) => {
            tracing::warn!(%error, "the company's key of Cal.com could not be read");
            return Reading::NotRead { wait: None };
        }
    };
    let mut read = Read::default();
    let mut asked = event.uids.iter();
    while let Some(uid) = asked.next().or_else(|| read.unread_origin(event.recorded.as_ref())).cloned() {
        let chain = match trail(world, &key, company, &uid).await {
            Ok(Trail::Followed(chain)) => Some(chain),
            Ok(Trail::Nowhere) => None,
            Ok(Trail::Endless) => {
                tracing::error!("a booking was moved too often to be followed");
                return Reading::NotRead { wait: None };
            }
            Err(failure) => return not_read(&failure),
        };
        read.bookings.push((uid, chain));
    }
    Reading::Read(read)
}

fn not_read(failure: &LookFailure) -> Reading {
    tracing::warn!(?failure, "a booking could not be read");
    let wait = match failure {
        LookFailure::Throttled { wait } => Some(*wait),
        LookFailure::NotSent { wait } | LookFailure::NoAnswer { wait } => *wait,
        LookFailure::Unauthorized | LookFailure::Other => None,
    };
    Reading::NotRead { wait }
}
