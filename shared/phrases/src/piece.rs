//! Words, taken together to what they name.

use crate::Unclear;
use crate::number::{cardinal, digits, ordinal};
use crate::reading::{Part, Reading, reading};
use chrono::Weekday;

/// What some words name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    /// Days from today.
    Day(i64),
    Weekday(Weekday),
    Which(Which),
    /// Weeks from this one.
    Week(i64),
    /// So many days later.
    Later(i64),
    /// So many months later.
    MonthsLater(u32),
    /// Year, month, day of the month; what was not said is the next that fits.
    Date(Option<i32>, Option<u32>, u32),
    At(Reading),
    From(Reading),
    Until(Reading),
    Between(Reading, Reading),
    Part(Part),
    /// The first time that is free.
    First,
}

/// Which of the weekdays of that name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    This,
    Next,
    AfterNext,
}

const FILLERS: [&str; 26] = [
    "den", "dem", "der", "die", "das", "am", "on", "the", "of", "vom", "bitte", "please", "gerne", "so", "ca.",
    "circa", "etwa", "around", "about", "dann", "und", "and", "für", "for", "zum", "gleich",
];
/// After these a number alone is an hour.
const HOUR_FOLLOWS: [&str; 4] = ["um", "at", "gegen", "by"];
const MONTHS: [(&str, u32); 30] = [
    ("januar", 1),
    ("jänner", 1),
    ("january", 1),
    ("jan.", 1),
    ("februar", 2),
    ("february", 2),
    ("feb.", 2),
    ("märz", 3),
    ("maerz", 3),
    ("march", 3),
    ("april", 4),
    ("apr.", 4),
    ("mai", 5),
    ("may", 5),
    ("juni", 6),
    ("june", 6),
    ("juli", 7),
    ("july", 7),
    ("august", 8),
    ("aug.", 8),
    ("september", 9),
    ("sep.", 9),
    ("oktober", 10),
    ("october", 10),
    ("okt.", 10),
    ("november", 11),
    ("nov.", 11),
    ("dezember", 12),
    ("december", 12),
    ("dez.", 12),
];
const WEEKDAYS: [(&[&str], Weekday); 7] = [
    (&["montag", "montags", "monday", "mo.", "mon."], Weekday::Mon),
    (&["dienstag", "dienstags", "tuesday", "di.", "tue."], Weekday::Tue),
    (&["mittwoch", "mittwochs", "wednesday", "mi.", "wed."], Weekday::Wed),
    (&["donnerstag", "donnerstags", "thursday", "do.", "thu."], Weekday::Thu),
    (&["freitag", "freitags", "friday", "fr.", "fri."], Weekday::Fri),
    (&["samstag", "samstags", "sonnabend", "saturday", "sa.", "sat."], Weekday::Sat),
    (&["sonntag", "sonntags", "sunday", "so.", "sun."], Weekday::Sun),
];

/// Reads all words, or says which kind of trouble they are.
pub(crate) fn pieces(words: &[String]) -> Result<Vec<Piece>, Unclear> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (mut rest, mut pieces, mut hour_follows) = (words.as_slice(), Vec::new(), false);
    while let Some(word) = rest.first() {
        if let Some((piece, read)) = piece(rest, pieces.last(), hour_follows) {
            pieces.push(piece);
            rest = rest.get(read..).unwrap_or_default();
            hour_follows = false;
        } else if matches!(rest, ["in", "der" | "the", ..]) || FILLERS.contains(word) || HOUR_FOLLOWS.contains(word) {
            hour_follows = HOUR_FOLLOWS.contains(word);
            rest = rest.get(1..).unwrap_or_default();
        } else {
            return Err(Unclear::Word);
        }
    }
    Ok(pieces)
}

