//! A policy as a TOML file writes it (`demo/policy.toml`), read into what the store publishes.
//!
//! An unknown key, an unknown currency, and what contradicts itself are refused here, by name.

use std::collections::BTreeMap;
use std::path::Path;

use domain::money::{Currency, Money};
use domain::policy::{Operation, Policy, Rule, Scope, Terms, Tier};
use serde::Deserialize;

use crate::failure::Failure;

/// Reads the file.
pub(crate) fn read(path: &Path) -> Result<(Scope, Policy), Failure> {
    let refused = |what: String| Failure::File { file: path.display().to_string(), what };
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    parse(&text).map_err(refused)
}

/// Reads its text; the error says what is wrong with it.
fn parse(text: &str) -> Result<(Scope, Policy), String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let scope = Scope::parse(&file.scope, file.id);
    let scope = scope.ok_or("scope is company without an id, or branch, service or staff with one")?;
    let currency = file.currency.as_deref().map(currency).transpose()?;
    let gates = [
        (Operation::Booking, file.booking),
        (Operation::AvailabilityInquiry, file.availability_inquiry),
        (Operation::CallbackService, file.callback_service),
        (Operation::AppointmentInquiry, file.appointment_inquiry),
        (Operation::ServiceInformation, file.service_information),
        (Operation::OpeningHours, file.opening_hours),
    ];
    let mut rules = BTreeMap::new();
    for (operation, gate) in gates {
        let Some(Gate { allowed, anonymous }) = gate else { continue };
        rules.insert(operation, Rule { allowed, anonymous, terms: Terms::default() });
    }
    if let Some(said) = file.cancellation {
        let tiers = tiers(Operation::Cancellation, said.fee_minor, said.fee_tiers, currency)?;
        let terms = Terms { hours_before: said.hours_before, max: said.max_per_30_days, tiers };
        rules.insert(Operation::Cancellation, Rule { allowed: said.allowed, anonymous: said.anonymous, terms });
    }
    if let Some(said) = file.reschedule {
        let tiers = tiers(Operation::Reschedule, said.fee_minor, said.fee_tiers, currency)?;
        let terms = Terms { hours_before: said.hours_before, max: said.max_per_appointment, tiers };
        rules.insert(Operation::Reschedule, Rule { allowed: said.allowed, anonymous: said.anonymous, terms });
    }
    Ok((scope, Policy::new(scope, rules).map_err(|fault| fault.to_string())?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scope: String,
    id: Option<i32>,
    currency: Option<String>,
    booking: Option<Gate>,
    availability_inquiry: Option<Gate>,
    callback_service: Option<Gate>,
    appointment_inquiry: Option<Gate>,
    service_information: Option<Gate>,
    opening_hours: Option<Gate>,
    cancellation: Option<Cancellation>,
    reschedule: Option<Reschedule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gate {
    #[serde(default = "yes")]
    allowed: bool,
    anonymous: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancellation {
    #[serde(default = "yes")]
    allowed: bool,
    anonymous: Option<bool>,
    hours_before: Option<u16>,
    max_per_30_days: Option<u16>,
    fee_minor: Option<u32>,
    #[serde(default)]
    fee_tiers: Vec<FeeTier>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reschedule {
    #[serde(default = "yes")]
    allowed: bool,
    anonymous: Option<bool>,
    hours_before: Option<u16>,
    max_per_appointment: Option<u16>,
    fee_minor: Option<u32>,
    #[serde(default)]
    fee_tiers: Vec<FeeTier>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeeTier {
    hours_before: u16,
    fee_minor: u32,
}

fn yes() -> bool {
    true
}

fn currency(code: &str) -> Result<Currency, String> {
    let known = iso_currency::Currency::from_code(code).and_then(|known| Currency::parse(known.code()));
    known.ok_or_else(|| format!("{code} is not a currency (ISO 4217: EUR)"))
}

fn tiers(
    operation: Operation,
    flat: Option<u32>,
    tiers: Vec<FeeTier>,
    currency: Option<Currency>,
) -> Result<Vec<Tier>, String> {
    let word = operation.as_str();
    let all = match (flat, tiers.is_empty()) {
        (Some(_), false) => return Err(format!("{word}: fee_minor or fee_tiers, not both")),
        (Some(fee_minor), true) => vec![FeeTier { hours_before: 0, fee_minor }],
        (None, _) => tiers,
    };
    let priced = all.into_iter().map(|tier| {
        let currency = currency.ok_or_else(|| format!("{word}: a fee needs a currency: currency = \"EUR\" on top"))?;
        Ok(Tier { hours_before: tier.hours_before, fee: Money { minor: tier.fee_minor, currency } })
    });
    priced.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMO: &str = include_str!("../../demo/policy.toml");

    #[test]
    fn the_demo_policy_is_read() {
        let (scope, policy) = parse(DEMO).unwrap();
        assert_eq!((scope, policy.rules().count()), (Scope::Company, 3));
        let cancel = &policy.rule(Operation::Cancellation).unwrap().terms;
        assert_eq!((cancel.hours_before, cancel.max, cancel.tiers.len()), (Some(24), Some(5), 2));
        assert_eq!((cancel.tiers[0].hours_before, cancel.tiers[1].fee.minor), (48, 1_000));
        let moves = &policy.rule(Operation::Reschedule).unwrap().terms;
        assert_eq!((moves.max, moves.tiers.len(), moves.tiers[0].hours_before), (Some(2), 1, 0));
        assert_eq!(policy.rule(Operation::AppointmentInquiry).unwrap().anonymous, Some(true));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            ("scope = \"company\"", "scope = \"staff\"", "scope is company without an id"),
            (
                "scope = \"company\"",
                "scope = \"staff\"\nid = 1",
                "a policy of a staff says nothing about appointment_inquiry",
            ),
            ("\"EUR\"", "\"EUX\"", "EUX is not a currency"),
            ("currency = \"EUR\"", "", "a fee needs a currency"),
            ("hours_before = 0, ", "hours_before = 1, ", "one fee must have hours_before = 0"),
            ("hours_before = 12", "hours = 12", "unknown field `hours`"),
            (
                "fee_minor = 0           #",
                "fee_minor = 0\nfee_tiers = [{ hours_before = 0, fee_minor = 1 }] #",
                "not both",
            ),
            ("[appointment_inquiry]", "[appointment_info]", "unknown field `appointment_info`"),
            ("fee_minor = 1000", "fee_minor = -1", "invalid value"),
        ];
        for (from, to, wanted) in table {
            let text = DEMO.replacen(from, to, 1);
            assert_ne!(text, DEMO, "{from}");
            let said = parse(&text).unwrap_err();
            assert!(said.contains(wanted), "{said}");
        }
    }
}
