//! What people do by hand, at the command line or through a program of the business: each change is noted in the
//! transaction that makes it, for whoever asks later.

use crate::command::Who;
use crate::error::StoreError;
use sqlx::PgConnection;
use uuid::Uuid;

/// `what` is the command, `subject` what it changed: an id or a company's slug.
pub(crate) async fn note_operator(
    conn: &mut PgConnection,
    company_id: i32,
    what: &str,
    subject: &str,
    why: Option<&str>,
) -> Result<(), StoreError> {
    note(conn, company_id, Who::Operator, what, subject, why).await
}

/// The same, by whomever.
pub(crate) async fn note(
    conn: &mut PgConnection,
    company_id: i32,
    who: Who,
    what: &str,
    subject: &str,
    why: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO operator_action (company_id, action_id, who, what, subject, why) VALUES ($1, $2, $3, $4, $5, $6)",
        company_id,
        Uuid::now_v7(),
        who.as_str(),
        what,
        subject,
        why
    )
    .execute(conn)
    .await?;
    Ok(())
}
