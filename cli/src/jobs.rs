//! `askpro jobs`: rows of the ledger, newest first.
//!
//! Deliberately absent: changing one. What the rules can repair is repaired by the workers.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use domain::id::{AppointmentId, JobId};
use domain::job::{Kind, State};
use serde::Serialize;
use store::{JobFilter, JobView};
use uuid::Uuid;

use crate::failure::Failure;
use crate::flags::Output;
use crate::render::{self, Answer, or_dash};
use crate::session::Session;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// A page of them, newest first
    List {
        /// booking, sync or customer
        #[arg(long, value_parser = kind)]
        kind: Option<Kind>,
        /// available, retryable, running, completed, superseded, cancelled or parked
        #[arg(long, value_parser = state)]
        state: Option<State>,
        /// Of one appointment
        #[arg(long, value_name = "ID")]
        appointment: Option<Uuid>,
        /// Jobs in one page, 1 to 200
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=200))]
        limit: i64,
        /// Older than this one: the last of the page before
        #[arg(long, value_name = "JOB")]
        before: Option<Uuid>,
    },
    /// One of them, with everything that is known of it
    Get {
        /// Its id
        id: Uuid,
    },
}

pub(crate) fn kind(word: &str) -> Result<Kind, String> {
    Kind::parse(word).ok_or_else(|| format!("a kind is one of {}", Kind::ALL.map(Kind::as_str).join(", ")))
}

fn state(word: &str) -> Result<State, String> {
    State::parse(word).ok_or_else(|| format!("a state is one of {}", State::ALL.map(State::as_str).join(", ")))
}

pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Answer, Failure> {
    let company_id = session.company().await?.company_id;
    match verb {
        Verb::List { kind, state, appointment, limit, before } => {
            let filter = JobFilter {
                kind,
                state,
                appointment_id: appointment.map(AppointmentId),
                limit,
                before: before.map(JobId),
            };
            let jobs = session.store.jobs(company_id, &filter).await?;
            listed(session.output, &jobs, filter.limit)
        }
        Verb::Get { id } => {
            let job = session.store.job(company_id, JobId(id)).await?;
            let job = job.ok_or_else(|| Failure::NotFound(format!("there is no job {id} in this company")))?;
            shown(session.output, &job)
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Job<'a> {
    id: Uuid,
    kind: &'static str,
    key: &'a str,
    appointment_id: Option<Uuid>,
    state: &'static str,
    run_at: DateTime<Utc>,
    attempt: i16,
    crashes: i16,
    expected_version: Option<i32>,
    found_version: Option<i32>,
    found_status: Option<&'a str>,
    superseded_by: Option<Uuid>,
    outcome: Option<&'a str>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

impl<'a> From<&'a JobView> for Job<'a> {
    fn from(view: &'a JobView) -> Self {
        Self {
            id: view.job.job_id.0,
            kind: view.kind.as_str(),
            key: &view.key,
            appointment_id: view.appointment_id.map(|id| id.0),
            state: view.state.as_str(),
            run_at: view.run_at,
            attempt: view.attempt,
            crashes: view.crashes,
            expected_version: view.expected_version,
            found_version: view.found_version,
            found_status: view.found_status.as_deref(),
            superseded_by: view.superseded_by.map(|id| id.0),
            outcome: view.outcome.as_deref(),
            created_at: view.created_at,
            finished_at: view.finished_at,
        }
    }
}

fn listed(output: Output, jobs: &[JobView], limit: i64) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        jobs: Vec<Job<'a>>,
        next: Option<Uuid>,
    }
    let full = i64::try_from(jobs.len()).is_ok_and(|count| count == limit);
    let next = jobs.last().filter(|_| full).map(|job| job.job.job_id.0);
    let note = next.map(|id| format!("There may be more: --before {id}"));
    let answer = Answer::new(output, &Body { jobs: jobs.iter().map(Job::from).collect(), next }, || text(jobs))?;
    Ok(match output {
        Output::Table => answer.with_note(note),
        Output::Json => answer,
    })
}

