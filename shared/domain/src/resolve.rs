//! What became of an op whose answer we do not have: the decision after a look at Cal.com, pure.
//!
//! It looks for what *the op* asked, never for the current promise. Absent: the look itself (the worker makes it) and
//! several live bookings of one segment, which a person must see.

use crate::answer::{Booking, BookingStatus, BookingUid};
use crate::effect::EffectKind;
use crate::id::Lineage;
use crate::outcome::{NotGranted, Outcome, Past};
use chrono::{DateTime, TimeDelta, Utc};

/// What an op asked, and what we know of its sending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Create, cancel or reschedule.
    pub kind: EffectKind,
    /// The segment's lineage, which our marker carries.
    pub lineage: Lineage,
    /// The start it asked for (create, reschedule).
    pub starts_at: Option<DateTime<Utc>>,
    /// When its intent was committed, by the database's clock: nothing was sent before.
    pub sent_at: DateTime<Utc>,
    /// A 4xx that Cal.com answered.
    pub answered: Option<u16>,
    /// Did this op or an earlier one of the segment pass through `unknown`?
    pub past: Past,
    /// Bookings of this segment that other ops have accounted for.
    pub accounted: Vec<BookingUid>,
}

/// What a look saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sight {
    /// A create's look: everything listed around its start, cancelled ones too.
    Listed(Vec<Booking>),
    /// A cancel's or reschedule's look at its target; `None` = Cal.com knows no such booking.
    Target(Option<Booking>),
    /// A reschedule's target has moved: the booking it moved to.
    Moved(Booking),
}

/// Decides from a look that *began* at `began` (a time that is certainly not later than the true one, by the database's
/// clock). `quarantine` (Δ) is the time after which nothing sent can still arrive.
pub fn resolve(asked: &Asked, sight: Sight, began: DateTime<Utc>, quarantine: TimeDelta) -> Outcome {
    match sight {
        Sight::Listed(bookings) => resolve_create(asked, bookings, began, quarantine),
        Sight::Moved(booking) if asked.kind == EffectKind::Reschedule && Some(booking.start) == asked.starts_at => {
            Outcome::Applied(booking)
        }
        Sight::Moved(_) => Outcome::Review { why: "moved_elsewhere" },
        Sight::Target(None) => match asked.kind {
            EffectKind::Cancel => Outcome::Gone,
            EffectKind::Create | EffectKind::Reschedule => Outcome::Review { why: "booking_vanished" },
        },
        Sight::Target(Some(booking)) => match (asked.kind, booking.status) {
            (EffectKind::Cancel, BookingStatus::Cancelled | BookingStatus::Rejected) => Outcome::Gone,
            (_, BookingStatus::Accepted | BookingStatus::Pending) => nothing_seen(asked, began, quarantine),
            (_, BookingStatus::Cancelled | BookingStatus::Rejected) => Outcome::Review { why: "cancelled_elsewhere" },
            (_, BookingStatus::Unknown) => Outcome::Review { why: "unknown_booking_status" },
        },
    }
}

fn resolve_create(asked: &Asked, bookings: Vec<Booking>, began: DateTime<Utc>, quarantine: TimeDelta) -> Outcome {
    let mut ours: Vec<Booking> = bookings
        .into_iter()
        .filter(|b| b.marker == Some(asked.lineage.0) && Some(b.start) == asked.starts_at)
        .filter(|b| !asked.accounted.contains(&b.uid))
        .collect();
    ours.sort_by_key(|b| b.created_at);
    if ours.iter().any(|b| b.status == BookingStatus::Unknown) {
        return Outcome::Review { why: "unknown_booking_status" };
    }
    let (live, ended): (Vec<Booking>, Vec<Booking>) =
        ours.into_iter().partition(|b| matches!(b.status, BookingStatus::Accepted | BookingStatus::Pending));
    match (live.len(), ended.len()) {
        (1, _) => live.into_iter().next().map_or(Outcome::Never, Outcome::Applied),
        (0, 0) => nothing_seen(asked, began, quarantine),
        (0, _) => Outcome::Review { why: "cancelled_elsewhere" },
        (_, _) => Outcome::Review { why: "several_bookings" },
    }
}

