//! Upsert of a customer by his number: one row a number over all rows, so that one who was deleted comes back as himself.
//!
//! Absent: customers without a number; they exist only inside their call.

use crate::Store;
use crate::error::StoreError;
use chrono::{DateTime, Utc};
use domain::id::CustomerId;
use domain::phone::Phone;
use uuid::Uuid;

/// What somebody knows of a customer; what he does not know stays as it is.
#[derive(Clone, Debug)]
pub struct CustomerCommand {
    /// Whose customer.
    pub company_id: i32,
    /// Who.
    pub phone: Phone,
    /// As it shall stand in the calendar.
    pub name: Option<String>,
    /// An address of his own.
    pub email: Option<String>,
    /// `de`, `en`, …; one who is new has the company's.
    pub language: Option<String>,
}

/// A customer with a number.
#[derive(Clone, Debug)]
pub struct Customer {
    /// Which.
    pub customer_id: CustomerId,
    /// Who.
    pub phone: Phone,
    /// As learnt last.
    pub name: Option<String>,
    /// As learnt last.
    pub email: Option<String>,
    /// `de`, `en`, …
    pub language: String,
    /// Since when we have him.
    pub created_at: DateTime<Utc>,
    /// Did this command make him?
    pub is_new: bool,
}

impl Store {
    /// Makes the customer, or brings him up to date. What is told here is learnt now: it wins over every appointment made
    /// before, also over one whose `customer` job runs later. The language is learnt with the name.
    ///
    /// # Errors
    /// Postgres is away, or his row was locked for too long. Said twice it is the same, so it may simply be repeated.
    pub async fn put_customer(&self, command: &CustomerCommand) -> Result<Customer, StoreError> {
        let fresh = Uuid::now_v7();
        self.retrying("put_customer", || self.put_customer_once(command, fresh)).await
    }

    async fn put_customer_once(&self, command: &CustomerCommand, fresh: Uuid) -> Result<Customer, StoreError> {
        // Whoever waits for the row reads the clock after its wait: who is later has the later time.
        let row = sqlx::query!(
            r#"INSERT INTO customer (company_id, customer_id, phone, name, name_learnt_at, email, email_learnt_at, language)
               SELECT $1, $2, $3, $4::text, CASE WHEN $4::text IS NOT NULL THEN clock_timestamp() END,
                      $5::text, CASE WHEN $5::text IS NOT NULL THEN clock_timestamp() END, COALESCE($6::text, c.language)
               FROM company c WHERE c.company_id = $1
               ON CONFLICT ON CONSTRAINT one_customer_per_phone DO UPDATE SET
                 deleted_at = NULL,
                 name = COALESCE(EXCLUDED.name, customer.name),
                 name_learnt_at = CASE WHEN EXCLUDED.name IS NULL THEN customer.name_learnt_at ELSE clock_timestamp() END,
                 email = COALESCE(EXCLUDED.email, customer.email),
                 email_learnt_at = CASE WHEN EXCLUDED.email IS NULL THEN customer.email_learnt_at
                                        ELSE clock_timestamp() END,
                 language = COALESCE($6, customer.language)
               RETURNING customer_id, name, email, language, created_at, customer_id = $2 AS "is_new!""#,
            command.company_id,
            fresh,
            command.phone.as_e164(),
            command.name,
            command.email,
            command.language
        )
        .fetch_optional(&self.pool)
        .await?;
        let row = row.ok_or(StoreError::Broken { what: "a customer has no company" })?;
        Ok(Customer {
            customer_id: CustomerId(row.customer_id),
            phone: command.phone.clone(),
            name: row.name,
            email: row.email,
            language: row.language,
            created_at: row.created_at,
            is_new: row.is_new,
        })
    }
}
