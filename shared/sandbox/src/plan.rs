//! What is going to befall one mutating request, decided when it arrives. Every create, cancel and reschedule passes
//! through [`decide`]: it is the one place for faults to enter. Deliberately absent: any fault but latency.

use std::time::Duration;

use crate::ledger::Subject;

/// The latency of mutating requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latency {
    /// Between arrival and effect.
    pub(crate) before: Duration,
    /// Between effect and reply.
    pub(crate) after: Duration,
}

/// The course of one mutating request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Plan {
    /// Wait, act, wait, reply.
    Act {
        /// Between arrival and effect.
        before: Duration,
        /// Between effect and reply.
        after: Duration,
    },
}

/// The plan for a request about `_subject` (by whose marker later plans will differ).
pub(crate) fn decide(latency: Latency, _subject: &Subject) -> Plan {
    Plan::Act { before: latency.before, after: latency.after }
}
