//! What one answer of Cal.com means for the op that asked.
//!
//! `Refusal` by Cal.com has no public constructor: it is made here from a first, unambiguous answer, or by
//! [`crate::resolve`]. So an unknown outcome cannot be turned into a refusal anywhere else.

use crate::answer::{Ambiguity, Answer, Booking, BookingUid, Refused};
use crate::effect::EffectKind;
use std::time::Duration;

/// Did any op of this segment pass through `unknown` before? Then no 4xx proves anything by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Past {
    /// Every earlier request of the segment had a plain answer.
    Clean,
    /// Some earlier request may have had its effect unseen.
    Ambiguous,
}

/// How an op stands after a call or a look; settle writes exactly this.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The booking is there.
    Applied {
        /// The one that the promise owns now.
        booking: Booking,
        /// Others that the same op has made: to be called off.
        spares: Vec<BookingUid>,
    },
    /// The booking is gone, as asked.
    Gone,
    /// Cal.com said no, and that is certain.
    Refused(NotGranted),
    /// Somebody else was faster: what the op aimed at is not what it was, and the op will have no effect any more.
    Overtaken {
        /// The booking that the op had made before that.
        made: Option<BookingUid>,
        /// What has become of the segment's booking.
        by: Elsewhere,
    },
    /// Certainly nothing happened, for a reason that is not this job's: back off without a count.
    Snoozed {
        /// For how long it is of no use to try again; `None` = nobody knows.
        wait: Option<Duration>,
    },
    /// Certainly nothing happened; decide again from the promise.
    Never,
    /// Nobody knows yet: look again later. `answered` is a 4xx that came all the same.
    Unknown {
        /// The HTTP status, when there was one that says "no".
        answered: Option<u16>,
    },
    /// A look could not be made; nothing new is known of the op.
    NotSeen {
        /// For how long it is of no use to try again; `None` = nobody knows.
        wait: Option<Duration>,
    },
    /// A person must look: our bug, our configuration, or something the rules do not know.
    Review {
        /// A short word for history and metrics.
        why: &'static str,
    },
}

/// What somebody else did at Cal.com to a booking of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Elsewhere {
    /// Called off.
    Cancelled,
    /// Not confirmed, where the business has to confirm.
    Declined,
    /// It stands somewhere else now.
    Moved(Booking),
    /// Cal.com does not know it any more.
    Vanished,
}

/// Cal.com answers 400 to a cancel of what is cancelled already, as to much else; recorded as this, so that a later look
/// knows which it was.
pub const ALREADY_CANCELLED: u16 = 410;

/// A certain refusal by Cal.com.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotGranted {
    why: &'static str,
}

impl NotGranted {
    /// The slot is somebody else's at Cal.com.
    pub(crate) const TAKEN: Self = Self { why: "taken" };

    pub(crate) fn for_reason(reason: &Refused) -> Self {
        let why = match reason {
            Refused::OutOfBounds => "out_of_bounds",
            Refused::InThePast => "in_the_past",
            Refused::LimitReached => "limit_reached",
            Refused::NotAllowed => "not_allowed",
        };
        Self { why }
    }

    /// A short word for history, callbacks and metrics.
    pub fn why(self) -> &'static str {
        self.why
    }
}

/// What to do with an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// It is settled like this.
    Settle(Outcome),
    /// Look once now, before anything is believed: the booking in the way may be ours.
    LookFirst {
        /// What Cal.com answered.
        answered: u16,
    },
}

/// Judges the answer to a request of `kind`, given the segment's `past`. Exhaustive: a new answer does not compile
/// until it has a meaning here.
pub fn judge(kind: EffectKind, answer: Answer, past: Past) -> Judgement {
    use Judgement::{LookFirst, Settle};
    match answer {
        Answer::Applied(booking) => match kind {
            EffectKind::Create | EffectKind::Reschedule => Settle(Outcome::Applied { booking, spares: vec![] }),
            EffectKind::Cancel => Settle(Outcome::Gone),
        },
        // What was moved counts as cancelled, too: it may live on under another uid.
        Answer::AlreadyCancelled => match kind {
            EffectKind::Cancel => LookFirst { answered: ALREADY_CANCELLED },
            EffectKind::Create | EffectKind::Reschedule => LookFirst { answered: 400 },
        },
        Answer::Taken { status } => LookFirst { answered: status },
        Answer::NotFound => LookFirst { answered: 404 },
        Answer::Refused { status, reason } => match past {
            Past::Clean => Settle(Outcome::Refused(NotGranted::for_reason(&reason))),
            Past::Ambiguous => Settle(Outcome::Unknown { answered: Some(status) }),
        },
        Answer::Misconfigured { status } => match past {
            Past::Clean => Settle(Outcome::Review { why: misconfigured(status) }),
            Past::Ambiguous => Settle(Outcome::Unknown { answered: Some(status) }),
        },
        Answer::NotSent { wait } => Settle(Outcome::Snoozed { wait }),
        Answer::Throttled { wait } => Settle(Outcome::Snoozed { wait: Some(wait) }),
        Answer::Unknown { why } => match why {
            Ambiguity::Timeout
            | Ambiguity::Reset
            | Ambiguity::ServerError(_)
            | Ambiguity::BadBody
            | Ambiguity::Redirect => Settle(Outcome::Unknown { answered: None }),
        },
    }
}

fn misconfigured(status: u16) -> &'static str {
    match status {
        401 | 403 => "calcom_key_refused",
        404 => "event_type_unknown",
        _ => "request_refused_by_calcom",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_4xx_is_a_refusal_after_an_ambiguous_request() {
        let answers = [
            Answer::Refused { status: 400, reason: Refused::OutOfBounds },
            Answer::Misconfigured { status: 422 },
            Answer::Taken { status: 409 },
            Answer::NotFound,
            Answer::Unknown { why: Ambiguity::ServerError(500) },
        ];
        for answer in answers {
            let judged = judge(EffectKind::Create, answer.clone(), Past::Ambiguous);
            let open = matches!(judged, Judgement::LookFirst { .. } | Judgement::Settle(Outcome::Unknown { .. }));
            assert!(open, "{answer:?} → {judged:?}");
        }
    }

    #[test]
    fn taken_is_never_believed_at_once() {
        for past in [Past::Clean, Past::Ambiguous] {
            let judged = judge(EffectKind::Create, Answer::Taken { status: 400 }, past);
            assert_eq!(judged, Judgement::LookFirst { answered: 400 });
        }
    }

    #[test]
    fn what_was_not_sent_is_nobodys_fault() {
        for kind in [EffectKind::Create, EffectKind::Cancel, EffectKind::Reschedule] {
            for wait in [None, Some(Duration::from_secs(7))] {
                let judged = judge(kind, Answer::NotSent { wait }, Past::Ambiguous);
                assert_eq!(judged, Judgement::Settle(Outcome::Snoozed { wait }));
            }
        }
        let already = Judgement::LookFirst { answered: ALREADY_CANCELLED };
        assert_eq!(judge(EffectKind::Cancel, Answer::AlreadyCancelled, Past::Clean), already);
    }
}
