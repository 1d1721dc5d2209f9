//! What a claim reads: the subject with its lock, then, each in a statement after the lock, the job, the segments and
//! what was asked of Cal.com before. Deciding is the domain's.

use crate::JobRef;
use crate::calcom_key::{Row, rest};
use crate::claimed::Attendee;
use crate::due::Due;
use crate::error::StoreError;
use crate::promise::Locked;
use crate::secret::SecretKind;
use chrono::{DateTime, Utc};
use domain::answer::BookingUid;
use domain::budget::{Bucket, Rest, Terms};
use domain::effect::{EffectKind, Segment};
use domain::id::{AppointmentId, CustomerId, JobId, OpId};
use domain::job::{Kind, OpenOp, State};
use domain::outcome::Past;
use sqlx::PgConnection;
use uuid::Uuid;

/// An appointment whose row is locked, the job that is about it, and whom its booking names.
pub(crate) struct Subject {
    pub(crate) job: JobRef,
    pub(crate) locked: Locked,
    pub(crate) attendee: Attendee,
    /// The transaction that holds the lock, for a lost COMMIT.
    pub(crate) xid: String,
}

struct SubjectRow {
    job_id: Uuid,
    company_id: i32,
    appointment_id: Uuid,
    status: String,
    version: i32,
    starts_at: DateTime<Utc>,
    given_name: String,
    given_email: Option<String>,
    given_phone: Option<String>,
    time_zone: String,
    language: String,
    customer_id: Uuid,
    xid: String,
}

impl Subject {
    /// Waits for the appointment of a job that acts. `None`: there is no such job, or it is one whose locks begin
    /// elsewhere.
    pub(crate) async fn of(conn: &mut PgConnection, job: JobRef) -> Result<Option<Self>, StoreError> {
        let row = sqlx::query_as!(
            SubjectRow,
            r#"SELECT $2::uuid AS "job_id!", company_id, appointment_id, status, version, starts_at, given_name,
                      given_email, given_phone, time_zone, language, customer_id,
                      pg_current_xact_id()::text AS "xid!"
               FROM appointment WHERE company_id = $1 AND appointment_id =
                 (SELECT appointment_id FROM job WHERE company_id = $1 AND job_id = $2 AND kind IN ('booking', 'sync'))
               FOR NO KEY UPDATE"#,
            job.company_id,
            job.job_id.0
        )
        .fetch_optional(conn)
        .await?;
        row.map(Self::read).transpose()
    }

    /// Those whose appointment nobody has locked, in one sorted statement that waits for nobody.
    pub(crate) async fn free(conn: &mut PgConnection, due: &[Due]) -> Result<Vec<Self>, StoreError> {
        let companies: Vec<i32> = due.iter().map(|d| d.job.company_id).collect();
        let jobs: Vec<Uuid> = due.iter().map(|d| d.job.job_id.0).collect();
        let appointments: Vec<Option<Uuid>> = due.iter().map(|d| d.appointment_id.map(|id| id.0)).collect();
        let rows = sqlx::query_as!(
            SubjectRow,
            r#"SELECT d.job_id AS "job_id!", a.company_id, a.appointment_id, a.status, a.version, a.starts_at,
                      a.given_name, a.given_email, a.given_phone, a.time_zone, a.language, a.customer_id,
                      pg_current_xact_id()::text AS "xid!"
               FROM unnest($1::int[], $2::uuid[], $3::uuid[]) AS d (company_id, job_id, appointment_id)
               JOIN appointment a ON a.company_id = d.company_id AND a.appointment_id = d.appointment_id
               ORDER BY a.company_id, a.appointment_id FOR NO KEY UPDATE OF a SKIP LOCKED"#,
            &companies,
            &jobs,
            &appointments as &[Option<Uuid>]
        )
        .fetch_all(conn)
        .await?;
        rows.into_iter().map(Self::read).collect()
    }

