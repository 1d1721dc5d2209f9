//! Cal.com's door: a webhook is verified, kept, and answered. What it says is a hint; a job reads the booking.
//!
//! Cal.com sends it inside the request that made the change, which may be our own, and waits for the answer: nothing
//! here waits for an appointment. Source: Cal.com's `sendPayload.ts` and its webhook documentation. Deliberately absent: a
//! check of its age (nothing of it is signed but the body; what comes twice is known by its hash), and belief.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use domain::answer::{BookingStatus, BookingUid};
use domain::observe::Hint;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Sha256;
use store::{HintSource, Notice, Noticed, SecretKind};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::body::{CALCOM_BYTES_MAX, Raw};
use crate::problem::Problem;

/// Plain lower-case hex of HMAC-SHA256 over the raw body; without a secret Cal.com writes [`UNSIGNED`] into it.
const HEADER: &str = "x-cal-signature-256";
const UNSIGNED: &str = "no-secret-provided";
/// Cal.com's uids have 22 characters.
const UID_BYTES_MAX: usize = 64;

/// What became of a webhook.
#[derive(Serialize, ToSchema)]
pub(crate) struct Heard {
    /// `noted`: a job reads the booking; `known`: the same body was here before; `ignored`: no booking changes by it.
    status: &'static str,
}

/// Something has happened to a booking at Cal.com.
#[utoipa::path(
    post, path = "/calcom/webhook/{company}", tag = "calcom",
    params(("company" = String, Path, description = "the company's slug"),
           ("x-cal-signature-256" = String, Header, description = "hex of HMAC-SHA256(webhook secret, raw body)")),
    request_body(content = serde_json::Value, description = "Cal.com's webhook, version 2021-10-20, JSON, default payload"),
    responses((status = 200, body = Heard),
              (status = 400, description = "Signed, but no webhook of Cal.com"),
              (status = 401, description = "Signature missing or not valid, or sent without a secret"),
              (status = 413, description = "More than 256 KiB"),
              (status = 503, description = "The database is out of reach; the sweep finds what this was about"))
)]
pub(crate) async fn webhook(
    State(app): State<App>,
    Path(company): Path<String>,
    headers: HeaderMap,
    Raw(body): Raw<CALCOM_BYTES_MAX>,
) -> Result<Json<Heard>, Problem> {
    // An unknown company and a wrong secret look the same from outside.
    let company = app.store.company_by_slug(&company).await?.ok_or_else(Problem::calcom_signature)?;
    let secrets = app.store.secrets(company.company_id, SecretKind::CalcomWebhook).await?;
    if !signed(&headers, &body, &secrets) {
        metrics::counter!("askpro_webhooks_total", "answer" => "refused").increment(1);
        tracing::info!(company_id = company.company_id, "a webhook's signature was refused");
        return Err(Problem::calcom_signature());
    }
    let told = Told::read(&body).ok_or_else(Problem::no_webhook)?;
    let status = match told.notice(company.company_id, &body) {
        None => "ignored",
        Some(notice) => match app.store.take_notice(&notice).await? {
            Noticed::New { ring, .. } => {
                app.bell.committed(ring.as_slice());
                "noted"
            }
            Noticed::Known => "known",
        },
    };
    metrics::counter!("askpro_webhooks_total", "answer" => status).increment(1);
    Ok(Json(Heard { status }))
}

/// Was `body` signed with one of the two active secrets? Exactly one header, compared in constant time.
fn signed(headers: &HeaderMap, body: &[u8], secrets: &[SecretString]) -> bool {
    let mut given = headers.get_all(HEADER).iter();
    let (Some(header), None) = (given.next(), given.next()) else { return false };
    let written = header.to_str().unwrap_or(UNSIGNED);
    let mut digest = [0; 32];
    if written == UNSIGNED || written.bytes().any(|b| b.is_ascii_uppercase()) {
        return false;
    }
    if hex::decode_to_slice(written, &mut digest).is_err() {
        return false;
    }
    secrets.iter().filter(|secret| !secret.expose_secret().is_empty()).any(|secret| {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else { return false };
        mac.update(body);
        mac.verify_slice(&digest).is_ok()
    })
}

/// A webhook, as far as we read it. Nothing personal of it is even deserialised.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    trigger_event: String,
    #[serde(default)]
    payload: Payload,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    uid: Option<String>,
    reschedule_uid: Option<String>,
    status: Option<String>,
    start_time: Option<DateTime<Utc>>,
    #[serde(rename = "iCalUID")]
    ical_uid: Option<String>,
    #[serde(default)]
    metadata: Value,
}

impl Told {
    /// `None`: not a webhook of Cal.com.
    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// `None`: no booking changes by it, or it does not say by which.
    fn notice(self, company_id: i32, body: &[u8]) -> Option<Notice> {
        let status = match self.trigger_event.as_str() {
            "BOOKING_CREATED" | "BOOKING_RESCHEDULED" | "BOOKING_REQUESTED" => {
                // In webhooks the words of the bookings API are in capitals.
                self.payload.status.map(|word| BookingStatus::read(&word.to_ascii_lowercase()))
            }
            "BOOKING_CANCELLED" => Some(BookingStatus::Cancelled),
            "BOOKING_REJECTED" => Some(BookingStatus::Rejected),
            _ => return None,
        };
        let uid = self.payload.uid.filter(|uid| is_uid(uid))?;
        let chain = self.payload.ical_uid.unwrap_or_else(|| uid.clone());
        // The marker is not verified here: a hint that claims to be ours is only read where ours are read.
        let claimed = self.payload.metadata.get("gateway_key").and_then(Value::as_str);
        Some(Notice {
            company_id,
            source: HintSource::Webhook,
            body: body.to_vec(),
            hint: Hint { uid: BookingUid::from(uid), status, start: self.payload.start_time },
            replaces: self.payload.reschedule_uid.filter(|uid| is_uid(uid)).map(BookingUid::from),
            lineage: claimed.and_then(|key| Uuid::parse_str(key).ok()),
            chain,
        })
    }
}

