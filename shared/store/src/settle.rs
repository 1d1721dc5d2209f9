//! Settle: lock, re-read, check the fence; record the op's outcome always; change the promise only if it has not moved;
//! finish the job or give it back; one transaction.
//!
//! An error on COMMIT is harmless here: settling again finds our own attempt in the ledger and says so.

use crate::claimed::{Claimed, Mode};
use crate::error::StoreError;
use crate::ledger::{Attempt, Back, back_to_waiting, finish, record, wake};
use crate::op::{Running, SentOp, end_op, forget_booking, keep_open, record_booking, record_spares};
use crate::overtaken::{Follows, lock_staff_of, overtaken};
use crate::promise::{Cause, Compared, Locked, span};
use crate::release::release;
use crate::{JobRef, Store};
use chrono::{DateTime, Utc};
use domain::answer::{Booking, BookingStatus};
use domain::appointment::{Change, Learnt, Status};
use domain::effect::{EffectKind, Segment};
use domain::id::SlotId;
use domain::job::State;
use domain::observe::is_anothers;
use domain::outcome::{Elsewhere, NotGranted, Outcome};
use domain::retry::{back_off, next_look};
use sqlx::PgConnection;
use std::time::Duration;

/// What came of a settle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Settled {
    /// Recorded, by this call or by an earlier one whose reply was lost.
    Done {
        /// Where the job stands now.
        state: State,
        /// Jobs that are due now.
        ring: Vec<JobRef>,
    },
    /// The lease was lost and somebody else has the job: stop, no further effect.
    Lost,
}

