//! `reschedule_appointment`: first says what would be moved and asks, then moves it when that is confirmed.
//!
//! "Moved" is said only when Cal.com has the new time; until then it is noted, and the old time is kept. Deliberately
//! absent: a confirmation by silence: asking again without one asks again.

use chrono::{DateTime, Utc};
use domain::appointment::{Status, Sync};
use domain::id::AppointmentId;
use domain::money::Money;
use domain::policy::{Asking, Denial, Operation, Reason, Ruling};
use domain::refusal::Refusal;
use serde_json::{Value, json};
use store::{AcceptError, AppointmentView, RescheduleCommand};

use super::{Call, Caller, Function, Wish, book, callback, cancel, local_time, policy, zone};
use crate::arguments;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::waiting::Until;
use crate::when;

/// Moves it, or asks whether to.
pub(super) async fn run(call: &Call<'_>, caller: &Caller) -> Result<Reply, Problem> {
    let understood =
        Wish::of(call, arguments::OLD_DATE, arguments::OLD_TIME).and_then(|old| Ok((old, new_start(call)?)));
    let (old, starts_at) = match understood {
        Ok(understood) => understood,
        Err(reply) => return Ok(reply.with("rescheduled", false)),
    };
    let found = call.fitting(&old).await?;
    let [meant] = found.as_slice() else {
        // A repeated call: what it moved before is no longer at the old time.
        let moved = Wish { id: None, date: None, time: None, ..old };
        let there = call.fitting(&moved).await?.into_iter().find(|view| view.starts_at == starts_at);
        let reply = match there {
            Some(view) => {
                let before = before(call, &view, starts_at).await?;
                told(call, &view, starts_at, before, view.fee)
            }
            None if policy::asking(Some(caller)) == Asking::Anonymous
                && (found.is_empty() || call.wants_a_number(Operation::Reschedule).await?) =>
            {
                later(call, caller, None, starts_at).await?
            }
            None if found.is_empty() => call.not_found(),
            None => cancel::several(call, &found),
        };
        return Ok(reply);
    };
    if call.args.denied(arguments::CONFIRMED_MOVE) {
        let message = call.say("Gut, es bleibt bei dem alten Termin.", "All right, the appointment stays as it is.");
        return Ok(Reply::success("not_rescheduled", message).with("rescheduled", false));
    }
    if !call.args.affirmed(arguments::CONFIRMED_MOVE) {
        return match call.would_be(Operation::Reschedule, caller, meant).await? {
            Ruling::Allowed { fee } => Ok(ask(call, meant, starts_at, fee)),
            Ruling::Denied(denial) => denied(call, caller, meant, starts_at, &denial).await,
        };
    }
    let command = RescheduleCommand {
        company_id: call.company_id(),
        appointment_id: meant.appointment_id,
        starts_at,
        // What was found is what is moved: changed meanwhile, the agent asks again.
        if_match: Some(meant.version),
        who: policy::who(caller),
        why: call.args.text(arguments::REASON),
        call: Some(call.facts(caller)),
        key: Some(call.key(
            Function::Reschedule,
            caller,
            &format!("{}\n{}", meant.appointment_id, starts_at.timestamp()),
        )),
    };
    match call.app.store.accept_reschedule(&command).await {
        Ok(accepted) => {
            call.app.bell.committed(&accepted.ring);
            if accepted.job.is_some() {
                let key = (call.company_id(), accepted.appointment_id);
                call.app.waiting.wait_for(key, Until::AtRest, call.app.voice_wait).await;
            }
            let view = call.app.store.appointment(call.company_id(), accepted.appointment_id).await?;
            let before = before(call, meant, starts_at).await?;
            Ok(told(call, &view.ok_or_else(Problem::internal)?, starts_at, before, accepted.fee))
        }
        Err(AcceptError::Refused(Refusal::Policy(denial))) => denied(call, caller, meant, starts_at, &denial).await,
        Err(AcceptError::Refused(refusal)) => {
            let branch = call.catalog.branches.iter().find(|branch| branch.branch_id == meant.branch_id);
            let branch = branch.ok_or_else(Problem::internal)?;
            Ok(book::refused(call, starts_at, branch, &refusal).with("rescheduled", false))
        }
        Err(error) => Ok(call.failed(error)?.with("rescheduled", false)),
    }
}

/// Where it stood before this move; of one that was found to be done already, where it came from.
async fn before(call: &Call<'_>, found: &AppointmentView, wished: DateTime<Utc>) -> Result<DateTime<Utc>, Problem> {
    if found.starts_at != wished {
        return Ok(found.starts_at);
    }
    let stood = call.app.store.stood_before(call.company_id(), found.appointment_id).await?;
    Ok(stood.unwrap_or(found.starts_at))
}

/// The business does not allow it; whose number is withheld is rung instead.
async fn denied(
    call: &Call<'_>,
    caller: &Caller,
    meant: &AppointmentView,
    starts_at: DateTime<Utc>,
    denial: &Denial,
) -> Result<Reply, Problem> {
    match denial.reason {
        Reason::AnonymousCallerRestricted => later(call, caller, Some(meant.appointment_id), starts_at).await,
        Reason::DeadlineMissed { .. }
        | Reason::QuotaExceeded { .. }
        | Reason::MaxReschedulesReached { .. }
        | Reason::PolicyDisabled => {
            Ok(call.denied_about(Operation::Reschedule, denial, Some(meant)).with("rescheduled", false))
        }
    }
}