/// The first piece and of how many words it is.
fn piece(words: &[&str], before: Option<&Piece>, hour_follows: bool) -> Option<(Piece, usize)> {
    first_free(words)
        .or_else(|| span(words))
        .or_else(|| later(words))
        .or_else(|| week(words))
        .or_else(|| part(words, before))
        .or_else(|| day(words))
        .or_else(|| date(words))
        .or_else(|| reading(words, hour_follows).map(|(at, read)| (Piece::At(at), read)))
}

fn first_free(words: &[&str]) -> Option<(Piece, usize)> {
    let read = match words {
        ["so", "früh" | "bald", "wie", "möglich", ..] | ["as", "soon" | "early", "as", "possible", ..] => 4,
        [which, "freien" | "freie" | "free" | "available" | "möglichen", noun, ..]
            if is_first(which) && is_slot(noun) =>
        {
            3
        }
        [which, noun, ..] if is_first(which) && is_slot(noun) => 2,
        _ => return None,
    };
    Some((Piece::First, read))
}

fn is_first(word: &str) -> bool {
    ["ersten", "erste", "erster", "frühesten", "früheste", "nächsten", "nächster", "first", "earliest", "next"]
        .contains(&word)
}

fn is_slot(word: &str) -> bool {
    ["termin", "zeit", "slot", "appointment", "time"].contains(&word)
}

/// `ab 9 Uhr`, `zwischen 14 und 16 Uhr`.
fn span(words: &[&str]) -> Option<(Piece, usize)> {
    let (first, rest) = words.split_first()?;
    let two = |middle: &[&str]| {
        let (from, read) = reading(rest, true)?;
        let after = rest.get(read..)?;
        let (joint, after) = after.split_first()?;
        let (until, read_too) = reading(after, true).filter(|_| middle.contains(joint))?;
        Some((Piece::Between(from, until), 2 + read + read_too))
    };
    let one = |piece: fn(Reading) -> Piece| reading(rest, true).map(|(at, read)| (piece(at), 1 + read));
    match *first {
        "zwischen" | "between" => two(&["und", "and"]),
        "von" | "from" => two(&["bis", "to", "until"]).or_else(|| one(Piece::From)),
        "ab" | "nach" | "after" => one(Piece::From),
        "vor" | "bis" | "before" | "until" => one(Piece::Until),
        _ => None,
    }
}

/// `in zwei Wochen`, `two weeks from now`.
fn later(words: &[&str]) -> Option<(Piece, usize)> {
    let (number, unit, read) = match words {
        ["in", number, unit, ..] => (number, unit, 3),
        [number, unit, "from", "now", ..] => (number, unit, 4),
        [number, unit, "from", ..] => (number, unit, 3),
        _ => return None,
    };
    let n = if *number == "a" { 1 } else { cardinal(number)? };
    let piece = match *unit {
        // A week, to some.
        "tagen" if *number == "acht" => return None,
        "tag" | "tagen" | "day" | "days" => Piece::Later(n.into()),
        "woche" | "wochen" | "week" | "weeks" => Piece::Later(i64::from(n) * 7),
        "monat" | "monaten" | "month" | "months" => Piece::MonthsLater(n),
        _ => return None,
    };
    Some((piece, read))
}

fn week(words: &[&str]) -> Option<(Piece, usize)> {
    match words {
        ["week", "after", "next", ..] => Some((Piece::Week(2), 3)),
        [which, "woche" | "week", ..] => Some((
            Piece::Week(match which_of(which)? {
                Which::This => 0,
                Which::Next => 1,
                Which::AfterNext => 2,
            }),
            2,
        )),
        [which, name, ..] if weekday(name).is_some() => Some((Piece::Which(which_of(which)?), 1)),
        _ => None,
    }
}

fn which_of(word: &str) -> Option<Which> {
    let stem = word.trim_end_matches(['n', 'r', 'm', 's']);
    match (word, stem) {
        ("this", _) | (_, "diese") => Some(Which::This),
        ("next" | "coming", _) | (_, "nächste" | "naechste" | "kommende") => Some(Which::Next),
        (_, "übernächste" | "uebernaechste") => Some(Which::AfterNext),
        _ => None,
    }
}

