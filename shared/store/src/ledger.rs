//! The job ledger: every change of a job's state is a compare-and-set on (job, fence), and every change raises the
//! fence. Back-to-waiting is one function, used by settle and by rescue.

use crate::JobRef;
use crate::error::StoreError;
use crate::promise::{Locked, database_now};
use crate::release::release;
use crate::{Store, promise::span};
use chrono::{DateTime, TimeDelta, Utc};
use domain::appointment::Learnt;
use domain::id::{AppointmentId, JobId};
use domain::job::State;
use sqlx::PgConnection;

/// How an attempt ended, for the ledger.
pub(crate) struct Attempt<'a> {
    pub(crate) job: JobRef,
    pub(crate) fence: i64,
    /// `None`: it is about no appointment.
    pub(crate) seen_version: Option<i32>,
    pub(crate) worker: &'a str,
    pub(crate) outcome: &'a str,
    /// `None` = when the job was taken; an attempt that ends in its claim took nothing.
    pub(crate) started_at: Option<DateTime<Utc>>,
}

/// Writes the attempt, once, when it ends; before the job's own end, so that a story tells them in this order.
pub(crate) async fn record(conn: &mut PgConnection, attempt: &Attempt<'_>) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO job_attempt (company_id, job_id, fence, started_at, seen_version, worker, outcome)
         SELECT $1, $2, $3, COALESCE($7, started_at, clock_timestamp()), $4, $5, $6 FROM job
         WHERE company_id = $1 AND job_id = $2",
        attempt.job.company_id,
        attempt.job.job_id.0,
        attempt.fence,
        attempt.seen_version,
        attempt.worker,
        attempt.outcome,
        attempt.started_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a job for good, from running or, where a claim finds nothing to do, from waiting. False = the fence has moved.
pub(crate) async fn finish(
    conn: &mut PgConnection,
    job: JobRef,
    fence: i64,
    state: State,
    found: Option<&Locked>,
    outcome: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE job SET state = $4, fence = fence + 1, lease_until = NULL, finished_at = clock_timestamp(),
                        found_version = $5, found_status = $6, outcome = $7
         WHERE company_id = $1 AND job_id = $2 AND fence = $3",
        job.company_id,
        job.job_id.0,
        fence,
        state.as_str(),
        found.map(|locked| locked.version),
        found.map(|locked| locked.status.as_str()),
        outcome
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes a job that asks nothing of Cal.com but to read. `None` = the fence has moved. (A job that acts is taken by the
/// statement that writes its intent.)
pub(crate) async fn take(
    conn: &mut PgConnection,
    job: JobRef,
    fence: i64,
    worker: &str,
    lease: TimeDelta,
) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar!(
        "UPDATE job SET state = 'running', fence = fence + 1, worker = $4, started_at = clock_timestamp(),
                        lease_until = clock_timestamp() + $5
         WHERE company_id = $1 AND job_id = $2 AND fence = $3 RETURNING fence",
        job.company_id,
        job.job_id.0,
        fence,
        worker,
        interval(lease)?
    )
    .fetch_optional(conn)
    .await?)
}

/// What needed a person has had one: parked jobs no longer count as such, `heir` goes on in their place.
pub(crate) async fn replace_parked(conn: &mut PgConnection, locked: &Locked, heir: JobId) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE job SET state = 'superseded', fence = fence + 1, superseded_by = $3, finished_at = clock_timestamp(),
                        found_version = NULL, found_status = NULL
         WHERE company_id = $1 AND appointment_id = $2 AND state = 'parked' AND kind IN ('booking', 'sync')",
        locked.company_id,
        locked.appointment_id.0,
        heir.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Busy writes only `run_at`, at least a second from `now`, and makes the row ringable again; never floor, fence or
/// attempt. False = the fence has moved, or it does not wait any more.
pub(crate) async fn wait_until(
    conn: &mut PgConnection,
    job: JobRef,
    (fence, now): (i64, DateTime<Utc>),
    until: Option<DateTime<Utc>>,
) -> Result<bool, StoreError> {
    let not_sooner = until.unwrap_or(now).max(now + TimeDelta::seconds(1));
    let moved = sqlx::query!(
        "UPDATE job SET run_at = GREATEST(run_at, $4), rung_at = '-infinity'
         WHERE company_id = $1 AND job_id = $2 AND fence = $3 AND state IN ('available', 'retryable')",
        job.company_id,
        job.job_id.0,
        fence,
        not_sooner
    )
    .execute(conn)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// How a job goes back to waiting.
pub(crate) struct Back {
    /// False: only if its lease has run out (rescue).
    pub(crate) alive: bool,
    /// The worker died.
    pub(crate) crashed: bool,
    /// Counts as an attempt.
    pub(crate) retried: bool,
    /// A floor that coalescing never lowers.
    pub(crate) not_before: DateTime<Utc>,
    /// Park it whatever the counts say.
    pub(crate) park: bool,
}

/// Back to waiting, under the subject's lock. If a row of the same key waits, this one ends superseded by it, and the
/// heir inherits floor and crashes. `None` = the job was renewed, settled or rescued meanwhile.
pub(crate) async fn back_to_waiting(
    store: &Store,
    conn: &mut PgConnection,
    job: JobRef,
    fence: i64,
    back: &Back,
    outcome: &str,
) -> Result<Option<State>, StoreError> {
    let row = sqlx::query!(
        r#"WITH r AS (
             SELECT company_id, subject, kind, crashes FROM job
             WHERE company_id = $1 AND job_id = $2 AND fence = $3 AND ($4 OR lease_until < clock_timestamp())),
           w AS (
             UPDATE job w SET not_before = GREATEST(w.not_before, $5), run_at = GREATEST(w.run_at, $5),
                              crashes = GREATEST(w.crashes, r.crashes + $6::int2)
             FROM r WHERE w.company_id = r.company_id AND w.subject = r.subject AND w.kind = r.kind
                      AND w.state IN ('available', 'retryable')
             RETURNING w.job_id)
           UPDATE job j SET fence = j.fence + 1, lease_until = NULL, crashes = j.crashes + $6::int2,
             attempt = j.attempt + $7::int2, not_before = GREATEST(j.not_before, $5), run_at = GREATEST(j.run_at, $5),
             rung_at = '-infinity', superseded_by = (TABLE w), outcome = $11,
             state = CASE WHEN EXISTS (TABLE w) THEN 'superseded'
                          WHEN $10 OR j.crashes + $6::int2 >= $8 OR j.attempt + $7::int2 >= $9 THEN 'parked'
                          ELSE 'retryable' END,
             finished_at = CASE WHEN EXISTS (TABLE w) OR $10 OR j.crashes + $6::int2 >= $8
                                  OR j.attempt + $7::int2 >= $9 THEN clock_timestamp() END
           FROM r WHERE j.company_id = $1 AND j.job_id = $2 AND j.fence = $3 RETURNING j.state"#,
        job.company_id,
        job.job_id.0,
        fence,
        back.alive,
        back.not_before,
        i16::from(back.crashed),
        i16::from(back.retried),
        store.settings.crashes_max,
        store.settings.attempts_max,
        back.park,
        outcome
    )
    .fetch_optional(conn)
    .await?;
    row.map(|r| State::parse(&r.state).ok_or(StoreError::Broken { what: "a job has an unknown state" })).transpose()
}

/// Makes the waiting jobs of an appointment due, also those that are to read its bookings, and says which are to be rung;
/// never below their floor.
pub(crate) async fn wake(conn: &mut PgConnection, locked: &Locked) -> Result<Vec<JobRef>, StoreError> {
    let rows = sqlx::query!(
        "UPDATE job SET run_at = GREATEST(now(), not_before), rung_at = now()
         WHERE company_id = $1 AND state IN ('available', 'retryable') AND not_before <= clock_timestamp()
           AND appointment_id = $2 RETURNING job_id",
        locked.company_id,
        locked.appointment_id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| JobRef { company_id: locked.company_id, job_id: JobId(r.job_id) }).collect())
}

