//! `confirm_booking`: what became of the booking of this call. Older flows have two steps, and the first one has booked.
//!
//! It waits for Cal.com as a booking does. Deliberately absent: booking; where nothing was booked nothing is confirmed.

use domain::appointment::Status;
use store::{How, Sake, Sought};

use super::book::{settled, told};
use super::{Call, Caller};
use crate::problem::Problem;
use crate::reply::Reply;

/// Answers with the outcome.
pub(super) async fn run(call: &Call<'_>, caller: &Caller) -> Result<Reply, Problem> {
    let Some(view) = call.app.store.booked_in(call.company_id(), &caller.call_id).await? else {
        let message = call.say(
            "In diesem Anruf ist noch kein Termin gebucht. Welche Zeit soll es sein?",
            "No appointment has been booked in this call yet. Which time shall it be?",
        );
        let reply = Reply::refusal("no_booking", message).with("booked", false).with("available", false);
        return Ok(reply);
    };
    let status = match view.status {
        Status::Requested => settled(call, view.appointment_id).await,
        status @ (Status::Scheduled | Status::Completed | Status::NoShow | Status::Cancelled | Status::Rejected) => {
            status
        }
    };
    let sought = Sought {
        company_id: call.company_id(),
        branch_id: view.branch_id,
        service_id: view.service_id,
        staff_id: Some(view.staff_id),
        whose: Some(Sake::Caller(caller.identity())),
    };
    let reply = told(call, view.starts_at, &sought, status, How::Replayed).await?;
    Ok(reply.with("appointment_id", view.appointment_id.to_string()))
}
