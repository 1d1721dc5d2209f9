//! One request for all who want the same: whoever comes first asks Cal.com, the others wait for his answer, in this process
//! by a channel and in the others by the cache.
//!
//! A flight is a task of its own: it ends when Cal.com has answered, whoever has given up meanwhile. Without Redis each
//! process flies by itself, keeps nothing, and the key's budget bounds the rest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use calcom::Client;
use secrecy::SecretString;
use tokio::sync::watch;

use crate::Told;
use crate::cache::{Cache, Lease, Place, Turn};

/// Whoever follows another process's flight looks so often whether it has landed.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// A lease is longer than the longest request by this much.
const MARGIN: Duration = Duration::from_secs(2);

/// Empty until it has landed; then what was told, or that nothing was.
type Landing = watch::Receiver<Option<Option<Told>>>;

pub(crate) struct Flights {
    client: Client,
    cache: Cache,
    lease: Duration,
    under_way: Mutex<HashMap<Place, Landing>>,
}

impl Flights {
    pub(crate) fn new(client: Client, cache: Cache, timeout: Duration) -> Self {
        Self { client, cache, lease: timeout + MARGIN, under_way: Mutex::default() }
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// What this flight, or the one that is under way to the same place, brings. `None`: nothing.
    pub(crate) async fn join(self: &Arc<Self>, place: Place, key: &SecretString) -> Option<Told> {
        let mut landing = self.board(place, key);
        let landed = landing.wait_for(Option::is_some).await.ok()?;
        landed.clone().flatten()
    }

    fn board(self: &Arc<Self>, place: Place, key: &SecretString) -> Landing {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = under_way.get(&place) {
            return landing.clone();
        }
        let (lands, landing) = watch::channel(None);
        under_way.insert(place, landing.clone());
        let (flights, key) = (Arc::clone(self), key.clone());
        tokio::spawn(async move {
            let _off_the_board = OffTheBoard { flights: &flights, place };
            let told = flights.fly(place, &key).await;
            lands.send_replace(Some(told));
        });
        landing
    }

    async fn fly(&self, place: Place, key: &SecretString) -> Option<Told> {
        let until = Instant::now() + self.lease;
        loop {
            match self.cache.turn(place, self.lease).await {
                Ok(Turn::Lead(lease)) => return self.request(place, key, Some(lease)).await,
                Ok(Turn::Fresh(told)) => return Some(told),
                Ok(Turn::Failed) => return None,
                Ok(Turn::Follow) if Instant::now() >= until => return None,
                Ok(Turn::Follow) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(error) => {
                    tracing::debug!(%error, "free time is asked for without the cache");
                    return self.request(place, key, None).await;
                }
            }
        }
    }

    async fn request(&self, place: Place, key: &SecretString, lease: Option<Lease>) -> Option<Told> {
        let asked = Instant::now();
        let answer = self.client.slots(key, place.event_type_id, place.week.start(), place.week.end()).await;
        let outcome = if answer.is_ok() { "answered" } else { "failed" };
        metrics::counter!("askpro_availability_requests_total", "outcome" => outcome).increment(1);
        let kept = match (&answer, &lease) {
            (Ok(starts), Some(lease)) => self.cache.land(place, lease, starts, asked.elapsed()).await,
            (Err(_), Some(lease)) => self.cache.fail(place, lease).await,
            (_, None) => Ok(()),
        };
        if let Err(error) = kept {
            tracing::debug!(%error, "what Cal.com said is free was not kept");
        }
        answer.ok().map(|starts| Told { starts: starts.into(), age: asked.elapsed(), is_fresh: true })
    }
}

/// However a flight ends, the next one may begin.
struct OffTheBoard<'a> {
    flights: &'a Flights,
    place: Place,
}

impl Drop for OffTheBoard<'_> {
    fn drop(&mut self) {
        self.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.place);
    }
}
