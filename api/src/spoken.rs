//! What the voice agent reads out: times, days and short sentences in the company's language.
//!
//! German, and English where the company's language is `en`. Deliberately absent: half hours as "halb vier" (agents'
//! prompts forbid them) and every other language.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Timelike, Utc};
use chrono_tz::Tz;

/// The language of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Language {
    German,
    English,
}

impl Language {
    /// Of a company whose language is `code`.
    pub(crate) fn of(code: &str) -> Self {
        if code.to_ascii_lowercase().starts_with("en") { Self::English } else { Self::German }
    }

    /// The one of the two texts that is to be said.
    pub(crate) fn pick(self, german: &str, english: &str) -> String {
        match self {
            Self::German => german.to_owned(),
            Self::English => english.to_owned(),
        }
    }

    /// `vierzehn Uhr dreißig`, `14:30`.
    pub(crate) fn time(self, time: NaiveTime) -> String {
        let (hour, minute) = (time.hour(), time.minute());
        match self {
            Self::English => format!("{hour}:{minute:02}"),
            Self::German if minute == 0 => format!("{} Uhr", number(hour)),
            Self::German if minute == 1 => format!("{} Uhr eins", number(hour)),
            Self::German => format!("{} Uhr {}", number(hour), number(minute)),
        }
    }

    /// `Mittwoch, 25. November`, `Wednesday, November 25`.
    pub(crate) fn day(self, day: NaiveDate) -> String {
        let (weekday, month) = (self.weekday(day), day.month0() as usize);
        match self {
            Self::German => format!("{weekday}, {}. {}", day.day(), MONTHS_DE[month]),
            Self::English => format!("{weekday}, {} {}", MONTHS_EN[month], day.day()),
        }
    }

    /// `Mittwoch`, `Wednesday`.
    pub(crate) fn weekday(self, day: NaiveDate) -> &'static str {
        let weekday = day.weekday().num_days_from_monday() as usize;
        match self {
            Self::German => WEEKDAYS_DE[weekday],
            Self::English => WEEKDAYS_EN[weekday],
        }
    }

    /// `Mittwoch, 25. November, um 14:30 Uhr`: inside a sentence.
    pub(crate) fn moment(self, at: DateTime<Utc>, time_zone: Tz) -> String {
        let local = at.with_timezone(&time_zone);
        let (day, time) = (self.day(local.date_naive()), local.format("%H:%M"));
        match self {
            Self::German => format!("{day}, um {time} Uhr"),
            Self::English => format!("{day}, at {time}"),
        }
    }

    /// `am gleichen Tag, 14:30 Uhr`, or the day by its name: a free start as seen from the wished one.
    pub(crate) fn offer(self, at: DateTime<Utc>, wished: DateTime<Utc>, time_zone: Tz) -> String {
        let local = at.with_timezone(&time_zone);
        let day = local.date_naive();
        let same = day == wished.with_timezone(&time_zone).date_naive();
        let time = local.format("%H:%M");
        match (self, same) {
            (Self::German, true) => format!("am gleichen Tag, {time} Uhr"),
            (Self::German, false) => format!("am {}, {time} Uhr", self.day(day)),
            (Self::English, true) => format!("the same day, {time}"),
            (Self::English, false) => format!("on {}, {time}", self.day(day)),
        }
    }
}

const WEEKDAYS_DE: [&str; 7] = ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"];
const WEEKDAYS_EN: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS_DE: [&str; 12] = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];
const MONTHS_EN: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const SMALL: [&str; 20] = [
    "null",
    "ein",
    "zwei",
    "drei",
    "vier",
    "fünf",
    "sechs",
    "sieben",
    "acht",
    "neun",
    "zehn",
    "elf",
    "zwölf",
    "dreizehn",
    "vierzehn",
    "fünfzehn",
    "sechzehn",
    "siebzehn",
    "achtzehn",
    "neunzehn",
];
const TENS: [&str; 6] = ["", "", "zwanzig", "dreißig", "vierzig", "fünfzig"];

/// 0 to 59 in words, as they stand before "Uhr".
fn number(n: u32) -> String {
    let n = (n % 60) as usize;
    match (n / 10, n % 10) {
        (0 | 1, _) => SMALL[n].to_owned(),
        (tens, 0) => TENS[tens].to_owned(),
        (tens, ones) => format!("{}und{}", SMALL[ones], TENS[tens]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use chrono_tz::Europe::Berlin;

    #[test]
    fn times_as_a_german_says_them() {
        let said = |h, m| Language::German.time(NaiveTime::from_hms_opt(h, m, 0).unwrap());
        assert_eq!(said(14, 30), "vierzehn Uhr dreißig");
        assert_eq!(said(1, 0), "ein Uhr");
        assert_eq!(said(9, 55), "neun Uhr fünfundfünfzig");
        assert_eq!(said(21, 1), "einundzwanzig Uhr eins");
        assert_eq!(said(0, 5), "null Uhr fünf");
        assert_eq!(said(16, 17), "sechzehn Uhr siebzehn");
        assert_eq!(Language::English.time(NaiveTime::from_hms_opt(14, 5, 0).unwrap()), "14:05");
    }

    #[test]
    fn offers_are_seen_from_the_wish() {
        let at = |day, hour| Utc.with_ymd_and_hms(2026, 11, day, hour, 30, 0).unwrap();
        assert_eq!(Language::German.offer(at(25, 13), at(25, 9), Berlin), "am gleichen Tag, 14:30 Uhr");
        assert_eq!(Language::German.offer(at(26, 13), at(25, 9), Berlin), "am Donnerstag, 26. November, 14:30 Uhr");
        assert_eq!(Language::English.offer(at(26, 13), at(25, 9), Berlin), "on Thursday, November 26, 14:30");
        assert_eq!(Language::German.moment(at(26, 13), Berlin), "Donnerstag, 26. November, um 14:30 Uhr");
    }
}
