//! `askpro drift`: where a company's bookings to come at Cal.com and the record differ now, and having it repaired.
//!
//! A repair is a notice to a worker, whose job reads the booking and acts by the company's policy. Absent: Cal.com's uids,
//! which are capabilities, and what waits for a person's decision already (`askpro review list`).

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Subcommand;
use serde::Serialize;
use store::Drift;
use uuid::Uuid;

use crate::appointments::reason;
use crate::calcom;
use crate::failure::{Exit, Failure};
use crate::flags::Output;
use crate::render::{self, Answer, or_dash};
use crate::session::Session;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Compare everything to come now; exit code 5 if anything differs
    List,
    /// Have all of it repaired by the workers; without --yes it only says what would be
    Repair {
        /// Do it
        #[arg(long, requires = "reason")]
        yes: bool,
        /// Why; it is noted for each appointment
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: Option<String>,
    },
}

pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Answer, Failure> {
    let company = session.company().await?;
    let began = session.store.now().await?;
    let upcoming = calcom::upcoming(&session.store, &session.settings, &company, began).await?;
    // What begins within a minute may be listed as past already.
    let to_come = began.checked_add_signed(TimeDelta::minutes(1)).unwrap_or(began);
    let compared = session.store.compare_listed(company.company_id, &upcoming, true, to_come).await?;
    let (drifts, others) = (compared.drifts, compared.external.len());
    let mut repairs = Repairs { done: false, jobs: BTreeMap::new() };
    match verb {
        Verb::List => {
            let exit = if drifts.is_empty() { Exit::Ok } else { Exit::Drift };
            return Ok(told(session.output, &drifts, others, None)?.ending(exit));
        }
        Verb::Repair { yes: true, reason: Some(why) } => {
            repairs.done = true;
            for (nth, drift) in drifts.iter().enumerate() {
                repairs.jobs.insert(nth, session.store.repair_drift(drift, &why).await?.job_id.0);
            }
        }
        Verb::Repair { .. } => {}
    }
    told(session.output, &drifts, others, Some(&repairs))
}

/// What was done about the differences, by their place in the list.
struct Repairs {
    done: bool,
    jobs: BTreeMap<usize, Uuid>,
}

#[derive(Serialize)]
struct Difference {
    difference: &'static str,
    appointment_id: Uuid,
    promised: DateTime<Utc>,
    /// When the booking at Cal.com begins, if there is one.
    found: Option<DateTime<Utc>>,
    /// The job that repairs it.
    job_id: Option<Uuid>,
}

fn told(output: Output, drifts: &[Drift], others: usize, repairs: Option<&Repairs>) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body {
        drift: Vec<Difference>,
        /// Bookings of others whose time the record has not noted yet; the next sweep does.
        others_unknown: usize,
        /// Left out of a list; false: nothing was done.
        #[serde(skip_serializing_if = "Option::is_none")]
        repaired: Option<bool>,
    }
    let job = |nth| repairs.and_then(|repairs| repairs.jobs.get(&nth)).copied();
    let differences = drifts.iter().enumerate().map(|(nth, drift)| Difference {
        difference: drift.difference.as_str(),
        appointment_id: drift.appointment_id,
        promised: drift.promised,
        found: drift.found,
        job_id: job(nth),
    });
    let repaired = repairs.map(|repairs| repairs.done);
    let body = Body { drift: differences.collect(), others_unknown: others, repaired };
    let answer = Answer::new(output, &body, || {
        let rows = body.drift.iter().map(|it| {
            let (promised, found) = (render::instant(it.promised), or_dash(it.found.map(render::instant)));
            [it.difference.to_owned(), it.appointment_id.to_string(), promised, found, or_dash(it.job_id)]
        });
        render::table(["DIFFERENCE", "APPOINTMENT", "PROMISED", "FOUND", "JOB"], &[], rows.collect())
    })?;
    Ok(match output {
        Output::Table => answer.with_note(Some(note(drifts.len(), others, repaired))),
        Output::Json => answer,
    })
}

fn note(drifts: usize, others: usize, repaired: Option<bool>) -> String {
    let counted = match drifts {
        0 => "Cal.com has what was promised.".to_owned(),
        1 => "1 difference.".to_owned(),
        n => format!("{n} differences."),
    };
    let next = match (drifts, repaired) {
        (0, _) => "",
        (_, None) => " `askpro drift repair` has them repaired.",
        (_, Some(false)) => " Nothing was done; with --yes --reason TEXT these jobs are made.",
        (_, Some(true)) => " Their jobs are due now.",
    };
    let unknown = match others {
        0 => String::new(),
        n => format!(" The next sweep notes the time of {n} bookings of others."),
    };
    format!("{counted}{next}{unknown}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::answer::{BookingStatus, BookingUid};
    use domain::observe::Hint;
    use store::{Difference as How, HintSource, Notice};

    fn drift(difference: How, found: Option<DateTime<Utc>>) -> Drift {
        let hint = Hint {
            uid: BookingUid::from("capability".to_owned()),
            status: Some(BookingStatus::Accepted),
            start: found,
        };
        let notice = Notice {
            company_id: 1,
            source: HintSource::Sweep,
            body: vec![],
            hint,
            replaces: None,
            lineage: None,
            chain: "capability".to_owned(),
        };
        let promised = DateTime::UNIX_EPOCH;
        Drift { difference, appointment_id: Uuid::from_u128(9), promised, found, notice }
    }

    #[test]
    fn differences_as_a_table() {
        let drifts = [drift(How::Time, Some(DateTime::UNIX_EPOCH + TimeDelta::hours(1))), drift(How::Missing, None)];
        let answer = told(Output::Table, &drifts, 2, None).unwrap();
        let wanted = "\
DIFFERENCE  APPOINTMENT                           PROMISED                 FOUND                    JOB
time        00000000-0000-0000-0000-000000000009  1970-01-01 00:00:00 UTC  1970-01-01 01:00:00 UTC  -
missing     00000000-0000-0000-0000-000000000009  1970-01-01 00:00:00 UTC  -                        -";
        assert_eq!(answer.text, wanted);
        let note = "2 differences. `askpro drift repair` has them repaired. The next sweep notes the time of 2 bookings of \
                    others.";
        assert_eq!(answer.note.unwrap(), note);
    }

    #[test]
    fn a_repair_names_its_jobs_and_a_dry_run_says_that_it_is_one() {
        let drifts = [drift(How::Status, None)];
        let said = |repairs: &Repairs| {
            let text = told(Output::Json, &drifts, 0, Some(repairs)).unwrap().text;
            assert!(!text.contains("capability"), "{text}");
            serde_json::from_str::<serde_json::Value>(&text).unwrap()
        };
        let dry = said(&Repairs { done: false, jobs: BTreeMap::new() });
        assert_eq!((&dry["repaired"], &dry["drift"][0]["job_id"]), (&false.into(), &serde_json::Value::Null));
        let done = said(&Repairs { done: true, jobs: BTreeMap::from([(0, Uuid::from_u128(7))]) });
        assert_eq!(done["repaired"], true);
        assert_eq!(done["drift"][0]["job_id"], "00000000-0000-0000-0000-000000000007");
        assert!(note(1, 0, Some(false)).contains("Nothing was done"));
        assert_eq!(note(0, 0, Some(true)), "Cal.com has what was promised.");
    }
}