    fn read(row: SubjectRow) -> Result<Self, StoreError> {
        let appointment_id = AppointmentId(row.appointment_id);
        let locked = Locked::read(row.company_id, appointment_id, &row.status, row.version, row.starts_at)?;
        let attendee = Attendee {
            name: row.given_name,
            email: row.given_email,
            phone_e164: row.given_phone,
            time_zone: row.time_zone,
            language: row.language,
            customer_id: CustomerId(row.customer_id),
        };
        Ok(Self {
            job: JobRef { company_id: row.company_id, job_id: JobId(row.job_id) },
            locked,
            attendee,
            xid: row.xid,
        })
    }
}

/// Everything that a claim decides on.
pub(crate) struct Found {
    pub(crate) waiting: Waiting,
    pub(crate) segments: Vec<Segment>,
    pub(crate) ops: Ops,
}

impl Found {
    /// `None`: the job does not wait any more, or is not due.
    pub(crate) async fn read(
        conn: &mut PgConnection,
        subject: &Subject,
        terms: Terms,
    ) -> Result<Option<Self>, StoreError> {
        let Some(waiting) = waiting(conn, subject.job, terms).await? else { return Ok(None) };
        let segments = subject.locked.segments(conn).await?;
        let ops = Ops::of(conn, &subject.locked).await?;
        Ok(Some(Self { waiting, segments, ops }))
    }

    pub(crate) fn segment(&self, no: i16) -> Result<&Segment, StoreError> {
        self.segments.iter().find(|g| g.no == no).ok_or(StoreError::Broken { what: "an op has no segment" })
    }
}

/// A job that is due, and the clock.
pub(crate) struct Waiting {
    pub(crate) kind: Kind,
    pub(crate) fence: i64,
    pub(crate) expected_version: Option<i32>,
    pub(crate) busy_until: Option<DateTime<Utc>>,
    pub(crate) rest: Rest,
    /// Of whom the turn that it has come upon should be.
    pub(crate) overtakes: Option<i32>,
    pub(crate) now: DateTime<Utc>,
}

pub(crate) async fn waiting(conn: &mut PgConnection, job: JobRef, terms: Terms) -> Result<Option<Waiting>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT j.kind, j.state, j.fence, j.expected_version, j.created_at, j.run_at <= clock_timestamp() AS "due!",
                  clock_timestamp() AS "now!",
                  (SELECT max(r.lease_until) FROM job r WHERE r.company_id = j.company_id AND r.subject = j.subject
                     AND r.state = 'running') AS busy_until,
                  k.second AS "second?", k.granted AS "granted?", k.paused_until, k.strikes AS "strikes?", k.struck_at,
                  k.next_probe_at, k.probes AS "probes?", k.probing AS "probing?", k.up_since
           FROM job j LEFT JOIN calcom_key k ON k.fingerprint =
             (SELECT s.fingerprint FROM company_secret s WHERE s.company_id = j.company_id AND s.kind = $3
              ORDER BY s.secret_id DESC LIMIT 1)
           WHERE j.company_id = $1 AND j.job_id = $2"#,
        job.company_id,
        job.job_id.0,
        SecretKind::Calcom.as_str()
    )
    .fetch_one(&mut *conn)
    .await?;
    let waits = State::parse(&row.state).is_some_and(State::waits);
    // A kind that only a newer release knows is that one's to claim.
    let Some(kind) = Kind::parse(&row.kind).filter(|_| waits && row.due) else { return Ok(None) };
    let bucket = Bucket::from(Row {
        fingerprint: None,
        second: row.second,
        granted: row.granted,
        paused_until: row.paused_until,
        strikes: row.strikes,
        struck_at: row.struck_at,
        next_probe_at: row.next_probe_at,
        probes: row.probes,
        probing: row.probing,
        up_since: row.up_since,
        now: row.now,
    });
    let (rest, overtakes) = rest(conn, terms, &bucket, (job, row.created_at, row.now)).await?;
    Ok(Some(Waiting {
        kind,
        fence: row.fence,
        expected_version: row.expected_version,
        busy_until: row.busy_until,
        rest,
        overtakes: overtakes.then_some(job.company_id),
        now: row.now,
    }))
}

/// What was asked of Cal.com for an appointment.
pub(crate) struct Ops {
    /// The one without an end.
    pub(crate) open: Option<FoundOp>,
    ended: Vec<EndedOp>,
}

