//! Time that bookings of others take at Cal.com: written under the lock of the staff member, under which accept reads it.

use crate::Store;
use crate::accept::lock_staff;
use crate::error::StoreError;
use crate::overtaken::policy;
use crate::promise::Locked;
use domain::answer::{Booking, BookingUid};
use domain::id::AppointmentId;
use domain::observe::ExternalChanges;
use sqlx::PgConnection;
use uuid::Uuid;

impl Store {
    /// Notes what was read of bookings that are none of ours. Returns how many of them were news.
    ///
    /// # Errors
    /// Postgres is away, or its locks were held too long.
    pub async fn note_external(&self, company_id: i32, bookings: &[Booking]) -> Result<usize, StoreError> {
        if bookings.is_empty() {
            return Ok(0);
        }
        self.retrying("note_external", || async {
            let mut tx = self.pool.begin().await?;
            let news = note_external(&mut tx, company_id, bookings).await?;
            tx.commit().await?;
            Ok(news)
        })
        .await
    }

    /// Forgets busy times of bookings to come that a complete list, begun at `began`, does not have. Returns how many.
    ///
    /// # Errors
    /// As [`Store::note_external`].
    pub async fn forget_external(
        &self,
        company_id: i32,
        listed: &[Booking],
        began: chrono::DateTime<chrono::Utc>,
    ) -> Result<u64, StoreError> {
        let uids: Vec<String> = listed.iter().map(|b| b.uid.expose().to_owned()).collect();
        let gone = sqlx::query!(
            "DELETE FROM external_busy WHERE company_id = $1 AND calcom_uid <> ALL($2) AND lower(during) > clock_timestamp()
               AND seen_at < $3",
            company_id,
            &uids,
            began
        )
        .execute(&self.pool)
        .await?;
        Ok(gone.rows_affected())
    }
}

/// Locks staff, then the appointments that are in the way.
pub(crate) async fn note_external(
    conn: &mut PgConnection,
    company_id: i32,
    bookings: &[Booking],
) -> Result<usize, StoreError> {
    let hosts: Vec<i64> = bookings.iter().filter_map(|b| b.host_id).collect();
    let staff = sqlx::query!(
        "SELECT staff_id, calcom_user_id FROM staff WHERE company_id = $1 AND calcom_user_id = ANY($2) ORDER BY staff_id",
        company_id,
        &hosts
    )
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<i32> = staff.iter().map(|s| s.staff_id).collect();
    lock_staff(conn, company_id, &ids).await?;
    let mut news = 0;
    for booking in bookings {
        if let Some(from) = &booking.rescheduled_from {
            news += not_busy(conn, company_id, from).await?;
        }
        let host = staff.iter().find(|s| booking.lives() && Some(s.calcom_user_id) == booking.host_id);
        news += match host {
            Some(host) => usize::from(busy(conn, company_id, host.staff_id, booking).await?),
            None => not_busy(conn, company_id, &booking.uid).await?,
        };
    }
    Ok(news)
}

/// True = this is news, and whoever was promised that time has been put before a person.
async fn busy(conn: &mut PgConnection, company_id: i32, staff_id: i32, booking: &Booking) -> Result<bool, StoreError> {
    let written = sqlx::query!(
        "INSERT INTO external_busy AS b (company_id, calcom_uid, staff_id, during)
         VALUES ($1, $2, $3, tstzrange($4, $5, '[)'))
         ON CONFLICT ON CONSTRAINT one_busy_time_per_booking DO UPDATE
           SET staff_id = EXCLUDED.staff_id, during = EXCLUDED.during, seen_at = clock_timestamp()
           WHERE (b.staff_id, b.during) IS DISTINCT FROM (EXCLUDED.staff_id, EXCLUDED.during)",
        company_id,
        booking.uid.expose(),
        staff_id,
        booking.start,
        booking.end
    )
    .execute(&mut *conn)
    .await?;
    let news = written.rows_affected() == 1;
    if news && policy(conn, company_id).await? != ExternalChanges::OursWins {
        conflicts(conn, company_id, staff_id, booking).await?;
    }
    Ok(news)
}

/// A booking that is not there any more, or was moved: one booking takes one time.
pub(crate) async fn not_busy(conn: &mut PgConnection, company_id: i32, uid: &BookingUid) -> Result<usize, StoreError> {
    let gone =
        sqlx::query!("DELETE FROM external_busy WHERE company_id = $1 AND calcom_uid = $2", company_id, uid.expose())
            .execute(conn)
            .await?;
    Ok(usize::from(gone.rows_affected() == 1))
}

/// An appointment that Cal.com has confirmed, at a time that Cal.com has also given to somebody else. One that is not
/// confirmed yet will be refused, and one that is promised elsewhere by now will leave.
async fn conflicts(
    conn: &mut PgConnection,
    company_id: i32,
    staff_id: i32,
    booking: &Booking,
) -> Result<(), StoreError> {
    let appointments: Vec<Uuid> = sqlx::query_scalar!(
        "SELECT DISTINCT s.appointment_id FROM slot s
         JOIN segment g ON g.company_id = s.company_id AND g.appointment_id = s.appointment_id
                       AND g.calcom_slot_id = s.slot_id
         WHERE s.company_id = $1 AND s.staff_id = $2 AND s.during && tstzrange($3, $4, '[)') AND s.state = 'booked'
         ORDER BY s.appointment_id",
        company_id,
        staff_id,
        booking.start,
        booking.end
    )
    .fetch_all(&mut *conn)
    .await?;
    for appointment_id in appointments {
        let Some(locked) = Locked::wait_for(conn, company_id, AppointmentId(appointment_id)).await? else { continue };
        if locked.status.wants_booking() != Some(true) {
            continue;
        }
        let taken = |segment: &&domain::effect::Segment| {
            let stays = segment.live.as_ref().filter(|live| live.slot == segment.promised.slot).map(|live| live.during);
            !segment.held && stays.is_some_and(|at| at.start() < booking.end && booking.start < at.end())
        };
        for segment in locked.segments(conn).await?.iter().filter(taken) {
            locked.hold(conn, segment, "conflict").await?;
        }
    }
    Ok(())
}