/// What follows for the job.
enum Then {
    /// Look at promise and Cal.com again, now.
    Compare,
    /// Wait until then; not an attempt.
    Wait(DateTime<Utc>),
    /// A person must look.
    Park(&'static str),
    /// A person must decide; that is written already.
    Hold(&'static str),
}

impl Store {
    /// Records what act or a look found out. `chance` in `[0, 1]` is the jitter of a back-off.
    ///
    /// # Errors
    /// Postgres is away or an invariant is broken: try again while the lease lasts.
    pub async fn settle(&self, claimed: &Claimed, outcome: &Outcome, chance: f64) -> Result<Settled, StoreError> {
        let settled = self.retrying("settle", || self.settle_once(claimed, outcome, chance)).await?;
        if matches!(settled, Settled::Done { .. }) {
            metrics::counter!("askpro_attempts_total", "outcome" => word(outcome)).increment(1);
            let looked = claimed.mode == Mode::Resolve || claimed.asked.answered.is_some();
            if looked && matches!(outcome, Outcome::Applied { .. }) {
                metrics::counter!("askpro_adoptions_total").increment(1);
            }
            if claimed.mode == Mode::Act && matches!(outcome, Outcome::Unknown { .. }) {
                metrics::counter!("askpro_quarantines_total").increment(1);
            }
        }
        Ok(settled)
    }

    async fn settle_once(&self, claimed: &Claimed, outcome: &Outcome, chance: f64) -> Result<Settled, StoreError> {
        let company_id = claimed.job.company_id;
        let mut tx = self.pool.begin().await?;
        if let Outcome::Overtaken { by: Elsewhere::Moved(_), .. } = outcome {
            lock_staff_of(&mut tx, company_id, claimed.appointment_id).await?;
        }
        let Some(mut locked) = Locked::wait_for(&mut tx, company_id, claimed.appointment_id).await? else {
            return Err(StoreError::Broken { what: "a job has no appointment" });
        };
        let Some(running) = Running::read(&mut tx, claimed).await? else {
            return self.settled_before(tx, claimed, outcome).await;
        };
        let found = locked.version;
        let mut then = self.write_op(&mut tx, &mut locked, claimed, &running, outcome, chance).await?;
        if matches!(then, Then::Wait(until) if gives_up(outcome) && until >= locked.starts_at) {
            then = Then::Park("not_confirmed_before_its_start");
        }
        let word = word(outcome);
        let compared = match then {
            Then::Compare => Some(locked.compare(&mut tx, (claimed.job.job_id, claimed.fence)).await?),
            Then::Wait(_) | Then::Park(_) | Then::Hold(_) => None,
        };
        let (job, fence, worker) = (claimed.job, claimed.fence, &claimed.worker);
        let attempt = Attempt { job, fence, seen_version: Some(found), worker, outcome: word, started_at: None };
        record(&mut tx, &attempt).await?;
        let state = match (then, compared) {
            (Then::Compare, Some(Compared::Agree)) => {
                let asked_now = running.expected_version == Some(found) && !running.has_heir;
                let state = if asked_now { State::Completed } else { State::Superseded };
                finish(&mut tx, claimed.job, claimed.fence, state, Some(&locked), word).await?.then_some(state)
            }
            (Then::Compare, Some(Compared::Held)) => {
                self.give_back(&mut tx, claimed, running.now, true, "needs_review").await?
            }
            (Then::Compare, Some(Compared::Differ) | None) => {
                self.give_back(&mut tx, claimed, running.now, false, word).await?
            }
            (Then::Wait(until), _) => self.give_back(&mut tx, claimed, until, false, word).await?,
            (Then::Park(reason), _) => {
                let segments = locked.segments(&mut tx).await?;
                locked.learn(&mut tx, &segments, Some(claimed.effect.segment_no), Learnt::Stuck).await?;
                locked.call_back(&mut tx, reason).await?;
                self.give_back(&mut tx, claimed, running.now, true, reason).await?
            }
            (Then::Hold(reason), _) => self.give_back(&mut tx, claimed, running.now, true, reason).await?,
        };
        let state = state.ok_or(StoreError::Broken { what: "a job's fence moved under its subject's lock" })?;
        let ring = if is_open(outcome) { vec![] } else { wake(&mut tx, &locked).await? };
        release(&mut tx, company_id, claimed.appointment_id).await?;
        tx.commit().await?;
        Ok(Settled::Done { state, ring })
    }

    /// The fence has moved: by our own earlier COMMIT, or because the lease was lost. Then the one write still allowed
    /// is the uid that Cal.com gave, as evidence on its still unresolved op.
    async fn settled_before(
        &self,
        mut tx: sqlx::Transaction<'static, sqlx::Postgres>,
        claimed: &Claimed,
        outcome: &Outcome,
    ) -> Result<Settled, StoreError> {
        let ended = sqlx::query!(
            r#"SELECT t.outcome, j.state FROM job_attempt t JOIN job j USING (company_id, job_id)
               WHERE t.company_id = $1 AND t.job_id = $2 AND t.fence = $3"#,
            claimed.job.company_id,
            claimed.job.job_id.0,
            claimed.fence
        )
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(ended) = ended.filter(|e| e.outcome != "crashed") {
            let state = State::parse(&ended.state).ok_or(StoreError::Broken { what: "a job has an unknown state" })?;
            return Ok(Settled::Done { state, ring: vec![] });
        }
        if let Outcome::Applied { booking, .. } = outcome {
            sqlx::query!(
                "UPDATE calcom_op SET uid = $4 WHERE company_id = $1 AND appointment_id = $2 AND op_id = $3
                   AND state IN ('sent', 'unknown') AND uid IS NULL",
                claimed.job.company_id,
                claimed.appointment_id.0,
                claimed.op_id.0,
                booking.uid.expose()
            )
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
        }
        metrics::counter!("askpro_leases_lost_total").increment(1);
        Ok(Settled::Lost)
    }

    async fn give_back(
        &self,
        conn: &mut PgConnection,
        claimed: &Claimed,
        not_before: DateTime<Utc>,
        park: bool,
        word: &str,
    ) -> Result<Option<State>, StoreError> {
        let back = Back { alive: true, crashed: false, retried: false, not_before, park };
        back_to_waiting(self, conn, claimed.job, claimed.fence, &back, word).await
    }

    /// Records the outcome on the op and, where it says so, on the segment and the promise.
    async fn write_op(
        &self,
        conn: &mut PgConnection,
        locked: &mut Locked,
        claimed: &Claimed,
        running: &Running,
        outcome: &Outcome,
        chance: f64,
    ) -> Result<Then, StoreError> {
        let (now, op) = (running.now, &running.op);
        let quarantine = span(self.settings.quarantine);
        match outcome {
            Outcome::Applied { booking, spares } => {
                end_op(conn, claimed, "applied", Some(&booking.uid), None).await?;
                let slot = op.slot_id.map(SlotId).ok_or(StoreError::Broken { what: "an op has no slot" })?;
                record_booking(conn, locked, claimed.effect.segment_no, Some((&booking.uid, slot))).await?;
                record_spares(conn, locked, claimed.effect.segment_no, spares).await?;
                let segment = segment(conn, locked, claimed).await?;
                applied(conn, locked, &segment, op, booking).await
            }
            Outcome::Gone => {
                end_op(conn, claimed, "applied", None, None).await?;
                let target = claimed.effect.target.as_ref();
                forget_booking(conn, locked, target.ok_or(StoreError::Broken { what: "a cancel has no target" })?)
                    .await?;
                Ok(Then::Compare)
            }
            Outcome::Overtaken { made, by } => {
                let state = if made.is_some() { "applied" } else { "refused" };
                end_op(conn, claimed, state, made.as_ref(), claimed.asked.answered).await?;
                // A move of a booking that the promise has left already was made without knowing of the newer wish.
                let current = made.is_some() && op.appointment_version == locked.version;
                went_elsewhere(conn, locked, claimed, by, current).await
            }
            Outcome::Refused(no) => {
                end_op(conn, claimed, "refused", None, claimed.asked.answered).await?;
                refused(conn, locked, claimed, op, *no).await
            }
            Outcome::Never => {
                end_op(conn, claimed, "never", None, None).await?;
                Ok(Then::Compare)
            }
            Outcome::Snoozed { wait } => {
                end_op(conn, claimed, "never", None, None).await?;
                let segments = locked.segments(conn).await?;
                locked.learn(conn, &segments, Some(claimed.effect.segment_no), Learnt::Differs).await?;
                let snoozes = snoozes(conn, claimed).await?;
                Ok(Then::Wait(now + self.snooze(snoozes, *wait, chance)))
            }
            Outcome::Unknown { answered } => {
                let since = now - op.sent_at;
                let until = now + next_look(op.looks.unsigned_abs(), since, quarantine);
                keep_open(conn, claimed, *answered, until).await?;
                let segments = locked.segments(conn).await?;
                locked.learn(conn, &segments, Some(claimed.effect.segment_no), Learnt::Lost).await?;
                let out_of_patience = since > quarantine + span(self.settings.patience);
                Ok(if out_of_patience { Then::Park("outcome_unknown") } else { Then::Wait(until) })
            }
            Outcome::NotSeen { wait } => {
                let until = now + self.snooze(op.looks.unsigned_abs(), *wait, chance);
                keep_open(conn, claimed, None, until).await?;
                Ok(Then::Wait(until))
            }
            Outcome::Review { why } => {
                let answered_plainly = claimed.mode == Mode::Act && claimed.asked.answered.is_none();
                if answered_plainly {
                    end_op(conn, claimed, "refused", None, None).await?;
                } else {
                    keep_open(conn, claimed, None, now + quarantine).await?;
                }
                Ok(Then::Park(why))
            }
        }
    }

    /// Without jitter where the wait is known: what spreads those that come back at once is the order of their promises.
    fn snooze(&self, before: u16, wait: Option<Duration>, chance: f64) -> chrono::TimeDelta {
        let (base, max) = (span(self.settings.back_off_base), span(self.settings.back_off_max));
        wait.map_or_else(|| back_off(before, chance, base, max), span)
    }
}

/// Does waiting for this outcome end at the appointment's start? A look goes on.
fn gives_up(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Snoozed { .. })
}

fn is_open(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unknown { .. } | Outcome::NotSeen { .. })
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Applied { .. } | Outcome::Gone => "applied",
        Outcome::Overtaken { .. } => "overtaken",
        Outcome::Refused(_) => "refused",
        Outcome::Snoozed { .. } => "snoozed",
        Outcome::Never => "never_happened",
        Outcome::Unknown { .. } => "unknown",
        Outcome::NotSeen { .. } => "not_seen",
        Outcome::Review { .. } => "review",
    }
}

