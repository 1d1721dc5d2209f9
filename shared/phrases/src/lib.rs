//! Dates and times as people say them on the telephone and as language models write them down, in German and English.
//!
//! A list of rules, not a guess: what is on none of them, names two days, or names a weekday that is not that date's, is
//! asked back. Pure: today and the time zone are arguments. No library reads German like this. Deliberately absent: dates
//! like `11/12/2026`, which mean two days; and every opinion about opening hours.

mod clock;
mod day;
mod number;
mod piece;
mod reading;
mod words;

pub use clock::Clock;

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

/// The longest text that is looked at, bytes.
const TEXT_BYTES_MAX: usize = 120;

/// What a text says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Phrase {
    /// The day, if it names one. It may lie in the past where the text says so.
    pub day: Option<NaiveDate>,
    /// The time of day, if it names one.
    pub clock: Option<Clock>,
}

/// Why a text has to be asked back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unclear {
    /// It names neither a day nor a time.
    Nothing,
    /// It has a word that is on no list, or more text than anybody says.
    Word,
    /// It may mean, or names, more than one day.
    TwoDays,
    /// It may mean, or names, more than one time.
    TwoTimes,
    /// It names a weekday and a date, and that date is another weekday.
    WrongWeekday,
    /// No calendar has that day.
    NoSuchDay,
}

/// Reads a text as somebody says it on the day `today`. A date without a year is the next one; a weekday alone is the next
/// one after today; `nächsten` and `next` skip the one of this week.
///
/// # Errors
/// [`Unclear`]: ask back.
pub fn read(text: &str, today: NaiveDate) -> Result<Phrase, Unclear> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Unclear::Word);
    }
    let words = words::split(text);
    let pieces = piece::pieces(&words)?;
    let phrase = Phrase { day: day::day(&pieces, today)?, clock: clock::clock(&pieces)? };
    if phrase.day.is_none() && phrase.clock.is_none() { Err(Unclear::Nothing) } else { Ok(phrase) }
}

/// The instant that a text names: a day and a time on it, or an ISO instant with its offset. `None`: ask back, also where a
/// clock change skips that time.
pub fn moment(text: &str, time_zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if let Ok(exact) = DateTime::parse_from_rfc3339(text.trim()) {
        let exact = exact.with_timezone(&Utc);
        return (exact.second() == 0 && exact.nanosecond() == 0).then_some(exact);
    }
    match read(text, now.with_timezone(&time_zone).date_naive()).ok()? {
        Phrase { day: Some(day), clock: Some(Clock::At(time)) } => instant(day.and_time(time), time_zone),
        Phrase { .. } => None,
    }
}

/// The instant of a time on the wall. Of a time that a clock change repeats the first; one that it skips does not exist.
pub fn instant(wall: NaiveDateTime, time_zone: Tz) -> Option<DateTime<Utc>> {
    match time_zone.from_local_datetime(&wall) {
        LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => Some(instant.with_timezone(&Utc)),
        LocalResult::None => None,
    }
}
