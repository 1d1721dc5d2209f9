//! A program dies by SIGKILL at each step in turn, or stands still, or loses the answer to its COMMIT; another one finds
//! what it left. One booking each time, one effect at Cal.com, and nothing sent a second time before its quarantine is
//! over.
//!
//! How long it took is printed and judged by nobody: the promise is Δ + lease + 5 s, which is 10 s here. Needs binaries
//! with the feature `crashpoints`; `./dev test` builds them.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(feature = "crashpoints")]

mod call;
mod commit;
mod drain;
mod points;
mod story;
mod telephone;

use chrono::{DateTime, TimeDelta, Utc};
use harness::{Answer, QUARANTINE, World};
use sandbox::What;
use std::time::Instant;
use uuid::Uuid;

/// What the creates, cancels or moves of one appointment cost.
#[derive(PartialEq, Eq, Debug)]
struct Cost {
    /// Requests that reached Cal.com.
    requests: usize,
    /// Intents.
    ops: usize,
    /// How often an intent of unknown outcome was taken over and looked for.
    looks: i64,
    /// Workers that were lost over a job.
    crashes: i64,
}

/// Nothing happened that could be seen afterwards.
const PLAIN: Cost = Cost { requests: 1, ops: 1, looks: 0, crashes: 0 };
/// An intent was left behind; a look found what it had done.
const FOUND: Cost = Cost { requests: 1, ops: 1, looks: 1, crashes: 1 };
/// An intent was left behind that had never been sent; after the quarantine there was another one.
const INTENDED_AGAIN: Cost = Cost { requests: 1, ops: 2, looks: 1, crashes: 1 };

impl Cost {
    /// Exactly that; a recovery may cost more on a slow machine, but never a second request.
    fn must_be(&self, expected: &Self, fault: &str) {
        let as_much = self.ops >= expected.ops && self.looks >= expected.looks && self.crashes >= expected.crashes;
        let is_so = if *expected == PLAIN { *self == PLAIN } else { self.requests == 1 && as_much };
        assert!(is_so, "{fault}: {self:?} instead of {expected:?}");
    }
}

/// Times of a worker that are so long that no slow machine turns an answer into an unknown one.
fn unhurried() -> [(&'static str, String); 3] {
    [("ASKPRO_CALCOM_TIMEOUT_MS", 9_000), ("ASKPRO_LEASE_MS", 30_000), ("ASKPRO_QUARANTINE_MS", 60_000)]
        .map(|(name, milliseconds)| (name, milliseconds.to_string()))
}

/// Waits for rest, prints how long it took since the fault, and reads what ops of that kind have cost.
async fn cost(world: &World, kind: &str, fault: &str, since: Instant) -> Cost {
    world.rests().await;
    eprintln!("{kind}, {fault}: at rest after {:.1} s", since.elapsed().as_secs_f64());
    let sent: Vec<(DateTime<Utc>, i16)> =
        sqlx::query_as("SELECT sent_at, looks FROM calcom_op WHERE kind = $1 ORDER BY sent_at")
            .bind(kind)
            .fetch_all(&world.pool)
            .await
            .unwrap();
    let path = if kind == "create" { "/bookings".to_owned() } else { format!("/{kind}") };
    let arrived = |entry: &sandbox::Entry| entry.what == What::Arrival && entry.path.ends_with(&path);
    let requests: Vec<_> = world.sandbox.ledger().into_iter().filter(|e| e.method == "POST" && arrived(e)).collect();
    if let ([first, _, ..], Some(last)) = (&sent[..], requests.last()) {
        let apart = last.at - first.0;
        assert!(apart >= TimeDelta::from_std(QUARANTINE).unwrap(), "{fault}: sent again after {apart}");
    }
    Cost {
        requests: requests.len(),
        ops: sent.len(),
        looks: sent.iter().map(|(_, looks)| i64::from(*looks)).sum(),
        crashes: world.count("SELECT sum(crashes) FROM job").await,
    }
}

fn appointment(answer: &Answer) -> Uuid {
    answer.body["appointment"]["id"].as_str().unwrap().parse().unwrap()
}
