//! What the business allows, said to a caller: whether a function is there for him, why a change is refused and what is
//! possible instead, and what a change costs.
//!
//! Here only functions are closed; about an appointment the transaction that changes it decides.

use chrono_tz::Tz;
use domain::money::Money;
use domain::policy::{Asking, Case, Denial, Operation, Policies, Reason, Ruling, decide, gate};
use store::{AppointmentView, Ground, Who};

use super::{Call, Caller, zone};
use crate::fee;
use crate::problem::Problem;
use crate::reply::Reply;

/// As whom policies see a caller.
pub(super) fn asking(caller: Option<&Caller>) -> Asking {
    match caller.and_then(|caller| caller.from.as_ref()) {
        Some(_) => Asking::Known,
        None => Asking::Anonymous,
    }
}

/// Who changes an appointment by voice.
pub(super) fn who(caller: &Caller) -> Who {
    match asking(Some(caller)) {
        Asking::Known => Who::Customer,
        Asking::Anonymous => Who::Anonymous,
    }
}

impl Call<'_> {
    /// Is this function there for this caller? If not, what he hears.
    pub(super) async fn closed(&self, operation: Operation, service_id: Option<i32>) -> Result<Option<Reply>, Problem> {
        let policies = self.policies(service_id).await?;
        let closed = gate(&policies, operation, asking(self.caller.as_ref())).err();
        Ok(closed.map(|reason| self.denied(operation, &Denial { reason, possible: vec![] }, self.time_zone())))
    }

    /// Is it closed to this caller only because his number is withheld?
    pub(super) async fn wants_a_number(&self, operation: Operation) -> Result<bool, Problem> {
        let policies = self.policies(None).await?;
        let closed = gate(&policies, operation, asking(self.caller.as_ref()));
        Ok(closed == Err(Reason::AnonymousCallerRestricted))
    }

    async fn policies(&self, service_id: Option<i32>) -> Result<Policies, Problem> {
        let branch = self.caller.as_ref().and_then(|caller| self.branch(caller));
        let ground = Ground { branch_id: branch.map(|branch| branch.branch_id), service_id, staff_id: None };
        Ok(self.app.store.policies(self.company_id(), ground).await?)
    }

    /// What would be decided about this appointment now: said before the caller confirms.
    pub(super) async fn would_be(
        &self,
        operation: Operation,
        caller: &Caller,
        view: &AppointmentView,
    ) -> Result<Ruling, Problem> {
        let found = self.app.store.policy_case(self.company_id(), view.appointment_id).await?;
        let (policies, case) = found.ok_or_else(Problem::not_found)?;
        Ok(decide(&policies, operation, &Case { who: asking(Some(caller)), ..case }))
    }

    /// A refusal by policy.
    pub(super) fn denied(&self, operation: Operation, denial: &Denial, time_zone: Tz) -> Reply {
        let message = self.why_not(operation, denial.reason, time_zone) + &self.instead(&denial.possible);
        let possible: Vec<_> = denial.possible.iter().map(|operation| operation.as_str()).collect();
        let reply = Reply::refusal("denied", message).with("reason", denial.reason.as_str()).with("possible", possible);
        match denial.reason {
            Reason::DeadlineMissed { hours_before, until } => {
                reply.with("hours_before", hours_before).with("possible_until", super::local_time(until, time_zone))
            }
            Reason::QuotaExceeded { max } | Reason::MaxReschedulesReached { max } => reply.with("max", max),
            Reason::PolicyDisabled | Reason::AnonymousCallerRestricted => reply,
        }
    }

    /// As `denied`, in the time of the appointment's branch.
    pub(super) fn denied_about(&self, operation: Operation, denial: &Denial, view: Option<&AppointmentView>) -> Reply {
        let time_zone = view.map_or(self.time_zone(), |view| zone(&view.time_zone, self.time_zone()));
        self.denied(operation, denial, time_zone)
    }

    fn why_not(&self, operation: Operation, reason: Reason, time_zone: Tz) -> String {
        let (german, english) = deed(operation);
        match reason {
            Reason::DeadlineMissed { hours_before, until } => {
                let until = self.language.moment(until, time_zone);
                self.say(
                    &format!("{german} geht nur bis {hours_before} Stunden vorher, also war es bis {until}, möglich."),
                    &format!("{english} is possible only until {hours_before} hours before, which was {until}."),
                )
            }
            Reason::QuotaExceeded { max } => self.say(
                &format!("In 30 Tagen können höchstens {max} Termine abgesagt werden."),
                &format!("Only {max} appointments can be cancelled within 30 days."),
            ),
            Reason::MaxReschedulesReached { max: 0 } => {
                self.say("Dieser Termin kann nicht verschoben werden.", "This appointment cannot be moved.")
            }
            Reason::MaxReschedulesReached { max } => self.say(
                &format!("Dieser Termin wurde schon {max} Mal verschoben, öfter geht es nicht."),
                &format!("This appointment has been moved {max} times already, and cannot be moved again."),
            ),
            Reason::PolicyDisabled => self.say(
                &format!("{german} ist hier am Telefon leider nicht möglich."),
                &format!("{english} is not possible here by telephone."),
            ),
            Reason::AnonymousCallerRestricted => self.say(
                &format!("{german} ist mit unterdrückter Rufnummer leider nicht möglich."),
                &format!("{english} is not possible while your number is withheld."),
            ),
        }
    }

    fn instead(&self, possible: &[Operation]) -> String {
        let first = possible.first().map(|operation| match operation {
            Operation::Cancellation => self.say(" Absagen ist noch möglich.", " It can still be cancelled."),
            Operation::Reschedule => self.say(" Verschieben ist noch möglich.", " It can still be moved."),
            Operation::CallbackService => {
                self.say(" Gern notiere ich einen Rückruf.", " I can note that you wish to be called back.")
            }
            Operation::Booking
            | Operation::AvailabilityInquiry
            | Operation::AppointmentInquiry
            | Operation::ServiceInformation
            | Operation::OpeningHours => String::new(),
        });
        first.unwrap_or_default()
    }

    /// ` Dafür fällt eine Gebühr von 15 Euro an.`; nothing where it costs nothing.
    pub(super) fn costs(&self, fee: Option<Money>) -> String {
        let Some(fee) = fee.filter(|fee| fee.minor > 0) else { return String::new() };
        let amount = fee::spoken(fee, self.language);
        self.say(&format!(" Dafür fällt eine Gebühr von {amount} an."), &format!(" A fee of {amount} is due for this."))
    }
}

/// The fee as agents in the field read it: a number in major units, 0 where there is none.
pub(super) fn with_fee(reply: Reply, fee: Option<Money>) -> Reply {
    let reply = reply.with("fee", fee.map_or(0.0, fee::major));
    match fee {
        Some(fee) => reply.with("fee_currency", fee.currency.as_str()),
        None => reply,
    }
}

fn deed(operation: Operation) -> (&'static str, &'static str) {
    match operation {
        Operation::Booking => ("Termine zu buchen", "Booking"),
        Operation::AvailabilityInquiry => ("Nach freien Zeiten zu fragen", "Asking for free times"),
        Operation::CallbackService => ("Einen Rückruf zu bestellen", "Asking for a call back"),
        Operation::AppointmentInquiry => ("Nach Terminen zu fragen", "Asking for appointments"),
        Operation::Cancellation => ("Absagen", "Cancelling"),
        Operation::Reschedule => ("Verschieben", "Moving an appointment"),
        Operation::ServiceInformation => ("Nach Leistungen zu fragen", "Asking for services"),
        Operation::OpeningHours => ("Nach Öffnungszeiten zu fragen", "Asking for opening hours"),
    }
}
