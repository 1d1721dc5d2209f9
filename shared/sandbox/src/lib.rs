//! A Cal.com to run against, as stubborn as the real one: API v2 bookings (`cal-api-version: 2024-08-13`) and slots
//! (`2024-09-04`) with its exact bodies, its two shapes of error, its lack of idempotency, its limiter and its webhooks, and beside it an
//! append-only ledger of what arrived, what took effect and what became of each reply.
//!
//! It is an independent witness: it shares no code with the gateway that it judges. All state lives in memory under
//! one lock and dies with the process. Deliberately absent: working hours, reservations of slots, seats, recurring bookings, teams and payments.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let sandbox = sandbox::start(sandbox::Config::default()).await?;
//! assert!(sandbox.url.ends_with("/v2"));
//! sandbox.stop().await?;
//! # Ok(()) }
//! ```

mod answer;
mod booking;
mod calendar;
mod config;
mod connection;
mod control;
mod fault;
mod input;
mod ledger;
mod limiter;
mod list;
mod others;
mod payload;
mod plan;
mod postman;
mod replica;
mod reply;
mod request;
mod scene;
mod server;
mod slots;
mod webhook;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::Router;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use booking::{Attendee, Booking, Status};
pub use config::{Checks, Clock, Config, EventType, Host, Overlap};
pub use fault::{Fault, Faults, On, Rule};
pub use ledger::{Effect, Entry, Fate, What, most_in_any};
pub use limiter::RateLimit;
pub use webhook::{Attempt, Mode, Outcome, Subscription, Trigger, WebhookPlan};

use connection::{Cuttable, Switch};
use request::Route;
use server::Server;

/// How long [`Sandbox::stop`] waits for the requests in flight before it cuts them off.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Starts a sandbox and returns once it accepts connections.
///
/// # Errors
/// The address cannot be bound, or an event type (length of zero minutes, empty slug), a rule of faults, the limit, a
/// subscription or its plan is unusable.
pub async fn start(config: Config) -> anyhow::Result<Sandbox> {
    let listen = config.listen;
    let server = Arc::new(Server::new(config).context("the configuration is unusable")?);
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr().context("the listener has no address")?;
    let (shutdown, stopped) = oneshot::channel::<()>();
    let beside_the_api = control::router().merge(others::router());
    let router: Router = beside_the_api.fallback(server::receive).with_state(Arc::clone(&server));
    let task = tokio::spawn(async move {
        axum::serve(Cuttable::new(listener), router.into_make_service_with_connect_info::<Switch>())
            .with_graceful_shutdown(async move {
                // Sent or dropped, both mean: stop.
                let _ = stopped.await;
            })
            .await
    });
    let root = format!("http://{address}");
    Ok(Sandbox { url: format!("{root}/v2"), root, address, server, shutdown, task })
}