/// One miss proves nothing: reads come from a replica, and the request may still be on its way.
fn nothing_seen(asked: &Asked, began: DateTime<Utc>, quarantine: TimeDelta) -> Outcome {
    let plain_no = asked.answered.is_some() && asked.past == Past::Clean;
    let quarantine_over = began >= asked.sent_at + quarantine;
    match (asked.answered, plain_no || quarantine_over) {
        (Some(400 | 409), true) if asked.kind != EffectKind::Cancel => Outcome::Refused(NotGranted::TAKEN),
        (Some(_), true) => Outcome::Review { why: "refused_by_calcom" },
        (None, true) => Outcome::Never,
        (answered, false) => Outcome::Unknown { answered },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    const DELTA: TimeDelta = TimeDelta::seconds(90);

    fn asked(answered: Option<u16>, past: Past) -> Asked {
        Asked {
            kind: EffectKind::Create,
            lineage: Lineage(Uuid::from_u128(1)),
            starts_at: Some(at(5_000)),
            sent_at: at(0),
            answered,
            past,
            accounted: vec![BookingUid::from("old".to_owned())],
        }
    }

    fn booking(uid: &str, status: BookingStatus, lineage: Option<u128>, start: i64) -> Booking {
        Booking {
            uid: BookingUid::from(uid.to_owned()),
            status,
            start: at(start),
            end: at(start + 1_800),
            event_type_id: 7,
            host_id: Some(1),
            created_at: at(1),
            marker: lineage.map(Uuid::from_u128),
            rescheduled_to: None,
            rescheduled_from: None,
        }
    }

    fn look(asked: &Asked, seen: Vec<Booking>, began: i64) -> Outcome {
        resolve(asked, Sight::Listed(seen), at(began), DELTA)
    }

    #[test]
    fn one_of_ours_is_adopted_before_and_after_the_quarantine() {
        let ours = booking("a", BookingStatus::Accepted, Some(1), 5_000);
        for began in [1, 200] {
            for answered in [None, Some(400)] {
                let outcome = look(&asked(answered, Past::Ambiguous), vec![ours.clone()], began);
                assert_eq!(outcome, Outcome::Applied(ours.clone()));
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_not_seen() {
        let foreign = [
            booking("x", BookingStatus::Accepted, None, 5_000),
            booking("y", BookingStatus::Accepted, Some(2), 5_000),
            booking("z", BookingStatus::Accepted, Some(1), 9_000),
            booking("old", BookingStatus::Cancelled, Some(1), 5_000),
        ];
        for seen in foreign {
            assert_eq!(look(&asked(None, Past::Ambiguous), vec![seen], 200), Outcome::Never);
        }
    }

    #[test]
    fn a_miss_proves_nothing_before_the_quarantine_is_over() {
        let open = |answered| Outcome::Unknown { answered };
        assert_eq!(look(&asked(None, Past::Ambiguous), vec![], 89), open(None));
        assert_eq!(look(&asked(None, Past::Clean), vec![], 89), open(None));
        assert_eq!(look(&asked(Some(400), Past::Ambiguous), vec![], 89), open(Some(400)));
        assert_eq!(look(&asked(None, Past::Ambiguous), vec![], 90), Outcome::Never);
        assert_eq!(look(&asked(Some(409), Past::Ambiguous), vec![], 90), Outcome::Refused(NotGranted::TAKEN));
        assert_eq!(look(&asked(Some(409), Past::Clean), vec![], 1), Outcome::Refused(NotGranted::TAKEN));
    }

    #[test]
    fn what_the_rules_do_not_know_goes_to_a_person() {
        let cancelled = booking("a", BookingStatus::Cancelled, Some(1), 5_000);
        let strange = booking("b", BookingStatus::Unknown, Some(1), 5_000);
        let (one, two) = (
            booking("c", BookingStatus::Accepted, Some(1), 5_000),
            booking("d", BookingStatus::Accepted, Some(1), 5_000),
        );
        for seen in [vec![cancelled], vec![strange], vec![one, two]] {
            assert!(matches!(look(&asked(None, Past::Clean), seen, 1), Outcome::Review { .. }));
        }
    }

    #[test]
    fn only_a_reschedule_to_that_start_is_done_by_a_move() {
        let moved = |start| Sight::Moved(booking("b", BookingStatus::Accepted, Some(1), start));
        let mut ask = asked(None, Past::Ambiguous);
        let strange = Outcome::Review { why: "moved_elsewhere" };
        for kind in [EffectKind::Create, EffectKind::Cancel, EffectKind::Reschedule] {
            ask.kind = kind;
            assert_eq!(resolve(&ask, moved(9_000), at(1), DELTA), strange, "{kind:?}: somebody else's move");
            let done = matches!(resolve(&ask, moved(5_000), at(1), DELTA), Outcome::Applied(_));
            assert_eq!(done, kind == EffectKind::Reschedule, "{kind:?}");
        }
    }

    #[test]
    fn a_cancel_is_done_when_its_target_is_gone() {
        let mut cancel = asked(None, Past::Ambiguous);
        cancel.kind = EffectKind::Cancel;
        let target = |status| Sight::Target(Some(booking("a", status, Some(1), 5_000)));
        assert_eq!(resolve(&cancel, target(BookingStatus::Cancelled), at(1), DELTA), Outcome::Gone);
        assert_eq!(resolve(&cancel, Sight::Target(None), at(1), DELTA), Outcome::Gone);
        assert_eq!(
            resolve(&cancel, target(BookingStatus::Accepted), at(1), DELTA),
            Outcome::Unknown { answered: None }
        );
        assert_eq!(resolve(&cancel, target(BookingStatus::Accepted), at(91), DELTA), Outcome::Never);
    }
}
