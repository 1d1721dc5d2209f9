//! Jobs: kinds, keys, states, and the decision of a claim. A job carries an id and re-reads the world.

use crate::appointment::{Change, Status, Sync};
use crate::budget::Rest;
use crate::effect::{Effect, EffectKind, Segment, next_effect};
use chrono::{DateTime, Utc};

/// Who asked. `booking` and `sync` share one decision.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A new appointment wants its booking.
    Booking,
    /// A promise has changed.
    Sync,
    /// The appointment's facts are newer than the customer's.
    Customer,
    /// Something has happened to a booking at Cal.com: read it.
    CalcomEvent,
    /// Retell has told something of a call.
    Call,
}

impl Kind {
    /// Every kind; a queue is named after its kind.
    pub const ALL: [Self; 5] = [Self::Booking, Self::Sync, Self::Customer, Self::CalcomEvent, Self::Call];

    /// Its word in SQL, JSON and keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Booking => "booking",
            Self::Sync => "sync",
            Self::Customer => "customer",
            Self::CalcomEvent => "calcom_event",
            Self::Call => "call",
        }
    }

    /// Reads its word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == word)
    }
}

/// Where a job stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// Waits for its first run.
    Available,
    /// Waits to run again.
    Retryable,
    /// A worker holds its lease.
    Running,
    /// Done.
    Completed,
    /// Nothing was left to do for it.
    Superseded,
    /// Called off by an operator.
    Cancelled,
    /// Needs a person.
    Parked,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Available,
        Self::Retryable,
        Self::Running,
        Self::Completed,
        Self::Superseded,
        Self::Cancelled,
        Self::Parked,
    ];

    /// Does it hold its key for later?
    pub fn waits(self) -> bool {
        match self {
            Self::Available | Self::Retryable => true,
            Self::Running | Self::Completed | Self::Superseded | Self::Cancelled | Self::Parked => false,
        }
    }

    /// Its word in SQL and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Retryable => "retryable",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
            Self::Parked => "parked",
        }
    }

    /// Reads its word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }
}

/// An op without an end, as a claim meets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenOp {
    /// Is the worker that wrote it still its owner (same fence)?
    pub owned: bool,
    /// Its own next look; `None` = at once.
    pub next_look_at: Option<DateTime<Utc>>,
}

/// Everything a claim reads under the appointment's lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scene<'a> {
    /// The promise.
    pub status: Status,
    /// Its segments, by number.
    pub segments: &'a [Segment],
    /// The one unresolved op, if any.
    pub open: Option<OpenOp>,
    /// A sibling's lease runs until then.
    pub busy_until: Option<DateTime<Utc>>,
    /// Until when the company's key of Cal.com can take nothing of this job.
    pub rest: Rest,
    /// When the appointment starts: nothing is created after.
    pub starts_at: DateTime<Utc>,
    /// The database's clock.
    pub now: DateTime<Utc>,
}

/// What a claim may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Somebody else is at it, or it is too early to look.
    Busy {
        /// Until when; `None` = for an unknown, short time.
        until: Option<DateTime<Utc>>,
    },
    /// Take the ownerless op over and find out what became of it.
    Resolve,
    /// Authorised: write the intent, then act.
    Act(Effect),
    /// Promise and Cal.com agree. `confirm`: the promise becomes `scheduled` by that.
    Agree {
        /// Is this the transaction that confirms the promise?
        confirm: bool,
    },
    /// An effect is due that can no longer be had.
    TooLate,
    /// A person decides what becomes of it.
    Held,
}

