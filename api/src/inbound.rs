//! What the agent of a call is told before it answers: what day and time it is where the telephone rings, and who calls
//! if he has been here before.
//!
//! A language model without a clock invents a date of years ago, so without the database there is no half answer (`calls`
//! says 503): Retell asks again while it rings. Deliberately absent: anything personal but the caller's own number and
//! name, and another agent than the number's own.

use chrono::{DateTime, Datelike, Days, NaiveDate, Weekday};
use chrono_tz::Tz;
use domain::phone::Phone;
use phonenumber::country::Id::DE;
use serde_json::{Map, Value, json};
use store::KnownCaller;

use crate::app::App;
use crate::functions::branch_called;
use crate::problem::Problem;
use crate::retell::number;
use crate::spoken::Language;

/// The variable that names the next such day after today.
const NEXT: [(&str, Weekday); 7] = [
    ("naechster_montag", Weekday::Mon),
    ("naechster_dienstag", Weekday::Tue),
    ("naechster_mittwoch", Weekday::Wed),
    ("naechster_donnerstag", Weekday::Thu),
    ("naechster_freitag", Weekday::Fri),
    ("naechster_samstag", Weekday::Sat),
    ("naechster_sonntag", Weekday::Sun),
];

/// The reply to `call`, the numbers of a call that is about to come in.
pub(crate) async fn variables(app: &App, company_id: i32, call: &Map<String, Value>) -> Result<Value, Problem> {
    let catalog = app.store.catalog(company_id).await?;
    let branch = branch_called(&catalog, number(call, "to_number").as_deref());
    let time_zone = branch.map_or(catalog.company.time_zone, |branch| branch.hours.time_zone);
    let now = (app.clock)().with_timezone(&time_zone);
    let phone = number(call, "from_number").and_then(|raw| Phone::parse(&raw, DE));
    let known = match &phone {
        Some(phone) => app.store.known_caller(company_id, phone).await?,
        None => None,
    };
    let mut variables = clock(now, Language::of(&catalog.company.language));
    variables.extend(caller(phone.as_ref(), known));
    let variables: Map<String, Value> =
        variables.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
    // Retell reads the first, agents of the old gateway the second.
    Ok(json!({ "call_inbound": { "dynamic_variables": variables }, "dynamic_variables": variables }))
}

/// Who calls; a number that is withheld is an empty text.
fn caller(phone: Option<&Phone>, known: Option<KnownCaller>) -> [(&'static str, String); 3] {
    [
        ("customer_phone", phone.map(|phone| phone.as_e164().to_owned()).unwrap_or_default()),
        ("customer_known", known.is_some().to_string()),
        ("customer_name", known.and_then(|known| known.name).unwrap_or_default()),
    ]
}

/// What the clock on the wall shows, in every spelling that agents read.
fn clock(now: DateTime<Tz>, language: Language) -> Vec<(&'static str, String)> {
    let today = now.date_naive();
    let day = |day: Option<NaiveDate>| day.map(|day| day.format("%d.%m.%Y").to_string()).unwrap_or_default();
    let mut variables = vec![
        ("heute_datum", day(Some(today))),
        ("current_date", today.format("%Y-%m-%d").to_string()),
        ("current_weekday", language.weekday(today).to_owned()),
        ("current_time", now.format("%H:%M").to_string()),
        ("current_year", now.format("%Y").to_string()),
        ("current_month", now.format("%m").to_string()),
        ("morgen", day(today.checked_add_days(Days::new(1)))),
        ("uebermorgen", day(today.checked_add_days(Days::new(2)))),
    ];
    variables.extend(NEXT.map(|(name, weekday)| (name, day(next(today, weekday)))));
    variables
}

/// The first such day after today; on a Monday the next Monday is in a week.
fn next(today: NaiveDate, weekday: Weekday) -> Option<NaiveDate> {
    let ahead = u64::from(today.weekday().days_since(weekday));
    today.checked_add_days(Days::new(7 - ahead))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    fn at(language: Language, utc: &str, zone: Tz) -> Vec<(&'static str, String)> {
        clock(utc.parse::<DateTime<chrono::Utc>>().unwrap().with_timezone(&zone), language)
    }

    #[test]
    fn what_the_clock_on_the_wall_shows() {
        let shown = at(Language::German, "2026-11-24T09:00:00Z", chrono_tz::Europe::Berlin);
        let wanted = [
            ("heute_datum", "24.11.2026"),
            ("current_date", "2026-11-24"),
            ("current_weekday", "Dienstag"),
            ("current_time", "10:00"),
            ("current_year", "2026"),
            ("current_month", "11"),
            ("morgen", "25.11.2026"),
            ("uebermorgen", "26.11.2026"),
            ("naechster_montag", "30.11.2026"),
            ("naechster_dienstag", "01.12.2026"),
            ("naechster_mittwoch", "25.11.2026"),
            ("naechster_donnerstag", "26.11.2026"),
            ("naechster_freitag", "27.11.2026"),
            ("naechster_samstag", "28.11.2026"),
            ("naechster_sonntag", "29.11.2026"),
        ];
        assert_eq!(shown, wanted.map(|(name, text)| (name, text.to_owned())));
    }

    #[test]
    fn it_hangs_where_the_telephone_rings() {
        let new_year = "2026-12-31T23:30:00Z";
        let berlin = at(Language::English, new_year, chrono_tz::Europe::Berlin);
        let london = at(Language::English, new_year, chrono_tz::Europe::London);
        assert_eq!((&berlin[1].1[..], &berlin[2].1[..], &berlin[4].1[..]), ("2027-01-01", "Friday", "2027"));
        assert_eq!((&london[1].1[..], &london[2].1[..], &london[3].1[..]), ("2026-12-31", "Thursday", "23:30"));
    }

    #[test]
    fn the_next_day_of_a_name_is_one_to_seven_days_ahead() {
        let monday = chrono::Utc.with_ymd_and_hms(2026, 11, 23, 0, 0, 0).unwrap().date_naive();
        for (today, (_, weekday)) in (0..7).flat_map(|n| NEXT.map(|next| (monday + Days::new(n), next))) {
            let next = next(today, weekday).unwrap();
            assert_eq!(next.weekday(), weekday);
            assert!((1..=7).contains(&(next - today).num_days()), "{today} {weekday}");
        }
    }

    #[test]
    fn of_a_caller_only_what_is_his_own() {
        let lena = Phone::parse("+4915112345678", DE).unwrap();
        let values = |known| caller(Some(&lena), known).map(|(_, text)| text);
        let known = |name: Option<&str>| Some(KnownCaller { name: name.map(str::to_owned) });
        assert_eq!(values(known(Some("Lena Vogt"))), ["+4915112345678", "true", "Lena Vogt"]);
        assert_eq!(values(known(None)), ["+4915112345678", "true", ""]);
        assert_eq!(values(None), ["+4915112345678", "false", ""]);
        assert_eq!(caller(None, None).map(|(_, text)| text), ["", "false", ""]);
    }
}
