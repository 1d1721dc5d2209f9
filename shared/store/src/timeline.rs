//! What happened to an appointment, and why: one ordered story for the person who must know, from one snapshot.
//!
//! Absent: uids of Cal.com (capabilities), names and phones. Words are for reading; machines read the views.

mod hints;

use crate::Store;
use crate::error::StoreError;
use chrono::{DateTime, Utc};
use domain::id::{AppointmentId, JobId};
use sqlx::PgConnection;
use uuid::Uuid;

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// When, by the database's clock.
    pub at: DateTime<Utc>,
    /// One word: accepted, enqueued, claimed, sent, answered, looked, settled, scheduled, …
    pub what: String,
    /// Who did it: customer, gateway, a worker's name, calcom, …
    pub who: String,
    /// One sentence.
    pub detail: String,
    /// The version of the promise that it made or asked for.
    pub version: Option<i32>,
    /// The job it belongs to.
    pub job_id: Option<JobId>,
    /// The claim (fence) it belongs to.
    pub attempt: Option<i64>,
}

impl Told {
    fn new(at: DateTime<Utc>, what: &str, who: &str, detail: String) -> Self {
        let (what, who) = (what.to_owned(), who.to_owned());
        Self { at, what, who, detail, version: None, job_id: None, attempt: None }
    }

    fn about(self, version: Option<i32>, job_id: Option<Uuid>, attempt: Option<i64>) -> Self {
        Self { version, job_id: job_id.map(JobId), attempt, ..self }
    }
}

impl Store {
    /// The story of an appointment, by time; `None` if there is no such appointment.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn timeline(&self, company_id: i32, id: AppointmentId) -> Result<Option<Vec<Told>>, StoreError> {
        let mut tx = self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let mut story = promises(&mut tx, company_id, id).await?;
        if story.is_empty() {
            return Ok(None);
        }
        story.extend(jobs(&mut tx, company_id, id).await?);
        story.extend(attempts(&mut tx, company_id, id).await?);
        story.extend(ops(&mut tx, company_id, id).await?);
        story.extend(hints::hints(&mut tx, company_id, id).await?);
        story.extend(releases(&mut tx, company_id, id).await?);
        story.extend(callbacks(&mut tx, company_id, id).await?);
        story.extend(deeds(&mut tx, company_id, id).await?);
        tx.commit().await?;
        story.sort_by_key(|told| told.at);
        Ok(Some(story))
    }
}

async fn promises(conn: &mut PgConnection, company_id: i32, id: AppointmentId) -> Result<Vec<Told>, StoreError> {
    let rows = sqlx::query!(
        "SELECT version, at, what, from_status, to_status, who, why, job_id, fence, policy_version, fee_minor, fee_currency
         FROM appointment_event
         WHERE company_id = $1 AND appointment_id = $2 ORDER BY version",
        company_id,
        id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            let why = r.why.map(|why| format!(" ({})", why.replace('_', " "))).unwrap_or_default();
            let detail = match &r.from_status {
                None => {
                    format!("The appointment was accepted as {}: its time is kept for the customer{why}.", r.to_status)
                }
                Some(_) if r.who == "business" && r.what == "moved" => {
                    "The business has moved the booking at Cal.com, and the promise follows.".to_owned()
                }
                Some(from) if *from == r.to_status => format!("The promise was changed: {}{why}.", r.what),
                Some(from) => format!("The appointment went from {from} to {}{why}.", r.to_status),
            };
            let ruled = r.policy_version.filter(|version| *version > 0);
            let fee = r.fee_minor.zip(r.fee_currency);
            let fee = fee.map(|(minor, code)| format!(" at a fee of {minor} minor units {code}")).unwrap_or_default();
            let by = ruled.map(|version| format!(" Policy version {version} allowed it{fee}.")).unwrap_or_default();
            let detail = detail + &by;
            let what = if r.from_status.is_none() { "accepted" } else { r.what.as_str() };
            Told::new(r.at, what, &r.who, detail).about(Some(r.version), r.job_id, r.fence)
        })
        .collect())
}