/// The decision of a claim, under the appointment's lock.
pub fn decide(scene: Scene<'_>) -> Decision {
    if let Some(until) = scene.busy_until {
        return Decision::Busy { until: Some(until) };
    }
    let resting = |until: Option<DateTime<Utc>>| until.map(|until| Decision::Busy { until: Some(until) });
    if let Some(op) = scene.open {
        return match (op.owned, op.next_look_at) {
            (true, until) => Decision::Busy { until },
            (false, Some(until)) if until > scene.now => Decision::Busy { until: Some(until) },
            (false, _) => resting(scene.rest.look).unwrap_or(Decision::Resolve),
        };
    }
    match next_effect(scene.status, scene.segments) {
        Some(Effect { kind: EffectKind::Create | EffectKind::Reschedule, .. }) if scene.starts_at <= scene.now => {
            Decision::TooLate
        }
        Some(effect) => resting(scene.rest.act).unwrap_or(Decision::Act(effect)),
        None if scene.segments.iter().any(|segment| segment.held) => Decision::Held,
        None => Decision::Agree { confirm: confirms(scene.status, scene.segments) },
    }
}

/// Whoever holds the lock, finds no unresolved op and nothing left to do, and no segment that awaits confirmation,
/// makes a request `scheduled`, whatever the version.
pub fn confirms(status: Status, segments: &[Segment]) -> bool {
    status.after(Change::Confirm).is_ok() && segments.iter().all(|s| s.sync != Sync::AwaitingConfirmation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Promised;
    use crate::id::{Lineage, SlotId};
    use crate::slot::TimeRange;
    use chrono::TimeDelta;
    use uuid::Uuid;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn scene(open: Option<OpenOp>, busy_until: Option<DateTime<Utc>>) -> Scene<'static> {
        Scene {
            status: Status::Cancelled,
            segments: &[],
            open,
            busy_until,
            rest: Rest::default(),
            starts_at: at(1_000),
            now: at(10),
        }
    }

    fn wanting() -> Segment {
        let promised = Promised {
            slot: SlotId(Uuid::from_u128(1)),
            during: TimeRange::new(at(1_000), at(2_800)).unwrap(),
            event_type_id: 7,
            host_id: 1,
        };
        Segment {
            no: 1,
            lineage: Lineage(Uuid::from_u128(9)),
            promised,
            live: None,
            spares: vec![],
            sync: Sync::Pending,
            held: false,
        }
    }

    #[test]
    fn nothing_is_authorised_while_an_op_is_open_or_a_sibling_runs() {
        let open = |owned, next_look_at| Some(OpenOp { owned, next_look_at });
        let table = [
            (scene(None, Some(at(20))), Decision::Busy { until: Some(at(20)) }),
            (scene(open(true, None), None), Decision::Busy { until: None }),
            (scene(open(false, Some(at(11))), None), Decision::Busy { until: Some(at(11)) }),
            (scene(open(false, Some(at(10))), None), Decision::Resolve),
            (scene(open(false, None), None), Decision::Resolve),
            (scene(None, None), Decision::Agree { confirm: false }),
        ];
        for (scene, wanted) in table {
            assert_eq!(decide(scene), wanted, "{scene:?}");
        }
    }

    #[test]
    fn a_resting_key_delays_requests_and_nothing_else() {
        let rest = Rest { act: Some(at(70)), look: Some(at(60)) };
        let due = Some(OpenOp { owned: false, next_look_at: None });
        assert_eq!(decide(Scene { rest, ..scene(due, None) }), Decision::Busy { until: Some(at(60)) });
        assert_eq!(decide(Scene { rest, ..scene(None, None) }), Decision::Agree { confirm: false });
        // The last tenth of the budget: no act, and yet a look.
        let rest = Rest { look: None, ..rest };
        assert_eq!(decide(Scene { rest, ..scene(due, None) }), Decision::Resolve);
        let segments = [wanting()];
        let requested = Scene { status: Status::Requested, segments: &segments, rest, ..scene(None, None) };
        assert_eq!(decide(requested), Decision::Busy { until: Some(at(70)) });
        let create = Effect { segment_no: 1, kind: EffectKind::Create, target: None };
        assert_eq!(decide(Scene { rest: Rest::default(), ..requested }), Decision::Act(create));
    }

    #[test]
    fn words_are_read_back() {
        assert!(State::ALL.into_iter().all(|s| State::parse(s.as_str()) == Some(s)));
        assert!(Kind::ALL.into_iter().all(|k| Kind::parse(k.as_str()) == Some(k)));
    }
}
