//! The appointment under its lock: what the transaction that holds it read, and the few ways to change it.
//!
//! Whoever locks an appointment reads everything it acts on afterwards, in later statements: a single statement that
//! locks and reads other tables would see them as they were before the wait.

use crate::error::StoreError;
use chrono::{DateTime, TimeDelta, Utc};
use domain::answer::BookingUid;
use domain::appointment::{Change, Learnt, Status, Sync};
use domain::effect::{Live, Promised, Segment, next_effect};
use domain::id::{AppointmentId, JobId, Lineage, SlotId};
use domain::job::confirms;
use domain::money::Money;
use domain::slot::TimeRange;
use sqlx::PgConnection;
use uuid::Uuid;

/// An appointment whose row this transaction has locked.
pub(crate) struct Locked {
    pub(crate) company_id: i32,
    pub(crate) appointment_id: AppointmentId,
    pub(crate) status: Status,
    pub(crate) version: i32,
    pub(crate) starts_at: DateTime<Utc>,
    /// What the policies have said about the change that comes next; it goes into that change's history row.
    pub(crate) ruled: Option<Ruled>,
}

/// A change that the policies allow.
#[derive(Clone, Copy)]
pub(crate) struct Ruled {
    /// The company's newest number.
    pub(crate) policy_version: i32,
    pub(crate) fee: Option<Money>,
    /// The moment that was decided about: the history's, so that the decision can be made again from it.
    pub(crate) at: DateTime<Utc>,
}

/// Promise and Cal.com.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Compared {
    /// Nothing is left to do.
    Agree,
    /// Something is.
    Differ,
    /// A person decides.
    Held,
}

/// Who changes a promise, for its history.
pub(crate) struct Cause<'a> {
    pub(crate) who: &'a str,
    pub(crate) why: Option<&'a str>,
    pub(crate) job: Option<(JobId, i64)>,
}

impl Locked {
    /// Waits for the row. `None`: there is no such appointment.
    pub(crate) async fn wait_for(
        conn: &mut PgConnection,
        company_id: i32,
        appointment_id: AppointmentId,
    ) -> Result<Option<Self>, StoreError> {
        let row = sqlx::query!(
            "SELECT status, version, starts_at FROM appointment WHERE company_id = $1 AND appointment_id = $2
             FOR NO KEY UPDATE",
            company_id,
            appointment_id.0
        )
        .fetch_optional(conn)
        .await?;
        row.map(|r| Self::read(company_id, appointment_id, &r.status, r.version, r.starts_at)).transpose()
    }

    /// As `wait_for`, but somebody else's lock is an answer: `None`.
    pub(crate) async fn unless_locked(
        conn: &mut PgConnection,
        company_id: i32,
        appointment_id: AppointmentId,
    ) -> Result<Option<Self>, StoreError> {
        let row = sqlx::query!(
            "SELECT status, version, starts_at FROM appointment WHERE company_id = $1 AND appointment_id = $2
             FOR NO KEY UPDATE SKIP LOCKED",
            company_id,
            appointment_id.0
        )
        .fetch_optional(conn)
        .await?;
        row.map(|r| Self::read(company_id, appointment_id, &r.status, r.version, r.starts_at)).transpose()
    }

    pub(crate) fn read(
        company_id: i32,
        appointment_id: AppointmentId,
        status: &str,
        version: i32,
        starts_at: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        let status =
            Status::parse(status).ok_or(StoreError::Broken { what: "an appointment has an unknown status" })?;
        Ok(Self { company_id, appointment_id, status, version, starts_at, ruled: None })
    }

