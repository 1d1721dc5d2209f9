//! `askpro ops`: what was asked of Cal.com, newest first, and a look that is to be made now.
//!
//! Absent from all of it: Cal.com's uids, which are capabilities. Nothing here speaks to Cal.com; a worker looks.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use domain::id::{AppointmentId, OpId};
use serde::Serialize;
use store::{OpFilter, OpState, OpView, Verifying};
use uuid::Uuid;

use crate::appointments::reason;
use crate::failure::Failure;
use crate::flags::Output;
use crate::render::{self, Answer, or_dash};
use crate::session::Session;
use crate::span;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// A page of them, newest first; of all companies unless --company names one
    List {
        /// sent, unknown, applied, refused or never
        #[arg(long, value_parser = state)]
        state: Option<OpState>,
        /// Sent longer ago than this: 90s, 5m, 2h, 3d
        #[arg(long, value_name = "SPAN", value_parser = span::parse)]
        older_than: Option<Duration>,
        /// About one appointment
        #[arg(long, value_name = "ID")]
        appointment: Option<Uuid>,
        /// Requests in one page, 1 to 200
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=200))]
        limit: i64,
        /// Older than this one: the last of the page before
        #[arg(long, value_name = "OP")]
        before: Option<Uuid>,
    },
    /// Have Cal.com looked at now, and not at the next time, for what an appointment's request has done
    Verify {
        /// The appointment's id
        appointment: Uuid,
        /// Why; it is noted
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: Option<String>,
    },
}

fn state(word: &str) -> Result<OpState, String> {
    OpState::parse(word).ok_or_else(|| format!("a state is one of {}", OpState::ALL.map(OpState::as_str).join(", ")))
}

pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Answer, Failure> {
    match verb {
        Verb::List { state, older_than, appointment, limit, before } => {
            let company_id = session.company_if_named().await?.map(|company| company.company_id);
            let (appointment_id, before) = (appointment.map(AppointmentId), before.map(OpId));
            let filter = OpFilter { company_id, appointment_id, state, older_than, limit, before };
            listed(session.output, &session.store.ops(&filter).await?, limit)
        }
        Verb::Verify { appointment, reason } => {
            let (company_id, id) = (session.company().await?.company_id, AppointmentId(appointment));
            let verifying = session.store.verify_op(company_id, id, reason.as_deref()).await?;
            let nothing = || format!("nothing that was asked of Cal.com for the appointment {id} is unresolved");
            verified(session.output, id, &verifying.ok_or_else(|| Failure::NotFound(nothing()))?)
        }
    }
}

#[derive(Serialize)]
struct Op<'a> {
    id: Uuid,
    company: &'a str,
    appointment_id: Uuid,
    segment: i16,
    kind: &'static str,
    state: &'static str,
    appointment_version: i32,
    job_id: Uuid,
    starts_at: Option<DateTime<Utc>>,
    sent_at: DateTime<Utc>,
    resolved_at: Option<DateTime<Utc>>,
    answered_status: Option<i16>,
    looks: i16,
    next_look_at: Option<DateTime<Utc>>,
}

impl<'a> From<&'a OpView> for Op<'a> {
    fn from(view: &'a OpView) -> Self {
        Self {
            id: view.op_id.0,
            company: &view.company,
            appointment_id: view.appointment_id.0,
            segment: view.segment_no,
            kind: view.kind.as_str(),
            state: view.state.as_str(),
            appointment_version: view.appointment_version,
            job_id: view.job_id.0,
            starts_at: view.starts_at,
            sent_at: view.sent_at,
            resolved_at: view.resolved_at,
            answered_status: view.answered_status,
            looks: view.looks,
            next_look_at: view.next_look_at,
        }
    }
}

fn listed(output: Output, ops: &[OpView], limit: i64) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        ops: Vec<Op<'a>>,
        next: Option<Uuid>,
    }
    let full = i64::try_from(ops.len()).is_ok_and(|count| count == limit);
    let next = ops.last().filter(|_| full).map(|op| op.op_id.0);
    let note = next.map(|id| format!("There may be more: --before {id}"));
    let answer = Answer::new(output, &Body { ops: ops.iter().map(Op::from).collect(), next }, || {
        let rows = ops.iter().map(|op| {
            [
                op.op_id.to_string(),
                op.company.clone(),
                op.appointment_id.to_string(),
                op.kind.as_str().to_owned(),
                op.state.as_str().to_owned(),
                render::instant(op.sent_at),
                or_dash(op.answered_status),
                op.looks.to_string(),
                or_dash(op.next_look_at.map(render::instant)),
            ]
        });
        let header = ["OP", "COMPANY", "APPOINTMENT", "KIND", "STATE", "SENT", "ANSWER", "LOOKS", "NEXT LOOK"];
        render::table(header, &[6, 7], rows.collect())
    })?;
    Ok(match output {
        Output::Table => answer.with_note(note),
        Output::Json => answer,
    })
}

