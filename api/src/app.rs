//! What every route can reach, and how it is made from the settings.
//!
//! Deliberately absent: anything that differs between two processes, except the requests that wait in this one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use process::Metrics;
use queue::{Doorbell, QueueSettings};
use settings::Settings;
use store::{Store, StoreSettings};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::availability::FreeTime;
use crate::bell::Bell;
use crate::waiting::Waiting;

/// Says what time it is.
pub type Clock = fn() -> DateTime<Utc>;

/// What every route can reach. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) store: Arc<Store>,
    pub(crate) bell: Bell,
    pub(crate) waiting: Waiting,
    pub(crate) voice_wait: Duration,
    pub(crate) clock: Clock,
    /// The slug of the company that the old gateway's paths serve.
    pub(crate) legacy_company: Option<Arc<str>>,
    pub(crate) metrics: Metrics,
    pub(crate) availability: FreeTime,
}

impl App {
    /// Makes it from the settings and starts its two loops (the bell and the wait). No connection is made. The handle
    /// ends when the last clone is dropped and what was to be rung has been rung.
    ///
    /// # Errors
    /// The sealing keys are missing, or an address cannot be read.
    pub fn start(settings: &Settings, clock: Clock, stop: CancellationToken) -> anyhow::Result<(Self, JoinHandle<()>)> {
        settings.require_sealing_keys()?;
        let lock_wait = Duration::from_millis(settings.api_lock_wait_ms);
        let database = StoreSettings::read(settings, lock_wait, settings.database_connections)?;
        let store = Arc::new(Store::connect(database).context("the database's settings")?);
        let availability = FreeTime::new(settings, &store).context("what is free")?;
        let doorbell = Doorbell::new(&QueueSettings::read(settings)).context("the queue's settings")?;
        let (bell, ringing) = Bell::start(doorbell);
        let waiting = Waiting::start(Arc::clone(&store), stop);
        let voice_wait = Duration::from_millis(settings.voice_wait_ms);
        let legacy_company = settings.legacy_company.as_deref().map(Arc::from);
        let metrics = Metrics::of_this_process();
        Ok((Self { store, bell, waiting, voice_wait, clock, legacy_company, metrics, availability }, ringing))
    }
}