    /// Its segments, by number.
    pub(crate) async fn segments(&self, conn: &mut PgConnection) -> Result<Vec<Segment>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT g.segment_no, g.lineage, g.event_type_id, g.slot_id, g.calcom_uid, g.calcom_slot_id, g.sync,
                      lower(p.during) AS "starts_at!", upper(p.during) AS "ends_at!",
                      lower(l.during) AS live_starts_at, upper(l.during) AS live_ends_at,
                      (SELECT s.calcom_user_id FROM staff s WHERE s.company_id = g.company_id
                         AND s.staff_id = g.staff_id) AS "host_id!",
                      ARRAY(SELECT b.calcom_uid FROM spare_booking b WHERE b.company_id = g.company_id
                              AND b.appointment_id = g.appointment_id AND b.segment_no = g.segment_no
                              AND b.gone_at IS NULL ORDER BY b.found_at) AS "spares!",
                      COALESCE(g.held_version = $3, false) AS "held!"
               FROM segment g JOIN slot p USING (company_id, appointment_id, slot_id)
                    LEFT JOIN slot l ON l.company_id = g.company_id AND l.appointment_id = g.appointment_id
                                    AND l.slot_id = g.calcom_slot_id
               WHERE g.company_id = $1 AND g.appointment_id = $2 ORDER BY g.segment_no"#,
            self.company_id,
            self.appointment_id.0,
            self.version
        )
        .fetch_all(conn)
        .await?;
        rows.into_iter()
            .map(|r| {
                let during = TimeRange::new(r.starts_at, r.ends_at);
                let during = during.ok_or(StoreError::Broken { what: "a slot is empty" })?;
                let sync = Sync::parse(&r.sync).ok_or(StoreError::Broken { what: "a segment has an unknown sync" })?;
                let stands = r.live_starts_at.zip(r.live_ends_at).and_then(|(from, to)| TimeRange::new(from, to));
                let live = match (r.calcom_uid, r.calcom_slot_id, stands) {
                    (Some(uid), Some(slot), Some(during)) => {
                        Some(Live { uid: BookingUid::from(uid), slot: SlotId(slot), during })
                    }
                    (None, None, None) => None,
                    (_, _, _) => return Err(StoreError::Broken { what: "a segment has half a booking" }),
                };
                let slot = SlotId(r.slot_id);
                let promised = Promised { slot, during, event_type_id: r.event_type_id, host_id: r.host_id };
                let spares = r.spares.into_iter().map(BookingUid::from).collect();
                Ok(Segment {
                    no: r.segment_no,
                    lineage: Lineage(r.lineage),
                    promised,
                    live,
                    spares,
                    sync,
                    held: r.held,
                })
            })
            .collect()
    }

    /// Changes the promise by the table, with its one history row. The version is the one read under this lock.
    pub(crate) async fn change(
        &mut self,
        conn: &mut PgConnection,
        change: Change,
        cause: Cause<'_>,
    ) -> Result<(), StoreError> {
        let illegal = StoreError::Broken { what: "a worker tried an illegal change of a promise" };
        let to = self.status.after(change).map_err(|_| illegal)?;
        let ruled = self.ruled.take();
        let fee = ruled.and_then(|r| r.fee);
        let changed = sqlx::query!(
            "WITH a AS (
               UPDATE appointment SET status = $3, version = version + 1
               WHERE company_id = $1 AND appointment_id = $2 AND version = $4 AND status = $5 RETURNING version)
             INSERT INTO appointment_event
               (company_id, appointment_id, version, what, from_status, to_status, who, why, job_id, fence,
                policy_version, fee_minor, fee_currency, at)
             SELECT $1, $2, a.version, $3, $5, $3, $6, $7, $8, $9, $10, $11, $12, COALESCE($13, clock_timestamp()) FROM a",
            self.company_id,
            self.appointment_id.0,
            to.as_str(),
            self.version,
            self.status.as_str(),
            cause.who,
            cause.why,
            cause.job.map(|(job, _)| job.0),
            cause.job.map(|(_, fence)| fence),
            ruled.map(|r| r.policy_version),
            fee.map(|fee| i64::from(fee.minor)),
            fee.as_ref().map(|fee| fee.currency.as_str()),
            ruled.map(|r| r.at),
        )
        .execute(conn)
        .await?
        .rows_affected();
        if changed != 1 {
            return Err(StoreError::Broken { what: "an appointment changed under its own lock" });
        }
        (self.status, self.version) = (to, self.version + 1);
        Ok(())
    }

    /// Moves a promise of one segment to another slot, with its one history row.
    pub(crate) async fn move_to(
        &mut self,
        conn: &mut PgConnection,
        to: (SlotId, TimeRange),
        what: &str,
        cause: Cause<'_>,
    ) -> Result<(), StoreError> {
        let illegal = StoreError::Broken { what: "an appointment was moved that cannot be" };
        let status = self.status.after(Change::Move).map_err(|_| illegal)?;
        let (slot, during) = to;
        let ruled = self.ruled.take();
        let fee = ruled.and_then(|r| r.fee);
        let changed = sqlx::query!(
            "WITH a AS (
               UPDATE appointment SET starts_at = $4, ends_at = $5, version = version + 1
               WHERE company_id = $1 AND appointment_id = $2 AND version = $3 AND status = $6 RETURNING version),
             g AS (
               UPDATE segment SET slot_id = $7 FROM a WHERE company_id = $1 AND appointment_id = $2 AND segment_no = 1)
             INSERT INTO appointment_event
               (company_id, appointment_id, version, what, from_status, to_status, who, why, job_id, fence,
                policy_version, fee_minor, fee_currency, at)
             SELECT $1, $2, a.version, $8, $6, $6, $9, $10, $11, $12, $13, $14, $15, COALESCE($16, clock_timestamp())
             FROM a",
            self.company_id,
            self.appointment_id.0,
            self.version,
            during.start(),
            during.end(),
            status.as_str(),
            slot.0,
            what,
            cause.who,
            cause.why,
            cause.job.map(|(job, _)| job.0),
            cause.job.map(|(_, fence)| fence),
            ruled.map(|r| r.policy_version),
            fee.map(|fee| i64::from(fee.minor)),
            fee.as_ref().map(|fee| fee.currency.as_str()),
            ruled.map(|r| r.at),
        )
        .execute(conn)
        .await?
        .rows_affected();
        if changed != 1 {
            return Err(StoreError::Broken { what: "an appointment changed under its own lock" });
        }
        (self.status, self.version, self.starts_at) = (status, self.version + 1, during.start());
        Ok(())
    }

    /// Writes what was learnt of every segment (`only` = of this one).
    pub(crate) async fn learn(
        &self,
        conn: &mut PgConnection,
        segments: &[Segment],
        only: Option<i16>,
        learnt: Learnt,
    ) -> Result<(), StoreError> {
        for segment in segments.iter().filter(|g| only.is_none_or(|no| no == g.no)) {
            let sync = segment.sync.after(learnt);
            if sync == segment.sync {
                continue;
            }
            sqlx::query!(
                "UPDATE segment SET sync = $4 WHERE company_id = $1 AND appointment_id = $2 AND segment_no = $3",
                self.company_id,
                self.appointment_id.0,
                segment.no,
                sync.as_str()
            )
            .execute(&mut *conn)
            .await?;
        }
        Ok(())
    }

    /// With no op unresolved: writes whether Cal.com agrees, and confirms a request that it does.
    pub(crate) async fn compare(&mut self, conn: &mut PgConnection, job: (JobId, i64)) -> Result<Compared, StoreError> {
        let segments = self.segments(conn).await?;
        if next_effect(self.status, &segments).is_some() {
            self.learn(conn, &segments, None, Learnt::Differs).await?;
            return Ok(Compared::Differ);
        }
        if segments.iter().any(|segment| segment.held) {
            return Ok(Compared::Held);
        }
        if confirms(self.status, &segments) {
            let cause = Cause { who: "calcom", why: None, job: Some(job) };
            self.change(conn, Change::Confirm, cause).await?;
        }
        let settled: Vec<Segment> = segments.into_iter().filter(|g| g.sync != Sync::AwaitingConfirmation).collect();
        self.learn(conn, &settled, None, Learnt::Agrees).await?;
        Ok(Compared::Agree)
    }

    /// A person must decide: for this version of the promise nothing is done with the segment's booking any more.
    pub(crate) async fn hold(
        &self,
        conn: &mut PgConnection,
        segment: &Segment,
        reason: &str,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE segment SET held_version = $4, sync = $5
             WHERE company_id = $1 AND appointment_id = $2 AND segment_no = $3",
            self.company_id,
            self.appointment_id.0,
            segment.no,
            self.version,
            segment.sync.after(Learnt::Stuck).as_str()
        )
        .execute(&mut *conn)
        .await?;
        self.call_back(conn, reason).await
    }

    /// A person has decided: what follows from the promise may be done again.
    pub(crate) async fn free(&self, conn: &mut PgConnection) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE segment SET held_version = NULL WHERE company_id = $1 AND appointment_id = $2",
            self.company_id,
            self.appointment_id.0
        )
        .execute(conn)
        .await?;
        Ok(())
    }

    /// A person must ring the customer, or look.
    pub(crate) async fn call_back(&self, conn: &mut PgConnection, reason: &str) -> Result<(), StoreError> {
        sqlx::query!(
            "INSERT INTO callback_request (company_id, callback_id, appointment_id, reason) VALUES ($1, $2, $3, $4)",
            self.company_id,
            Uuid::now_v7(),
            self.appointment_id.0,
            reason
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// The database's clock: the only one that two processes compare.
pub(crate) async fn database_now(conn: &mut PgConnection) -> Result<DateTime<Utc>, StoreError> {
    Ok(sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(conn).await?)
}

/// A duration of the settings as the database's arithmetic wants it.
pub(crate) fn span(duration: std::time::Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
