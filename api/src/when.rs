//! Dates and times as voice agents write them, in the company's time zone.
//!
//! A list of forms, not a guess: what is not on it is asked back, and no time is ever moved. On the list: ISO with or
//! without offset, `YYYY-MM-DD HH:MM`, `DD.MM.YYYY HH:MM`, `heute|morgen|übermorgen` (today, tomorrow), `HH:MM`,
//! `14 Uhr`, `14 Uhr 30`. Deliberately absent: weekdays, dates without a year, times of day in words.

use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

/// The longest text that is looked at, bytes.
const TEXT_BYTES_MAX: usize = 64;
/// Words that say nothing.
const FILLERS: [&str; 6] = ["um", "at", "den", "am", "on", "the"];

/// The instant that `text` (a date and a time) names; `None` = ask back. A local time that a clock change repeats is its
/// first occurrence; one that it skips does not exist.
pub(crate) fn moment(text: &str, time_zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    if let Ok(exact) = DateTime::parse_from_rfc3339(text.trim()) {
        let exact = exact.with_timezone(&Utc);
        return (exact.second() == 0 && exact.nanosecond() == 0).then_some(exact);
    }
    let words = words(text);
    let (first, rest) = words.split_first()?;
    let (day, clock) = match first.split_once('t') {
        Some((day, clock)) if day.len() == 10 && rest.is_empty() => (day.to_owned(), clock.to_owned()),
        _ => (first.clone(), rest.join(" ")),
    };
    let wall = date(&day, time_zone, now)?.and_time(time(&clock)?);
    match time_zone.from_local_datetime(&wall) {
        LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => Some(instant.with_timezone(&Utc)),
        LocalResult::None => None,
    }
}

/// The local day that `text` names.
pub(crate) fn date(text: &str, time_zone: Tz, now: DateTime<Utc>) -> Option<NaiveDate> {
    let today = now.with_timezone(&time_zone).date_naive();
    let words = words(text);
    let [word] = words.as_slice() else { return None };
    match word.as_str() {
        "heute" | "today" => return Some(today),
        "morgen" | "tomorrow" => return today.checked_add_days(Days::new(1)),
        "übermorgen" | "uebermorgen" => return today.checked_add_days(Days::new(2)),
        _ => {}
    }
    let german = word.split('.').collect::<Vec<_>>();
    if let [day, month, year] = german.as_slice() {
        return NaiveDate::from_ymd_opt(
            i32::try_from(digits(year, 4..=4)?).ok()?,
            digits(month, 1..=2)?,
            digits(day, 1..=2)?,
        );
    }
    let iso = word.split('-').collect::<Vec<_>>();
    let [year, month, day] = iso.as_slice() else { return None };
    NaiveDate::from_ymd_opt(i32::try_from(digits(year, 4..=4)?).ok()?, digits(month, 2..=2)?, digits(day, 2..=2)?)
}

/// The time of day that `text` names.
pub(crate) fn time(text: &str) -> Option<NaiveTime> {
    let mut words = words(text);
    let uhr = words.iter().position(|word| word == "uhr");
    if let Some(at) = uhr {
        words.remove(at);
    }
    let (hour, minute) = match (words.as_slice(), uhr) {
        ([clock], None | Some(1)) if clock.contains(':') => {
            let parts = clock.split(':').collect::<Vec<_>>();
            match parts.as_slice() {
                [hour, minute] | [hour, minute, "00"] => (*hour, *minute),
                _ => return None,
            }
        }
        ([hour], Some(1)) => (hour.as_str(), "00"),
        ([hour, minute], Some(1)) => (hour.as_str(), minute.as_str()),
        _ => return None,
    };
    NaiveTime::from_hms_opt(digits(hour, 1..=2)?, digits(minute, 2..=2)?, 0)
}

fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase().replace(',', " ");
    lower.split_whitespace().filter(|word| !FILLERS.contains(word)).map(str::to_owned).collect()
}

fn digits(text: &str, lengths: std::ops::RangeInclusive<usize>) -> Option<u32> {
    (lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Europe::Berlin;

    /// Tuesday, 24 November 2026, 10:00 in Berlin.
    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 24, 9, 0, 0).unwrap()
    }

    fn local(text: &str) -> Option<String> {
        moment(text, Berlin, now()).map(|at| at.with_timezone(&Berlin).format("%Y-%m-%d %H:%M").to_string())
    }

    #[test]
    fn every_form_on_the_list() {
        let forms = [
            ("2026-11-25T14:30:00+01:00", "2026-11-25 14:30"),
            ("2026-11-25T13:30:00Z", "2026-11-25 14:30"),
            ("2026-11-25T14:30:00.000+01:00", "2026-11-25 14:30"),
            ("2026-11-25T14:30", "2026-11-25 14:30"),
            ("2026-11-25T14:30:00", "2026-11-25 14:30"),
            ("2026-11-25 14:30", "2026-11-25 14:30"),
            ("2026-11-25 9:45", "2026-11-25 09:45"),
            ("2026-11-25 14 Uhr 30", "2026-11-25 14:30"),
            ("25.11.2026 14:30", "2026-11-25 14:30"),
            ("25.11.2026, 14:30 Uhr", "2026-11-25 14:30"),
            ("5.1.2027 um 8 Uhr", "2027-01-05 08:00"),
            ("heute 16:00", "2026-11-24 16:00"),
            ("morgen 16:00", "2026-11-25 16:00"),
            ("Morgen um 10 Uhr", "2026-11-25 10:00"),
            ("übermorgen 14 Uhr 30", "2026-11-26 14:30"),
            ("uebermorgen 14:30", "2026-11-26 14:30"),
            ("tomorrow at 09:00", "2026-11-25 09:00"),
            ("2023-06-13 14:00", "2023-06-13 14:00"),
        ];
        for (text, meant) in forms {
            assert_eq!(local(text).as_deref(), Some(meant), "{text}");
        }
    }

    #[test]
    fn everything_else_is_asked_back() {
        let unclear = [
            "",
            "morgen",
            "14:00",
            "25.11. 14:30",
            "11.11.",
            "Montag 14:00",
            "nächste Woche Mittwoch 10 Uhr",
            "morgen den ersten Termin",
            "morgen vormittags ab 9 Uhr",
            "2026-11-25 fünfzehn Uhr",
            "2026-11-25 25:00",
            "2026-11-25 14:60",
            "2026-11-25 14:00:30",
            "2026-11-25T14:00:30Z",
            "2026-11-25 Uhr 14",
            "2026-11-25 14",
            "2026-11-25 1400",
            "31.02.2026 10:00",
            "2026-13-01 10:00",
            "25.11.26 10:00",
            "-2026-11-25 10:00",
            "{{appointment_date}} {{appointment_time}}",
            "heute morgen 10:00",
        ];
        for text in unclear {
            assert_eq!(local(text), None, "{text:?}");
        }
        assert_eq!(local(&"9".repeat(10_000)), None);
    }

    #[test]
    fn clock_changes_move_nothing() {
        assert_eq!(local("2027-03-28 02:30"), None, "this time does not exist");
        let repeated = moment("2026-10-25 02:30", Berlin, now()).unwrap();
        assert_eq!(repeated, Utc.with_ymd_and_hms(2026, 10, 25, 0, 30, 0).unwrap(), "the first of the two");
    }

    #[test]
    fn today_is_the_companys_today() {
        let late = Utc.with_ymd_and_hms(2026, 11, 24, 23, 30, 0).unwrap();
        let heute = date("heute", Berlin, late);
        assert_eq!(heute, NaiveDate::from_ymd_opt(2026, 11, 25), "half past midnight in Berlin");
    }
}
