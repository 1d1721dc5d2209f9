//! What the voice agent said last to a function in a call, for a retry that says nothing but the call's id.
//!
//! Kept as long as a call may last, in a table that is not logged: losing it costs a question back. Deliberately absent:
//! what became of it; that is the business of request keys.

use crate::Store;
use crate::error::StoreError;
use sqlx::PgConnection;

/// What is longer is not kept, bytes.
const ARGUMENTS_BYTES_MAX: usize = 8 * 1024;

impl Store {
    /// Keeps what was said to a function, in place of what was said to it before in this call. What is longer than 8 KiB
    /// or no text for Postgres is not kept.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn remember_said(
        &self,
        company_id: i32,
        call_id: &str,
        function: &str,
        arguments: &str,
    ) -> Result<(), StoreError> {
        if arguments.len() > ARGUMENTS_BYTES_MAX || arguments.contains('\0') {
            return Ok(());
        }
        sqlx::query!(
            "INSERT INTO call_said (company_id, call_id, function, arguments) VALUES ($1, $2, $3, $4)
             ON CONFLICT ON CONSTRAINT one_saying_per_call_and_function
             DO UPDATE SET arguments = EXCLUDED.arguments, said_at = EXCLUDED.said_at",
            company_id,
            call_id,
            function,
            arguments
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// What was said last to this function in this call.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn last_said(
        &self,
        company_id: i32,
        call_id: &str,
        function: &str,
    ) -> Result<Option<String>, StoreError> {
        let said = sqlx::query_scalar!(
            "SELECT arguments FROM call_said WHERE company_id = $1 AND call_id = $2 AND function = $3",
            company_id,
            call_id,
            function
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(said)
    }

    /// Forgets what was said longer ago than a call may last (two hours); returns how much.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn forget_said(&self) -> Result<u64, StoreError> {
        let forgotten = sqlx::query!("DELETE FROM call_said WHERE said_at < clock_timestamp() - interval '2 hours'")
            .execute(&self.pool)
            .await?;
        Ok(forgotten.rows_affected())
    }
}

/// The call is over: nobody will repeat himself.
pub(crate) async fn forget_call(conn: &mut PgConnection, company_id: i32, call_id: &str) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM call_said WHERE company_id = $1 AND call_id = $2", company_id, call_id)
        .execute(conn)
        .await?;
    Ok(())
}
