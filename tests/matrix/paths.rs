//! The rare paths: what a system that is seldom in trouble seldom does. A whole run in which one of them was not seen has
//! proved nothing of it, and fails.

use crate::found::{Request, SentOp};
use crate::hit::span;
use crate::play::Played;
use std::collections::BTreeMap;

/// A path, and how often a play has taken it.
type Path = (&'static str, fn(&Played) -> usize);

const PATHS: [Path; 8] = [
    ("adopted by a look", |p| ops(p, |op| op.state == "applied" && op.looks > 0)),
    ("never after Δ", |p| ops(p, |op| op.state == "never" && op.looks > 0)),
    ("self-conflict adopted", self_conflicts),
    ("spare cancelled", |p| usize::try_from(p.found.spares).unwrap_or(0)),
    ("refused → rejected", |p| events(p, "rejected")),
    ("refused → moved_back", |p| events(p, "moved_back")),
    ("evidence after a lost lease", |p| usize::from(p.evidence)),
    ("quarantine", quarantined),
];

/// How often each was seen.
#[derive(Default)]
pub(crate) struct Seen(BTreeMap<&'static str, usize>);

impl Seen {
    pub(crate) fn add(&mut self, played: &Played) {
        for (name, count) in PATHS {
            *self.0.entry(name).or_default() += count(played);
        }
    }

    pub(crate) fn counts(&self) -> &BTreeMap<&'static str, usize> {
        &self.0
    }

    pub(crate) fn unhit(&self) -> Vec<&'static str> {
        PATHS.iter().map(|(name, _)| *name).filter(|name| self.0.get(name).is_none_or(|count| *count == 0)).collect()
    }
}

fn ops(played: &Played, is_so: fn(&SentOp) -> bool) -> usize {
    played.found.ops.iter().filter(|op| is_so(op)).count()
}

fn events(played: &Played, what: &str) -> usize {
    played.found.events.iter().filter(|event| event.what == what && event.who == "calcom").count()
}

/// Cal.com has said "taken" or "cancelled already", and it was our own booking: the op counts as applied.
fn self_conflicts(played: &Played) -> usize {
    let said_no = |r: &Request| r.reply.is_some_and(|reply| matches!(reply.status, Some(400 | 409)));
    let adopted = |r: &Request| said_no(r) && r.effect.is_none() && r.intent.is_some_and(|op| op.state == "applied");
    played.found.requests().into_iter().filter(adopted).count()
}

/// A look has found nothing, and nothing was done before Δ was over.
fn quarantined(played: &Played) -> usize {
    let quarantine = span(played.script.quarantine);
    let waited = |op: &&SentOp| op.looks > 1 && op.resolved_at.is_some_and(|at| at >= op.sent_at + quarantine);
    played.found.ops.iter().filter(waited).count()
}
