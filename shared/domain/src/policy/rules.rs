//! What a policy can say, and for whom: read at the edge into values that cannot contradict themselves.

use crate::money::Money;
use std::collections::BTreeMap;

/// A window or a tier is at most a year before the start.
const HOURS_MAX: u16 = 8_784;
/// A million of a currency with cents.
const FEE_MINOR_MAX: u32 = 100_000_000;

/// What a policy decides about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Operation {
    /// Making an appointment.
    Booking,
    /// Asking what is free.
    AvailabilityInquiry,
    /// Asking to be rung.
    CallbackService,
    /// Asking for one's appointments.
    AppointmentInquiry,
    /// Calling an appointment off.
    Cancellation,
    /// Moving an appointment.
    Reschedule,
    /// Asking what is offered.
    ServiceInformation,
    /// Asking when it is open.
    OpeningHours,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Booking,
        Self::AvailabilityInquiry,
        Self::CallbackService,
        Self::AppointmentInquiry,
        Self::Cancellation,
        Self::Reschedule,
        Self::ServiceInformation,
        Self::OpeningHours,
    ];

    /// Does it change an appointment that is there? Such a rule has terms, and such a change is nothing for the anonymous
    /// unless a policy says so.
    pub fn changes(self) -> bool {
        matches!(self, Self::Cancellation | Self::Reschedule)
    }

    /// Its word in JSON, TOML and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Booking => "booking",
            Self::AvailabilityInquiry => "availability_inquiry",
            Self::CallbackService => "callback_service",
            Self::AppointmentInquiry => "appointment_inquiry",
            Self::Cancellation => "cancellation",
            Self::Reschedule => "reschedule",
            Self::ServiceInformation => "service_information",
            Self::OpeningHours => "opening_hours",
        }
    }

    /// Reads its word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == word)
    }
}

/// For whom a policy is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// Everybody.
    Company,
    /// This branch.
    Branch(i32),
    /// This service, wherever it is.
    Service(i32),
    /// This member of staff.
    Staff(i32),
}

impl Scope {
    /// Its word in JSON, TOML and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Company => "company",
            Self::Branch(_) => "branch",
            Self::Service(_) => "service",
            Self::Staff(_) => "staff",
        }
    }

    /// Whose; the company has none.
    pub fn id(self) -> Option<i32> {
        match self {
            Self::Company => None,
            Self::Branch(id) | Self::Service(id) | Self::Staff(id) => Some(id),
        }
    }

    /// From its word and id; `None`: no such word, an id too many, or none where one is needed.
    pub fn parse(word: &str, id: Option<i32>) -> Option<Self> {
        match (word, id) {
            ("company", None) => Some(Self::Company),
            ("branch", Some(id)) => Some(Self::Branch(id)),
            ("service", Some(id)) => Some(Self::Service(id)),
            ("staff", Some(id)) => Some(Self::Staff(id)),
            (_, _) => None,
        }
    }

    /// The lower, the nearer to the appointment.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Staff(_) => 0,
            Self::Service(_) => 1,
            Self::Branch(_) => 2,
            Self::Company => 3,
        }
    }

    /// Is it known for whom somebody asks before he is answered? A caller who asks what is free names no service yet, and
    /// who books "with anybody" names nobody.
    fn knows(self, operation: Operation) -> bool {
        match self {
            Self::Company | Self::Branch(_) => true,
            Self::Service(_) => operation.changes() || operation == Operation::Booking,
            Self::Staff(_) => operation.changes(),
        }
    }
}

/// What is said of one operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// May anybody?
    pub allowed: bool,
    /// May a caller whose number is withheld? `None`: yes, but nothing that changes an appointment.
    pub anonymous: Option<bool>,
    /// Of changes only.
    pub terms: Terms,
}

impl Default for Rule {
    fn default() -> Self {
        Self { allowed: true, anonymous: None, terms: Terms::default() }
    }
}

/// Until when, how often, and at what price.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Terms {
    /// At least so long before the start.
    pub hours_before: Option<u16>,
    /// Of moves: of one appointment. Of cancellations: of one customer in 30 days.
    pub max: Option<u16>,
    /// The tier with the most hours that are left decides; without tiers there is no fee. One of them has 0 hours.
    pub tiers: Vec<Tier>,
}

/// A fee, and from when on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tier {
    /// At least so many hours are left; 0 = whatever is left.
    pub hours_before: u16,
    /// What it costs then.
    pub fee: Money,
}

/// What one scope says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy(BTreeMap<Operation, Rule>);