/// A booking is ours now. Is it what we asked for, and does it count yet?
async fn applied(
    conn: &mut PgConnection,
    locked: &Locked,
    segment: &Segment,
    op: &SentOp,
    booking: &Booking,
) -> Result<Then, StoreError> {
    if op.starts_at.is_some_and(|asked| asked != booking.start) {
        return Ok(Then::Park("booked_at_another_time"));
    }
    if is_anothers(booking, segment) {
        return Ok(Then::Park("host_changed"));
    }
    match booking.status {
        BookingStatus::Accepted => Ok(Then::Compare),
        BookingStatus::Pending => {
            locked.learn(conn, std::slice::from_ref(segment), None, Learnt::Awaits).await?;
            Ok(Then::Compare)
        }
        BookingStatus::Cancelled | BookingStatus::Rejected => Ok(Then::Park("cancelled_elsewhere")),
        BookingStatus::Unknown => Ok(Then::Park("unknown_booking_status")),
    }
}

/// Somebody else has changed the booking that the op aimed at, or the one that it made.
async fn went_elsewhere(
    conn: &mut PgConnection,
    locked: &mut Locked,
    claimed: &Claimed,
    by: &Elsewhere,
    current: bool,
) -> Result<Then, StoreError> {
    let segment = segment(conn, locked, claimed).await?;
    let target = claimed.effect.target.as_ref();
    if let Some(spare) = target.filter(|uid| segment.spares.contains(uid)) {
        forget_booking(conn, locked, spare).await?;
        if let Elsewhere::Moved(booking) = by {
            record_spares(conn, locked, segment.no, std::slice::from_ref(&booking.uid)).await?;
        }
        return Ok(Then::Compare);
    }
    let job = (claimed.job.job_id, claimed.fence);
    Ok(match overtaken(conn, locked, &segment, by, current, job).await? {
        Follows::Compare => Then::Compare,
        Follows::Held(reason) => Then::Hold(reason),
    })
}

