//! What must hold after a play. Each rule is a function that says what was expected and what was found, once for each
//! violation.
//!
//! Deliberately absent: what was to become of it (`expected`), and whether it was played at all (`hit`).

use crate::cell::Trouble;
use crate::expected::{Promise, expected, told};
use crate::found::{Appointment, SentOp};
use crate::hit::span;
use crate::play::Played;
use crate::rest::is_live;
use sandbox::{Booking, Effect};
use uuid::Uuid;

/// Everything that does not hold.
pub(crate) fn violations(played: &Played) -> Vec<String> {
    let rules = [at_rest, told, promises, calcom, doubled, intents, order, slots, history, refusals, people];
    rules.iter().flat_map(|rule| rule(played)).collect()
}

fn at_rest(played: &Played) -> Vec<String> {
    let ended = |state: &str| matches!(state, "completed" | "superseded");
    // A sweep may bring a hint at any moment.
    let hint = |kind: &str, state: &str| kind == "calcom_event" && state != "parked";
    let open = played.found.jobs.iter().filter(|j| !ended(&j.state) && !hint(&j.kind, &j.state));
    let waited = played.restless.iter().cloned();
    waited.chain(open.map(|j| format!("every job is to end, but {} is {}: {:?}", j.kind, j.state, j.outcome))).collect()
}

fn promises(played: &Played) -> Vec<String> {
    let (expected, found) = (expected(played), &played.found.appointments);
    if expected.len() != found.len() {
        return vec![format!("expected {expected:?}, found {found:?}")];
    }
    let differs = |(promise, a): &(&Promise, &Appointment)| {
        a.status != promise.status() || promise.stands().is_some_and(|at| a.starts_at != at)
    };
    let pairs = expected.iter().zip(found).filter(differs);
    pairs.map(|(promise, found)| format!("expected {promise:?}, found {found:?}")).collect()
}

/// Cal.com has exactly what is promised, with the same times and the same host, and the record knows which booking.
fn calcom(played: &Played) -> Vec<String> {
    let found = &played.found;
    let marked = || found.bookings.iter().filter(|b| is_live(b) && b.marker().is_some());
    let mut wrong = Vec::new();
    for a in &found.appointments {
        let is_its = |b: &&Booking| b.marker() == Some(a.lineage.to_string().as_str());
        let live: Vec<&Booking> = marked().filter(is_its).collect();
        let wants = a.status == "scheduled";
        let agrees = match live.as_slice() {
            [] => !wants && a.calcom_uid.is_none(),
            [one] => {
                wants
                    && a.calcom_uid.as_ref() == Some(&one.uid)
                    && (one.start, one.end) == (a.starts_at, a.ends_at)
                    && one.host.id == a.host_id
            }
            _ => false,
        };
        let reviewed = a.sync == "needs_review" && found.callbacks.iter().any(|c| c.reason == "conflict");
        if !agrees || !(a.sync == "synced" || reviewed) {
            let live: Vec<_> = live.iter().map(|b| (b.start, b.end, b.host.id, b.status)).collect();
            wrong.push(format!("Cal.com = promise: {a:?} and live bookings {live:?}"));
        }
    }
    let lineages: Vec<String> = found.appointments.iter().map(|a| a.lineage.to_string()).collect();
    let owned = |b: &&Booking| b.marker().is_some_and(|marker| lineages.iter().any(|lineage| lineage == marker));
    wrong.extend(marked().filter(|b| !owned(b)).map(|b| format!("a booking of nobody's: {:?}", b.start)));
    wrong
}

/// At no moment two bookings of one appointment.
fn doubled(played: &Played) -> Vec<String> {
    if played.cell.trouble.breaks_the_quarantine() {
        return vec![];
    }
    let mut wrong = Vec::new();
    for a in &played.found.appointments {
        let (lineage, mut live) = (a.lineage.to_string(), 0);
        for effect in played.found.ledger.iter().filter(|e| e.marker.as_deref() == Some(lineage.as_str())) {
            match effect.effect {
                Some(Effect::Created) => live += 1,
                Some(Effect::Cancelled | Effect::Declined | Effect::Deleted) => live -= 1,
                Some(Effect::Rescheduled | Effect::Confirmed | Effect::Reassigned) | None => {}
            }
            if live > 1 {
                wrong.push(format!("two live bookings at {}, by request {}", effect.at, effect.request));
            }
        }
    }
    wrong
}

/// Each request has an intent of its own, committed before it was sent.
fn intents(played: &Played) -> Vec<String> {
    let requests = played.found.requests();
    let unasked = requests.iter().filter(|r| r.intent.is_none());
    let mut wrong: Vec<String> = unasked.map(|r| format!("a request without an intent: {:?}", r.arrival)).collect();
    for op in &played.found.ops {
        let sent = requests.iter().filter(|r| r.intent == Some(op)).count();
        if sent > 1 {
            wrong.push(format!("at most one request an op, but {sent} of {op:?}"));
        }
    }
    wrong
}

