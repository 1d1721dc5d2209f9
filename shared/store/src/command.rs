//! What is asked of the record and what it answers: a booking, and the answers that every accept shares.
//!
//! Absent: how it is decided (`accept`, `cancel`), and status codes of HTTP.

use crate::JobRef;
use crate::convert::HoldUse;
use crate::enqueue::Enqueued;
use crate::error::StoreError;
use crate::hold::TokenHash;
use crate::request::{CallFacts, RequestKey};
use chrono::{DateTime, Utc};
use domain::appointment::Status;
use domain::id::AppointmentId;
use domain::money::Money;
use domain::phone::{Identity, Phone};
use domain::policy::Asking;
use domain::refusal::Refusal;

/// A lock that was not to be had is worth another try after this, seconds.
pub(crate) const BUSY_SECONDS: u32 = 1;

/// A wish for an appointment.
#[derive(Clone, Debug)]
pub struct BookingCommand {
    /// Whose business.
    pub company_id: i32,
    /// Where.
    pub branch_id: i32,
    /// What.
    pub service_id: i32,
    /// With whom; `None` = anybody who does it there, the first who is free.
    pub staff_id: Option<i32>,
    /// When.
    pub starts_at: DateTime<Utc>,
    /// Who asks.
    pub who: Identity,
    /// What the customer said about himself.
    pub facts: CustomerFacts,
    /// For the business.
    pub notes: Option<String>,
    /// By which way it came.
    pub source: Source,
    /// In which call.
    pub call: Option<CallFacts>,
    /// Under which name it may be repeated.
    pub key: Option<RequestKey>,
    /// The hold that it shall become. A call's own hold is found without it.
    pub hold: Option<TokenHash>,
    /// Further times, tried in this order: the first that is free is booked, and one only.
    pub or_else: Vec<Candidate>,
}

/// One of several times that would do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Candidate {
    /// With whom; `None` = anybody who does it there.
    pub staff_id: Option<i32>,
    /// When.
    pub starts_at: DateTime<Utc>,
}

impl BookingCommand {
    /// All times that would do, in order; never empty.
    pub(crate) fn candidates(&self) -> Vec<Candidate> {
        let first = Candidate { staff_id: self.staff_id, starts_at: self.starts_at };
        std::iter::once(first).chain(self.or_else.iter().copied()).collect()
    }
}

/// What a customer said about himself, for this appointment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CustomerFacts {
    /// As said.
    pub name: String,
    /// As said; never a placeholder.
    pub email: Option<String>,
    /// The number that the business may call.
    pub phone: Option<Phone>,
    /// `de`, `en`, …
    pub language: String,
}

/// By which way a command came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// The HTTP API.
    Api,
    /// The voice agent.
    Voice,
}

impl Source {
    /// Its word in SQL and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Voice => "voice",
        }
    }
}

/// A command that was accepted, and committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// What it is about.
    pub appointment_id: AppointmentId,
    /// Its version now.
    pub version: i32,
    /// Its status now.
    pub status: Status,
    /// How it came to this.
    pub how: How,
    /// The job that brings it to Cal.com.
    pub job: Option<Enqueued>,
    /// To be rung, after this return.
    pub ring: Vec<JobRef>,
    /// What became of the hold that it came with; `None` = there was none.
    pub hold: Option<HoldUse>,
    /// What the change costs by the policy that it was decided by; `None` = no policy speaks of a fee.
    pub fee: Option<Money>,
}

/// How a command was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum How {
    /// It changed something.
    New,
    /// Its key had been decided before.
    Replayed,
    /// The same customer has the same service at the same time already.
    AlreadyYours,
    /// It was so before.
    Unchanged,
}

/// A command that was not accepted: nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The answer is no.
    #[error(transparent)]
    Refused(Refusal),
    /// The command names another version than the current one.
    #[error("the appointment is at version {current}")]
    StaleVersion {
        /// What it is.
        current: i32,
        /// What it is.
        status: Status,
    },
    /// The key belongs to another request.
    #[error("the request key belongs to another request")]
    KeyReused,
    /// Somebody else held a lock for too long.
    #[error("busy; try again in {retry_after_seconds} s")]
    Busy {
        /// Worth waiting for.
        retry_after_seconds: u32,
    },
    /// No such appointment.
    #[error("no such appointment")]
    NotFound,
    /// The record could not be asked.
    #[error(transparent)]
    Store(StoreError),
}

/// What a transaction decided; the other half of its result is the database's trouble.
pub(crate) type Decision = Result<Accepted, AcceptError>;

/// The trouble that is left after the retries, as an answer.
pub(crate) fn answer<T>(decision: Result<Result<T, AcceptError>, StoreError>) -> Result<T, AcceptError> {
    match decision {
        Ok(decision) => decision,
        Err(StoreError::LockWait) => Err(AcceptError::Busy { retry_after_seconds: BUSY_SECONDS }),
        Err(error) => Err(AcceptError::Store(error)),
    }
}

/// Who changes a promise, for its history.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Who {
    /// The caller, by voice.
    Customer,
    /// The caller, by voice, whose number is withheld.
    Anonymous,
    /// A program of the business, by its API key.
    Business,
    /// A person at the command line; each change is an operator action of its own.
    Operator,
}

impl Who {
    /// Its word in SQL and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Anonymous => "anonymous",
            Self::Business => "business",
            Self::Operator => "operator",
        }
    }

    /// As whom policies see him; `None`: an operator is never asked.
    pub(crate) fn asks(self) -> Option<Asking> {
        match self {
            Self::Customer | Self::Business => Some(Asking::Known),
            Self::Anonymous => Some(Asking::Anonymous),
            Self::Operator => None,
        }
    }
}
