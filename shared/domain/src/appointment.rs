//! The two transition tables: what the customer has been promised, and what we know of Cal.com's side.
//!
//! Nothing else in the product decides what follows a state; the store writes what these functions answer.

use thiserror::Error;

/// What the customer has been promised.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// The slot is ours, Cal.com has not confirmed yet.
    Requested,
    /// Confirmed at Cal.com.
    Scheduled,
    /// It took place.
    Completed,
    /// The customer did not come.
    NoShow,
    /// Called off.
    Cancelled,
    /// Could not be had; the history says why.
    Rejected,
}

/// What happens to a promise.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Change {
    /// Cal.com has what we promised.
    Confirm,
    /// Cal.com refused what we had only requested.
    Reject,
    /// Customer, business or operator calls it off.
    Cancel,
    /// It gets another time: by wish, or because Cal.com refused the wish and the old time stands.
    Move,
    /// Its end has passed.
    Complete,
    /// The customer did not come.
    Miss,
}

/// The promise does not allow this change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a {from} appointment cannot {change:?}", from = .from.as_str())]
pub struct IllegalChange {
    /// What the promise was.
    pub from: Status,
    /// What was to happen.
    pub change: Change,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Requested, Self::Scheduled, Self::Completed, Self::NoShow, Self::Cancelled, Self::Rejected];

    /// The transition table of the promise: every legal pair, the rest a typed refusal.
    pub fn after(self, change: Change) -> Result<Self, IllegalChange> {
        match (self, change) {
            (Self::Requested, Change::Confirm) => Ok(Self::Scheduled),
            (Self::Requested, Change::Reject) => Ok(Self::Rejected),
            (Self::Requested | Self::Scheduled, Change::Cancel) => Ok(Self::Cancelled),
            (Self::Requested | Self::Scheduled, Change::Move) => Ok(self),
            (Self::Scheduled, Change::Complete) => Ok(Self::Completed),
            (Self::Scheduled, Change::Miss) => Ok(Self::NoShow),
            (from, change) => Err(IllegalChange { from, change }),
        }
    }

    /// Does this promise want a live booking at Cal.com? `None`: what is there stays as it is.
    pub fn wants_booking(self) -> Option<bool> {
        match self {
            Self::Requested | Self::Scheduled => Some(true),
            Self::Cancelled | Self::Rejected => Some(false),
            Self::Completed | Self::NoShow => None,
        }
    }

    /// Its word in SQL and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Scheduled => "scheduled",
            Self::Completed => "completed",
            Self::NoShow => "no_show",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
        }
    }

    /// Reads its word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }
}

/// What we know of a segment's booking at Cal.com.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sync {
    /// Promise and Cal.com differ; a job is due.
    Pending,
    /// A request is on its way.
    InFlight,
    /// Cal.com has what was promised.
    Synced,
    /// Booked, but the business must confirm it at Cal.com first.
    AwaitingConfirmation,
    /// A request went out and its outcome is not known.
    Unknown,
    /// A person must look; the slot stays occupied.
    NeedsReview,
    /// A booking with our marker that no promise owns.
    Orphaned,
}

/// What we learn about Cal.com's side.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Learnt {
    /// An intent was committed; its request may go out.
    Sent,
    /// The outcome of the request is not known.
    Lost,
    /// No op is unresolved, and Cal.com has what was promised.
    Agrees,
    /// As `Agrees`, but the business has to confirm.
    Awaits,
    /// No op is unresolved, and Cal.com differs from the promise.
    Differs,
    /// We cannot go on without a person.
    Stuck,
}

impl Sync {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::InFlight,
        Self::Synced,
        Self::AwaitingConfirmation,
        Self::Unknown,
        Self::NeedsReview,
        Self::Orphaned,
    ];

    /// The transition table of what we know. `NeedsReview` is lifted only by agreement: whoever resolves the last op
    /// and finds nothing left to do.
    pub fn after(self, learnt: Learnt) -> Self {
        match (self, learnt) {
            (_, Learnt::Agrees) => Self::Synced,
            (_, Learnt::Awaits) => Self::AwaitingConfirmation,
            (_, Learnt::Stuck) => Self::NeedsReview,
            (Self::NeedsReview, Learnt::Sent | Learnt::Lost | Learnt::Differs) => Self::NeedsReview,
            (_, Learnt::Sent) => Self::InFlight,
            (_, Learnt::Lost) => Self::Unknown,
            (_, Learnt::Differs) => Self::Pending,
        }
    }

    /// Its word in SQL and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InFlight => "in_flight",
            Self::Synced => "synced",
            Self::AwaitingConfirmation => "awaiting_confirmation",
            Self::Unknown => "unknown",
            Self::NeedsReview => "needs_review",
            Self::Orphaned => "orphaned",
        }
    }

    /// Reads its word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table_of_the_promise() {
        use Change::*;
        let legal = [
            (Status::Requested, Confirm, Status::Scheduled),
            (Status::Requested, Reject, Status::Rejected),
            (Status::Requested, Cancel, Status::Cancelled),
            (Status::Scheduled, Cancel, Status::Cancelled),
            (Status::Requested, Move, Status::Requested),
            (Status::Scheduled, Move, Status::Scheduled),
            (Status::Scheduled, Complete, Status::Completed),
            (Status::Scheduled, Miss, Status::NoShow),
        ];
        for from in Status::ALL {
            for change in [Confirm, Reject, Cancel, Move, Complete, Miss] {
                let wanted = legal.iter().find(|l| l.0 == from && l.1 == change).map(|l| l.2);
                assert_eq!(from.after(change).ok(), wanted, "{from:?} {change:?}");
            }
        }
    }

    #[test]
    fn only_agreement_lifts_a_review() {
        use Learnt::*;
        for from in Sync::ALL {
            for learnt in [Sent, Lost, Agrees, Awaits, Differs, Stuck] {
                let to = from.after(learnt);
                if from == Sync::NeedsReview && !matches!(learnt, Agrees | Awaits) {
                    assert_eq!(to, Sync::NeedsReview);
                }
                if learnt == Agrees {
                    assert_eq!(to, Sync::Synced);
                }
            }
        }
    }

    #[test]
    fn words_are_read_back() {
        assert!(Status::ALL.into_iter().all(|s| Status::parse(s.as_str()) == Some(s)));
        assert!(Sync::ALL.into_iter().all(|s| Sync::parse(s.as_str()) == Some(s)));
        assert_eq!(Status::parse("confirmed"), None);
    }
}
