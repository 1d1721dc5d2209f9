//! The faults that a sandbox can play, the rules that call for them, and the markers that call for one by hand. Pure
//! values and text: deliberately absent are the playing (plan.rs says what a fault comes to, server.rs does it) and
//! every wait.

use anyhow::ensure;
use serde::de::IntoDeserializer;
use serde::de::value::Error;
use serde::{Deserialize, Serialize};

/// Longest delay that a rule or a marker may ask for, in milliseconds: nothing hangs for ever.
pub(crate) const DELAY_MAX_MS: u64 = 600_000;

/// What befalls one request. The name in JSON and in markers stands beside each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fault {
    /// `refuse`: the connection is closed without a reply; nothing takes effect.
    #[serde(rename = "refuse")]
    Refuse,
    /// `429`: answered by the limiter, with its headers; nothing takes effect. The delay is the wait it asks for.
    #[serde(rename = "429")]
    TooManyRequests,
    /// `500_before`: answered 500; nothing takes effect.
    #[serde(rename = "500_before")]
    BrokenBefore,
    /// `500_after`: takes effect, then answered 500.
    #[serde(rename = "500_after")]
    BrokenAfter,
    /// `reset_before`: the connection is reset (RST) without a reply; nothing takes effect.
    #[serde(rename = "reset_before")]
    ResetBefore,
    /// `reset_after`: takes effect, then the connection is reset (RST) without a reply.
    #[serde(rename = "reset_after")]
    ResetAfter,
    /// `hang_before`: no reply until the client goes or the delay is over, then the connection is closed; nothing
    /// takes effect.
    #[serde(rename = "hang_before")]
    HangBefore,
    /// `hang_after`: takes effect, then as `hang_before`.
    #[serde(rename = "hang_after")]
    HangAfter,
    /// `cut_body`: takes effect; the true status and headers are sent, and half of the JSON.
    #[serde(rename = "cut_body")]
    CutBody,
    /// `late_reply`: takes effect; the true reply comes after the delay.
    #[serde(rename = "late_reply")]
    LateReply,
    /// `late_effect`: answered 500; takes effect when the delay has passed after that answer.
    #[serde(rename = "late_effect")]
    LateEffect,
    /// `late_effect_hang`: no reply until the client goes (60 s at most); takes effect when the delay has passed after
    /// that.
    #[serde(rename = "late_effect_hang")]
    LateEffectHang,
}

impl Fault {
    fn named(name: &str) -> Option<Self> {
        let name: serde::de::value::StrDeserializer<'_, Error> = name.into_deserializer();
        Self::deserialize(name).ok()
    }
}

/// Which requests a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    /// `POST /v2/bookings`.
    Create,
    /// `POST /v2/bookings/{uid}/cancel`.
    Cancel,
    /// `POST /v2/bookings/{uid}/reschedule`.
    Reschedule,
    /// `GET /v2/bookings/{uid}`.
    Get,
    /// `GET /v2/bookings`.
    List,
    /// `GET /v2/slots`.
    Slots,
}

impl On {
    fn named(name: &str) -> Option<Self> {
        let name: serde::de::value::StrDeserializer<'_, Error> = name.into_deserializer();
        Self::deserialize(name).ok()
    }
}

/// When one fault is played. Without `nth` and `probability`: every time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which requests it is about.
    pub on: On,
    /// Only the n-th of them (1, 2, 3 …) since the plan was set, in order of arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// Each of them with this probability, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// What befalls them.
    pub fault: Fault,
    /// The delay of that fault in milliseconds, at most 600,000; each fault has its own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

impl Rule {
    /// A rule for every request of a kind, with the fault's own delay.
    pub fn every(on: On, fault: Fault) -> Self {
        Self { on, nth: None, probability: None, fault, delay_ms: None }
    }

    /// A rule for the n-th request of a kind (1, 2, 3 …), with the fault's own delay.
    pub fn nth(on: On, nth: u64, fault: Fault) -> Self {
        Self { nth: Some(nth), ..Self::every(on, fault) }
    }
}

/// A plan of faults: of its rules, the first that strikes a request counts. The default plays none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// Seed of the probabilities: the n-th request of a kind meets the same fault whenever the seed is the same.
    /// `None` takes the sandbox's own seed, or one from the operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// In order of precedence.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

impl Faults {
    /// # Errors
    /// Says which rule is wrong, and how.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for (rule, n) in self.rules.iter().zip(1..) {
            ensure!(rule.nth.is_none() || rule.probability.is_none(), "rule {n}: either nth or probability");
            ensure!(rule.nth != Some(0), "rule {n}: nth counts from 1");
            ensure!(
                rule.probability.is_none_or(|probability| (0.0..=1.0).contains(&probability)),
                "rule {n}: probability must lie between 0 and 1"
            );
            ensure!(
                rule.delay_ms.is_none_or(|delay| delay <= DELAY_MAX_MS),
                "rule {n}: delay_ms must be at most {DELAY_MAX_MS}"
            );
        }
        Ok(())
    }
}

/// `fault:NAME`, `fault:NAME:MS` or, for a later request about the same booking, `fault:cancel:NAME[:MS]` and
/// `fault:reschedule:NAME[:MS]`, anywhere in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The request meant; the one in which the text stands, if not said.
    pub(crate) on: Option<On>,
    pub(crate) fault: Fault,
    pub(crate) delay_ms: Option<u64>,
}

/// The well-formed markers in a text; what is not well-formed is no marker.
pub(crate) fn markers(text: &str) -> impl Iterator<Item = Marker> {
    text.split("fault:").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        let mut words = rest[..end].trim_end_matches(':').split(':').peekable();
        let on = words.peek().and_then(|word| On::named(word));
        if on.is_some() {
            words.next();
        }
        let fault = Fault::named(words.next()?)?;
        let delay_ms = words.next().and_then(|word| word.parse().ok()).map(|delay: u64| delay.min(DELAY_MAX_MS));
        Some(Marker { on, fault, delay_ms })
    })
}
