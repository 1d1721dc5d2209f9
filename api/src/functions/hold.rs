//! `reserve_slot` and `release_slot_reservation`: a time is kept while the caller is still deciding.
//!
//! The booking of the same call finds what it holds by itself; `reservation_uid` is for agents that want to name it.
//! Deliberately absent: prolonging. Asked again, the same time is kept until the same moment.

use domain::phone::Identity;
use secrecy::ExposeSecret;
use store::{AcceptError, HoldCommand, Holder, NotHeld, TokenHash};

use super::book::{in_the_past, refused, service, staff, starts_at};
use super::{Call, Caller, local_time};
use crate::arguments;
use crate::problem::Problem;
use crate::reply::Reply;

/// Keeps a time.
pub(super) async fn reserve(call: &Call<'_>, caller: &Caller) -> Result<Reply, Problem> {
    let command = match understand(call, caller) {
        Ok(command) => command,
        Err(reply) => return Ok(reply.with("reserved", false).with("available", false)),
    };
    let branch = call.branch(caller);
    match call.app.store.hold(&command).await {
        Ok(held) => {
            let at = call.moment(held.during.start());
            let minutes = held.seconds_left.div_ceil(60);
            let message = call.say(
                &format!("Der Termin ist für Sie reserviert, etwa {minutes} Minuten lang: {at}. Soll ich ihn buchen?"),
                &format!("This time is reserved for you for about {minutes} minutes: {at}. Shall I book it?"),
            );
            let staff = call.catalog.staff.iter().find(|staff| staff.staff_id == held.staff_id);
            Ok(Reply::success("reserved", message)
                .with("reserved", true)
                .with("available", true)
                .with("reservation_uid", held.token.expose_secret())
                .with("expires_at", held.expires_at.with_timezone(&call.time_zone()).to_rfc3339())
                .with("expires_in_seconds", held.seconds_left)
                .with("appointment_time", local_time(held.during.start(), call.time_zone()))
                .with("staff", staff.map(|staff| staff.name.as_str())))
        }
        Err(NotHeld::TooMany { most, seconds }) => {
            let message = call.say(
                &format!("Mehr als {most} Termine kann ich nicht zugleich reservieren. Welchen davon soll ich buchen?"),
                &format!("I cannot reserve more than {most} times at once. Which one shall I book?"),
            );
            let reply = Reply::refusal("too_many_reservations", message);
            Ok(reply.with("reserved", false).with("available", false).with("retry_after_seconds", seconds))
        }
        Err(NotHeld::No(AcceptError::Refused(refusal))) => {
            let reply = match branch {
                Some(branch) => refused(call, command.starts_at, branch, &refusal),
                None => call.failed(AcceptError::Refused(refusal))?,
            };
            Ok(reply.with("reserved", false).with("available", false))
        }
        Err(NotHeld::No(error)) => Ok(call.failed(error)?.with("reserved", false).with("available", false)),
    }
}

fn understand(call: &Call<'_>, caller: &Caller) -> Result<HoldCommand, Reply> {
    let branch = call.branch(caller).ok_or_else(|| call.unknown_branch())?;
    let starts_at = starts_at(call, &call.args)?;
    let service = service(call, branch)?;
    let staff_id = staff(call, &call.args, branch, service)?;
    if starts_at <= call.now {
        return Err(in_the_past(call));
    }
    Ok(HoldCommand {
        company_id: call.company_id(),
        branch_id: branch.branch_id,
        service_id: service.service_id,
        staff_id,
        starts_at,
        holder: Holder::Caller(caller.identity()),
        call: Some(call.facts(caller)),
    })
}

/// Gives back the named time, or all that this call holds.
pub(super) async fn release(call: &Call<'_>, caller: &Caller) -> Result<Reply, Problem> {
    let store = &call.app.store;
    match call.args.text(arguments::RESERVATION) {
        Some(token) => {
            store.release_hold(call.company_id(), TokenHash::of(&token), Some(&caller.call_id)).await?;
        }
        None => {
            store.release_holds_of(call.company_id(), &caller.call_id).await?;
        }
    }
    // Also when nothing was held: nothing is held now.
    let message = call.say("Die Reservierung ist aufgehoben.", "The reservation is released.");
    Ok(Reply::success("released", message).with("released", true))
}

impl Caller {
    /// Who this is to the record.
    pub(super) fn identity(&self) -> Identity {
        match &self.from {
            Some(phone) => Identity::Phone(phone.clone()),
            None => Identity::Anonymous(self.call_id.clone()),
        }
    }
}
