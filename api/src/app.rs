//! What every route can reach, and how it is made from the settings.
//!
//! Deliberately absent: anything that differs between two processes, except the requests that wait in this one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use metrics_exporter_prometheus::PrometheusHandle;
use queue::{Doorbell, QueueSettings};
use secrecy::{ExposeSecret, SecretString};
use settings::Settings;
use store::{Store, StoreSettings};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bell::Bell;
use crate::health;
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
    pub(crate) metrics: PrometheusHandle,
}

impl App {
    /// Makes it from the settings and starts its two loops (the bell and the wait). No connection is made. The handle
    /// ends when the last clone is dropped and what was to be rung has been rung.
    ///
    /// # Errors
    /// The sealing keys are missing, or an address cannot be read.
    pub fn start(settings: &Settings, clock: Clock, stop: CancellationToken) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let store = Arc::new(Store::connect(store_settings(settings)?).context("the database's settings")?);
        let doorbell = Doorbell::new(&queue_settings(settings)).context("the queue's settings")?;
        let (bell, ringing) = Bell::start(doorbell);
        let waiting = Waiting::start(Arc::clone(&store), stop);
        let voice_wait = Duration::from_millis(settings.voice_wait_ms);
        Ok((Self { store, bell, waiting, voice_wait, clock, metrics: health::recorder() }, ringing))
    }
}

fn store_settings(settings: &Settings) -> anyhow::Result<StoreSettings> {
    let ring = settings.require_sealing_keys()?;
    let sealing_keys = ring.written().expose_secret().split(',').filter_map(|key| {
        let (id, encoded) = key.trim().split_once(':')?;
        Some((id.to_owned(), SecretString::from(encoded)))
    });
    Ok(StoreSettings {
        database_url: SecretString::from(settings.database_url.as_str()),
        connections: settings.database_connections,
        lock_wait: Duration::from_millis(settings.api_lock_wait_ms),
        statement_timeout: Duration::from_millis(settings.statement_timeout_ms),
        lease: Duration::from_millis(settings.lease_ms),
        quarantine: Duration::from_millis(settings.quarantine_ms),
        patience: Duration::from_millis(settings.patience_ms),
        back_off_base: Duration::from_millis(settings.backoff_base_ms),
        back_off_max: Duration::from_millis(settings.backoff_max_ms),
        attempts_max: i16::try_from(settings.attempts_max).context("attempts_max")?,
        crashes_max: i16::try_from(settings.crashes_max).context("crashes_max")?,
        granularity_minutes: u16::try_from(settings.slot_granularity_minutes).context("slot_granularity_minutes")?,
        sealing_keys: sealing_keys.collect(),
    })
}

/// Missed heartbeats after which a worker's names are somebody else's.
const MISSED_HEARTBEATS: u32 = 3;

fn queue_settings(settings: &Settings) -> QueueSettings {
    QueueSettings {
        redis_url: settings.redis_url.clone(),
        queue: settings.queue.clone(),
        slots: settings.slots,
        heartbeat: Duration::from_millis(settings.orphan_ms) / MISSED_HEARTBEATS,
        missed_heartbeats: MISSED_HEARTBEATS,
        poll: Duration::from_millis(250),
        out_max: 1_000,
    }
}
