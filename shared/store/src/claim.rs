//! Claim: lock what the job is about, re-read it, decide, take the job by compare-and-set, and write the intent of the
//! effect; one transaction. A claim is an answer, not a boolean.

use crate::claimed::{Batch, Claim, Claimed, Mode};
use crate::due::Due;
use crate::error::StoreError;
use crate::ledger::{Attempt, finish, interval, record, wait_until, wake};
use crate::promise::{Compared, span};
use crate::release::release;
use crate::scene::{Found, FoundOp, Subject, Waiting};
use crate::{JobRef, Store};
use domain::answer::BookingUid;
use domain::appointment::Learnt;
use domain::effect::{Effect, EffectKind};
use domain::id::OpId;
use domain::job::{Decision, Kind, Scene, State, decide};
use domain::outcome::Past;
use domain::resolve::Asked;
use sqlx::PgConnection;
use uuid::Uuid;

impl Store {
    /// Claims one job. A `customer` or `call` job is claimed, done and settled in this one transaction.
    ///
    /// # Errors
    /// Postgres is away, its locks were held too long, or an invariant is broken. Nothing was claimed then.
    pub async fn claim(&self, job: JobRef, worker: &str) -> Result<Claim, StoreError> {
        self.retrying("claim", || self.claim_once(job, worker)).await
    }

    /// Claims what has been due for a second, one job an appointment, at most `limit`: the way that needs no Redis. All
    /// of them in one transaction that waits for nobody's lock.
    ///
    /// # Errors
    /// As [`Store::claim`].
    pub async fn claim_due(&self, limit: i64, worker: &str) -> Result<Batch, StoreError> {
        let due = self.due(limit).await?;
        let (alone, others): (Vec<Due>, Vec<Due>) = due.into_iter().partition(|d| d.appointment_id.is_none());
        let names = |due: Vec<Due>| due.into_iter().map(|d| d.job);
        match self.claim_batch(&others, worker).await {
            Ok(claims) => Ok(Batch { claims, alone: names(alone).collect() }),
            Err(error @ (StoreError::Broken { .. } | StoreError::Refused { .. } | StoreError::Database(_))) => {
                tracing::warn!(%error, jobs = others.len(), "a batch was not claimed; now one by one");
                Ok(Batch { claims: Vec::new(), alone: names(alone).chain(names(others)).collect() })
            }
            Err(error @ (StoreError::Away(_) | StoreError::LockWait)) => Err(error),
        }
    }

    async fn claim_batch(&self, due: &[Due], worker: &str) -> Result<Vec<Claim>, StoreError> {
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.pool.begin().await?;
        let subjects = Subject::free(&mut tx, due).await?;
        let Some(xid) = subjects.first().map(|subject| subject.xid.clone()) else { return Ok(Vec::new()) };
        let mut claims = Vec::new();
        for subject in subjects {
            claims.push(self.decide(&mut tx, subject, worker).await?);
        }
        self.commit(tx, &xid).await?;
        Ok(claims)
    }

    async fn claim_once(&self, job: JobRef, worker: &str) -> Result<Claim, StoreError> {
        let mut tx = self.pool.begin().await?;
        let Some(subject) = Subject::of(&mut tx, job).await? else {
            drop(tx);
            return match self.kind_of(job).await? {
                Some(Kind::Customer) => self.merge_customer(job, worker).await,
                Some(Kind::CalcomEvent) => self.claim_event(job, worker).await,
                Some(Kind::Call) => self.make_call(job, worker).await,
                Some(Kind::Booking | Kind::Sync) | None => Ok(Claim::Gone),
            };
        };
        let xid = subject.xid.clone();
        let claim = self.decide(&mut tx, subject, worker).await?;
        if !matches!(claim, Claim::Gone) {
            self.commit(tx, &xid).await?;
        }
        Ok(claim)
    }

