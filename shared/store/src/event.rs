//! Claims a `calcom_event` job: something may have happened to a booking, so it is read. The claim says which bookings; the
//! worker reads them, and `observed` compares what was read with the record.
//!
//! While an op of the appointment is unresolved nothing is read: it may be that op's own doing. The op's next look is made
//! due instead.

use crate::claimed::{Claim, Event};
use crate::error::StoreError;
use crate::forward::bring_forward;
use crate::inbox::{Unapplied, applied, unapplied};
use crate::ledger::{Attempt, finish, record, take, wait_until};
use crate::promise::{Locked, span};
use crate::scene::{FoundOp, Ops, waiting};
use crate::{JobRef, Store};
use domain::answer::BookingUid;
use domain::effect::Segment;
use domain::id::{AppointmentId, Lineage};
use domain::job::{Kind, State};
use sqlx::PgConnection;
use uuid::Uuid;

impl Store {
    pub(crate) async fn kind_of(&self, job: JobRef) -> Result<Option<Kind>, StoreError> {
        let kind = sqlx::query_scalar!(
            "SELECT kind FROM job WHERE company_id = $1 AND job_id = $2",
            job.company_id,
            job.job_id.0
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(kind.as_deref().and_then(Kind::parse))
    }

    pub(crate) async fn claim_event(&self, job: JobRef, worker: &str) -> Result<Claim, StoreError> {
        let mut tx = self.pool.begin().await?;
        let about = sqlx::query!(
            "SELECT subject, appointment_id FROM job WHERE company_id = $1 AND job_id = $2",
            job.company_id,
            job.job_id.0
        )
        .fetch_one(&mut *tx)
        .await?;
        let locked = match about.appointment_id {
            Some(id) => Locked::wait_for(&mut tx, job.company_id, AppointmentId(id)).await?,
            None => None,
        };
        let Some(found) = waiting(&mut tx, job, self.terms()).await? else { return Ok(Claim::Gone) };
        let ops = match &locked {
            Some(locked) => Some(Ops::of(&mut tx, locked).await?),
            None => None,
        };
        let mut busy_until = found.busy_until.max(found.rest.look);
        let mut ring = Vec::new();
        let open = locked.as_ref().zip(ops.as_ref().and_then(|ops| ops.open.as_ref()));
        if let Some((locked, open)) = open {
            let brought = has_news(&mut tx, locked, &about.subject, open).await?;
            if brought {
                ring = bring_forward(&mut tx, locked).await?;
            }
            busy_until = busy_until.max(open.open.next_look_at.filter(|_| !brought));
        }
        if open.is_some() || busy_until.is_some() {
            let waits = wait_until(&mut tx, job, (found.fence, found.now), busy_until).await?;
            tx.commit().await?;
            return Ok(if waits { Claim::Busy { until: busy_until, overtakes: None, ring } } else { Claim::Gone });
        }
        let lease = span(self.settings.lease);
        let Some(fence) = take(&mut tx, job, found.fence, worker, lease).await? else { return Ok(Claim::Gone) };
        // Only now: a hint that came before we had the job is here, one that comes later finds it running.
        let unread = unapplied(&mut tx, job.company_id, &about.subject).await?;
        let segment = match &locked {
            Some(locked) => Some(segment(&mut tx, locked, &about.subject).await?),
            None => None,
        };
        let recorded = segment.as_ref().and_then(|segment| segment.live.as_ref()).map(|live| live.uid.clone());
        let ended = ops.map(|ops| ops.ended_bookings()).unwrap_or_default();
        let known = |hint: &Unapplied| segment.as_ref().is_some_and(|segment| hint.hint.is_known(segment, &ended));
        let event = Event {
            job,
            fence,
            worker: worker.to_owned(),
            uids: to_read(recorded.as_ref(), &unread),
            recorded,
            appointment_id: locked.as_ref().map(|locked| locked.appointment_id),
            version: locked.as_ref().map(|locked| locked.version),
            hints: unread.iter().map(|unread| unread.hint.clone()).collect(),
        };
        if unread.iter().all(known) {
            applied(&mut tx, job.company_id, &unread).await?;
            end(&mut tx, &event, locked.as_ref(), "nothing_new").await?;
            tx.commit().await?;
            let (expected, found) = (None, event.version.unwrap_or_default());
            return Ok(Claim::Ended { state: State::Completed, expected, found, ring: vec![] });
        }
        tx.commit().await?;
        Ok(Claim::Event(Box::new(event)))
    }
}

/// Has a hint come since the op was last sent or looked for? One hint is worth one look.
async fn has_news(conn: &mut PgConnection, locked: &Locked, subject: &str, open: &FoundOp) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM webhook_inbox i, calcom_op o JOIN job j USING (company_id, job_id)
             WHERE i.company_id = $1 AND i.subject = $2 AND i.applied_at IS NULL
               AND o.company_id = $1 AND o.appointment_id = $3 AND o.op_id = $4
               AND i.received_at > COALESCE(j.started_at, o.sent_at)) AS "has_news!""#,
        locked.company_id,
        subject,
        locked.appointment_id.0,
        open.op_id.0
    )
    .fetch_one(conn)
    .await?)
}

/// The recorded booking first, then what the hints name.
fn to_read(recorded: Option<&BookingUid>, unread: &[Unapplied]) -> Vec<BookingUid> {
    let mut uids: Vec<BookingUid> = recorded.into_iter().cloned().collect();
    for unread in unread {
        if !uids.contains(&unread.hint.uid) {
            uids.push(unread.hint.uid.clone());
        }
    }
    uids
}

/// The segment whose lineage is the event's subject.
pub(crate) async fn segment(conn: &mut PgConnection, locked: &Locked, subject: &str) -> Result<Segment, StoreError> {
    let lineage = Uuid::parse_str(subject).map(Lineage);
    let lineage = lineage.map_err(|_| StoreError::Broken { what: "an event's subject is no lineage" })?;
    let segments = locked.segments(conn).await?;
    let segment = segments.into_iter().find(|segment| segment.lineage == lineage);
    segment.ok_or(StoreError::Broken { what: "an event has no segment" })
}

/// The event has led to what it was to lead to.
pub(crate) async fn end(
    conn: &mut PgConnection,
    event: &Event,
    locked: Option<&Locked>,
    outcome: &'static str,
) -> Result<(), StoreError> {
    let (job, fence) = (event.job, event.fence);
    let seen_version = locked.map(|locked| locked.version);
    let attempt = Attempt { job, fence, seen_version, worker: &event.worker, outcome, started_at: None };
    record(conn, &attempt).await?;
    if finish(conn, job, fence, State::Completed, locked, outcome).await? {
        Ok(())
    } else {
        Err(StoreError::Broken { what: "a job's fence moved under its subject's lock" })
    }
}
