//! Opening hours and free starts, in the branch's own time zone.
//!
//! Offers are advice computed from what the reader's snapshot holds; only the booking transaction decides.

use crate::slot::TimeRange;
use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// One opening of one weekday, local time, half-open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opening {
    /// ISO weekday: 1 = Monday … 7 = Sunday.
    pub weekday: u8,
    /// First local minute inside.
    pub opens: NaiveTime,
    /// First local minute outside.
    pub closes: NaiveTime,
}

/// The openings of one branch and its time zone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hours {
    /// Where the clock on the wall hangs.
    pub time_zone: Tz,
    /// In any order.
    pub openings: Vec<Opening>,
}

impl Hours {
    /// Does the range lie inside one opening?
    pub fn contain(&self, range: TimeRange) -> bool {
        let day = range.start().with_timezone(&self.time_zone).date_naive();
        self.open_on(day).any(|open| open.start() <= range.start() && range.end() <= open.end())
    }

    /// The openings of one local day as instants. A local time that a DST change skips is moved to the first that
    /// exists; one that it repeats means the earlier opening and the later closing.
    pub(crate) fn open_on(&self, day: NaiveDate) -> impl Iterator<Item = TimeRange> + '_ {
        self.openings.iter().filter(move |o| u32::from(o.weekday) == day.weekday().number_from_monday()).filter_map(
            move |o| {
                let opens = self.instant(day, o.opens, false)?;
                TimeRange::new(opens, self.instant(day, o.closes, true)?)
            },
        )
    }

    /// Does the clock on the wall show this time for the second time, at the end of summer time? Whoever says the time
    /// means the first.
    fn is_said_before(&self, at: DateTime<Utc>) -> bool {
        let wall = at.with_timezone(&self.time_zone).naive_local();
        self.time_zone.from_local_datetime(&wall).earliest().is_some_and(|first| first.with_timezone(&Utc) != at)
    }

    pub(crate) fn instant(&self, day: NaiveDate, time: NaiveTime, later: bool) -> Option<DateTime<Utc>> {
        let wall = day.and_time(time);
        let found = |wall: chrono::NaiveDateTime| {
            let local = self.time_zone.from_local_datetime(&wall);
            if later { local.latest() } else { local.earliest() }
        };
        let existing = found(wall).or_else(|| found(wall + TimeDelta::hours(1)))?;
        Some(existing.with_timezone(&Utc))
    }
}

/// What to look for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wish {
    /// Offers start here or later.
    pub from: DateTime<Utc>,
    /// Length, minutes.
    pub minutes: u16,
    /// Grid of offered starts, minutes from local midnight.
    pub granularity_minutes: u16,
    /// How many local days to look at, today included.
    pub days: u16,
    /// How many offers.
    pub limit: usize,
}

/// A staff member as the snapshot shows them; the first in the list is preferred.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diary {
    /// Who.
    pub staff_id: i32,
    /// What occupies them.
    pub busy: Vec<TimeRange>,
}

/// One start that is free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    /// With whom.
    pub staff_id: i32,
    /// When.
    pub during: TimeRange,
}

