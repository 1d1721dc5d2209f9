//! A policy as it stands in the record: JSON whose every field is known, read into what cannot contradict itself.

use crate::error::StoreError;
use domain::money::{Currency, Money};
use domain::policy::{Operation, Policy, Rule, Scope, Terms, Tier};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    allowed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anonymous: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hours_before: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<u16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tiers: Vec<WrittenTier>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTier {
    hours_before: u16,
    fee_minor: u32,
    currency: String,
}

/// By the words of its operations.
pub(crate) fn write(policy: &Policy) -> Result<Value, StoreError> {
    let written = |rule: &Rule| Written {
        allowed: rule.allowed,
        anonymous: rule.anonymous,
        hours_before: rule.terms.hours_before,
        max: rule.terms.max,
        tiers: rule.terms.tiers.iter().map(tier).collect(),
    };
    let all: BTreeMap<&str, Written> =
        policy.rules().map(|(operation, rule)| (operation.as_str(), written(rule))).collect();
    serde_json::to_value(all).map_err(|_| StoreError::Broken { what: "a policy cannot be written" })
}

fn tier(tier: &Tier) -> WrittenTier {
    let (hours_before, fee) = (tier.hours_before, tier.fee);
    WrittenTier { hours_before, fee_minor: fee.minor, currency: fee.currency.as_str().to_owned() }
}

pub(crate) fn read(scope: Scope, content: Value) -> Result<Policy, StoreError> {
    let broken = StoreError::Broken { what: "a policy cannot be read" };
    let written: BTreeMap<String, Written> = serde_json::from_value(content).map_err(|_| broken)?;
    let rules = written.into_iter().map(|(word, written)| {
        let operation = Operation::parse(&word)?;
        let tiers = written.tiers.into_iter().map(|tier| {
            let fee = Money { minor: tier.fee_minor, currency: Currency::parse(&tier.currency)? };
            Some(Tier { hours_before: tier.hours_before, fee })
        });
        let terms =
            Terms { hours_before: written.hours_before, max: written.max, tiers: tiers.collect::<Option<_>>()? };
        Some((operation, Rule { allowed: written.allowed, anonymous: written.anonymous, terms }))
    });
    let rules =
        rules.collect::<Option<_>>().ok_or(StoreError::Broken { what: "a policy speaks of something unknown" })?;
    Policy::new(scope, rules).map_err(|_| StoreError::Broken { what: "a policy contradicts itself" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let fee = Money { minor: 1_500, currency: Currency::parse("EUR").unwrap() };
        let tiers = vec![Tier { hours_before: 24, fee: Money { minor: 0, ..fee } }, Tier { hours_before: 0, fee }];
        let terms = Terms { hours_before: Some(12), max: Some(2), tiers };
        let rules = [
            (Operation::Booking, Rule { anonymous: Some(false), ..Rule::default() }),
            (Operation::Reschedule, Rule { allowed: false, anonymous: None, terms }),
        ];
        let policy = Policy::new(Scope::Company, rules.into()).unwrap();
        assert_eq!(read(Scope::Company, write(&policy).unwrap()).unwrap(), policy);
        assert_eq!(read(Scope::Staff(1), serde_json::json!({})).unwrap(), Policy::default());
        for wrong in [
            serde_json::json!({"booking": {"allowed": true, "hours": 1}}),
            serde_json::json!({"flying": {"allowed": true}}),
            serde_json::json!({"booking": {"allowed": true, "max": 1}}),
        ] {
            assert!(read(Scope::Company, wrong).is_err());
        }
    }
}