/// `vormittags`; `morgen` after a day, as in `heute morgen`.
fn part(words: &[&str], before: Option<&Piece>) -> Option<(Piece, usize)> {
    let (part, read) = match words {
        ["in", "the", word, ..] => (Part::named(word)?, 3),
        ["am" | "frühen" | "späten", "morgen", ..] => (Part::Morning, 2),
        ["morgen", ..] => {
            let of_a_day = matches!(before, Some(Piece::Day(0) | Piece::Weekday(_) | Piece::Date(..)));
            (Part::Morning, usize::from(of_a_day))
        }
        [word, ..] => (Part::named(word)?, 1),
        [] => return None,
    };
    (read > 0).then_some((Piece::Part(part), read))
}

fn day(words: &[&str]) -> Option<(Piece, usize)> {
    if let ["day", "after", "tomorrow", ..] = words {
        return Some((Piece::Day(2), 3));
    }
    let word = words.first()?;
    let days = match *word {
        "heute" | "heut" | "today" => 0,
        "morgen" | "tomorrow" => 1,
        "übermorgen" | "uebermorgen" => 2,
        "gestern" | "yesterday" => -1,
        "vorgestern" => -2,
        _ => return weekday(word).map(|weekday| (Piece::Weekday(weekday), 1)),
    };
    Some((Piece::Day(days), 1))
}

fn weekday(word: &str) -> Option<Weekday> {
    WEEKDAYS.iter().find(|(names, _)| names.contains(&word)).map(|(_, weekday)| *weekday)
}

fn month(word: &str) -> Option<u32> {
    MONTHS.iter().find(|(name, _)| *name == word).map(|(_, month)| *month)
}

fn date(words: &[&str]) -> Option<(Piece, usize)> {
    let (first, rest) = words.split_first()?;
    numeric(first).map(|date| (date, 1)).or_else(|| in_words(first, rest))
}

/// `25.11.2026`, `25.11.`, `2026-11-25`.
fn numeric(word: &str) -> Option<Piece> {
    let year = |text: &str| digits(text, 4..=4).and_then(|year| i32::try_from(year).ok());
    if let [day, month, rest] = word.split('.').collect::<Vec<_>>()[..] {
        let year = if rest.is_empty() { None } else { Some(year(rest)?) };
        return Some(Piece::Date(year, Some(digits(month, 1..=2)?), digits(day, 1..=2)?));
    }
    let [written, month, day] = word.split('-').collect::<Vec<_>>()[..] else { return None };
    Some(Piece::Date(Some(year(written)?), Some(digits(month, 2..=2)?), digits(day, 2..=2)?))
}

/// `25. November 2026`, `dritten zwölften`, `November 25th`, `3.`.
fn in_words(first: &str, rest: &[&str]) -> Option<(Piece, usize)> {
    let (month, day, read) = match (month(first), rest) {
        (Some(month), [day, ..]) => (Some(month), ordinal(day).or_else(|| digits(day, 1..=2))?, 2),
        (Some(_), []) => return None,
        (None, ["of", name, ..]) if month(name).is_some() => (month(name), ordinal(first)?, 3),
        (None, [name, ..]) if month(name).is_some() => (month(name), ordinal(first).or_else(|| cardinal(first))?, 2),
        (None, [second, ..]) if ordinal(first).is_some() && ordinal(second).is_some_and(|month| month <= 12) => {
            (ordinal(second), ordinal(first)?, 2)
        }
        (None, _) => (None, ordinal(first)?, 1),
    };
    let year = rest.get(read - 1).filter(|_| month.is_some()).and_then(|word| digits(word, 4..=4));
    let year = year.and_then(|year| i32::try_from(year).ok());
    Some((Piece::Date(year, month, day), read + usize::from(year.is_some())))
}
