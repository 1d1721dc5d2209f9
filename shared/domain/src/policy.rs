//! What a business allows: which functions there are, until when and at what price an appointment may be called off or
//! moved, and how much of it somebody may do whose number is withheld.
//!
//! Hours are hours that pass: 24 hours before 10:00 on the Sunday on which the clocks go forward are 09:00 on Saturday.
//! Deliberately absent: who may overrule a policy. Operators and the business in its own calendar are never asked here.

mod rules;

pub use rules::{Fault, Operation, Policy, Rule, Scope, Terms, Tier};

use crate::money::Money;
use chrono::{DateTime, TimeDelta, Utc};

/// All that is in force at one moment for one place. A company's policies are counted by one number, so that the number
/// names the whole of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policies {
    head: i32,
    in_force: Vec<InForce>,
}

/// One scope's policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InForce {
    /// For whom.
    pub scope: Scope,
    /// The number under which it was published.
    pub version: i32,
    /// What it says.
    pub policy: Policy,
}

impl Policies {
    /// `head`: the newest number of the company, 0 = nothing was ever published. `in_force`: at most one of each kind of
    /// scope, the newest.
    pub fn new(head: i32, mut in_force: Vec<InForce>) -> Self {
        in_force.sort_by_key(|one| one.scope.rank());
        Self { head, in_force }
    }

    /// The newest number of the company: what a decision stores.
    pub fn head(&self) -> i32 {
        self.head
    }

    /// What decides about `operation`: staff before service before branch before company, the first that mentions it.
    pub fn deciding(&self, operation: Operation) -> Option<(&InForce, &Rule)> {
        self.in_force.iter().find_map(|one| Some((one, one.policy.rule(operation)?)))
    }
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Asking {
    /// A program of the business, or a caller whose number we see.
    Known,
    /// A caller whose number is withheld.
    Anonymous,
}

/// The appointment in question, as it is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Case {
    /// Who asks.
    pub who: Asking,
    /// When it begins; of a move, the time that is given up.
    pub starts_at: DateTime<Utc>,
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// How often it was moved by wish.
    pub reschedules: u32,
    /// How many appointments its customer has called off in the last 30 days.
    pub cancellations: u32,
}

/// The decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ruling {
    /// It may be done.
    Allowed {
        /// What it costs; `None` = no policy speaks of a fee.
        fee: Option<Money>,
    },
    /// It may not.
    Denied(Denial),
}

/// Why not, and what else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    /// Why not.
    pub reason: Reason,
    /// What the same person may do instead.
    pub possible: Vec<Operation>,
}

/// Why a policy says no.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reason {
    /// Too late.
    #[error("this was possible until {until}, {hours_before} hours before")]
    DeadlineMissed {
        /// So long before the start it would have been possible.
        hours_before: u16,
        /// The last moment.
        until: DateTime<Utc>,
    },
    /// This customer has called off too many.
    #[error("a customer may call off {max} appointments in 30 days")]
    QuotaExceeded {
        /// So many in 30 days.
        max: u16,
    },
    /// It was moved too often.
    #[error("an appointment may be moved {max} times")]
    MaxReschedulesReached {
        /// So often.
        max: u16,
    },
    /// Nobody may.
    #[error("the business does not offer this")]
    PolicyDisabled,
    /// Nobody whose number is withheld may.
    #[error("not for callers whose number is withheld")]
    AnonymousCallerRestricted,
}

impl Reason {
    /// Its word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeadlineMissed { .. } => "deadline_missed",
            Self::QuotaExceeded { .. } => "quota_exceeded",
            Self::MaxReschedulesReached { .. } => "max_reschedules_reached",
            Self::PolicyDisabled => "policy_disabled",
            Self::AnonymousCallerRestricted => "anonymous_caller_restricted",
        }
    }
}

