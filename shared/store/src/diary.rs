//! Who is occupied when, as the booking transaction reads it: what is in the way of one wish, and what is free instead.
//!
//! Absent: the decision. The constraint `slots_no_overlap` has it; offers are advice.

use crate::error::StoreError;
use domain::hours::Diary;
use domain::id::AppointmentId;
use domain::slot::TimeRange;
use sqlx::PgConnection;

/// A member of staff who is not free for a wish.
pub(crate) struct Occupied {
    pub(crate) staff_id: i32,
    /// All that is in the way has been called off or moved away, and Cal.com is to let go of it: when that is known next.
    pub(crate) free_in_seconds: Option<u32>,
}

/// Ends the holds that have run out and says who of `staff` is occupied by anything but `own`. Their locks are held.
pub(crate) async fn occupied(
    conn: &mut PgConnection,
    company_id: i32,
    staff: &[i32],
    during: TimeRange,
    own: AppointmentId,
) -> Result<Vec<Occupied>, StoreError> {
    sqlx::query!(
        "UPDATE slot SET state = 'expired', token_hash = NULL, held_by = NULL, ended_at = clock_timestamp()
         WHERE company_id = $1 AND staff_id = ANY($2) AND during && tstzrange($3, $4) AND state = 'held'
           AND expires_at <= clock_timestamp()",
        company_id,
        staff,
        during.start(),
        during.end()
    )
    .execute(&mut *conn)
    .await?;
    in_the_way(conn, company_id, staff, during, own).await
}

/// Who of `staff` is occupied by anything but `own`. A hold that has run out is in nobody's way.
pub(crate) async fn in_the_way(
    conn: &mut PgConnection,
    company_id: i32,
    staff: &[i32],
    during: TimeRange,
    own: AppointmentId,
) -> Result<Vec<Occupied>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT b.staff_id AS "staff_id!", bool_and(b.leaves) AS "leaves!",
                  CEIL(EXTRACT(EPOCH FROM max(b.known_at) - clock_timestamp()))::bigint AS seconds FROM (
             SELECT s.staff_id,
                    COALESCE(s.state = 'booked'
                      AND (a.status IN ('cancelled', 'rejected') OR NOT EXISTS (
                             SELECT FROM segment g WHERE g.company_id = s.company_id
                               AND g.appointment_id = s.appointment_id AND g.slot_id = s.slot_id)), false) AS leaves,
                    (SELECT COALESCE(o.next_look_at, o.deadline_at) FROM calcom_op o
                     WHERE o.company_id = s.company_id AND o.appointment_id = s.appointment_id
                       AND o.resolved_at IS NULL) AS known_at
             FROM slot s LEFT JOIN appointment a USING (company_id, appointment_id)
             WHERE s.company_id = $1 AND s.staff_id = ANY($2) AND s.during && tstzrange($3, $4)
               AND s.state IN ('held', 'booked') AND s.appointment_id <> $5
               AND (s.state = 'booked' OR s.expires_at > clock_timestamp())
             UNION ALL
             SELECT staff_id, false, NULL FROM external_busy
             WHERE company_id = $1 AND staff_id = ANY($2) AND during && tstzrange($3, $4)) b
           GROUP BY b.staff_id"#,
        company_id,
        staff,
        during.start(),
        during.end(),
        own.0
    )
    .fetch_all(conn)
    .await?;
    let seconds = |r: Option<i64>| u32::try_from(r.unwrap_or(0).max(1)).unwrap_or(u32::MAX);
    let occupied = rows
        .into_iter()
        .map(|r| Occupied { staff_id: r.staff_id, free_in_seconds: r.leaves.then(|| seconds(r.seconds)) });
    Ok(occupied.collect())
}

/// What occupies each of `staff` within a time, in the order given.
pub(crate) async fn diaries(
    conn: &mut PgConnection,
    company_id: i32,
    staff: &[i32],
    within: TimeRange,
) -> Result<Vec<Diary>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT staff_id AS "staff_id!", lower(during) AS "starts_at!", upper(during) AS "ends_at!" FROM slot
           WHERE company_id = $1 AND staff_id = ANY($2) AND during && tstzrange($3, $4)
             AND state IN ('held', 'booked') AND (state = 'booked' OR expires_at > clock_timestamp())
           UNION ALL
           SELECT staff_id, lower(during), upper(during) FROM external_busy
           WHERE company_id = $1 AND staff_id = ANY($2) AND during && tstzrange($3, $4)"#,
        company_id,
        staff,
        within.start(),
        within.end()
    )
    .fetch_all(conn)
    .await?;
    let diary = |&staff_id: &i32| {
        let own = rows.iter().filter(|r| r.staff_id == staff_id);
        Diary { staff_id, busy: own.filter_map(|r| TimeRange::new(r.starts_at, r.ends_at)).collect() }
    };
    Ok(staff.iter().map(diary).collect())
}
