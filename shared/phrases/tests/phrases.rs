//! What people say, and what they mean by it. Today is Tuesday, 24 November 2026, unless a row says another day.

#![allow(clippy::unwrap_used)]

use chrono::{DateTime, NaiveDate, TimeZone, Utc};
use chrono_tz::{America::Vancouver, Europe::Berlin, Tz};
use phrases::{Clock, Unclear, instant, moment, read};
use proptest::prelude::*;

fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 24).unwrap()
}

/// `2026-11-25 14:30`, `2026-11-25 09:00-12:00`, `2026-11-25 first`, `2026-11-25`, `14:30`.
fn said(text: &str, today: NaiveDate) -> Result<String, Unclear> {
    let phrase = read(text, today)?;
    let clock = phrase.clock.map(|clock| match clock {
        Clock::At(time) => time.format("%H:%M").to_string(),
        Clock::Between(from, until) => format!("{}-{}", from.format("%H:%M"), until.format("%H:%M")),
        Clock::First => "first".to_owned(),
    });
    let day = phrase.day.map(|day| day.to_string());
    Ok([day, clock].into_iter().flatten().collect::<Vec<_>>().join(" "))
}

fn table(rows: &[(&str, &str)]) {
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(text, meant)| {
            let heard = said(text, today());
            (heard.as_deref() != Ok(*meant)).then(|| format!("{text:?}: {heard:?} instead of {meant:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn german() {
    let rows = [
        ("heute", "2026-11-24"),
        ("morgen", "2026-11-25"),
        ("übermorgen", "2026-11-26"),
        ("uebermorgen", "2026-11-26"),
        ("gestern", "2026-11-23"),
        ("heute um 16 Uhr", "2026-11-24 16:00"),
        ("heute 16:00", "2026-11-24 16:00"),
        ("morgen 16:00", "2026-11-25 16:00"),
        ("morgen um halb drei", "2026-11-25 14:30"),
        ("morgen um halb zehn", "2026-11-25 09:30"),
        ("morgen halb fünfzehn", "2026-11-25 14:30"),
        ("morgen um drei", "2026-11-25 15:00"),
        ("morgen um drei Uhr", "2026-11-25 15:00"),
        ("morgen um eins", "2026-11-25 13:00"),
        ("morgen um ein Uhr", "2026-11-25 13:00"),
        ("morgen um elf", "2026-11-25 11:00"),
        ("morgen gegen 14 Uhr", "2026-11-25 14:00"),
        ("morgen so gegen vierzehn Uhr", "2026-11-25 14:00"),
        ("morgen um fünf vor zehn", "2026-11-25 09:55"),
        ("morgen um zehn nach neun", "2026-11-25 09:10"),
        ("morgen um Viertel nach neun", "2026-11-25 09:15"),
        ("morgen um viertel vor zehn", "2026-11-25 09:45"),
        ("morgen dreiviertel zehn", "2026-11-25 09:45"),
        ("morgen um fünf nach halb zehn", "2026-11-25 09:35"),
        ("morgen um fünf vor halb drei", "2026-11-25 14:25"),
        ("morgen vierzehn Uhr dreißig", "2026-11-25 14:30"),
        ("morgen 14 Uhr 30", "2026-11-25 14:30"),
        ("morgen 14.30 Uhr", "2026-11-25 14:30"),
        ("morgen 14Uhr", "2026-11-25 14:00"),
        ("morgen fünfzehn Uhr", "2026-11-25 15:00"),
        ("morgen acht Uhr", "2026-11-25 08:00"),
        ("morgen 8 Uhr", "2026-11-25 08:00"),
        ("morgen 9:45", "2026-11-25 09:45"),
        ("morgen 08:00", "2026-11-25 08:00"),
        ("morgen 03:00", "2026-11-25 03:00"),
        ("morgen früh", "2026-11-25 08:00-10:00"),
        ("morgen früh um acht", "2026-11-25 08:00"),
        ("morgen Vormittag", "2026-11-25 09:00-12:00"),
        ("morgen Mittag", "2026-11-25 12:00-14:00"),
        ("morgen Nachmittag", "2026-11-25 13:00-17:00"),
        ("heute Abend", "2026-11-24 18:00-21:00"),
        ("heute Abend um sieben", "2026-11-24 19:00"),
        ("heute morgen um neun", "2026-11-24 09:00"),
        ("morgen um sieben Uhr abends", "2026-11-25 19:00"),
        ("morgen um drei Uhr nachmittags", "2026-11-25 15:00"),
        ("morgen vormittags ab 9 Uhr", "2026-11-25 09:00-12:00"),
        ("morgen ab 15 Uhr", "2026-11-25 15:00-23:59"),
        ("morgen nach 17 Uhr", "2026-11-25 17:00-23:59"),
        ("morgen vor 12 Uhr", "2026-11-25 00:00-12:00"),
        ("morgen zwischen 14 und 16 Uhr", "2026-11-25 14:00-16:00"),
        ("morgen von zehn bis zwölf", "2026-11-25 10:00-12:00"),
        ("morgen den ersten Termin", "2026-11-25 first"),
        ("morgen den ersten freien Termin", "2026-11-25 first"),
        ("so früh wie möglich", "first"),
        ("den nächsten Termin bitte", "first"),
        ("Montag", "2026-11-30"),
        ("Freitag", "2026-11-27"),
        ("Dienstag", "2026-12-01"),
        ("am Freitag um 10 Uhr", "2026-11-27 10:00"),
        ("diesen Freitag", "2026-11-27"),
        ("dieser Montag", "2026-11-23"),
        ("nächsten Freitag", "2026-12-04"),
        ("nächsten Montag", "2026-11-30"),
        ("kommenden Mittwoch", "2026-12-02"),
        ("übernächsten Montag", "2026-12-07"),
        ("nächste Woche", "2026-11-30"),
        ("nächste Woche Mittwoch", "2026-12-02"),
        ("Mittwoch nächster Woche", "2026-12-02"),
        ("in der nächsten Woche am Mittwoch", "2026-12-02"),
        ("diese Woche Freitag", "2026-11-27"),
        ("übernächste Woche Dienstag", "2026-12-08"),
        ("Freitagnachmittag", "2026-11-27 13:00-17:00"),
        ("Freitag Nachmittag um vier", "2026-11-27 16:00"),
        ("Fr. 10 Uhr", "2026-11-27 10:00"),
        ("Samstag früh", "2026-11-28 08:00-10:00"),
        ("in zwei Wochen", "2026-12-08"),
        ("in einer Woche", "2026-12-01"),
        ("heute in einer Woche", "2026-12-01"),
        ("Freitag in zwei Wochen", "2026-12-11"),
        ("in drei Tagen", "2026-11-27"),
        ("in 14 Tagen um 10 Uhr", "2026-12-08 10:00"),
        ("in einem Monat", "2026-12-24"),
        ("am 3.", "2026-12-03"),
        ("am 30.", "2026-11-30"),
        ("am dritten um 14 Uhr", "2026-12-03 14:00"),
        ("am 3. Dezember", "2026-12-03"),
        ("am dritten Dezember", "2026-12-03"),
        ("am dritten zwölften", "2026-12-03"),
        ("3.12.", "2026-12-03"),
        ("11.11.", "2027-11-11"),
        ("11.11.2025", "2025-11-11"),
        ("2023-06-13", "2023-06-13"),
        ("25.11.2026, 14:30 Uhr", "2026-11-25 14:30"),
        ("Dienstag, den 1. Dezember", "2026-12-01"),
        ("Dienstag, der 1. Dezember 2026 um 9 Uhr", "2026-12-01 09:00"),
        ("am einunddreißigsten Dezember", "2026-12-31"),
        ("am fünfundzwanzigsten November", "2026-11-25"),
        ("2026-11-25", "2026-11-25"),
        ("2026-11-25 14:30", "2026-11-25 14:30"),
        ("2026-11-25T14:30", "2026-11-25 14:30"),
        ("2026-11-25T14:30:00", "2026-11-25 14:30"),
        ("14 Uhr 30", "14:30"),
        ("14:00", "14:00"),
        ("zwanzig Uhr fünfzehn", "20:15"),
        ("vormittags", "09:00-12:00"),
        ("mitternacht", "00:00"),
    ];
    assert!(rows.len() >= 80);
    table(&rows);
}

#[test]
fn english() {
    let rows = [
        ("today", "2026-11-24"),
        ("tomorrow", "2026-11-25"),
        ("the day after tomorrow", "2026-11-26"),
        ("tomorrow at 9", "2026-11-25 09:00"),
        ("tomorrow at 09:00", "2026-11-25 09:00"),
        ("tomorrow at three", "2026-11-25 15:00"),
        ("tomorrow at 3pm", "2026-11-25 15:00"),
        ("tomorrow at 3 p.m.", "2026-11-25 15:00"),
        ("tomorrow at 3:30 pm", "2026-11-25 15:30"),
        ("tomorrow at 7 am", "2026-11-25 07:00"),
        ("tomorrow at 12 pm", "2026-11-25 12:00"),
        ("tomorrow at half past two", "2026-11-25 14:30"),
        ("tomorrow at a quarter to ten", "2026-11-25 09:45"),
        ("tomorrow at quarter past nine", "2026-11-25 09:15"),
        ("tomorrow at ten past nine", "2026-11-25 09:10"),
        ("tomorrow at 10 o'clock", "2026-11-25 10:00"),
        ("tomorrow morning", "2026-11-25 09:00-12:00"),
        ("tomorrow in the afternoon", "2026-11-25 13:00-17:00"),
        ("tonight", "2026-11-24 18:00-21:00"),
        ("tomorrow at noon", "2026-11-25 12:00-14:00"),
        ("tomorrow between 2 and 4 pm", "2026-11-25 14:00-16:00"),
        ("tomorrow after 5 pm", "2026-11-25 17:00-23:59"),
        ("as soon as possible", "first"),
        ("the first available appointment tomorrow", "2026-11-25 first"),
        ("Friday", "2026-11-27"),
        ("this Friday at 10", "2026-11-27 10:00"),
        ("next Friday", "2026-12-04"),
        ("next week", "2026-11-30"),
        ("Wednesday next week", "2026-12-02"),
        ("next week on Wednesday", "2026-12-02"),
        ("in two weeks", "2026-12-08"),
        ("two weeks from now", "2026-12-08"),
        ("a week from Friday", "2026-12-04"),
        ("in 3 days", "2026-11-27"),
        ("November 25", "2026-11-25"),
        ("November 25th", "2026-11-25"),
        ("the 25th of November", "2026-11-25"),
        ("on the 3rd", "2026-12-03"),
        ("Tuesday, December 1st at 9 am", "2026-12-01 09:00"),
        ("December 1 2026", "2026-12-01"),
    ];
    assert!(rows.len() >= 30);
    table(&rows);
}

#[test]
fn what_has_to_be_asked_back() {
    use Unclear::{NoSuchDay, Nothing, TwoDays, TwoTimes, Word, WrongWeekday};
    let rows = [
        ("", Nothing),
        ("bitte", Nothing),
        ("irgendwann", Word),
        ("am Wochenende", Word),
        ("in acht Tagen", Word),
        ("viertel zehn", Word),
        ("11/12/2026", Word),
        ("25.11.26", Word),
        ("2026-11-25 14", Word),
        ("2026-11-25 1400", Word),
        ("2026-11-25 14:00:30", Word),
        ("morgen 14", Word),
        ("{{appointment_date}} {{appointment_time}}", Word),
        ("not specified", Word),
        ("diese Woche", TwoDays),
        ("Montag oder Dienstag", Word),
        ("Montag Dienstag", TwoDays),
        ("heute morgen übermorgen", TwoDays),
        ("heute, 25.11.2026", TwoDays),
        ("Montag, den 25. November", WrongWeekday),
        ("heute Mittwoch", WrongWeekday),
        ("31.02.2026", NoSuchDay),
        ("2026-13-01", NoSuchDay),
        ("29.2.", NoSuchDay),
        ("morgen 25:00", NoSuchDay),
        ("morgen 14:60", NoSuchDay),
        ("morgen um 10 Uhr um 11 Uhr", TwoTimes),
        ("morgen zwischen 16 und 14 Uhr", TwoTimes),
        ("morgen vormittags nachmittags", TwoTimes),
    ];
    for (text, why) in rows {
        assert_eq!(said(text, today()), Err(why), "{text:?}");
    }
    assert_eq!(said(&"9".repeat(10_000), today()), Err(Word));
}

fn local(text: &str, time_zone: Tz, now: DateTime<Utc>) -> Option<String> {
    moment(text, time_zone, now).map(|at| at.to_rfc3339())
}

#[test]
fn clock_changes_move_nothing() {
    let utc = |y, m, d, h, min| Utc.with_ymd_and_hms(y, m, d, h, min, 0).unwrap();
    let rows = [
        // 2026-03-29, Berlin: 02:00 to 03:00 does not exist.
        ("2026-03-29 01:30", Berlin, utc(2026, 3, 28, 11, 0), Some("2026-03-29T00:30:00+00:00")),
        ("2026-03-29 02:30", Berlin, utc(2026, 3, 28, 11, 0), None),
        ("morgen 03:00", Berlin, utc(2026, 3, 28, 11, 0), Some("2026-03-29T01:00:00+00:00")),
        ("morgen um zehn", Berlin, utc(2026, 3, 28, 11, 0), Some("2026-03-29T08:00:00+00:00")),
        ("in zwei Tagen um zehn", Berlin, utc(2026, 3, 28, 11, 0), Some("2026-03-30T08:00:00+00:00")),
        // 2026-10-25, Berlin: 02:00 to 03:00 comes twice; the first is meant.
        ("2026-10-25 02:30", Berlin, utc(2026, 10, 24, 10, 0), Some("2026-10-25T00:30:00+00:00")),
        ("morgen 03:00", Berlin, utc(2026, 10, 24, 10, 0), Some("2026-10-25T02:00:00+00:00")),
        ("morgen um zehn", Berlin, utc(2026, 10, 24, 10, 0), Some("2026-10-25T09:00:00+00:00")),
        ("heute 23:30", Berlin, utc(2026, 10, 25, 0, 30), Some("2026-10-25T22:30:00+00:00")),
        // 2027-03-28, Berlin.
        ("28.03.2027 02:59", Berlin, utc(2026, 11, 24, 9, 0), None),
        ("28.03.2027 um 9 Uhr", Berlin, utc(2026, 11, 24, 9, 0), Some("2027-03-28T07:00:00+00:00")),
        // 2026-11-01, Vancouver: 01:00 to 02:00 comes twice. The last row is said there at half past midnight.
        ("2026-11-01 01:30", Vancouver, utc(2026, 10, 31, 18, 0), Some("2026-11-01T08:30:00+00:00")),
        ("tomorrow at 9 am", Vancouver, utc(2026, 10, 31, 18, 0), Some("2026-11-01T17:00:00+00:00")),
        ("tomorrow at 9 am", Vancouver, utc(2026, 11, 1, 7, 30), Some("2026-11-02T17:00:00+00:00")),
    ];
    for (text, time_zone, now, meant) in rows {
        assert_eq!(local(text, time_zone, now).as_deref(), meant, "{text} in {time_zone} at {now}");
    }
}

#[test]
fn an_instant_says_its_own_offset() {
    let now = Utc.with_ymd_and_hms(2026, 11, 24, 9, 0, 0).unwrap();
    for text in ["2026-11-25T14:30:00+01:00", "2026-11-25T13:30:00Z", "2026-11-25T14:30:00.000+01:00"] {
        assert_eq!(moment(text, Berlin, now), Some(Utc.with_ymd_and_hms(2026, 11, 25, 13, 30, 0).unwrap()), "{text}");
    }
    assert_eq!(moment("2026-11-25T14:00:30Z", Berlin, now), None, "nobody books seconds");
    assert_eq!(moment("morgen", Berlin, now), None, "no time");
    assert_eq!(moment("14:00", Berlin, now), None, "no day");
    assert_eq!(moment("morgen vormittags", Berlin, now), None, "more than one time");
}

#[test]
fn today_is_the_companys_today() {
    let late = Utc.with_ymd_and_hms(2026, 11, 24, 23, 30, 0).unwrap();
    let tomorrow = moment("heute 09:00", Berlin, late).unwrap();
    assert_eq!(tomorrow, Utc.with_ymd_and_hms(2026, 11, 25, 8, 0, 0).unwrap(), "half past midnight in Berlin");
}

proptest! {
    #[test]
    fn nothing_that_is_said_breaks_it(text in "\\PC{0,60}", days in 0i64..40_000) {
        let today = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + chrono::TimeDelta::days(days);
        let _ = read(&text, today);
    }

    #[test]
    fn what_is_written_out_is_read_back(days in 0i64..1_000, minute in 0i64..1_440) {
        let day = today() + chrono::TimeDelta::days(days);
        let time = chrono::NaiveTime::MIN + chrono::TimeDelta::minutes(minute);
        for text in [day.and_time(time).format("%d.%m.%Y %H:%M").to_string(), day.and_time(time).format("%Y-%m-%dT%H:%M").to_string()] {
            let phrase = read(&text, today()).unwrap();
            prop_assert_eq!((phrase.day, phrase.clock), (Some(day), Some(Clock::At(time))));
            prop_assert_eq!(instant(day.and_time(time), Berlin).map(|at| at.with_timezone(&Berlin).naive_local()).unwrap_or(day.and_time(time)), day.and_time(time));
        }
    }

    #[test]
    fn words_in_any_order_never_break_it(
        words in prop::collection::vec(prop::sample::select(vec![
            "heute", "morgen", "nächsten", "Woche", "Montag", "in", "zwei", "um", "halb", "drei", "Uhr", "vor", "nach", "viertel",
            "ab", "zwischen", "und", "bis", "3.", "Dezember", "2026", "abends", "früh", "ersten", "Termin", "pm", "the", "of", "31.",
        ]), 0..9),
    ) {
        let _ = read(&words.join(" "), today());
    }
}
