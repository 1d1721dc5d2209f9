//! `askpro callbacks`: customers whom a person must ring, oldest first, who takes care of it, and that it is done.
//!
//! Deliberately absent: their names, numbers and words; the appointment's page in Cal.com, or `GET /v1/callbacks`, has them.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;
use store::{Assigned, CallbackView, CalledBack, Who};
use uuid::Uuid;

use crate::appointments::reason;
use crate::failure::Failure;
use crate::flags::Output;
use crate::render::{self, Answer, or_dash};
use crate::session::Session;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Those that nobody has taken care of
    List {
        /// Those that are done, too
        #[arg(long)]
        all: bool,
    },
    /// Somebody is to take care of one of them; another one may take it over
    Assign {
        /// Its id
        id: Uuid,
        /// A colleague, by the name that the business uses
        #[arg(long, value_name = "NAME", value_parser = reason)]
        to: String,
        /// Why; it is noted
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
    /// Somebody has taken care of one of them
    Done {
        /// Its id
        id: Uuid,
        /// What came of it; it is noted
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
}

pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Answer, Failure> {
    let company_id = session.company().await?.company_id;
    match verb {
        Verb::List { all } => listed(session.output, &session.store.callbacks(company_id, !all).await?),
        Verb::Assign { id, to, reason } => {
            let assigned = session.store.assign_callback(company_id, id, &to, Who::Operator, Some(&reason)).await?;
            let none = || Failure::NotFound(format!("there is no callback {id} in this company"));
            assigned_text(session.output, id, &assigned.ok_or_else(none)?)
        }
        Verb::Done { id, reason } => {
            let done = session.store.called_back(company_id, id, Who::Operator, Some(&reason)).await?;
            let none = || Failure::NotFound(format!("there is no callback {id} in this company"));
            done_text(session.output, id, &done.ok_or_else(none)?)
        }
    }
}

fn assigned_text(output: Output, id: Uuid, assigned: &Assigned) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        id: Uuid,
        appointment_id: Option<Uuid>,
        assigned_to: Option<&'a str>,
        assigned_at: Option<DateTime<Utc>>,
        changed: bool,
    }
    if let Some(at) = assigned.done_at {
        let done = format!("callback {id} is done since {}; nothing was changed", render::instant(at));
        return Err(Failure::Conflict(done));
    }
    let (to, at) = (assigned.assigned_to.as_deref(), assigned.assigned_at);
    let appointment_id = assigned.appointment_id.map(|id| id.0);
    let body = Body { id, appointment_id, assigned_to: to, assigned_at: at, changed: assigned.is_new };
    Answer::new(output, &body, || {
        let before = if assigned.is_new { "" } else { " It was so before; nothing was changed." };
        format!("Callback {id} is {}'s since {}.{before}", to.unwrap_or("nobody"), or_dash(at.map(render::instant)))
    })
}

fn done_text(output: Output, id: Uuid, done: &CalledBack) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body {
        id: Uuid,
        appointment_id: Option<Uuid>,
        done_at: DateTime<Utc>,
        changed: bool,
    }
    let appointment_id = done.appointment_id.map(|id| id.0);
    Answer::new(output, &Body { id, appointment_id, done_at: done.done_at, changed: done.is_new }, || {
        let before = if done.is_new { "" } else { " It was so before; nothing was changed." };
        format!("Callback {id} is done since {}.{before}", render::instant(done.done_at))
    })
}

#[derive(Serialize)]
struct Callback<'a> {
    id: Uuid,
    appointment_id: Option<Uuid>,
    reason: &'a str,
    created_at: DateTime<Utc>,
    done_at: Option<DateTime<Utc>>,
    assigned_to: Option<&'a str>,
}

impl<'a> From<&'a CallbackView> for Callback<'a> {
    fn from(view: &'a CallbackView) -> Self {
        Self {
            id: view.callback_id,
            appointment_id: view.appointment_id.map(|id| id.0),
            reason: &view.reason,
            created_at: view.created_at,
            done_at: view.done_at,
            assigned_to: view.assigned_to.as_deref(),
        }
    }
}

fn listed(output: Output, callbacks: &[CallbackView]) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        callbacks: Vec<Callback<'a>>,
    }
    Answer::new(output, &Body { callbacks: callbacks.iter().map(Callback::from).collect() }, || {
        let rows = callbacks.iter().map(|view| {
            [
                view.callback_id.to_string(),
                or_dash(view.appointment_id),
                view.reason.clone(),
                render::instant(view.created_at),
                or_dash(view.done_at.map(render::instant)),
                or_dash(view.assigned_to.as_ref()),
            ]
        });
        render::table(["CALLBACK", "APPOINTMENT", "REASON", "SINCE", "DONE", "ASSIGNED TO"], &[], rows.collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn done_twice_is_said() {
        let said = |is_new| {
            let done = CalledBack { appointment_id: None, assigned_to: None, done_at: DateTime::UNIX_EPOCH, is_new };
            done_text(Output::Table, Uuid::nil(), &done).unwrap().text
        };
        let once = "Callback 00000000-0000-0000-0000-000000000000 is done since 1970-01-01 00:00:00 UTC.";
        assert_eq!(said(true), once);
        assert_eq!(said(false), format!("{once} It was so before; nothing was changed."));
    }
}
