//! What is free instead of a time, and what is free next: from Postgres alone, each answer from one snapshot.
//!
//! Advice; only a booking decides. Absent: locks, and every cache.

use crate::accept::already_theirs;
use crate::diary::{diaries, in_the_way};
use crate::error::StoreError;
use crate::place::{No, Place, Spot, qualified, read_place, within_rules};
use crate::{BookingCommand, Store};
use chrono::{DateTime, TimeDelta, Utc};
use domain::alternatives::{Alternative, Around, DAYS_MAX, alternatives};
use domain::hours::{Offer, Wish, next_free};
use domain::id::{AppointmentId, CustomerId};
use domain::phone::{Identity, Phone};
use domain::refusal::Refusal;
use domain::slot::TimeRange;
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

/// Offers in a refusal.
const OFFERS: usize = 3;

/// What is looked for, and for whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sought {
    /// Whose business.
    pub company_id: i32,
    /// Where.
    pub branch_id: i32,
    /// What.
    pub service_id: i32,
    /// With whom first; `None` = no matter.
    pub staff_id: Option<i32>,
    /// Whose own appointments are in the way.
    pub whose: Option<Sake>,
}

/// For whom something is looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sake {
    /// Whoever calls.
    Caller(Identity),
    /// A customer that a program knows by id.
    Customer(CustomerId),
}

/// What a wished time is, and what is free beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// With whom it could be had, or why it could not; the refusal names no alternatives.
    pub wished: Result<Offer, Refusal>,
    /// The same customer has the same service then.
    pub already_theirs: bool,
    /// Nearest first.
    pub alternatives: Vec<Alternative>,
    /// Of the database's clock: older than this nothing is.
    pub as_of: DateTime<Utc>,
}

impl BookingCommand {
    /// What its customer would look for.
    #[must_use]
    pub fn sought(&self) -> Sought {
        let Self { company_id, branch_id, service_id, staff_id, .. } = *self;
        Sought { company_id, branch_id, service_id, staff_id, whose: Some(Sake::Caller(self.who.clone())) }
    }
}

impl Sought {
    fn spot(&self) -> Spot {
        let Self { company_id, branch_id, service_id, staff_id, .. } = *self;
        Spot { company_id, branch_id, service_id, staff_id }
    }
}

/// All that one look needs; the transaction is its snapshot.
struct Look {
    tx: Transaction<'static, Postgres>,
    spot: Spot,
    place: Place,
    staff: Vec<i32>,
    wanted: Vec<i32>,
    customer_id: Option<CustomerId>,
}

