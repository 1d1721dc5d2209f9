//! What is going to befall one request, decided when it arrives. Every request passes through [`Player::decide`]: it is
//! the one place for faults to enter. Deliberately absent: doing any of it (server.rs).

use std::collections::HashSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::fault::{Fault, Faults, Marker, On};

/// How long a hanging request hangs, unless told otherwise.
const HANG_MS: u64 = 60_000;
/// How long a late reply or effect takes, unless told otherwise.
const LATE_MS: u64 = 1_000;
/// The real limiter blocks a key for this long.
const BLOCK_MS: u64 = 60_000;

/// The latency of mutating requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latency {
    /// Between arrival and effect.
    pub(crate) before: Duration,
    /// Between effect and reply.
    pub(crate) after: Duration,
}

/// The course of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// The fault that this is the course of.
    pub(crate) fault: Option<Fault>,
    pub(crate) latency: Latency,
    pub(crate) effect: When,
    pub(crate) reply: Reply,
}

/// When the API does what it was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// It never hears of it.
    Never,
    /// Before the reply, as it should be.
    First,
    /// So long after the reply has met its fate.
    After(Duration),
}

/// What the client is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    /// What the API answered.
    Truth,
    /// The same, held back for so long.
    Late(Duration),
    /// The same, with half of its body.
    Half,
    /// 500.
    Broken,
    /// 429 with the wait that the limiter asks for.
    TooMany(Duration),
    /// Nothing: the connection ends with a FIN.
    Closed,
    /// Nothing: the connection ends with a RST.
    Reset,
    /// Nothing, for so long at most; then as [`Reply::Closed`].
    Hang(Duration),
}

/// Plays a plan of faults: counts the requests, draws the lots.
pub(crate) struct Player {
    faults: Faults,
    /// For each rule: how many requests it has seen, and its lots. Every rule draws for each request of its kind, whether
    /// it can strike or not, so that no rule changes what another one draws.
    rules: Vec<(u64, StdRng)>,
    /// The markers that have been played, by the request that they stood for.
    spent: HashSet<(On, Fault, String)>,
}

impl Player {
    pub(crate) fn new(faults: Faults, seed: Option<u64>) -> anyhow::Result<Self> {
        faults.check()?;
        let seed = faults.seed.or(seed).unwrap_or_else(rand::random);
        let rules = (0..faults.rules.len() as u64).map(|n| (0, StdRng::seed_from_u64(seed.wrapping_add(n)))).collect();
        Ok(Self { faults: Faults { seed: Some(seed), ..faults }, rules, spent: HashSet::new() })
    }

    /// The plan in force, its seed filled in.
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The course of the request that arrives now. `named` tells it from others: a marker strikes the first of those
    /// that are named alike and lets its repetitions pass. Markers count before rules.
    pub(crate) fn decide(&mut self, on: Option<On>, marker: Option<Marker>, named: &str, latency: Latency) -> Plan {
        let Some(on) = on else { return Plan::good(Latency::default()) };
        let latency = match on {
            On::Create | On::Cancel | On::Reschedule => latency,
            On::Get | On::List | On::Slots => Latency::default(),
        };
        let ruled = self.rule(on);
        let marked = marker
            .filter(|marker| self.spent.insert((on, marker.fault, named.to_owned())))
            .map(|marker| (marker.fault, marker.delay_ms));
        match marked.or(ruled) {
            Some((fault, delay_ms)) => Plan::bad(fault, delay_ms, latency),
            None => Plan::good(latency),
        }
    }

    fn rule(&mut self, on: On) -> Option<(Fault, Option<u64>)> {
        let mut struck = None;
        for (rule, (seen, lots)) in self.faults.rules.iter().zip(&mut self.rules).filter(|(rule, _)| rule.on == on) {
            *seen += 1;
            let lot: f64 = lots.random();
            let strikes = match (rule.nth, rule.probability) {
                (Some(nth), _) => *seen == nth,
                (None, Some(probability)) => lot < probability,
                (None, None) => true,
            };
            if strikes && struck.is_none() {
                struck = Some((rule.fault, rule.delay_ms));
            }
        }
        struck
    }
}

impl Plan {
    /// The limiter has turned the request away: it meets no fault.
    pub(crate) fn throttled(wait: Duration) -> Self {
        Self { effect: When::Never, reply: Reply::TooMany(wait), ..Self::good(Latency::default()) }
    }

    fn good(latency: Latency) -> Self {
        Self { fault: None, latency, effect: When::First, reply: Reply::Truth }
    }

    fn bad(fault: Fault, delay_ms: Option<u64>, latency: Latency) -> Self {
        let delay = |default_ms: u64| Duration::from_millis(delay_ms.unwrap_or(default_ms));
        let (effect, reply) = match fault {
            Fault::Refuse => (When::Never, Reply::Closed),
            Fault::TooManyRequests => (When::Never, Reply::TooMany(delay(BLOCK_MS))),
            Fault::BrokenBefore => (When::Never, Reply::Broken),
            Fault::BrokenAfter => (When::First, Reply::Broken),
            Fault::ResetBefore => (When::Never, Reply::Reset),
            Fault::ResetAfter => (When::First, Reply::Reset),
            Fault::HangBefore => (When::Never, Reply::Hang(delay(HANG_MS))),
            Fault::HangAfter => (When::First, Reply::Hang(delay(HANG_MS))),
            Fault::CutBody => (When::First, Reply::Half),
            Fault::LateReply => (When::First, Reply::Late(delay(LATE_MS))),
            Fault::LateEffect => (When::After(delay(LATE_MS)), Reply::Broken),
            Fault::LateEffectHang => (When::After(delay(LATE_MS)), Reply::Hang(Duration::from_millis(HANG_MS))),
        };
        Self { fault: Some(fault), latency, effect, reply }
    }
}
