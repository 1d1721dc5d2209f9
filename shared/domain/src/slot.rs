//! Time that a staff member is occupied: half-open, so that 14:00–14:30 and 14:30–15:00 touch without overlapping.

use chrono::{DateTime, TimeDelta, Utc};

/// `[start, end)`, finite and never empty (an empty range would conflict with nothing).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimeRange {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl TimeRange {
    /// `None` unless `start < end`.
    pub fn new(start: DateTime<Utc>, end: DateTime<Utc>) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// `start` and the `minutes` after it. `None` for 0 minutes and past the end of the calendar.
    pub fn starting(start: DateTime<Utc>, minutes: u16) -> Option<Self> {
        Self::new(start, start.checked_add_signed(TimeDelta::minutes(minutes.into()))?)
    }

    /// The first instant inside.
    pub fn start(self) -> DateTime<Utc> {
        self.start
    }

    /// The first instant after it.
    pub fn end(self) -> DateTime<Utc> {
        self.end
    }

    /// Do the two share an instant?
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    proptest! {
        #[test]
        fn two_ranges_overlap_exactly_when_they_share_a_minute(a in 0i64..50, la in 1u16..20, b in 0i64..50, lb in 1u16..20) {
            let (x, y) = (TimeRange::starting(at(a), la).unwrap(), TimeRange::starting(at(b), lb).unwrap());
            let shared = (a..a + i64::from(la)).any(|m| (b..b + i64::from(lb)).contains(&m));
            prop_assert_eq!(x.overlaps(y), shared);
            prop_assert_eq!(y.overlaps(x), shared);
        }
    }

    #[test]
    fn empty_and_reversed_ranges_do_not_exist() {
        assert_eq!(TimeRange::new(at(1), at(1)), None);
        assert_eq!(TimeRange::new(at(2), at(1)), None);
        assert_eq!(TimeRange::starting(at(1), 0), None);
    }
}
