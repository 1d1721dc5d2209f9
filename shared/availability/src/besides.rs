//! Cal.com's free starts, turned into what is in the way: between two moments everything that no free start covers.
//!
//! Cal.com tells starts on a grid of its own, and the offered ones lie on ours; free is what a chain of its starts covers.

use chrono::{DateTime, TimeDelta, Utc};
use domain::slot::TimeRange;

/// What is in the way between `from` and `to`: each free start covers `minutes`. `starts` are sorted.
#[must_use]
pub fn besides(starts: &[DateTime<Utc>], minutes: u16, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<TimeRange> {
    let length = TimeDelta::minutes(minutes.into());
    let mut covered = from;
    let mut busy = Vec::new();
    for &start in starts {
        busy.extend(TimeRange::new(covered, start.min(to)));
        covered = covered.max(start.checked_add_signed(length).unwrap_or(to));
    }
    busy.extend(TimeRange::new(covered, to));
    busy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn busy(starts: &[i64]) -> Vec<(i64, i64)> {
        let starts: Vec<_> = starts.iter().map(|minute| at(*minute)).collect();
        let minute = |at: DateTime<Utc>| (at - DateTime::UNIX_EPOCH).num_minutes();
        besides(&starts, 30, at(0), at(240)).into_iter().map(|it| (minute(it.start()), minute(it.end()))).collect()
    }

    #[test]
    fn what_no_free_start_covers_is_in_the_way() {
        assert_eq!(busy(&[]), [(0, 240)]);
        assert_eq!(busy(&[60]), [(0, 60), (90, 240)]);
        assert_eq!(busy(&[60, 90, 120]), [(0, 60), (150, 240)], "a chain has no gap");
        assert_eq!(busy(&[60, 75, 180]), [(0, 60), (105, 180), (210, 240)]);
        assert_eq!(busy(&[0, 210]), [(30, 210)]);
        assert_eq!(busy(&[230]), [(0, 230)], "a start may reach beyond the end");
        assert_eq!(busy(&[-15, 300]), [(15, 240)]);
    }
}