/// The next free starts, earliest first; at one start the earlier diary wins. A local time that a clock change repeats is
/// offered once.
pub fn next_free(hours: &Hours, wish: Wish, diaries: &[Diary]) -> Vec<Offer> {
    let first_day = wish.from.with_timezone(&hours.time_zone).date_naive();
    let step = TimeDelta::minutes(wish.granularity_minutes.max(1).into());
    let mut offers = Vec::new();
    for day in (0..u64::from(wish.days)).filter_map(|n| first_day.checked_add_days(Days::new(n))) {
        let mut openings: Vec<TimeRange> = hours.open_on(day).collect();
        openings.sort_by_key(|o| o.start());
        for open in openings {
            let mut start = open.start();
            while let Some(during) = TimeRange::starting(start, wish.minutes).filter(|d| d.end() <= open.end()) {
                let free = |d: &&Diary| !d.busy.iter().any(|b| b.overlaps(during));
                if start >= wish.from
                    && !hours.is_said_before(start)
                    && let Some(diary) = diaries.iter().find(free)
                {
                    offers.push(Offer { staff_id: diary.staff_id, during });
                    if offers.len() == wish.limit {
                        return offers;
                    }
                }
                start += step;
            }
        }
    }
    offers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(zone: Tz) -> Hours {
        let time = |h| NaiveTime::from_hms_opt(h, 0, 0).unwrap();
        Hours {
            time_zone: zone,
            openings: (1..=7).map(|weekday| Opening { weekday, opens: time(9), closes: time(18) }).collect(),
        }
    }

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn wish(from: &str) -> Wish {
        Wish { from: utc(from), minutes: 30, granularity_minutes: 15, days: 14, limit: 3 }
    }

    #[test]
    fn nine_is_nine_on_the_wall_on_both_sides_of_a_clock_change() {
        let table = [
            (chrono_tz::Europe::Berlin, "2026-03-28T00:00:00Z", "2026-03-28T08:00:00Z"),
            (chrono_tz::Europe::Berlin, "2026-03-29T00:00:00Z", "2026-03-29T07:00:00Z"),
            (chrono_tz::Europe::Berlin, "2026-10-25T00:00:00Z", "2026-10-25T08:00:00Z"),
            (chrono_tz::America::Vancouver, "2026-10-31T12:00:00Z", "2026-10-31T16:00:00Z"),
        ];
        for (zone, from, first) in table {
            let offers = next_free(&hours(zone), wish(from), &[Diary { staff_id: 1, busy: vec![] }]);
            assert_eq!(offers[0].during.start(), utc(first), "{zone} {from}");
        }
    }

    #[test]
    fn a_day_with_a_clock_change_has_no_time_that_is_not_and_none_twice() {
        let open = Opening { weekday: 7, opens: NaiveTime::MIN, closes: NaiveTime::from_hms_opt(6, 0, 0).unwrap() };
        let night = Hours { time_zone: chrono_tz::Europe::Berlin, openings: vec![open] };
        let free = [Diary { staff_id: 1, busy: vec![] }];
        for (from, hours_said) in
            [("2026-03-28T23:00:00Z", [0, 1, 3, 4, 5].as_slice()), ("2026-10-24T22:00:00Z", &[0, 1, 2, 3, 4, 5])]
        {
            let wish = Wish { from: utc(from), minutes: 15, granularity_minutes: 15, days: 1, limit: usize::MAX };
            let offers = next_free(&night, wish, &free);
            let said = offers.iter().map(|o| o.during.start().with_timezone(&night.time_zone).naive_local());
            let all = hours_said.iter().flat_map(|hour| [0, 15, 30, 45].map(|minute| (*hour, minute)));
            let day = said.clone().next().unwrap().date();
            assert_eq!(
                said.collect::<Vec<_>>(),
                all.map(|(h, m)| day.and_hms_opt(h, m, 0).unwrap()).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn busy_time_is_not_offered_and_the_preferred_one_comes_first() {
        let busy = TimeRange::new(utc("2026-11-25T08:00:00Z"), utc("2026-11-25T09:10:00Z")).unwrap();
        let diaries = [Diary { staff_id: 2, busy: vec![busy] }];
        let offers = next_free(&hours(chrono_tz::Europe::Berlin), wish("2026-11-25T08:00:00Z"), &diaries);
        assert_eq!(
            offers.iter().map(|o| o.during.start()).collect::<Vec<_>>(),
            [utc("2026-11-25T09:15:00Z"), utc("2026-11-25T09:30:00Z"), utc("2026-11-25T09:45:00Z"),]
        );
        let both = [diaries[0].clone(), Diary { staff_id: 1, busy: vec![] }];
        let offers = next_free(&hours(chrono_tz::Europe::Berlin), wish("2026-11-25T09:00:00Z"), &both);
        assert_eq!(offers.iter().map(|o| o.staff_id).collect::<Vec<_>>(), [1, 2, 2]);
    }

    #[test]
    fn closing_time_is_outside() {
        let hours = hours(chrono_tz::Europe::Berlin);
        let range = |start| TimeRange::starting(utc(start), 30).unwrap();
        assert!(hours.contain(range("2026-11-25T16:30:00Z")));
        assert!(!hours.contain(range("2026-11-25T16:45:00Z")));
        assert!(!hours.contain(range("2026-11-25T07:45:00Z")));
    }
}
