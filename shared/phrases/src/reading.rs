//! One time, as the words have it: on the clock, by its hands, and in which part of the day.

use crate::number::{cardinal, digits};
use chrono::NaiveTime;

/// A part of the day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Morning,
    Forenoon,
    Noon,
    Afternoon,
    Evening,
}

impl Part {
    pub(crate) fn named(word: &str) -> Option<Self> {
        match word {
            "morgens" | "früh" | "frueh" => Some(Self::Morning),
            "vormittag" | "vormittags" | "morning" => Some(Self::Forenoon),
            "mittag" | "mittags" | "noon" | "midday" => Some(Self::Noon),
            "nachmittag" | "nachmittags" | "afternoon" => Some(Self::Afternoon),
            "abend" | "abends" | "evening" => Some(Self::Evening),
            _ => None,
        }
    }

    /// From when until when, in hours.
    pub(crate) fn hours(self) -> (u32, u32) {
        match self {
            Self::Morning => (8, 10),
            Self::Forenoon => (9, 12),
            Self::Noon => (12, 14),
            Self::Afternoon => (13, 17),
            Self::Evening => (18, 21),
        }
    }
}

/// A time as the words have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reading {
    hour: u32,
    minute: u32,
    /// The hands of a clock, which go round twice a day.
    hands: bool,
}

/// The time that the words begin with, and of how many words it is. `bare`: a number alone is an hour.
pub(crate) fn reading(words: &[&str], bare: bool) -> Option<(Reading, usize)> {
    let (reading, read) = colons(words).or_else(|| spoken(words)).or_else(|| hours(words, bare))?;
    let follows = words.get(read).copied().unwrap_or_default();
    match follows {
        "am" | "a.m." if reading.hands && !matches!(words.get(read + 1), Some(word) if Part::named(word).is_some()) => {
            Some((Reading { hour: reading.hour % 12, hands: false, ..reading }, read + 1))
        }
        "pm" | "p.m." if reading.hour <= 12 => {
            Some((Reading { hour: reading.hour % 12 + 12, hands: false, ..reading }, read + 1))
        }
        _ => Some((reading, read)),
    }
}

/// `14:30`, `14:30 Uhr`, `14.30 Uhr`, `14:30:00`.
fn colons(words: &[&str]) -> Option<(Reading, usize)> {
    let (first, rest) = words.split_first()?;
    let uhr = rest.first() == Some(&"uhr");
    let parts: Vec<&str> = first.split(':').collect();
    let (hour, minute) = match parts[..] {
        [hour, minute] | [hour, minute, "00"] => (hour, minute),
        [only] if uhr => only.split_once('.')?,
        _ => return None,
    };
    let pm = matches!(rest.first(), Some(&("am" | "pm" | "a.m." | "p.m.")));
    let (hour, minute) = (digits(hour, 1..=2)?, digits(minute, 2..=2)?);
    Some((Reading { hour, minute, hands: pm && hour <= 12 }, 1 + usize::from(uhr)))
}

/// `halb drei`, `viertel vor zehn`, `fünf nach halb zehn`, `half past two`.
fn spoken(words: &[&str]) -> Option<(Reading, usize)> {
    let before = |hour: &str, minutes: u32| hands(cardinal(hour)?, i64::from(minutes) - 60);
    let quarter = |word: &str| matches!(word, "viertel" | "quarter").then_some(15);
    let minutes = |word: &str| quarter(word).or_else(|| cardinal(word)).filter(|n| (1..30).contains(n));
    let (reading, read) = match words {
        ["halb", hour, ..] => (before(hour, 30)?, 2),
        ["dreiviertel", hour, ..] => (before(hour, 45)?, 2),
        ["half", "past", hour, ..] => (hands(cardinal(hour)?, 30)?, 3),
        ["a", "quarter", "past", hour, ..] => (hands(cardinal(hour)?, 15)?, 4),
        ["a", "quarter", "to", hour, ..] => (hands(cardinal(hour)?, -15)?, 4),
        [n, "vor", "halb", hour, ..] => (hands(cardinal(hour)?, -30 - i64::from(minutes(n)?))?, 4),
        [n, "nach", "halb", hour, ..] => (hands(cardinal(hour)?, -30 + i64::from(minutes(n)?))?, 4),
        [n, "vor" | "to", hour, ..] => (hands(cardinal(hour)?, -i64::from(minutes(n)?))?, 3),
        [n, "nach" | "past", hour, ..] => (hands(cardinal(hour)?, minutes(n)?.into())?, 3),
        ["mitternacht" | "midnight", ..] => (Reading { hour: 0, minute: 0, hands: false }, 1),
        _ => return None,
    };
    Some((reading, read + usize::from(words.get(read) == Some(&"uhr"))))
}

/// So many minutes after a full hour, or before it.
fn hands(hour: u32, minutes: i64) -> Option<Reading> {
    let of_day = (i64::from(hour) * 60 + minutes).rem_euclid(24 * 60);
    let (of_day, known) = (u32::try_from(of_day).ok()?, (1..=24).contains(&hour));
    known.then_some(Reading { hour: of_day / 60, minute: of_day % 60, hands: hour <= 12 })
}

/// `14 Uhr`, `vierzehn Uhr dreißig`, `3 o'clock`, `um drei`.
fn hours(words: &[&str], bare: bool) -> Option<(Reading, usize)> {
    let (first, rest) = words.split_first()?;
    let hour = cardinal(first)?;
    let hands = hour <= 12 && !first.starts_with('0') && hour > 0;
    match rest {
        ["uhr" | "h", minute, ..] if is_minute(minute) => {
            // What follows a minute says whether it was one: `14 Uhr 30`, but `14 Uhr 3. Dezember` has none.
            Some((Reading { hour, minute: cardinal(minute)?, hands }, 3))
        }
        ["uhr" | "h", ..] => Some((Reading { hour, minute: 0, hands }, 2)),
        ["o'clock", ..] => Some((Reading { hour, minute: 0, hands }, 2)),
        ["am" | "pm" | "a.m." | "p.m.", ..] if hands => Some((Reading { hour, minute: 0, hands }, 1)),
        _ if bare => Some((Reading { hour, minute: 0, hands }, 1)),
        _ => None,
    }
}

fn is_minute(word: &str) -> bool {
    digits(word, 2..=2).is_some() || (!word.starts_with(|c: char| c.is_ascii_digit()) && cardinal(word).is_some())
}

impl Reading {
    /// Where the hands could mean two times and no part of the day says which, nobody means the night: one to six are in
    /// the afternoon.
    pub(crate) fn on(self, part: Option<Part>) -> Option<NaiveTime> {
        let later = match part {
            _ if !self.hands || self.hour >= 12 => false,
            Some(Part::Afternoon | Part::Evening) => true,
            Some(Part::Noon) | None => self.hour < 7,
            Some(Part::Morning | Part::Forenoon) => false,
        };
        NaiveTime::from_hms_opt(if later { self.hour + 12 } else { self.hour }, self.minute, 0)
    }
}
