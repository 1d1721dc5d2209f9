//! `askpro policies`: what the business allows, a new version of it, and what would be decided about an appointment now.
//!
//! Deliberately absent: changing or deleting a version. A policy that is to say nothing any more is published empty.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::Subcommand;
use domain::id::AppointmentId;
use domain::policy::{Asking, Case, Operation, Policies, Policy, Ruling, Scope, decide};
use serde::Serialize;
use store::{PolicyView, Published};
use uuid::Uuid;

use crate::appointments::reason;
use crate::failure::Failure;
use crate::flags::Output;
use crate::policy_file;
use crate::render::{self, Answer, or_dash};
use crate::session::Session;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// What is in force, the newest first
    List {
        /// Every version that ever was
        #[arg(long)]
        all: bool,
    },
    /// Put a file into force for its scope; only shows what would change unless --yes is given
    Publish {
        /// TOML, as demo/policy.toml
        file: PathBuf,
        /// Do it
        #[arg(long, requires = "reason")]
        yes: bool,
        /// Why; it is noted
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: Option<String>,
    },
    /// What would be decided about an appointment now, and by which version
    Check {
        /// The appointment's id
        appointment: Uuid,
    },
}

pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Answer, Failure> {
    let company_id = session.company().await?.company_id;
    match verb {
        Verb::List { all } => listed(session.output, &session.store.policy_versions(company_id, all).await?),
        Verb::Publish { file, yes, reason } => publish(session, company_id, &file, reason.filter(|_| yes)).await,
        Verb::Check { appointment } => {
            let case = session.store.policy_case(company_id, AppointmentId(appointment)).await?;
            let none = || Failure::NotFound(format!("there is no appointment {appointment} in this company"));
            let (policies, case) = case.ok_or_else(none)?;
            checked(session.output, appointment, &policies, &case)
        }
    }
}

/// What a policy says, a fact a line.
fn facts(policy: &Policy) -> BTreeMap<String, String> {
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let mut facts = BTreeMap::new();
    for (operation, rule) in policy.rules() {
        let mut say = |what: &str, value| facts.insert(format!("{} {what}", operation.as_str()), value);
        say("allowed", yes(rule.allowed));
        if let Some(anonymous) = rule.anonymous {
            say("with the number withheld", yes(anonymous));
        }
        if let Some(hours) = rule.terms.hours_before {
            say("until hours before", hours.to_string());
        }
        if let Some(max) = rule.terms.max {
            let of = if operation == Operation::Cancellation { "at most in 30 days" } else { "at most" };
            say(of, max.to_string());
        }
        for tier in &rule.terms.tiers {
            let fee = format!("{} minor units {}", tier.fee.minor, tier.fee.currency.as_str());
            say(&format!("fee, {:>4} hours before", tier.hours_before), fee);
        }
    }
    facts
}

fn named(scope: Scope) -> String {
    scope.id().map_or_else(|| scope.as_str().to_owned(), |id| format!("{} {id}", scope.as_str()))
}

fn listed(output: Output, versions: &[PolicyView]) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Version<'a> {
        version: i32,
        scope: &'static str,
        scope_id: Option<i32>,
        in_force: bool,
        published_at: DateTime<Utc>,
        reason: &'a str,
        says: BTreeMap<String, String>,
    }
    #[derive(Serialize)]
    struct Body<'a> {
        policies: Vec<Version<'a>>,
    }
    let policies = versions.iter().map(|view| Version {
        version: view.version,
        scope: view.scope.as_str(),
        scope_id: view.scope.id(),
        in_force: view.in_force,
        published_at: view.published_at,
        reason: &view.why,
        says: facts(&view.policy),
    });
    Answer::new(output, &Body { policies: policies.collect() }, || {
        let rows = versions.iter().map(|view| {
            let says = facts(&view.policy).into_iter().map(|(what, value)| format!("{what}: {value}"));
            [
                view.version.to_string(),
                named(view.scope),
                if view.in_force { "yes" } else { "no" }.to_owned(),
                render::instant(view.published_at),
                view.why.clone(),
                says.collect::<Vec<_>>().join("; "),
            ]
        });
        render::table(["VERSION", "SCOPE", "IN FORCE", "SINCE", "REASON", "SAYS"], &[0], rows.collect())
    })
}

async fn publish(session: &Session, company_id: i32, file: &Path, why: Option<String>) -> Result<Answer, Failure> {
    let (scope, policy) = policy_file::read(file)?;
    let before = session.store.policy_versions(company_id, false).await?;
    let before = before.into_iter().find(|view| view.scope == scope);
    let changes = changes(before.as_ref().map(|view| &view.policy), &policy);
    let published = match why {
        Some(why) => Some(session.store.publish_policy(company_id, scope, &policy, &why).await?),
        None => None,
    };
    let version = match published {
        Some(Published::New { version }) => Some(version),
        Some(Published::Unchanged) | None => None,
        Some(Published::NoSuchScope) => {
            return Err(Failure::NotFound(format!("there is no {} in this company", named(scope))));
        }
    };
    told(session.output, scope, before.as_ref().map(|view| view.version), &changes, published.is_none(), version)
}

#[derive(Serialize)]
struct Difference {
    what: String,
    from: Option<String>,
    to: Option<String>,
}

fn changes(before: Option<&Policy>, after: &Policy) -> Vec<Difference> {
    let (mut before, after) = (before.map(facts).unwrap_or_default(), facts(after));
    let mut changes = Vec::new();
    for (what, to) in after {
        let from = before.remove(&what);
        if from.as_ref() != Some(&to) {
            changes.push(Difference { what, from, to: Some(to) });
        }
    }
    changes.extend(before.into_iter().map(|(what, from)| Difference { what, from: Some(from), to: None }));
    changes
}

