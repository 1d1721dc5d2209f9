//! `request_callback`: somebody wishes to be rung; and the wish of a caller whose number is withheld to change an
//! appointment, which a person must look at.
//!
//! Rung is the number that calls; only where it is withheld, the one that is said. Deliberately absent: when.

use domain::id::AppointmentId;
use domain::phone::Phone;
use domain::policy::{Denial, Operation, Reason};
use phonenumber::country::Id::DE;
use serde_json::json;
use store::CallbackWish;

use super::{Call, Caller};
use crate::arguments;
use crate::problem::Problem;
use crate::reply::Reply;

/// Notes it.
pub(super) async fn run(call: &Call<'_>, caller: &Caller) -> Result<Reply, Problem> {
    let wish = wish(call, caller, "asked_for_by_caller", None, call.args.text(arguments::REASON));
    if wish.phone.is_none() {
        let message =
            call.say("Unter welcher Nummer können wir Sie zurückrufen?", "At which number can we call you back?");
        return Ok(Reply::refusal("missing_required_fields", message).with("missing", json!(["phone_number"])));
    }
    let noted = call.app.store.request_callback(&wish).await?;
    let message = call.say("Ich habe den Rückruf notiert.", "I have noted that you wish to be called back.");
    Ok(Reply::success("callback_requested", message)
        .with("callback_id", noted.callback_id.to_string())
        .with("callback_queued", true))
}

/// Instead of a change: nothing is changed, and somebody will ring. Where the business takes no callbacks the caller hears
/// that his number is missing.
pub(super) async fn queue(
    call: &Call<'_>,
    caller: &Caller,
    operation: Operation,
    appointment_id: Option<AppointmentId>,
    said: Option<String>,
) -> Result<Reply, Problem> {
    if call.closed(Operation::CallbackService, None).await?.is_some() {
        let denial = Denial { reason: Reason::AnonymousCallerRestricted, possible: vec![] };
        return Ok(call.denied(operation, &denial, call.time_zone()));
    }
    let moves = operation == Operation::Reschedule;
    let reason = if moves { "wants_to_move_with_number_withheld" } else { "wants_to_cancel_with_number_withheld" };
    let noted = call.app.store.request_callback(&wish(call, caller, reason, appointment_id, said)).await?;
    let message = call.say(
        "Mit unterdrückter Rufnummer kann ich daran nichts ändern. Ich habe den Wunsch notiert, wir kümmern uns darum.",
        "While your number is withheld I cannot change this. I have noted your wish and we will take care of it.",
    );
    let reply = |message| {
        Reply::success("callback_queued", message)
            .with("callback_queued", true)
            .with("callback_id", noted.callback_id.to_string())
    };
    if noted.has_phone {
        return Ok(reply(message));
    }
    let ask = call.say(" Unter welcher Nummer erreichen wir Sie?", " At which number can we reach you?");
    Ok(reply(message + &ask).with("missing", json!(["phone_number"])))
}

fn wish(
    call: &Call<'_>,
    caller: &Caller,
    reason: &'static str,
    appointment_id: Option<AppointmentId>,
    said: Option<String>,
) -> CallbackWish {
    let given = || call.args.text(arguments::PHONE).and_then(|raw| Phone::parse(&raw, DE));
    CallbackWish {
        company_id: call.company_id(),
        call: call.facts(caller),
        appointment_id,
        reason,
        phone: caller.from.clone().or_else(given),
        customer_name: call.args.name(call.catalog.staff.iter().map(|staff| staff.name.as_str())),
        said,
    }
}
