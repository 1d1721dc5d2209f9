//! The budget of one key of Cal.com, and whether Cal.com answers at all: who may ask now, and who waits until when.
//!
//! One bucket for the whole fleet; its row is read and written under its own lock, by the database's clock. Deliberately
//! absent: reservations. What was granted counts as used, whatever became of it.

use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// Cal.com counts the requests of so many seconds.
pub const WINDOW_SECONDS: u32 = 60;
/// A grant is good for so long, by the monotonic clock of whoever was given it.
pub const GRANT: Duration = Duration::from_secs(1);
/// What is granted at one moment arrives at another: up to [`GRANT`] later it is begun, up to 3 s its connection may
/// take, and a second it may be on its way. So a grant counts for so much longer than the window.
const LATE_SECONDS: u32 = 5;
/// Whole seconds are counted, so one more is needed for the part of a second at either end.
pub const COUNTED_SECONDS: usize = (WINDOW_SECONDS + LATE_SECONDS + 1) as usize;

/// So many requests in a row without a usable answer, and nothing more is sent …
const STRIKES: u16 = 3;
/// … until one that is under way is answered, or so long since the first of them has passed. Then Cal.com is taken to be
/// down: some that fail at one moment while others are answered are a hiccup, often our own.
const STRIKES_LAST: TimeDelta = TimeDelta::seconds(1);
/// The first pause between two probes, in seconds; each further one is twice as long, up to …
const PROBE_SECONDS: u32 = 1;
/// … this.
const PROBE_SECONDS_MAX: u32 = 15;
/// The oldest promise has the probe; if it has not been taken for so long, anybody may.
const PROBE_OVERDUE: TimeDelta = TimeDelta::seconds(2);
/// While a probe is under way it is worth asking again so soon.
const PROBE_ASK_AGAIN: TimeDelta = TimeDelta::seconds(2);
/// For so long after an outage the older promises go first, however much of the budget is left.
const BACKLOG: TimeDelta = TimeDelta::minutes(5);
/// So many of the oldest may go at once then: a few processes are to be kept busy, and nobody to be overtaken by many
/// more. With 16 a fleet that could do 40 a second did 5.
const ABREAST: u32 = 32;
/// Those behind them come back one after another at this distance: 100 a second, so that a long backlog does not ask
/// as one.
pub const PACE: TimeDelta = TimeDelta::milliseconds(10);

/// What a request is for; it says how much of the budget may be used up before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Purpose {
    /// Brings a promise to Cal.com: up to nine tenths. The last tenth is kept for resolving.
    Act,
    /// Finds out what became of a request: all of it.
    Look,
    /// Compares without a cause: up to four fifths.
    Sweep,
    /// Asks what is free: up to half. However many ask, the other half brings promises.
    Slots,
}

impl Purpose {
    /// Requests a window that may be out before one of this purpose is refused.
    fn ceiling(self, requests: u32) -> u32 {
        let tenths = match self {
            Self::Act => 9,
            Self::Look => 10,
            Self::Sweep => 8,
            Self::Slots => 5,
        };
        u32::try_from(u64::from(requests) * tenths / 10).unwrap_or(requests)
    }
}

/// What the operator has set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Requests that one key may make in [`WINDOW_SECONDS`].
    pub requests: u32,
    /// The longest that a request may take.
    pub timeout: TimeDelta,
}

/// What came of a request that was granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// An answer, whatever it said.
    Answered,
    /// 429: the key rests for so long.
    Throttled(Duration),
    /// No connection.
    NotSent,
    /// Silence, a broken connection, 5xx, something that is no answer of Cal.com's.
    Ambiguous,
}

/// Whoever has it may send one request within [`GRANT`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pass {
    /// Cal.com is taken to be down, and this request, by its number, finds out whether it still is.
    pub probe: Option<u32>,
}

/// Why nobody may ask now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// Cal.com has throttled the key.
    Paused,
    /// Cal.com is down.
    Down,
    /// The budget is used up for this purpose.
    Spent,
}

impl Why {
    /// A word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Down => "down",
            Self::Spent => "spent",
        }
    }
}

/// An answer to "may I ask?".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grant {
    /// Yes.
    Go(Pass),
    /// Not before `until`.
    Wait {
        /// When it is worth asking again.
        until: DateTime<Utc>,
        /// What is in the way.
        why: Why,
    },
}

