//! The voice agent's door: signature first, then which function, whose call, which branch.
//!
//! The company, and with it the signature's key, comes from the path; the caller from `call` alone; the branch from the
//! number that was called. Deliberately absent: events and inbound webhooks, the old gateway's paths.

use std::time::Instant;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use domain::phone::Phone;
use phonenumber::country::Id::DE;
use serde_json::{Map, Value};
use store::SecretKind;

use crate::app::App;
use crate::arguments::{Arguments, call_id};
use crate::body::{RETELL_BYTES_MAX, Raw};
use crate::functions::{self, Call, Caller, Function};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::signature;
use crate::spoken::Language;

/// The longest number that is stored as it came, characters.
const NUMBER_CHARS_MAX: usize = 40;

/// A function named in the path.
#[utoipa::path(
    post, path = "/retell/{company}/functions/{name}", tag = "retell",
    params(("company" = String, Path, description = "the company's slug"),
           ("name" = String, Path, description = "the function, in kebab, camel or snake case"),
           ("x-retell-signature" = String, Header, description = "v=<unix ms>,d=<hex of HMAC-SHA256(key, raw body ‖ ms)>")),
    request_body(content = serde_json::Value, description = "Retell's custom function call: {call, args}"),
    responses((status = 200, body = serde_json::Value, description = "Done or refused; root and `data` carry the same"),
              (status = 400, description = "No JSON, or two functions named"),
              (status = 401, description = "Signature missing or not valid"),
              (status = 413, description = "More than 2 MiB"),
              (status = 503, description = "The database is out of reach"))
)]
pub(crate) async fn by_path(
    State(app): State<App>,
    Path((company, name)): Path<(String, String)>,
    headers: HeaderMap,
    Raw(body): Raw<RETELL_BYTES_MAX>,
) -> Response {
    measured(&app, &company, Some(&name), &headers, &body).await
}

/// A function named in the body.
#[utoipa::path(
    post, path = "/retell/{company}/functions", tag = "retell",
    params(("company" = String, Path, description = "the company's slug"),
           ("x-retell-signature" = String, Header, description = "v=<unix ms>,d=<hex of HMAC-SHA256(key, raw body ‖ ms)>")),
    request_body(content = serde_json::Value, description = "Retell's custom function call: {name, call, args}"),
    responses((status = 200, body = serde_json::Value, description = "Done or refused; root and `data` carry the same"),
              (status = 400, description = "No JSON"),
              (status = 401, description = "Signature missing or not valid"),
              (status = 413, description = "More than 2 MiB"),
              (status = 503, description = "The database is out of reach"))
)]
pub(crate) async fn by_body(
    State(app): State<App>,
    Path(company): Path<String>,
    headers: HeaderMap,
    Raw(body): Raw<RETELL_BYTES_MAX>,
) -> Response {
    measured(&app, &company, None, &headers, &body).await
}

