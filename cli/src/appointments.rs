//! `askpro appointments`: what a customer has been promised, its story, and calling it off.
//!
//! Absent from all of it: the customer's name and number, and Cal.com's uids, which are capabilities.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use clap::Subcommand;
use domain::appointment::{Status, Sync};
use domain::id::AppointmentId;
use serde::Serialize;
use store::{Accepted, AppointmentView, CancelCommand, How, Told, Who};
use uuid::Uuid;

use crate::failure::Failure;
use crate::flags::Output;
use crate::render::{self, Answer};
use crate::session::Session;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// What it is now
    Get {
        /// Its id
        id: Uuid,
    },
    /// What happened to it, and why, in order
    Timeline {
        /// Its id
        id: Uuid,
    },
    /// Call it off; the promise changes at once, a job tells Cal.com
    Cancel {
        /// Its id
        id: Uuid,
        /// Only if it is still at this version
        #[arg(long, value_name = "VERSION")]
        if_match: Option<i32>,
        /// Why; it becomes part of its history
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
}

/// A text that says something.
pub(crate) fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("a reason has words".to_owned()) } else { Ok(text.to_owned()) }
}

pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Answer, Failure> {
    let company_id = session.company().await?.company_id;
    match verb {
        Verb::Get { id } => shown(session.output, &view(session, company_id, id).await?),
        Verb::Timeline { id } => {
            let appointment = view(session, company_id, id).await?;
            let story = session.store.timeline(company_id, AppointmentId(id)).await?.unwrap_or_default();
            told(session.output, &appointment, &story)
        }
        Verb::Cancel { id, if_match, reason } => {
            let command = CancelCommand {
                company_id,
                appointment_id: AppointmentId(id),
                if_match,
                who: Who::Operator,
                why: Some(reason),
                call: None,
                key: None,
            };
            cancelled(session.output, &session.store.accept_cancel(&command).await?)
        }
    }
}

async fn view(session: &Session, company_id: i32, id: Uuid) -> Result<AppointmentView, Failure> {
    let view = session.store.appointment(company_id, AppointmentId(id)).await?;
    view.ok_or_else(|| Failure::NotFound(format!("there is no appointment {id} in this company")))
}

#[derive(Serialize)]
struct Appointment<'a> {
    id: Uuid,
    version: i32,
    status: &'static str,
    sync: &'static str,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    time_zone: &'a str,
    branch_id: i32,
    service_id: i32,
    service: &'a str,
    staff_id: i32,
    staff: &'a str,
    source: &'a str,
    call_id: Option<&'a str>,
    created_at: DateTime<Utc>,
    reason: Option<&'a str>,
}

impl<'a> From<&'a AppointmentView> for Appointment<'a> {
    fn from(view: &'a AppointmentView) -> Self {
        Self {
            id: view.appointment_id.0,
            version: view.version,
            status: view.status.as_str(),
            sync: view.sync.as_str(),
            starts_at: view.starts_at,
            ends_at: view.ends_at,
            time_zone: &view.time_zone,
            branch_id: view.branch_id,
            service_id: view.service_id,
            service: &view.service_name,
            staff_id: view.staff_id,
            staff: &view.staff_name,
            source: &view.source,
            call_id: view.call_id.as_deref(),
            created_at: view.created_at,
            reason: view.reason.as_deref(),
        }
    }
}

fn shown(output: Output, view: &AppointmentView) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        appointment: Appointment<'a>,
    }
    Answer::new(output, &Body { appointment: view.into() }, || {
        render::facts(vec![
            ("appointment", Some(view.appointment_id.to_string())),
            ("status", Some(format!("{} (version {})", view.status.as_str(), view.version))),
            ("reason", view.reason.clone()),
            ("at Cal.com", Some(format!("{}: {}", view.sync.as_str(), meaning(view.status, view.sync)))),
            ("time", Some(time(view))),
            ("service", Some(format!("{} ({})", view.service_name, view.service_id))),
            ("staff", Some(format!("{} ({})", view.staff_name, view.staff_id))),
            ("branch", Some(view.branch_id.to_string())),
            ("source", Some(view.source.clone())),
            ("call", view.call_id.clone()),
            ("accepted", Some(render::instant(view.created_at))),
        ])
    })
}

