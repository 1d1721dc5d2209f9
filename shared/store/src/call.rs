//! The `call` job: what Retell has told of a call becomes the call, its customer and the link between them. It has no
//! external effect, so claim, act and settle are one transaction: of a call there is nothing, or all of it.
//!
//! It re-reads all events of the call, so their order cannot matter. Bookings of the call write the same two rows in
//! their own transactions (`accept`), in the same order: call, customer. The link to the appointment is theirs.

use crate::Store;
use crate::attach::{Key, attach};
use crate::call_event::Told;
use crate::claimed::Claim;
use crate::error::StoreError;
use crate::ledger::{Attempt, finish, record};
use crate::{JobRef, said};
use domain::call::{CallFacts, CallStatus, Direction, known};
use domain::id::CustomerId;
use domain::job::{Kind, State};
use sqlx::PgConnection;
use uuid::Uuid;

/// A call that may still be going on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OngoingCall {
    /// As Retell has it.
    pub from_number: Option<String>,
    /// As Retell has it.
    pub to_number: Option<String>,
}

impl Store {
    /// Locks call, customer, job, and re-reads the events under all three.
    pub(crate) async fn make_call(&self, job: JobRef, worker: &str) -> Result<Claim, StoreError> {
        let mut tx = self.pool.begin().await?;
        let about = sqlx::query!(
            r#"SELECT j.subject AS call_id, c.language, pg_current_xact_id()::text AS "xid!"
               FROM job j JOIN company c USING (company_id)
               WHERE j.company_id = $1 AND j.job_id = $2 AND j.kind = $3"#,
            job.company_id,
            job.job_id.0,
            Kind::Call.as_str()
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(about) = about else { return Ok(Claim::Gone) };
        let call_id = about.call_id.as_str();
        let told = Told::of(&mut tx, job.company_id, call_id).await?;
        let customer_id = match lock_call(&mut tx, job.company_id, call_id).await? {
            Some(customer_id) => customer_id,
            None => {
                let key = told.phone.as_deref().map_or(Key::Call(call_id), Key::Phone);
                attach(&mut tx, job.company_id, key, &about.language, CustomerId(Uuid::now_v7())).await?
            }
        };
        let row = sqlx::query!(
            r#"SELECT state, fence, run_at <= clock_timestamp() AS "due!", clock_timestamp() AS "now!"
               FROM job WHERE company_id = $1 AND job_id = $2 FOR NO KEY UPDATE"#,
            job.company_id,
            job.job_id.0
        )
        .fetch_one(&mut *tx)
        .await?;
        if !(row.due && State::parse(&row.state).is_some_and(State::waits)) {
            return Ok(Claim::Gone);
        }
        // Only now: an event that was merged into this job is here, one that comes later has a job of its own.
        let told = Told::of(&mut tx, job.company_id, call_id).await?;
        let Some((status, facts)) = known(told.events) else {
            return Err(StoreError::Broken { what: "a call job has no event" });
        };
        write_call(&mut tx, (job.company_id, call_id), customer_id, status, &facts).await?;
        if status == CallStatus::Ended {
            said::forget_call(&mut tx, job.company_id, call_id).await?;
        }
        let (state, outcome, fence) = (State::Completed, "made", row.fence);
        let attempt = Attempt { job, fence: fence + 1, seen_version: None, worker, outcome, started_at: Some(row.now) };
        record(&mut tx, &attempt).await?;
        if !finish(&mut tx, job, fence, state, None, outcome).await? {
            return Err(StoreError::Broken { what: "a job's fence moved under its own lock" });
        }
        self.commit(tx, &about.xid).await?;
        Ok(Claim::Ended { state, expected: None, found: 0, ring: vec![] })
    }

    /// The call of that id, if it is one of this company that is going on: something was heard of it within the two hours
    /// that a call may last, and not that it is over.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn ongoing_call(&self, company_id: i32, call_id: &str) -> Result<Option<OngoingCall>, StoreError> {
        let row = sqlx::query!(
            "SELECT h.from_number, h.to_number FROM (
               SELECT from_number, to_number, created_at AS at FROM call WHERE company_id = $1 AND call_id = $2
               UNION ALL
               SELECT from_number, to_number, received_at FROM call_event WHERE company_id = $1 AND call_id = $2) h
             WHERE h.at > clock_timestamp() - interval '2 hours'
               AND NOT EXISTS (SELECT FROM call_event e WHERE e.company_id = $1 AND e.call_id = $2
                                 AND e.event IN ('call_ended', 'call_analyzed'))
             ORDER BY h.from_number IS NULL LIMIT 1",
            company_id,
            call_id
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|r| OngoingCall { from_number: r.from_number, to_number: r.to_number }))
    }
}

/// Makes the call if there is none, holds it, and says whose it is already.
async fn lock_call(conn: &mut PgConnection, company_id: i32, call_id: &str) -> Result<Option<CustomerId>, StoreError> {
    let customer_id = sqlx::query_scalar!(
        "INSERT INTO call (company_id, call_id) VALUES ($1, $2)
         ON CONFLICT ON CONSTRAINT one_call_per_retell_id DO UPDATE SET from_number = call.from_number
         RETURNING customer_id",
        company_id,
        call_id
    )
    .fetch_one(conn)
    .await?;
    Ok(customer_id.map(CustomerId))
}

async fn write_call(
    conn: &mut PgConnection,
    (company_id, call_id): (i32, &str),
    customer_id: CustomerId,
    status: CallStatus,
    facts: &CallFacts,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE call SET customer_id = $3, status = $4, from_number = COALESCE(from_number, $5),
           to_number = COALESCE(to_number, $6), direction = $7, started_at = $8, ended_at = $9, end_reason = $10,
           sentiment = $11, successful = $12, voicemail = $13, summary = $14
         WHERE company_id = $1 AND call_id = $2",
        company_id,
        call_id,
        customer_id.0,
        status.as_str(),
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
    Ok(())
}
