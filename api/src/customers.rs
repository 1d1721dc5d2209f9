//! `/v1/customers`: what a program knows of a customer becomes what we know, at once.
//!
//! Deliberately absent: customers without a number (they exist only inside their call), reading and deleting.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use store::CustomerCommand;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::body::{Raw, V1_BYTES_MAX, must_be_json};
use crate::fields::{Fields, Text};
use crate::key::MayBook;
use crate::person::{EMAIL_CHARS_MAX, NAME_CHARS_MAX, PHONE_CHARS_MAX, language, own_email, phone};
use crate::problem::{CommandProblems, Done, Problem};

/// What is known of a customer. What is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "describes the wire in the OpenAPI document")]
pub(crate) struct KnownCustomer {
    /// Who: a valid number, E.164 or as dialled in Germany. One number is one customer.
    #[schema(max_length = 40)]
    phone: String,
    /// As it shall stand in the calendar.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// An address of the customer's own.
    #[schema(max_length = 254, format = "email")]
    email: Option<String>,
    /// A language tag, `de`; a new customer has the company's if it is left out.
    #[schema(max_length = 35)]
    language: Option<String>,
}

fn read(raw: &[u8], company_id: i32) -> Result<CustomerCommand, Problem> {
    let mut fields = Fields::parse(raw)?;
    let number = fields.text("phone", Text::Line, PHONE_CHARS_MAX)?;
    let name = fields.optional_text("name", Text::Line, NAME_CHARS_MAX)?;
    let email = fields.optional_text("email", Text::Line, EMAIL_CHARS_MAX)?;
    let language = language(&mut fields)?;
    fields.finish()?;
    own_email(email.as_deref(), "email")?;
    Ok(CustomerCommand { company_id, phone: phone(&number, "phone")?, name, email, language })
}

/// A customer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Customer {
    id: Uuid,
    /// E.164.
    phone: String,
    name: Option<String>,
    email: Option<String>,
    language: String,
    created_at: DateTime<Utc>,
}

/// Make a customer, or bring one up to date. What is said here is newer than whatever appointments have told before. One
/// who was deleted comes back as himself.
#[utoipa::path(
    put, path = "/v1/customers", tag = "customers", security(("api_key" = ["book"])),
    request_body = KnownCustomer,
    responses((status = 201, body = Customer, description = "Made"),
              (status = 200, body = Customer, description = "Brought up to date"),
              CommandProblems)
)]
pub(crate) async fn put(
    State(app): State<App>,
    MayBook(company_id): MayBook,
    headers: HeaderMap,
    Raw(body): Raw<V1_BYTES_MAX>,
) -> Result<Response, Problem> {
    must_be_json(&headers)?;
    let kept = app.store.put_customer(&read(&body, company_id)?).await?;
    let done = if kept.is_new { Done::Created } else { Done::Known };
    let customer = Customer {
        id: kept.customer_id.0,
        phone: kept.phone.as_e164().to_owned(),
        name: kept.name,
        email: kept.email,
        language: kept.language,
        created_at: kept.created_at,
    };
    Ok((done.status(), Json(customer)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn code(body: &Value) -> Result<CustomerCommand, &'static str> {
        read(body.to_string().as_bytes(), 7).map_err(|problem| problem.code())
    }

    #[test]
    fn a_body_is_read_strictly() {
        let all = json!({"phone": "0151 12345678", "name": " Lena Vogt ", "email": "lena@web.de", "language": "de-AT"});
        let all = code(&all).unwrap();
        assert_eq!((all.phone.as_e164(), all.name.as_deref()), ("+4915112345678", Some("Lena Vogt")));
        assert_eq!((all.email.as_deref(), all.language.as_deref()), (Some("lena@web.de"), Some("de-AT")));
        let least = code(&json!({"phone": "+493012345678", "name": null})).unwrap();
        assert_eq!((least.name, least.email, least.language), (None, None, None));
        assert_eq!(code(&json!({"name": "Lena"})).map(|_| ()), Err("missing_field"));
        assert_eq!(code(&json!({"phone": "+493012345678", "id": 1})).map(|_| ()), Err("unknown_field"));
        for (name, value) in [
            ("phone", json!("anonymous")),
            ("phone", json!("+49151123456")),
            ("phone", json!(4915112345678_i64)),
            ("name", json!("")),
            ("name", json!("a\u{0}b")),
            ("name", json!("x".repeat(201))),
            ("email", json!("lena")),
            ("email", json!("noreply@salon.de")),
            ("language", json!("Deutsch")),
            ("language", json!("d")),
            ("language", json!("de-")),
        ] {
            let mut body = json!({"phone": "+493012345678"});
            body[name] = value.clone();
            assert_eq!(code(&body).map(|_| ()), Err("invalid_field"), "{name}: {value}");
        }
    }
}
