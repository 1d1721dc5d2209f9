//! How a play ends: nothing more is done to it, until everything has come to rest. What is still to come by itself is waited
//! for: a late effect, the word of the business, the end of what was doubled.

use crate::cell::Trouble;
use crate::script::Script;
use chrono::{DateTime, TimeDelta, Utc};
use harness::World;
use sandbox::{Booking, Status, What};
use std::time::{Duration, Instant};

/// Whatever takes longer than this never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);
/// Between two looks whether something has happened.
const LOOK: Duration = Duration::from_millis(10);
/// Timers are late.
const TIMER: TimeDelta = TimeDelta::milliseconds(500);

pub(crate) async fn comes_to_rest(world: &World, trouble: Trouble, script: &Script) -> Result<(), String> {
    if let Some(late) = script.late() {
        until("the late effect", async || late_effect_is_over(world, late).await).await?;
    }
    rests(world).await?;
    if trouble == Trouble::Pending {
        business_confirms(world).await?;
    }
    if trouble.breaks_the_quarantine() {
        until("the end of what was doubled or moved", async || agrees(world).await).await?;
        rests(world).await?;
    }
    Ok(())
}

/// Is exactly that live which is promised?
async fn agrees(world: &World) -> bool {
    let promised = "SELECT lineage::text, starts_at FROM appointment JOIN segment USING (company_id, appointment_id)
                    WHERE status IN ('requested', 'scheduled')";
    let mut promised: Vec<(String, DateTime<Utc>)> = sqlx::query_as(promised).fetch_all(&world.pool).await.unwrap();
    let bookings = world.sandbox.bookings();
    let ours = bookings.iter().filter(|b| is_live(b)).filter_map(|b| Some((b.marker()?.to_owned(), b.start)));
    let mut live: Vec<(String, DateTime<Utc>)> = ours.collect();
    promised.sort();
    live.sort();
    promised == live
}

/// Whatever waits for it, and a sweep finds that.
async fn business_confirms(world: &World) -> Result<(), String> {
    for booking in world.sandbox.bookings().iter().filter(|b| b.status == Status::Pending) {
        world.sandbox.confirm_by_others(&booking.uid).await.map_err(|error| error.to_string())?;
    }
    let waiting = "SELECT count(*) FROM appointment WHERE status = 'requested'";
    until("what the business has confirmed", async || world.count(waiting).await == 0).await?;
    rests(world).await
}

/// It has come, or it would have by now: Cal.com may have refused it.
async fn late_effect_is_over(world: &World, late: Duration) -> bool {
    let now: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&world.pool).await.unwrap();
    let ledger = world.sandbox.ledger();
    let struck = ledger.iter().find(|entry| entry.fault.is_some()).map(|entry| entry.request);
    let of_it = || ledger.iter().filter(|entry| Some(entry.request) == struck);
    let replied = of_it().find(|entry| entry.what == What::Reply).map(|entry| entry.at);
    let due = replied.map(|at| at + TimeDelta::from_std(late).unwrap_or_default() + TIMER);
    of_it().any(|entry| entry.what == What::Effect) || due.is_some_and(|due| due <= now)
}

/// Nothing is to be done, nothing is unresolved.
pub(crate) async fn rests(world: &World) -> Result<(), String> {
    let left = "SELECT (SELECT count(*) FROM job WHERE finished_at IS NULL)
                     + (SELECT count(*) FROM calcom_op WHERE resolved_at IS NULL)";
    until("rest", async || world.count(left).await == 0).await
}

/// Does it stand at Cal.com, confirmed or not?
pub(crate) fn is_live(booking: &Booking) -> bool {
    matches!(booking.status, Status::Accepted | Status::Pending)
}

pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        if Instant::now() > deadline {
            return Err(format!("waited in vain for: {what}"));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
