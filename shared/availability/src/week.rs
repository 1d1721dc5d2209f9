//! The stretches in which Cal.com is asked: weeks that begin at the same moment for everybody, whatever day they want to
//! know about, so that their questions are the same one.

use chrono::{DateTime, TimeDelta, Utc};

const SECONDS: i64 = 7 * 24 * 3_600;

/// Seven days, counted from 1970 on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Week(i64);

impl Week {
    /// The one in which this moment lies.
    #[must_use]
    pub fn of(at: DateTime<Utc>) -> Self {
        Self(at.timestamp().div_euclid(SECONDS))
    }

    /// The one after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Its first moment.
    #[must_use]
    pub fn start(self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
            .checked_add_signed(TimeDelta::seconds(self.0 * SECONDS))
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// The first moment after it.
    #[must_use]
    pub fn end(self) -> DateTime<Utc> {
        self.next().start()
    }

    pub(crate) fn number(self) -> i64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_follow_one_another_without_a_gap() {
        for text in ["2026-03-29T01:30:00Z", "2026-12-31T23:59:59Z", "1969-12-31T12:00:00Z"] {
            let at: DateTime<Utc> = text.parse().unwrap();
            let week = Week::of(at);
            assert!(week.start() <= at && at < week.end(), "{text}");
            assert_eq!(Week::of(week.end()), week.next());
        }
    }
}