impl Store {
    /// The wished time, and at most `limit` others. The outer error is the database's, the inner one says that there is
    /// no such place.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn alternatives(
        &self,
        sought: &Sought,
        wished: DateTime<Utc>,
        limit: usize,
    ) -> Result<Result<Found, Refusal>, StoreError> {
        let mut look = match self.look(sought).await? {
            Ok(look) => look,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let standing = self.standing_of(&mut look, wished).await?;
        let already_theirs = match look.customer_id {
            Some(customer) => {
                already_theirs(&mut look.tx, look.spot.company_id, look.spot.service_id, &[wished], customer)
                    .await?
                    .is_some()
            }
            None => false,
        };
        let Look { mut tx, spot, place, staff, customer_id, .. } = look;
        let search = Instead { spot, place: &place, staff, customer_id, refused: None };
        let alternatives = self.instead(&mut tx, search, wished, limit).await?;
        let wished = standing.map_err(|no| no.with(vec![], place.minimum_minutes));
        Ok(Ok(Found { wished, already_theirs, alternatives, as_of: place.now }))
    }

    /// The next free starts from `after` on (from now on if that is later), at most `limit`, in at most `days` local
    /// days (1 to 14). The errors as [`Store::alternatives`] has them.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn next_available(
        &self,
        sought: &Sought,
        after: Option<DateTime<Utc>>,
        days: u16,
        limit: usize,
    ) -> Result<Result<Vec<Offer>, Refusal>, StoreError> {
        let Look { mut tx, spot, place, staff, customer_id, .. } = match self.look(sought).await? {
            Ok(look) => look,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let earliest = place.earliest();
        let from = after.map_or(earliest, |after| after.max(earliest));
        let days = days.clamp(1, DAYS_MAX);
        let search = Instead { spot, place: &place, staff, customer_id, refused: None };
        let diaries = search.diaries(&mut tx, from).await?;
        let (minutes, granularity_minutes) = (place.minutes, self.settings.granularity_minutes);
        Ok(Ok(next_free(&place.hours, Wish { from, minutes, granularity_minutes, days, limit }, &diaries)))
    }

    /// What is free instead of a time that Cal.com has refused: that one is not offered again, for whoever stands in the
    /// way at Cal.com is not known here.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn free_instead(&self, sought: &Sought, refused: DateTime<Utc>) -> Result<Vec<Offer>, StoreError> {
        let Ok(Look { mut tx, spot, place, staff, customer_id, .. }) = self.look(sought).await? else {
            return Ok(vec![]);
        };
        let refused_range = TimeRange::starting(refused, place.minutes);
        let search = Instead { spot, place: &place, staff, customer_id, refused: refused_range };
        let found = self.instead(&mut tx, search, refused, OFFERS).await?;
        Ok(found.into_iter().map(|a| a.offer).collect())
    }

    /// What a refusal offers, in its transaction, under its locks; the wished member of staff first.
    pub(crate) async fn offers(
        &self,
        conn: &mut PgConnection,
        spot: Spot,
        place: &Place,
        staff: Vec<i32>,
        wished: DateTime<Utc>,
    ) -> Result<Vec<Offer>, StoreError> {
        self.offers_to(conn, spot, place, staff, wished, None).await
    }

    /// As `offers`, without times at which this customer is somewhere else.
    pub(crate) async fn offers_to(
        &self,
        conn: &mut PgConnection,
        spot: Spot,
        place: &Place,
        staff: Vec<i32>,
        wished: DateTime<Utc>,
        customer_id: Option<CustomerId>,
    ) -> Result<Vec<Offer>, StoreError> {
        let search = Instead { spot, place, staff, customer_id, refused: None };
        let found = self.instead(conn, search, wished, OFFERS).await?;
        Ok(found.into_iter().map(|a| a.offer).collect())
    }

    async fn instead(
        &self,
        conn: &mut PgConnection,
        search: Instead<'_>,
        wished: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Alternative>, StoreError> {
        let (place, staff_id) = (search.place, search.spot.staff_id);
        let diaries = search.diaries(conn, wished).await?;
        let (earliest, granularity_minutes) = (place.earliest(), self.settings.granularity_minutes);
        let minutes = place.minutes;
        let around = Around { wished, staff_id, earliest, minutes, granularity_minutes, limit };
        Ok(alternatives(&place.hours, around, &diaries))
    }

    /// One snapshot, and what stands in it of the place.
    async fn look(&self, sought: &Sought) -> Result<Result<Look, Refusal>, StoreError> {
        let mut tx = self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
        let spot = sought.spot();
        let (staff, wanted) = match qualified(&mut tx, spot).await? {
            Ok(staff) => staff,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(place) = read_place(&mut tx, spot, &staff).await? else { return Ok(Err(Refusal::UnknownService)) };
        let customer_id = match &sought.whose {
            None => None,
            Some(Sake::Customer(id)) => Some(*id),
            Some(Sake::Caller(identity)) => known(&mut tx, spot.company_id, identity).await?,
        };
        Ok(Ok(Look { tx, spot, place, staff, wanted, customer_id }))
    }

    async fn standing_of(&self, look: &mut Look, wished: DateTime<Utc>) -> Result<Result<Offer, No>, StoreError> {
        let during = match within_rules(wished, &look.place) {
            Ok(during) => during,
            Err(no) => return Ok(Err(no)),
        };
        let nobody = AppointmentId(Uuid::nil());
        let occupied = in_the_way(&mut look.tx, look.spot.company_id, &look.wanted, during, nobody).await?;
        let free = look.wanted.iter().find(|id| !occupied.iter().any(|o| o.staff_id == **id));
        Ok(match free {
            Some(&staff_id) => Ok(Offer { staff_id, during }),
            None => Err(No::among(&occupied)),
        })
    }
}

/// Where to look for something else, and what is in the way beside the staff's own.
struct Instead<'a> {
    spot: Spot,
    place: &'a Place,
    staff: Vec<i32>,
    customer_id: Option<CustomerId>,
    refused: Option<TimeRange>,
}

impl Instead<'_> {
    /// Around `wished`, the wished member of staff first.
    async fn diaries(
        &self,
        conn: &mut PgConnection,
        wished: DateTime<Utc>,
    ) -> Result<Vec<domain::hours::Diary>, StoreError> {
        let (company_id, place) = (self.spot.company_id, self.place);
        let mut staff = self.staff.clone();
        staff.sort_by_key(|&id| (Some(id) != self.spot.staff_id, id));
        let days = TimeDelta::days(i64::from(DAYS_MAX) + 2);
        let from = wished.checked_sub_signed(TimeDelta::days(1)).unwrap_or(place.now).max(place.now);
        let until = wished.max(place.earliest()).checked_add_signed(days);
        let Some(within) = until.and_then(|until| TimeRange::new(from, until)) else { return Ok(vec![]) };
        let mut own = match self.customer_id {
            Some(customer_id) => own_times(conn, company_id, customer_id, within).await?,
            None => vec![],
        };
        own.extend(self.refused);
        let mut diaries = diaries(conn, company_id, &staff, within).await?;
        for diary in &mut diaries {
            diary.busy.extend(&own);
        }
        Ok(diaries)
    }
}

/// When the customer is somewhere else.
async fn own_times(
    conn: &mut PgConnection,
    company_id: i32,
    customer_id: CustomerId,
    within: TimeRange,
) -> Result<Vec<TimeRange>, StoreError> {
    let rows = sqlx::query!(
        "SELECT starts_at, ends_at FROM appointment
         WHERE company_id = $1 AND customer_id = $2 AND status IN ('requested', 'scheduled')
           AND starts_at < $4 AND ends_at > $3",
        company_id,
        customer_id.0,
        within.start(),
        within.end()
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(|r| TimeRange::new(r.starts_at, r.ends_at)).collect())
}

/// Who calls, if we know him.
pub(crate) async fn known(
    conn: &mut PgConnection,
    company_id: i32,
    identity: &Identity,
) -> Result<Option<CustomerId>, StoreError> {
    let (phone, call) = match identity {
        Identity::Phone(phone) => (Some(Phone::as_e164(phone)), None),
        Identity::Anonymous(call_id) => (None, Some(call_id.as_str())),
    };
    let id = sqlx::query_scalar!(
        "SELECT customer_id FROM customer WHERE company_id = $1 AND (phone = $2 OR anonymous_call_id = $3)",
        company_id,
        phone,
        call
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(CustomerId))
}
