//! What others have done to a segment's bookings: the decision after a look that nobody's op asked for, pure.
//!
//! A webhook or a sweep only says where to look. What was read is the truth, unless it is older than the hint: reads
//! come from a replica, and Cal.com announces a cancellation before it writes it.

use crate::answer::{Booking, BookingStatus, BookingUid};
use crate::appointment::{Status, Sync};
use crate::effect::Segment;
use crate::outcome::Elsewhere;
use crate::resolve::Chain;
use chrono::{DateTime, Utc};

/// Whose word counts when the business cancels or moves a booking of ours at Cal.com.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ExternalChanges {
    /// The appointment follows.
    ExternalWins,
    /// Cal.com is put back to what the customer was promised.
    OursWins,
    /// A person decides.
    Review,
}

impl ExternalChanges {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::ExternalWins, Self::OursWins, Self::Review];

    /// Its word in SQL, in files and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExternalWins => "external_wins",
            Self::OursWins => "ours_wins",
            Self::Review => "review",
        }
    }

    /// Reads its word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == word)
    }
}

/// What a hint says of a booking. Never believed, but a reading that has not got so far is made again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hint {
    /// The booking to be read.
    pub uid: BookingUid,
    /// What it is said to be; `None` = the hint does not say.
    pub status: Option<BookingStatus>,
    /// When it is said to begin.
    pub start: Option<DateTime<Utc>>,
}

impl Hint {
    /// Does it only tell what the record has already? Then our own op did that, or we have read it before. `ended`: the
    /// bookings that ops of ours have called off or moved.
    pub fn is_known(&self, segment: &Segment, ended: &[BookingUid]) -> bool {
        if ended.contains(&self.uid) {
            return true;
        }
        let Some(live) = segment.live.as_ref().filter(|live| live.uid == self.uid) else { return false };
        let recorded = match segment.sync {
            Sync::AwaitingConfirmation => BookingStatus::Pending,
            Sync::Pending | Sync::InFlight | Sync::Synced | Sync::Unknown | Sync::NeedsReview | Sync::Orphaned => {
                BookingStatus::Accepted
            }
        };
        self.status == Some(recorded) && self.start == Some(live.during.start())
    }

    /// Is what was read older than the hint?
    pub fn is_ahead_of(&self, read: Option<&Chain>) -> bool {
        match (&self.status, read) {
            // It may say just that: it is not there.
            (None, _) => false,
            (Some(_), None) => true,
            (Some(BookingStatus::Cancelled | BookingStatus::Rejected), Some(chain)) => chain.first.lives(),
            (Some(BookingStatus::Accepted), Some(chain)) => chain.first.status == BookingStatus::Pending,
            (Some(BookingStatus::Pending | BookingStatus::Unknown), Some(_)) => false,
        }
    }
}

/// What was read of a segment's bookings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Read {
    /// Under each uid that was asked for, what Cal.com has; `None` = it knows none.
    pub bookings: Vec<(BookingUid, Option<Chain>)>,
}

impl Read {
    /// What was read under this uid.
    pub fn of(&self, uid: &BookingUid) -> Option<&Chain> {
        self.bookings.iter().find(|(asked, _)| asked == uid).and_then(|(_, chain)| chain.as_ref())
    }

    /// Was a booking read before it was moved, and what it was moved to after that? Then these readings are not of one
    /// moment, and only the later one is true.
    pub fn is_torn(&self) -> bool {
        self.ends().any(|end| end.lives() && self.stands_earlier(end))
    }

    /// What is still to be read before a living booking can be told from what the recorded one has become: where it was
    /// moved from.
    pub fn unread_origin(&self, recorded: Option<&BookingUid>) -> Option<&BookingUid> {
        let recorded = recorded.and_then(|uid| self.of(uid)).map(Chain::end);
        let others = self.ends().filter(|b| b.lives() && b.marker.is_some() && Some(*b) != recorded);
        others.filter_map(|b| self.origins(b).last()).find(|uid| !self.has_read(uid))
    }

