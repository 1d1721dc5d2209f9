//! Sends webhooks and keeps the list of what became of them. As at the real server nothing is sent twice by itself: an
//! answer of any status is a delivery, and a receiver who is not there misses it. Deliberately absent: what a webhook
//! says (payload.rs), and when something happens that one is to tell of (server.rs).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use hmac::{Hmac, Mac};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use sha2::Sha256;
use tokio::sync::watch;

use crate::config::Clock;
use crate::payload::Event;
use crate::webhook::{Attempt, Mode, Outcome, Subscription, Trigger, WebhookPlan};

/// The version of the payloads.
const WEBHOOK_VERSION: &str = "2021-10-20";
/// How long a receiver may take. The real server sets no limit; here nothing hangs for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// The subscriptions, the plan of disturbances, and every copy so far.
pub(crate) struct Postman {
    clock: Clock,
    seed: Option<u64>,
    state: Mutex<Sorting>,
    outstanding: watch::Sender<usize>,
}

struct Sorting {
    subscriptions: Vec<Subscription>,
    /// Made with the first subscription: most sandboxes never send anything.
    client: Option<reqwest::Client>,
    plan: WebhookPlan,
    /// Drawn for every copy, needed or not, so that no part of a plan changes what another one draws.
    drops: StdRng,
    delays: StdRng,
    attempts: Vec<Attempt>,
}

/// One copy, ready to be sent.
pub(crate) struct Parcel {
    seq: u64,
    trigger: Trigger,
    client: reqwest::Client,
    url: String,
    signature: String,
    body: String,
    when: When,
}

#[derive(Clone, Copy)]
enum When {
    Within,
    AfterReply,
    In(Duration),
}

impl Postman {
    pub(crate) fn new(
        subscriptions: Vec<Subscription>,
        plan: WebhookPlan,
        seed: Option<u64>,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let sorting = Sorting {
            subscriptions: Vec::new(),
            client: None,
            plan: WebhookPlan::default(),
            drops: StdRng::seed_from_u64(0),
            delays: StdRng::seed_from_u64(0),
            attempts: Vec::new(),
        };
        let postman = Self { clock, seed, state: Mutex::new(sorting), outstanding: watch::Sender::new(0) };
        postman.set_plan(plan)?;
        postman.set_subscriptions(subscriptions)?;
        Ok(postman)
    }

    pub(crate) fn subscriptions(&self) -> Vec<Subscription> {
        self.lock().subscriptions.clone()
    }

