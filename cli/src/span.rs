//! Spans of time as people write them, and how they are read back: `90s`, `5m`, `2h`, `3d`.
//!
//! Deliberately absent: two units in one word, and fractions.

use std::time::Duration;

/// No operator asks about what is older than this; and the database can subtract it.
const DAYS_MAX: u64 = 36_500;

/// A number and its unit.
pub(crate) fn parse(written: &str) -> Result<Duration, String> {
    let wanted = || "a span is a number and s, m, h or d, for example 90s or 2h".to_owned();
    let unit = written.chars().next_back().ok_or_else(wanted)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wanted()),
    };
    let digits = &written[..written.len() - unit.len_utf8()];
    let number = Some(digits).filter(|d| d.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse::<u64>().ok());
    let whole = number.ok_or_else(wanted)?.checked_mul(seconds).filter(|whole| *whole <= DAYS_MAX * 86_400);
    whole.map(Duration::from_secs).ok_or_else(|| format!("a span is at most {DAYS_MAX}d"))
}

/// An age in its largest unit that is not zero.
pub(crate) fn age(seconds: i64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let fits = units.into_iter().find(|(length, _)| seconds >= *length);
    fits.map_or_else(|| format!("{}s", seconds.max(0)), |(length, unit)| format!("{}{unit}", seconds / length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        for (written, seconds) in [("0s", 0), ("90s", 90), ("5m", 300), ("2h", 7_200), ("3d", 259_200)] {
            assert_eq!(parse(written), Ok(Duration::from_secs(seconds)), "{written}");
        }
        for written in ["", "5", "m", "-5m", "+5m", "1.5h", "5 m", "5w", "5ü", "36501d", "99999999999999999999s"] {
            assert!(parse(written).is_err(), "{written}");
        }
    }

    #[test]
    fn an_age_is_short() {
        let read = [-1, 0, 59, 60, 7_199, 7_200, 86_400 * 400].map(age);
        assert_eq!(read, ["0s", "0s", "59s", "1m", "1h", "2h", "400d"]);
    }
}