/// In the zone of its branch.
fn time(view: &AppointmentView) -> String {
    match view.time_zone.parse::<Tz>() {
        Ok(zone) => {
            let (from, to) = (view.starts_at.with_timezone(&zone), view.ends_at.with_timezone(&zone));
            format!("{} to {} {}", from.format("%a %Y-%m-%d %H:%M"), to.format("%H:%M"), view.time_zone)
        }
        Err(_) => format!("{} to {}", render::instant(view.starts_at), render::instant(view.ends_at)),
    }
}

fn meaning(status: Status, sync: Sync) -> &'static str {
    match sync {
        Sync::Synced if status.wants_booking() == Some(false) => "no booking stands there, as promised",
        Sync::Pending => "Cal.com differs from the promise, a job is due",
        Sync::InFlight => "a request is on its way",
        Sync::Synced => "the booking stands there, as promised",
        Sync::AwaitingConfirmation => "booked, the business must confirm it there",
        Sync::Unknown => "a request went out and nobody knows yet what it did",
        Sync::NeedsReview => "a person must look, the time stays occupied",
        Sync::Orphaned => "a booking of ours that no promise owns",
    }
}

#[derive(Serialize)]
pub(crate) struct Entry<'a> {
    at: DateTime<Utc>,
    /// Since the first entry.
    after_seconds: f64,
    what: &'a str,
    who: &'a str,
    detail: &'a str,
    version: Option<i32>,
    job_id: Option<Uuid>,
    attempt: Option<i64>,
}

/// The entries with their distance from the first.
pub(crate) fn entries(story: &[Told]) -> Vec<Entry<'_>> {
    let first = story.first().map(|told| told.at);
    story
        .iter()
        .map(|told| Entry {
            at: told.at,
            after_seconds: first.map_or(0.0, |first| seconds(told.at - first)),
            what: &told.what,
            who: &told.who,
            detail: &told.detail,
            version: told.version,
            job_id: told.job_id.map(|id| id.0),
            attempt: told.attempt,
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of years fit")]
fn seconds(since: TimeDelta) -> f64 {
    since.num_milliseconds() as f64 / 1_000.0
}

/// Time since the first entry, what, who, and a sentence; the first line says when that was.
pub(crate) fn story_text(story: &[Told]) -> String {
    let Some(first) = story.first() else { return "Nothing has happened.".to_owned() };
    let rows = story.iter().zip(entries(story)).map(|(told, entry)| {
        // A worker's name opens its sentence; said twice it only pushes the sentence to the right.
        let who = if told.detail.starts_with(&told.who) { "worker" } else { told.who.as_str() };
        [format!("{:+.3} s", entry.after_seconds), told.what.clone(), who.to_owned(), told.detail.clone()]
    });
    let began = first.at.format("%Y-%m-%d %H:%M:%S%.3f UTC");
    format!("Seconds since {began}:\n\n{}", render::lines(&[0], rows.collect()))
}

fn told(output: Output, view: &AppointmentView, story: &[Told]) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        appointment: Appointment<'a>,
        entries: Vec<Entry<'a>>,
    }
    Answer::new(output, &Body { appointment: view.into(), entries: entries(story) }, || {
        let head = render::plain(&format!("{} with {}, {}", view.service_name, view.staff_name, time(view)));
        format!(
            "Appointment {}\n{head}\nNow {} (version {}); at Cal.com {}: {}\n{}",
            view.appointment_id,
            view.status.as_str(),
            view.version,
            view.sync.as_str(),
            meaning(view.status, view.sync),
            story_text(story)
        )
    })
}

