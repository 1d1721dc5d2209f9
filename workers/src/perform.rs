//! What happens to every job: claim → act → settle. The one function with all the control flow.
//!
//! Deliberately absent: retries of the act (an unknown outcome is looked for, never repeated), and any wait for the
//! next run: that is a column of the job.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use crashpoint::{Point, here};
use domain::id::JobId;
use domain::outcome::Outcome;
use futures::FutureExt;
use queue::Task;
use store::{Claim, Claimed, JobRef, Settled, StoreError};
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use crate::act::act;
use crate::bell::task;
use crate::event::follow;
use crate::held::{Held, HeldEvent};
use crate::lease::Lease;
use crate::world::World;

/// Between two tries of a settle, at most.
const SETTLE_AGAIN: Duration = Duration::from_millis(500);

/// What there is to do.
pub enum Work {
    /// Somebody rang for this job; it is not claimed.
    Rung(Task),
    /// It is ours already.
    Claimed(Held),
    /// A hint that is ours to follow.
    Event(HeldEvent),
}

/// Does one job, or nothing if it is not to be had. Never fails: whatever goes wrong is a state of the job.
pub async fn perform(world: &World, work: Work) {
    let work = match work {
        Work::Rung(task) => match claim(world, task).await {
            Some(work) => work,
            None => return,
        },
        ours @ (Work::Claimed(_) | Work::Event(_)) => ours,
    };
    let mut held = match work {
        Work::Claimed(held) => held,
        Work::Event(event) => return follow(world, event).await,
        Work::Rung(_) => return,
    };
    here(Point::Claimed);
    let claimed = &held.claimed;
    let span = tracing::info_span!(
        "job",
        company = claimed.job.company_id,
        job = %claimed.job.job_id,
        kind = claimed.kind.as_str(),
        appointment = %claimed.appointment_id,
        attempt = claimed.fence,
        effect = claimed.effect.kind.as_str(),
    );
    hold(world, &mut held).instrument(span).await;
}

async fn hold(world: &World, held: &mut Held) {
    let lease = {
        let (store, job, fence) = (world.store.clone(), held.claimed.job, held.claimed.fence);
        Lease::keep(held.asked_at, world.lease, world.renewal, move || {
            let store = store.clone();
            async move { store.renew(job, fence).await }
        })
    };
    let begun = Instant::now();
    let acted = match AssertUnwindSafe(act(world, held, lease.lost())).catch_unwind().await {
        Ok(Some(acted)) => acted,
        Ok(None) => {
            metrics::counter!("askpro_leases_lost_total").increment(1);
            return tracing::warn!("the lease was lost; somebody else goes on with this job");
        }
        Err(_panic) => {
            // What it said is with the panic hook. The intent is committed and may have been sent.
            metrics::counter!("askpro_job_panics_total").increment(1);
            tracing::error!("the act panicked");
            Outcome::Unknown { answered: None }.into()
        }
    };
    here(Point::Answered);
    let labels = [("effect", held.claimed.effect.kind.as_str()), ("outcome", word(&acted.outcome))];
    metrics::histogram!("askpro_act_seconds", &labels).record(begun.elapsed().as_secs_f64());
    held.claimed.asked.answered = acted.answered.or(held.claimed.asked.answered);
    settle(world, &held.claimed, &acted.outcome, &lease).await;
}

/// Settles, again and again as long as the lease lasts: what Cal.com said must not be lost to a hiccup of Postgres.
/// The record counts what was settled, and what was lost.
async fn settle(world: &World, claimed: &Claimed, outcome: &Outcome, lease: &Lease) {
    loop {
        let error = match world.store.settle(claimed, outcome, rand::random()).await {
            Ok(Settled::Done { state, ring }) => {
                here(Point::Settled);
                tracing::info!(outcome = word(outcome), why = why(outcome), state = state.as_str(), "settled");
                return world.bell.ring(&ring);
            }
            Ok(Settled::Lost) => {
                return tracing::warn!("the lease was lost before it was settled; somebody else goes on with this job");
            }
            Err(error) => error,
        };
        let again = SETTLE_AGAIN.mul_f64(rand::random_range(0.2..1.0));
        let passes = match error {
            StoreError::Away(_) | StoreError::LockWait | StoreError::Database(_) => true,
            StoreError::Broken { .. } | StoreError::Refused { .. } => false,
        };
        if !passes || Instant::now() + again >= lease.ends() {
            metrics::counter!("askpro_not_settled_total").increment(1);
            return tracing::error!(
                error = chain(&error),
                outcome = word(outcome),
                "not settled; its lease will run out"
            );
        }
        tracing::warn!(error = chain(&error), "not settled yet");
        sleep(again).await;
    }
}