fn told(
    output: Output,
    scope: Scope,
    before: Option<i32>,
    changes: &[Difference],
    dry_run: bool,
    version: Option<i32>,
) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        scope: &'static str,
        scope_id: Option<i32>,
        dry_run: bool,
        /// The version that was in force.
        before: Option<i32>,
        /// The version that is in force from now on; absent if nothing was published.
        version: Option<i32>,
        changes: &'a [Difference],
    }
    let body = Body { scope: scope.as_str(), scope_id: scope.id(), dry_run, before, version, changes };
    let answer = Answer::new(output, &body, || {
        let of = before.map_or_else(|| "no policy".to_owned(), |version| format!("version {version}"));
        let head = match (version, changes) {
            (Some(version), _) => format!("Version {version} is in force for {}; it was {of}.", named(scope)),
            (None, []) => format!("That is what {of} of {} says already.", named(scope)),
            (None, _) => format!("This would change for {}; it is {of} now.", named(scope)),
        };
        let rows = changes.iter().map(|one| [one.what.clone(), or_dash(one.from.as_ref()), or_dash(one.to.as_ref())]);
        let rows = render::table(["WHAT", "BEFORE", "AFTER"], &[], rows.collect());
        if changes.is_empty() { head } else { format!("{head}\n\n{rows}") }
    })?;
    let note = "Nothing was changed. To do it: askpro policies publish FILE --yes --reason TEXT";
    Ok(answer.with_note((dry_run && !changes.is_empty()).then(|| note.to_owned())))
}

fn checked(output: Output, appointment_id: Uuid, policies: &Policies, case: &Case) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Decision {
        operation: &'static str,
        number_withheld: bool,
        allowed: bool,
        fee_minor: Option<u32>,
        fee_currency: Option<String>,
        reason: Option<&'static str>,
        detail: Option<String>,
        possible: Vec<&'static str>,
        /// Whose policy says so; absent if none mentions it.
        decided_by: Option<i32>,
        scope: Option<String>,
    }
    #[derive(Serialize)]
    struct Body {
        appointment_id: Uuid,
        /// What a decision would store.
        policy_version: i32,
        starts_at: DateTime<Utc>,
        reschedules: u32,
        cancellations: u32,
        decisions: Vec<Decision>,
    }
    let mut decisions = Vec::new();
    for operation in [Operation::Cancellation, Operation::Reschedule] {
        for who in [Asking::Known, Asking::Anonymous] {
            let by = policies.deciding(operation).map(|(one, _)| one);
            let mut decision = Decision {
                operation: operation.as_str(),
                number_withheld: who == Asking::Anonymous,
                allowed: true,
                fee_minor: None,
                fee_currency: None,
                reason: None,
                detail: None,
                possible: vec![],
                decided_by: by.map(|one| one.version),
                scope: by.map(|one| named(one.scope)),
            };
            match decide(policies, operation, &Case { who, ..*case }) {
                Ruling::Allowed { fee } => {
                    decision.fee_minor = fee.map(|fee| fee.minor);
                    decision.fee_currency = fee.map(|fee| fee.currency.as_str().to_owned());
                }
                Ruling::Denied(denial) => {
                    decision.allowed = false;
                    decision.reason = Some(denial.reason.as_str());
                    decision.detail = Some(denial.reason.to_string());
                    decision.possible = denial.possible.into_iter().map(Operation::as_str).collect();
                }
            }
            decisions.push(decision);
        }
    }
    let (policy_version, starts_at) = (policies.head(), case.starts_at);
    let (reschedules, cancellations) = (case.reschedules, case.cancellations);
    let body = Body { appointment_id, policy_version, starts_at, reschedules, cancellations, decisions };
    Answer::new(output, &body, || {
        let rows = body.decisions.iter().map(|one| {
            let fee = one.fee_minor.zip(one.fee_currency.as_ref());
            [
                one.operation.to_owned(),
                if one.number_withheld { "number withheld" } else { "known" }.to_owned(),
                if one.allowed { "allowed" } else { "denied" }.to_owned(),
                or_dash(fee.map(|(minor, code)| format!("{minor} minor units {code}"))),
                or_dash(one.detail.as_ref()),
                or_dash(one.decided_by.zip(one.scope.as_ref()).map(|(version, scope)| format!("{version} ({scope})"))),
            ]
        });
        render::table(["OPERATION", "WHO", "NOW", "FEE", "WHY", "BY VERSION"], &[], rows.collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::policy::{Rule, Terms};

    fn policy(hours_before: Option<u16>, max: Option<u16>) -> Policy {
        let terms = Terms { hours_before, max, tiers: vec![] };
        Policy::new(Scope::Company, [(Operation::Reschedule, Rule { terms, ..Rule::default() })].into()).unwrap()
    }

    #[test]
    fn what_changes_is_shown_before_it_is_done() {
        let (old, new) = (policy(Some(24), Some(1)), policy(Some(48), None));
        let said = told(Output::Table, Scope::Staff(2), Some(3), &changes(Some(&old), &new), true, None).unwrap();
        let wanted = "\
This would change for staff 2; it is version 3 now.

WHAT                           BEFORE  AFTER
reschedule until hours before  24      48
reschedule at most             1       -";
        assert_eq!(said.text, wanted);
        assert!(said.note.unwrap().contains("Nothing was changed"));
        let same = told(Output::Table, Scope::Company, Some(3), &changes(Some(&old), &old), true, None).unwrap();
        assert_eq!((same.text.as_str(), same.note), ("That is what version 3 of company says already.", None));
        let done = told(Output::Table, Scope::Company, None, &changes(None, &new), false, Some(1)).unwrap();
        assert!(done.text.starts_with("Version 1 is in force for company; it was no policy."), "{}", done.text);
    }
}