async fn jobs(conn: &mut PgConnection, company_id: i32, id: AppointmentId) -> Result<Vec<Told>, StoreError> {
    let rows = sqlx::query!(
        "SELECT job_id, kind, state, created_at, run_at, expected_version, started_at, finished_at, worker, fence,
                found_version, found_status, outcome, superseded_by, crashes, attempt
         FROM job WHERE company_id = $1 AND appointment_id = $2 ORDER BY job_id",
        company_id,
        id.0
    )
    .fetch_all(conn)
    .await?;
    let mut story = Vec::new();
    for r in rows {
        let told =
            |at, what, who, detail| Told::new(at, what, who, detail).about(r.expected_version, Some(r.job_id), None);
        let asked = r.expected_version.map(|v| format!(" for version {v}")).unwrap_or_default();
        let detail = format!("A {} job was put into the ledger{asked}.", r.kind);
        story.push(told(r.created_at, "enqueued", "gateway", detail));
        if let (Some(at), "running") = (r.started_at, r.state.as_str()) {
            let worker = r.worker.as_deref().unwrap_or("a worker");
            story.push(Told {
                attempt: Some(r.fence),
                ..told(at, "claimed", worker, format!("{worker} took the {} job and is at it.", r.kind))
            });
        }
        let Some(at) = r.finished_at else { continue };
        let found = r.found_version.zip(r.found_status.as_deref());
        let found = found.map(|(v, s)| format!(", having found version {v}, {s}")).unwrap_or_default();
        let detail = match (r.state.as_str(), r.superseded_by) {
            ("superseded", Some(heir)) => {
                format!("The {} job ended: the waiting job {heir} goes on in its place.", r.kind)
            }
            ("superseded", None) => format!("The {} job ended with nothing left to do{found}.", r.kind),
            ("parked", _) => format!(
                "The {} job stopped and needs a person (failed attempts: {}, crashed workers: {}; last outcome: {}).",
                r.kind,
                r.attempt,
                r.crashes,
                r.outcome.as_deref().unwrap_or("none")
            ),
            ("cancelled", _) => format!("An operator called the {} job off.", r.kind),
            (_, _) => format!("The {} job is done{found}.", r.kind),
        };
        story.push(told(at, &r.state, "gateway", detail));
    }
    Ok(story)
}

async fn attempts(conn: &mut PgConnection, company_id: i32, id: AppointmentId) -> Result<Vec<Told>, StoreError> {
    let rows = sqlx::query!(
        "SELECT t.job_id, t.fence, t.started_at, t.ended_at, t.seen_version, t.worker, t.outcome, j.kind
         FROM job j JOIN job_attempt t USING (company_id, job_id)
         WHERE j.company_id = $1 AND j.appointment_id = $2 ORDER BY t.job_id, t.fence",
        company_id,
        id.0
    )
    .fetch_all(conn)
    .await?;
    let mut story = Vec::new();
    for r in rows {
        let worker = r.worker.as_deref().filter(|w| !w.is_empty()).unwrap_or("a worker");
        let told =
            |at, what, detail| Told::new(at, what, worker, detail).about(r.seen_version, Some(r.job_id), Some(r.fence));
        story.push(told(r.started_at, "claimed", format!("{worker} took the {} job.", r.kind)));
        let (what, detail) = if r.outcome == "crashed" {
            let detail =
                format!("{worker} was lost at the {} job; its lease ran out and the job was given back.", r.kind);
            ("crashed", detail)
        } else {
            ("settled", format!("{worker} ended its turn at the {} job: {}.", r.kind, came_of(&r.outcome)))
        };
        story.push(told(r.ended_at, what, detail));
    }
    Ok(story)
}

