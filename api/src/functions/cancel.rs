//! `cancel_appointment`: the promise is cancelled at once, whatever Cal.com is doing; so "cancelled" is true when it is said.
//!
//! Deliberately absent: any guess which of several appointments is meant.

use domain::appointment::Status;
use domain::id::AppointmentId;
use domain::policy::{Asking, Operation, Reason};
use domain::refusal::Refusal;
use store::{AcceptError, Accepted, AppointmentView, CancelCommand};
use uuid::Uuid;

use super::{Call, Caller, Function, callback, local_time, policy, zone};
use crate::arguments;
use crate::problem::Problem;
use crate::reply::Reply;

/// Calls it off.
pub(super) async fn run(call: &Call<'_>, caller: &Caller) -> Result<Reply, Problem> {
    let found = match call.appointments().await? {
        Ok(found) => found,
        Err(reply) => return Ok(reply),
    };
    let meant = match found.as_slice() {
        [one] => Some(one.appointment_id),
        _ => None,
    };
    // Also where none is meant the command is sent, for nobody's id: a repeated call then hears what it heard before,
    // and never calls off the next one.
    let appointment_id = meant.unwrap_or(AppointmentId(Uuid::nil()));
    let command = CancelCommand {
        company_id: call.company_id(),
        appointment_id,
        if_match: None,
        who: policy::who(caller),
        why: call.args.text(arguments::REASON),
        call: Some(call.facts(caller)),
        key: Some(call.key(Function::Cancel, caller, &call.args.canonical())),
    };
    match call.app.store.accept_cancel(&command).await {
        Ok(accepted) => {
            call.app.bell.committed(&accepted.ring);
            let view = call.app.store.appointment(call.company_id(), accepted.appointment_id).await?;
            Ok(cancelled(call, &accepted, view.as_ref()))
        }
        Err(AcceptError::Refused(Refusal::Policy(denial))) => match denial.reason {
            Reason::AnonymousCallerRestricted => later(call, caller, meant).await,
            Reason::DeadlineMissed { .. }
            | Reason::QuotaExceeded { .. }
            | Reason::MaxReschedulesReached { .. }
            | Reason::PolicyDisabled => {
                Ok(call.denied_about(Operation::Cancellation, &denial, found.first()).with("cancelled", false))
            }
        },
        Err(AcceptError::NotFound)
            if policy::asking(Some(caller)) == Asking::Anonymous
                && (found.is_empty() || call.wants_a_number(Operation::Cancellation).await?) =>
        {
            later(call, caller, None).await
        }
        Err(AcceptError::NotFound) if found.len() > 1 => Ok(several(call, &found)),
        Err(error) => call.failed(error),
    }
}

/// Whose number is withheld is rung instead, or asks for it.
async fn later(call: &Call<'_>, caller: &Caller, meant: Option<AppointmentId>) -> Result<Reply, Problem> {
    let said = call.args.text(arguments::REASON);
    let queued = callback::queue(call, caller, Operation::Cancellation, meant, said).await?;
    Ok(queued.with("cancelled", false))
}

fn cancelled(call: &Call<'_>, accepted: &Accepted, view: Option<&AppointmentView>) -> Reply {
    let costs = call.costs(accepted.fee);
    let reply = match view {
        Some(view) => {
            let time_zone = zone(&view.time_zone, call.time_zone());
            let at = call.language.moment(view.starts_at, time_zone);
            let message = call
                .say(&format!("Der Termin am {at}, ist abgesagt."), &format!("The appointment on {at}, is cancelled."));
            Reply::success(Status::Cancelled.as_str(), message + &costs)
                .with("appointment_time", local_time(view.starts_at, time_zone))
                .with("appointment", call.listed(view))
        }
        None => {
            let message = call.say("Der Termin ist abgesagt.", "The appointment is cancelled.");
            Reply::success(Status::Cancelled.as_str(), message + &costs)
        }
    };
    let reply = reply.with("cancelled", true).with("appointment_id", accepted.appointment_id.to_string());
    policy::with_fee(reply, accepted.fee)
}

pub(super) fn several(call: &Call<'_>, found: &[AppointmentView]) -> Reply {
    let message = call
        .say("Es gibt mehrere Termine. Welcher ist gemeint?", "There are several appointments. Which one is meant?");
    let listed: Vec<_> = found.iter().map(|view| call.listed(view)).collect();
    Reply::refusal("multiple_found", message).with("appointments", listed)
}
