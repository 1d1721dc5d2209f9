//! Act: the one request of a claimed job to Cal.com. No transaction and no lock is held meanwhile.
//!
//! Nothing is sent after the deadline, which counts from before the claim was sent and is not moved by renewals: the
//! claim promised the others that nothing of this op begins later. Deliberately absent: a second request. What may
//! have happened is looked for.

use calcom::{Attendee, Create};
use domain::answer::Answer;
use domain::effect::EffectKind;
use domain::outcome::{Judgement, Outcome, judge};
use secrecy::SecretString;
use store::Mode;
use tokio_util::sync::CancellationToken;

use crate::held::Held;
use crate::look::look;
use crate::world::World;

/// Some event types want a reason; the business reads it, and the customer may.
const CANCEL_REASON: &str = "Cancelled through the booking service";
const RESCHEDULE_REASON: &str = "Rescheduled through the booking service";

/// What came of an act or of a look.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Acted {
    /// How the op stands now.
    pub(crate) outcome: Outcome,
    /// The 4xx after which a look was made.
    pub(crate) answered: Option<u16>,
}

impl From<Outcome> for Acted {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, answered: None }
    }
}

/// Sends what the op asks, or looks for what became of it. `None`: the job was lost before that.
pub(crate) async fn act(world: &World, held: &Held, lost: &CancellationToken) -> Option<Acted> {
    let claimed = &held.claimed;
    let key = match world.calcom_key(claimed.job.company_id).await {
        Ok(Some(key)) => key,
        Ok(None) => {
            tracing::error!("the company has no key of Cal.com");
            let unsent = Outcome::Review { why: "calcom_key_missing" };
            return Some(without_a_request(claimed.mode, unsent).into());
        }
        Err(error) => {
            tracing::warn!(%error, "the company's key of Cal.com could not be read");
            return Some(without_a_request(claimed.mode, Outcome::Snoozed { wait: None }).into());
        }
    };
    if lost.is_cancelled() {
        return None;
    }
    match claimed.mode {
        Mode::Resolve => look(world, held, &key, &claimed.asked, lost).await.map(Acted::from),
        Mode::Act => {
            // Not cut when the lease is lost: what is on its way has its effect anyway, and its uid is evidence.
            let Some(answer) = send(world, held, &key).await else {
                tracing::error!("an op does not say what it asks");
                return Some(Outcome::Review { why: "op_incomplete" }.into());
            };
            match judge(claimed.asked.kind, answer, claimed.asked.past) {
                Judgement::Settle(outcome) => Some(outcome.into()),
                Judgement::LookFirst { answered } => {
                    let mut asked = claimed.asked.clone();
                    asked.answered = Some(answered);
                    look(world, held, &key, &asked, lost).await.map(|seen| after_a_no(answered, seen))
                }
            }
        }
    }
}

/// No request was made: an act has certainly had no effect, and a look has seen nothing.
fn without_a_request(mode: Mode, unsent: Outcome) -> Outcome {
    match mode {
        Mode::Act => unsent,
        Mode::Resolve => Outcome::NotSeen { wait: None },
    }
}

/// A look that failed must not hide that Cal.com has said no: without that the op would end as if never asked, and be
/// asked for ever.
fn after_a_no(answered: u16, seen: Outcome) -> Acted {
    let mut acted = Acted::from(seen);
    acted.answered = Some(answered);
    if matches!(acted.outcome, Outcome::NotSeen { .. }) {
        acted.outcome = Outcome::Unknown { answered: Some(answered) };
    }
    acted
}

/// One request. `None`: the op lacks what its kind needs; nothing was sent.
async fn send(world: &World, held: &Held, key: &SecretString) -> Option<Answer> {
    let claimed = &held.claimed;
    let company = claimed.job.company_id;
    let deadline = (held.asked_at + world.lease).into_std();
    let (calcom, markers) = (&world.calcom, &world.markers);
    let answer = match claimed.asked.kind {
        EffectKind::Create => {
            let address = invented_address(&claimed.attendee, &world.attendee_domain);
            let ask = Create {
                event_type_id: claimed.event_type_id?,
                start: claimed.asked.starts_at?,
                attendee: Attendee {
                    name: &claimed.attendee.name,
                    email: claimed.attendee.email.as_deref().or(address.as_deref()),
                    phone_e164: claimed.attendee.phone_e164.as_deref(),
                    time_zone: &claimed.attendee.time_zone,
                    language: &claimed.attendee.language,
                },
                lineage: claimed.asked.lineage.0,
                company,
            };
            calcom.create(key, &ask, markers, deadline).await
        }
        EffectKind::Cancel => {
            calcom.cancel(key, claimed.effect.target.as_ref()?, CANCEL_REASON, markers, company, deadline).await
        }
        EffectKind::Reschedule => {
            let (target, start) = (claimed.effect.target.as_ref()?, claimed.asked.starts_at?);
            calcom.reschedule(key, target, start, RESCHEDULE_REASON, markers, company, deadline).await
        }
    };
    Some(answer)
}

/// Cal.com wants a phone number or an e-mail address. Who gave neither gets an address of his own, always the same,
/// because Cal.com tells attendees apart by it.
fn invented_address(attendee: &store::Attendee, domain: &str) -> Option<String> {
    let neither = attendee.email.is_none() && attendee.phone_e164.is_none();
    neither.then(|| format!("anonym-{}@{domain}", attendee.customer_id))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::id::CustomerId;
    use uuid::Uuid;

    use super::*;

    fn attendee(email: Option<&str>, phone: Option<&str>) -> store::Attendee {
        store::Attendee {
            name: "Anna".to_owned(),
            email: email.map(str::to_owned),
            phone_e164: phone.map(str::to_owned),
            time_zone: "Europe/Berlin".to_owned(),
            language: "de".to_owned(),
            customer_id: CustomerId(Uuid::from_u128(7)),
        }
    }

    #[test]
    fn an_address_is_invented_only_for_who_gave_neither_phone_nor_address() {
        let invented = |email, phone| invented_address(&attendee(email, phone), "anonym.invalid");
        let expected = "anonym-00000000-0000-0000-0000-000000000007@anonym.invalid";
        assert_eq!(invented(None, None).as_deref(), Some(expected));
        assert_eq!(invented(Some("a@b.de"), None), None);
        assert_eq!(invented(None, Some("+4915112345678")), None);
        assert_eq!(invented(Some("a@b.de"), Some("+4915112345678")), None);
    }

    #[test]
    fn a_failed_look_after_a_no_keeps_the_no() {
        let acted = after_a_no(409, Outcome::NotSeen { wait: Some(Duration::from_secs(60)) });
        let answered = Some(409);
        assert_eq!(acted, Acted { outcome: Outcome::Unknown { answered }, answered });
        assert_eq!(after_a_no(404, Outcome::Gone), Acted { outcome: Outcome::Gone, answered: Some(404) });
    }

    #[test]
    fn without_a_key_a_look_has_seen_nothing() {
        let unsent = Outcome::Review { why: "calcom_key_missing" };
        assert_eq!(without_a_request(Mode::Act, unsent.clone()), unsent);
        assert_eq!(without_a_request(Mode::Resolve, unsent), Outcome::NotSeen { wait: None });
    }
}
