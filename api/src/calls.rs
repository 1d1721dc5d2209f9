//! What Retell tells of a call: verified, kept, answered; a job makes the call of it. And what it asks before there is a
//! call (`inbound`): both come to one URL or to two, as a number of Retell is set up.
//!
//! Retell gives up after ten seconds and tells it again up to three times, sometimes without need, in no order that one
//! could rely on: each event is kept once a call, and one short transaction is all that happens before the answer.
//! Deliberately absent: the transcript, and belief in what an agent was made to extract from it.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use domain::call::{CallEvent, CallFacts, Direction};
use domain::phone::Phone;
use phonenumber::country::Id::DE;
use serde_json::{Map, Value, json};
use store::{CallNotice, Heard};

use crate::app::App;
use crate::arguments::call_id;
use crate::body::{RETELL_BYTES_MAX, Raw};
use crate::inbound;
use crate::problem::Problem;
use crate::retell::{believed, number};

/// Retell's word for a call that is about to come in.
const INBOUND: &str = "call_inbound";
/// The longest word of Retell's that is kept, characters.
const WORD_CHARS_MAX: usize = 64;
/// The longest summary that is kept, characters.
const SUMMARY_CHARS_MAX: usize = 2_000;
/// 1 January 3000, in milliseconds: no call begins later.
const TIME_MS_MAX: i64 = 32_503_680_000_000;

/// Something has happened to a call.
#[utoipa::path(
    post, path = "/retell/{company}/webhook", tag = "retell",
    params(("company" = String, Path, description = "the company's slug"),
           ("x-retell-signature" = String, Header, description = "v=<unix ms>,d=<hex of HMAC-SHA256(key, raw body ‖ ms)>")),
    request_body(content = serde_json::Value, description = "Retell's call webhook: {event, call}"),
    responses((status = 200, body = serde_json::Value,
               description = "Kept, or known, or of no interest: call_id, status, custom_data; or success, event, message"),
              (status = 400, description = "Signed, but no event of a call"),
              (status = 401, description = "Signature missing or not valid"),
              (status = 413, description = "More than 2 MiB"),
              (status = 503, description = "The database is out of reach: Retell tells it again"))
)]
pub(crate) async fn webhook(
    State(app): State<App>,
    Path(company): Path<String>,
    headers: HeaderMap,
    Raw(body): Raw<RETELL_BYTES_MAX>,
) -> Result<Json<Value>, Problem> {
    hear(&app, &company, &headers, &body).await
}

/// A call is about to come in: what is its agent to know?
#[utoipa::path(
    post, path = "/retell/{company}/inbound", tag = "retell",
    params(("company" = String, Path, description = "the company's slug"),
           ("x-retell-signature" = String, Header, description = "v=<unix ms>,d=<hex of HMAC-SHA256(key, raw body ‖ ms)>")),
    request_body(content = serde_json::Value, description = "Retell's inbound webhook: {event, call_inbound}"),
    responses((status = 200, body = serde_json::Value,
               description = "dynamic_variables, all of them text, in `call_inbound` and at the root"),
              (status = 400, description = "Signed, but no event of a call"),
              (status = 401, description = "Signature missing or not valid"),
              (status = 413, description = "More than 2 MiB"),
              (status = 503, description = "The database, which knows key, clock and caller, is out of reach: Retell asks \
                                            again, and in the end puts the call through to the number's own agent"))
)]
pub(crate) async fn inbound(
    State(app): State<App>,
    Path(company): Path<String>,
    headers: HeaderMap,
    Raw(body): Raw<RETELL_BYTES_MAX>,
) -> Result<Json<Value>, Problem> {
    hear(&app, &company, &headers, &body).await
}

/// Whatever Retell tells or asks by webhook.
pub(crate) async fn hear(app: &App, company: &str, headers: &HeaderMap, body: &[u8]) -> Result<Json<Value>, Problem> {
    let company = believed(app, company, headers, body).await?;
    let unread = || Problem::json("send one of Retell's webhooks: {\"event\": …, \"call\": …}");
    let Ok(Value::Object(root)) = serde_json::from_slice::<Value>(body) else { return Err(unread()) };
    let Some(word) = line(&root, "event", WORD_CHARS_MAX) else { return Err(unread()) };
    if word == INBOUND {
        let call = root.get(INBOUND).and_then(Value::as_object).ok_or_else(unread)?;
        return Ok(Json(inbound::variables(app, company.company_id, call).await?));
    }
    let Some(event) = CallEvent::parse(&word) else {
        count("ignored");
        return Ok(Json(reply(&word, "This event changes nothing here.")));
    };
    let call = root.get("call").and_then(Value::as_object).ok_or_else(unread)?;
    let notice = notice(company.company_id, event, call).ok_or_else(unread)?;
    match app.store.take_call_event(&notice).await? {
        Heard::New { job: _, ring } => {
            app.bell.committed(ring.as_slice());
            count("noted");
        }
        Heard::Known => count("known"),
    }
    Ok(Json(match event {
        CallEvent::Started => {
            json!({ "call_id": notice.call_id, "status": event.status().as_str(), "custom_data": {} })
        }
        CallEvent::Ended | CallEvent::Analyzed => reply(&word, "Noted."),
    }))
}