/// The op's segment, as it is now.
async fn segment(conn: &mut PgConnection, locked: &Locked, claimed: &Claimed) -> Result<Segment, StoreError> {
    let segments = locked.segments(conn).await?;
    let segment = segments.into_iter().find(|segment| segment.no == claimed.effect.segment_no);
    segment.ok_or(StoreError::Broken { what: "an op has no segment" })
}

/// Cal.com said no, for certain. It changes the promise only if the op's version is still current.
async fn refused(
    conn: &mut PgConnection,
    locked: &mut Locked,
    claimed: &Claimed,
    op: &SentOp,
    no: NotGranted,
) -> Result<Then, StoreError> {
    if op.appointment_version != locked.version {
        return Ok(Then::Compare);
    }
    match (claimed.effect.kind, locked.status) {
        (EffectKind::Create, Status::Requested) => {
            let cause = Cause { who: "calcom", why: Some(no.why()), job: Some((claimed.job.job_id, claimed.fence)) };
            locked.change(conn, Change::Reject, cause).await?;
            locked.call_back(conn, "rejected_by_calcom").await?;
            Ok(Then::Compare)
        }
        // The old time stands, and somebody must tell the customer.
        (EffectKind::Reschedule, Status::Requested | Status::Scheduled) => {
            let live = segment(conn, locked, claimed).await?.live;
            let Some(stands) = live.map(|live| (live.slot, live.during)) else {
                return Ok(Then::Park("refused_by_calcom"));
            };
            let cause = Cause { who: "calcom", why: Some(no.why()), job: Some((claimed.job.job_id, claimed.fence)) };
            locked.move_to(conn, stands, "moved_back", cause).await?;
            locked.call_back(conn, "reschedule_refused_by_calcom").await?;
            Ok(Then::Compare)
        }
        (EffectKind::Create | EffectKind::Cancel | EffectKind::Reschedule, _) => Ok(Then::Park("refused_by_calcom")),
    }
}

/// How often this appointment has waited for Cal.com already: the exponent of its back-off.
async fn snoozes(conn: &mut PgConnection, claimed: &Claimed) -> Result<u16, StoreError> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM job_attempt WHERE company_id = $1 AND job_id = $2 AND outcome = 'snoozed'"#,
        claimed.job.company_id,
        claimed.job.job_id.0
    )
    .fetch_one(conn)
    .await?;
    Ok(u16::try_from(count).unwrap_or(u16::MAX))
}
