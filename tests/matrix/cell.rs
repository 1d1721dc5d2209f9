//! What a cell is: what is asked of Cal.com, what goes wrong there, what becomes of the worker, and what the customer does
//! meanwhile. Its name is these four words.
//!
//! Deliberately absent: how it is played (`play`), and what must hold afterwards (`verdict`).

use sandbox::Fault;
use std::fmt;

/// The request that meets the trouble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Op {
    Create,
    Reschedule,
    Cancel,
}

/// What goes wrong at Cal.com.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    /// Nothing: how the cell ends when only the worker or the customer makes trouble.
    Calm,
    /// The request meets this fault.
    Fault(Fault),
    /// Nothing keeps a second identical booking out, and the request's answer is lost.
    NaturalKeyOff,
    /// A stranger has the time already.
    Taken,
    /// A stranger takes the time while Cal.com has its eyes shut.
    OverlapToctou,
    /// A stranger's booking overlaps, and Cal.com does not mind.
    OverlapOff,
    /// Reads lag behind, by less than Δ allows for, and the request's answer is lost.
    ReplicaLag,
    /// The business has to confirm each booking, and does so in the end.
    Pending,
    /// The effect comes after Δ. Δ promises nothing then, but what is doubled must go again.
    EffectPastQuarantine,
    /// Reads lag behind by more than Δ allows for. Nobody may be refused because of his own booking even so.
    LagPastQuarantine,
}

/// What becomes of the worker that has the job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Worker {
    Lives,
    /// Its intent is committed, nothing is sent.
    DiesBeforeAct,
    /// It has the answer, or has waited for it long enough.
    DiesBeforeSettle,
    /// It has the answer, and wakes up when the job is not its own any more.
    StandsStill,
}

/// What the customer does while nobody knows yet what the request did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Meanwhile {
    Nothing,
    Cancel,
    Reschedule,
    /// Wants the same once more: books what he has, or what he has just called off.
    Again,
}

impl Op {
    pub(crate) const ALL: [Self; 3] = [Self::Create, Self::Reschedule, Self::Cancel];

    /// Its word in the record and in names.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Reschedule => "reschedule",
            Self::Cancel => "cancel",
        }
    }
}

impl Trouble {
    pub(crate) const ALL: [Self; 21] = [
        Self::Calm,
        Self::Fault(Fault::Refuse),
        Self::Fault(Fault::TooManyRequests),
        Self::Fault(Fault::BrokenBefore),
        Self::Fault(Fault::BrokenAfter),
        Self::Fault(Fault::ResetBefore),
        Self::Fault(Fault::ResetAfter),
        Self::Fault(Fault::HangBefore),
        Self::Fault(Fault::HangAfter),
        Self::Fault(Fault::CutBody),
        Self::Fault(Fault::LateReply),
        Self::Fault(Fault::LateEffect),
        Self::Fault(Fault::LateEffectHang),
        Self::NaturalKeyOff,
        Self::Taken,
        Self::OverlapToctou,
        Self::OverlapOff,
        Self::ReplicaLag,
        Self::Pending,
        Self::EffectPastQuarantine,
        Self::LagPastQuarantine,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Fault(fault) => match fault {
                Fault::Refuse => "refuse",
                Fault::TooManyRequests => "429",
                Fault::BrokenBefore => "500_before",
                Fault::BrokenAfter => "500_after",
                Fault::ResetBefore => "reset_before",
                Fault::ResetAfter => "reset_after",
                Fault::HangBefore => "hang_before",
                Fault::HangAfter => "hang_after",
                Fault::CutBody => "cut_body",
                Fault::LateReply => "late_reply",
                Fault::LateEffect => "late_effect",
                Fault::LateEffectHang => "late_effect_hang",
            },
            Self::NaturalKeyOff => "natural_key_off",
            Self::Taken => "taken",
            Self::OverlapToctou => "overlap_toctou",
            Self::OverlapOff => "overlap_off",
            Self::ReplicaLag => "replica_lag",
            Self::Pending => "pending",
            Self::EffectPastQuarantine => "effect_past_quarantine",
            Self::LagPastQuarantine => "lag_past_quarantine",
        }
    }

    /// Is Δ too short on purpose? Then a booking may be doubled for a while.
    pub(crate) fn breaks_the_quarantine(self) -> bool {
        matches!(self, Self::EffectPastQuarantine | Self::LagPastQuarantine)
    }

    /// Does a stranger get the time that is asked for?
    pub(crate) fn takes_the_time(self) -> bool {
        matches!(self, Self::Taken | Self::OverlapToctou)
    }
}