fn is_uid(uid: &str) -> bool {
    !uid.is_empty()
        && uid.len() <= UID_BYTES_MAX
        && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const SECRET: &str = "whsec_test_0123456789";

    fn sign(secret: &str, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    }

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn secrets(written: &[&str]) -> Vec<SecretString> {
        written.iter().map(|secret| SecretString::from(*secret)).collect()
    }

    #[test]
    fn both_active_secrets_are_believed_and_nothing_else() {
        let body = r#"{"triggerEvent":"BOOKING_CREATED","payload":{"attendees":[{"name":"Müller ✓"}]}}"#.as_bytes();
        let (right, old) = (sign(SECRET, body), sign("the older one", body));
        let active = secrets(&[SECRET, "the older one"]);
        let ok = |values: &[&str]| signed(&headers(values), body, &active);
        assert!(ok(&[&right]) && ok(&[&old]));
        let prefixed = format!("sha256={right}");
        let wrong = [
            vec![],
            vec![UNSIGNED],
            vec![""],
            vec![prefixed.as_str()],
            vec![&right[1..]],
            vec![right.as_str(), right.as_str()],
            vec!["0000000000000000000000000000000000000000000000000000000000000000"],
        ];
        for values in wrong {
            assert!(!ok(&values), "{values:?}");
        }
        assert!(!ok(&[&right.to_uppercase()]));
        assert!(!signed(&headers(&[&right]), &body[1..], &active));
        assert!(!signed(&headers(&[&sign("", body)]), body, &secrets(&[""])), "an empty secret is none");
        assert!(!signed(&headers(&[&right]), body, &[]));
    }

    #[test]
    fn each_bit_of_body_and_signature_counts() {
        let body = br#"{"triggerEvent":"BOOKING_CANCELLED","payload":{"uid":"bfkkD7vGq3a9X2cWmRtYzP"}}"#.to_vec();
        let (right, active) = (sign(SECRET, &body), secrets(&[SECRET]));
        for bit in 0..body.len() * 8 {
            let mut other = body.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!signed(&headers(&[&right]), &other, &active), "bit {bit}");
        }
        assert!(signed(&headers(&[&right]), &body, &active));
    }

    fn notice(body: &str) -> Option<Notice> {
        Told::read(body.as_bytes())?.notice(1, body.as_bytes())
    }

    #[test]
    fn what_a_webhook_says() {
        let moved = r#"{"triggerEvent":"BOOKING_RESCHEDULED","createdAt":"2050-01-01T00:00:00.000Z","payload":{
            "uid":"new22","rescheduleUid":"old22","status":"ACCEPTED","startTime":"2050-09-05T09:00:00+00:00",
            "iCalUID":"first@Cal.com","metadata":{"gateway_key":"00000000-0000-0000-0000-000000000007"}}}"#;
        let notice_of = notice(moved).unwrap();
        assert_eq!(notice_of.hint.uid, BookingUid::from("new22".to_owned()));
        assert_eq!(notice_of.hint.status, Some(BookingStatus::Accepted));
        assert_eq!(notice_of.hint.start.map(|at| at.to_rfc3339()), Some("2050-09-05T09:00:00+00:00".to_owned()));
        assert_eq!(notice_of.replaces, Some(BookingUid::from("old22".to_owned())));
        assert_eq!(notice_of.lineage, Some(Uuid::from_u128(7)));
        assert_eq!(notice_of.chain, "first@Cal.com");
        let cancelled = r#"{"triggerEvent":"BOOKING_CANCELLED","payload":{"uid":"a","status":"ACCEPTED"}}"#;
        assert_eq!(notice(cancelled).unwrap().hint.status, Some(BookingStatus::Cancelled));
        let requested = r#"{"triggerEvent":"BOOKING_REQUESTED","payload":{"uid":"a","status":"PENDING"}}"#;
        assert_eq!(notice(requested).unwrap().hint.status, Some(BookingStatus::Pending));
    }

    #[test]
    fn what_changes_no_booking_is_ignored_and_what_is_no_webhook_is_told_apart() {
        for ignored in [
            r#"{"triggerEvent":"PING","createdAt":"2050-01-01T00:00:00.000Z"}"#,
            r#"{"triggerEvent":"MEETING_ENDED","uid":"a","status":"ACCEPTED"}"#,
            r#"{"triggerEvent":"BOOKING_CREATED","payload":{"status":"ACCEPTED"}}"#,
            r#"{"triggerEvent":"BOOKING_CREATED","payload":{"uid":"../../v2/me"}}"#,
        ] {
            assert!(Told::read(ignored.as_bytes()).is_some(), "{ignored}");
            assert!(notice(ignored).is_none(), "{ignored}");
        }
        for other in ["", "[]", "{}", "triggerEvent=BOOKING_CREATED", r#"{"triggerEvent":7}"#] {
            assert!(Told::read(other.as_bytes()).is_none(), "{other}");
        }
    }
}
