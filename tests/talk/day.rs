//! Days that a conversation can name: `{tue}` is the next Tuesday that is at least two days away, on the salon's wall;
//! `{tue+7}` a week later; `{tue:iso}` as `2026-12-01`, `{tue:words}` as `1. Dezember`.

use chrono::{Datelike, Days, NaiveDate, Utc, Weekday};
use chrono_tz::Europe::Berlin;

const MONTHS: [&str; 12] = [
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

/// Puts days in for their names; what is no day stays as it is.
pub fn dated(text: &str) -> String {
    let mut dated = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, after) = rest.split_at(at);
        dated.push_str(before);
        let named = after.find('}').and_then(|end| Some((named(&after[1..end])?, end + 1)));
        let (put, read) = named.unwrap_or_else(|| ("{".to_owned(), 1));
        dated.push_str(&put);
        rest = &after[read..];
    }
    dated + rest
}

fn named(name: &str) -> Option<String> {
    let (name, form) = name.split_once(':').unwrap_or((name, ""));
    let (name, later) =
        name.split_once('+').map_or(Some((name, 0)), |(name, days)| Some((name, days.parse().ok()?)))?;
    let day = match name {
        "today" => today(),
        _ => next(name.parse().ok()?),
    };
    let day = day.checked_add_days(Days::new(later))?;
    Some(match form {
        "iso" => day.to_string(),
        "words" => format!("{}. {}", day.day(), MONTHS[day.month0() as usize]),
        "" => day.format("%d.%m.%Y").to_string(),
        _ => return None,
    })
}

fn next(weekday: Weekday) -> NaiveDate {
    let soonest = today() + Days::new(2);
    let ahead = 7 + i64::from(weekday.num_days_from_monday()) - i64::from(soonest.weekday().num_days_from_monday());
    soonest + Days::new(u64::try_from(ahead % 7).unwrap())
}

#[expect(clippy::disallowed_methods, reason = "a conversation is of the day on which it is played")]
fn today() -> NaiveDate {
    Utc::now().with_timezone(&Berlin).date_naive()
}