/// One line a job.
pub(crate) fn text(jobs: &[JobView]) -> String {
    let rows = jobs.iter().map(|job| {
        [
            job.job.job_id.to_string(),
            job.key.clone(),
            job.state.as_str().to_owned(),
            render::instant(job.created_at),
            job.attempt.to_string(),
            job.crashes.to_string(),
            or_dash(job.outcome.as_deref()),
        ]
    });
    let header = ["JOB", "KEY", "STATE", "ENQUEUED", "ATTEMPT", "CRASHES", "OUTCOME"];
    render::table(header, &[4, 5], rows.collect())
}

fn shown(output: Output, job: &JobView) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        job: Job<'a>,
    }
    let found = job.found_version.map(|version| match &job.found_status {
        Some(status) => format!("version {version}, {status}"),
        None => format!("version {version}"),
    });
    Answer::new(output, &Body { job: job.into() }, || {
        render::facts(vec![
            ("job", Some(job.job.job_id.to_string())),
            ("key", Some(job.key.clone())),
            ("state", Some(job.state.as_str().to_owned())),
            ("enqueued", Some(render::instant(job.created_at))),
            ("due", job.state.waits().then(|| render::instant(job.run_at))),
            ("finished", job.finished_at.map(render::instant)),
            ("failed attempts", Some(job.attempt.to_string())),
            ("crashed workers", Some(job.crashes.to_string())),
            ("asked for", job.expected_version.map(|version| format!("version {version}"))),
            ("found", found),
            ("superseded by", job.superseded_by.map(|id| id.to_string())),
            ("outcome", job.outcome.clone()),
        ])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::JobRef;

    fn job(id: u128) -> JobView {
        JobView {
            job: JobRef { company_id: 1, job_id: JobId(Uuid::from_u128(id)) },
            kind: Kind::Sync,
            key: format!("sync:{}", Uuid::from_u128(9)),
            appointment_id: Some(AppointmentId(Uuid::from_u128(9))),
            state: State::Superseded,
            run_at: DateTime::UNIX_EPOCH,
            attempt: 0,
            crashes: 1,
            expected_version: Some(2),
            found_version: Some(3),
            found_status: Some("cancelled".to_owned()),
            superseded_by: None,
            outcome: Some("agrees".to_owned()),
            created_at: DateTime::UNIX_EPOCH,
            finished_at: Some(DateTime::UNIX_EPOCH),
        }
    }

    #[test]
    fn a_full_page_says_how_to_get_the_next() {
        let jobs = [job(1), job(2)];
        let answer = listed(Output::Table, &jobs, 2).unwrap();
        let (line, enqueued) = ("sync:00000000-0000-0000-0000-000000000009", "1970-01-01 00:00:00 UTC");
        let wanted = format!(
            "JOB                                   KEY                                        STATE       \
             ENQUEUED                 ATTEMPT  CRASHES  OUTCOME\n\
             00000000-0000-0000-0000-000000000001  {line}  superseded  {enqueued}        0        1  agrees\n\
             00000000-0000-0000-0000-000000000002  {line}  superseded  {enqueued}        0        1  agrees"
        );
        assert_eq!(answer.text, wanted);
        assert_eq!(answer.note.unwrap(), "There may be more: --before 00000000-0000-0000-0000-000000000002");
        assert_eq!(listed(Output::Table, &jobs, 3).unwrap().note, None);
    }

    #[test]
    fn a_page_as_json_carries_its_next() {
        let text = listed(Output::Json, &[job(1)], 1).unwrap().text;
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["apiVersion"], "askpro/v1");
        assert_eq!(read["next"], "00000000-0000-0000-0000-000000000001");
        assert_eq!(read["jobs"][0]["found_status"], "cancelled");
        assert_eq!(read["jobs"][0]["superseded_by"], serde_json::Value::Null);
    }

    #[test]
    fn one_job_says_what_it_expected_and_found() {
        let text = shown(Output::Table, &job(1)).unwrap().text;
        assert!(text.contains("asked for        version 2\nfound            version 3, cancelled\n"), "{text}");
    }
}
