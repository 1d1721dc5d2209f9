//! Retell's signature: `x-retell-signature: v=<unix ms>,d=<hex>`, where d = HMAC-SHA256(key, raw body ‖ v).
//!
//! Over the raw bytes, never over JSON that was written again. Exactly one header, one form, a window of five minutes
//! both ways, compared in constant time. Source: retell-sdk 5.66 (npm) and 6.2 (PyPI). Deliberately absent: every
//! other header name and form that the old gateway accepted, and a memory of what was seen: a replayed request meets the
//! request keys of the functions.

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Name of the header.
const HEADER: &str = "x-retell-signature";
/// How far the signature's time may be from ours, both ways, inclusive; milliseconds.
const WINDOW_MS: u64 = 300_000;

/// Was `body` signed with one of the `keys`, at about `now`?
pub(crate) fn valid(headers: &HeaderMap, body: &[u8], keys: &[SecretString], now: DateTime<Utc>) -> bool {
    let mut given = headers.get_all(HEADER).iter();
    let (Some(header), None) = (given.next(), given.next()) else { return false };
    header.to_str().is_ok_and(|written| verify(written, body, keys, now.timestamp_millis()))
}

fn verify(written: &str, body: &[u8], keys: &[SecretString], now_ms: i64) -> bool {
    let Some((stamp, digest)) = parse(written) else { return false };
    let Ok(stamp_ms) = stamp.parse::<i64>() else { return false };
    if now_ms.abs_diff(stamp_ms) > WINDOW_MS {
        return false;
    }
    keys.iter().filter(|key| !key.expose_secret().is_empty()).any(|key| {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes()) else { return false };
        mac.update(body);
        mac.update(stamp.as_bytes());
        mac.verify_slice(&digest).is_ok()
    })
}

/// The time as it was written (it is part of what was signed) and the digest.
fn parse(written: &str) -> Option<(&str, [u8; 32])> {
    let (stamp, hex_digest) = written.strip_prefix("v=")?.split_once(",d=")?;
    if stamp.is_empty() || stamp.len() > 15 || !stamp.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut digest = [0; 32];
    hex::decode_to_slice(hex_digest, &mut digest).ok()?;
    Some((stamp, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "key_test_0123456789abcdef";

    /// Signed by both of Retell's own SDKs.
    const VECTORS: [(i64, &str, &str); 4] = [
        (
            1_760_700_000_000,
            r#"{"event":"call_started","call":{"call_id":"call_abc","from_number":"+4915112345678"}}"#,
            "61f2141076a7f7fe8e68a09afcdbbcb539821e49f0ef5e0672ad6daa04bfe6d7",
        ),
        (
            1_760_700_000_123,
            r#"{"event":"call_analyzed","call":{"transcript":"Agent: Guten Tag, für Müller am 14. März – 14:00 Uhr ✓"}}"#,
            "0c3e7f479007edff80cda4b3de7e7a1d828b6195655c6e27fe1f12e29db7d821",
        ),
        (
            1_760_700_000_999,
            "{ \"name\": \"book_appointment\",\n  \"args\": {\"date\": \"2025-10-20\", \"time\": \"14:00\"} }\n",
            "217487667f9baf1d718206f2f64cc92a821797d35ce10968fb6990792d3ff4fb",
        ),
        (1_760_700_000_000, "", "dec2ba39f590b70f38b8610e38d4d7892ea902613fefa365c6b99c39cd0dd266"),
    ];

    fn keys(written: &[&str]) -> Vec<SecretString> {
        written.iter().map(|key| SecretString::from(*key)).collect()
    }

    #[test]
    fn the_vendors_own_vectors() {
        for (at, body, digest) in VECTORS {
            let header = format!("v={at},d={digest}");
            let ok = |now| verify(&header, body.as_bytes(), &keys(&[KEY]), now);
            assert!(ok(at), "{body}");
            assert!(ok(at + 300_000) && ok(at - 300_000), "the window is inclusive");
            assert!(!ok(at + 300_001) && !ok(at - 300_001), "and ends there");
            assert!(!verify(&header, body.as_bytes(), &keys(&["key_test_wrong"]), at));
            assert!(verify(&header, body.as_bytes(), &keys(&["the newer one", KEY]), at), "two keys are active");
            assert!(verify(&format!("v={at},d={}", digest.to_uppercase()), body.as_bytes(), &keys(&[KEY]), at));
            assert!(!verify(&header, format!("{body} ").as_bytes(), &keys(&[KEY]), at), "raw bytes");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let (at, body, digest) = VECTORS[0];
        let bad = [
            String::new(),
            digest.to_owned(),
            format!("sha256={digest}"),
            format!("v={at}"),
            format!("d={digest},v={at}"),
            format!("v={at},d={digest},d={digest}"),
            format!("v={at}, d={digest}"),
            format!(" v={at},d={digest}"),
            format!("v=-{at},d={digest}"),
            format!("v=+{at},d={digest}"),
            format!("v={at}000000000000000000,d={digest}"),
            format!("v={at},d={}", &digest[..62]),
            format!("v={at},d="),
            format!("v={},d={digest}", at + 1),
        ];
        for written in bad {
            assert!(!verify(&written, body.as_bytes(), &keys(&[KEY]), at), "{written}");
        }
        assert!(!verify(&format!("v={at},d={digest}"), body.as_bytes(), &[], at), "no key, no entry");
        assert!(!verify(&format!("v={at},d={digest}"), body.as_bytes(), &keys(&[""]), at), "an empty key is none");
    }

    #[test]
    fn one_header_only() {
        let (at, body, digest) = VECTORS[0];
        let written = format!("v={at},d={digest}").parse::<axum::http::HeaderValue>().unwrap();
        let now = DateTime::from_timestamp_millis(at).unwrap();
        let mut headers = HeaderMap::new();
        assert!(!valid(&headers, body.as_bytes(), &keys(&[KEY]), now));
        headers.append(HEADER, written.clone());
        assert!(valid(&headers, body.as_bytes(), &keys(&[KEY]), now));
        headers.append(HEADER, written);
        assert!(!valid(&headers, body.as_bytes(), &keys(&[KEY]), now));
    }
}
