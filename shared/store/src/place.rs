//! The place of a wish: who does the service there, its hours and length, and the clock.
//!
//! Absent: locks. A booking calls this under the staff's locks and decides; without them it is advice.

use crate::diary::Occupied;
use crate::error::StoreError;
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use domain::hours::{Hours, Offer, Opening};
use domain::refusal::Refusal;
use domain::slot::TimeRange;
use sqlx::PgConnection;

/// The catalog and the clock, read after the staff's locks.
pub(crate) struct Place {
    pub(crate) hours: Hours,
    pub(crate) minutes: u16,
    pub(crate) minimum_minutes: u16,
    pub(crate) now: DateTime<Utc>,
    /// For a lost COMMIT.
    pub(crate) xid: String,
    /// Who may do it, by id, and with which event type.
    pub(crate) hosts: Vec<(i32, i64)>,
}

/// Which place.
#[derive(Clone, Copy)]
pub(crate) struct Spot {
    pub(crate) company_id: i32,
    pub(crate) branch_id: i32,
    pub(crate) service_id: i32,
    /// With whom; `None` = anybody.
    pub(crate) staff_id: Option<i32>,
}

impl Place {
    /// Nobody may start before it.
    pub(crate) fn earliest(&self) -> DateTime<Utc> {
        self.now + TimeDelta::minutes(self.minimum_minutes.into())
    }
}

/// All who do this service at this branch, and those of them who are wanted; both by id.
pub(crate) async fn qualified(
    conn: &mut PgConnection,
    spot: Spot,
) -> Result<Result<(Vec<i32>, Vec<i32>), Refusal>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT EXISTS (SELECT FROM branch
                          WHERE company_id = $1 AND branch_id = $2 AND retired_at IS NULL) AS "branch_exists!",
                  ARRAY(SELECT e.staff_id FROM event_type e JOIN staff f USING (company_id, staff_id)
                        WHERE e.company_id = $1 AND e.branch_id = $2 AND e.service_id = $3 AND f.retired_at IS NULL
                        ORDER BY e.staff_id) AS "staff!""#,
        spot.company_id,
        spot.branch_id,
        spot.service_id
    )
    .fetch_one(conn)
    .await?;
    Ok(match spot.staff_id {
        _ if !row.branch_exists => Err(Refusal::UnknownBranch),
        _ if row.staff.is_empty() => Err(Refusal::UnknownService),
        None => Ok((row.staff.clone(), row.staff)),
        Some(staff_id) if row.staff.contains(&staff_id) => Ok((row.staff, vec![staff_id])),
        Some(_) => Err(Refusal::UnknownStaff),
    })
}

/// The catalog as it is under the staff's locks, and the time. `None`: the service is gone meanwhile.
pub(crate) async fn read_place(
    conn: &mut PgConnection,
    spot: Spot,
    staff: &[i32],
) -> Result<Option<Place>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT b.time_zone, v.duration_minutes, v.minimum_notice_minutes, clock_timestamp() AS "now!",
                  pg_current_xact_id()::text AS "xid!",
                  ARRAY(SELECT weekday FROM branch_opening o WHERE o.company_id = $1 AND o.branch_id = $2
                        ORDER BY weekday, opens) AS "weekdays!",
                  ARRAY(SELECT opens FROM branch_opening o WHERE o.company_id = $1 AND o.branch_id = $2
                        ORDER BY weekday, opens) AS "opens!: Vec<NaiveTime>",
                  ARRAY(SELECT closes FROM branch_opening o WHERE o.company_id = $1 AND o.branch_id = $2
                        ORDER BY weekday, opens) AS "closes!: Vec<NaiveTime>",
                  ARRAY(SELECT staff_id FROM event_type e WHERE e.company_id = $1 AND e.branch_id = $2
                          AND e.service_id = $3 AND e.staff_id = ANY($4) ORDER BY staff_id) AS "staff!",
                  ARRAY(SELECT event_type_id FROM event_type e WHERE e.company_id = $1 AND e.branch_id = $2
                          AND e.service_id = $3 AND e.staff_id = ANY($4) ORDER BY staff_id) AS "event_types!"
           FROM branch b JOIN service v USING (company_id)
           WHERE b.company_id = $1 AND b.branch_id = $2 AND v.service_id = $3
             AND b.retired_at IS NULL AND v.retired_at IS NULL"#,
        spot.company_id,
        spot.branch_id,
        spot.service_id,
        staff
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row.filter(|r| !r.staff.is_empty()) else { return Ok(None) };
    let openings = row.weekdays.iter().zip(row.opens).zip(row.closes).map(|((&day, opens), closes)| {
        let weekday = u8::try_from(day).map_err(|_| StoreError::Broken { what: "a weekday is none" })?;
        Ok(Opening { weekday, opens, closes })
    });
    let short = |minutes: i32| u16::try_from(minutes).map_err(|_| StoreError::Broken { what: "a length is none" });
    Ok(Some(Place {
        hours: Hours {
            time_zone: row.time_zone.parse().map_err(|_| StoreError::Broken { what: "a time zone is unknown" })?,
            openings: openings.collect::<Result<_, StoreError>>()?,
        },
        minutes: short(row.duration_minutes)?,
        minimum_minutes: short(row.minimum_notice_minutes)?,
        now: row.now,
        xid: row.xid,
        hosts: row.staff.into_iter().zip(row.event_types).collect(),
    }))
}

/// Why not; becomes a refusal when its offers are known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum No {
    Past,
    Soon,
    Closed,
    Taken,
    BeingReleased { seconds: u32 },
}

impl No {
    /// All of them are occupied: the first whom Cal.com is about to let go of, if there is one.
    pub(crate) fn among(occupied: &[Occupied]) -> Self {
        let soonest = occupied.iter().filter_map(|o| o.free_in_seconds).min();
        soonest.map_or(Self::Taken, |seconds| Self::BeingReleased { seconds })
    }

    pub(crate) fn with(self, alternatives: Vec<Offer>, minimum_minutes: u16) -> Refusal {
        match self {
            Self::Past => Refusal::InThePast,
            Self::Soon => Refusal::TooSoon { minimum_minutes, alternatives },
            Self::Closed => Refusal::OutsideHours { alternatives },
            Self::Taken => Refusal::Taken { alternatives },
            Self::BeingReleased { seconds } => Refusal::BeingReleased { seconds, alternatives },
        }
    }
}

/// When it would be, if hours and notice allow it.
pub(crate) fn within_rules(starts_at: DateTime<Utc>, place: &Place) -> Result<TimeRange, No> {
    if starts_at <= place.now {
        return Err(No::Past);
    }
    if starts_at < place.earliest() {
        return Err(No::Soon);
    }
    TimeRange::starting(starts_at, place.minutes).filter(|&d| place.hours.contain(d)).ok_or(No::Closed)
}
