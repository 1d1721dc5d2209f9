//! What is to become of the appointments of a cell, and what the customer may hear meanwhile: by hand, from what was asked
//! and accepted, with none of the product's rules.

use crate::cell::{Cell, Meanwhile, Op};
use crate::customer::Reply;
use crate::found::Found;
use crate::play::Played;
use chrono::{DateTime, Utc};
use domain::refusal::Refusal;
use store::How;

/// What an appointment is to be in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Promise {
    Scheduled(DateTime<Utc>),
    Cancelled,
    Rejected,
}

impl Promise {
    /// When its one booking stands.
    pub(crate) fn stands(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Scheduled(at) => Some(at),
            Self::Cancelled | Self::Rejected => None,
        }
    }

    pub(crate) fn status(self) -> &'static str {
        match self {
            Self::Scheduled(_) => "scheduled",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
        }
    }
}

/// What each appointment is to be, in order of their making, from what the customer was told.
pub(crate) fn expected(played: &Played) -> Vec<Promise> {
    let Cell { op, trouble, .. } = played.cell;
    let mut wish = (op != Op::Cancel).then_some(played.asked);
    let mut another = None;
    for reply in &played.told {
        match (reply, played.cell.meanwhile) {
            (Reply::Accepted { .. }, Meanwhile::Cancel) => wish = None,
            (Reply::Accepted { .. }, Meanwhile::Reschedule) => {
                wish = Some(if played.script.back { played.first } else { played.third });
            }
            (Reply::Accepted { how: How::New, .. }, Meanwhile::Again) => another = Some(played.asked),
            (Reply::Accepted { .. }, Meanwhile::Again | Meanwhile::Nothing) => {}
            (Reply::Refused(_) | Reply::Failed(_), _) => {}
        }
    }
    // A stranger has the time that was asked for first; of a booking that was to be moved there the old time stands.
    let stranger = |at| trouble.takes_the_time() && at == strangers_time(&played.found);
    let becomes = |wish: Option<DateTime<Utc>>, old| match wish {
        None => Promise::Cancelled,
        Some(at) if !stranger(Some(at)) => Promise::Scheduled(at),
        Some(_) => old,
    };
    let old = if op == Op::Reschedule { Promise::Scheduled(played.first) } else { Promise::Rejected };
    let mut all = vec![becomes(wish, old)];
    all.extend(another.map(|at| becomes(Some(at), Promise::Rejected)));
    all
}

fn strangers_time(found: &Found) -> Option<DateTime<Utc>> {
    found.bookings.iter().find(|booking| booking.marker().is_none()).map(|booking| booking.start)
}

/// The customer heard what he may hear.
pub(crate) fn told(played: &Played) -> Vec<String> {
    let Cell { op, trouble, meanwhile, .. } = played.cell;
    let strangers = trouble.takes_the_time();
    let may_hear = |reply: &Reply| match (reply, meanwhile) {
        (Reply::Accepted { how: How::New, .. }, Meanwhile::Cancel) => op != Op::Cancel,
        (Reply::Accepted { how: How::Unchanged, .. }, Meanwhile::Cancel) => op == Op::Cancel,
        (Reply::Accepted { how, .. }, Meanwhile::Reschedule) => {
            *how == How::New || (*how == How::Unchanged && strangers && played.script.back)
        }
        (Reply::Accepted { how: How::AlreadyYours, appointment }, Meanwhile::Again) => {
            op != Op::Cancel && *appointment == played.appointment
        }
        (Reply::Accepted { how: How::New, .. }, Meanwhile::Again) => op == Op::Cancel || strangers,
        (Reply::Refused(Refusal::BeingReleased { .. }), Meanwhile::Again) => op == Op::Cancel || strangers,
        (Reply::Refused(Refusal::Taken { .. }), Meanwhile::Again) => strangers,
        (Reply::Refused(Refusal::Final { .. }), Meanwhile::Cancel | Meanwhile::Reschedule) => {
            strangers && op == Op::Create
        }
        (Reply::Accepted { .. } | Reply::Refused(_) | Reply::Failed(_), _) => false,
    };
    let last = played.told.last().is_some_and(|reply| matches!(reply, Reply::Refused(Refusal::BeingReleased { .. })));
    let odd = played.told.iter().filter(|reply| !may_hear(reply)).map(|reply| format!("the customer heard {reply:?}"));
    odd.chain(last.then(|| "the time was never released".to_owned())).collect()
}
