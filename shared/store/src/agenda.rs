//! What the record knows of a stretch of time, in one snapshot: who is occupied, and what the one who asks has in it.
//!
//! Absent: locks and decisions. It is advice; whoever books is decided on under the staff's locks, in `accept`.

use crate::Store;
use crate::diary::diaries;
use crate::error::StoreError;
use crate::inspect::Whose;
use chrono::{DateTime, Utc};
use domain::hours::Diary;
use domain::id::AppointmentId;
use domain::phone::Phone;
use domain::slot::TimeRange;

/// A stretch of time, and who asks for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// Whose time.
    pub company_id: i32,
    /// Of these members of staff.
    pub staff: Vec<i32>,
    /// From here on …
    pub from: DateTime<Utc>,
    /// … until here.
    pub to: DateTime<Utc>,
    /// Who asks: his call, his number, or both. Empty: nobody whom we know.
    pub whose: Vec<Whose>,
}

/// What the record knows of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agenda {
    /// When, by the database's clock. What was committed before this was asked for is in it.
    pub now: DateTime<Utc>,
    /// Slots that are held or booked, and what others have booked at Cal.com; in the order of `staff`.
    pub diaries: Vec<Diary>,
    /// Appointments of whoever asks that stand, by start.
    pub own: Vec<Own>,
}

/// An appointment of whoever asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Own {
    /// Which.
    pub appointment_id: AppointmentId,
    /// What, for people.
    pub service_name: String,
    /// When.
    pub during: TimeRange,
}

impl Store {
    /// Reads it. Nothing is locked and nothing is remembered: the next one reads again.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn agenda(&self, stretch: &Stretch) -> Result<Agenda, StoreError> {
        let Stretch { company_id, staff, from, to, whose } = stretch;
        let mut tx = self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let now = sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(&mut *tx).await?;
        let diaries = match TimeRange::new(*from, *to) {
            Some(within) => diaries(&mut tx, *company_id, staff, within).await?,
            None => vec![],
        };
        let call = whose.iter().find_map(|whose| match whose {
            Whose::Call(call_id) => Some(call_id.as_str()),
            Whose::Phone(_) => None,
        });
        let phone = whose.iter().find_map(|whose| match whose {
            Whose::Phone(phone) => Some(phone),
            Whose::Call(_) => None,
        });
        let own = if whose.is_empty() {
            vec![]
        } else {
            let rows = sqlx::query!(
                "SELECT a.appointment_id, v.name AS service_name, a.starts_at, a.ends_at
                 FROM appointment a JOIN service v USING (company_id, service_id)
                 WHERE a.company_id = $1 AND a.status IN ('requested', 'scheduled')
                   AND a.starts_at < $3 AND a.ends_at > $2
                   AND (a.call_id = $4 OR a.customer_id = (SELECT c.customer_id FROM customer c
                                                           WHERE c.company_id = $1 AND c.phone = $5))
                 ORDER BY a.starts_at",
                company_id,
                from,
                to,
                call,
                phone.map(Phone::as_e164)
            )
            .fetch_all(&mut *tx)
            .await?;
            let own = |(id, service_name, during)| Own { appointment_id: AppointmentId(id), service_name, during };
            let rows = rows.into_iter();
            rows.filter_map(|r| Some((r.appointment_id, r.service_name, TimeRange::new(r.starts_at, r.ends_at)?)))
                .map(own)
                .collect()
        };
        tx.commit().await?;
        Ok(Agenda { now, diaries, own })
    }
}