/// Cal.com does not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Down {
    /// From here the next probe may go.
    pub next_probe_at: DateTime<Utc>,
    /// Probes so far.
    pub probes: u32,
    /// The last of them is under way; after `next_probe_at` it is given up.
    pub probing: bool,
}

/// How the waiting jobs of a key stand to a claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rest {
    /// What would act waits until then; `None` = go on.
    pub act: Option<DateTime<Utc>>,
    /// What would look waits until then.
    pub look: Option<DateTime<Utc>>,
}

/// What is known of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bucket {
    /// The newest second that is counted, since 1970.
    pub second: i64,
    /// What was granted in that second, in the one before it, and so on.
    pub granted: [u32; COUNTED_SECONDS],
    /// Cal.com wants the key to rest until then.
    pub paused_until: Option<DateTime<Utc>>,
    /// Requests in a row without a usable answer.
    pub strikes: u16,
    /// When the first of them was heard of.
    pub struck_at: Option<DateTime<Utc>>,
    /// Set as long as Cal.com is taken to be down.
    pub down: Option<Down>,
    /// When the last outage ended.
    pub up_since: Option<DateTime<Utc>>,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            second: 0,
            granted: [0; COUNTED_SECONDS],
            paused_until: None,
            strikes: 0,
            struck_at: None,
            down: None,
            up_since: None,
        }
    }
}

impl Bucket {
    /// Asks for one request.
    pub fn take(&mut self, now: DateTime<Utc>, terms: Terms, purpose: Purpose) -> Grant {
        self.advance(now);
        if let Some(until) = self.paused(now) {
            return Grant::Wait { until, why: Why::Paused };
        }
        let down = self.down.or(self.in_doubt());
        if let Some(until) = down.map(|down| down.next_probe_at).filter(|at| *at > now) {
            return Grant::Wait { until, why: Why::Down };
        }
        if let Some(until) = self.room(purpose.ceiling(terms.requests), 1) {
            return Grant::Wait { until, why: Why::Spent };
        }
        self.granted[0] += 1;
        self.down = down;
        let probe = self.down.as_mut().map(|down| {
            down.probes = down.probes.saturating_add(1);
            down.probing = true;
            down.next_probe_at = now + terms.timeout + span(GRANT);
            down.probes
        });
        Grant::Go(Pass { probe })
    }

    /// Learns what came of a request. Says until when it is of no use to try the same again, if that is known.
    pub fn heard(&mut self, now: DateTime<Utc>, pass: Pass, heard: Heard) -> Option<DateTime<Utc>> {
        match heard {
            Heard::Answered => self.answers(now),
            Heard::Throttled(wait) => {
                self.answers(now);
                self.paused_until = self.paused_until.max(Some(now + span(wait)));
            }
            Heard::NotSent => self.strike(now, true, pass),
            Heard::Ambiguous => self.strike(now, false, pass),
        }
        self.paused(now).max(self.down.or(self.in_doubt()).map(|down| down.next_probe_at))
    }

    /// Is there something that the next usable answer must be told of?
    pub fn listens(&self) -> bool {
        self.strikes > 0 || self.down.is_some()
    }

    /// How much is left of the window for a look, which may use all of it.
    pub fn left(&self, now: DateTime<Utc>, terms: Terms) -> u32 {
        terms.requests.saturating_sub(self.at(now).used())
    }

    /// Does it matter how many older promises wait? Not while there is plenty for everybody.
    pub fn is_contested(&self, now: DateTime<Utc>, terms: Terms) -> bool {
        let left = Purpose::Act.ceiling(terms.requests).saturating_sub(self.at(now).used());
        let scarce = u64::from(left) * 5 < u64::from(terms.requests);
        scarce || self.down.or(self.in_doubt()).is_some() || self.has_a_backlog(now)
    }

    /// Until when a claim is of no use, if `ahead` older promises wait for the same key. Nobody waits here for good: a
    /// probe that the oldest one does not take is anybody's, and the rest is a number of seconds.
    pub fn rest(&self, now: DateTime<Utc>, terms: Terms, ahead: u32) -> Rest {
        let bucket = self.at(now);
        if let Some(until) = bucket.paused(now) {
            return Rest { act: Some(until), look: Some(until) };
        }
        let behind = PACE * i32::try_from(ahead).unwrap_or(i32::MAX);
        if let Some(Down { next_probe_at, probing, probes: _ }) = bucket.down.or(bucket.in_doubt()) {
            let until = if next_probe_at > now {
                let soon = now + PROBE_ASK_AGAIN;
                Some(if probing { next_probe_at.min(soon) } else { next_probe_at })
            } else {
                Some(next_probe_at + PROBE_OVERDUE).filter(|overdue| ahead > 0 && *overdue > now)
            };
            let until = until.map(|until| until + behind);
            return Rest { act: until, look: until };
        }
        let backlog = ahead >= ABREAST && bucket.has_a_backlog(now);
        let ahead = if bucket.is_contested(now, terms) { ahead } else { 0 };
        let act = bucket.room(Purpose::Act.ceiling(terms.requests), ahead.saturating_add(1));
        Rest {
            act: act.max(backlog.then(|| now + behind)),
            look: bucket.room(Purpose::Look.ceiling(terms.requests), 1),
        }
    }

