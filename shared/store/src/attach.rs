//! Finds or makes the customer that somebody is, and holds his row: the same phone is the same person, a withheld one only
//! in its call. One statement, so that of two who come at once the loser has the same id.

use crate::error::StoreError;
use domain::id::CustomerId;
use domain::phone::Identity;
use sqlx::PgConnection;

/// What a customer is known by.
#[derive(Clone, Copy)]
pub(crate) enum Key<'a> {
    /// E.164.
    Phone(&'a str),
    /// The one call.
    Call(&'a str),
}

impl<'a> From<&'a Identity> for Key<'a> {
    fn from(who: &'a Identity) -> Self {
        match who {
            Identity::Phone(phone) => Self::Phone(phone.as_e164()),
            Identity::Anonymous(call_id) => Self::Call(call_id),
        }
    }
}

/// `fresh` and `language` are those of one who is new; one who was deleted comes back as himself.
pub(crate) async fn attach(
    conn: &mut PgConnection,
    company_id: i32,
    key: Key<'_>,
    language: &str,
    fresh: CustomerId,
) -> Result<CustomerId, StoreError> {
    let id = match key {
        Key::Phone(phone) => {
            sqlx::query_scalar!(
                "INSERT INTO customer (company_id, customer_id, phone, language) VALUES ($1, $2, $3, $4)
                 ON CONFLICT ON CONSTRAINT one_customer_per_phone DO UPDATE SET deleted_at = NULL
                 RETURNING customer_id",
                company_id,
                fresh.0,
                phone,
                language
            )
            .fetch_one(conn)
            .await?
        }
        Key::Call(call_id) => {
            sqlx::query_scalar!(
                "INSERT INTO customer (company_id, customer_id, anonymous_call_id, language) VALUES ($1, $2, $3, $4)
                 ON CONFLICT ON CONSTRAINT one_customer_per_anonymous_call DO UPDATE SET deleted_at = NULL
                 RETURNING customer_id",
                company_id,
                fresh.0,
                call_id,
                language
            )
            .fetch_one(conn)
            .await?
        }
    };
    Ok(CustomerId(id))
}
