//! What others do at Cal.com, and how the gateway comes to know: its webhooks, lost, doubled and forged, and the sweep that
//! stands behind them. In the end the record and Cal.com agree, or a person has been told.
//!
//! Deliberately absent: wall-clock promises. Whatever takes its time is waited for.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod alone;
mod business;
mod deaths;
mod drift;
mod foreign;
mod late;
mod noise;

use chrono::{DateTime, Utc};
use domain::id::AppointmentId;
use harness::World;
use store::{CancelCommand, RescheduleCommand, Who};

/// Sweeps of a worker: only the one at its start, so that what follows has been told by a webhook.
fn by_webhook() -> [(&'static str, String); 2] {
    [("ASKPRO_SWEEP_MS", 3_600_000), ("ASKPRO_AUDIT_MS", 3_600_000)].map(|(name, ms)| (name, ms.to_string()))
}

/// Sweeps about once a second, each time of everything.
fn by_sweep() -> [(&'static str, String); 2] {
    [("ASKPRO_SWEEP_MS", 1_000), ("ASKPRO_AUDIT_MS", 1_000)].map(|(name, ms)| (name, ms.to_string()))
}

fn reschedule(world: &World, appointment_id: AppointmentId, starts_at: DateTime<Utc>) -> RescheduleCommand {
    let company_id = world.company.company_id;
    RescheduleCommand {
        company_id,
        appointment_id,
        starts_at,
        if_match: None,
        who: Who::Customer,
        why: None,
        call: None,
        key: None,
    }
}

async fn move_to(world: &World, id: AppointmentId, starts_at: DateTime<Utc>) {
    world.store.accept_reschedule(&reschedule(world, id, starts_at)).await.unwrap();
}

fn cancel(world: &World, appointment_id: AppointmentId) -> CancelCommand {
    let company_id = world.company.company_id;
    CancelCommand { company_id, appointment_id, if_match: None, who: Who::Customer, why: None, call: None, key: None }
}

async fn starts_at(world: &World, id: AppointmentId) -> DateTime<Utc> {
    let sql = "SELECT starts_at FROM appointment WHERE appointment_id = $1";
    sqlx::query_scalar(sql).bind(id.0).fetch_one(&world.pool).await.unwrap()
}