/// The one op without an end.
pub(crate) struct FoundOp {
    pub(crate) op_id: OpId,
    pub(crate) kind: EffectKind,
    pub(crate) segment_no: i16,
    pub(crate) sent_at: DateTime<Utc>,
    pub(crate) starts_at: Option<DateTime<Utc>>,
    pub(crate) event_type_id: Option<i64>,
    pub(crate) target: Option<BookingUid>,
    pub(crate) answered: Option<u16>,
    pub(crate) evidence: Option<BookingUid>,
    pub(crate) open: OpenOp,
}

struct EndedOp {
    segment_no: i16,
    looked_for: bool,
    applied: bool,
    sent_at: DateTime<Utc>,
    uid: Option<BookingUid>,
    target: Option<BookingUid>,
}

impl Ops {
    pub(crate) async fn of(conn: &mut PgConnection, locked: &Locked) -> Result<Self, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT o.op_id, o.kind, o.segment_no, o.sent_at, o.starts_at, o.event_type_id, o.target_uid,
                      o.answered_status, o.next_look_at, o.looks, o.uid, o.resolved_at IS NULL AS "is_open!",
                      o.state = 'applied' AS "applied!",
                      COALESCE((SELECT h.fence = o.fence FROM job h
                                WHERE h.company_id = o.company_id AND h.job_id = o.job_id), false) AS "owned!"
               FROM calcom_op o WHERE o.company_id = $1 AND o.appointment_id = $2"#,
            locked.company_id,
            locked.appointment_id.0
        )
        .fetch_all(conn)
        .await?;
        let mut ops = Self { open: None, ended: Vec::new() };
        for r in rows {
            if !r.is_open {
                ops.ended.push(EndedOp {
                    segment_no: r.segment_no,
                    looked_for: r.looks > 0,
                    applied: r.applied,
                    sent_at: r.sent_at,
                    uid: r.uid.map(BookingUid::from),
                    target: r.target_uid.map(BookingUid::from),
                });
                continue;
            }
            ops.open = Some(FoundOp {
                op_id: OpId(r.op_id),
                kind: EffectKind::parse(&r.kind).ok_or(StoreError::Broken { what: "an op has an unknown kind" })?,
                segment_no: r.segment_no,
                sent_at: r.sent_at,
                starts_at: r.starts_at,
                event_type_id: r.event_type_id,
                target: r.target_uid.map(BookingUid::from),
                answered: r.answered_status.and_then(|s| u16::try_from(s).ok()),
                evidence: r.uid.map(BookingUid::from),
                open: OpenOp { owned: r.owned, next_look_at: r.next_look_at },
            });
        }
        Ok(ops)
    }

    /// Was the outcome of any earlier op of this segment unclear?
    pub(crate) fn past(&self, segment_no: i16) -> Past {
        let unclear = self.ended.iter().any(|op| op.segment_no == segment_no && op.looked_for);
        if unclear { Past::Ambiguous } else { Past::Clean }
    }

    /// The bookings that the earlier ops of this segment have made.
    pub(crate) fn made(&self, segment_no: i16) -> Vec<BookingUid> {
        let of_it = self.ended.iter().filter(|op| op.segment_no == segment_no);
        of_it.filter_map(|op| op.uid.clone()).collect()
    }

    /// The bookings that the earlier ops of this segment have called off or moved, or have tried to.
    pub(crate) fn aimed_at(&self, segment_no: i16) -> Vec<BookingUid> {
        let of_it = self.ended.iter().filter(|op| op.segment_no == segment_no);
        of_it.filter_map(|op| op.target.clone()).collect()
    }

    /// The bookings that ops have called off or moved.
    pub(crate) fn ended_bookings(&self) -> Vec<BookingUid> {
        self.ended.iter().filter(|op| op.applied).filter_map(|op| op.target.clone()).collect()
    }

    /// When the last request of the appointment may have gone out; `None` = none ever has.
    pub(crate) fn last_sent_at(&self) -> Option<DateTime<Utc>> {
        self.ended.iter().map(|op| op.sent_at).max()
    }
}
