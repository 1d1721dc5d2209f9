//! What every job of a process can reach, and how it is made from the settings.
//!
//! Deliberately absent: anything about one job, and a cache. The key of a company is read for each request, so that a
//! key that was changed a second ago is the one that is used.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use calcom::{Client, ClientSettings, MarkerKeys};
use chrono::TimeDelta;
use gate::BucketGate;
use queue::{Doorbell, QueueSettings};
use secrecy::SecretString;
use settings::Settings;
use store::{SecretKind, Store, StoreError, StoreSettings};

use crate::bell::Bell;

/// The longest answer of Cal.com that is read: 250 bookings of a page are well below a megabyte.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What every job can reach. Cheap to clone.
#[derive(Clone)]
pub struct World {
    /// The record.
    pub store: Store,
    /// Rings in Redis; what needs an answer about it uses this.
    pub doorbell: Doorbell,
    /// Rings behind the jobs' back: no job waits for Redis.
    pub(crate) bell: Bell,
    /// Cal.com.
    pub calcom: Client,
    /// Sign and verify the markers of our bookings.
    pub markers: MarkerKeys,
    /// The domain of the address of a customer who gave neither phone nor e-mail.
    pub attendee_domain: Arc<str>,
    /// What a claim is worth.
    pub lease: Duration,
    /// A lease is renewed so often.
    pub renewal: Duration,
    /// Δ.
    pub quarantine: TimeDelta,
    /// The name of this process, new with every start.
    pub worker: Arc<str>,
}

impl World {
    /// Makes it from the settings and starts the task that rings (it ends with the last clone). No connection is made.
    ///
    /// # Errors
    /// The sealing or marker keys are missing or cannot be used, or an address cannot be read.
    pub fn new(settings: &Settings, worker: &str) -> anyhow::Result<Self> {
        settings.require_sealing_keys()?;
        let lock_wait = Duration::from_millis(settings.worker_lock_wait_ms);
        let database = StoreSettings::read(settings, lock_wait, settings.database_connections)?;
        let doorbell = Doorbell::new(&QueueSettings::read(settings)).context("the queue's settings")?;
        let store = Store::connect(database).context("the database's settings")?;
        let client = ClientSettings {
            base_url: settings.calcom_url.clone(),
            timeout: Duration::from_millis(settings.calcom_timeout_ms),
            bookings_version: settings.calcom_bookings_version.clone(),
            slots_version: settings.calcom_slots_version.clone(),
            body_max_bytes: BODY_BYTES_MAX,
            allow_insecure: settings.calcom_allow_insecure,
        };
        let calcom = Client::new(client, Arc::new(BucketGate::new(store.clone())));
        Ok(Self {
            store,
            bell: Bell::start(doorbell.clone()),
            doorbell,
            calcom: calcom.context("the settings of Cal.com")?,
            markers: marker_keys(settings)?,
            attendee_domain: settings.attendee_domain.as_str().into(),
            lease: Duration::from_millis(settings.lease_ms),
            renewal: Duration::from_millis(settings.renewal_ms),
            quarantine: TimeDelta::from_std(Duration::from_millis(settings.quarantine_ms)).context("quarantine_ms")?,
            worker: worker.into(),
        })
    }

    /// The company's newest key of Cal.com; `None` if it has none.
    pub(crate) async fn calcom_key(&self, company_id: i32) -> Result<Option<SecretString>, StoreError> {
        Ok(self.store.secrets(company_id, SecretKind::Calcom).await?.into_iter().next())
    }
}

/// The keys that sign the markers: the id and the base64 text of each key, as the setting writes them.
///
/// # Errors
/// The setting is missing, or an id is too long for a marker.
pub fn marker_keys(settings: &Settings) -> anyhow::Result<MarkerKeys> {
    MarkerKeys::new(settings.require_marker_keys()?.pairs()).context("marker_keys")
}
