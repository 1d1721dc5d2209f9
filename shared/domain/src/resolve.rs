//! What became of an op whose answer we do not have: the decision after a look at Cal.com, pure.
//!
//! It looks for what *the op* asked, never for the current promise. Absent: the look itself (the worker makes it).

use crate::answer::{Booking, BookingStatus, BookingUid};
use crate::effect::EffectKind;
use crate::id::Lineage;
use crate::outcome::{ALREADY_CANCELLED, Elsewhere, NotGranted, Outcome, Past};
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
    /// The uid that Cal.com gave to somebody who had lost the job by then.
    pub evidence: Option<BookingUid>,
    /// Did this op or an earlier one of the segment pass through `unknown`?
    pub past: Past,
    /// Bookings that earlier ops of this segment have made. One that is over is theirs to account for; one that lives and
    /// is not recorded was only believed to be gone.
    pub made: Vec<BookingUid>,
    /// Bookings that earlier ops of this segment have called off or moved, or have tried to.
    pub aimed_at: Vec<BookingUid>,
}

/// What a look saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sight {
    /// A create's look: everything listed around its start, cancelled ones too, each with what it was moved to, in order.
    Listed(Vec<Chain>),
    /// A cancel's or reschedule's look at its target; `None` = Cal.com knows no such booking.
    Target(Option<Chain>),
}

/// A booking, and the bookings that it was moved to one after the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chain {
    /// As it was looked for.
    pub first: Booking,
    /// Where it was moved to, in order.
    pub moves: Vec<Booking>,
}

impl Chain {
    /// A booking that was not moved.
    pub fn of(first: Booking) -> Self {
        Self { first, moves: vec![] }
    }

    /// What it is now.
    pub fn end(&self) -> &Booking {
        self.moves.last().unwrap_or(&self.first)
    }

    /// What somebody else has done to it.
    fn elsewhere(&self) -> Elsewhere {
        let end = self.end();
        match end.status {
            BookingStatus::Accepted | BookingStatus::Pending | BookingStatus::Unknown => Elsewhere::Moved(end.clone()),
            BookingStatus::Cancelled => Elsewhere::Cancelled,
            BookingStatus::Rejected => Elsewhere::Declined,
        }
    }
}

impl Booking {
    /// Does it stand, or may it still be confirmed?
    pub fn lives(&self) -> bool {
        match self.status {
            BookingStatus::Accepted | BookingStatus::Pending => true,
            BookingStatus::Cancelled | BookingStatus::Rejected | BookingStatus::Unknown => false,
        }
    }
}

const STRANGE: Outcome = Outcome::Review { why: "unknown_booking_status" };

/// Decides from a look that *began* at `began` (a time that is certainly not later than the true one, by the database's
/// clock). `quarantine` (Δ) is the time after which nothing sent can still arrive.
pub fn resolve(asked: &Asked, sight: Sight, began: DateTime<Utc>, quarantine: TimeDelta) -> Outcome {
    let quarantine_over = began >= asked.sent_at + quarantine;
    // Cal.com has answered, and no earlier request of the segment can be meant: nothing of this one comes later.
    let certain = quarantine_over || (asked.answered.is_some() && asked.past == Past::Clean);
    let open = Outcome::Unknown { answered: asked.answered };
    let overtaken = |made, by| if certain { Outcome::Overtaken { made, by } } else { open.clone() };
    match (sight, asked.kind) {
        (Sight::Listed(chains), _) => created(asked, chains).unwrap_or_else(|| nothing_seen(asked, certain)),
        (Sight::Target(None), EffectKind::Cancel) if quarantine_over => Outcome::Gone,
        // A replica may not know yet what was made a moment ago.
        (Sight::Target(None), EffectKind::Cancel) => open,
        (Sight::Target(None), _) if quarantine_over => overtaken(None, Elsewhere::Vanished),
        (Sight::Target(None), _) => open,
        (Sight::Target(Some(chain)), _) if chain.end().status == BookingStatus::Unknown => STRANGE,
        (Sight::Target(Some(chain)), EffectKind::Cancel) => match (chain.end().lives(), chain.moves.is_empty()) {
            (false, _) => Outcome::Gone,
            (true, true) => nothing_seen(asked, certain),
            (true, false) => overtaken(None, chain.elsewhere()),
        },
        (Sight::Target(Some(chain)), _) => match chain.moves.first() {
            Some(ours) if Some(ours.start) == asked.starts_at => made(&ours.uid, &chain),
            Some(_) => overtaken(None, chain.elsewhere()),
            None if chain.first.lives() => nothing_seen(asked, certain),
            None => overtaken(None, chain.elsewhere()),
        },
    }
}

