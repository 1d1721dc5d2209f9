//! `query_appointment`: which appointments this caller has.
//!
//! Deliberately absent: past appointments, and a search by name: a name is nobody's identity.

use super::{Call, stands};
use crate::problem::Problem;
use crate::reply::Reply;

/// Looks.
pub(super) async fn run(call: &Call<'_>) -> Result<Reply, Problem> {
    let found = match call.appointments().await? {
        Ok(found) => found,
        Err(reply) => return Ok(reply),
    };
    let listed: Vec<_> = found.iter().filter(|view| stands(view.status)).map(|view| call.listed(view)).collect();
    let (Some(next), Some(first)) = (found.first(), listed.first().cloned()) else {
        let message = call
            .say("Ich finde keinen kommenden Termin zu diesem Anruf.", "I find no upcoming appointment for this call.");
        return Ok(Reply::refusal("no_appointments", message).with("appointments", listed));
    };
    let at = call.language.moment(next.starts_at, super::zone(&next.time_zone, call.time_zone()));
    let (status, message) = match listed.len() {
        1 => ("found", call.say(&format!("Der Termin ist am {at}."), &format!("The appointment is on {at}."))),
        n => (
            "multiple_found",
            call.say(
                &format!("Es gibt {n} Termine, der nächste ist am {at}."),
                &format!("There are {n} appointments, the next one is on {at}."),
            ),
        ),
    };
    let remaining = listed.len().saturating_sub(1);
    let reply = Reply::success(status, message)
        .with("next_appointment", first.clone())
        .with("remaining_count", remaining)
        .with("appointments", listed);
    Ok(if remaining == 0 { reply.with("appointment", first) } else { reply })
}
