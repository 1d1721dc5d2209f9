//! `/v1/alternatives`: is a time free, and what is free near it; from the record alone, in one snapshot.
//!
//! Advice with a date on it: only a booking or a hold decides. Deliberately absent: Cal.com's own calendar.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use chrono::{DateTime, FixedOffset, Timelike, Utc};
use domain::id::CustomerId;
use serde::Serialize;
use store::{Sake, Sought};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::appointments::branch_zone;
use crate::key::MayRead;
use crate::problem::{Problem, ReadProblems};

/// Alternatives when nothing is asked for, and at most.
const LIMIT_DEFAULT: usize = 3;
const LIMIT_MAX: usize = 20;

/// A time, and what is free near it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Alternatives {
    /// When this was so.
    as_of: DateTime<Utc>,
    /// free, taken, being_released, outside_hours, too_soon or in_the_past.
    wished: &'static str,
    /// Only where `wished` is being_released: try again then.
    retry_after_seconds: Option<u32>,
    /// Nearest first.
    alternatives: Vec<FreeTime>,
}

/// A time that is free.
#[derive(Serialize, ToSchema)]
pub(crate) struct FreeTime {
    /// With the branch's offset.
    starts_at: DateTime<FixedOffset>,
    /// With whom.
    staff_id: i32,
    /// Why it is offered: same_day (at most two hours away), next_workday and next_week (the same time), next_free_workday,
    /// next_free.
    strategy: &'static str,
}

/// Find out whether a time is free, and what is near it.
#[utoipa::path(
    get, path = "/v1/alternatives", tag = "availability", security(("api_key" = ["read"])),
    params(("branch_id" = i32, Query, description = "where"), ("service_id" = i32, Query, description = "what"),
           ("staff_id" = Option<i32>, Query, description = "with whom first; absent = no matter"),
           ("starts_at" = String, Query, description = "the wished time, RFC 3339 with an offset"),
           ("customer_id" = Option<Uuid>, Query, description = "whose own appointments are in the way"),
           ("limit" = Option<i32>, Query, minimum = 1, maximum = 20, description = "alternatives (3)")),
    responses((status = 200, body = Alternatives), ReadProblems)
)]
pub(crate) async fn list(
    State(app): State<App>,
    MayRead(company_id): MayRead,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Alternatives>, Problem> {
    let (sought, wished, limit) = read(company_id, &query)?;
    let found = app.store.alternatives(&sought, wished, limit).await?;
    let found = found.map_err(|refusal| Problem::refused(&refusal, chrono_tz::UTC))?;
    let time_zone = branch_zone(&app, company_id, sought.branch_id).await?;
    let retry_after_seconds = match &found.wished {
        Err(domain::refusal::Refusal::BeingReleased { seconds, .. }) => Some(*seconds),
        Ok(_) | Err(_) => None,
    };
    let free = |alternative: &domain::alternatives::Alternative| FreeTime {
        starts_at: alternative.offer.during.start().with_timezone(&time_zone).fixed_offset(),
        staff_id: alternative.offer.staff_id,
        strategy: alternative.strategy.as_str(),
    };
    Ok(Json(Alternatives {
        as_of: found.as_of,
        wished: found.wished.as_ref().map_or_else(|no| no.code(), |_| "free"),
        retry_after_seconds,
        alternatives: found.alternatives.iter().map(free).collect(),
    }))
}

fn read(company_id: i32, query: &BTreeMap<String, String>) -> Result<(Sought, DateTime<Utc>, usize), Problem> {
    let (mut branch_id, mut service_id, mut staff_id, mut starts_at, mut whose) = (None, None, None, None, None);
    let mut limit = LIMIT_DEFAULT;
    for (name, value) in query {
        let id = || value.parse::<i32>().map_err(|_| Problem::invalid(name, "must be an integer of 32 bits"));
        match name.as_str() {
            "branch_id" => branch_id = Some(id()?),
            "service_id" => service_id = Some(id()?),
            "staff_id" => staff_id = Some(id()?),
            "starts_at" => {
                let wanted = "must be RFC 3339 with an offset (a + is written %2B), on a whole minute";
                let at = DateTime::parse_from_rfc3339(value).ok().filter(|at| at.second() == 0 && at.nanosecond() == 0);
                starts_at = Some(at.ok_or_else(|| Problem::invalid(name, wanted))?.with_timezone(&Utc));
            }
            "customer_id" => {
                let id = Uuid::try_parse(value).map_err(|_| Problem::invalid(name, "must be a customer's id"))?;
                whose = Some(Sake::Customer(CustomerId(id)));
            }
            "limit" => {
                let fine = value.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n));
                limit = fine.ok_or_else(|| Problem::invalid(name, "must be 1 to 20"))?;
            }
            other => {
                let known = "branch_id, service_id, staff_id, starts_at, customer_id, limit";
                return Err(Problem::unknown(&other.chars().take(64).collect::<String>(), known));
            }
        }
    }
    let branch_id = branch_id.ok_or_else(|| Problem::missing("branch_id"))?;
    let service_id = service_id.ok_or_else(|| Problem::missing("service_id"))?;
    let starts_at = starts_at.ok_or_else(|| Problem::missing("starts_at"))?;
    Ok((Sought { company_id, branch_id, service_id, staff_id, whose }, starts_at, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(query: &[(&str, &str)]) -> Result<(Sought, DateTime<Utc>, usize), &'static str> {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        read(7, &query).map_err(|problem| problem.code())
    }

    #[test]
    fn a_query_is_read_strictly() {
        let least = [("branch_id", "1"), ("service_id", "2"), ("starts_at", "2026-11-25T14:30:00+01:00")];
        let (sought, wished, limit) = code(&least).unwrap();
        assert_eq!((sought.company_id, sought.branch_id, sought.service_id, sought.staff_id), (7, 1, 2, None));
        assert_eq!((wished.to_rfc3339().as_str(), limit), ("2026-11-25T13:30:00+00:00", 3));
        for n in 0..3 {
            let mut missing = least.to_vec();
            missing.remove(n);
            assert_eq!(code(&missing).map(|_| ()), Err("missing_field"));
        }
        for wrong in [
            ("staff_id", "x"),
            ("limit", "0"),
            ("limit", "21"),
            ("customer_id", "7"),
            ("starts_at", "morgen"),
            ("starts_at", "2026-11-25T14:30:30+01:00"),
        ] {
            assert_eq!(code(&[&least[..], &[wrong]].concat()).map(|_| ()), Err("invalid_field"), "{wrong:?}");
        }
        assert_eq!(code(&[&least[..], &[("phone", "1")]].concat()).map(|_| ()), Err("unknown_field"));
    }
}
