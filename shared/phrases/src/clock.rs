//! Which time of day the pieces name.

use crate::Unclear;
use crate::piece::Piece;
use crate::reading::{Part, Reading};
use chrono::NaiveTime;

/// A time of day as a text names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// One time.
    At(NaiveTime),
    /// Any time from the first to the second.
    Between(NaiveTime, NaiveTime),
    /// The first that is free.
    First,
}

/// The time of day that the pieces name.
pub(crate) fn clock(pieces: &[Piece]) -> Result<Option<Clock>, Unclear> {
    let mut named: Vec<Clock> = Vec::new();
    let mut parts = pieces.iter().filter_map(|piece| if let Piece::Part(part) = piece { Some(*part) } else { None });
    let part = parts.next();
    if parts.any(|other| Some(other) != part) {
        return Err(Unclear::TwoTimes);
    }
    let (opens, closes) = part.map_or((0, 24), Part::hours);
    let whole = |hour: u32| NaiveTime::from_hms_opt(hour.min(23), if hour > 23 { 59 } else { 0 }, 0);
    let at = |reading: &Reading| reading.on(part).ok_or(Unclear::NoSuchDay);
    for piece in pieces {
        named.push(match piece {
            Piece::At(reading) => Clock::At(at(reading)?),
            Piece::From(reading) => Clock::Between(at(reading)?, whole(closes).ok_or(Unclear::TwoTimes)?),
            Piece::Until(reading) => Clock::Between(whole(opens).ok_or(Unclear::TwoTimes)?, at(reading)?),
            Piece::Between(from, until) => Clock::Between(at(from)?, at(until)?),
            Piece::First => Clock::First,
            Piece::Day(_)
            | Piece::Weekday(_)
            | Piece::Which(_)
            | Piece::Week(_)
            | Piece::Later(_)
            | Piece::MonthsLater(_)
            | Piece::Date(..)
            | Piece::Part(_) => continue,
        });
    }
    named.dedup();
    match (named.as_slice(), part) {
        ([], None) => Ok(None),
        ([], Some(part)) => {
            let (from, until) = part.hours();
            Ok(whole(from).zip(whole(until)).map(|(from, until)| Clock::Between(from, until)))
        }
        ([Clock::Between(from, until)], _) if from >= until => Err(Unclear::TwoTimes),
        ([one], _) => Ok(Some(*one)),
        _ => Err(Unclear::TwoTimes),
    }
}
