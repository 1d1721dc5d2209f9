//! What a reading shows, settled: lock, re-read, check the fence, compare what was read with the record, and do what
//! follows; one transaction.

use crate::claimed::Event;
use crate::enqueue::enqueue;
use crate::error::StoreError;
use crate::event::{end, segment};
use crate::external::{not_busy, note_external};
use crate::forward::bring_forward;
use crate::inbox::{HintSource, Notice, Noticed, Unapplied, applied, note, unapplied};
use crate::ledger::{Attempt, Back, back_to_waiting, record};
use crate::op::record_spares;
use crate::overtaken::{Follows, lock_staff_of, overtaken};
use crate::promise::{Compared, Locked, span};
use crate::release::release;
use crate::scene::Ops;
use crate::settle::Settled;
use crate::{JobRef, Store};
use chrono::{DateTime, TimeDelta, Utc};
use domain::answer::{Booking, BookingUid};
use domain::appointment::{Learnt, Sync};
use domain::id::JobId;
use domain::job::{Kind, State};
use domain::observe::{Hint, Observed, Read, observe, spares};
use domain::resolve::Chain;
use domain::retry::back_off;
use sqlx::PgConnection;
use std::time::Duration;
use uuid::Uuid;

/// A reading that is older than the hint is made again after this long, as often as there are entries.
const READ_AGAIN: [TimeDelta; 2] = [TimeDelta::seconds(5), TimeDelta::seconds(30)];

/// What came of the reading.
#[derive(Clone, Debug)]
pub enum Reading {
    /// Cal.com has answered.
    Read(Read),
    /// It could not be read; with how long to wait, if that was told.
    NotRead {
        /// At least so long.
        wait: Option<Duration>,
    },
}