    /// Where a booking was moved from, the latest place first, as far as it was read and one further.
    fn origins<'a>(&'a self, booking: &'a Booking) -> impl Iterator<Item = &'a BookingUid> {
        let before = |uid: &&'a BookingUid| self.all().find(|b| b.uid == **uid)?.rescheduled_from.as_ref();
        std::iter::successors(booking.rescheduled_from.as_ref(), before).take(self.all().count() + 1)
    }

    /// Does another reading say that it stands where it was before?
    fn stands_earlier(&self, booking: &Booking) -> bool {
        self.origins(booking).any(|uid| self.all().any(|b| b.uid == *uid && b.lives()))
    }

    /// Was it asked for, or met on the way?
    fn has_read(&self, uid: &BookingUid) -> bool {
        self.all().any(|b| b.uid == *uid) || self.bookings.iter().any(|(asked, _)| asked == uid)
    }

    fn all(&self) -> impl Iterator<Item = &Booking> {
        let chains = self.bookings.iter().filter_map(|(_, chain)| chain.as_ref());
        chains.flat_map(|chain| std::iter::once(&chain.first).chain(&chain.moves))
    }

    fn ends(&self) -> impl Iterator<Item = &Booking> {
        self.bookings.iter().filter_map(|(_, chain)| chain.as_ref().map(Chain::end))
    }

    /// What was read besides the segment's own bookings: they are none of it, whatever the hint has claimed.
    pub fn others<'a>(&'a self, segment: &'a Segment) -> impl Iterator<Item = &'a Booking> {
        let recorded = segment.live.as_ref().map(|live| &live.uid);
        let of_it = recorded.and_then(|uid| self.of(uid));
        let moves = of_it.map(|chain| chain.moves.as_slice()).unwrap_or_default();
        self.ends().filter(move |b| {
            b.marker != Some(segment.lineage.0) && Some(&b.uid) != recorded && moves.iter().all(|own| own.uid != b.uid)
        })
    }
}

/// What follows from a reading, with no op unresolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Observed {
    /// The record is right.
    Same {
        /// The business has still to confirm it.
        awaits: bool,
    },
    /// Somebody else has changed the segment's booking.
    Changed(Elsewhere),
    /// A person must look.
    Strange {
        /// A short word for history and metrics.
        why: &'static str,
    },
}

/// What has become of the segment's booking. `settled`: the segment's last request to Cal.com lies more than Δ back, so that
/// a booking that is not there has not just been made.
pub fn observe(status: Status, segment: &Segment, read: &Read, settled: bool) -> Observed {
    let as_before = Observed::Same { awaits: segment.sync == Sync::AwaitingConfirmation };
    let Some(live) = &segment.live else {
        let wanted = status.wants_booking() == Some(true);
        let found = living(segment, read).find(|b| wanted && b.start == segment.promised.during.start());
        return found.map_or(as_before, |b| Observed::Changed(Elsewhere::Moved(b.clone())));
    };
    let Some(chain) = read.of(&live.uid) else {
        let asked = read.bookings.iter().any(|(uid, _)| *uid == live.uid);
        let gone = asked && settled;
        return if gone { Observed::Changed(Elsewhere::Vanished) } else { as_before };
    };
    let end = chain.end();
    let in_place = chain.moves.is_empty() && end.start == live.during.start();
    match end.status {
        BookingStatus::Cancelled => Observed::Changed(Elsewhere::Cancelled),
        BookingStatus::Rejected => Observed::Changed(Elsewhere::Declined),
        BookingStatus::Unknown => Observed::Strange { why: "unknown_booking_status" },
        BookingStatus::Accepted | BookingStatus::Pending if !in_place => {
            Observed::Changed(Elsewhere::Moved(end.clone()))
        }
        BookingStatus::Accepted | BookingStatus::Pending if is_anothers(end, segment) => {
            Observed::Strange { why: "host_changed" }
        }
        BookingStatus::Accepted => Observed::Same { awaits: false },
        BookingStatus::Pending => Observed::Same { awaits: true },
    }
}