async fn later(
    call: &Call<'_>,
    caller: &Caller,
    meant: Option<AppointmentId>,
    starts_at: DateTime<Utc>,
) -> Result<Reply, Problem> {
    let said = local_time(starts_at, call.time_zone());
    let queued = callback::queue(call, caller, Operation::Reschedule, meant, Some(said)).await?;
    Ok(queued.with("rescheduled", false))
}

/// The new time, of which day and hour must be said.
fn new_start(call: &Call<'_>) -> Result<DateTime<Utc>, Reply> {
    let [whole, date, time] =
        [arguments::NEW_DATETIME, arguments::NEW_DATE, arguments::NEW_TIME].map(|names| call.args.anything(names));
    let said = whole.or(date.zip(time).map(|(date, time)| format!("{date} {time}")));
    let Some(said) = said else {
        let message = call.say(
            "Auf welchen Tag und welche Uhrzeit soll der Termin verschoben werden?",
            "To which day and time shall the appointment be moved?",
        );
        return Err(Reply::refusal("needs_new_time", message).with("missing", json!(["new_date", "new_time"])));
    };
    let Some(starts_at) = when::moment(&said, call.time_zone(), call.now) else {
        let message = call.say(
            "Das neue Datum habe ich nicht verstanden. Bitte Tag, Monat und Jahr und die Uhrzeit nennen.",
            "I did not understand the new date. Please say day, month and year, and the time.",
        );
        return Err(Reply::refusal("invalid_date", message));
    };
    if starts_at <= call.now { Err(book::in_the_past(call)) } else { Ok(starts_at) }
}

fn ask(call: &Call<'_>, meant: &AppointmentView, starts_at: DateTime<Utc>, fee: Option<Money>) -> Reply {
    let (old, new) = (moment(call, meant, meant.starts_at), moment(call, meant, starts_at));
    let message = call.say(
        &format!("Soll ich den Termin vom {old}, auf {new}, verschieben?"),
        &format!("Shall I move the appointment from {old} to {new}?"),
    );
    let reply = Reply::success("ready_for_confirmation", message + &call.costs(fee));
    with_times(policy::with_fee(reply, fee), call, meant, (meant.starts_at, starts_at))
        .with("ready_for_confirmation", true)
        .with("rescheduled", false)
}

/// What is true of the promise now.
fn told(
    call: &Call<'_>,
    view: &AppointmentView,
    wished: DateTime<Utc>,
    before: DateTime<Utc>,
    fee: Option<Money>,
) -> Reply {
    let costs = call.costs(fee);
    let at = moment(call, view, view.starts_at);
    if view.starts_at != wished {
        let message = call.say(
            &format!("Der Kalender hat die neue Zeit leider nicht angenommen. Es bleibt bei {at}."),
            &format!("The calendar did not accept the new time. The appointment stays on {at}."),
        );
        return Reply::refusal("unavailable", message)
            .with("rescheduled", false)
            .with("appointment", call.listed(view));
    }
    let reply = match view.sync {
        Sync::Synced => {
            let message = call
                .say(&format!("Der Termin ist verschoben auf {at}."), &format!("The appointment is moved to {at}."));
            Reply::success("rescheduled", message + &costs).with("rescheduled", true)
        }
        Sync::Pending
        | Sync::InFlight
        | Sync::AwaitingConfirmation
        | Sync::Unknown
        | Sync::NeedsReview
        | Sync::Orphaned => {
            let message = call.say(
                "Ich habe die neue Zeit notiert, wir bestätigen sie gleich.",
                "I have noted the new time, we will confirm it shortly.",
            );
            Reply::success(Status::Requested.as_str(), message + &costs).with("rescheduled", false)
        }
    };
    with_times(policy::with_fee(reply, fee), call, view, (before, wished))
        .with("appointment_id", view.appointment_id.to_string())
}

/// Both times, by every name that flows read.
fn with_times(
    reply: Reply,
    call: &Call<'_>,
    view: &AppointmentView,
    (old, new): (DateTime<Utc>, DateTime<Utc>),
) -> Reply {
    let time_zone = zone(&view.time_zone, call.time_zone());
    let day = |at: DateTime<Utc>| at.with_timezone(&time_zone).format("%d.%m.%Y").to_string();
    let time = |at: DateTime<Utc>| at.with_timezone(&time_zone).format("%H:%M").to_string();
    let new_appointment: Value = json!({ "date": day(new), "time": time(new), "service": view.service_name });
    reply
        .with("old_time", local_time(old, time_zone))
        .with("new_time", local_time(new, time_zone))
        .with("altes_datum", day(old))
        .with("alte_uhrzeit", time(old))
        .with("neues_datum", day(new))
        .with("neue_uhrzeit", time(new))
        .with("new_appointment", new_appointment)
}

fn moment(call: &Call<'_>, view: &AppointmentView, at: DateTime<Utc>) -> String {
    call.language.moment(at, zone(&view.time_zone, call.time_zone()))
}
