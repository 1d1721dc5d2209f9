//! What Cal.com says is free: asked week by week and event type by event type, once for everybody who wants to know, and
//! believed for a while by the whole fleet.
//!
//! It is one half of an answer. The other half is what the record has, read anew for each answer: nothing here is ever
//! made invalid, and no truth depends on it. So whoever books does not know this crate: `store` and `workers` cannot name
//! it, and of `api` only the routes that read. Deliberately absent: the record, opening hours, notice, and any decision.
//!
//! - `cache`: the entries, in Redis, where every process sees them. All of it may be lost at any time.
//! - `flight`: one request for all who wait for the same week, in this process and in the others.
//! - `week`: the stretches in which Cal.com is asked, so that everybody asks for the same ones.
//! - `besides`: free starts, turned into what is in the way.

mod besides;
mod cache;
mod flight;
mod week;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use calcom::{Client, ClientSettings, Gate};
use chrono::{DateTime, Utc};
use futures::future::join_all;
use secrecy::SecretString;
use settings::Settings;

pub use besides::besides;
pub use week::Week;

use cache::{Cache, Found, Place};
use flight::Flights;

/// The longest answer of Cal.com that is read: a week of starts every five minutes is a tenth of it.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What Cal.com says of one event type in one week.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// The starts that are free, earliest first.
    pub starts: Arc<[DateTime<Utc>]>,
    /// Cal.com was asked so long ago.
    pub age: Duration,
    /// It may still be believed; otherwise it is only better than nothing.
    pub is_fresh: bool,
}

/// Where one can ask what Cal.com says is free. Cheap to clone; one per process.
#[derive(Clone)]
pub struct Availability {
    flights: Arc<Flights>,
    wait: Duration,
}

impl Availability {
    /// Makes it from the settings; its requests pass this gate. No connection is made.
    ///
    /// # Errors
    /// An address cannot be read, or TLS cannot be set up.
    pub fn new(settings: &Settings, gate: Arc<dyn Gate>) -> anyhow::Result<Self> {
        let timeout = Duration::from_millis(settings.calcom_timeout_ms);
        let client = ClientSettings {
            base_url: settings.calcom_url.clone(),
            timeout,
            bookings_version: settings.calcom_bookings_version.clone(),
            slots_version: settings.calcom_slots_version.clone(),
            body_max_bytes: BODY_BYTES_MAX,
            allow_insecure: settings.calcom_allow_insecure,
        };
        let client = Client::new(client, gate).context("the settings of Cal.com")?;
        let ttl = Duration::from_millis(settings.availability_ttl_ms);
        let cache = Cache::new(&settings.redis_url, &settings.queue, ttl).context("the cache's address")?;
        let flights = Arc::new(Flights::new(client, cache, timeout));
        Ok(Self { flights, wait: Duration::from_millis(settings.availability_wait_ms) })
    }

    /// What Cal.com says of these event types in this week, each as fresh as can be had within the wait; `None` where
    /// nothing is known. Whoever gives up waiting ends nothing: the answer comes for the next one.
    pub async fn ask(&self, company_id: i32, key: &SecretString, event_types: &[i64], week: Week) -> Vec<Option<Told>> {
        let each = event_types.iter().map(|&event_type_id| {
            let place = Place { company_id, event_type_id, week };
            self.one(place, key)
        });
        join_all(each).await
    }

    async fn one(&self, place: Place, key: &SecretString) -> Option<Told> {
        let found = self.flights.cache().look(place).await;
        let (word, older) = match found {
            Ok(Found::Fresh(told)) => {
                count("hit");
                return Some(told);
            }
            Ok(Found::Old(told)) => ("stale", Some(told)),
            Ok(Found::Nothing) => ("miss", None),
            Err(error) => {
                tracing::debug!(%error, "the cache of free time is out of reach");
                ("away", None)
            }
        };
        count(word);
        let landed = tokio::time::timeout(self.wait, self.flights.join(place, key)).await;
        landed.ok().flatten().or(older)
    }
}

fn count(found: &'static str) {
    metrics::counter!("askpro_availability_cache_total", "found" => found).increment(1);
}