/// One op after the other, and none is given up as never sent before Δ is over.
fn order(played: &Played) -> Vec<String> {
    let mut wrong = Vec::new();
    let ops = &played.found.ops;
    for op in ops {
        let mut later = ops.iter().filter(|o| o.appointment_id == op.appointment_id && o.sent_at > op.sent_at);
        if later.any(|next| op.resolved_at.is_none_or(|at| next.sent_at < at)) {
            wrong.push(format!("another op was sent while this one was unresolved: {op:?}"));
        }
        let soon = op.resolved_at.is_some_and(|at| at < op.sent_at + span(played.script.quarantine));
        if op.state == "never" && op.looks > 0 && soon {
            wrong.push(format!("given up before Δ was over: {op:?}"));
        }
    }
    wrong
}

/// Exactly the promised time is kept, and none was given back while an op was unresolved.
fn slots(played: &Played) -> Vec<String> {
    let found = &played.found;
    let mut wrong = Vec::new();
    for a in &found.appointments {
        let its = || found.slots.iter().filter(|slot| slot.appointment_id == a.appointment_id);
        let booked: Vec<_> = its().filter(|s| s.state == "booked").map(|s| (s.starts_at, s.ends_at)).collect();
        let wants = a.status == "scheduled";
        let promised = if wants { vec![(a.starts_at, a.ends_at)] } else { vec![] };
        if booked != promised {
            wrong.push(format!("kept are {booked:?} instead of {promised:?}"));
        }
        for slot in its().filter(|slot| slot.ended_at.is_some()) {
            let open = |op: &&SentOp| {
                op.appointment_id == a.appointment_id
                    && slot.ended_at.is_some_and(|end| op.sent_at < end && op.resolved_at.is_none_or(|at| at > end))
            };
            wrong.extend(found.ops.iter().find(open).map(|op| format!("{slot:?} was given back during {op:?}")));
        }
    }
    wrong
}

/// Each change is one row, and each is one that there may be.
fn history(played: &Played) -> Vec<String> {
    let mut wrong = Vec::new();
    for a in &played.found.appointments {
        let rows: Vec<_> = played.found.events.iter().filter(|e| e.appointment_id == a.appointment_id).collect();
        let mut status: Option<&str> = None;
        for (row, version) in rows.iter().zip(1..) {
            let legal = matches!(
                (status, row.to_status.as_str()),
                (None, "requested")
                    | (Some("requested"), "requested" | "scheduled" | "cancelled" | "rejected")
                    | (Some("scheduled"), "scheduled" | "cancelled")
            );
            if row.version != version || row.from_status.as_deref() != status || !legal {
                wrong.push(format!("illegal history: {row:?} after {status:?}"));
            }
            status = Some(&row.to_status);
        }
        if status != Some(a.status.as_str()) || i32::try_from(rows.len()) != Ok(a.version) {
            wrong.push(format!("the history does not end as the appointment is: {rows:?}, {a:?}"));
        }
    }
    wrong
}

/// Nobody is refused unless a stranger's booking was in his way.
fn refusals(played: &Played) -> Vec<String> {
    let found = &played.found;
    let in_the_way = |op: &SentOp| {
        let overlaps = |b: &&Booking| {
            b.marker().is_none() && op.starts_at.is_some_and(|s| s < b.end) && op.ends_at.is_some_and(|e| b.start < e)
        };
        found.bookings.iter().filter(overlaps).any(|b| op.resolved_at.is_some_and(|at| b.created_at <= at))
    };
    let justified =
        |id: Uuid| found.ops.iter().any(|op| op.appointment_id == id && op.state == "refused" && in_the_way(op));
    let refusals = found.events.iter().filter(|e| e.to_status == "rejected" || e.what == "moved_back");
    let baseless = refusals.filter(|e| !justified(e.appointment_id));
    baseless.map(|e| format!("refused, and nobody else was in the way: {e:?}")).collect()
}

/// A person is told to ring exactly where the customer does not get what he was told.
fn people(played: &Played) -> Vec<String> {
    let found = &played.found;
    let mut wrong = Vec::new();
    for (event, reason) in [("rejected", "rejected_by_calcom"), ("moved_back", "reschedule_refused_by_calcom")] {
        let events = found.events.iter().filter(|e| e.what == event && e.who == "calcom").count();
        let callbacks = found.callbacks.iter().filter(|c| c.reason == reason).count();
        if events != callbacks {
            wrong.push(format!("{events} × {event} and {callbacks} × {reason}"));
        }
    }
    let conflict = |reason: &str| reason == "conflict" && played.cell.trouble == Trouble::OverlapOff;
    let known = |reason: &str| ["rejected_by_calcom", "reschedule_refused_by_calcom"].contains(&reason);
    let odd = found.callbacks.iter().filter(|c| !known(&c.reason) && !conflict(&c.reason));
    wrong.extend(odd.map(|c| format!("a person is told: {}", c.reason)));
    wrong
}
