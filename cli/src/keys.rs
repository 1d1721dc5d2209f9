//! `askpro keys`: a job key is `{kind}:{appointment}`; its story is that of every job that ever had it.

use std::collections::BTreeSet;
use std::str::FromStr;

use clap::Subcommand;
use domain::id::{AppointmentId, JobId};
use domain::job::Kind;
use serde::Serialize;
use store::{JobFilter, JobView, Told};
use uuid::Uuid;

use crate::appointments::{Entry, entries, story_text};
use crate::failure::Failure;
use crate::flags::Output;
use crate::jobs::{self, Job};
use crate::render::Answer;
use crate::session::Session;

/// Jobs of one key that are looked at: the newest.
const JOBS_MAX: i64 = 200;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Its jobs, and what happened under it between the changes of the promise
    Timeline {
        /// booking, sync or customer, a colon, and the appointment's id
        #[arg(value_name = "KIND:APPOINTMENT")]
        key: Key,
    },
}

/// A job key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    kind: Kind,
    appointment_id: AppointmentId,
}

impl FromStr for Key {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, Self::Err> {
        let (word, id) = written.split_once(':').ok_or("a key is KIND:APPOINTMENT")?;
        let id = Uuid::parse_str(id).map_err(|error| format!("the appointment's id: {error}"))?;
        Ok(Self { kind: jobs::kind(word)?, appointment_id: AppointmentId(id) })
    }
}

pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Answer, Failure> {
    let Verb::Timeline { key } = verb;
    let company_id = session.company().await?.company_id;
    let filter = JobFilter {
        kind: Some(key.kind),
        state: None,
        appointment_id: Some(key.appointment_id),
        limit: JOBS_MAX,
        before: None,
    };
    let jobs = session.store.jobs(company_id, &filter).await?;
    if jobs.is_empty() {
        let key = format!("{}:{}", key.kind.as_str(), key.appointment_id);
        return Err(Failure::NotFound(format!("no job of this company ever had the key {key}")));
    }
    let story = session.store.timeline(company_id, key.appointment_id).await?.unwrap_or_default();
    told(session.output, &jobs, &of_these(&jobs, story))
}

/// What these jobs did, and what belongs to no job: the changes of the promise by people.
fn of_these(jobs: &[JobView], story: Vec<Told>) -> Vec<Told> {
    let ours: BTreeSet<JobId> = jobs.iter().map(|job| job.job.job_id).collect();
    story.into_iter().filter(|told| told.job_id.is_none_or(|id| ours.contains(&id))).collect()
}

fn told(output: Output, jobs: &[JobView], story: &[Told]) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        jobs: Vec<Job<'a>>,
        entries: Vec<Entry<'a>>,
    }
    let body = Body { jobs: jobs.iter().map(Job::from).collect(), entries: entries(story) };
    Answer::new(output, &body, || format!("{}\n\n{}", jobs::text(jobs), story_text(story)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use domain::job::State;
    use store::JobRef;

    #[test]
    fn a_key_is_read_and_everything_else_refused() {
        let id = "0199a3c2-7c1e-7b60-9c55-1f2a3b4c5d6e";
        let key: Key = format!("sync:{id}").parse().unwrap();
        assert_eq!((key.kind, key.appointment_id.to_string().as_str()), (Kind::Sync, id));
        for written in [id.to_owned(), format!("hold:{id}"), "booking:12".to_owned(), String::new()] {
            assert!(written.parse::<Key>().is_err(), "{written}");
        }
    }

    #[test]
    fn the_story_of_a_key_leaves_out_other_jobs() {
        let job = JobView {
            job: JobRef { company_id: 1, job_id: JobId(Uuid::from_u128(1)) },
            kind: Kind::Booking,
            key: String::new(),
            appointment_id: None,
            state: State::Completed,
            run_at: DateTime::UNIX_EPOCH,
            attempt: 0,
            crashes: 0,
            expected_version: None,
            found_version: None,
            found_status: None,
            superseded_by: None,
            outcome: None,
            created_at: DateTime::UNIX_EPOCH,
            finished_at: None,
        };
        let told = |what: &str, job: Option<u128>| Told {
            at: DateTime::UNIX_EPOCH,
            what: what.to_owned(),
            who: String::new(),
            detail: String::new(),
            version: None,
            job_id: job.map(|id| JobId(Uuid::from_u128(id))),
            attempt: None,
        };
        let story = of_these(&[job], vec![told("accepted", None), told("claimed", Some(1)), told("sent", Some(2))]);
        assert_eq!(story.iter().map(|told| told.what.as_str()).collect::<Vec<_>>(), ["accepted", "claimed"]);
    }
}
