//! What is free instead of a wished time: four strategies over one snapshot, nearest to the wish first.
//!
//! Advice, like every offer; only the booking transaction decides. Deliberately absent: whose appointments are in the
//! way. Whoever reads the snapshot puts the customer's own into every diary.

use crate::hours::{Diary, Hours, Offer, Wish, next_free};
use crate::slot::TimeRange;
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

/// Local days that are looked at, the wished one included.
pub const DAYS_MAX: u16 = 14;
/// As far from the wish as the same day is called near.
const NEAR: TimeDelta = TimeDelta::hours(2);

/// Where to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Around {
    /// The time that was wished; it is never offered again to the staff it was wished with.
    pub wished: DateTime<Utc>,
    /// With whom, if that was said: at each step these starts come first.
    pub staff_id: Option<i32>,
    /// No offer starts before it: now and the service's minimum notice.
    pub earliest: DateTime<Utc>,
    /// Length, minutes.
    pub minutes: u16,
    /// Grid of offered starts, minutes.
    pub granularity_minutes: u16,
    /// How many, at most.
    pub limit: usize,
}

/// How an alternative was found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Strategy {
    /// The wished day, at most two hours away.
    SameDay,
    /// The next day that is open, the same time.
    NextWorkday,
    /// A week later, the same time.
    NextWeek,
    /// The next day that has room, its first start.
    NextFreeWorkday,
    /// None of these: the next start that is free.
    NextFree,
}

impl Strategy {
    /// Its word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SameDay => "same_day",
            Self::NextWorkday => "next_workday",
            Self::NextWeek => "next_week",
            Self::NextFreeWorkday => "next_free_workday",
            Self::NextFree => "next_free",
        }
    }
}

/// One time instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alternative {
    /// When and with whom.
    pub offer: Offer,
    /// Why it is offered.
    pub strategy: Strategy,
}

/// What is free instead. The same day fills all places but the last, so that whoever cannot come then hears of another
/// day, too. `diaries` in the order of preference; no start is offered twice.
pub fn alternatives(hours: &Hours, around: Around, diaries: &[Diary]) -> Vec<Alternative> {
    let search =
        Search { hours, around, diaries, first_day: around.wished.with_timezone(&hours.time_zone).date_naive() };
    let mut same_day = search.same_day().into_iter();
    let mut found: Vec<Alternative> = Vec::new();
    let add = |found: &mut Vec<Alternative>, strategy, offer: Offer| {
        if found.len() < around.limit && !found.iter().any(|a| a.offer.during.start() == offer.during.start()) {
            found.push(Alternative { offer, strategy });
        }
    };
    for offer in same_day.by_ref().take(around.limit.saturating_sub(1).max(1)) {
        add(&mut found, Strategy::SameDay, offer);
    }
    let other_days = [
        (Strategy::NextWorkday, search.next_workday()),
        (Strategy::NextWeek, search.day_after(7).and_then(|day| search.same_time(day))),
        (Strategy::NextFreeWorkday, search.next_free_workday()),
    ];
    for (strategy, offer) in other_days {
        offer.into_iter().for_each(|offer| add(&mut found, strategy, offer));
    }
    same_day.for_each(|offer| add(&mut found, Strategy::SameDay, offer));
    if found.len() < around.limit {
        // What is found already, and the wish itself, come again here.
        let limit = around.limit + found.len() + 1;
        let from = around.wished.max(around.earliest);
        let (minutes, granularity_minutes) = (around.minutes, around.granularity_minutes);
        let wish = Wish { from, minutes, granularity_minutes, days: DAYS_MAX, limit };
        let next = next_free(hours, wish, diaries).into_iter().filter(|offer| !search.is_the_wish(offer));
        next.for_each(|offer| add(&mut found, Strategy::NextFree, offer));
    }
    found
}

struct Search<'a> {
    hours: &'a Hours,
    around: Around,
    diaries: &'a [Diary],
    /// Of the wish, on the branch's wall.
    first_day: NaiveDate,
}