fn cancelled(output: Output, accepted: &Accepted) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Job {
        id: Uuid,
        kind: &'static str,
        state: &'static str,
        coalesced: bool,
    }
    #[derive(Serialize)]
    struct Body {
        appointment_id: Uuid,
        version: i32,
        status: &'static str,
        changed: bool,
        job: Option<Job>,
    }
    let changed = match accepted.how {
        How::New => true,
        How::Replayed | How::AlreadyYours | How::Unchanged => false,
    };
    let body = Body {
        appointment_id: accepted.appointment_id.0,
        version: accepted.version,
        status: accepted.status.as_str(),
        changed,
        job: accepted.job.map(|job| Job {
            id: job.job.job_id.0,
            kind: job.kind.as_str(),
            state: job.state.as_str(),
            coalesced: job.coalesced,
        }),
    };
    Answer::new(output, &body, || {
        let before = if changed { "" } else { " It was so before; nothing was changed." };
        let job = accepted.job.map(|job| {
            let merged = if job.coalesced { ", which waited already," } else { "" };
            format!("\nThe {} job {}{merged} tells Cal.com.", job.kind.as_str(), job.job.job_id)
        });
        format!(
            "Appointment {} is {} (version {}).{before}{}",
            accepted.appointment_id,
            accepted.status.as_str(),
            accepted.version,
            job.unwrap_or_default()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::appointment::Status;
    use domain::id::JobId;

    fn at(milliseconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::milliseconds(1_795_521_600_000 + milliseconds)
    }

    fn appointment() -> AppointmentView {
        AppointmentView {
            appointment_id: AppointmentId(Uuid::from_u128(1)),
            company_id: 1,
            version: 2,
            status: Status::Scheduled,
            sync: Sync::Synced,
            starts_at: at(0) + TimeDelta::hours(33),
            ends_at: at(0) + TimeDelta::minutes(33 * 60 + 30),
            time_zone: "Europe/Berlin".to_owned(),
            branch_id: 1,
            service_id: 1,
            service_name: "Herrenhaarschnitt".to_owned(),
            fee: None,
            staff_id: 1,
            staff_name: "Anna Berg".to_owned(),
            source: "voice".to_owned(),
            call_id: Some("call_1".to_owned()),
            created_at: at(0),
            reason: None,
        }
    }

    fn story() -> Vec<Told> {
        let told = |ms, what: &str, who: &str, detail: &str, version| Told {
            at: at(ms),
            what: what.to_owned(),
            who: who.to_owned(),
            detail: detail.to_owned(),
            version,
            job_id: Some(JobId(Uuid::from_u128(2))),
            attempt: None,
        };
        vec![
            told(0, "accepted", "customer", "The appointment was accepted as requested.", Some(1)),
            told(123, "claimed", "w-1", "w-1 took the booking job.", Some(1)),
            told(12_345, "scheduled", "gateway", "The appointment went from requested to scheduled.", Some(2)),
        ]
    }

    #[test]
    fn the_story_as_a_table() {
        let answer = told(Output::Table, &appointment(), &story()).unwrap();
        let wanted = "\
Appointment 00000000-0000-0000-0000-000000000001
Herrenhaarschnitt with Anna Berg, Wed 2026-11-25 22:00 to 22:30 Europe/Berlin
Now scheduled (version 2); at Cal.com synced: the booking stands there, as promised
Seconds since 2026-11-24 12:00:00.000 UTC:

 +0.000 s  accepted   customer  The appointment was accepted as requested.
 +0.123 s  claimed    worker    w-1 took the booking job.
+12.345 s  scheduled  gateway   The appointment went from requested to scheduled.";
        assert_eq!(answer.text, wanted);
    }

    #[test]
    fn the_story_as_json() {
        let answer = told(Output::Json, &appointment(), &story()[1..2]).unwrap();
        let wanted = r#"{
  "apiVersion": "askpro/v1",
  "appointment": {
    "id": "00000000-0000-0000-0000-000000000001",
    "version": 2,
    "status": "scheduled",
    "sync": "synced",
    "starts_at": "2026-11-25T21:00:00Z",
    "ends_at": "2026-11-25T21:30:00Z",
    "time_zone": "Europe/Berlin",
    "branch_id": 1,
    "service_id": 1,
    "service": "Herrenhaarschnitt",
    "staff_id": 1,
    "staff": "Anna Berg",
    "source": "voice",
    "call_id": "call_1",
    "created_at": "2026-11-24T12:00:00Z",
    "reason": null
  },
  "entries": [
    {
      "at": "2026-11-24T12:00:00.123Z",
      "after_seconds": 0.0,
      "what": "claimed",
      "who": "w-1",
      "detail": "w-1 took the booking job.",
      "version": 1,
      "job_id": "00000000-0000-0000-0000-000000000002",
      "attempt": null
    }
  ]
}"#;
        assert_eq!(answer.text, wanted);
    }

    #[test]
    fn one_appointment_as_a_table() {
        let answer = shown(Output::Table, &appointment()).unwrap();
        let wanted = "\
appointment  00000000-0000-0000-0000-000000000001
status       scheduled (version 2)
at Cal.com   synced: the booking stands there, as promised
time         Wed 2026-11-25 22:00 to 22:30 Europe/Berlin
service      Herrenhaarschnitt (1)
staff        Anna Berg (1)
branch       1
source       voice
call         call_1
accepted     2026-11-24 12:00:00 UTC";
        assert_eq!(answer.text, wanted);
    }
}
