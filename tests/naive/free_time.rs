//! RC6 and RC10, lost. The old system kept what Cal.com said was free until a sync had succeeded, and booked what that cache
//! said was free. Won in `races/free_time_and_booking.rs` and `races/booking_and_cache.rs`.
//!
//! Impossible with us because of two lines: `store.agenda` in the answer itself (api/src/availability.rs) takes away what is
//! somebody's at that moment, and `availability` is no dependency of `store`, where bookings are decided.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use harness::{World, wait_until};
use serde_json::Value;
use std::sync::Mutex;

/// Cal.com's slots of one day, kept until somebody invalidates them.
struct Cache {
    url: String,
    kept: Mutex<Option<Vec<DateTime<Utc>>>>,
}

impl Cache {
    async fn of(world: &World) -> Self {
        let from = world.wish(0).await.starts_at;
        let written = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let (from, to) = (written(from), written(from + TimeDelta::hours(12)));
        let url = format!("{}/slots?eventTypeId=101&start={from}&end={to}", world.sandbox.url);
        Self { url, kept: Mutex::default() }
    }

    async fn ask(&self) -> Vec<DateTime<Utc>> {
        let response =
            reqwest::Client::new().get(&self.url).header("cal-api-version", "2024-09-04").send().await.unwrap();
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        let days = body["data"].as_object().unwrap().values();
        let slots = days.flat_map(|day| day.as_array().unwrap());
        slots.map(|slot| slot["start"].as_str().unwrap().parse().unwrap()).collect()
    }

    async fn free(&self) -> Vec<DateTime<Utc>> {
        let kept = self.kept.lock().unwrap().clone();
        match kept {
            Some(kept) => kept,
            None => {
                let asked = self.ask().await;
                self.keep(asked.clone());
                asked
            }
        }
    }

    fn keep(&self, asked: Vec<DateTime<Utc>>) {
        *self.kept.lock().unwrap() = Some(asked);
    }

    fn invalidate(&self) {
        *self.kept.lock().unwrap() = None;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_the_sync_invalidates_offers_what_is_taken_until_then() {
    let world = World::new().await;
    let (cache, ten) = (Cache::of(&world).await, world.wish(4).await.starts_at);
    assert!(cache.free().await.contains(&ten));
    let id = world.book(4).await; // acknowledged
    assert!(cache.free().await.contains(&ten), "it is offered to the next caller all the same");
    let _worker = world.worker(None);
    wait_until("the sync", async || world.status(id).await == "scheduled").await;
    cache.invalidate();
    assert!(!cache.free().await.contains(&ten), "too late by the time of a sync");
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_before_the_sync_is_kept_after_it() {
    let world = World::new().await;
    let (cache, ten) = (Cache::of(&world).await, world.wish(4).await.starts_at);
    let reader = cache.ask().await; // on its way
    let id = world.book(4).await;
    let _worker = world.worker(None);
    wait_until("the sync", async || world.status(id).await == "scheduled").await;
    cache.invalidate();
    cache.keep(reader);
    assert!(cache.free().await.contains(&ten), "taken, acknowledged, synced, invalidated, and offered until the TTL");
    world.gone().await;
}

/// Accepts what the cache says is free, and tells Cal.com afterwards.
async fn book(world: &World, cache: &Cache, n: u32) -> bool {
    let accepted = cache.free().await.contains(&world.wish(n).await.starts_at);
    if accepted {
        let _too_late_to_say_no = world.sandbox.create_by_others(&world.foreign(n).await).await;
    }
    accepted
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_accepted_hangs_on_the_age_of_the_cache() {
    let mut accepted = vec![];
    for is_flushed in [false, true] {
        let world = World::new().await;
        let cache = Cache::of(&world).await;
        let mut heard = vec![];
        for caller in 0..2 {
            heard.push(book(&world, &cache, 4).await);
            if caller == 0 && is_flushed {
                cache.invalidate();
            }
        }
        accepted.push(heard);
        assert_eq!(world.live().len(), 1, "whatever was said");
        world.gone().await;
    }
    assert_eq!(
        accepted,
        [[true, true], [true, false]],
        "one schedule, two outcomes, and the first of them books twice"
    );
}
