//! The inbox: hints that something has happened to a booking at Cal.com, from a webhook or from the sweep. Each is kept
//! once, and each makes the job of its booking's lineage necessary.
//!
//! Deliberately absent: the appointment's lock. Cal.com sends its webhooks inside our own requests and waits for the
//! answer.

use crate::enqueue::enqueue_about;
use crate::error::StoreError;
use crate::{JobRef, Store};
use chrono::{DateTime, Utc};
use domain::answer::{BookingStatus, BookingUid};
use domain::id::{AppointmentId, JobId};
use domain::job::Kind;
use domain::observe::Hint;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

/// Where a hint comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HintSource {
    /// Cal.com sent it.
    Webhook,
    /// We read it in a list.
    Sweep,
}

impl HintSource {
    fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "calcom",
            Self::Sweep => "sweep",
        }
    }
}

/// Something may have happened to a booking.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Whose Cal.com.
    pub company_id: i32,
    /// From where.
    pub source: HintSource,
    /// As it came; the same bytes again are the same notice.
    pub body: Vec<u8>,
    /// Which booking, and what is said of it.
    pub hint: Hint,
    /// The booking that it replaced.
    pub replaces: Option<BookingUid>,
    /// The segment that its marker names, if the marker's MAC is valid.
    pub lineage: Option<Uuid>,
    /// What stays the same along a chain of foreign bookings: their `iCalUID`, else the uid.
    pub chain: String,
}

/// What came of a notice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Noticed {
    /// Kept.
    New {
        /// It reads the booking.
        job: JobRef,
        /// To be rung, unless it was told to wait.
        ring: Option<JobRef>,
    },
    /// The same was here before.
    Known,
}

/// Whose job reads a booking.
struct About {
    subject: String,
    appointment_id: Option<AppointmentId>,
}

impl Store {
    /// Keeps a notice and makes its job necessary, in one transaction that waits for no appointment.
    ///
    /// # Errors
    /// Postgres is away: whoever sent it may send it again, and the sweep finds what it was about.
    pub async fn take_notice(&self, notice: &Notice) -> Result<Noticed, StoreError> {
        let fresh = JobId(Uuid::now_v7());
        self.retrying("take_notice", || async {
            let mut tx = self.pool.begin().await?;
            let noticed = note(&mut tx, notice, fresh).await?;
            tx.commit().await?;
            Ok(noticed)
        })
        .await
    }
}

/// As [`Store::take_notice`], inside a transaction.
pub(crate) async fn note(conn: &mut PgConnection, notice: &Notice, fresh: JobId) -> Result<Noticed, StoreError> {
    let about = about(conn, notice).await?;
    let kept = sqlx::query!(
        "INSERT INTO webhook_inbox (company_id, body_hash, source, body, subject, calcom_uid, said_status, said_start)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT ON CONSTRAINT one_inbox_row_per_body DO NOTHING",
        notice.company_id,
        &Sha256::digest(&notice.body)[..],
        notice.source.as_str(),
        notice.body,
        about.subject,
        notice.hint.uid.expose(),
        notice.hint.status.as_ref().map(BookingStatus::as_str),
        notice.hint.start
    )
    .execute(&mut *conn)
    .await?;
    if kept.rows_affected() == 0 {
        return Ok(Noticed::Known);
    }
    let kind = Kind::CalcomEvent;
    let (enqueued, due) =
        enqueue_about(conn, notice.company_id, kind, &about.subject, about.appointment_id, None, fresh).await?;
    Ok(Noticed::New { job: enqueued.job, ring: due.then_some(enqueued.job) })
}

/// Ours, if the marker says so, or if we have recorded this booking, the one that it replaced or the first of its chain;
/// else a stranger's.
async fn about(conn: &mut PgConnection, notice: &Notice) -> Result<About, StoreError> {
    let named = [Some(&notice.hint.uid), notice.replaces.as_ref()].into_iter().flatten().map(BookingUid::expose);
    // Cal.com makes an iCalUID of the first booking's uid, and keeps it along all moves.
    let first = notice.chain.split('@').next();
    let uids: Vec<String> = named.chain(first).map(str::to_owned).collect();
    let ours = sqlx::query!(
        "SELECT lineage, appointment_id FROM segment WHERE company_id = $1 AND lineage = $2
         UNION ALL
         SELECT lineage, appointment_id FROM segment WHERE company_id = $1 AND calcom_uid = ANY($3)
         UNION ALL
         SELECT g.lineage, g.appointment_id FROM calcom_op o JOIN segment g USING (company_id, appointment_id, segment_no)
         WHERE o.company_id = $1 AND o.uid = ANY($3) LIMIT 1",
        notice.company_id,
        notice.lineage,
        &uids
    )
    .fetch_optional(conn)
    .await?;
    Ok(match ours.and_then(|r| r.lineage.zip(r.appointment_id)) {
        Some((lineage, appointment_id)) => {
            About { subject: lineage.to_string(), appointment_id: Some(AppointmentId(appointment_id)) }
        }
        None => {
            let hash = Sha256::digest(notice.chain.as_bytes());
            About { subject: hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect(), appointment_id: None }
        }
    })
}

/// A hint that has not been acted on.
pub(crate) struct Unapplied {
    pub(crate) body_hash: Vec<u8>,
    pub(crate) hint: Hint,
}

/// The unapplied hints of a subject, oldest first.
pub(crate) async fn unapplied(
    conn: &mut PgConnection,
    company_id: i32,
    subject: &str,
) -> Result<Vec<Unapplied>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT body_hash, calcom_uid AS "calcom_uid!", said_status, said_start FROM webhook_inbox
           WHERE company_id = $1 AND subject = $2 AND applied_at IS NULL ORDER BY received_at"#,
        company_id,
        subject
    )
    .fetch_all(conn)
    .await?;
    let read = |status: Option<String>| status.map(|word| BookingStatus::read(&word));
    Ok(rows
        .into_iter()
        .map(|r| Unapplied {
            body_hash: r.body_hash,
            hint: Hint {
                uid: BookingUid::from(r.calcom_uid),
                status: read(r.said_status),
                start: r.said_start.map(|at: DateTime<Utc>| at),
            },
        })
        .collect())
}

/// They have led to what they were to lead to.
pub(crate) async fn applied(conn: &mut PgConnection, company_id: i32, hints: &[Unapplied]) -> Result<(), StoreError> {
    let hashes: Vec<Vec<u8>> = hints.iter().map(|hint| hint.body_hash.clone()).collect();
    sqlx::query!(
        "UPDATE webhook_inbox SET applied_at = clock_timestamp() WHERE company_id = $1 AND body_hash = ANY($2)",
        company_id,
        &hashes
    )
    .execute(conn)
    .await?;
    Ok(())
}
