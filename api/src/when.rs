//! Days and times in the arguments of a call. What they mean is `phrases`' to say; here is only which were said.
//!
//! An agent puts a date, a time or both into any of these fields; all that was said is read as one phrase, so that
//! "morgen" in one and "vormittags ab 9 Uhr" in another are one wish.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use chrono_tz::Tz;
use phrases::{Clock, Phrase, Unclear, read};

use crate::arguments::{Arguments, DATE, DATETIME, TIME};

pub(crate) use phrases::moment;

/// What the arguments say of a day and a time; `None` = nothing.
///
/// # Errors
/// Why it has to be asked back.
pub(crate) fn said(args: &Arguments, today: NaiveDate) -> Result<Option<Phrase>, Unclear> {
    let parts: Vec<String> = [DATETIME, DATE, TIME].into_iter().filter_map(|names| args.text(names)).collect();
    if parts.is_empty() { Ok(None) } else { read(&parts.join(" "), today).map(Some) }
}

/// The local day that `text` names, and nothing else.
pub(crate) fn date(text: &str, time_zone: Tz, now: DateTime<Utc>) -> Option<NaiveDate> {
    let phrase = read(text, now.with_timezone(&time_zone).date_naive()).ok()?;
    phrase.day.filter(|_| phrase.clock.is_none())
}

/// The time of day that `text` names, and nothing else.
pub(crate) fn time(text: &str) -> Option<NaiveTime> {
    match read(text, NaiveDate::default()).ok()? {
        Phrase { day: None, clock: Some(Clock::At(time)) } => Some(time),
        Phrase { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use chrono_tz::Europe::Berlin;
    use serde_json::{Value, json};

    /// Tuesday, 24 November 2026, 10:00 in Berlin.
    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 24, 9, 0, 0).unwrap()
    }

    fn heard(args: Value) -> Result<Option<Phrase>, Unclear> {
        said(&Arguments::of(Some(args)), now().date_naive())
    }

    #[test]
    fn all_fields_are_one_phrase() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 25);
        let at = |h, m| Some(Clock::At(NaiveTime::from_hms_opt(h, m, 0).unwrap()));
        let rows = [
            (json!({"datum": "morgen", "uhrzeit": "14 Uhr 30"}), day, at(14, 30)),
            (json!({"datetime": "morgen um halb drei"}), day, at(14, 30)),
            (json!({"datetime": "2026-11-25 14:30", "date": "2026-11-25", "time": "14:30"}), day, at(14, 30)),
            (json!({"datum": "Mittwoch, den 25. November"}), day, None),
            (json!({"date": "{{current_date}}", "uhrzeit": "9:45"}), None, at(9, 45)),
        ];
        for (args, day, clock) in rows {
            assert_eq!(heard(args.clone()), Ok(Some(Phrase { day, clock })), "{args}");
        }
        assert_eq!(heard(json!({"datum": ""})), Ok(None));
        assert_eq!(heard(json!({"datum": "morgen", "datetime": "übermorgen 10:00"})), Err(Unclear::TwoDays));
        assert_eq!(heard(json!({"datum": "morgen", "uhrzeit": "irgendwann"})), Err(Unclear::Word));
    }

    #[test]
    fn a_day_is_no_time_and_a_time_no_day() {
        assert_eq!(date("morgen", Berlin, now()), NaiveDate::from_ymd_opt(2026, 11, 25));
        assert_eq!((date("morgen 10:00", Berlin, now()), date("10:00", Berlin, now())), (None, None));
        assert_eq!(time("14 Uhr 30"), NaiveTime::from_hms_opt(14, 30, 0));
        assert_eq!((time("vormittags"), time("morgen 10:00"), time("2026-11-25 14")), (None, None, None));
        let late = Utc.with_ymd_and_hms(2026, 11, 24, 23, 30, 0).unwrap();
        assert_eq!(date("heute", Berlin, late), NaiveDate::from_ymd_opt(2026, 11, 25), "half past midnight in Berlin");
    }
}
