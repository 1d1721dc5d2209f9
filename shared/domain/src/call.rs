//! A telephone call as Retell tells of it: three events, each perhaps never, perhaps twice, in any order.
//!
//! What is known of a call is a function of all its events, so their order cannot matter: of two that say something about
//! the same thing the later one in the *call* counts, not the one that came later. Deliberately absent: the transcript.

use chrono::{DateTime, Utc};

/// What Retell tells of, in the order of a call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CallEvent {
    /// It has begun; never told of a call that did not connect.
    Started,
    /// It is over.
    Ended,
    /// It is over, and Retell has thought about it.
    Analyzed,
}

impl CallEvent {
    /// Every event.
    pub const ALL: [Self; 3] = [Self::Started, Self::Ended, Self::Analyzed];

    /// Retell's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "call_started",
            Self::Ended => "call_ended",
            Self::Analyzed => "call_analyzed",
        }
    }

    /// Reads Retell's word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == word)
    }

    /// How the call stands as soon as this is known.
    pub fn status(self) -> CallStatus {
        match self {
            Self::Started => CallStatus::Ongoing,
            Self::Ended | Self::Analyzed => CallStatus::Ended,
        }
    }
}

/// How a call stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CallStatus {
    /// Somebody is on the line.
    Ongoing,
    /// Nobody is.
    Ended,
}

impl CallStatus {
    /// Its word in SQL and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ongoing => "ongoing",
            Self::Ended => "ended",
        }
    }
}

/// Who rang.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// The customer rang the company.
    Inbound,
    /// The company's agent rang the customer.
    Outbound,
}

impl Direction {
    /// Its word in SQL and at Retell.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }

    /// Reads its word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Inbound, Self::Outbound].into_iter().find(|direction| direction.as_str() == word)
    }
}

/// What one event says, or all of them together; `None` = nothing.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CallFacts {
    /// As Retell has it; a withheld number is a word.
    pub from_number: Option<String>,
    /// As Retell has it.
    pub to_number: Option<String>,
    /// Who rang.
    pub direction: Option<Direction>,
    /// By Retell's clock.
    pub started_at: Option<DateTime<Utc>>,
    /// By Retell's clock.
    pub ended_at: Option<DateTime<Utc>>,
    /// Retell's word for how it ended.
    pub end_reason: Option<String>,
    /// Retell's word for how the customer felt.
    pub sentiment: Option<String>,
    /// Did the agent do what it was to do, as Retell sees it?
    pub successful: Option<bool>,
    /// Did a machine answer?
    pub voicemail: Option<bool>,
    /// In Retell's words.
    pub summary: Option<String>,
}

impl CallFacts {
    /// These, and where they say nothing what `earlier` said.
    fn over(self, earlier: Self) -> Self {
        Self {
            from_number: self.from_number.or(earlier.from_number),
            to_number: self.to_number.or(earlier.to_number),
            direction: self.direction.or(earlier.direction),
            started_at: self.started_at.or(earlier.started_at),
            ended_at: self.ended_at.or(earlier.ended_at),
            end_reason: self.end_reason.or(earlier.end_reason),
            sentiment: self.sentiment.or(earlier.sentiment),
            successful: self.successful.or(earlier.successful),
            voicemail: self.voicemail.or(earlier.voicemail),
            summary: self.summary.or(earlier.summary),
        }
    }
}

impl std::fmt::Debug for CallFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallFacts").field("direction", &self.direction).finish_non_exhaustive()
    }
}

/// All that is known of a call by its events, in whatever order they are given; `None` = no event.
pub fn known(mut told: Vec<(CallEvent, CallFacts)>) -> Option<(CallStatus, CallFacts)> {
    told.sort_by_key(|(event, _)| *event);
    let latest = told.last()?.0;
    let facts = told.into_iter().fold(CallFacts::default(), |earlier, (_, facts)| facts.over(earlier));
    Some((latest.status(), facts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(second)
    }

    fn told() -> [(CallEvent, CallFacts); 3] {
        let facts = CallFacts { from_number: Some("+4915112345678".to_owned()), ..CallFacts::default() };
        let started = CallFacts { started_at: Some(at(1)), ended_at: Some(at(1)), ..facts.clone() };
        let ended = CallFacts { ended_at: Some(at(60)), end_reason: Some("user_hangup".to_owned()), ..facts.clone() };
        let analyzed = CallFacts { successful: Some(true), from_number: None, ..CallFacts::default() };
        [(CallEvent::Started, started), (CallEvent::Ended, ended), (CallEvent::Analyzed, analyzed)]
    }

    #[test]
    fn no_order_of_coming_matters() {
        let [a, b, c] = told();
        let (status, facts) = known(vec![a.clone(), b.clone(), c.clone()]).unwrap();
        assert_eq!(status, CallStatus::Ended);
        assert_eq!((facts.started_at, facts.ended_at, facts.successful), (Some(at(1)), Some(at(60)), Some(true)));
        assert_eq!(facts.from_number.as_deref(), Some("+4915112345678"), "the later one says nothing of it");
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let told = [a, b, c];
        for order in orders {
            let came = order.map(|n| told[n].clone()).to_vec();
            assert_eq!(known(came), Some((status, facts.clone())), "{order:?}");
        }
    }

    #[test]
    fn what_is_missing_is_no_obstacle() {
        let [started, ended, analyzed] = told();
        assert_eq!(known(vec![]), None);
        assert_eq!(known(vec![started.clone()]).unwrap().0, CallStatus::Ongoing);
        assert_eq!(known(vec![ended]).unwrap().0, CallStatus::Ended, "a call that did not connect never starts");
        assert_eq!(known(vec![analyzed, started]).unwrap().0, CallStatus::Ended);
    }

    #[test]
    fn words_are_read_back() {
        assert!(CallEvent::ALL.into_iter().all(|e| CallEvent::parse(e.as_str()) == Some(e)));
        assert!([Direction::Inbound, Direction::Outbound].into_iter().all(|d| Direction::parse(d.as_str()) == Some(d)));
        assert_eq!((CallEvent::parse("transcript_updated"), Direction::parse("")), (None, None));
    }

    #[test]
    fn what_was_said_in_a_call_is_not_in_a_log() {
        let [(_, facts), ..] = told();
        assert!(!format!("{facts:?}").contains("15112345678"));
    }
}
