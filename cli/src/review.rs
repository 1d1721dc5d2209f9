//! `askpro review`: appointments that need a person, and what a person decides about them.
//!
//! A decision never says that all is well: it makes a job due, and that job's look at promise and Cal.com lifts the review.

use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use domain::id::AppointmentId;
use serde::Serialize;
use store::{Accepted, ResolveBy, Review, ReviewCommand};
use uuid::Uuid;

use crate::appointments::reason;
use crate::failure::Failure;
use crate::flags::Output;
use crate::render::{self, Answer, or_dash};
use crate::session::Session;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Those that wait for somebody, the longest first; of all companies unless --company names one
    List,
    /// Decide about one of them; refused if it needs nobody by now
    Resolve {
        /// The appointment's id
        appointment: Uuid,
        /// What is to happen
        #[arg(long, value_enum)]
        by: By,
        /// Why; it is noted, and of a cancelled one it becomes part of its history
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum By {
    /// Try again what was promised: its cause is gone
    Retry,
    /// Call the appointment off, also one whose time is over
    Cancel,
    /// Take over what the business has made of it at Cal.com: its time there, or that it is cancelled
    Follow,
}

impl From<By> for ResolveBy {
    fn from(by: By) -> Self {
        match by {
            By::Retry => Self::Retry,
            By::Cancel => Self::Cancel,
            By::Follow => Self::Follow,
        }
    }
}

pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Answer, Failure> {
    match verb {
        Verb::List => {
            let company = session.company_if_named().await?;
            listed(session.output, &session.store.reviews(company.map(|company| company.company_id)).await?)
        }
        Verb::Resolve { appointment, by, reason: why } => {
            let (company_id, appointment_id) = (session.company().await?.company_id, AppointmentId(appointment));
            let command = ReviewCommand { company_id, appointment_id, by: by.into(), why };
            let resolved = session.store.resolve_review(&command).await?;
            let none = || format!("the appointment {appointment_id} needs no review (any more); nothing was changed");
            resolved_text(session.output, &resolved.ok_or_else(|| Failure::Conflict(none()))?)
        }
    }
}

/// What a person would try first.
fn next_step(review: &Review) -> String {
    let (id, company) = (review.appointment_id, &review.company);
    match &review.job {
        Some((job, _, _)) => format!("askpro --company {company} jobs get {job}"),
        None => {
            let by = if review.has_begun { "cancel" } else { "retry" };
            format!("askpro --company {company} review resolve {id} --by {by} --reason TEXT")
        }
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    company: &'a str,
    appointment_id: Uuid,
    segment: i16,
    status: &'static str,
    version: i32,
    starts_at: DateTime<Utc>,
    /// The time of the booking that Cal.com is known to have.
    booked_at: Option<DateTime<Utc>>,
    /// The request to Cal.com whose outcome is not known.
    unresolved: Option<&'static str>,
    reason: Option<&'a str>,
    since: Option<DateTime<Utc>>,
    /// The job that is about it already.
    job_id: Option<Uuid>,
    next_step: String,
}

impl<'a> From<&'a Review> for Entry<'a> {
    fn from(review: &'a Review) -> Self {
        Self {
            company: &review.company,
            appointment_id: review.appointment_id.0,
            segment: review.segment_no,
            status: review.status.as_str(),
            version: review.version,
            starts_at: review.starts_at,
            booked_at: review.booked_at,
            unresolved: review.unresolved.map(|(kind, _)| kind.as_str()),
            reason: review.reason.as_deref(),
            since: review.since,
            job_id: review.job.map(|(id, _, _)| id.0),
            next_step: next_step(review),
        }
    }
}

fn listed(output: Output, reviews: &[Review]) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        reviews: Vec<Entry<'a>>,
    }
    Answer::new(output, &Body { reviews: reviews.iter().map(Entry::from).collect() }, || {
        let rows = reviews.iter().map(|review| {
            [
                review.appointment_id.to_string(),
                review.company.clone(),
                or_dash(review.reason.as_deref()),
                or_dash(review.since.map(render::instant)),
                format!("{} {}", review.status.as_str(), render::instant(review.starts_at)),
                at_calcom(review),
                next_step(review),
            ]
        });
        let header = ["APPOINTMENT", "COMPANY", "REASON", "SINCE", "PROMISE", "AT CAL.COM", "NEXT STEP"];
        render::table(header, &[], rows.collect())
    })
}

/// What it is known to have.
fn at_calcom(review: &Review) -> String {
    let booking = review.booked_at.map_or_else(|| "no booking".to_owned(), render::instant);
    match review.unresolved {
        Some((kind, _)) => format!("{booking}, a {} unresolved", kind.as_str()),
        None => booking,
    }
}

fn resolved_text(output: Output, accepted: &Accepted) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body {
        appointment_id: Uuid,
        version: i32,
        status: &'static str,
        job_id: Option<Uuid>,
    }
    let (id, status) = (accepted.appointment_id, accepted.status.as_str());
    let job = accepted.job.map(|job| job.job.job_id);
    let body = Body { appointment_id: id.0, version: accepted.version, status, job_id: job.map(|job| job.0) };
    Answer::new(output, &body, || {
        let job =
            job.map(|job| format!("\nThe sync job {job} is due now; the review ends once Cal.com is as promised."));
        format!("Appointment {id} is {status} (version {}).{}", accepted.version, job.unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::appointment::Status;
    use domain::effect::EffectKind;
    use domain::id::JobId;
    use domain::job::{Kind, State};
    use store::OpState;

    fn review() -> Review {
        Review {
            company: "salon".to_owned(),
            appointment_id: AppointmentId(Uuid::from_u128(9)),
            segment_no: 1,
            status: Status::Requested,
            version: 1,
            starts_at: DateTime::UNIX_EPOCH,
            has_begun: false,
            booked_at: None,
            unresolved: Some((EffectKind::Create, OpState::Unknown)),
            reason: Some("outcome_unknown".to_owned()),
            since: None,
            job: None,
        }
    }

    #[test]
    fn reviews_as_a_table() {
        let id = "00000000-0000-0000-0000-000000000009";
        let epoch = "1970-01-01 00:00:00 UTC";
        let promise = format!("requested {epoch}");
        let wanted = format!(
            "APPOINTMENT                           COMPANY  REASON           SINCE  PROMISE                            \
             AT CAL.COM                       NEXT STEP\n\
             {id}  salon    outcome_unknown  -      {promise}  no booking, a create unresolved  \
             askpro --company salon review resolve {id} --by retry --reason TEXT"
        );
        assert_eq!(listed(Output::Table, &[review()]).unwrap().text, wanted);
    }

    #[test]
    fn the_next_step_depends_on_what_can_still_be_had() {
        let job = JobId(Uuid::from_u128(7));
        let tried = Review { job: Some((job, Kind::Sync, State::Available)), ..review() };
        assert_eq!(next_step(&tried), format!("askpro --company salon jobs get {job}"));
        assert!(next_step(&Review { has_begun: true, ..review() }).contains("--by cancel"));
        let booked = Review { booked_at: Some(DateTime::UNIX_EPOCH), unresolved: None, ..review() };
        assert_eq!(at_calcom(&booked), "1970-01-01 00:00:00 UTC");
        let text = listed(Output::Json, &[booked]).unwrap().text;
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let entry = &read["reviews"][0];
        assert_eq!(
            (&entry["booked_at"], &entry["unresolved"]),
            (&"1970-01-01T00:00:00Z".into(), &serde_json::Value::Null)
        );
        assert!(entry["next_step"].as_str().unwrap().starts_with("askpro "), "{text}");
    }
}
