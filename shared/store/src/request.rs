//! The two ends of every accept: the request key, first statement of its transaction, and the call it came from. Both
//! are committed with the decision, so that no "in flight" state exists that a dying process could leave behind.

use crate::error::StoreError;
use domain::id::{AppointmentId, CustomerId, JobId};
use sqlx::PgConnection;

/// Names a request: the same key is the same wish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestKey {
    /// 1–300 characters; an `Idempotency-Key`, or `fn:` and a hash.
    pub key: String,
    /// sha256 of what was asked: another body under the same key is a mistake of the caller.
    pub body_hash: [u8; 32],
    /// How long the decision is repeated.
    pub replay: Replay,
}

/// When a repeated key hears the old decision instead of a new one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Replay {
    /// Always (`Idempotency-Key`).
    Always,
    /// Only while it was the last success of its call and its effect stands (functions of the voice agent).
    WhileItStands,
}

/// The call that a request came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallFacts {
    /// Retell's id.
    pub call_id: String,
    /// As Retell has it.
    pub from_number: Option<String>,
    /// As Retell has it.
    pub to_number: Option<String>,
}

/// What a key had decided before.
#[derive(Clone, Copy)]
pub(crate) struct Earlier {
    pub(crate) appointment_id: AppointmentId,
    pub(crate) job_id: Option<JobId>,
    /// The version of the promise that it made.
    pub(crate) version: Option<i32>,
}

/// What the first statements of an accept found.
pub(crate) enum Opened {
    /// Decide.
    New,
    /// The key was decided before; repeat that if it still holds, else decide anew and rewrite it.
    Decided(Earlier),
    /// The key belongs to another request.
    Reused,
}

/// One request and its transaction's ends.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) company_id: i32,
    pub(crate) key: Option<&'a RequestKey>,
    pub(crate) call: Option<&'a CallFacts>,
}

impl Request<'_> {
    /// Takes the key, then the call. A duplicate waits here for the first one's commit.
    pub(crate) async fn open(
        self,
        conn: &mut PgConnection,
        appointment_id: AppointmentId,
        job_id: Option<JobId>,
    ) -> Result<Opened, StoreError> {
        let mut decided = None;
        if let Some(key) = self.key {
            let fresh = sqlx::query!(
                "INSERT INTO request_key (company_id, key, body_hash, appointment_id, job_id, appointment_version)
                 VALUES ($1, $2, $3, $4, $5, 1) ON CONFLICT ON CONSTRAINT one_decision_per_request_key DO NOTHING",
                self.company_id,
                key.key,
                &key.body_hash[..],
                appointment_id.0,
                job_id.map(|j| j.0)
            )
            .execute(&mut *conn)
            .await?
            .rows_affected()
                == 1;
            if !fresh {
                let row = sqlx::query!(
                    "SELECT body_hash, appointment_id, job_id, appointment_version FROM request_key WHERE company_id = $1 AND key = $2
                     FOR NO KEY UPDATE",
                    self.company_id,
                    key.key
                )
                .fetch_optional(&mut *conn)
                .await?;
                // It was swept away between the two statements: the next try finds a free key.
                let row = row.ok_or(StoreError::LockWait)?;
                if row.body_hash != key.body_hash {
                    return Ok(Opened::Reused);
                }
                decided = Some(Earlier {
                    appointment_id: AppointmentId(row.appointment_id),
                    job_id: row.job_id.map(JobId),
                    version: row.appointment_version,
                });
            }
        }
        let last = self.lock_call(conn).await?;
        let repeats = self.key.is_some_and(|key| match key.replay {
            Replay::Always => true,
            Replay::WhileItStands => last.as_ref() == Some(&key.key),
        });
        Ok(decided.filter(|_| repeats).map_or(Opened::New, Opened::Decided))
    }

    /// Is the old decision repeated only while its effect stands?
    pub(crate) fn must_stand(self) -> bool {
        self.key.is_some_and(|key| key.replay == Replay::WhileItStands)
    }

    async fn lock_call(self, conn: &mut PgConnection) -> Result<Option<String>, StoreError> {
        let Some(call) = self.call else { return Ok(None) };
        let last = sqlx::query_scalar!(
            "INSERT INTO call (company_id, call_id, from_number, to_number) VALUES ($1, $2, $3, $4)
             ON CONFLICT ON CONSTRAINT one_call_per_retell_id DO UPDATE SET
               from_number = COALESCE(call.from_number, EXCLUDED.from_number),
               to_number = COALESCE(call.to_number, EXCLUDED.to_number)
             RETURNING last_request_key",
            self.company_id,
            call.call_id,
            call.from_number,
            call.to_number
        )
        .fetch_one(conn)
        .await?;
        Ok(last)
    }

    /// Writes the success under the key, and links the call to it.
    pub(crate) async fn close(
        self,
        conn: &mut PgConnection,
        appointment_id: AppointmentId,
        customer_id: Option<CustomerId>,
        job_id: Option<JobId>,
        version: i32,
    ) -> Result<(), StoreError> {
        if let Some(key) = self.key {
            sqlx::query!(
                "UPDATE request_key SET appointment_id = $3, job_id = $4, appointment_version = $5
                 WHERE company_id = $1 AND key = $2
                   AND (appointment_id, job_id, appointment_version) IS DISTINCT FROM ($3, $4, $5)",
                self.company_id,
                key.key,
                appointment_id.0,
                job_id.map(|j| j.0),
                version
            )
            .execute(&mut *conn)
            .await?;
        }
        if let Some(call) = self.call {
            sqlx::query!(
                "UPDATE call SET appointment_id = $3, customer_id = COALESCE($4, customer_id), last_request_key = $5
                 WHERE company_id = $1 AND call_id = $2",
                self.company_id,
                call.call_id,
                appointment_id.0,
                customer_id.map(|c| c.0),
                self.key.map(|k| k.key.as_str())
            )
            .execute(conn)
            .await?;
        }
        Ok(())
    }
}