    fn at(&self, now: DateTime<Utc>) -> Self {
        let mut bucket = self.clone();
        bucket.advance(now);
        bucket
    }

    /// Forgets what is too old. A clock that was set back a little is waited for; what lies further ahead than a whole
    /// window is of no clock that we know, and counts as of now.
    fn advance(&mut self, now: DateTime<Utc>) {
        let gone = now.timestamp().saturating_sub(self.second);
        match usize::try_from(gone) {
            Ok(0) => {}
            Ok(gone) => {
                let gone = gone.min(COUNTED_SECONDS);
                self.granted.rotate_right(gone);
                self.granted[..gone].fill(0);
                self.second = now.timestamp();
            }
            Err(_set_back) if gone.unsigned_abs() > COUNTED_SECONDS as u64 => self.second = now.timestamp(),
            Err(_set_back) => {}
        }
    }

    fn used(&self) -> u32 {
        self.granted.iter().fold(0, |sum, granted| sum.saturating_add(*granted))
    }

    /// When `wanted` more fit under the ceiling; `None` = now.
    fn room(&self, ceiling: u32, wanted: u32) -> Option<DateTime<Utc>> {
        let (ceiling, waiting) = (ceiling.max(1), wanted.saturating_sub(1));
        // What does not fit into one window fits into a later one.
        let (windows, wanted) = (waiting / ceiling, waiting % ceiling + 1);
        let length = i64::try_from(COUNTED_SECONDS).unwrap_or(i64::MAX);
        let mut used = self.used();
        let mut until = None;
        for (leaves, granted) in (1..).zip(self.granted.iter().rev()) {
            if used.saturating_add(wanted) <= ceiling {
                break;
            }
            used = used.saturating_sub(*granted);
            until = Some(self.second + leaves);
        }
        let later = i64::from(windows).saturating_mul(length);
        let until = until.or((later > 0).then_some(self.second))?;
        DateTime::from_timestamp(until.saturating_add(later), 0)
    }

    fn paused(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.paused_until.filter(|until| *until > now)
    }

    /// Enough have failed to wait for an answer, and not for long enough to believe that none will come. The next to go
    /// is the first probe.
    fn in_doubt(&self) -> Option<Down> {
        let since = self.struck_at.filter(|_| self.strikes >= STRIKES)?;
        Some(Down { next_probe_at: since + STRIKES_LAST, probes: 0, probing: false })
    }

    fn has_a_backlog(&self, now: DateTime<Utc>) -> bool {
        self.up_since.is_some_and(|since| now < since + BACKLOG)
    }

    fn answers(&mut self, now: DateTime<Utc>) {
        self.strikes = 0;
        self.struck_at = None;
        if self.down.take().is_some() {
            self.up_since = Some(now);
        }
    }

    /// A request has failed. While Cal.com is down only the probe's own failure is news.
    fn strike(&mut self, now: DateTime<Utc>, is_certain: bool, pass: Pass) {
        self.strikes = self.strikes.saturating_add(1);
        let since = *self.struck_at.get_or_insert(now);
        let falls = is_certain || (self.strikes >= STRIKES && now - since >= STRIKES_LAST);
        match &mut self.down {
            None if falls => {
                self.down = Some(Down { next_probe_at: now + pause(0), probes: 0, probing: false });
            }
            Some(down) if down.probing && pass.probe == Some(down.probes) => {
                down.probing = false;
                down.next_probe_at = now + pause(down.probes);
            }
            None | Some(_) => {}
        }
    }
}

/// Between one probe and the next.
fn pause(probes: u32) -> TimeDelta {
    let doubled = 2u32.checked_pow(probes).and_then(|factor| PROBE_SECONDS.checked_mul(factor));
    TimeDelta::seconds(doubled.unwrap_or(PROBE_SECONDS_MAX).min(PROBE_SECONDS_MAX).into())
}

