//! A person has taken care of a customer who was to be rung.
//!
//! Absent: the list of them (`inspect`), and making one: whoever breaks a promise does it.

use crate::Store;
use crate::error::StoreError;
use crate::operator::note_operator;
use chrono::{DateTime, Utc};
use domain::id::AppointmentId;
use uuid::Uuid;

/// A callback that is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CalledBack {
    /// About what.
    pub appointment_id: Option<AppointmentId>,
    /// When somebody had done it.
    pub done_at: DateTime<Utc>,
    /// Was it this call that noted it?
    pub is_new: bool,
}

impl Store {
    /// Notes that a callback is done; said twice it is done once, and the first time stands. `None`: no such callback.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn called_back(
        &self,
        company_id: i32,
        callback_id: Uuid,
        why: &str,
    ) -> Result<Option<CalledBack>, StoreError> {
        self.retrying("called_back", || self.called_back_once(company_id, callback_id, why)).await
    }

    async fn called_back_once(
        &self,
        company_id: i32,
        callback_id: Uuid,
        why: &str,
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
            r#"SELECT appointment_id, done_at AS "done_at!" FROM callback_request
               WHERE company_id = $1 AND callback_id = $2"#,
            company_id,
            callback_id
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        if is_new {
            note_operator(&mut tx, company_id, "callbacks done", &callback_id.to_string(), Some(why)).await?;
            tx.commit().await?;
        }
        let appointment_id = row.appointment_id.map(AppointmentId);
        Ok(Some(CalledBack { appointment_id, done_at: row.done_at, is_new }))
    }
}