/// Bookings that live, bear the segment's marker and are neither recorded nor what the recorded one has become. To call one
/// off cannot be undone: there is none in a torn reading, and none of whose past a part was not read.
pub fn spares(segment: &Segment, read: &Read, owned: Option<&BookingUid>) -> Vec<BookingUid> {
    if read.is_torn() {
        return vec![];
    }
    let known = |b: &Booking| read.origins(b).all(|uid| read.has_read(uid) && Some(uid) != owned);
    let ours = living(segment, read).filter(|b| Some(&b.uid) != owned && known(b));
    let mut spares: Vec<BookingUid> = ours.map(|b| b.uid.clone()).collect();
    spares.sort_by(|a, b| a.expose().cmp(b.expose()));
    spares.dedup();
    spares
}

/// Is its host somebody else than the one whose time it takes? A host that Cal.com does not name is not.
pub fn is_anothers(booking: &Booking, segment: &Segment) -> bool {
    booking.host_id.is_some_and(|host| host != segment.promised.host_id)
}

fn living<'a>(segment: &'a Segment, read: &'a Read) -> impl Iterator<Item = &'a Booking> {
    read.ends().filter(|b| b.lives() && b.marker == Some(segment.lineage.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::{Live, Promised};
    use crate::id::{Lineage, SlotId};
    use crate::slot::TimeRange;
    use BookingStatus::{Accepted, Cancelled, Pending, Rejected};
    use chrono::TimeDelta;
    use uuid::Uuid;

    const PROMISED: i64 = 5_000;
    const FOREIGN: i64 = 9_000;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn uid(name: &str) -> BookingUid {
        BookingUid::from(name.to_owned())
    }

    fn segment(live: Option<&str>) -> Segment {
        let during = TimeRange::new(at(PROMISED), at(PROMISED + 1_800)).unwrap();
        let slot = SlotId(Uuid::from_u128(1));
        Segment {
            no: 1,
            lineage: Lineage(Uuid::from_u128(1)),
            promised: Promised { slot, during, event_type_id: 7, host_id: 1 },
            live: live.map(|name| Live { uid: uid(name), slot, during }),
            spares: vec![],
            sync: Sync::Synced,
            held: false,
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

    fn read(chains: &[&[(&str, BookingStatus, i64)]]) -> Read {
        let bookings = chains.iter().map(|chain| {
            let mut bookings = chain.iter().map(|(name, status, start)| booking(name, status.clone(), *start));
            let first = bookings.next().unwrap();
            (first.uid.clone(), Some(Chain { first, moves: bookings.collect() }))
        });
        Read { bookings: bookings.collect() }
    }

    fn now(read: &Read) -> Observed {
        observe(Status::Scheduled, &segment(Some("a")), read, true)
    }

    #[test]
    fn what_has_become_of_a_recorded_booking() {
        let moved = |name, start| Observed::Changed(Elsewhere::Moved(booking(name, Accepted, start)));
        let cells = [
            (read(&[&[("a", Accepted, PROMISED)]]), Observed::Same { awaits: false }),
            (read(&[&[("a", Pending, PROMISED)]]), Observed::Same { awaits: true }),
            (read(&[&[("a", Cancelled, PROMISED)]]), Observed::Changed(Elsewhere::Cancelled)),
            (read(&[&[("a", Rejected, PROMISED)]]), Observed::Changed(Elsewhere::Declined)),
            (read(&[&[("a", Accepted, FOREIGN)]]), moved("a", FOREIGN)),
            (read(&[&[("a", Cancelled, PROMISED), ("b", Accepted, FOREIGN)]]), moved("b", FOREIGN)),
            (
                read(&[&[("a", Cancelled, PROMISED), ("b", Cancelled, FOREIGN)]]),
                Observed::Changed(Elsewhere::Cancelled),
            ),
            (read(&[&[("a", BookingStatus::Unknown, PROMISED)]]), Observed::Strange { why: "unknown_booking_status" }),
        ];
        for (read, observed) in cells {
            assert_eq!(now(&read), observed, "{read:?}");
        }
        let mut reassigned = booking("a", Accepted, PROMISED);
        reassigned.host_id = Some(2);
        let read = Read { bookings: vec![(uid("a"), Some(Chain::of(reassigned)))] };
        assert_eq!(now(&read), Observed::Strange { why: "host_changed" });
    }

    #[test]
    fn what_is_not_there_has_vanished_only_when_nothing_was_asked_for_lately() {
        let missing = Read { bookings: vec![(uid("a"), None)] };
        let observed = |settled| observe(Status::Scheduled, &segment(Some("a")), &missing, settled);
        assert_eq!(observed(true), Observed::Changed(Elsewhere::Vanished));
        assert_eq!(observed(false), Observed::Same { awaits: false });
        assert_eq!(now(&Read::default()), Observed::Same { awaits: false }, "what was not read says nothing");
    }

    #[test]
    fn what_lives_unrecorded_is_adopted_where_it_was_promised_and_spare_elsewhere() {
        let (here, there) = (read(&[&[("b", Accepted, PROMISED)]]), read(&[&[("b", Accepted, FOREIGN)]]));
        let none = segment(None);
        let adopted = Observed::Changed(Elsewhere::Moved(booking("b", Accepted, PROMISED)));
        assert_eq!(observe(Status::Requested, &none, &here, true), adopted);
        for (status, read) in [(Status::Cancelled, &here), (Status::Scheduled, &there)] {
            assert_eq!(observe(status, &none, read, true), Observed::Same { awaits: false });
            assert_eq!(spares(&none, read, None), vec![uid("b")]);
        }
        assert_eq!(spares(&none, &here, Some(&uid("b"))), vec![]);
        let mut foreign = booking("c", Accepted, PROMISED);
        foreign.marker = None;
        let read = Read { bookings: vec![(uid("c"), Some(Chain::of(foreign)))] };
        assert_eq!(spares(&none, &read, None), vec![], "without our marker it is nobody's spare");
    }

    #[test]
    fn a_hint_is_known_ahead_or_answered() {
        let hint = |name, status, start: i64| Hint { uid: uid(name), status, start: Some(at(start)) };
        let segment = segment(Some("a"));
        assert!(hint("a", Some(Accepted), PROMISED).is_known(&segment, &[]));
        for other in [
            hint("a", Some(Accepted), FOREIGN),
            hint("a", Some(Cancelled), PROMISED),
            hint("b", Some(Accepted), PROMISED),
            hint("a", None, PROMISED),
        ] {
            assert!(!other.is_known(&segment, &[]), "{other:?}");
        }
        assert!(hint("b", Some(Cancelled), PROMISED).is_known(&segment, &[uid("b")]));
        let mut awaits = segment.clone();
        awaits.sync = Sync::AwaitingConfirmation;
        assert!(hint("a", Some(Pending), PROMISED).is_known(&awaits, &[]));
        assert!(!hint("a", Some(Accepted), PROMISED).is_known(&awaits, &[]), "it has been confirmed");
        assert!(!hint("a", Some(Pending), PROMISED).is_known(&segment, &[]));
        let still = Chain::of(booking("a", Accepted, PROMISED));
        let gone = Chain::of(booking("a", Cancelled, PROMISED));
        assert!(hint("a", Some(Cancelled), PROMISED).is_ahead_of(Some(&still)));
        assert!(!hint("a", Some(Cancelled), PROMISED).is_ahead_of(Some(&gone)));
        assert!(!hint("a", Some(Accepted), PROMISED).is_ahead_of(Some(&gone)), "an older hint than what was read");
        assert!(hint("b", Some(Accepted), PROMISED).is_ahead_of(None));
        assert!(!hint("b", None, PROMISED).is_ahead_of(None), "that it is not there may be what it says");
    }

    /// A booking and what it was moved to, one after the other; all but the last are cancelled.
    fn moves(names: &[&'static str]) -> Chain {
        let mut bookings: Vec<Booking> = names.iter().map(|name| booking(name, Cancelled, PROMISED)).collect();
        for n in 1..bookings.len() {
            bookings[n].rescheduled_from = Some(bookings[n - 1].uid.clone());
            bookings[n - 1].rescheduled_to = Some(bookings[n].uid.clone());
        }
        bookings.last_mut().unwrap().status = Accepted;
        Chain { first: bookings.remove(0), moves: bookings }
    }

    fn from(origin: &'static str, mut chain: Chain) -> Chain {
        chain.first.rescheduled_from = Some(uid(origin));
        chain
    }

    fn readings(chains: &[Chain]) -> Read {
        Read { bookings: chains.iter().map(|chain| (chain.first.uid.clone(), Some(chain.clone()))).collect() }
    }

    #[test]
    fn readings_of_two_moments_call_nothing_off() {
        let torn = [
            readings(&[moves(&["a"]), from("a", moves(&["b"]))]),
            readings(&[moves(&["a", "b"]), from("b", moves(&["c"]))]),
            readings(&[moves(&["a", "b"]), from("a", moves(&["b", "c"]))]),
            readings(&[moves(&["a", "b"]), from("a", moves(&["b", "c", "d"]))]),
            readings(&[moves(&["a", "b"]), from("b", moves(&["c", "d"]))]),
        ];
        for read in torn {
            assert!(read.is_torn(), "{read:?}");
            for owned in ["a", "b"] {
                let spares = spares(&segment(Some("a")), &read, Some(&uid(owned)));
                assert_eq!(spares, vec![], "the business has moved it there: {read:?}");
            }
        }
        let whole = readings(&[moves(&["a", "b", "c"]), from("b", moves(&["c"])), from("a", moves(&["b", "c"]))]);
        assert!(!whole.is_torn());
        assert_eq!(spares(&segment(Some("a")), &whole, Some(&uid("c"))), vec![]);
    }

    #[test]
    fn what_a_booking_was_before_is_read_before_it_is_called_off() {
        let mut read = readings(&[moves(&["a"]), from("b", moves(&["c"]))]);
        let (segment, a) = (segment(Some("a")), uid("a"));
        assert_eq!(read.unread_origin(Some(&a)), Some(&uid("b")));
        assert_eq!(spares(&segment, &read, Some(&a)), vec![], "b may have been a");
        read.bookings.push((uid("b"), Some(from("a", moves(&["b", "c"])))));
        assert_eq!(read.unread_origin(Some(&a)), None);
        assert!(read.is_torn(), "and it was");

        read.bookings[2].1 = Some(moves(&["b", "c"]));
        assert_eq!((read.unread_origin(Some(&a)), read.is_torn()), (None, false));
        assert_eq!(spares(&segment, &read, Some(&a)), vec![uid("c")], "b was made beside a");
        read.bookings[2].1 = None;
        assert_eq!(spares(&segment, &read, Some(&a)), vec![uid("c")], "Cal.com knows b no more, and a stands");

        let recorded = readings(&[from("x", moves(&["a"]))]);
        assert_eq!(recorded.unread_origin(Some(&a)), None, "what is recorded is ours, wherever it was");
    }

    #[test]
    fn what_only_claims_to_be_ours_is_of_others() {
        let mut foreign = booking("x", Accepted, FOREIGN);
        foreign.marker = None;
        let mut unmarked = booking("b", Accepted, FOREIGN);
        unmarked.marker = None;
        let own = Chain { first: booking("a", Cancelled, PROMISED), moves: vec![unmarked.clone()] };
        let chains = [("a", own), ("b", Chain::of(unmarked)), ("x", Chain::of(foreign.clone()))];
        let read = Read { bookings: chains.map(|(name, chain)| (uid(name), Some(chain))).to_vec() };
        let segment = segment(Some("a"));
        assert_eq!(
            read.others(&segment).collect::<Vec<_>>(),
            [&foreign],
            "moved from the booking page it has no marker"
        );
    }

    #[test]
    fn words_are_read_back() {
        assert!(ExternalChanges::ALL.into_iter().all(|p| ExternalChanges::parse(p.as_str()) == Some(p)));
    }
}
