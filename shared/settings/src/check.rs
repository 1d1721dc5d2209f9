//! Which settings the process refuses to start with. Each refusal names both settings and what to do.
//!
//! Deliberately absent: whether a server answers at a URL (`/readyz` and `askpro doctor` say that).

use url::Url;

use crate::error::{Named, SettingsError};
use crate::layers::Shown;
use crate::table::Settings;

/// What a drain needs beyond the longest call to Cal.com, in milliseconds: the two transactions around it.
const SETTLE_MARGIN_MS: u64 = 3_000;
/// With fewer requests a minute there is no tenth to keep for looking.
const REQUESTS_MIN: u32 = 10;

/// The first refusal, if there is one.
pub(crate) fn check(settings: &Settings, shown: &[Shown]) -> Result<(), SettingsError> {
    let row = |key: &'static str| shown.iter().find(|row| row.key == key);
    let named = |key: &'static str| Named {
        key,
        value: row(key).map(|row| row.value.clone()).unwrap_or_default(),
        source: row(key).map(|row| row.source.clone()).unwrap_or_default(),
    };

    for (key, value) in [
        ("database_connections", u64::from(settings.database_connections)),
        ("statement_timeout_ms", settings.statement_timeout_ms),
        ("calcom_timeout_ms", settings.calcom_timeout_ms),
        ("quarantine_ms", settings.quarantine_ms),
        ("sweep_ms", settings.sweep_ms),
        ("audit_ms", settings.audit_ms),
        ("slots", settings.slots as u64),
        ("lease_ms", settings.lease_ms),
        ("renewal_ms", settings.renewal_ms),
        ("orphan_ms", settings.orphan_ms),
        ("backoff_base_ms", settings.backoff_base_ms),
        ("attempts_max", u64::from(settings.attempts_max)),
        ("crashes_max", u64::from(settings.crashes_max)),
        ("api_lock_wait_ms", settings.api_lock_wait_ms),
        ("worker_lock_wait_ms", settings.worker_lock_wait_ms),
        ("hold_ttl_seconds", settings.hold_ttl_seconds),
        ("availability_ttl_ms", settings.availability_ttl_ms),
        ("availability_wait_ms", settings.availability_wait_ms),
        ("holds_per_caller", u64::from(settings.holds_per_caller)),
        ("holds_per_api_key", u64::from(settings.holds_per_api_key)),
        ("slot_granularity_minutes", u64::from(settings.slot_granularity_minutes)),
    ] {
        if value == 0 {
            return Err(SettingsError::Zero(Box::new(named(key))));
        }
    }
    if settings.calcom_requests_per_minute < REQUESTS_MIN {
        let setting = Box::new(named("calcom_requests_per_minute"));
        return Err(SettingsError::TooSmall { setting, at_least: REQUESTS_MIN });
    }

    let contradictions = [
        (
            settings.calcom_timeout_ms >= settings.lease_ms,
            ["calcom_timeout_ms", "lease_ms"],
            "a call to Cal.com could outlive the lease under which it was made",
            "make calcom_timeout_ms shorter than lease_ms",
        ),
        (
            settings.worker_lock_wait_ms >= settings.lease_ms,
            ["worker_lock_wait_ms", "lease_ms"],
            "a claim could wait for a lock until its lease is over",
            "make worker_lock_wait_ms shorter than lease_ms",
        ),
        (
            settings.renewal_ms.saturating_mul(2) >= settings.lease_ms,
            ["renewal_ms", "lease_ms"],
            "one late renewal would lose the lease",
            "make renewal_ms shorter than half of lease_ms",
        ),
        (
            settings.quarantine_ms <= settings.calcom_timeout_ms,
            ["quarantine_ms", "calcom_timeout_ms"],
            "a second call could be sent while the first may still take effect",
            "make quarantine_ms longer than calcom_timeout_ms",
        ),
        (
            settings.drain_ms < settings.calcom_timeout_ms.saturating_add(SETTLE_MARGIN_MS),
            ["drain_ms", "calcom_timeout_ms"],
            "a stopping worker would abandon a call to Cal.com that is under way",
            "make drain_ms at least calcom_timeout_ms + 3000",
        ),
        (
            settings.drain_ms >= settings.orphan_ms,
            ["drain_ms", "orphan_ms"],
            "the queue would give a draining worker's jobs to another one",
            "make drain_ms shorter than orphan_ms",
        ),
        (
            settings.backoff_base_ms > settings.backoff_max_ms,
            ["backoff_base_ms", "backoff_max_ms"],
            "the first pause would be longer than the longest",
            "make backoff_base_ms at most backoff_max_ms",
        ),
    ];
    for (holds, [left, right], why, remedy) in contradictions {
        if holds {
            let pair = Box::new([named(left), named(right)]);
            return Err(SettingsError::Contradiction { pair, why, remedy });
        }
    }

    let refuse_url = |key: &'static str, what: String| SettingsError::Url { key, origin: named(key).source, what };
    for (key, text, schemes) in [
        ("database_url", &settings.database_url, ["postgres", "postgresql"]),
        ("redis_url", &settings.redis_url, ["redis", "rediss"]),
        ("calcom_url", &settings.calcom_url, ["https", "http"]),
    ] {
        let url = Url::parse(text).map_err(|error| refuse_url(key, format!("is not a URL: {error}")))?;
        if !schemes.contains(&url.scheme()) {
            return Err(refuse_url(key, format!("must begin with {}:// or {}://", schemes[0], schemes[1])));
        }
        if key != "calcom_url" {
            continue;
        }
        if url.scheme() == "http" && !settings.calcom_allow_insecure {
            return Err(SettingsError::Contradiction {
                pair: Box::new([named("calcom_url"), named("calcom_allow_insecure")]),
                why: "keys and customers would travel unencrypted",
                remedy: "use https://, or set calcom_allow_insecure = true for a sandbox",
            });
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(refuse_url(key, "must have no user, query or fragment".to_owned()));
        }
    }
    Ok(())
}
