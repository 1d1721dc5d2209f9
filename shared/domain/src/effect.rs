//! The one question every booking and sync job asks under the appointment's lock: what brings Cal.com nearer to the
//! promise? Level-triggered: it compares states and knows nothing of the commands that led there.

use crate::answer::BookingUid;
use crate::appointment::{Status, Sync};
use crate::id::{Lineage, SlotId};
use crate::slot::TimeRange;

/// One segment as the lock holder read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// 1-based; a plain appointment has one.
    pub no: i16,
    /// What the marker of its bookings carries.
    pub lineage: Lineage,
    /// Where it was promised.
    pub promised: Promised,
    /// The booking we have recorded at Cal.com, if any.
    pub live: Option<Live>,
    /// Bookings at Cal.com that live, bear its marker and are owned by no promise: to be called off.
    pub spares: Vec<BookingUid>,
    /// What we know of Cal.com's side.
    pub sync: Sync,
    /// A person decides what becomes of its booking: for this version of the promise nothing is done.
    pub held: bool,
}

/// What the customer was promised of one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Promised {
    /// The slot that occupies the staff member for it.
    pub slot: SlotId,
    /// When.
    pub during: TimeRange,
    /// Whose event type it is; it maps to exactly one staff member.
    pub event_type_id: i64,
    /// That staff member at Cal.com.
    pub host_id: i64,
}

/// A booking at Cal.com that we own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Live {
    /// Its capability.
    pub uid: BookingUid,
    /// The slot it stands on.
    pub slot: SlotId,
    /// When.
    pub during: TimeRange,
}

/// The kind of an effect, and of the op that is its intent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EffectKind {
    /// A new booking.
    Create,
    /// Call a booking off.
    Cancel,
    /// Move a booking.
    Reschedule,
}

impl EffectKind {
    /// Its word in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Cancel => "cancel",
            Self::Reschedule => "reschedule",
        }
    }

    /// Reads its word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Create, Self::Cancel, Self::Reschedule].into_iter().find(|k| k.as_str() == word)
    }
}

/// One effect on one segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effect {
    /// Which segment.
    pub segment_no: i16,
    /// What is to be done.
    pub kind: EffectKind,
    /// With which booking; `None` for a create.
    pub target: Option<BookingUid>,
}

/// The next effect that brings Cal.com nearer to the promise; `None` when they agree. Segments go one after another,
/// and in each the spares go first: one of them may stand where the promise wants to be.
pub fn next_effect(status: Status, segments: &[Segment]) -> Option<Effect> {
    let wanted = status.wants_booking()?;
    segments.iter().find_map(|segment| {
        let (kind, target) = match (segment.spares.first(), wanted, &segment.live) {
            (Some(spare), _, _) => (EffectKind::Cancel, Some(spare)),
            (None, _, _) if segment.held => return None,
            (None, true, None) => (EffectKind::Create, None),
            (None, true, Some(live)) if live.slot != segment.promised.slot => (EffectKind::Reschedule, Some(&live.uid)),
            (None, false, Some(live)) => (EffectKind::Cancel, Some(&live.uid)),
            (None, true, Some(_)) | (None, false, None) => return None,
        };
        Some(Effect { segment_no: segment.no, kind, target: target.cloned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeDelta};
    use uuid::Uuid;

    fn segment(promised: u128, live: Option<u128>) -> Segment {
        let start = DateTime::UNIX_EPOCH;
        Segment {
            no: 1,
            lineage: Lineage(Uuid::from_u128(9)),
            promised: Promised {
                slot: SlotId(Uuid::from_u128(promised)),
                during: TimeRange::new(start, start + TimeDelta::minutes(30)).unwrap(),
                event_type_id: 7,
                host_id: 1,
            },
            spares: vec![],
            live: live.map(|slot| Live {
                uid: BookingUid::from("u".to_owned()),
                slot: SlotId(Uuid::from_u128(slot)),
                during: TimeRange::new(start, start + TimeDelta::minutes(30)).unwrap(),
            }),
            sync: Sync::Pending,
            held: false,
        }
    }

    #[test]
    fn the_whole_table() {
        use EffectKind::*;
        for status in Status::ALL {
            let table = [(None, 0), (Some(1), 1), (Some(2), 2)]
                .map(|(live, _)| next_effect(status, &[segment(1, live)]).map(|effect| effect.kind));
            let wanted = match status {
                Status::Requested | Status::Scheduled => [Some(Create), None, Some(Reschedule)],
                Status::Cancelled | Status::Rejected => [None, Some(Cancel), Some(Cancel)],
                Status::Completed | Status::NoShow => [None, None, None],
            };
            assert_eq!(table, wanted, "{status:?}");
        }
    }

    #[test]
    fn segments_go_one_after_another() {
        let mut second = segment(1, None);
        second.no = 2;
        let first_open = next_effect(Status::Requested, &[segment(1, Some(1)), second.clone()]);
        assert_eq!(first_open, Some(Effect { segment_no: 2, kind: EffectKind::Create, target: None }));
        assert_eq!(next_effect(Status::Requested, &[segment(1, None), second]).unwrap().segment_no, 1);
    }

    #[test]
    fn nothing_is_done_with_what_is_held_for_a_person() {
        for status in Status::ALL {
            for live in [None, Some(1), Some(2)] {
                let mut segment = segment(1, live);
                segment.held = true;
                assert_eq!(next_effect(status, &[segment]), None, "{status:?}");
            }
        }
    }

    #[test]
    fn a_spare_goes_before_everything_else_of_its_segment() {
        for status in Status::ALL {
            for live in [None, Some(1), Some(2)] {
                let mut segment = segment(1, live);
                segment.spares = vec![BookingUid::from("spare".to_owned())];
                let target = segment.spares.first().cloned();
                let wanted = Effect { segment_no: 1, kind: EffectKind::Cancel, target };
                segment.held = true;
                assert_eq!(next_effect(status, &[segment]), status.wants_booking().map(|_| wanted), "{status:?}");
            }
        }
    }
}