impl Worker {
    pub(crate) const ALL: [Self; 4] = [Self::Lives, Self::DiesBeforeAct, Self::DiesBeforeSettle, Self::StandsStill];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Lives => "lives",
            Self::DiesBeforeAct => "before_act",
            Self::DiesBeforeSettle => "before_settle",
            Self::StandsStill => "stands_still",
        }
    }
}

impl Meanwhile {
    pub(crate) const ALL: [Self; 4] = [Self::Nothing, Self::Cancel, Self::Reschedule, Self::Again];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Cancel => "cancel",
            Self::Reschedule => "reschedule",
            Self::Again => "again",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cell {
    pub(crate) op: Op,
    pub(crate) trouble: Trouble,
    pub(crate) worker: Worker,
    pub(crate) meanwhile: Meanwhile,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { op, trouble, worker, meanwhile } = self;
        write!(f, "{}/{}/{}/{}", op.as_str(), trouble.as_str(), worker.as_str(), meanwhile.as_str())
    }
}

impl Cell {
    /// The whole product, with what cannot occur.
    pub(crate) fn all() -> Vec<Self> {
        let mut cells = Vec::new();
        for op in Op::ALL {
            for trouble in Trouble::ALL {
                for worker in Worker::ALL {
                    for meanwhile in Meanwhile::ALL {
                        cells.push(Self { op, trouble, worker, meanwhile });
                    }
                }
            }
        }
        cells
    }

    /// `create`, `create/500_after`, …: the first words of its name.
    pub(crate) fn is_named(&self, words: &str) -> bool {
        let name = self.to_string();
        name == words || name.starts_with(&format!("{}/", words.trim_end_matches('/')))
    }

    /// Why it is not played.
    pub(crate) fn cannot_occur(&self) -> Option<&'static str> {
        let Self { op, trouble, worker, meanwhile } = *self;
        let unsent = worker == Worker::DiesBeforeAct;
        match trouble {
            _ if op == Op::Cancel && meanwhile == Meanwhile::Reschedule => Some("what is cancelled cannot be moved"),
            Trouble::NaturalKeyOff | Trouble::Taken | Trouble::OverlapToctou | Trouble::OverlapOff
                if op == Op::Cancel =>
            {
                Some("a cancel takes no time, so nobody can be in its way")
            }
            _ if unsent && op != Op::Cancel && meanwhile == Meanwhile::Cancel && trouble != Trouble::Calm => {
                Some("it is called off before anything was sent: the request that would meet the trouble never comes")
            }
            Trouble::Taken | Trouble::OverlapOff if unsent && meanwhile == Meanwhile::Reschedule => {
                Some("it is moved before anything was sent: nobody is in the way of the new time")
            }
            Trouble::EffectPastQuarantine if op == Op::Cancel => {
                Some("after Δ it is cancelled again, and what comes later than that finds nothing to cancel")
            }
            Trouble::EffectPastQuarantine if op == Op::Reschedule && meanwhile != Meanwhile::Reschedule => {
                Some("after Δ it is moved again or called off, and what comes later than that finds nothing to move")
            }
            Trouble::EffectPastQuarantine | Trouble::LagPastQuarantine if worker != Worker::Lives => {
                Some("Δ is too short already: a death adds nothing")
            }
            Trouble::Calm
            | Trouble::Fault(Fault::LateReply)
            | Trouble::Taken
            | Trouble::OverlapOff
            | Trouble::Pending => None,
            _ if worker == Worker::StandsStill => Some("it would wake up with nothing to say: its answer was lost"),
            Trouble::Fault(_)
            | Trouble::NaturalKeyOff
            | Trouble::OverlapToctou
            | Trouble::ReplicaLag
            | Trouble::EffectPastQuarantine
            | Trouble::LagPastQuarantine => None,
        }
    }
}