/// Claims what was rung for. The name proves nothing, and a claim that fails costs nothing: the row stays due.
async fn claim(world: &World, task: Task) -> Option<Work> {
    let job = JobRef { company_id: task.company_id, job_id: JobId(task.job_id) };
    let asked_at = Instant::now();
    match world.store.claim(job, &world.worker).await {
        Ok(claim) => {
            let answered_at = Instant::now();
            give_way(world, std::slice::from_ref(&claim)).await;
            granted(world, claim, asked_at, answered_at)
        }
        Err(error) => {
            not_claimed(&error, Some(job));
            None
        }
    }
}

/// Claims at most `limit` of what has been due for a second; what must be claimed by itself is treated as rung for.
pub(crate) async fn claim_due(world: &World, limit: usize) -> Vec<Work> {
    let asked_at = Instant::now();
    let batch = world.store.claim_due(i64::try_from(limit).unwrap_or(i64::MAX), &world.worker).await;
    let answered_at = Instant::now();
    match batch {
        Ok(batch) => {
            give_way(world, &batch.claims).await;
            let held = batch.claims.into_iter().filter_map(|claim| granted(world, claim, asked_at, answered_at));
            held.chain(batch.alone.iter().map(|job| Work::Rung(task(job)))).collect()
        }
        Err(error) => {
            not_claimed(&error, None);
            Vec::new()
        }
    }
}

/// Older promises wait for the turns at Cal.com that these have come upon: they are rung for, so that nobody goes on
/// overtaking them.
async fn give_way(world: &World, claims: &[Claim]) {
    let companies: BTreeSet<i32> = claims.iter().filter_map(Claim::overtakes).collect();
    for company in companies {
        match world.store.hand_over(company).await {
            Ok(ring) => world.bell.ring(&ring),
            Err(error) => tracing::warn!(error = chain(&error), "older promises were not rung for; they stay due"),
        }
    }
}

fn granted(world: &World, claim: Claim, asked_at: Instant, answered_at: Instant) -> Option<Work> {
    let (answer, held) = match claim {
        Claim::Granted(claimed) => ("granted", Some(Work::Claimed(Held { claimed, asked_at, answered_at }))),
        Claim::Event(event) => ("granted", Some(Work::Event(HeldEvent { event, asked_at }))),
        Claim::Ended { state, expected, found, ring } => {
            tracing::info!(state = state.as_str(), expected, found, "a claim found nothing to do");
            world.bell.ring(&ring);
            ("ended", None)
        }
        Claim::Busy { until: _, overtakes: _, ring } => {
            world.bell.ring(&ring);
            ("busy", None)
        }
        Claim::Gone => ("gone", None),
    };
    metrics::counter!("askpro_claims_total", "answer" => answer).increment(1);
    held
}

fn not_claimed(error: &StoreError, job: Option<JobRef>) {
    metrics::counter!("askpro_claims_total", "answer" => "error").increment(1);
    let job = job.map(|job| job.job_id.to_string());
    match error {
        StoreError::Away(_) | StoreError::LockWait => {
            tracing::warn!(error = chain(error), job, "not claimed; it stays due");
        }
        StoreError::Broken { .. } | StoreError::Refused { .. } | StoreError::Database(_) => {
            tracing::error!(error = chain(error), job, "not claimed; it stays due");
        }
    }
}

fn chain(error: &StoreError) -> &(dyn std::error::Error + 'static) {
    error
}

/// The outcome's word in logs and metrics.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Applied { .. } => "applied",
        Outcome::Overtaken { .. } => "overtaken",
        Outcome::Gone => "gone",
        Outcome::Refused(_) => "refused",
        Outcome::Snoozed { .. } => "snoozed",
        Outcome::Never => "never",
        Outcome::Unknown { .. } => "unknown",
        Outcome::NotSeen { .. } => "not_seen",
        Outcome::Review { .. } => "review",
    }
}

fn why(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Refused(not_granted) => Some(not_granted.why()),
        Outcome::Review { why } => Some(why),
        Outcome::Applied { .. }
        | Outcome::Overtaken { .. }
        | Outcome::Gone
        | Outcome::Snoozed { .. }
        | Outcome::Never
        | Outcome::Unknown { .. }
        | Outcome::NotSeen { .. } => None,
    }
}