/// What follows for the job.
enum Then {
    End(&'static str),
    Again { at: DateTime<Utc>, outcome: &'static str },
}

impl Store {
    /// Records what a reading shows. `chance` in `[0, 1]` is the jitter of a back-off.
    ///
    /// # Errors
    /// Postgres is away or an invariant is broken: the lease runs out, and it is read again.
    pub async fn settle_event(&self, event: &Event, reading: &Reading, chance: f64) -> Result<Settled, StoreError> {
        self.retrying("settle_event", || self.settle_event_once(event, reading, chance)).await
    }

    async fn settle_event_once(&self, event: &Event, reading: &Reading, chance: f64) -> Result<Settled, StoreError> {
        let (job, mut ring) = (event.job, Vec::new());
        let mut tx = self.pool.begin().await?;
        let mut locked = match event.appointment_id {
            Some(id) => {
                lock_staff_of(&mut tx, job.company_id, id).await?;
                Locked::wait_for(&mut tx, job.company_id, id).await?
            }
            None => None,
        };
        let running = sqlx::query!(
            r#"SELECT subject, clock_timestamp() AS "now!",
                      (SELECT count(*) FROM job_attempt t WHERE t.company_id = j.company_id AND t.job_id = j.job_id
                         AND t.outcome = 'read_too_early') AS "read_too_early!",
                      (SELECT count(*) FROM job_attempt t WHERE t.company_id = j.company_id AND t.job_id = j.job_id
                         AND t.outcome = 'not_read') AS "not_read!"
               FROM job j WHERE company_id = $1 AND job_id = $2 AND fence = $3 AND state = 'running'"#,
            job.company_id,
            job.job_id.0,
            event.fence
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(running) = running else { return Ok(Settled::Lost) };
        let now = running.now;
        let again = READ_AGAIN.get(usize::try_from(running.read_too_early).unwrap_or(usize::MAX));
        let then = match (reading, &mut locked) {
            (Reading::NotRead { wait }, _) => {
                let before = u16::try_from(running.not_read).unwrap_or(u16::MAX);
                let (base, longest) = (span(self.settings.back_off_base), span(self.settings.back_off_max));
                let wait = wait.map_or_else(|| back_off(before, chance, base, longest), span);
                Then::Again { at: now + wait, outcome: "not_read" }
            }
            (Reading::Read(read), _) if again.is_some() && too_early(event, read) => {
                let wait = again.copied().unwrap_or_default();
                Then::Again { at: now + wait, outcome: "read_too_early" }
            }
            (Reading::Read(read), None) => self.strangers(&mut tx, event, read, &mut ring).await?,
            (Reading::Read(read), Some(locked)) => {
                self.ours(&mut tx, event, locked, &running.subject, read, now, &mut ring).await?
            }
        };
        let state = match then {
            Then::End(outcome) => {
                let seen = unapplied(&mut tx, job.company_id, &running.subject).await?;
                let seen: Vec<Unapplied> = seen.into_iter().filter(|u| event.hints.contains(&u.hint)).collect();
                applied(&mut tx, job.company_id, &seen).await?;
                end(&mut tx, event, locked.as_ref(), outcome).await?;
                State::Completed
            }
            Then::Again { at, outcome } => {
                let (fence, seen_version) = (event.fence, locked.as_ref().map(|locked| locked.version));
                let attempt = Attempt { job, fence, seen_version, worker: &event.worker, outcome, started_at: None };
                record(&mut tx, &attempt).await?;
                let back = Back { alive: true, crashed: false, retried: false, not_before: at, park: false };
                back_to_waiting(self, &mut tx, job, fence, &back, outcome)
                    .await?
                    .ok_or(StoreError::Broken { what: "a job's fence moved under its subject's lock" })?
            }
        };
        if let Some(locked) = &locked {
            release(&mut tx, locked.company_id, locked.appointment_id).await?;
        }
        tx.commit().await?;
        Ok(Settled::Done { state, ring })
    }

    /// What was read is, or may be, a booking of this appointment.
    #[expect(clippy::too_many_arguments, reason = "one decision, everything it is made of")]
    async fn ours(
        &self,
        conn: &mut PgConnection,
        event: &Event,
        locked: &mut Locked,
        subject: &str,
        read: &Read,
        now: DateTime<Utc>,
        ring: &mut Vec<JobRef>,
    ) -> Result<Then, StoreError> {
        let ops = Ops::of(conn, locked).await?;
        if ops.open.is_some() {
            ring.extend(bring_forward(conn, locked).await?);
            return Ok(Then::Again { at: now + TimeDelta::seconds(1), outcome: "op_unresolved" });
        }
        if event.version != Some(locked.version) {
            return Ok(Then::Again { at: now, outcome: "promise_changed" });
        }
        let before = segment(conn, locked, subject).await?;
        let settled = ops.last_sent_at().is_none_or(|sent| sent + span(self.settings.quarantine) <= now);
        let read = without_stale(read, &ops.ended_bookings(), before.live.as_ref().map(|live| &live.uid));
        let job = (event.job.job_id, event.fence);
        let mut outcome = "nothing_new";
        let mut changed = false;
        match observe(locked.status, &before, &read, settled) {
            Observed::Same { awaits } => {
                if awaits != (before.sync == Sync::AwaitingConfirmation) {
                    let learnt = if awaits { Learnt::Awaits } else { Learnt::Differs };
                    locked.learn(conn, std::slice::from_ref(&before), None, learnt).await?;
                    outcome = if awaits { "awaits_confirmation" } else { "confirmed" };
                }
            }
            Observed::Changed(by) => {
                // A newer wish of the customer may not have come to Cal.com yet.
                let current = before.live.as_ref().is_none_or(|live| live.slot == before.promised.slot);
                outcome = match overtaken(conn, locked, &before, &by, current, job).await? {
                    Follows::Compare => "changed_by_others",
                    Follows::Held(reason) => reason,
                };
                changed = true;
            }
            Observed::Strange { why } => {
                if !before.held {
                    locked.hold(conn, &before, why).await?;
                }
                outcome = why;
            }
        }
        for booking in read.others(&before).filter(|booking| booking.lives()) {
            let about = reread(locked.company_id, booking, None);
            if let Noticed::New { ring: Some(job), .. } = note(conn, &about, JobId(Uuid::now_v7())).await? {
                ring.push(job);
            }
        }
        let after = segment(conn, locked, subject).await?;
        let spares = spares(&after, &read, after.live.as_ref().map(|live| &live.uid));
        if record_spares(conn, locked, after.no, &spares).await? > 0 {
            (outcome, changed) = ("spare_booking", true);
        }
        if locked.compare(conn, job).await? == Compared::Differ && changed {
            let fresh = JobId(Uuid::now_v7());
            let (company_id, about, version) = (locked.company_id, locked.appointment_id, locked.version);
            let (enqueued, due) = enqueue(conn, company_id, Kind::Sync, about, version, fresh).await?;
            ring.extend(due.then_some(enqueued.job));
        }
        Ok(Then::End(outcome))
    }

    /// What was read is nobody's appointment, or it bears a marker that only the reading has shown.
    async fn strangers(
        &self,
        conn: &mut PgConnection,
        event: &Event,
        read: &Read,
        ring: &mut Vec<JobRef>,
    ) -> Result<Then, StoreError> {
        let company_id = event.job.company_id;
        let ends: Vec<Booking> =
            read.bookings.iter().filter_map(|(_, chain)| chain.as_ref().map(|c| c.end().clone())).collect();
        for booking in ends.iter().filter(|b| b.marker.is_some()) {
            if let Some(about) = self.belongs(conn, company_id, booking).await? {
                if let Noticed::New { ring: Some(job), .. } = note(conn, &about, JobId(Uuid::now_v7())).await? {
                    ring.push(job);
                }
                return Ok(Then::End("ours_after_all"));
            }
        }
        let moved_away = read.bookings.iter().filter_map(|(_, chain)| chain.as_ref());
        let gone: Vec<Booking> = moved_away.filter(|c| !c.moves.is_empty()).map(|c| c.first.clone()).collect();
        let all: Vec<Booking> = gone.into_iter().chain(ends).collect();
        let mut news = note_external(conn, company_id, &all).await?;
        for (uid, _) in read.bookings.iter().filter(|(_, chain)| chain.is_none()) {
            news += not_busy(conn, company_id, uid).await?;
        }
        Ok(Then::End(if news > 0 { "others_time_noted" } else { "nothing_new" }))
    }

    /// A notice about one of our segments, if the booking's marker names one.
    async fn belongs(
        &self,
        conn: &mut PgConnection,
        company_id: i32,
        booking: &Booking,
    ) -> Result<Option<Notice>, StoreError> {
        let ours = sqlx::query_scalar!(
            "SELECT lineage FROM segment WHERE company_id = $1 AND lineage = $2",
            company_id,
            booking.marker
        )
        .fetch_optional(conn)
        .await?;
        Ok(ours.map(|lineage| reread(company_id, booking, Some(lineage))))
    }
}

/// A notice about a booking that turned out to be another subject's than its hint had said.
fn reread(company_id: i32, booking: &Booking, lineage: Option<Uuid>) -> Notice {
    Notice {
        company_id,
        source: HintSource::Sweep,
        body: format!("read {} {:?}", booking.uid.expose(), booking.status).into_bytes(),
        hint: Hint { uid: booking.uid.clone(), status: Some(booking.status.clone()), start: Some(booking.start) },
        replaces: booking.rescheduled_from.clone(),
        lineage,
        chain: booking.uid.expose().to_owned(),
    }
}

/// Is any hint ahead of what was read, or one reading of another? Then Cal.com, or its replica, has not got so far.
fn too_early(event: &Event, read: &Read) -> bool {
    read.is_torn() || event.hints.iter().any(|hint| hint.is_ahead_of(read.of(&hint.uid)))
}

/// Without the bookings that ops of ours have called off or moved: a replica may still show them as they were.
fn without_stale(read: &Read, ended: &[BookingUid], recorded: Option<&BookingUid>) -> Read {
    let stale = |uid: &BookingUid| ended.contains(uid) && Some(uid) != recorded;
    let fresh = |(uid, chain): &&(BookingUid, Option<Chain>)| {
        !stale(uid) && chain.as_ref().is_none_or(|chain| !stale(&chain.end().uid))
    };
    Read { bookings: read.bookings.iter().filter(fresh).cloned().collect() }
}
