//! Races that the old system lost, against the real store, real servers and, where it matters, real processes: all
//! rivals start at one barrier, and every loser's answer has a name. `tests/naive` has the same races, lost.
//!
//! Deliberately absent: timing. How many rivals really meet is up to the machine, hence the rounds.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod booking_and_cache;
mod command_and_business;
mod free_time_and_booking;
mod move_and_cancel;
mod one_customer_per_phone;
mod one_job_per_key;
mod one_offer_one_appointment;
mod one_slot_one_appointment;
mod policy_and_changes;
mod whole_calls;

use domain::id::AppointmentId;
use domain::refusal::Refusal;
use harness::World;
use queue::{Doorbell, Task};
use std::sync::Arc;
use store::{AcceptError, Accepted, BookingCommand, CancelCommand, JobRef, Store, StoreError};
use tokio::sync::Barrier;

/// Lets them all go at one barrier; their answers, in the order given.
async fn at_once<T: Send + 'static>(rivals: Vec<impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let barrier = Arc::new(Barrier::new(rivals.len()));
    let start = |rival| {
        let barrier = barrier.clone();
        tokio::spawn(async move {
            barrier.wait().await;
            rival.await
        })
    };
    let started: Vec<_> = rivals.into_iter().map(start).collect();
    let mut answers = Vec::new();
    for rival in started {
        answers.push(rival.await.unwrap());
    }
    answers
}

async fn book_at_once(world: &World, wishes: Vec<BookingCommand>) -> Vec<Result<Accepted, Refusal>> {
    at_once(wishes.into_iter().map(|wish| decided(world.store.clone(), wish)).collect()).await
}

/// A machine that is too slow for its lock or its pool says so, and nothing was decided: a client asks again.
async fn decided(store: Store, wish: BookingCommand) -> Result<Accepted, Refusal> {
    loop {
        match store.accept_booking(&wish).await {
            Ok(accepted) => return Ok(accepted),
            Err(AcceptError::Refused(refusal)) => return Err(refusal),
            Err(AcceptError::Busy { .. } | AcceptError::Store(StoreError::Away(_))) => {}
            Err(other) => panic!("no answer to a wish: {other:?}"),
        }
    }
}

fn cancel(world: &World, appointment_id: AppointmentId) -> CancelCommand {
    let company_id = world.company.company_id;
    CancelCommand {
        company_id,
        appointment_id,
        if_match: None,
        who: store::Who::Customer,
        why: None,
        call: None,
        key: None,
    }
}

/// As `decided`.
async fn call_off(store: Store, command: CancelCommand) -> Accepted {
    loop {
        match store.accept_cancel(&command).await {
            Ok(accepted) => return accepted,
            Err(AcceptError::Busy { .. } | AcceptError::Store(StoreError::Away(_))) => {}
            Err(other) => panic!("no answer to a cancel: {other:?}"),
        }
    }
}

/// Rings for what was accepted, as the API does.
async fn ring(bell: &Doorbell, accepted: &Accepted) {
    let task = |job: &JobRef| Task { company_id: job.company_id, job_id: job.job_id.0 };
    bell.ring(&accepted.ring.iter().map(task).collect::<Vec<_>>()).await.unwrap();
}