/// What a create has made, or `None` when nothing of it is seen.
fn created(asked: &Asked, chains: Vec<Chain>) -> Option<Outcome> {
    let made_before = |c: &Chain| asked.made.contains(&c.first.uid);
    let mut ours: Vec<Chain> = chains
        .into_iter()
        .filter(|c| c.first.marker == Some(asked.lineage.0) && Some(c.first.start) == asked.starts_at)
        // What was moved there no create has made; it is the end of another chain.
        .filter(|c| c.first.rescheduled_from.is_none())
        .filter(|c| !asked.aimed_at.contains(&c.first.uid) && (c.end().lives() || !made_before(c)))
        .collect();
    if ours.iter().any(|c| c.end().status == BookingStatus::Unknown) {
        return Some(STRANGE);
    }
    // Of those that live the one whose uid we were given, else one that only this op can have made, else the oldest.
    let told = |c: &Chain| asked.evidence.as_ref() == Some(&c.first.uid);
    ours.sort_by_key(|c| (!c.end().lives(), !told(c), made_before(c), c.first.created_at));
    let (chain, others) = ours.split_first()?;
    let living = others.iter().map(Chain::end).filter(|b| b.lives());
    let mut outcome = made(&chain.first.uid, chain);
    if let Outcome::Applied { spares, .. } = &mut outcome {
        spares.extend(living.map(|b| b.uid.clone()));
    }
    Some(outcome)
}

/// The op has made the booking `ours`; somebody else may have gone on from there.
fn made(ours: &BookingUid, chain: &Chain) -> Outcome {
    let end = chain.end();
    if *ours == end.uid && end.lives() {
        Outcome::Applied { booking: end.clone(), spares: vec![] }
    } else {
        Outcome::Overtaken { made: Some(ours.clone()), by: chain.elsewhere() }
    }
}