async fn ops(conn: &mut PgConnection, company_id: i32, id: AppointmentId) -> Result<Vec<Told>, StoreError> {
    let rows = sqlx::query!(
        "SELECT o.kind, o.appointment_version, o.job_id, o.fence, o.starts_at, o.state, o.sent_at, o.deadline_at,
                o.resolved_at, o.answered_status, o.looks, o.next_look_at,
                (SELECT max(e.version) FROM appointment_event e
                 WHERE e.company_id = o.company_id AND e.appointment_id = o.appointment_id
                   AND e.at < o.resolved_at AND e.version > o.appointment_version) AS overtaken_by
         FROM calcom_op o WHERE o.company_id = $1 AND o.appointment_id = $2 ORDER BY o.op_id",
        company_id,
        id.0
    )
    .fetch_all(conn)
    .await?;
    let mut story = Vec::new();
    for r in rows {
        let told = |at, what, who, detail| {
            Told::new(at, what, who, detail).about(Some(r.appointment_version), Some(r.job_id), Some(r.fence))
        };
        let time = r.starts_at.map(|t| t.format("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default();
        let (wish, deed) = match r.kind.as_str() {
            "create" => (format!("make a booking at {time}"), format!("made the booking at {time}")),
            "reschedule" => (format!("move the booking to {time}"), format!("moved the booking to {time}")),
            _ => ("cancel the booking".to_owned(), "cancelled the booking".to_owned()),
        };
        story.push(told(r.sent_at, "sent", "gateway", format!("Cal.com was asked to {wish}.")));
        let status = r.answered_status.map(|s| format!(" It had answered {s}.")).unwrap_or_default();
        let by = match r.looks {
            0 => String::new(),
            1 => "One look showed: ".to_owned(),
            n => format!("{n} looks showed: "),
        };
        let Some(at) = r.resolved_at else {
            if r.state == "unknown" || r.looks > 0 {
                let next = r.next_look_at.map(|t| t.format("%H:%M:%S UTC").to_string());
                let next = next.unwrap_or_else(|| "as soon as possible".to_owned());
                let detail = format!(
                    "No clear answer to the request to {wish}; looks so far: {}, next look: {next}. The time stays \
                     occupied.{status}",
                    r.looks
                );
                story.push(told(r.deadline_at, "unknown", "gateway", detail));
            }
            continue;
        };
        let detail = match (r.state.as_str(), r.overtaken_by) {
            ("applied", None) => format!("{by}Cal.com has {deed}."),
            ("applied", Some(version)) => {
                format!("{by}Cal.com has {deed}. Meanwhile the promise has become version {version}: that is next.")
            }
            ("refused", _) => format!("{by}Cal.com refused to {wish}.{status}"),
            (_, _) => format!("{by}Cal.com has not {deed}, and will not any more.{status}"),
        };
        story.push(told(at, if r.looks == 0 { "answered" } else { "looked" }, "calcom", detail));
    }
    Ok(story)
}

/// How an attempt ended, in words.
fn came_of(outcome: &str) -> String {
    match outcome {
        "applied" => "done".to_owned(),
        "merged" => "the customer's name and e-mail are noted".to_owned(),
        "nothing_to_do" => "nothing was left to do".to_owned(),
        other => hints::came_of(other).map_or_else(|| other.replace('_', " "), str::to_owned),
    }
}

async fn releases(conn: &mut PgConnection, company_id: i32, id: AppointmentId) -> Result<Vec<Told>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT lower(during) AS "starts_at!", ended_at AS "ended_at!" FROM slot
           WHERE company_id = $1 AND appointment_id = $2 AND state = 'released' AND ended_at > created_at"#,
        company_id,
        id.0
    )
    .fetch_all(conn)
    .await?;
    let told = rows.into_iter().map(|r| {
        let time = r.starts_at.format("%Y-%m-%d %H:%M UTC");
        Told::new(r.ended_at, "released", "gateway", format!("The time is free again: {time}."))
    });
    Ok(told.collect())
}

async fn callbacks(conn: &mut PgConnection, company_id: i32, id: AppointmentId) -> Result<Vec<Told>, StoreError> {
    let rows = sqlx::query!(
        "SELECT reason, created_at, done_at FROM callback_request
         WHERE company_id = $1 AND appointment_id = $2 ORDER BY created_at",
        company_id,
        id.0
    )
    .fetch_all(conn)
    .await?;
    let mut story = Vec::new();
    for r in rows {
        let reason = r.reason.replace('_', " ");
        let detail = format!("A person must ring the customer: {reason}.");
        story.push(Told::new(r.created_at, "callback", "gateway", detail));
        if let Some(at) = r.done_at {
            let detail = "A person has taken care of it.".to_owned();
            story.push(Told::new(at, "called_back", "operator", detail));
        }
    }
    Ok(story)
}

/// What people did to it at the command line.
async fn deeds(conn: &mut PgConnection, company_id: i32, id: AppointmentId) -> Result<Vec<Told>, StoreError> {
    let rows = sqlx::query!(
        "SELECT at, who, what, why FROM operator_action WHERE company_id = $1 AND subject = $2 ORDER BY action_id",
        company_id,
        id.to_string()
    )
    .fetch_all(conn)
    .await?;
    let told = rows.into_iter().map(|r| {
        let why = r.why.map(|why| format!(" ({why})")).unwrap_or_default();
        Told::new(r.at, "by_hand", &r.who, format!("A person called `askpro {}`{why}.", r.what))
    });
    Ok(told.collect())
}