/// A running sandbox. Dropping it stops accepting connections; [`Sandbox::stop`] also waits.
pub struct Sandbox {
    /// Base URL of the API with `/v2`, e.g. `http://127.0.0.1:1234/v2`: what a client takes as Cal.com's address.
    pub url: String,
    /// The same without `/v2`, e.g. `http://127.0.0.1:1234`: the control surface lies at `{root}/_sandbox/…`.
    pub root: String,
    /// The address bound (with the real port, if the configured one was 0).
    pub address: SocketAddr,
    server: Arc<Server>,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Sandbox {
    /// Everything that has happened so far, in order of `seq`.
    pub fn ledger(&self) -> Vec<Entry> {
        self.server.ledger(0)
    }

    /// All bookings ever made, cancelled ones included, in order of creation.
    pub fn bookings(&self) -> Vec<Booking> {
        self.server.bookings()
    }

    /// Sets how long a mutating request waits between arrival and effect (`before`) and between effect and reply
    /// (`after`). Holds for requests that arrive from now on.
    pub fn set_latency(&self, before: Duration, after: Duration) {
        self.server.set_latency(Some(before), Some(after));
    }

    /// Replaces the plan of faults; its counts and draws begin anew. Requests that have arrived keep the fault that they
    /// met: an effect that is due late still comes. `Faults::default()` ends all faults but markers.
    ///
    /// # Errors
    /// A rule is unusable; then the plan stays as it was.
    pub fn set_faults(&self, faults: Faults) -> anyhow::Result<()> {
        self.server.set_faults(faults)
    }

    /// Sets how far reads lag behind the changes. Holds for changes from now on; those of before are seen.
    pub fn set_replica_lag(&self, lag: Duration) {
        self.server.set_replica_lag(lag);
    }

    /// Switches the unique key and the check of availability. Holds for requests from now on; bookings that are there
    /// stay, even where they would now be refused.
    pub fn set_checks(&self, checks: Checks) {
        self.server.set_checks(checks);
    }

    /// Switches the limiter on, changes it, or switches it off; every key begins anew. Off until then.
    ///
    /// # Errors
    /// The limit is out of range; then it stays as it was.
    pub fn set_rate_limit(&self, limit: Option<RateLimit>) -> anyhow::Result<()> {
        self.server.set_rate_limit(limit)
    }

    /// Replaces the subscriptions to webhooks. Holds for changes from now on.
    ///
    /// # Errors
    /// A URL is unusable; then the subscriptions stay as they were.
    pub fn set_webhooks(&self, subscriptions: Vec<Subscription>) -> anyhow::Result<()> {
        self.server.postman.set_subscriptions(subscriptions)
    }

    /// Replaces the plan by which webhooks are disturbed; its lots begin anew. What is on its way stays so.
    ///
    /// # Errors
    /// It is out of range; then the plan stays as it was.
    pub fn set_webhook_plan(&self, plan: WebhookPlan) -> anyhow::Result<()> {
        self.server.postman.set_plan(plan)
    }

    /// Every copy of a webhook so far, those never sent included, in order of `seq`.
    pub fn webhook_attempts(&self) -> Vec<Attempt> {
        self.server.postman.attempts(0)
    }

    /// Returns when no webhook waits to be sent or answered. It knows nothing of requests that have yet to cause one.
    pub async fn webhooks_at_rest(&self) {
        self.server.postman.at_rest().await;
    }

    /// Makes a booking as somebody else than the gateway would: `body` as for `POST /v2/bookings`, with any metadata, also
    /// copied or forged. As all that others do, it sends webhooks as the API does, and returns after them.
    ///
    /// # Errors
    /// The rules of booking refuse it; the error is the API's reply.
    pub async fn create_by_others(&self, body: &Value) -> anyhow::Result<Booking> {
        self.by_others(Route::Create, body.clone()).await
    }

    /// Cancels a booking as its host would.
    ///
    /// # Errors
    /// As for [`Sandbox::create_by_others`].
    pub async fn cancel_by_others(&self, uid: &str) -> anyhow::Result<Booking> {
        self.by_others(Route::Cancel(uid.to_owned()), json!({})).await
    }

    /// Moves a booking as its host would, and hands back the one that replaces it.
    ///
    /// # Errors
    /// As for [`Sandbox::create_by_others`].
    pub async fn reschedule_by_others(&self, uid: &str, start: DateTime<Utc>) -> anyhow::Result<Booking> {
        self.by_others(Route::Reschedule(uid.to_owned()), json!({ "start": start })).await
    }

    /// Confirms a pending booking, as its host does in Cal.com's calendar.
    ///
    /// # Errors
    /// As for [`Sandbox::create_by_others`].
    pub async fn confirm_by_others(&self, uid: &str) -> anyhow::Result<Booking> {
        self.by_others(Route::Confirm(uid.to_owned()), json!({})).await
    }

    /// Declines a pending booking, likewise.
    ///
    /// # Errors
    /// As for [`Sandbox::create_by_others`].
    pub async fn decline_by_others(&self, uid: &str, reason: &str) -> anyhow::Result<Booking> {
        self.by_others(Route::Decline(uid.to_owned()), json!({ "reason": reason })).await
    }

    /// Hands a booking over to the host with this id, whom some event type must have; the uid stays. Cal.com has no
    /// webhook for that.
    ///
    /// # Errors
    /// As for [`Sandbox::create_by_others`].
    pub async fn reassign_by_others(&self, uid: &str, host_id: i64) -> anyhow::Result<Booking> {
        self.by_others(Route::Reassign(uid.to_owned(), host_id), json!({})).await
    }

    /// Removes a booking as if it had never been. Cal.com has no webhook for that, either.
    ///
    /// # Errors
    /// There is no such booking.
    pub async fn delete_by_others(&self, uid: &str) -> anyhow::Result<()> {
        let answer = Arc::clone(&self.server).by_others(Route::Delete(uid.to_owned()), json!({})).await;
        ensure!(answer.status.is_success(), "{}: {}", answer.status, answer.body);
        Ok(())
    }

    async fn by_others(&self, route: Route, body: Value) -> anyhow::Result<Booking> {
        let answer = Arc::clone(&self.server).by_others(route, body).await;
        let uid = answer.body["data"]["uid"].as_str();
        let booking = uid.and_then(|uid| self.server.booking(uid));
        booking.with_context(|| format!("{}: {}", answer.status, answer.body))
    }

    /// Adds event types, or replaces those with the same id. Bookings made before keep the host they were made with.
    ///
    /// # Errors
    /// One of them is unusable (length of zero minutes, empty slug); then none is taken.
    pub fn set_event_types(&self, event_types: Vec<EventType>) -> anyhow::Result<()> {
        self.server.set_event_types(event_types)
    }

    /// Stops accepting connections, waits up to 5 s for requests in flight and cuts off the rest. As with the real
    /// server, a cut connection does not undo or prevent the effect of a request that has arrived.
    ///
    /// # Errors
    /// The listener had failed.
    pub async fn stop(self) -> anyhow::Result<()> {
        let Self { shutdown, mut task, .. } = self;
        // The receiver is gone only if the server has ended by itself; its result is read below.
        let _ = shutdown.send(());
        match tokio::time::timeout(STOP_PATIENCE, &mut task).await {
            Ok(ended) => ended.context("the server panicked")?.context("the listener failed"),
            Err(_) => {
                task.abort();
                Ok(())
            }
        }
    }
}