/// One miss proves nothing: reads come from a replica, and the request may still be on its way.
fn nothing_seen(asked: &Asked, certain: bool) -> Outcome {
    match (asked.answered, certain) {
        (Some(ALREADY_CANCELLED), true) if asked.kind == EffectKind::Cancel => Outcome::Gone,
        (Some(400 | 409), true) if asked.kind != EffectKind::Cancel => Outcome::Refused(NotGranted::TAKEN),
        (Some(_), true) => Outcome::Review { why: "refused_by_calcom" },
        (None, true) => Outcome::Never,
        (answered, false) => Outcome::Unknown { answered },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BookingStatus::{Accepted, Cancelled, Pending, Rejected};
    use EffectKind::{Cancel, Create, Reschedule};
    use uuid::Uuid;

    const DELTA: TimeDelta = TimeDelta::seconds(90);
    /// What every op of these tests asks for, and where its target stood before.
    const ASKED: i64 = 5_000;
    const BEFORE: i64 = 4_000;
    const FOREIGN: i64 = 9_000;
    const TAKEN: Outcome = Outcome::Refused(NotGranted::TAKEN);

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn uid(name: &str) -> BookingUid {
        BookingUid::from(name.to_owned())
    }

    fn ask(kind: EffectKind, answered: Option<u16>, past: Past) -> Asked {
        Asked {
            kind,
            lineage: Lineage(Uuid::from_u128(1)),
            starts_at: (kind != Cancel).then(|| at(ASKED)),
            sent_at: at(0),
            answered,
            evidence: None,
            past,
            made: vec![uid("old")],
            aimed_at: vec![uid("called off")],
        }
    }

    fn booking(name: &str, status: BookingStatus, start: i64) -> Booking {
        Booking {
            uid: uid(name),
            status,
            start: at(start),
            end: at(start + 1_800),
            event_type_id: 7,
            host_id: Some(1),
            created_at: at(1),
            updated_at: None,
            marker: Some(Uuid::from_u128(1)),
            rescheduled_to: None,
            rescheduled_from: None,
        }
    }

    fn chain(bookings: &[(&str, BookingStatus, i64)]) -> Chain {
        let mut bookings = bookings.iter().map(|(name, status, start)| booking(name, status.clone(), *start));
        Chain { first: bookings.next().unwrap(), moves: bookings.collect() }
    }

    fn applied(name: &str, status: BookingStatus, start: i64, spares: &[&str]) -> Outcome {
        let spares = spares.iter().map(|name| uid(name)).collect();
        Outcome::Applied { booking: booking(name, status, start), spares }
    }

    fn overtaken(made: Option<&str>, by: Elsewhere) -> Outcome {
        Outcome::Overtaken { made: made.map(uid), by }
    }

    fn open(answered: Option<u16>) -> Outcome {
        Outcome::Unknown { answered }
    }

    /// The four situations in which a look can find an op: (Cal.com's answer, segment's past, when the look began).
    const UNANSWERED: (Option<u16>, Past, i64) = (None, Past::Clean, 89);
    const ANSWERED: (Option<u16>, Past, i64) = (Some(409), Past::Clean, 1);
    const ANSWERED_AFTER_DOUBT: (Option<u16>, Past, i64) = (Some(409), Past::Ambiguous, 89);
    const OVER: (Option<u16>, Past, i64) = (None, Past::Ambiguous, 90);
    const OVER_ANSWERED: (Option<u16>, Past, i64) = (Some(409), Past::Ambiguous, 90);

    fn decided(kind: EffectKind, (answered, past, began): (Option<u16>, Past, i64), sight: Sight) -> Outcome {
        resolve(&ask(kind, answered, past), sight, at(began), DELTA)
    }

    const ALL: [(Option<u16>, Past, i64); 5] = [UNANSWERED, ANSWERED, ANSWERED_AFTER_DOUBT, OVER, OVER_ANSWERED];

    #[test]
    fn a_create_with_one_living_booking_is_adopted_in_every_situation() {
        for when in ALL {
            for status in [Accepted, Pending] {
                let seen = Sight::Listed(vec![chain(&[("a", status.clone(), ASKED)])]);
                assert_eq!(decided(Create, when, seen), applied("a", status, ASKED, &[]), "{when:?}");
            }
        }
    }

    #[test]
    fn of_several_the_one_we_were_told_is_kept_else_the_oldest() {
        let mut younger = chain(&[("younger", Accepted, ASKED)]);
        younger.first.created_at = at(9);
        let gone = chain(&[("gone", Cancelled, ASKED)]);
        let seen = vec![younger, chain(&[("older", Pending, ASKED)]), gone];
        for when in ALL {
            let outcome = decided(Create, when, Sight::Listed(seen.clone()));
            assert_eq!(outcome, applied("older", Pending, ASKED, &["younger"]), "{when:?}");
        }
        let told = Asked { evidence: Some(uid("younger")), ..ask(Create, None, Past::Ambiguous) };
        let Outcome::Applied { booking, spares } = resolve(&told, Sight::Listed(seen), at(1), DELTA) else { panic!() };
        assert_eq!((booking.uid, spares), (uid("younger"), vec![uid("older")]));
    }

    #[test]
    fn a_create_that_others_went_on_from_is_overtaken_at_once() {
        let moved = booking("b", Accepted, FOREIGN);
        let cells = [
            (vec![("a", Cancelled, ASKED)], Elsewhere::Cancelled),
            (vec![("a", Rejected, ASKED)], Elsewhere::Declined),
            (vec![("a", Cancelled, ASKED), ("b", Accepted, FOREIGN)], Elsewhere::Moved(moved)),
            (vec![("a", Cancelled, ASKED), ("b", Cancelled, FOREIGN)], Elsewhere::Cancelled),
        ];
        for (bookings, by) in cells {
            for when in ALL {
                let outcome = decided(Create, when, Sight::Listed(vec![chain(&bookings)]));
                assert_eq!(outcome, overtaken(Some("a"), by.clone()), "{bookings:?} {when:?}");
            }
        }
    }

    #[test]
    fn a_create_does_not_see_what_is_not_its_own() {
        let (mut unmarked, mut forged) = (chain(&[("x", Accepted, ASKED)]), chain(&[("y", Accepted, ASKED)]));
        // A marker whose MAC is wrong reads as none; a valid one of another segment is that one's.
        unmarked.first.marker = None;
        forged.first.marker = Some(Uuid::from_u128(2));
        let elsewhere = chain(&[("z", Accepted, FOREIGN)]);
        let called_off = chain(&[("called off", Accepted, ASKED)]);
        let made_before = chain(&[("old", Cancelled, ASKED)]);
        for seen in [vec![], vec![unmarked], vec![forged], vec![elsewhere], vec![called_off], vec![made_before]] {
            let sight = || Sight::Listed(seen.clone());
            assert_eq!(decided(Create, UNANSWERED, sight()), open(None));
            assert_eq!(decided(Create, ANSWERED, sight()), TAKEN);
            assert_eq!(decided(Create, ANSWERED_AFTER_DOUBT, sight()), open(Some(409)));
            assert_eq!(decided(Create, OVER, sight()), Outcome::Never);
            assert_eq!(decided(Create, OVER_ANSWERED, sight()), TAKEN);
        }
    }

    #[test]
    fn what_was_believed_to_be_gone_and_lives_is_ours_again() {
        for when in ALL {
            let seen = Sight::Listed(vec![chain(&[("old", Accepted, ASKED)])]);
            assert_eq!(decided(Create, when, seen), applied("old", Accepted, ASKED, &[]), "{when:?}");
            let both = vec![chain(&[("old", Accepted, ASKED)]), chain(&[("new", Accepted, ASKED)])];
            assert_eq!(
                decided(Create, when, Sight::Listed(both)),
                applied("new", Accepted, ASKED, &["old"]),
                "{when:?}"
            );
        }
    }

    #[test]
    fn what_was_moved_to_the_time_that_was_asked_for_was_not_made_there() {
        let there_and_back = [("b", Cancelled, ASKED), ("c", Cancelled, FOREIGN), ("d", Accepted, ASKED)];
        let mut back = chain(&there_and_back[2..]);
        back.first.rescheduled_from = Some(uid("c"));
        let seen = Sight::Listed(vec![back, chain(&there_and_back)]);
        let by = Elsewhere::Moved(booking("d", Accepted, ASKED));
        let overtaken = Outcome::Overtaken { made: Some(uid("b")), by };
        assert_eq!(decided(Create, UNANSWERED, seen), overtaken, "and nothing of it is spare");
    }

    #[test]
    fn a_self_conflict_is_never_a_refusal() {
        for answered in [400, 409] {
            for past in [Past::Clean, Past::Ambiguous] {
                let seen = Sight::Listed(vec![chain(&[("a", Accepted, ASKED)])]);
                assert_eq!(decided(Create, (Some(answered), past, 1), seen), applied("a", Accepted, ASKED, &[]));
            }
        }
    }

    #[test]
    fn a_reschedule_is_applied_where_its_target_was_moved_as_asked() {
        for when in ALL {
            for status in [Accepted, Pending] {
                let seen = chain(&[("a", Cancelled, BEFORE), ("b", status.clone(), ASKED)]);
                let outcome = decided(Reschedule, when, Sight::Target(Some(seen)));
                assert_eq!(outcome, applied("b", status, ASKED, &[]), "{when:?}");
            }
            let further = chain(&[("a", Cancelled, BEFORE), ("b", Cancelled, ASKED), ("c", Accepted, FOREIGN)]);
            let by = Elsewhere::Moved(booking("c", Accepted, FOREIGN));
            assert_eq!(decided(Reschedule, when, Sight::Target(Some(further))), overtaken(Some("b"), by), "{when:?}");
            let called_off = chain(&[("a", Cancelled, BEFORE), ("b", Cancelled, ASKED)]);
            let outcome = decided(Reschedule, when, Sight::Target(Some(called_off)));
            assert_eq!(outcome, overtaken(Some("b"), Elsewhere::Cancelled), "{when:?}");
        }
    }

    #[test]
    fn a_reschedule_is_overtaken_only_when_it_can_have_no_effect_any_more() {
        let moved = booking("c", Accepted, FOREIGN);
        let cells = [
            (Some(chain(&[("a", Cancelled, BEFORE)])), Elsewhere::Cancelled),
            (Some(chain(&[("a", Rejected, BEFORE)])), Elsewhere::Declined),
            (Some(chain(&[("a", Cancelled, BEFORE), ("c", Accepted, FOREIGN)])), Elsewhere::Moved(moved)),
            (Some(chain(&[("a", Cancelled, BEFORE), ("c", Cancelled, FOREIGN)])), Elsewhere::Cancelled),
            (None, Elsewhere::Vanished),
        ];
        for (seen, by) in cells {
            let outcome = |when| decided(Reschedule, when, Sight::Target(seen.clone()));
            assert_eq!(outcome(UNANSWERED), open(None));
            assert_eq!(outcome(ANSWERED_AFTER_DOUBT), open(Some(409)));
            let at_once = if seen.is_some() { overtaken(None, by.clone()) } else { open(Some(409)) };
            assert_eq!(outcome(ANSWERED), at_once, "{by:?}");
            assert_eq!(outcome(OVER), overtaken(None, by.clone()));
            assert_eq!(outcome(OVER_ANSWERED), overtaken(None, by));
        }
    }

    #[test]
    fn a_reschedule_whose_target_stands_as_it_stood() {
        for status in [Accepted, Pending] {
            let outcome =
                |when| decided(Reschedule, when, Sight::Target(Some(chain(&[("a", status.clone(), BEFORE)]))));
            assert_eq!(outcome(UNANSWERED), open(None));
            assert_eq!(outcome(ANSWERED), TAKEN);
            assert_eq!(outcome(ANSWERED_AFTER_DOUBT), open(Some(409)));
            assert_eq!(outcome(OVER), Outcome::Never);
            assert_eq!(outcome(OVER_ANSWERED), TAKEN);
        }
    }

    #[test]
    fn a_cancel_is_done_when_its_target_and_what_it_was_moved_to_are_gone() {
        let gone = [
            vec![("a", Cancelled, BEFORE)],
            vec![("a", Rejected, BEFORE)],
            vec![("a", Cancelled, BEFORE), ("b", Cancelled, FOREIGN)],
        ];
        for bookings in gone {
            for when in ALL {
                assert_eq!(decided(Cancel, when, Sight::Target(Some(chain(&bookings)))), Outcome::Gone, "{when:?}");
            }
        }
        let unknown_there = |when| decided(Cancel, when, Sight::Target(None));
        assert_eq!(unknown_there(UNANSWERED), open(None), "a replica may not have it yet");
        assert_eq!(unknown_there((Some(404), Past::Clean, 1)), open(Some(404)));
        assert_eq!(unknown_there(OVER), Outcome::Gone);
    }

    #[test]
    fn a_cancel_whose_target_lives() {
        let refused = Outcome::Review { why: "refused_by_calcom" };
        let outcome = |when| decided(Cancel, when, Sight::Target(Some(chain(&[("a", Accepted, BEFORE)]))));
        assert_eq!(outcome(UNANSWERED), open(None));
        assert_eq!(outcome(OVER), Outcome::Never);
        assert_eq!(outcome((Some(400), Past::Clean, 1)), refused);
        assert_eq!(outcome((Some(400), Past::Ambiguous, 89)), open(Some(400)));
        assert_eq!(outcome((Some(400), Past::Ambiguous, 90)), refused);
        // The replica lags behind what Cal.com itself has said.
        assert_eq!(outcome((Some(ALREADY_CANCELLED), Past::Clean, 1)), Outcome::Gone);
        assert_eq!(outcome((Some(ALREADY_CANCELLED), Past::Ambiguous, 89)), open(Some(ALREADY_CANCELLED)));
    }

    #[test]
    fn a_cancel_whose_target_was_moved_aims_at_where_it_is_now() {
        let seen = || Sight::Target(Some(chain(&[("a", Cancelled, BEFORE), ("b", Accepted, FOREIGN)])));
        let moved = overtaken(None, Elsewhere::Moved(booking("b", Accepted, FOREIGN)));
        assert_eq!(decided(Cancel, UNANSWERED, seen()), open(None));
        assert_eq!(decided(Cancel, (Some(ALREADY_CANCELLED), Past::Clean, 1), seen()), moved);
        assert_eq!(decided(Cancel, OVER, seen()), moved);
    }

    #[test]
    fn a_word_that_we_do_not_know_goes_to_a_person_in_every_situation() {
        for when in ALL {
            let strange = || chain(&[("a", BookingStatus::Unknown, ASKED)]);
            assert_eq!(decided(Create, when, Sight::Listed(vec![strange()])), STRANGE);
            for kind in [Reschedule, Cancel] {
                assert_eq!(decided(kind, when, Sight::Target(Some(strange()))), STRANGE);
            }
        }
    }
}
