//! Drift that a person has repaired: as the sweep's notices, but also where the sweep has told of it before.
//!
//! Deliberately absent: the repair itself. The notice's job makes it, under the appointment's lock, from a reading of its
//! own.

use crate::error::StoreError;
use crate::inbox::{Notice, Noticed, note};
use crate::operator::note_operator;
use crate::promise::database_now;
use crate::sweep::Drift;
use crate::{JobRef, Store};
use chrono::{DateTime, Utc};
use domain::id::JobId;
use uuid::Uuid;

impl Store {
    /// The database's clock, by which a list counts as complete.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        database_now(&mut *self.pool.acquire().await?).await
    }

    /// Takes the notice of a difference, whether or not the same has been noticed before, and notes who wanted it; one
    /// transaction. The job that reads the booking; due now, unless it was told to wait.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn repair_drift(&self, drift: &Drift, why: &str) -> Result<JobRef, StoreError> {
        let (fresh, once) = (JobId(Uuid::now_v7()), Uuid::now_v7());
        let body = [drift.notice.body.as_slice(), format!(" {once}").as_bytes()].concat();
        let notice = Notice { body, ..drift.notice.clone() };
        self.retrying("repair_drift", || async {
            let mut tx = self.pool.begin().await?;
            let Noticed::New { job, .. } = note(&mut tx, &notice, fresh).await? else {
                return Err(StoreError::Broken { what: "a notice of a person's was here before" });
            };
            let subject = drift.appointment_id.to_string();
            note_operator(&mut tx, notice.company_id, "drift repair", &subject, Some(why)).await?;
            tx.commit().await?;
            Ok(job)
        })
        .await
    }
}
