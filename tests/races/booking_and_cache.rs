//! RC10: one schedule of bookings and cancels under a cache that is cold, hot, stale, lost in the middle, or away: the same
//! are accepted, the same refused, and nobody fails. Lost in `tests/naive/free_time.rs`.
//!
//! That whoever books cannot even name the cache is a rule of `tests/tidy.rs` and of Cargo.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use harness::{Redis, Setup, World};
use serde_json::{Value, json};

const TIMES: u32 = 12;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cache {
    /// Nobody has asked yet, and nobody asks.
    Cold,
    /// It says of each second time that it is taken, and believes so for an hour.
    Hot,
    /// As hot, and every entry is too old at once.
    Stale,
    /// As hot, and all of it is lost in the middle.
    Flushed,
    /// As hot, and Redis is gone in the middle.
    Away,
}

/// Status and code of each answer, in order.
async fn play(cache: Cache) -> Vec<(u16, String)> {
    let mut redis = Redis::start().await;
    let world = World::of(Setup { staff: 2, redis: redis.url(), ..Setup::default() }).await;
    let ttl_ms = if cache == Cache::Stale { "1" } else { "3600000" };
    let api = world.api_with(&[("ASKPRO_AVAILABILITY_TTL_MS", ttl_ms.to_owned())]).await;
    let from = world.wish(0).await.starts_at;
    let written = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let (begins, ends) = (written(from), written(from + TimeDelta::days(1)));
    let path = format!("/v1/availability?branch_id=1&service_id=1&from={begins}&to={ends}");
    let read = async || {
        if cache != Cache::Cold {
            let answer = api.get(&path).await;
            assert_eq!(answer.status, 200, "{cache:?}: {}", answer.body);
        }
    };
    // For the cache to be wrong: others have had half of these times when it asked.
    let mut others = vec![];
    for n in (0..TIMES).step_by(2) {
        others.push(world.sandbox.create_by_others(&world.foreign(n).await).await.unwrap());
    }
    read().await;
    for other in others {
        world.sandbox.delete_by_others(&other.uid).await.unwrap();
    }

    let mut heard = Vec::new();
    let mut ask = async |path: &str, body: &Value| {
        read().await;
        let answer = api.post(path, &[], body).await;
        let code = answer.body["type"].as_str().and_then(|url| url.rsplit('/').next()).unwrap_or("none").to_owned();
        heard.push((answer.status, code));
        answer.body
    };
    for n in 0..TIMES {
        let wish = world.written(n).await;
        let mut rival = wish.clone();
        rival["customer"] = json!({"name": "Paul Becker", "phone": format!("+4915199{n:06}")});
        let made = ask("/v1/appointments", &wish).await;
        ask("/v1/appointments", &rival).await;
        if n == TIMES / 2 {
            match cache {
                Cache::Flushed => redis.flush().await,
                Cache::Away => redis.kill(),
                Cache::Cold | Cache::Hot | Cache::Stale => {}
            }
        }
        if n % 3 == 0 {
            let id = made["appointment"]["id"].as_str().unwrap();
            ask(&format!("/v1/appointments/{id}/cancel"), &json!({})).await;
            ask("/v1/appointments", &rival).await;
        }
    }
    if cache == Cache::Cold {
        assert_eq!(world.asked_for_slots(), 0, "a booking asks nobody what is free");
    }
    drop(api);
    world.gone().await;
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_are_accepted_whatever_the_cache_holds() {
    let (accepted, taken) = ((202, "none".to_owned()), (409, "taken".to_owned()));
    let mut expected = vec![];
    for n in 0..TIMES {
        expected.extend([accepted.clone(), taken.clone()]);
        if n % 3 == 0 {
            expected.extend([accepted.clone(), accepted.clone()]);
        }
    }
    for cache in [Cache::Cold, Cache::Hot, Cache::Stale, Cache::Flushed, Cache::Away] {
        assert_eq!(play(cache).await, expected, "{cache:?}");
    }
}