/// Why a policy cannot be meant so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// Nobody would ever ask for it there.
    #[error("a policy of a {scope} says nothing about {operation}: whose it is is not known before the answer")]
    NotAskedThere {
        /// The scope's word.
        scope: &'static str,
        /// The operation's word.
        operation: &'static str,
    },
    /// Only changes have terms.
    #[error("{0} has no hours, no maximum and no fee: only cancellation and reschedule have")]
    NoTerms(&'static str),
    /// A time that is too long.
    #[error("{0}: hours_before is at most {HOURS_MAX}")]
    TooLong(&'static str),
    /// A fee that is too high.
    #[error("{0}: a fee is at most {FEE_MINOR_MAX} minor units")]
    TooDear(&'static str),
    /// Two tiers for one moment.
    #[error("{0}: two fees begin at the same hours_before")]
    TierTwice(&'static str),
    /// No tier for the last hours.
    #[error("{0}: one fee must have hours_before = 0, for whatever is left")]
    NoLastTier(&'static str),
    /// Two currencies in one rule.
    #[error("{0}: all fees are in one currency")]
    Currencies(&'static str),
}

impl Policy {
    /// Checks it; tiers come in the order of their hours.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn new(scope: Scope, mut rules: BTreeMap<Operation, Rule>) -> Result<Self, Fault> {
        for (operation, rule) in &mut rules {
            if !scope.knows(*operation) {
                return Err(Fault::NotAskedThere { scope: scope.as_str(), operation: operation.as_str() });
            }
            rule.terms.tiers.sort_by_key(|tier| std::cmp::Reverse(tier.hours_before));
            rule.terms.check(*operation)?;
        }
        Ok(Self(rules))
    }

    /// What it says of one operation.
    pub fn rule(&self, operation: Operation) -> Option<&Rule> {
        self.0.get(&operation)
    }

    /// All that it says.
    pub fn rules(&self) -> impl Iterator<Item = (Operation, &Rule)> {
        self.0.iter().map(|(operation, rule)| (*operation, rule))
    }
}

impl Terms {
    fn check(&self, operation: Operation) -> Result<(), Fault> {
        let word = operation.as_str();
        if !operation.changes() && *self != Self::default() {
            return Err(Fault::NoTerms(word));
        }
        let hours = self.hours_before.into_iter().chain(self.tiers.iter().map(|tier| tier.hours_before));
        if hours.max().is_some_and(|hours| hours > HOURS_MAX) {
            return Err(Fault::TooLong(word));
        }
        if self.tiers.iter().any(|tier| tier.fee.minor > FEE_MINOR_MAX) {
            return Err(Fault::TooDear(word));
        }
        for pair in self.tiers.windows(2) {
            if pair[0].hours_before == pair[1].hours_before {
                return Err(Fault::TierTwice(word));
            }
            if pair[0].fee.currency != pair[1].fee.currency {
                return Err(Fault::Currencies(word));
            }
        }
        if self.tiers.last().is_some_and(|tier| tier.hours_before != 0) {
            return Err(Fault::NoLastTier(word));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;

    const SCOPES: [Scope; 4] = [Scope::Company, Scope::Branch(1), Scope::Service(1), Scope::Staff(1)];

    #[test]
    fn words_are_read_back() {
        for operation in Operation::ALL {
            assert_eq!(Operation::parse(operation.as_str()), Some(operation));
        }
        for scope in SCOPES {
            assert_eq!(Scope::parse(scope.as_str(), scope.id()), Some(scope));
        }
        assert_eq!((Scope::parse("company", Some(1)), Scope::parse("staff", None)), (None, None));
        assert_eq!((Scope::parse("salon", Some(1)), Operation::parse("recurring")), (None, None));
    }

    #[test]
    fn a_policy_says_only_what_somebody_asks_there() {
        for (scope, many) in SCOPES.into_iter().zip([8, 8, 3, 2]) {
            let may = |operation: &Operation| Policy::new(scope, [(*operation, Rule::default())].into()).is_ok();
            assert_eq!(Operation::ALL.iter().filter(|operation| may(operation)).count(), many, "{scope:?}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        let tier = |hours_before, minor, code| Tier {
            hours_before,
            fee: Money { minor, currency: Currency::parse(code).unwrap() },
        };
        let said = |operation, hours_before, tiers: &[Tier]| {
            let terms = Terms { hours_before, max: None, tiers: tiers.to_vec() };
            Policy::new(Scope::Company, [(operation, Rule { terms, ..Rule::default() })].into()).map(|_| ())
        };
        let (cancel, word) = (Operation::Cancellation, "cancellation");
        let table = [
            (said(cancel, Some(HOURS_MAX), &[tier(0, FEE_MINOR_MAX, "EUR"), tier(24, 0, "EUR")]), Ok(())),
            (said(Operation::Booking, Some(1), &[]), Err(Fault::NoTerms("booking"))),
            (said(cancel, Some(HOURS_MAX + 1), &[]), Err(Fault::TooLong(word))),
            (said(cancel, None, &[tier(0, FEE_MINOR_MAX + 1, "EUR")]), Err(Fault::TooDear(word))),
            (said(cancel, None, &[tier(0, 1, "EUR"), tier(0, 2, "EUR")]), Err(Fault::TierTwice(word))),
            (said(cancel, None, &[tier(24, 1, "EUR")]), Err(Fault::NoLastTier(word))),
            (said(cancel, None, &[tier(24, 1, "EUR"), tier(0, 2, "CHF")]), Err(Fault::Currencies(word))),
        ];
        for (n, (found, wanted)) in table.into_iter().enumerate() {
            assert_eq!(found, wanted, "case {n}");
        }
    }
}