/// May this person use this function at all?
///
/// # Errors
/// Why not.
pub fn gate(policies: &Policies, operation: Operation, who: Asking) -> Result<(), Reason> {
    let rule = policies.deciding(operation).map(|(_, rule)| rule);
    if rule.is_some_and(|rule| !rule.allowed) {
        return Err(Reason::PolicyDisabled);
    }
    let anonymous = rule.and_then(|rule| rule.anonymous).unwrap_or(!operation.changes());
    if who == Asking::Anonymous && !anonymous {
        return Err(Reason::AnonymousCallerRestricted);
    }
    Ok(())
}

/// May this appointment be called off, or moved, and what does it cost? No policy: yes, nothing.
pub fn decide(policies: &Policies, operation: Operation, case: &Case) -> Ruling {
    match rule_on(policies, operation, case) {
        Ok(fee) => Ruling::Allowed { fee },
        Err(reason) => {
            let instead = [Operation::Cancellation, Operation::Reschedule, Operation::CallbackService];
            let may = |other: &Operation| *other != operation && rule_on(policies, *other, case).is_ok();
            Ruling::Denied(Denial { reason, possible: instead.into_iter().filter(may).collect() })
        }
    }
}

fn rule_on(policies: &Policies, operation: Operation, case: &Case) -> Result<Option<Money>, Reason> {
    gate(policies, operation, case.who)?;
    let Some((_, rule)) = policies.deciding(operation) else { return Ok(None) };
    let Terms { hours_before, max, tiers } = &rule.terms;
    if let Some(hours_before) = *hours_before {
        let until = case.starts_at - TimeDelta::hours(hours_before.into());
        if case.now > until {
            return Err(Reason::DeadlineMissed { hours_before, until });
        }
    }
    match (operation, *max) {
        (Operation::Cancellation, Some(max)) if case.cancellations >= max.into() => {
            return Err(Reason::QuotaExceeded { max });
        }
        (Operation::Reschedule, Some(max)) if case.reschedules >= max.into() => {
            return Err(Reason::MaxReschedulesReached { max });
        }
        (_, _) => {}
    }
    let left = case.starts_at - case.now;
    let reached =
        tiers.iter().filter(|tier| tier.hours_before == 0 || left >= TimeDelta::hours(tier.hours_before.into()));
    Ok(reached.max_by_key(|tier| tier.hours_before).map(|tier| tier.fee))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;
    use chrono::TimeZone;
    use chrono_tz::Europe::Berlin;

    fn eur(minor: u32) -> Money {
        Money { minor, currency: Currency::parse("EUR").unwrap() }
    }

    fn tier(hours_before: u16, minor: u32) -> Tier {
        Tier { hours_before, fee: eur(minor) }
    }

    fn terms(hours_before: Option<u16>, max: Option<u16>, tiers: &[Tier]) -> Rule {
        Rule { terms: Terms { hours_before, max, tiers: tiers.to_vec() }, ..Rule::default() }
    }

    fn policies(rules: &[(Scope, i32, Operation, Rule)]) -> Policies {
        let head = rules.iter().map(|rule| rule.1).max().unwrap_or(0);
        let in_force = rules.iter().map(|(scope, version, operation, rule)| {
            let policy = Policy::new(*scope, [(*operation, rule.clone())].into()).unwrap();
            InForce { scope: *scope, version: *version, policy }
        });
        Policies::new(head, in_force.collect())
    }

    fn company(operation: Operation, rule: Rule) -> Policies {
        policies(&[(Scope::Company, 1, operation, rule)])
    }

    /// Noon in Greenwich, seen from so many seconds before.
    fn before(seconds: i64) -> Case {
        let starts_at = Utc.with_ymd_and_hms(2026, 11, 26, 12, 0, 0).unwrap();
        let now = starts_at - TimeDelta::seconds(seconds);
        Case { who: Asking::Known, starts_at, now, reschedules: 0, cancellations: 0 }
    }

    const HOUR: i64 = 3_600;
    const ALLOWED: Ruling = Ruling::Allowed { fee: None };

    fn reason(ruling: &Ruling) -> &'static str {
        match ruling {
            Ruling::Allowed { .. } => "allowed",
            Ruling::Denied(denial) => denial.reason.as_str(),
        }
    }

    #[test]
    fn without_a_policy_everything_is_allowed_but_changes_by_nobody_knows_whom() {
        for operation in Operation::ALL {
            let none = Policies::default();
            assert_eq!(decide(&none, operation, &before(-HOUR)), ALLOWED, "{operation:?}");
            let anonymous = Case { who: Asking::Anonymous, ..before(HOUR) };
            let wanted = if operation.changes() { "anonymous_caller_restricted" } else { "allowed" };
            assert_eq!(reason(&decide(&none, operation, &anonymous)), wanted, "{operation:?}");
        }
    }

    #[test]
    fn the_window_is_open_until_its_very_last_moment() {
        let table = [(25 * HOUR, true), (24 * HOUR + 1, true), (24 * HOUR, true), (24 * HOUR - 1, false), (0, false)];
        for operation in [Operation::Cancellation, Operation::Reschedule] {
            let day = company(operation, terms(Some(24), None, &[]));
            for (seconds, open) in table {
                let ruling = decide(&day, operation, &before(seconds));
                assert_eq!(reason(&ruling), if open { "allowed" } else { "deadline_missed" }, "{seconds} s before");
            }
            let late = Case { now: before(24 * HOUR).now + TimeDelta::microseconds(1), ..before(0) };
            assert_eq!(reason(&decide(&day, operation, &late)), "deadline_missed", "a microsecond too late");
        }
        let begun = company(Operation::Cancellation, terms(Some(0), None, &[]));
        assert_eq!(decide(&begun, Operation::Cancellation, &before(0)), ALLOWED);
        assert_eq!(reason(&decide(&begun, Operation::Cancellation, &before(-1))), "deadline_missed");
    }

    #[test]
    fn on_the_day_the_clocks_change_hours_are_hours() {
        let day = company(Operation::Cancellation, terms(Some(24), None, &[]));
        let at = |month, day, hour| Berlin.with_ymd_and_hms(2026, month, day, hour, 0, 0).unwrap().to_utc();
        // (start, last moment): the night of 29 March has 23 hours, that of 25 October 25.
        let table = [(at(3, 29, 10), at(3, 28, 9)), (at(10, 25, 10), at(10, 24, 11)), (at(3, 28, 10), at(3, 27, 10))];
        for (starts_at, last) in table {
            let case = Case { starts_at, now: last, ..before(0) };
            assert_eq!(decide(&day, Operation::Cancellation, &case), ALLOWED, "{starts_at}");
            let late = Case { now: last + TimeDelta::seconds(1), ..case };
            let Ruling::Denied(denial) = decide(&day, Operation::Cancellation, &late) else { panic!("{starts_at}") };
            assert_eq!(denial.reason, Reason::DeadlineMissed { hours_before: 24, until: last });
        }
    }

    #[test]
    fn the_fee_is_that_of_the_tier_that_is_reached() {
        let tiers = [tier(0, 1_500), tier(48, 0), tier(24, 1_000)];
        let paid = company(Operation::Cancellation, terms(None, None, &tiers));
        let table = [
            (72 * HOUR, 0),
            (48 * HOUR, 0),
            (48 * HOUR - 1, 1_000),
            (24 * HOUR, 1_000),
            (24 * HOUR - 1, 1_500),
            (0, 1_500),
            (-HOUR, 1_500),
        ];
        for (seconds, minor) in table {
            let ruling = decide(&paid, Operation::Cancellation, &before(seconds));
            assert_eq!(ruling, Ruling::Allowed { fee: Some(eur(minor)) }, "{seconds} s before");
        }
    }

    #[test]
    fn how_often_is_counted() {
        for (operation, word) in
            [(Operation::Reschedule, "max_reschedules_reached"), (Operation::Cancellation, "quota_exceeded")]
        {
            let twice = company(operation, terms(None, Some(2), &[]));
            for (n, wanted) in [(0, "allowed"), (1, "allowed"), (2, word), (3, word)] {
                let own = Case { reschedules: n, cancellations: n, ..before(HOUR) };
                assert_eq!(reason(&decide(&twice, operation, &own)), wanted, "{n}");
            }
        }
        let never = company(Operation::Reschedule, terms(None, Some(0), &[]));
        let others = Case { cancellations: 9, ..before(HOUR) };
        assert_eq!(reason(&decide(&never, Operation::Reschedule, &others)), "max_reschedules_reached");
        assert_eq!(decide(&never, Operation::Cancellation, &others), ALLOWED);
    }

    #[test]
    fn who_is_nearer_to_the_appointment_decides_about_what_he_mentions() {
        let free = || terms(None, None, &[tier(0, 0)]);
        let paid = |minor| terms(None, None, &[tier(0, minor)]);
        let [cancel, moves] = [Operation::Cancellation, Operation::Reschedule];
        let all = [
            (Scope::Company, 1, cancel, paid(100)),
            (Scope::Branch(1), 2, cancel, paid(200)),
            (Scope::Service(1), 3, cancel, paid(300)),
            (Scope::Staff(1), 4, cancel, free()),
        ];
        for n in 1..=all.len() {
            let some = policies(&all[..n]);
            let (one, _) = some.deciding(cancel).unwrap();
            assert_eq!((one.scope, one.version, some.head()), (all[n - 1].0, all[n - 1].1, all[n - 1].1));
        }
        let silent = policies(&[all[0].clone(), (Scope::Staff(1), 5, moves, free())]);
        assert_eq!(
            decide(&silent, cancel, &before(HOUR)),
            Ruling::Allowed { fee: Some(eur(100)) },
            "he says nothing of it"
        );
    }

    #[test]
    fn a_denial_says_what_is_possible_instead() {
        let possible = |policies: &Policies, case: &Case| match decide(policies, Operation::Cancellation, case) {
            Ruling::Denied(denial) => denial.possible,
            Ruling::Allowed { .. } => panic!("allowed"),
        };
        let late = (Scope::Company, 1, Operation::Cancellation, terms(Some(24), None, &[]));
        let [moves, rings] = [Operation::Reschedule, Operation::CallbackService];
        assert_eq!(possible(&policies(std::slice::from_ref(&late)), &before(HOUR)), [moves, rings]);
        let off = Rule { allowed: false, ..Rule::default() };
        let no_calls = (Scope::Branch(1), 2, rings, off);
        assert_eq!(possible(&policies(&[late.clone(), no_calls]), &before(HOUR)), [moves]);
        let anonymous = Case { who: Asking::Anonymous, ..before(HOUR) };
        assert_eq!(possible(&policies(&[late]), &anonymous), [rings]);
    }

    #[test]
    fn a_function_can_be_off_or_off_for_the_anonymous() {
        for operation in Operation::ALL {
            let off = company(operation, Rule { allowed: false, ..Rule::default() });
            let named = company(operation, Rule { anonymous: Some(false), ..Rule::default() });
            let open = company(operation, Rule { anonymous: Some(true), ..Rule::default() });
            for who in [Asking::Known, Asking::Anonymous] {
                assert_eq!(gate(&off, operation, who), Err(Reason::PolicyDisabled), "{operation:?}");
                assert_eq!(gate(&open, operation, who), Ok(()), "{operation:?}");
            }
            assert_eq!(gate(&named, operation, Asking::Known), Ok(()), "{operation:?}");
            assert_eq!(gate(&named, operation, Asking::Anonymous), Err(Reason::AnonymousCallerRestricted));
        }
    }
}
