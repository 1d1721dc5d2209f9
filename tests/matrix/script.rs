//! What exactly is played in a cell: the one place where the seed decides. Every choice is drawn by its own name, so that
//! the same seed plays the same, whatever else is drawn.
//!
//! Deliberately absent: ids, and the jitter of the workers.

use crate::cell::{Cell, Meanwhile, Op, Trouble, Worker};
use sandbox::{Checks, Fault, Faults, On, Overlap, Rule};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Δ, as short as its order allows: longer than Cal.com's timeout.
const QUARANTINE: Duration = Duration::from_secs(2);
/// Room for a replica that lags longer than a lost lease and the look after it take.
const LONG_QUARANTINE: Duration = Duration::from_secs(6);
const LAG: Duration = Duration::from_millis(4_500);
/// The look at the end of Δ is over by then; that of the next request's Δ is not.
const LAG_PAST: Duration = Duration::from_millis(3_600);
/// The window of Cal.com's check that is made too early.
const WINDOW: Duration = Duration::from_millis(400);
/// Of a sweep that is waited for.
const SWEEP: Duration = Duration::from_secs(1);
/// What the customer does comes at once, before the answer, after the timeout, or about when it is looked for.
const MEANWHILE_AFTER_MS: [u64; 4] = [0, 0, 300, 1_200];
/// Faults whose effect there is, and whose answer is lost.
const LOST_ANSWERS: [Fault; 4] = [Fault::BrokenAfter, Fault::ResetAfter, Fault::CutBody, Fault::HangAfter];

/// What is played.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// What the request meets, with the fault's delay.
    pub(crate) fault: Option<(Fault, Option<u64>)>,
    pub(crate) checks: Checks,
    pub(crate) lag: Duration,
    pub(crate) quarantine: Duration,
    /// Often, where something is to be found that no op asks about.
    pub(crate) sweep: Option<Duration>,
    /// After the request has arrived or the worker is dead.
    pub(crate) meanwhile_after: Duration,
    /// A reschedule meanwhile goes back to the first time, not to a third one.
    pub(crate) back: bool,
}

impl Script {
    pub(crate) fn of(cell: &Cell, seed: u64) -> Self {
        let draw = |what: &str| draw(seed, &format!("{cell} {what}"));
        let pick = |what: &str, of: &[u64]| of[usize::try_from(draw(what)).unwrap_or(0) % of.len()];
        let lost = || (LOST_ANSWERS[usize::try_from(draw("lost answer")).unwrap_or(0) % LOST_ANSWERS.len()], None);
        let own = |fault| match fault {
            Fault::TooManyRequests => Some(1_000),
            // Of a worker that is to wake up with its answer, in time.
            Fault::LateReply if cell.worker == Worker::StandsStill => Some(100),
            // In time, or after Cal.com's timeout.
            Fault::LateReply => Some(pick("late reply", &[300, 1_500])),
            Fault::LateEffect => Some(pick("late effect", &[300, 1_200])),
            Fault::LateEffectHang => Some(pick("late effect", &[100, 400])),
            Fault::Refuse
            | Fault::BrokenBefore
            | Fault::BrokenAfter
            | Fault::ResetBefore
            | Fault::ResetAfter
            | Fault::HangBefore
            | Fault::HangAfter
            | Fault::CutBody => None,
        };
        let fault = match cell.trouble {
            Trouble::Fault(fault) => Some((fault, own(fault))),
            Trouble::NaturalKeyOff | Trouble::ReplicaLag => Some(lost()),
            Trouble::Pending if cell.worker != Worker::StandsStill => (draw("loses") % 2 == 0).then(lost),
            Trouble::EffectPastQuarantine => Some((Fault::LateEffect, Some(4_500))),
            Trouble::LagPastQuarantine => Some((Fault::BrokenAfter, None)),
            Trouble::Calm | Trouble::Taken | Trouble::OverlapToctou | Trouble::OverlapOff | Trouble::Pending => None,
        };
        let is = |troubles: &[Trouble]| troubles.contains(&cell.trouble);
        let overlap = if is(&[Trouble::OverlapToctou]) {
            Overlap::Toctou(WINDOW)
        } else if is(&[Trouble::NaturalKeyOff, Trouble::OverlapOff, Trouble::EffectPastQuarantine]) {
            Overlap::Off
        } else {
            Overlap::Strict
        };
        let natural_key = !is(&[Trouble::NaturalKeyOff, Trouble::EffectPastQuarantine]);
        let unsent = cell.worker == Worker::DiesBeforeAct && cell.trouble != Trouble::Calm;
        Self {
            fault,
            checks: Checks { natural_key, overlap },
            lag: if is(&[Trouble::ReplicaLag]) {
                LAG
            } else if is(&[Trouble::LagPastQuarantine]) {
                LAG_PAST
            } else {
                Duration::ZERO
            },
            quarantine: if cell.trouble == Trouble::ReplicaLag { LONG_QUARANTINE } else { QUARANTINE },
            sweep: (cell.trouble.breaks_the_quarantine() || cell.trouble == Trouble::Pending).then_some(SWEEP),
            meanwhile_after: Duration::from_millis(pick("meanwhile", &MEANWHILE_AFTER_MS)),
            // Moved back before anything was sent, there would be nothing to ask for.
            back: cell.op == Op::Reschedule
                && cell.meanwhile == Meanwhile::Reschedule
                && !unsent
                // What comes late finds the booking only where nothing else was asked for.
                && (cell.trouble == Trouble::EffectPastQuarantine || draw("back") % 2 == 0),
        }
    }

    /// The plan for the sandbox: the first request of its kind meets the fault.
    pub(crate) fn faults(&self, op: Op) -> Faults {
        let on = match op {
            Op::Create => On::Create,
            Op::Reschedule => On::Reschedule,
            Op::Cancel => On::Cancel,
        };
        let rule = |(fault, delay_ms)| Rule { delay_ms, ..Rule::nth(on, 1, fault) };
        Faults { seed: None, rules: self.fault.map(rule).into_iter().collect() }
    }

    /// How long after its answer the effect of the request comes; `None` = before it.
    pub(crate) fn late(&self) -> Option<Duration> {
        let (fault, delay_ms) = self.fault?;
        matches!(fault, Fault::LateEffect | Fault::LateEffectHang).then(|| Duration::from_millis(delay_ms.unwrap_or(0)))
    }
}

/// A number that belongs to the seed and to what is drawn.
pub(crate) fn draw(seed: u64, what: &str) -> u64 {
    let hash = Sha256::new().chain_update(seed.to_be_bytes()).chain_update(what).finalize();
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
