//! Who is calling, before there is a call: what may be told to the agent that will answer.

use crate::Store;
use crate::error::StoreError;
use domain::phone::Phone;

/// A customer who has been here before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownCaller {
    /// As learnt last.
    pub name: Option<String>,
}

impl Store {
    /// The customer with exactly this number.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn known_caller(&self, company_id: i32, phone: &Phone) -> Result<Option<KnownCaller>, StoreError> {
        let row = sqlx::query!(
            "SELECT name FROM customer WHERE company_id = $1 AND phone = $2 AND deleted_at IS NULL",
            company_id,
            phone.as_e164()
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|r| KnownCaller { name: r.name }))
    }
}