    /// Reads what the job is about, under its lock, and does what the domain decides.
    async fn decide(&self, conn: &mut PgConnection, subject: Subject, worker: &str) -> Result<Claim, StoreError> {
        let Some(found) = Found::read(conn, &subject, self.terms()).await? else { return Ok(Claim::Gone) };
        let scene = Scene {
            status: subject.locked.status,
            segments: &found.segments,
            open: found.ops.open.as_ref().map(|o| o.open),
            busy_until: found.waiting.busy_until,
            rest: found.waiting.rest,
            starts_at: subject.locked.starts_at,
            now: found.waiting.now,
        };
        match (decide(scene), &found.ops.open) {
            (Decision::Busy { until }, _) => {
                let now = (found.waiting.fence, found.waiting.now);
                let waits = wait_until(conn, subject.job, now, until).await?;
                Ok(if waits {
                    Claim::Busy { until, overtakes: found.waiting.overtakes, ring: vec![] }
                } else {
                    Claim::Gone
                })
            }
            (Decision::Resolve, Some(op)) => self.take_over(conn, subject, &found, op, worker).await,
            (Decision::Act(effect), None) => self.intend(conn, subject, &found, effect, worker).await,
            (Decision::Agree { .. }, None) => nothing_to_do(conn, subject, &found.waiting, worker).await,
            (Decision::TooLate, None) => too_late(conn, &subject, &found, worker).await,
            (Decision::Held, None) => {
                let version = subject.locked.version;
                end(conn, &subject, &found.waiting, worker, (State::Parked, "needs_review"), version).await
            }
            (Decision::Resolve, None) | (_, Some(_)) => {
                Err(StoreError::Broken { what: "a claim decided against what it read" })
            }
        }
    }

    /// Takes the job and writes the intent of a new effect.
    async fn intend(
        &self,
        conn: &mut PgConnection,
        subject: Subject,
        found: &Found,
        effect: Effect,
        worker: &str,
    ) -> Result<Claim, StoreError> {
        let Subject { job, locked, attendee, xid: _ } = subject;
        let segment = found.segment(effect.segment_no)?;
        let creates = effect.kind == EffectKind::Create;
        let asks_time = effect.kind != EffectKind::Cancel;
        let op_id = OpId(Uuid::now_v7());
        let row = sqlx::query!(
            "WITH j AS (
               UPDATE job SET state = 'running', fence = fence + 1, worker = $4, started_at = clock_timestamp(),
                              lease_until = clock_timestamp() + $5
               WHERE company_id = $1 AND job_id = $2 AND fence = $3 RETURNING fence, lease_until)
             INSERT INTO calcom_op (company_id, appointment_id, op_id, segment_no, kind, appointment_version, job_id,
                                    fence, event_type_id, starts_at, ends_at, target_uid, slot_id, deadline_at)
             SELECT $1, $6, $7, $8, $9, $10, $2, j.fence, $11, $12, $13, $14, $15, j.lease_until FROM j
             RETURNING fence, sent_at",
            job.company_id,
            job.job_id.0,
            found.waiting.fence,
            worker,
            interval(span(self.settings.lease))?,
            locked.appointment_id.0,
            op_id.0,
            effect.segment_no,
            effect.kind.as_str(),
            locked.version,
            creates.then_some(segment.promised.event_type_id),
            asks_time.then(|| segment.promised.during.start()),
            asks_time.then(|| segment.promised.during.end()),
            effect.target.as_ref().map(BookingUid::expose),
            asks_time.then_some(segment.promised.slot.0)
        )
        .fetch_optional(&mut *conn)
        .await?;
        let Some(row) = row else { return Ok(Claim::Gone) };
        locked.learn(conn, &found.segments, Some(effect.segment_no), Learnt::Sent).await?;
        Ok(Claim::Granted(Box::new(Claimed {
            job,
            fence: row.fence,
            kind: found.waiting.kind,
            appointment_id: locked.appointment_id,
            worker: worker.to_owned(),
            mode: Mode::Act,
            op_id,
            asked: Asked {
                kind: effect.kind,
                lineage: segment.lineage,
                starts_at: asks_time.then(|| segment.promised.during.start()),
                sent_at: row.sent_at,
                answered: None,
                evidence: None,
                past: found.ops.past(effect.segment_no),
                made: found.ops.made(effect.segment_no),
                aimed_at: found.ops.aimed_at(effect.segment_no),
            },
            effect,
            event_type_id: creates.then_some(segment.promised.event_type_id),
            attendee,
            overtakes: found.waiting.overtakes,
            claimed_at: found.waiting.now,
        })))
    }

    /// Takes the job and, with it, an op that has lost its owner.
    async fn take_over(
        &self,
        conn: &mut PgConnection,
        subject: Subject,
        found: &Found,
        op: &FoundOp,
        worker: &str,
    ) -> Result<Claim, StoreError> {
        let Subject { job, locked, attendee, xid: _ } = subject;
        let segment = found.segment(op.segment_no)?;
        let fence = sqlx::query_scalar!(
            "WITH j AS (
               UPDATE job SET state = 'running', fence = fence + 1, worker = $4, started_at = clock_timestamp(),
                              lease_until = clock_timestamp() + $5
               WHERE company_id = $1 AND job_id = $2 AND fence = $3 RETURNING fence)
             UPDATE calcom_op o SET job_id = $2, fence = j.fence, looks = o.looks + 1 FROM j
             WHERE o.company_id = $1 AND o.appointment_id = $6 AND o.op_id = $7 AND o.state IN ('sent', 'unknown')
             RETURNING o.fence",
            job.company_id,
            job.job_id.0,
            found.waiting.fence,
            worker,
            interval(span(self.settings.lease))?,
            locked.appointment_id.0,
            op.op_id.0
        )
        .fetch_optional(&mut *conn)
        .await?;
        let Some(fence) = fence else { return Ok(Claim::Gone) };
        Ok(Claim::Granted(Box::new(Claimed {
            job,
            fence,
            kind: found.waiting.kind,
            appointment_id: locked.appointment_id,
            worker: worker.to_owned(),
            mode: Mode::Resolve,
            effect: Effect { segment_no: op.segment_no, kind: op.kind, target: op.target.clone() },
            op_id: op.op_id,
            asked: Asked {
                kind: op.kind,
                lineage: segment.lineage,
                starts_at: op.starts_at,
                sent_at: op.sent_at,
                answered: op.answered,
                evidence: op.evidence.clone(),
                past: Past::Ambiguous,
                made: found.ops.made(op.segment_no),
                aimed_at: found.ops.aimed_at(op.segment_no),
            },
            event_type_id: op.event_type_id,
            attendee,
            overtakes: found.waiting.overtakes,
            claimed_at: found.waiting.now,
        })))
    }
}

