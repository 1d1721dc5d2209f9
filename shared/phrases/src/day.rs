//! Which day the pieces name, seen from today.

use crate::Unclear;
use crate::piece::{Piece, Which};
use chrono::{Datelike, Days, Months, NaiveDate, Weekday};

/// A day that lies further ahead is nobody's appointment.
const DAYS_MAX: i64 = 3 * 366;

#[derive(Default)]
struct Named {
    days: Option<i64>,
    weekday: Option<Weekday>,
    which: Option<Which>,
    week: Option<i64>,
    later: Option<i64>,
    months_later: Option<u32>,
    date: Option<NaiveDate>,
}

/// The day, if the pieces name one.
pub(crate) fn day(pieces: &[Piece], today: NaiveDate) -> Result<Option<NaiveDate>, Unclear> {
    let mut named = Named::default();
    for piece in pieces {
        match *piece {
            Piece::Day(days) => once(&mut named.days, days)?,
            Piece::Weekday(weekday) => once(&mut named.weekday, weekday)?,
            Piece::Which(which) => once(&mut named.which, which)?,
            Piece::Week(week) => once(&mut named.week, week)?,
            Piece::Later(days) => once(&mut named.later, days)?,
            Piece::MonthsLater(months) => once(&mut named.months_later, months)?,
            Piece::Date(year, month, day) => once(&mut named.date, dated(year, month, day, today)?)?,
            Piece::At(_) | Piece::From(_) | Piece::Until(_) | Piece::Between(..) | Piece::Part(_) | Piece::First => {}
        }
    }
    named.day(today)
}

/// Said again it must be the same.
fn once<T: PartialEq>(place: &mut Option<T>, said: T) -> Result<(), Unclear> {
    match place {
        Some(before) if *before != said => Err(Unclear::TwoDays),
        Some(_) | None => {
            *place = Some(said);
            Ok(())
        }
    }
}

impl Named {
    fn day(self, today: NaiveDate) -> Result<Option<NaiveDate>, Unclear> {
        let anchored = match self {
            Self {
                date: Some(date),
                days: None,
                which: None,
                week: None,
                later: None,
                months_later: None,
                weekday,
            } => {
                return if weekday.is_none_or(|weekday| weekday == date.weekday()) {
                    Ok(Some(date))
                } else {
                    Err(Unclear::WrongWeekday)
                };
            }
            Self { date: Some(_), .. } => return Err(Unclear::TwoDays),
            Self { days: Some(days), weekday, which: None, week: None, .. } => {
                let day = plus(today, days)?;
                if weekday.is_some_and(|weekday| weekday != day.weekday()) {
                    return Err(Unclear::WrongWeekday);
                }
                Some(day)
            }
            Self { days: Some(_), .. } => return Err(Unclear::TwoDays),
            Self { weekday: Some(weekday), which: None, week: Some(week), .. } => {
                let monday = plus(today, week * 7 - i64::from(today.weekday().num_days_from_monday()))?;
                Some(plus(monday, weekday.num_days_from_monday().into())?)
            }
            Self { weekday: Some(weekday), which, week: None, .. } => Some(weekday_from(today, weekday, which)?),
            Self { which: Some(_), .. } => return Err(Unclear::TwoDays),
            // "This week" is no day; next week begins on its Monday.
            Self { week: Some(0), .. } => return Err(Unclear::TwoDays),
            Self { week: Some(week), .. } => {
                Some(plus(today, week * 7 - i64::from(today.weekday().num_days_from_monday()))?)
            }
            Self { .. } => None,
        };
        let shifted = self.later.is_some() || self.months_later.is_some();
        let Some(day) = anchored.or(shifted.then_some(today)) else { return Ok(None) };
        let day = plus(day, self.later.unwrap_or_default())?;
        let months = Months::new(self.months_later.unwrap_or_default());
        Ok(Some(day.checked_add_months(months).ok_or(Unclear::NoSuchDay)?))
    }
}

/// The next weekday of that name after today; of this week; after this week.
fn weekday_from(today: NaiveDate, weekday: Weekday, which: Option<Which>) -> Result<NaiveDate, Unclear> {
    let (wanted, now) = (weekday.num_days_from_monday(), today.weekday().num_days_from_monday());
    let of_this_week = i64::from(wanted) - i64::from(now);
    let next = if of_this_week > 0 { of_this_week } else { of_this_week + 7 };
    let days = match which {
        None => next,
        Some(Which::This) => of_this_week,
        Some(Which::Next) => of_this_week + 7,
        Some(Which::AfterNext) => of_this_week + 14,
    };
    plus(today, days)
}

/// What was not said is the next that fits: year, month.
fn dated(year: Option<i32>, month: Option<u32>, day: u32, today: NaiveDate) -> Result<NaiveDate, Unclear> {
    let candidates: Vec<(i32, u32)> = match (year, month) {
        (Some(year), Some(month)) => vec![(year, month)],
        (None, Some(month)) => (0..=8).map(|years| (today.year() + years, month)).collect(),
        (_, None) => {
            (0..12).map(|n| today.month0() + n).map(|n| (today.year() + i32::from(n > 11), n % 12 + 1)).collect()
        }
    };
    let mut days = candidates.into_iter().filter_map(|(year, month)| NaiveDate::from_ymd_opt(year, month, day));
    let found = days.find(|date| year.is_some() || *date >= today).ok_or(Unclear::NoSuchDay)?;
    // A date without a year that comes only in years, such as 29 February, is not what was meant.
    if year.is_none() && (found - today).num_days() > 366 { Err(Unclear::NoSuchDay) } else { Ok(found) }
}

fn plus(day: NaiveDate, days: i64) -> Result<NaiveDate, Unclear> {
    let moved = if days < 0 {
        day.checked_sub_days(Days::new(days.unsigned_abs()))
    } else {
        day.checked_add_days(Days::new(days.unsigned_abs()))
    };
    moved.filter(|_| days.abs() <= DAYS_MAX).ok_or(Unclear::NoSuchDay)
}