fn reply(event: &str, message: &str) -> Value {
    json!({ "success": true, "event": event, "message": message })
}

fn count(answer: &'static str) {
    metrics::counter!("askpro_call_events_total", "answer" => answer).increment(1);
}

/// What the call object says, as far as we keep it; `None` = it does not say which call.
fn notice(company_id: i32, event: CallEvent, call: &Map<String, Value>) -> Option<CallNotice> {
    let call_id = call_id(call.get("call_id")?.as_str()?)?;
    let (from_number, to_number) = (number(call, "from_number"), number(call, "to_number"));
    let direction = call.get("direction").and_then(Value::as_str).and_then(Direction::parse);
    let customers = match direction {
        Some(Direction::Outbound) => &to_number,
        Some(Direction::Inbound) | None => &from_number,
    };
    let phone = customers.as_deref().and_then(|raw| Phone::parse(raw, DE));
    let nothing = Map::new();
    let analysis = call.get("call_analysis").and_then(Value::as_object).unwrap_or(&nothing);
    let facts = CallFacts {
        from_number,
        to_number,
        direction,
        started_at: time(call, "start_timestamp"),
        ended_at: time(call, "end_timestamp"),
        end_reason: line(call, "disconnection_reason", WORD_CHARS_MAX),
        sentiment: line(analysis, "user_sentiment", WORD_CHARS_MAX),
        successful: analysis.get("call_successful").and_then(Value::as_bool),
        voicemail: analysis.get("in_voicemail").and_then(Value::as_bool),
        summary: line(analysis, "call_summary", SUMMARY_CHARS_MAX),
    };
    Some(CallNotice { company_id, call_id, event, phone, facts })
}

fn time(call: &Map<String, Value>, name: &str) -> Option<DateTime<Utc>> {
    let milliseconds = call.get(name)?.as_i64().filter(|ms| (0..TIME_MS_MAX).contains(ms))?;
    DateTime::from_timestamp_millis(milliseconds)
}

/// A text on one line, cut to a length.
fn line(map: &Map<String, Value>, name: &str, chars_max: usize) -> Option<String> {
    let text = map.get(name)?.as_str()?.trim_start();
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(chars_max).collect();
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(call: &Value) -> Option<CallNotice> {
        notice(1, CallEvent::Analyzed, call.as_object().unwrap())
    }

    #[test]
    fn what_a_call_object_says() {
        let call = json!({"call_id": "call_abc", "direction": "inbound", "from_number": "+4915112345678",
            "to_number": "+493012345678", "start_timestamp": 1_760_700_000_000_i64, "end_timestamp": 1_760_700_060_000_i64,
            "disconnection_reason": "user_hangup", "transcript": "Agent: Guten Tag",
            "call_analysis": {"call_summary": "Will\nMontag", "user_sentiment": "Positive", "call_successful": true,
                              "in_voicemail": false, "custom_analysis_data": {"name": "Lena"}}});
        let notice = told(&call).unwrap();
        assert_eq!((notice.call_id.as_str(), notice.phone.unwrap().as_e164()), ("call_abc", "+4915112345678"));
        let facts = notice.facts;
        assert_eq!(facts.summary.as_deref(), Some("Will Montag"));
        assert_eq!((facts.successful, facts.voicemail), (Some(true), Some(false)));
        assert_eq!(facts.ended_at.unwrap() - facts.started_at.unwrap(), chrono::TimeDelta::minutes(1));
        let outbound = json!({"call_id": "call_abc", "direction": "outbound", "from_number": "+493012345678",
                              "to_number": "+4915112345678"});
        assert_eq!(told(&outbound).unwrap().phone.unwrap().as_e164(), "+4915112345678", "the one who was rung");
    }

    #[test]
    fn a_withheld_number_is_nobodys_and_odd_fields_are_left_out() {
        for withheld in ["anonymous", "unknown", "blocked", "private", "withheld", "restricted", "unavailable"] {
            let notice = told(&json!({"call_id": "call_abc", "from_number": withheld})).unwrap();
            assert_eq!((notice.phone, notice.facts.from_number.as_deref()), (None, Some(withheld)));
        }
        let odd = json!({"call_id": "call_abc", "from_number": 7, "direction": "sideways", "start_timestamp": i64::MAX,
                         "end_timestamp": -1, "call_analysis": [], "disconnection_reason": "\u{0}"});
        let facts = told(&odd).unwrap().facts;
        assert!(facts == CallFacts::default(), "{:?}", facts.end_reason);
        for no_call in [json!({}), json!({"call_id": 7}), json!({"call_id": ""}), json!({"call_id": "call_001"})] {
            assert!(told(&no_call).is_none(), "{no_call}");
        }
        let long = told(&json!({"call_id": "c", "call_analysis": {"call_summary": "ä".repeat(9_000)}})).unwrap();
        assert_eq!(long.facts.summary.unwrap().chars().count(), SUMMARY_CHARS_MAX);
    }
}