/// Promise and Cal.com agree: the claim itself ends the job.
async fn nothing_to_do(
    conn: &mut PgConnection,
    mut subject: Subject,
    waiting: &Waiting,
    worker: &str,
) -> Result<Claim, StoreError> {
    let found = subject.locked.version;
    if subject.locked.compare(conn, (subject.job.job_id, waiting.fence + 1)).await? != Compared::Agree {
        return Err(StoreError::Broken { what: "a claim found agreement and then none" });
    }
    let state = if waiting.expected_version == Some(found) { State::Completed } else { State::Superseded };
    end(conn, &subject, waiting, worker, (state, "nothing_to_do"), found).await
}

/// An effect is due that can no longer be had: a person must ring the customer.
async fn too_late(
    conn: &mut PgConnection,
    subject: &Subject,
    found: &Found,
    worker: &str,
) -> Result<Claim, StoreError> {
    subject.locked.learn(conn, &found.segments, None, Learnt::Stuck).await?;
    subject.locked.call_back(conn, "not_confirmed_before_its_start").await?;
    end(conn, subject, &found.waiting, worker, (State::Parked, "too_late"), subject.locked.version).await
}

async fn end(
    conn: &mut PgConnection,
    subject: &Subject,
    waiting: &Waiting,
    worker: &str,
    (state, outcome): (State, &str),
    found: i32,
) -> Result<Claim, StoreError> {
    let (job, locked) = (subject.job, &subject.locked);
    let (fence, started_at) = (waiting.fence + 1, Some(waiting.now));
    record(conn, &Attempt { job, fence, seen_version: Some(found), worker, outcome, started_at }).await?;
    if !finish(conn, job, waiting.fence, state, Some(locked), outcome).await? {
        return Err(StoreError::Broken { what: "a job's fence moved under its subject's lock" });
    }
    let ring = wake(conn, locked).await?;
    release(conn, locked.company_id, locked.appointment_id).await?;
    Ok(Claim::Ended { state, expected: waiting.expected_version, found, ring })
}
