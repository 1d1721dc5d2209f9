//! Who is believed: the vendor's own vectors, with the server's clock at their time, and forgeries by the thousand.

use crate::{KEY, World, clock, post, sign};
use chrono::{DateTime, Utc};
use futures::StreamExt;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use store::SecretKind;

const HEADER: &str = "x-retell-signature";
/// Each of them takes a signed body, and what it does with it is not asked here.
const PATHS: [&str; 6] = [
    "/retell/salon/functions",
    "/retell/salon/webhook",
    "/retell/salon/inbound",
    "/api/retell/function",
    "/api/webhooks/retell",
    "/api/webhook",
];
const FORGED: u64 = 10_000;
/// One true body after so many forged ones.
const TRUE_EVERY: u64 = 100;

/// Only the vectors set it.
static NOW_MS: AtomicI64 = AtomicI64::new(0);

fn set_clock() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(NOW_MS.load(SeqCst)).unwrap()
}

/// Signed by both of Retell's SDKs.
#[derive(Deserialize)]
struct Vector {
    name: String,
    api_key: String,
    timestamp_ms: i64,
    body: String,
    signature: String,
    verify_ok: bool,
    verify_at_plus_300000ms: bool,
    verify_at_plus_300001ms: bool,
    verify_at_minus_300001ms: bool,
    wrong_key: bool,
    upper_hex_digest_node: bool,
}

#[tokio::test]
async fn the_vendors_vectors_at_their_time() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("vectors.json")).unwrap();
    assert_eq!(vectors.len(), 4);
    let world = World::at(set_clock, &[("legacy_company", "salon")]).await;
    let key = SecretString::from(vectors[0].api_key.as_str());
    world.store.set_secret(world.company_id, SecretKind::Retell, &key).await.unwrap();
    let believed = async |path: &str, signature: &str, body: &str, now_ms: i64| {
        NOW_MS.store(now_ms, SeqCst);
        let (status, said) = post(&world.router, path, &[(HEADER, signature)], body.as_bytes().to_vec()).await;
        assert!(status == 401 || status == 200 || (status == 400 && said["type"].is_string()), "{status}: {said}");
        status != 401
    };
    for vector in &vectors {
        assert_eq!(vector.api_key, vectors[0].api_key);
        for path in PATHS {
            let (at, body, right) = (vector.timestamp_ms, vector.body.as_str(), vector.signature.as_str());
            let what = format!("{} at {path}", vector.name);
            assert_eq!(believed(path, right, body, at).await, vector.verify_ok, "{what}");
            assert_eq!(believed(path, right, body, at + 300_000).await, vector.verify_at_plus_300000ms, "{what}");
            assert_eq!(believed(path, right, body, at + 300_001).await, vector.verify_at_plus_300001ms, "{what}");
            assert_eq!(believed(path, right, body, at - 300_001).await, vector.verify_at_minus_300001ms, "{what}");
            let wrong = sign("another key", body.as_bytes(), at);
            assert_eq!(believed(path, &wrong, body, at).await, vector.wrong_key, "{what}");
            let (stamp, digest) = right.split_once(",d=").unwrap();
            let upper = format!("{stamp},d={}", digest.to_uppercase());
            assert_eq!(believed(path, &upper, body, at).await, vector.upper_hex_digest_node, "{what}");
            assert!(!believed(path, right, &format!("{body} "), at).await, "{what}: raw bytes");
        }
    }
    world.gone().await;
}

/// What a forger sends for the n-th true body.
struct Forgery {
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn forge(n: u64) -> Forgery {
    let chance = mixed(n);
    let path = PATHS[usize::try_from(chance % 6).unwrap()];
    let call_id = format!("call_forged_{n}");
    let call = json!({"call_id": call_id, "from_number": "+4915112345678", "to_number": "+493012345678"});
    let mut body = match n % 3 {
        0 => json!({"event": "call_started", "call": call}),
        1 => json!({"event": "call_inbound", "call_inbound": call}),
        _ => json!({"name": "query_appointment", "call": call, "args": {}}),
    }
    .to_string()
    .into_bytes();
    let now = clock().timestamp_millis();
    let right = sign(KEY, &body, now);
    let (stamp, digest) = right.split_once(",d=").unwrap();
    let at = usize::try_from(chance / 64).unwrap();
    let other_digit = |digest: &str, at: usize| {
        let at = at % digest.len();
        let digit = if digest.as_bytes()[at] == b'0' { "1" } else { "0" };
        format!("{}{digit}{}", &digest[..at], &digest[at + 1..])
    };
    let written = match chance % 12 {
        0 => {
            let (byte, bit) = (at % body.len(), at % 8);
            body[byte] ^= 1 << bit;
            right.clone()
        }
        1 => {
            body.truncate(at % body.len());
            right.clone()
        }
        2 => {
            body.push(b' ');
            right.clone()
        }
        3 => format!("{stamp},d={}", other_digit(digest, at)),
        4 => format!("v={},d={digest}", now + 1 + i64::try_from(at % 1_000).unwrap()),
        5 => sign(KEY, &body, now - 300_001 - i64::try_from(at % 1_000_000).unwrap()),
        6 => sign(KEY, &body, now + 300_001 + i64::try_from(at % 1_000_000).unwrap()),
        7 => sign(&format!("key_{at}"), &body, now),
        8 => sign("", &body, now),
        9 => sign("key_of_another", &body, now),
        10 => format!("{stamp},d={}", &digest[..2 * (at % 32)]),
        _ => return Forgery { path, headers: vec![("x-signature", right.clone()), ("x-retell", right)], body },
    };
    let twice = chance % 12 == 3 && n.is_multiple_of(2);
    let headers = if twice { vec![(HEADER, right), (HEADER, written)] } else { vec![(HEADER, written)] };
    Forgery { path, headers, body }
}

/// A number that is nobody's choice, and the same in every run.
fn mixed(n: u64) -> u64 {
    let mixed = (n ^ (n >> 30)).wrapping_add(1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 16
}

#[tokio::test]
async fn of_ten_thousand_forgeries_none_is_believed_and_every_true_one_is() {
    let world = World::new().await;
    let send = |n: u64| {
        let router = world.router.clone();
        async move {
            let Forgery { path, headers, body } = forge(n);
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let (status, said) = post(&router, path, &headers, body).await;
            assert_eq!(status, 401, "forgery {n} at {path}: {said}");
            if n.is_multiple_of(TRUE_EVERY) {
                let call = json!({"call_id": format!("call_true_{n}"), "from_number": "anonymous"});
                let body = json!({"event": "call_started", "call": call}).to_string();
                let signature = sign(KEY, body.as_bytes(), clock().timestamp_millis());
                let (status, said) =
                    post(&router, "/retell/salon/webhook", &[(HEADER, &signature)], body.into_bytes()).await;
                assert_eq!(status, 200, "true body {n}: {said}");
                return 1;
            }
            0
        }
    };
    let believed: u64 =
        futures::stream::iter(0..FORGED).map(send).buffer_unordered(4).fold(0, async |a, b| a + b).await;
    assert_eq!(believed, FORGED / TRUE_EVERY);
    let kept = world.count("SELECT count(*) FROM call_event WHERE call_id LIKE 'call_true_%'").await;
    let all =
        world.count("SELECT count(*) FROM call_event").await + world.count("SELECT count(*) FROM call_said").await;
    assert_eq!((kept, all), (100, 100), "and nothing is written but the true ones");
    world.gone().await;
}
