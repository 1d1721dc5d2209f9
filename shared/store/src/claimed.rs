//! What a claim answers, and what whoever was granted it holds.

use crate::JobRef;
use chrono::{DateTime, Utc};
use domain::answer::BookingUid;
use domain::effect::Effect;
use domain::id::{AppointmentId, CustomerId, OpId};
use domain::job::{Kind, State};
use domain::observe::Hint;
use domain::resolve::Asked;

/// Authorised to act, or to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The intent is committed: send it once.
    Act,
    /// Somebody sent it before: find out what became of it, send nothing.
    Resolve,
}

/// Whom the booking at Cal.com names.
#[derive(Clone, Debug)]
pub struct Attendee {
    /// As given when booking.
    pub name: String,
    /// As given when booking.
    pub email: Option<String>,
    /// E.164.
    pub phone_e164: Option<String>,
    /// IANA name.
    pub time_zone: String,
    /// `de`, `en`, …
    pub language: String,
    /// For the address of somebody who has neither phone nor e-mail.
    pub customer_id: CustomerId,
}

/// A job that is ours until its lease ends.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Which job.
    pub job: JobRef,
    /// Every further write names it.
    pub fence: i64,
    /// Who asked.
    pub kind: Kind,
    /// Whose promise.
    pub appointment_id: AppointmentId,
    /// Our own name.
    pub worker: String,
    /// Send, or only look.
    pub mode: Mode,
    /// What the op does, and to which segment.
    pub effect: Effect,
    /// The committed intent.
    pub op_id: OpId,
    /// What the op asked.
    pub asked: Asked,
    /// Whose event type (create).
    pub event_type_id: Option<i64>,
    /// Whom it names.
    pub attendee: Attendee,
    /// See [`Claim::overtakes`].
    pub(crate) overtakes: Option<i32>,
    /// The database's clock inside the claim.
    pub claimed_at: DateTime<Utc>,
}

/// A job that is ours until its lease ends, and what it is to read.
#[derive(Clone, Debug)]
pub struct Event {
    /// Which job.
    pub job: JobRef,
    /// Every further write names it.
    pub fence: i64,
    /// Our own name.
    pub worker: String,
    /// The bookings to be read.
    pub uids: Vec<BookingUid>,
    /// Which of them the record has.
    pub recorded: Option<BookingUid>,
    /// Whose booking it may be; `None` = a stranger's.
    pub appointment_id: Option<AppointmentId>,
    pub(crate) version: Option<i32>,
    pub(crate) hints: Vec<Hint>,
}

/// What came of a claim.
#[derive(Clone, Debug)]
pub enum Claim {
    /// Ours.
    Granted(Box<Claimed>),
    /// Ours, to read what a hint is about.
    Event(Box<Event>),
    /// The claim itself ended the job: nothing was left to do, or it is too late.
    Ended {
        /// Completed, superseded or parked.
        state: State,
        /// The version it was asked for.
        expected: Option<i32>,
        /// The version it found.
        found: i32,
        /// Siblings to be rung.
        ring: Vec<JobRef>,
    },
    /// Somebody else is at this appointment, or it is too early to look.
    Busy {
        /// Until when, if that is known.
        until: Option<DateTime<Utc>>,
        /// See [`Claim::overtakes`].
        overtakes: Option<i32>,
        /// What it waits for, brought forward: to be rung.
        ring: Vec<JobRef>,
    },
    /// Not waiting, not due, or taken by somebody else.
    Gone,
}

impl Claim {
    /// It came upon a free turn at Cal.com while older promises wait for the key of this company: for
    /// [`Store::hand_over`](crate::Store::hand_over).
    pub fn overtakes(&self) -> Option<i32> {
        match self {
            Self::Granted(claimed) => claimed.overtakes,
            Self::Busy { overtakes, .. } => *overtakes,
            Self::Event(_) | Self::Ended { .. } | Self::Gone => None,
        }
    }
}

/// What has been due for a while.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Claimed in one transaction.
    pub claims: Vec<Claim>,
    /// To be claimed each by itself, and at the same time: `customer` and `call` jobs, and all of a batch in which one failed. What is
    /// granted must not wait for their locks.
    pub alone: Vec<JobRef>,
}