impl Store {
    /// Gives every running job whose lease has run out back to waiting, with one crash more; at the limit it is parked
    /// and a person is told. Returns what may be rung. Harmless when two processes do it at once.
    ///
    /// # Errors
    /// Postgres is away, or an invariant is broken.
    pub async fn rescue(&self, limit: i64) -> Result<Vec<JobRef>, StoreError> {
        let dead = sqlx::query!(
            r#"SELECT company_id, job_id, appointment_id, fence, worker FROM job
               WHERE state = 'running' AND lease_until < clock_timestamp() LIMIT $1"#,
            limit
        )
        .fetch_all(&self.pool)
        .await?;
        let mut ring = Vec::new();
        for row in dead {
            let job = JobRef { company_id: row.company_id, job_id: JobId(row.job_id) };
            let appointment_id = row.appointment_id.map(AppointmentId);
            let worker = row.worker.unwrap_or_default();
            ring.extend(self.retrying("rescue", || self.rescue_one(job, appointment_id, row.fence, &worker)).await?);
        }
        Ok(ring)
    }

    async fn rescue_one(
        &self,
        job: JobRef,
        appointment_id: Option<AppointmentId>,
        fence: i64,
        worker: &str,
    ) -> Result<Vec<JobRef>, StoreError> {
        let mut tx = self.pool.begin().await?;
        // Of a booking that is nobody's appointment only the job itself is to be locked, and what follows locks it.
        let locked = match appointment_id {
            Some(appointment_id) => match Locked::unless_locked(&mut tx, job.company_id, appointment_id).await? {
                Some(locked) => Some(locked),
                None => return Ok(vec![]),
            },
            None => None,
        };
        let now = database_now(&mut tx).await?;
        let back = Back { alive: false, crashed: true, retried: false, not_before: now, park: false };
        let Some(state) = back_to_waiting(self, &mut tx, job, fence, &back, "crashed").await? else {
            return Ok(vec![]);
        };
        let seen_version = locked.as_ref().map(|locked| locked.version);
        record(&mut tx, &Attempt { job, fence, seen_version, worker, outcome: "crashed", started_at: None }).await?;
        let mut ring = Vec::new();
        if let Some(locked) = locked {
            if state == State::Parked {
                let segments = locked.segments(&mut tx).await?;
                locked.learn(&mut tx, &segments, None, Learnt::Stuck).await?;
                locked.call_back(&mut tx, "workers_crashed").await?;
            }
            ring = wake(&mut tx, &locked).await?;
            release(&mut tx, locked.company_id, locked.appointment_id).await?;
        }
        tx.commit().await?;
        metrics::counter!("askpro_jobs_rescued_total").increment(1);
        Ok(ring)
    }

    /// Prolongs the lease of a claimed job, by its fence. False: it is lost, and no further effect is allowed.
    ///
    /// # Errors
    /// Postgres is away: counts as lost at the lease's end.
    pub async fn renew(&self, job: JobRef, fence: i64) -> Result<bool, StoreError> {
        let lease: sqlx::postgres::types::PgInterval = interval(span(self.settings.lease))?;
        let renewed = sqlx::query!(
            "UPDATE job SET lease_until = clock_timestamp() + $4 WHERE company_id = $1 AND job_id = $2 AND fence = $3",
            job.company_id,
            job.job_id.0,
            fence,
            lease
        )
        .execute(&self.pool)
        .await?;
        Ok(renewed.rows_affected() == 1)
    }
}

/// A time span as SQL's interval.
pub(crate) fn interval(span: chrono::TimeDelta) -> Result<sqlx::postgres::types::PgInterval, StoreError> {
    sqlx::postgres::types::PgInterval::try_from(span)
        .map_err(|_| StoreError::Broken { what: "a setting is no interval" })
}
