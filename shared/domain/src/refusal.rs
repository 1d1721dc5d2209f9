//! Why a command was not accepted: precise, and with what is possible instead.

use crate::appointment::Status;
use crate::hours::Offer;
use crate::policy::Denial;
use thiserror::Error;

/// A refusal is an answer: nothing was written. `code()` is its name towards integrators.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Refusal {
    /// Somebody else has that time.
    #[error("this time is taken")]
    Taken {
        /// Free starts nearby.
        alternatives: Vec<Offer>,
    },
    /// It was called off and Cal.com has not let go of it yet.
    #[error("this time is being released; try again in {seconds} s")]
    BeingReleased {
        /// Worth waiting for.
        seconds: u32,
        /// Free starts nearby.
        alternatives: Vec<Offer>,
    },
    /// The branch is closed then.
    #[error("the branch is closed at this time")]
    OutsideHours {
        /// Free starts nearby.
        alternatives: Vec<Offer>,
    },
    /// Inside the minimum notice.
    #[error("this service must be booked at least {minimum_minutes} minutes ahead")]
    TooSoon {
        /// The service's minimum notice.
        minimum_minutes: u16,
        /// Free starts nearby.
        alternatives: Vec<Offer>,
    },
    /// It lies behind us.
    #[error("this time is in the past")]
    InThePast,
    /// No such service here.
    #[error("this branch has no such service")]
    UnknownService,
    /// No such branch.
    #[error("this company has no such branch")]
    UnknownBranch,
    /// Nobody of that name does this service here.
    #[error("no such staff member does this service here")]
    UnknownStaff,
    /// The promise does not allow it any more.
    #[error("this appointment is {}", .status.as_str())]
    Final {
        /// What it is.
        status: Status,
    },
    /// The business does not allow it.
    #[error("{}", .0.reason)]
    Policy(Denial),
}

impl Refusal {
    /// Its name: the last part of the problem type.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "taken",
            Self::BeingReleased { .. } => "being_released",
            Self::OutsideHours { .. } => "outside_hours",
            Self::TooSoon { .. } => "too_soon",
            Self::InThePast => "in_the_past",
            Self::UnknownService => "unknown_service",
            Self::UnknownBranch => "unknown_branch",
            Self::UnknownStaff => "unknown_staff",
            Self::Final { .. } => "final",
            Self::Policy(_) => "policy",
        }
    }

    /// What is free instead.
    pub fn alternatives(&self) -> &[Offer] {
        match self {
            Self::Taken { alternatives }
            | Self::BeingReleased { alternatives, .. }
            | Self::OutsideHours { alternatives }
            | Self::TooSoon { alternatives, .. } => alternatives,
            Self::InThePast
            | Self::UnknownService
            | Self::UnknownBranch
            | Self::UnknownStaff
            | Self::Final { .. }
            | Self::Policy(_) => &[],
        }
    }
}
