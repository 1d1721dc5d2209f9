//! Customers who are to be rung: one who asks for it in a call, who takes care of it, and that it is done.
//!
//! Absent: the list of them (`inspect`), and those that we owe: whoever breaks a promise writes them (`Locked::call_back`).

use crate::Store;
use crate::command::Who;
use crate::error::StoreError;
use crate::operator::note;
use crate::request::{CallFacts, Request};
use chrono::{DateTime, Utc};
use domain::id::AppointmentId;
use domain::phone::Phone;
use uuid::Uuid;

/// Somebody wishes to be rung.
#[derive(Clone, Debug)]
pub struct CallbackWish {
    /// Whose business.
    pub company_id: i32,
    /// In which call; the same wish in the same call is the same callback.
    pub call: CallFacts,
    /// About what, if that is known.
    pub appointment_id: Option<AppointmentId>,
    /// A word: why somebody must ring.
    pub reason: &'static str,
    /// Where he can be reached; what is said last counts.
    pub phone: Option<Phone>,
    /// As said.
    pub customer_name: Option<String>,
    /// In his own words, at most 500 characters.
    pub said: Option<String>,
}

/// A wish that is noted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Requested {
    /// Which.
    pub callback_id: Uuid,
    /// Is it known where to ring?
    pub has_phone: bool,
}

/// Somebody is to take care of a callback.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assigned {
    /// About what.
    pub appointment_id: Option<AppointmentId>,
    /// Who; `None`: nobody yet.
    pub assigned_to: Option<String>,
    /// Since when.
    pub assigned_at: Option<DateTime<Utc>>,
    /// When somebody had done it: then nobody is assigned any more.
    pub done_at: Option<DateTime<Utc>>,
    /// Was it this call that noted it?
    pub is_new: bool,
}

/// A callback that is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CalledBack {
    /// About what.
    pub appointment_id: Option<AppointmentId>,
    /// Who had taken care of it.
    pub assigned_to: Option<String>,
    /// When somebody had done it.
    pub done_at: DateTime<Utc>,
    /// Was it this call that noted it?
    pub is_new: bool,
}

impl Store {
    /// Notes that somebody wishes to be rung, once per call, reason and what was said. Who has given a number for
    /// the appointment that it is about can be reached there.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn request_callback(&self, wish: &CallbackWish) -> Result<Requested, StoreError> {
        let fresh = Uuid::now_v7();
        self.retrying("request_callback", || self.request_callback_once(wish, fresh)).await
    }

    async fn request_callback_once(&self, wish: &CallbackWish, fresh: Uuid) -> Result<Requested, StoreError> {
        let mut tx = self.pool.begin().await?;
        let request = Request { company_id: wish.company_id, key: None, call: Some(&wish.call) };
        request.open(&mut tx, AppointmentId(Uuid::nil()), None).await?;
        let row = sqlx::query!(
            r#"INSERT INTO callback_request
                 (company_id, callback_id, appointment_id, reason, call_id, phone, customer_name, said)
               VALUES ($1, $2, $3, $4, $5,
                       COALESCE($6, (SELECT given_phone FROM appointment WHERE company_id = $1 AND appointment_id = $3)),
                       $7, $8)
               ON CONFLICT (company_id, call_id, reason, md5(COALESCE(said, ''))) WHERE call_id IS NOT NULL
               DO UPDATE SET phone = COALESCE(EXCLUDED.phone, callback_request.phone),
                             customer_name = COALESCE(EXCLUDED.customer_name, callback_request.customer_name)
               RETURNING callback_id, phone IS NOT NULL AS "has_phone!", pg_current_xact_id()::text AS "xid!""#,
            wish.company_id,
            fresh,
            wish.appointment_id.map(|id| id.0),
            wish.reason,
            wish.call.call_id,
            wish.phone.as_ref().map(Phone::as_e164),
            wish.customer_name,
            wish.said
        )
        .fetch_one(&mut *tx)
        .await?;
        self.commit(tx, &row.xid).await?;
        Ok(Requested { callback_id: row.callback_id, has_phone: row.has_phone })
    }

    /// Notes who is to take care of a callback; another one may take it over. One that is done stays as it is. `None`: no
    /// such callback.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn assign_callback(
        &self,
        company_id: i32,
        callback_id: Uuid,
        to: &str,
        who: Who,
        why: Option<&str>,
    ) -> Result<Option<Assigned>, StoreError> {
        self.retrying("assign_callback", || self.assign_once(company_id, callback_id, to, who, why)).await
    }

    async fn assign_once(
        &self,
        company_id: i32,
        callback_id: Uuid,
        to: &str,
        who: Who,
        why: Option<&str>,
    ) -> Result<Option<Assigned>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let is_new = sqlx::query!(
            "UPDATE callback_request SET assigned_to = $3, assigned_at = clock_timestamp()
             WHERE company_id = $1 AND callback_id = $2 AND done_at IS NULL AND assigned_to IS DISTINCT FROM $3",
            company_id,
            callback_id,
            to
        )
        .execute(&mut *tx)
        .await?
        .rows_affected()
            == 1;
        let row = sqlx::query!(
            "SELECT appointment_id, assigned_to, assigned_at, done_at FROM callback_request
             WHERE company_id = $1 AND callback_id = $2",
            company_id,
            callback_id
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        if is_new {
            note(&mut tx, company_id, who, "callbacks assign", &callback_id.to_string(), why).await?;
            tx.commit().await?;
        }
        let appointment_id = row.appointment_id.map(AppointmentId);
        let (assigned_to, assigned_at, done_at) = (row.assigned_to, row.assigned_at, row.done_at);
        Ok(Some(Assigned { appointment_id, assigned_to, assigned_at, done_at, is_new }))
    }

    /// Notes that a callback is done; said twice it is done once, and the first time stands. `None`: no such callback.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn called_back(
        &self,
        company_id: i32,
        callback_id: Uuid,
        who: Who,
        why: Option<&str>,
    ) -> Result<Option<CalledBack>, StoreError> {
        self.retrying("called_back", || self.called_back_once(company_id, callback_id, who, why)).await
    }

    async fn called_back_once(
        &self,
        company_id: i32,
        callback_id: Uuid,
        who: Who,
        why: Option<&str>,
    ) -> Result<Option<CalledBack>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let is_new = sqlx::query!(
            "UPDATE callback_request SET done_at = clock_timestamp()
             WHERE company_id = $1 AND callback_id = $2 AND done_at IS NULL",
            company_id,
            callback_id
        )
        .execute(&mut *tx)
        .await?
        .rows_affected()
            == 1;
        let row = sqlx::query!(
            r#"SELECT appointment_id, assigned_to, done_at AS "done_at!" FROM callback_request
               WHERE company_id = $1 AND callback_id = $2"#,
            company_id,
            callback_id
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        if is_new {
            note(&mut tx, company_id, who, "callbacks done", &callback_id.to_string(), why).await?;
            tx.commit().await?;
        }
        let appointment_id = row.appointment_id.map(AppointmentId);
        Ok(Some(CalledBack { appointment_id, assigned_to: row.assigned_to, done_at: row.done_at, is_new }))
    }
}
