//! The inbox of call events: each is kept once a call, and makes the `call` job of that call necessary.
//!
//! Deliberately absent: every lock but the two rows' own. Retell waits for the answer, and somebody is on the line.

use crate::enqueue::enqueue_about;
use crate::error::StoreError;
use crate::{JobRef, Store};
use domain::call::{CallEvent, CallFacts, Direction};
use domain::id::JobId;
use domain::job::Kind;
use domain::phone::Phone;
use sqlx::PgConnection;
use uuid::Uuid;

/// Retell has told something of a call.
#[derive(Clone, Debug)]
pub struct CallNotice {
    /// Whose call.
    pub company_id: i32,
    /// Retell's id.
    pub call_id: String,
    /// What has happened.
    pub event: CallEvent,
    /// The customer's number; `None` = withheld.
    pub phone: Option<Phone>,
    /// What it says beside.
    pub facts: CallFacts,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Kept.
    New {
        /// It makes the call of all its events.
        job: JobRef,
        /// To be rung, unless it was told to wait.
        ring: Option<JobRef>,
    },
    /// This event of this call was here before.
    Known,
}

impl Store {
    /// Keeps a call event and makes its job necessary, in one transaction of two statements.
    ///
    /// # Errors
    /// Postgres is away: nothing was kept, or nobody knows; Retell tells it again, and twice is once.
    pub async fn take_call_event(&self, notice: &CallNotice) -> Result<Heard, StoreError> {
        let fresh = JobId(Uuid::now_v7());
        self.retrying("take_call_event", || async {
            let mut tx = self.pool.begin().await?;
            if !kept(&mut tx, notice).await? {
                return Ok(Heard::Known);
            }
            let (enqueued, due) =
                enqueue_about(&mut tx, notice.company_id, Kind::Call, &notice.call_id, None, None, fresh).await?;
            tx.commit().await?;
            Ok(Heard::New { job: enqueued.job, ring: due.then_some(enqueued.job) })
        })
        .await
    }
}

/// False: it was here before, or is just being kept by somebody who has committed since.
async fn kept(conn: &mut PgConnection, notice: &CallNotice) -> Result<bool, StoreError> {
    let facts = &notice.facts;
    let kept = sqlx::query!(
        "INSERT INTO call_event (company_id, call_id, event, phone, from_number, to_number, direction, started_at,
                                 ended_at, end_reason, sentiment, successful, voicemail, summary)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT ON CONSTRAINT one_event_per_call_and_name DO NOTHING",
        notice.company_id,
        notice.call_id,
        notice.event.as_str(),
        notice.phone.as_ref().map(Phone::as_e164),
        facts.from_number,
        facts.to_number,
        facts.direction.map(Direction::as_str),
        facts.started_at,
        facts.ended_at,
        facts.end_reason,
        facts.sentiment,
        facts.successful,
        facts.voicemail,
        facts.summary
    )
    .execute(conn)
    .await?;
    Ok(kept.rows_affected() == 1)
}

/// All events of a call so far, and the customer's number if one of them has it.
pub(crate) struct Told {
    pub(crate) phone: Option<String>,
    pub(crate) events: Vec<(CallEvent, CallFacts)>,
}

impl Told {
    pub(crate) async fn of(conn: &mut PgConnection, company_id: i32, call_id: &str) -> Result<Self, StoreError> {
        let rows = sqlx::query!("SELECT * FROM call_event WHERE company_id = $1 AND call_id = $2", company_id, call_id)
            .fetch_all(conn)
            .await?;
        let phone = rows.iter().find_map(|r| r.phone.clone());
        let event = |word: &str| CallEvent::parse(word).ok_or(StoreError::Broken { what: "a call event is unknown" });
        let events = rows.into_iter().map(|r| {
            let facts = CallFacts {
                from_number: r.from_number,
                to_number: r.to_number,
                direction: r.direction.as_deref().and_then(Direction::parse),
                started_at: r.started_at,
                ended_at: r.ended_at,
                end_reason: r.end_reason,
                sentiment: r.sentiment,
                successful: r.successful,
                voicemail: r.voicemail,
                summary: r.summary,
            };
            Ok((event(&r.event)?, facts))
        });
        Ok(Self { phone, events: events.collect::<Result<_, StoreError>>()? })
    }
}
