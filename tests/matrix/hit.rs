//! Was it played at all? A fault that struck nobody, or a machine that stood still for longer than Δ allows for, proves nothing.

use crate::cell::{Trouble, Worker};
use crate::found::{Found, Request};
use crate::play::Played;
use chrono::{DateTime, TimeDelta, Utc};
use sandbox::{Booking, What};

/// The gateway promises something only if what is sent has its effect, and is seen, before Δ is over. On a machine that
/// stood still too long nothing can be said.
pub(crate) fn premise(played: &Played) -> Result<(), String> {
    // At most one worker dies in a cell, and three lost leases park a job.
    if played.found.callbacks.iter().any(|callback| callback.reason == "workers_crashed") {
        return Err("workers that live have lost their leases".to_owned());
    }
    if played.cell.trouble.breaks_the_quarantine() {
        return Ok(());
    }
    let (lag, quarantine) = (span(played.script.lag), span(played.script.quarantine));
    let late = |r: &Request| r.intent.zip(r.effect).is_some_and(|(op, e)| e.at + lag >= op.sent_at + quarantine);
    match played.found.requests().into_iter().find(late) {
        Some(request) => Err(format!("the effect of request {} came after Δ", request.arrival.request)),
        None => Ok(()),
    }
}

/// Was it played?
pub(crate) fn hit(played: &Played) -> Result<(), String> {
    let (found, cell) = (&played.found, played.cell);
    let requests = found.requests();
    let met = |r: &&Request| played.script.fault.is_some_and(|(fault, _)| r.arrival.fault == Some(fault));
    if played.script.fault.is_some() && !requests.iter().any(|r| met(&r)) {
        return Err("no request met the fault".to_owned());
    }
    let asks = |r: &Request| r.intent.is_some_and(|op| op.kind == cell.op.as_str());
    let refused = |r: &Request| asks(r) && r.reply.is_some_and(|reply| matches!(reply.status, Some(400 | 409)));
    let lagging = |r: &Request| r.effect.is_some_and(|effect| read_within(found, effect.at, span(played.script.lag)));
    let never = |r: &Request| r.effect.is_some() && r.intent.is_some_and(|op| op.state == "never");
    let is_hit = match cell.trouble {
        Trouble::Calm | Trouble::Fault(_) | Trouble::NaturalKeyOff => true,
        Trouble::Taken | Trouble::OverlapToctou => requests.iter().any(refused),
        Trouble::OverlapOff => requests.iter().any(|r| r.effect.is_some_and(|e| beside_a_stranger(found, e.start))),
        Trouble::ReplicaLag => requests.iter().any(|r| asks(r) && lagging(r)),
        Trouble::Pending => requests.iter().any(|r| r.effect.is_some()),
        Trouble::EffectPastQuarantine | Trouble::LagPastQuarantine => requests.iter().any(|r| asks(r) && never(r)),
    };
    if !is_hit {
        return Err("the trouble did not come about".to_owned());
    }
    let lost = cell.worker == Worker::Lives || found.crashes > 0;
    lost.then_some(()).ok_or_else(|| "no worker was lost".to_owned())
}

fn read_within(found: &Found, effect: DateTime<Utc>, lag: TimeDelta) -> bool {
    let reads = found.ledger.iter().filter(|e| e.what == What::Arrival && e.method == "GET");
    reads.into_iter().any(|read| read.at > effect && read.at < effect + lag)
}

fn beside_a_stranger(found: &Found, start: Option<DateTime<Utc>>) -> bool {
    let stranger = |b: &&Booking| b.marker().is_none();
    found
        .bookings
        .iter()
        .filter(stranger)
        .any(|b| start.is_some_and(|start| b.start > start && b.start < start + TimeDelta::minutes(30)))
}

pub(crate) fn span(duration: std::time::Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
