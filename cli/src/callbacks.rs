//! `askpro callbacks`: customers whom a person must ring, oldest first.
//!
//! Deliberately absent: their names and numbers; the appointment's page in Cal.com or the call has them.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;
use store::CallbackView;
use uuid::Uuid;

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
}

pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Answer, Failure> {
    let Verb::List { all } = verb;
    let company = session.company().await?;
    listed(session.output, &session.store.callbacks(company.company_id, !all).await?)
}

#[derive(Serialize)]
struct Callback<'a> {
    id: Uuid,
    appointment_id: Option<Uuid>,
    reason: &'a str,
    created_at: DateTime<Utc>,
    done_at: Option<DateTime<Utc>>,
}

impl<'a> From<&'a CallbackView> for Callback<'a> {
    fn from(view: &'a CallbackView) -> Self {
        Self {
            id: view.callback_id,
            appointment_id: view.appointment_id.map(|id| id.0),
            reason: &view.reason,
            created_at: view.created_at,
            done_at: view.done_at,
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
            ]
        });
        render::table(["CALLBACK", "APPOINTMENT", "REASON", "SINCE", "DONE"], &[], rows.collect())
    })
}
