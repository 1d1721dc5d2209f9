//! How long to wait: pure functions of a count and a random number.

use chrono::TimeDelta;

/// Exponential back-off, factor 5, with full jitter: uniform in `[0, min(max, base × 5^attempt)]`.
/// `chance` is in `[0, 1]`.
pub fn back_off(attempt: u16, chance: f64, base: TimeDelta, max: TimeDelta) -> TimeDelta {
    let ceiling = 5i64
        .checked_pow(attempt.into())
        .and_then(|factor| base.num_milliseconds().checked_mul(factor))
        .map_or(max.num_milliseconds(), |ms| ms.min(max.num_milliseconds()));
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "milliseconds up to hours")]
    let ms = (ceiling as f64 * chance.clamp(0.0, 1.0)) as i64;
    TimeDelta::milliseconds(ms)
}

/// When to look again for an op of unknown outcome: 1, 5, 30, then 60 s after the last look, but one look is cut to the
/// moment at which its quarantine ends (`since_sent` is its age now).
pub fn next_look(looks: u16, since_sent: TimeDelta, quarantine: TimeDelta) -> TimeDelta {
    let pause = TimeDelta::seconds(match looks {
        0 => 1,
        1 => 5,
        2 => 30,
        _ => 60,
    });
    let left = quarantine - since_sent;
    if left > TimeDelta::zero() && left < pause { left } else { pause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn back_off_stays_between_zero_and_its_ceiling(attempt in 0u16.., chance in 0.0f64..=1.0) {
            let (base, max) = (TimeDelta::seconds(1), TimeDelta::minutes(15));
            let wait = back_off(attempt, chance, base, max);
            prop_assert!(wait >= TimeDelta::zero() && wait <= max);
            prop_assert_eq!(wait, back_off(attempt, chance, base, max));
        }
    }

    #[test]
    fn it_grows_by_five() {
        let top = |n| back_off(n, 1.0, TimeDelta::seconds(1), TimeDelta::minutes(15)).num_seconds();
        assert_eq!([top(0), top(1), top(2), top(3), top(4), top(5)], [1, 5, 25, 125, 625, 900]);
    }

    #[test]
    fn one_look_falls_on_the_end_of_the_quarantine() {
        let delta = TimeDelta::seconds(90);
        assert_eq!(next_look(0, TimeDelta::seconds(8), delta), TimeDelta::seconds(1));
        assert_eq!(next_look(3, TimeDelta::seconds(60), delta), TimeDelta::seconds(30));
        assert_eq!(next_look(3, TimeDelta::seconds(91), delta), TimeDelta::seconds(60));
    }
}
