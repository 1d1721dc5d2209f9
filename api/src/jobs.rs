//! `/v1/jobs`: the ledger, for reading.
//!
//! Deliberately absent: retry and cancel of a job; they come with the operator's routes.

use axum::Json;
use axum::extract::{Path, Query, State};
use chrono::{DateTime, Utc};
use domain::id::{AppointmentId, JobId};
use domain::job::{Kind, State as JobState};
use serde::Serialize;
use std::collections::BTreeMap;
use store::{JobFilter, JobView};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::key::MayRead;
use crate::problem::{Problem, ReadProblems};

/// Jobs in one page when nothing is asked for, and at most.
const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 200;

/// One job.
#[derive(Serialize, ToSchema)]
pub(crate) struct Job {
    id: Uuid,
    /// booking, sync or customer.
    kind: &'static str,
    /// The same key is the same job, as long as it waits.
    key: String,
    appointment_id: Option<Uuid>,
    /// available, retryable, running, completed, superseded, cancelled or parked.
    state: &'static str,
    run_at: DateTime<Utc>,
    /// Attempts that failed.
    attempt: i16,
    /// Workers that died with it.
    crashes: i16,
    /// The version of the promise that it was asked for.
    expected_version: Option<i32>,
    /// What it found instead, if it ended without acting.
    found_version: Option<i32>,
    found_status: Option<String>,
    /// The job that took its place.
    superseded_by: Option<Uuid>,
    outcome: Option<String>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<JobView> for Job {
    fn from(view: JobView) -> Self {
        Self {
            id: view.job.job_id.0,
            kind: view.kind.as_str(),
            key: view.key,
            appointment_id: view.appointment_id.map(|id| id.0),
            state: view.state.as_str(),
            run_at: view.run_at,
            attempt: view.attempt,
            crashes: view.crashes,
            expected_version: view.expected_version,
            found_version: view.found_version,
            found_status: view.found_status,
            superseded_by: view.superseded_by.map(|id| id.0),
            outcome: view.outcome,
            created_at: view.created_at,
            finished_at: view.finished_at,
        }
    }
}

/// A page of jobs.
#[derive(Serialize, ToSchema)]
pub(crate) struct Jobs {
    /// Newest first.
    jobs: Vec<Job>,
    /// Give this as `before` for the next page; `null` if this is the last.
    next: Option<Uuid>,
}

/// List jobs, newest first.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", security(("api_key" = ["read"])),
    params(("kind" = Option<String>, Query, description = "booking, sync or customer"),
           ("state" = Option<String>, Query, description = "available, retryable, running, completed, superseded, cancelled or parked"),
           ("appointment_id" = Option<Uuid>, Query, description = "of one appointment"),
           ("limit" = Option<i64>, Query, minimum = 1, maximum = 200, description = "jobs in one page (50)"),
           ("before" = Option<Uuid>, Query, description = "the `next` of the page before")),
    responses((status = 200, body = Jobs), ReadProblems)
)]
pub(crate) async fn list(
    State(app): State<App>,
    MayRead(company_id): MayRead,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Jobs>, Problem> {
    let filter = filter(&query)?;
    let found = app.store.jobs(company_id, &filter).await?;
    let full = i64::try_from(found.len()).is_ok_and(|n| n >= filter.limit);
    let next = found.last().filter(|_| full).map(|job| job.job.job_id.0);
    Ok(Json(Jobs { jobs: found.into_iter().map(Job::from).collect(), next }))
}

fn filter(query: &BTreeMap<String, String>) -> Result<JobFilter, Problem> {
    let mut filter = JobFilter { kind: None, state: None, appointment_id: None, limit: LIMIT_DEFAULT, before: None };
    for (name, value) in query {
        let uuid = |wanted: &str| Uuid::try_parse(value).map_err(|_| Problem::invalid(name, wanted));
        match name.as_str() {
            "kind" => {
                let kind = Kind::parse(value);
                filter.kind = Some(kind.ok_or_else(|| Problem::invalid(name, &one_of(Kind::ALL.map(Kind::as_str))))?);
            }
            "state" => {
                let state = JobState::parse(value);
                let wanted = || one_of(JobState::ALL.map(JobState::as_str));
                filter.state = Some(state.ok_or_else(|| Problem::invalid(name, &wanted()))?);
            }
            "appointment_id" => filter.appointment_id = Some(AppointmentId(uuid("must be the id of an appointment")?)),
            "before" => filter.before = Some(JobId(uuid("must be the `next` of a page")?)),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                filter.limit = limit.ok_or_else(|| Problem::invalid(name, "must be 1 to 200"))?;
            }
            _ => {
                let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
                return Err(Problem::unknown(&shown, "kind, state, appointment_id, limit, before"));
            }
        }
    }
    Ok(filter)
}

fn one_of<const N: usize>(words: [&str; N]) -> String {
    format!("must be one of {}", words.join(", "))
}

/// Read one job.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "jobs", security(("api_key" = ["read"])),
    params(("id" = Uuid, Path, description = "the job")),
    responses((status = 200, body = Job), ReadProblems)
)]
pub(crate) async fn read(
    State(app): State<App>,
    MayRead(company_id): MayRead,
    Path(id): Path<String>,
) -> Result<Json<Job>, Problem> {
    let id = Uuid::try_parse(&id).map(JobId).map_err(|_| Problem::not_found())?;
    let job = app.store.job(company_id, id).await?.ok_or_else(Problem::not_found)?;
    Ok(Json(job.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<JobFilter, &'static str> {
        let query = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        filter(&query).map_err(|problem| problem.code())
    }

    #[test]
    fn a_filter_is_read_strictly() {
        assert_eq!(read(&[]).unwrap().limit, 50);
        let id = "0193a7a0-0000-7000-8000-000000000000";
        let all = [("kind", "sync"), ("state", "parked"), ("appointment_id", id), ("limit", "200"), ("before", id)];
        let all = read(&all).unwrap();
        assert_eq!((all.kind, all.state, all.limit), (Some(Kind::Sync), Some(JobState::Parked), 200));
        let bad = [
            ("kind", "fax"),
            ("state", ""),
            ("appointment_id", "1"),
            ("limit", "0"),
            ("limit", "201"),
            ("before", "x"),
        ];
        for (name, value) in bad {
            assert_eq!(read(&[(name, value)]).map(|_| ()), Err("invalid_field"), "{name}={value}");
        }
        assert_eq!(read(&[("offset", "1")]).map(|_| ()), Err("unknown_field"));
    }
}