async fn measured(app: &App, company: &str, name: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Response {
    let began = Instant::now();
    let answer = answer(app, company, name, headers, body).await;
    metrics::histogram!("api_function_seconds").record(began.elapsed().as_secs_f64());
    match answer {
        Ok(reply) => {
            metrics::counter!("api_function_replies_total", "status" => reply.status().to_owned()).increment(1);
            reply.into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

async fn answer(
    app: &App,
    company: &str,
    path_name: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Reply, Problem> {
    let now = (app.clock)();
    // An unknown company and a wrong key look the same from outside.
    let company = app.store.company_by_slug(company).await?.ok_or_else(Problem::signature)?;
    let keys = app.store.secrets(company.company_id, SecretKind::Retell).await?;
    if !signature::valid(headers, body, &keys, now) {
        tracing::info!(company_id = company.company_id, "a signature was refused");
        return Err(Problem::signature());
    }

    let request = Request::parse(body)?;
    let language = Language::of(&company.language);
    let names = [path_name, request.name.as_deref()].map(|name| name.map(snake));
    let name = match names {
        [Some(path), Some(body)] if path != body && Function::named(&path) != Function::named(&body) => {
            return Err(Problem::names_differ());
        }
        [Some(path), Some(body)] if Function::named(&path).is_none() && path != body => {
            return Err(Problem::names_differ());
        }
        [Some(name), _] | [None, Some(name)] => name,
        [None, None] => String::new(),
    };
    let Some(function) = Function::named(&name) else {
        let message = language.pick("Diese Funktion kenne ich nicht.", "I do not know this function.");
        return Ok(Reply::refusal("unknown_function", message));
    };
    let catalog = app.store.catalog(company.company_id).await?;
    let call = Call { app, catalog, caller: request.caller, args: request.args, language, now };
    functions::run(function, &call).await
}

/// What a function call says, once its signature is believed.
#[derive(Debug)]
struct Request {
    name: Option<String>,
    caller: Option<Caller>,
    args: Arguments,
}

impl Request {
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        let Ok(Value::Object(mut root)) = serde_json::from_slice::<Value>(body) else {
            return Err(Problem::json("send one JSON object: {\"name\": …, \"call\": …, \"args\": …}"));
        };
        let name = ["name", "function_name"].iter().find_map(|key| root.get(*key).and_then(Value::as_str));
        let name = name.map(str::to_owned);
        let caller = root.remove("call").and_then(caller);
        let args = ["args", "arguments", "parameters"].iter().find_map(|key| root.remove(*key));
        // Without `args` the root itself carries them, and then `name` is the customer's, not the function's.
        let at_root = args.is_none() && caller.is_none();
        Ok(Self {
            name: if at_root && !is_function(name.as_deref()) { None } else { name },
            caller,
            args: Arguments::of(args.or_else(|| at_root.then_some(Value::Object(root)))),
        })
    }
}

fn is_function(name: Option<&str>) -> bool {
    name.is_some_and(|name| Function::named(&snake(name)).is_some())
}

/// Who calls, by `call` alone; `None` without a usable id.
fn caller(call: Value) -> Option<Caller> {
    let Value::Object(call) = call else { return None };
    let call_id = call_id(call.get("call_id")?.as_str()?)?;
    let from_number = number(&call, "from_number");
    let from = from_number.as_deref().and_then(|raw| Phone::parse(raw, DE));
    Some(Caller { call_id, from, from_number, to_number: number(&call, "to_number") })
}

fn number(call: &Map<String, Value>, name: &str) -> Option<String> {
    let number = call.get(name)?.as_str()?.trim();
    let fine =
        !number.is_empty() && number.chars().count() <= NUMBER_CHARS_MAX && !number.chars().any(char::is_control);
    fine.then(|| number.to_owned())
}

/// `book-appointment`, `bookAppointment_v17` and `Book_Appointment` are `book_appointment`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    let mut before = '_';
    for c in name.trim().chars().take(64) {
        if c.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit()) {
            snake.push('_');
        }
        before = c;
        match c {
            '-' | ' ' | '/' => snake.push('_'),
            c => snake.extend(c.to_lowercase()),
        }
    }
    let versionless = snake.rsplit_once("_v").filter(|(name, version)| {
        !name.is_empty() && !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit())
    });
    versionless.map_or(snake.clone(), |(name, _)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{DATE, NAME};
    use serde_json::json;

    fn request(body: &Value) -> Request {
        Request::parse(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn one_name_for_every_spelling() {
        for spelling in [
            "book_appointment",
            "book-appointment",
            "bookAppointment",
            "BookAppointment",
            "book_appointment_v17",
            "book-appointment-v4",
            "bookAppointmentV17",
            " book_appointment ",
        ] {
            assert_eq!(snake(spelling), "book_appointment", "{spelling}");
        }
        assert_eq!(snake("cancel_vip"), "cancel_vip");
        assert_eq!(snake("_v17"), "_v17");
        assert_eq!(Function::named(&snake("start-booking")), Some(Function::Book));
        assert_eq!(Function::named(&snake("collect-appointment")), Some(Function::Book));
        assert_eq!(Function::named(&snake("query_appointment_v12")), Some(Function::Query));
        assert_eq!(Function::named(&snake("drop_table")), None);
    }

    #[test]
    fn the_caller_comes_from_call_alone() {
        let caller = request(&json!({
            "name": "book_appointment",
            "call": {"call_id": "call_abc", "from_number": "+4915112345678", "to_number": "+493012345678"},
            "args": {"customer_phone": "+4915199999999", "call_id": "call_001"},
        }))
        .caller
        .unwrap();
        assert_eq!(caller.call_id, "call_abc");
        assert_eq!(caller.from.unwrap().as_e164(), "+4915112345678");

        for withheld in ["anonymous", "unknown", "restricted", "+491234567890", "", "0151123456"] {
            let call = json!({"call": {"call_id": "call_abc", "from_number": withheld}, "args": {}});
            assert_eq!(request(&call).caller.unwrap().from, None, "{withheld}");
        }
        for no_call in [json!({}), json!({"call_id": ""}), json!({"call_id": "12345"}), json!("call_abc"), json!(null)]
        {
            assert!(request(&json!({"call": no_call, "args": {"call_id": "call_abc"}})).caller.is_none());
        }
    }

    #[test]
    fn arguments_wherever_they_are() {
        for key in ["args", "arguments", "parameters"] {
            let body = json!({"name": "book_appointment", "call": {"call_id": "call_abc"}, key: {"datum": "morgen"}});
            assert_eq!(request(&body).args.text(DATE).as_deref(), Some("morgen"), "{key}");
        }
        let at_root = request(&json!({"datum": "morgen", "name": "Lena Vogt"}));
        assert_eq!(at_root.args.text(DATE).as_deref(), Some("morgen"));
        assert_eq!((at_root.name, at_root.args.text(NAME).as_deref()), (None, Some("Lena Vogt")));
        let named = request(&json!({"function_name": "query-appointment", "args": {}}));
        assert_eq!(named.name.as_deref(), Some("query-appointment"));
        assert!(Request::parse(b"[]").is_err() && Request::parse(b"").is_err() && Request::parse(b"\xff").is_err());
    }
}