impl Search<'_> {
    fn same_day(&self) -> Vec<Offer> {
        let wished = self.around.wished;
        let starts = self.starts_on(self.first_day).chain([wished]).filter(|start| (*start - wished).abs() <= NEAR);
        let mut offers: Vec<Offer> = starts.filter_map(|start| self.offer(start)).collect();
        let other = |offer: &Offer| self.around.staff_id.is_some_and(|wished| wished != offer.staff_id);
        offers.sort_by_key(|o| (other(o), (o.during.start() - wished).abs(), o.during.start() < wished));
        offers.dedup(); // the wished time may lie on the grid
        offers
    }

    fn next_workday(&self) -> Option<Offer> {
        let mut days = (1..u64::from(DAYS_MAX)).filter_map(|n| self.day_after(n));
        self.same_time(days.find(|day| self.hours.open_on(*day).next().is_some())?)
    }

    fn next_free_workday(&self) -> Option<Offer> {
        let mut days = (1..u64::from(DAYS_MAX)).filter_map(|n| self.day_after(n));
        days.find_map(|day| self.starts_on(day).filter_map(|start| self.offer(start)).min_by_key(|o| o.during.start()))
    }

    fn day_after(&self, days: u64) -> Option<NaiveDate> {
        self.first_day.checked_add_days(Days::new(days))
    }

    /// The wished time on the wall, on another day.
    fn same_time(&self, day: NaiveDate) -> Option<Offer> {
        let time = self.around.wished.with_timezone(&self.hours.time_zone).time();
        self.offer(self.hours.instant(day, time, false)?)
    }

    fn starts_on(&self, day: NaiveDate) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        let step = TimeDelta::minutes(self.around.granularity_minutes.max(1).into());
        self.hours.open_on(day).flat_map(move |open| {
            std::iter::successors(Some(open.start()), move |start| start.checked_add_signed(step))
                .take_while(move |start| *start < open.end())
        })
    }

    /// With the first who is free then, unless rules or the wish itself forbid it.
    fn offer(&self, start: DateTime<Utc>) -> Option<Offer> {
        let during = TimeRange::starting(start, self.around.minutes)?;
        if start < self.around.earliest || !self.hours.contain(during) {
            return None;
        }
        let free = self.diaries.iter().filter(|diary| !diary.busy.iter().any(|busy| busy.overlaps(during)));
        let mut offers = free.map(|diary| Offer { staff_id: diary.staff_id, during });
        offers.find(|offer| !self.is_the_wish(offer))
    }

    fn is_the_wish(&self, offer: &Offer) -> bool {
        let with_whom = self.around.staff_id.is_none_or(|wished| wished == offer.staff_id);
        with_whom && offer.during.start() == self.around.wished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hours::Opening;
    use chrono::{Datelike, NaiveTime};
    use chrono_tz::Europe::Berlin;
    use proptest::prelude::*;
    use proptest::strategy::Strategy as Generator;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// Monday to Friday, 9 to 18 in Berlin.
    fn hours() -> Hours {
        let time = |h| NaiveTime::from_hms_opt(h, 0, 0).unwrap();
        let openings = (1..=5).map(|weekday| Opening { weekday, opens: time(9), closes: time(18) }).collect();
        Hours { time_zone: Berlin, openings }
    }

    fn around(wished: &str) -> Around {
        let (staff_id, earliest) = (None, utc("2026-11-24T09:15:00Z"));
        Around { wished: utc(wished), staff_id, earliest, minutes: 30, granularity_minutes: 30, limit: 3 }
    }

    fn busy(from: &str, until: &str) -> TimeRange {
        TimeRange::new(utc(from), utc(until)).unwrap()
    }

    /// `HH:MM` in Berlin, the day of the month, with whom, how.
    fn told(found: &[Alternative]) -> Vec<(String, i32, &'static str)> {
        let local = |a: &Alternative| a.offer.during.start().with_timezone(&Berlin).format("%d. %H:%M").to_string();
        found.iter().map(|a| (local(a), a.offer.staff_id, a.strategy.as_str())).collect()
    }

    fn is(day_and_time: &str, staff_id: i32, strategy: &'static str) -> (String, i32, &'static str) {
        (day_and_time.to_owned(), staff_id, strategy)
    }

    #[test]
    fn the_same_day_first_then_the_same_time_on_another() {
        let taken = [Diary { staff_id: 1, busy: vec![busy("2026-11-25T13:00:00Z", "2026-11-25T13:30:00Z")] }];
        let found = alternatives(&hours(), around("2026-11-25T13:00:00Z"), &taken);
        let near = [is("25. 14:30", 1, "same_day"), is("25. 13:30", 1, "same_day")];
        assert_eq!(told(&found), [&near[..], &[is("26. 14:00", 1, "next_workday")]].concat());
        let more = alternatives(&hours(), Around { limit: 20, ..around("2026-11-25T13:00:00Z") }, &taken);
        let words: Vec<_> = more.iter().map(|a| a.strategy.as_str()).collect();
        let other_days = [is("26. 14:00", 1, "next_workday"), is("02. 14:00", 1, "next_week")];
        let more = told(&more);
        assert!(other_days.iter().all(|day| more.contains(day)), "{more:?}");
        assert!(more.contains(&is("26. 09:00", 1, "next_free_workday")), "{more:?}");
        assert_eq!(words.iter().filter(|w| **w == "same_day").count(), 8, "two hours to either side");
        assert_eq!(more.len(), 20, "filled up with what is free next: {more:?}");
    }

    #[test]
    fn a_closed_day_leads_to_the_next_open_one() {
        let nobody_booked = [Diary { staff_id: 1, busy: vec![] }];
        // Sunday, 10:00.
        let found = alternatives(&hours(), around("2026-11-29T09:00:00Z"), &nobody_booked);
        let monday = [is("30. 10:00", 1, "next_workday"), is("30. 09:00", 1, "next_free_workday")];
        assert_eq!(told(&found)[..2], monday);
    }

    #[test]
    fn whoever_was_wished_comes_first_and_the_others_after() {
        let day = busy("2026-11-25T12:30:00Z", "2026-11-25T14:00:00Z");
        let diaries = [Diary { staff_id: 2, busy: vec![day] }, Diary { staff_id: 1, busy: vec![] }];
        let wished = Around { staff_id: Some(2), limit: 20, ..around("2026-11-25T13:00:00Z") };
        let found = told(&alternatives(&hours(), wished, &diaries));
        assert_eq!(found[..2], [is("25. 15:00", 2, "same_day"), is("25. 13:00", 2, "same_day")]);
        assert!(found.contains(&is("25. 14:00", 1, "same_day")), "the wished time, with another: {found:?}");
        let full = [Diary { staff_id: 2, busy: vec![busy("2026-11-24T00:00:00Z", "2026-12-24T00:00:00Z")] }];
        assert_eq!(alternatives(&hours(), wished, &full), []);
    }

    /// 9:00 on the wall, on both sides of a clock change.
    #[test]
    fn the_same_time_is_the_same_on_the_wall() {
        let earliest = utc("2027-03-20T00:00:00Z");
        let friday = Around { earliest, limit: 9, ..around("2027-03-26T08:00:00Z") };
        let found = told(&alternatives(&hours(), friday, &[Diary { staff_id: 1, busy: vec![] }]));
        assert!(found.contains(&is("29. 09:00", 1, "next_workday")), "{found:?}");
        assert!(found.contains(&is("02. 09:00", 1, "next_week")), "{found:?}");
    }

    /// A week of openings, any of them missing.
    fn some_hours() -> impl Generator<Value = Hours> {
        let opening = (1u8..=7, 0u32..20, 1u32..12).prop_map(|(weekday, opens, long)| {
            let time = |h: u32| NaiveTime::from_hms_opt(h.min(23), 0, 0).unwrap();
            Opening { weekday, opens: time(opens), closes: time(opens + long) }
        });
        let zone = prop_oneof![Just(Berlin), Just(chrono_tz::America::Vancouver), Just(chrono_tz::UTC)];
        (zone, prop::collection::vec(opening, 0..8)).prop_map(|(time_zone, openings)| Hours { time_zone, openings })
    }

    fn some_diaries(from: DateTime<Utc>) -> impl Generator<Value = Vec<Diary>> {
        let busy = (-1_000i64..25_000, 1u16..2_000)
            .prop_map(move |(after, long)| TimeRange::starting(from + TimeDelta::minutes(after), long).unwrap());
        prop::collection::vec(prop::collection::vec(busy, 0..12), 0..4)
            .prop_map(|of_all| (1..).zip(of_all).map(|(staff_id, busy)| Diary { staff_id, busy }).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn no_alternative_breaks_a_rule_and_none_is_missing(
            hours in some_hours(),
            diaries in some_diaries(utc("2026-10-20T12:00:00Z")),
            wished in -3_000i64..20_000, notice in 0i64..5_000, staff in 0i32..5,
            minutes in 1u16..240, granularity_minutes in 1u16..90, limit in 1usize..6,
        ) {
            let now = utc("2026-10-20T12:00:00Z");
            let earliest = now + TimeDelta::minutes(notice);
            let (wished, staff_id) = (now + TimeDelta::minutes(wished), (staff > 0).then_some(staff));
            let around = Around { wished, staff_id, earliest, minutes, granularity_minutes, limit };
            let found = alternatives(&hours, around, &diaries);
            prop_assert!(found.len() <= limit);
            let day = |at: DateTime<Utc>| at.with_timezone(&hours.time_zone).date_naive().num_days_from_ce();
            for (n, Alternative { offer, strategy }) in found.iter().enumerate() {
                let start = offer.during.start();
                prop_assert!(start >= earliest && start > now - TimeDelta::minutes(1), "in the past, or inside notice");
                prop_assert!(hours.contain(offer.during), "outside hours");
                let diary = diaries.iter().find(|d| d.staff_id == offer.staff_id).unwrap();
                prop_assert!(!diary.busy.iter().any(|b| b.overlaps(offer.during)), "overlapping");
                prop_assert!(start != wished || staff_id.is_some_and(|s| s != offer.staff_id), "the wish itself");
                prop_assert!(!found[..n].iter().any(|a| a.offer.during.start() == start), "twice");
                prop_assert!(day(start) - day(wished.max(earliest)) < i32::from(DAYS_MAX), "too far: {strategy:?}");
            }
            let wish = Wish { from: wished.max(earliest), minutes, granularity_minutes, days: DAYS_MAX, limit: 2 };
            let others = next_free(&hours, wish, &diaries).into_iter().filter(|o| o.during.start() != wished).count();
            prop_assert!(others == 0 || !found.is_empty(), "there is room, and nobody says so");
        }
    }
}