fn span(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TERMS: Terms = Terms { requests: 120, timeout: TimeDelta::seconds(8) };

    fn at(millisecond: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_700_000_000_000 + millisecond).unwrap()
    }

    fn goes(bucket: &mut Bucket, millisecond: i64, purpose: Purpose) -> bool {
        goes_at(bucket, at(millisecond), purpose)
    }

    fn goes_at(bucket: &mut Bucket, now: DateTime<Utc>, purpose: Purpose) -> bool {
        matches!(bucket.take(now, TERMS, purpose), Grant::Go(_))
    }

    fn pass(bucket: &mut Bucket, millisecond: i64) -> Pass {
        match bucket.take(at(millisecond), TERMS, Purpose::Act) {
            Grant::Go(pass) => pass,
            wait @ Grant::Wait { .. } => panic!("{wait:?}"),
        }
    }

    fn purpose() -> impl Strategy<Value = Purpose> {
        prop_oneof![Just(Purpose::Act), Just(Purpose::Look), Just(Purpose::Sweep), Just(Purpose::Slots)]
    }

    /// A bucket that is down since 0 ms; its first probe is due at 1,000 ms.
    fn fallen() -> Bucket {
        let mut bucket = Bucket::default();
        let sent = pass(&mut bucket, 0);
        assert_eq!(bucket.heard(at(0), sent, Heard::NotSent), Some(at(1_000)));
        bucket
    }

    proptest! {
        /// The clock goes on by up to 0.4 s between two requests, and now and then it reads up to 1 s too little; what is
        /// granted arrives up to 3.9 s later.
        #[test]
        fn never_more_than_the_limit_arrive_in_a_window(
            steps in prop::collection::vec((-40i64..3_000, purpose(), 0i64..3_900), 1..1_500),
            requests in 10u32..130,
        ) {
            let terms = Terms { requests, ..TERMS };
            let (mut bucket, mut real, mut arrivals) = (Bucket::default(), 0, Vec::new());
            for (step, purpose, late) in steps {
                let set_back = if step < 0 { step * 25 } else { 0 };
                real += step.max(0) / 8;
                if matches!(bucket.take(at(real + set_back), terms, purpose), Grant::Go(_)) {
                    arrivals.push(real + late);
                }
            }
            arrivals.sort_unstable();
            let (window, requests) = (i64::from(WINDOW_SECONDS) * 1_000, requests as usize);
            for (n, last) in arrivals.iter().enumerate().skip(requests) {
                prop_assert!(last - arrivals[n - requests] >= window, "{} within {window} ms", requests + 1);
            }
        }

        #[test]
        fn whoever_waits_until_then_is_granted(
            before in prop::collection::vec((0i64..4_000, purpose()), 0..300), purpose in purpose(),
        ) {
            let (mut bucket, mut now) = (Bucket::default(), 0);
            for (step, purpose) in before {
                now += step / 16;
                goes(&mut bucket, now, purpose);
            }
            if let Grant::Wait { until, why } = bucket.take(at(now), TERMS, purpose) {
                prop_assert_eq!(why, Why::Spent);
                let just_before = until - TimeDelta::milliseconds(1);
                prop_assert!(until > at(now));
                prop_assert!(!goes_at(&mut bucket.clone(), just_before, purpose));
                prop_assert!(goes_at(&mut bucket, until, purpose));
            }
        }

        /// Whatever is heard of whichever request, and whenever: a probe begins only if the one before it was heard of
        /// or can have no effect any more.
        #[test]
        fn one_probe_at_a_time(
            steps in prop::collection::vec((0i64..9_000, any::<bool>(), any::<prop::sample::Index>()), 1..200),
        ) {
            let (mut bucket, mut now) = (fallen(), 0);
            let mut out: Vec<(i64, Pass)> = (0..5).map(|_| (0, Pass { probe: None })).collect();
            for (step, ask, which) in steps {
                now += step;
                if ask {
                    if let Grant::Go(pass) = bucket.take(at(now), TERMS, Purpose::Look) {
                        prop_assert!(pass.probe.is_some(), "while it is down nothing else goes");
                        let under_way = out.iter().filter(|(sent, pass)| pass.probe.is_some() && now < sent + 9_000);
                        prop_assert_eq!(under_way.count(), 0);
                        out.push((now, pass));
                    }
                } else if !out.is_empty() {
                    let (_, pass) = out.swap_remove(which.index(out.len()));
                    bucket.heard(at(now), pass, Heard::Ambiguous);
                }
            }
        }

        #[test]
        fn a_clock_that_was_set_back_costs_at_most_a_window(back in 0i64..10_000_000) {
            let mut bucket = Bucket::default();
            while goes(&mut bucket, 0, Purpose::Look) {}
            let later = -back + i64::from(WINDOW_SECONDS + 2 * LATE_SECONDS) * 1_000;
            prop_assert!(!goes(&mut bucket, -back, Purpose::Look), "what was granted is not forgotten");
            let waits = if back > 70_000 { later } else { 70_000 };
            prop_assert!(goes(&mut bucket, waits, Purpose::Look));
        }
    }

    #[test]
    fn a_tenth_is_kept_for_looks_and_a_fifth_from_sweeps() {
        let mut bucket = Bucket::default();
        let mut count = |purpose| (0..).take_while(|_| goes(&mut bucket, 0, purpose)).count();
        assert_eq!([count(Purpose::Sweep), count(Purpose::Act), count(Purpose::Look)], [96, 12, 12]);
        assert_eq!(bucket.left(at(0), TERMS), 0);
        assert_eq!(bucket.left(at(66_000), TERMS), 120);
    }

    #[test]
    fn a_throttled_key_rests_for_everybody() {
        let mut bucket = Bucket::default();
        let sent = pass(&mut bucket, 0);
        assert_eq!(bucket.heard(at(500), sent, Heard::Throttled(Duration::from_secs(60))), Some(at(60_500)));
        let paused = Grant::Wait { until: at(60_500), why: Why::Paused };
        for purpose in [Purpose::Act, Purpose::Look, Purpose::Sweep] {
            assert_eq!(bucket.take(at(60_499), TERMS, purpose), paused);
        }
        assert_eq!(bucket.rest(at(1_000), TERMS, 0), Rest { act: Some(at(60_500)), look: Some(at(60_500)) });
        bucket.heard(at(1_000), sent, Heard::Throttled(Duration::from_secs(1)));
        assert_eq!(bucket.take(at(60_499), TERMS, Purpose::Look), paused, "a shorter one does not end it");
        assert!(goes(&mut bucket, 60_500, Purpose::Act));
    }

    #[test]
    fn three_without_an_answer_in_a_second_are_an_outage_and_no_connection_is_one() {
        let mut bucket = Bucket::default();
        let sent = pass(&mut bucket, 0);
        for heard in [Heard::Ambiguous, Heard::Ambiguous, Heard::Answered, Heard::Ambiguous, Heard::Ambiguous] {
            assert_eq!(bucket.heard(at(0), sent, heard), None);
        }
        assert!(bucket.listens() && bucket.down.is_none() && goes(&mut bucket, 0, Purpose::Act));
        assert_eq!(bucket.heard(at(999), sent, Heard::Ambiguous), Some(at(1_000)), "within one second it is a hiccup");
        assert_eq!(bucket.heard(at(1_000), sent, Heard::Ambiguous), Some(at(2_000)));
        assert!(!goes(&mut bucket, 1_999, Purpose::Look));
        assert!(fallen().down.is_some());
    }

    /// 500 ms after the third of them.
    fn in_doubt() -> (Bucket, Pass) {
        let mut bucket = Bucket::default();
        let sent = pass(&mut bucket, 0);
        for millisecond in [0, 200, 500] {
            bucket.heard(at(millisecond), sent, Heard::Ambiguous);
        }
        (bucket, sent)
    }

    #[test]
    fn in_doubt_nothing_more_is_sent_until_an_answer_or_the_probe() {
        let (bucket, sent) = in_doubt();
        let wait = Grant::Wait { until: at(1_000), why: Why::Down };
        assert_eq!(bucket.clone().take(at(501), TERMS, Purpose::Look), wait);
        assert_eq!(bucket.rest(at(501), TERMS, 0).act, Some(at(1_000)));
        assert_eq!(bucket.rest(at(501), TERMS, 5).look, Some(at(1_050)));

        let mut answered = bucket.clone();
        assert_eq!(answered.heard(at(502), sent, Heard::Answered), None);
        assert!(goes(&mut answered, 502, Purpose::Act) && answered.up_since.is_none(), "it was never down");

        let mut silent = bucket;
        assert_eq!(silent.rest(at(1_000), TERMS, 0), Rest::default(), "the oldest has the probe");
        assert_eq!(silent.rest(at(1_000), TERMS, 1).act, Some(at(3_010)));
        assert_eq!(pass(&mut silent, 1_000), Pass { probe: Some(1) });
        assert!(silent.down.is_some() && !goes(&mut silent, 1_001, Purpose::Look));
    }

    #[test]
    fn probes_come_after_1_2_4_8_and_15_seconds_and_one_that_is_never_heard_of_after_the_timeout() {
        let (mut bucket, mut now, mut pauses) = (fallen(), 1_000, Vec::new());
        for _ in 0..6 {
            let probe = pass(&mut bucket, now);
            assert_eq!(
                bucket.take(at(now), TERMS, Purpose::Look),
                Grant::Wait { until: at(now + 9_000), why: Why::Down }
            );
            let next = bucket.heard(at(now), probe, Heard::NotSent).unwrap();
            pauses.push((next - at(now)).num_seconds());
            now += pauses[pauses.len() - 1] * 1_000;
        }
        assert_eq!(pauses, [2, 4, 8, 15, 15, 15]);
        let lost = pass(&mut bucket, now);
        let next = pass(&mut bucket, now + 9_000);
        assert_ne!(lost, next);
        let unchanged = bucket.clone();
        bucket.heard(at(now + 9_001), lost, Heard::Ambiguous);
        assert_eq!(bucket.down, unchanged.down, "a probe that was given up is no news");
        assert_eq!(bucket.heard(at(now + 9_002), next, Heard::Answered), None);
        assert!(goes(&mut bucket, now + 9_003, Purpose::Act));
    }

    #[test]
    fn the_probe_is_the_oldest_promises_and_after_two_seconds_anybodys() {
        let bucket = fallen();
        let rest = |millisecond, ahead| bucket.rest(at(millisecond), TERMS, ahead).act;
        assert_eq!(rest(500, 0), Some(at(1_000)));
        assert_eq!(rest(500, 7), Some(at(1_070)));
        assert_eq!(rest(1_000, 0), None);
        assert_eq!(rest(1_000, 1), Some(at(3_010)));
        assert_eq!(rest(3_000, 500), None);
        let mut bucket = fallen();
        pass(&mut bucket, 1_000);
        assert_eq!(bucket.rest(at(1_100), TERMS, 0).look, Some(at(3_100)), "its answer may come any moment");
    }

    #[test]
    fn where_it_is_scarce_whoever_is_younger_waits_for_the_turn_of_the_older() {
        let mut bucket = Bucket::default();
        assert!(!bucket.is_contested(at(0), TERMS));
        assert_eq!(bucket.rest(at(0), TERMS, 1_000), Rest::default(), "there is plenty");
        (0..50).for_each(|_| assert!(goes(&mut bucket, 0, Purpose::Act)));
        (0..40).for_each(|_| assert!(goes(&mut bucket, 10_000, Purpose::Act)));
        assert!(bucket.is_contested(at(10_000), TERMS));
        let act = |ahead| bucket.rest(at(10_000), TERMS, ahead).act;
        assert_eq!((act(0), act(17)), (None, None), "18 are left for 18");
        assert_eq!((act(18), act(67)), (Some(at(66_000)), Some(at(66_000))));
        assert_eq!((act(68), act(107)), (Some(at(76_000)), Some(at(76_000))));
        assert_eq!(act(108), Some(at(76_000)), "what does not fit into this window fits into the next");
        assert_eq!(bucket.rest(at(10_000), TERMS, 500).look, None);
    }

    #[test]
    fn questions_for_free_time_leave_half_of_the_budget() {
        let mut bucket = Bucket::default();
        let asked = (0..200).filter(|_| goes(&mut bucket, 0, Purpose::Slots)).count();
        let acted = (0..200).filter(|_| goes(&mut bucket, 0, Purpose::Act)).count();
        assert_eq!((asked, acted), (60, 48));
        assert!(!goes(&mut bucket, 0, Purpose::Slots) && goes(&mut bucket, 0, Purpose::Look));
    }

    #[test]
    fn after_an_outage_the_oldest_go_first_until_the_backlog_is_old() {
        let mut bucket = fallen();
        let probe = pass(&mut bucket, 1_000);
        bucket.heard(at(1_100), probe, Heard::Answered);
        let act = |millisecond, ahead| bucket.rest(at(millisecond), TERMS, ahead).act;
        assert_eq!((act(1_200, 31), act(1_200, 32)), (None, Some(at(1_520))));
        assert_eq!(act(301_100, 32), None);
    }
}