fn verified(output: Output, id: AppointmentId, verifying: &Verifying) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Job {
        id: Uuid,
        kind: &'static str,
        /// It is at it already; else it is due now.
        running: bool,
    }
    #[derive(Serialize)]
    struct Body {
        appointment_id: Uuid,
        op_id: Uuid,
        op_kind: &'static str,
        job: Job,
    }
    let job = Job { id: verifying.job_id.0, kind: verifying.job_kind.as_str(), running: verifying.is_running };
    let body = Body { appointment_id: id.0, op_id: verifying.op_id.0, op_kind: verifying.kind.as_str(), job };
    Answer::new(output, &body, || {
        let (request, kind, job) = (verifying.kind.as_str(), verifying.job_kind.as_str(), verifying.job_id);
        if verifying.is_running {
            format!("The {kind} job {job} has the {request} in its hands just now.")
        } else {
            format!("The {kind} job {job} is due now and looks what became of the {request}.")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::effect::EffectKind;
    use domain::id::JobId;
    use domain::job::Kind;

    fn op(id: u128, state: OpState) -> OpView {
        OpView {
            op_id: OpId(Uuid::from_u128(id)),
            company: "salon".to_owned(),
            appointment_id: AppointmentId(Uuid::from_u128(9)),
            segment_no: 1,
            kind: EffectKind::Create,
            state,
            appointment_version: 1,
            job_id: JobId(Uuid::from_u128(7)),
            starts_at: None,
            sent_at: DateTime::UNIX_EPOCH,
            resolved_at: None,
            answered_status: Some(409),
            looks: 3,
            next_look_at: Some(DateTime::UNIX_EPOCH),
        }
    }

    #[test]
    fn requests_as_a_table() {
        let answer = listed(Output::Table, &[op(1, OpState::Unknown)], 1).unwrap();
        let wanted = "\
OP                                    COMPANY  APPOINTMENT                           KIND    STATE    \
SENT                     ANSWER  LOOKS  NEXT LOOK
00000000-0000-0000-0000-000000000001  salon    00000000-0000-0000-0000-000000000009  create  unknown  \
1970-01-01 00:00:00 UTC     409      3  1970-01-01 00:00:00 UTC";
        assert_eq!(answer.text, wanted);
        assert_eq!(answer.note.unwrap(), "There may be more: --before 00000000-0000-0000-0000-000000000001");
        assert_eq!(listed(Output::Table, &[op(1, OpState::Sent)], 2).unwrap().note, None);
    }

    #[test]
    fn requests_as_json() {
        let text = listed(Output::Json, &[op(1, OpState::Refused)], 1).unwrap().text;
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&read["apiVersion"], &read["next"]), (&"askpro/v1".into(), &read["ops"][0]["id"]));
        assert_eq!((&read["ops"][0]["state"], &read["ops"][0]["answered_status"]), (&"refused".into(), &409.into()));
        assert!(!text.contains("uid"), "{text}");
    }

    #[test]
    fn who_looks_is_said() {
        let (op_id, job_id) = (OpId(Uuid::from_u128(1)), JobId(Uuid::from_u128(2)));
        let verifying = Verifying { op_id, kind: EffectKind::Cancel, job_id, job_kind: Kind::Sync, is_running: false };
        let said = |is_running, output| {
            verified(output, AppointmentId(Uuid::from_u128(3)), &Verifying { is_running, ..verifying }).unwrap().text
        };
        let job = "The sync job 00000000-0000-0000-0000-000000000002";
        assert_eq!(said(false, Output::Table), format!("{job} is due now and looks what became of the cancel."));
        assert_eq!(said(true, Output::Table), format!("{job} has the cancel in its hands just now."));
        assert!(said(true, Output::Json).contains("\"running\": true"));
    }
}