    pub(crate) fn set_subscriptions(&self, subscriptions: Vec<Subscription>) -> anyhow::Result<()> {
        for subscription in &subscriptions {
            subscription.check()?;
        }
        let mut state = self.lock();
        if state.client.is_none() && !subscriptions.is_empty() {
            // A connection kept open may be dead by the next time, and a webhook lost that nobody meant to lose.
            let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).pool_max_idle_per_host(0);
            state.client = Some(client.timeout(PATIENCE).build().context("no HTTP client for webhooks")?);
        }
        state.subscriptions = subscriptions;
        Ok(())
    }

    /// The plan in force, its seed filled in.
    pub(crate) fn plan(&self) -> WebhookPlan {
        self.lock().plan.clone()
    }

    /// The lots begin anew; what has been drawn stays as it is.
    pub(crate) fn set_plan(&self, plan: WebhookPlan) -> anyhow::Result<()> {
        plan.check()?;
        let seed = plan.seed.or(self.seed).unwrap_or_else(rand::random);
        let mut state = self.lock();
        state.plan = WebhookPlan { seed: Some(seed), ..plan };
        state.drops = StdRng::seed_from_u64(seed);
        state.delays = StdRng::seed_from_u64(seed.wrapping_add(1));
        Ok(())
    }

    /// Every copy so far with a greater `seq`.
    pub(crate) fn attempts(&self, after_seq: u64) -> Vec<Attempt> {
        let skip = usize::try_from(after_seq).unwrap_or(usize::MAX);
        self.lock().attempts.iter().skip(skip).cloned().collect()
    }

    pub(crate) fn outstanding(&self) -> usize {
        *self.outstanding.borrow()
    }

    /// Returns when no copy waits to be sent or answered.
    pub(crate) async fn at_rest(&self) {
        // An error would mean that the sender is gone, and it is a part of `self`.
        let _ = self.outstanding.subscribe().wait_for(|outstanding| *outstanding == 0).await;
    }

    /// Makes the copies of an event, and notes them. Called under the lock of the change, so that they are noted and
    /// draw their lots in its order.
    pub(crate) fn copies(&self, event: &Event, now: DateTime<Utc>) -> Vec<Parcel> {
        let trigger = event.trigger();
        let mut state = self.lock();
        let Some(client) = state.client.clone() else { return Vec::new() };
        let wanted = state.subscriptions.iter().cloned().enumerate().filter(|(_, it)| it.wants(trigger));
        let wanted: Vec<(usize, Subscription)> = wanted.collect();
        let mut parcels = Vec::new();
        for (n, subscription) in wanted {
            // Each subscription is served for itself, a little later than the one before.
            let body = event.body(now + TimeDelta::milliseconds(i64::try_from(n).unwrap_or_default()));
            let signature = signature(subscription.secret.as_deref(), body.as_bytes());
            for copy in 0..=state.plan.duplicates {
                let noted = state.note(trigger, &event.booking.uid, n, copy, now);
                parcels.extend(noted.map(|(seq, when)| Parcel {
                    seq,
                    trigger,
                    client: client.clone(),
                    url: subscription.url.clone(),
                    signature: signature.clone(),
                    body: body.clone(),
                    when,
                }));
            }
        }
        self.outstanding.send_modify(|outstanding| *outstanding += parcels.len());
        parcels
    }

    /// Sends at once, side by side, what belongs within the request; sees the delayed ones off; hands back those that
    /// are to follow the reply.
    pub(crate) async fn deliver(self: &Arc<Self>, parcels: Vec<Parcel>) -> Vec<Parcel> {
        let mut within = Vec::new();
        let mut later = Vec::new();
        for parcel in parcels {
            match parcel.when {
                When::Within => within.push(self.send(parcel)),
                When::AfterReply => later.push(parcel),
                When::In(delay) => {
                    let postman = Arc::clone(self);
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        postman.send(parcel).await;
                    });
                }
            }
        }
        join_all(within).await;
        later
    }

    /// Sends what has been left for after the reply.
    pub(crate) async fn follow(&self, parcels: Vec<Parcel>) {
        join_all(parcels.into_iter().map(|parcel| self.send(parcel))).await;
    }

    async fn send(&self, parcel: Parcel) {
        let Parcel { seq, trigger, client, url, signature, body, .. } = parcel;
        let sent_at = self.clock.now();
        self.change(seq, |attempt| attempt.sent_at = Some(sent_at));
        let request = client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("x-cal-signature-256", signature)
            .header("x-cal-webhook-version", WEBHOOK_VERSION)
            .body(body);
        let status = request.send().await.ok().map(|response| response.status().as_u16());
        tracing::debug!(trigger = trigger.as_str(), ?status, "webhook");
        self.change(seq, |attempt| {
            attempt.status = status;
            attempt.outcome = if status.is_some() { Outcome::Answered } else { Outcome::Failed };
        });
        self.outstanding.send_modify(|outstanding| *outstanding = outstanding.saturating_sub(1));
    }

    fn change(&self, seq: u64, change: impl FnOnce(&mut Attempt)) {
        let index = usize::try_from(seq).unwrap_or(usize::MAX).saturating_sub(1);
        if let Some(attempt) = self.lock().attempts.get_mut(index) {
            change(attempt);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sorting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sorting {
    /// Draws the lots of one copy and notes it: its `seq` and when to send it, unless it is dropped.
    fn note(
        &mut self,
        trigger: Trigger,
        uid: &str,
        subscription: usize,
        copy: u32,
        at: DateTime<Utc>,
    ) -> Option<(u64, When)> {
        let WebhookPlan { mode, delay_ms_max, drop, .. } = self.plan;
        let lot: f64 = self.drops.random();
        let dropped = lot < drop;
        let share: f64 = self.delays.random();
        let delayed = (delay_ms_max > 0).then(|| Duration::from_millis(delay_ms_max).mul_f64(share));
        let seq = self.attempts.len() as u64 + 1;
        self.attempts.push(Attempt {
            seq,
            trigger,
            uid: uid.to_owned(),
            subscription,
            copy,
            at,
            delay_ms: delayed.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            sent_at: None,
            status: None,
            outcome: if dropped { Outcome::Dropped } else { Outcome::Outstanding },
        });
        let when = match (delayed, mode) {
            (Some(delay), _) => When::In(delay),
            (None, Mode::Inline) => When::Within,
            (None, Mode::After) => When::AfterReply,
        };
        (!dropped).then_some((seq, when))
    }
}

/// Plain lower-case hex; a text of its own where there is nothing to sign with.
fn signature(secret: Option<&str>, body: &[u8]) -> String {
    let mac = secret.filter(|secret| !secret.is_empty());
    match mac.and_then(|secret| Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()) {
        Some(mac) => hex::encode(mac.chain_update(body).finalize().into_bytes()),
        None => "no-secret-provided".to_owned(),
    }
}
