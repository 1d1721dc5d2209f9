//! The voice agent's door: signature first, then which function, whose call, which branch.
//!
//! The company, and with it the signature's key, comes from the path; the caller from `call` alone; the branch from the
//! number that was called. Where there is no `call`, only functions that read answer, and `args.call_id` names the caller
//! if it is a call of this company that is going on. Deliberately absent: the header `x-retell-call-id`, which nothing
//! signs; events (`calls`), the old gateway's paths (`legacy`).

use std::time::Instant;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use domain::phone::Phone;
use phonenumber::country::Id::DE;
use serde_json::{Map, Value};
use store::{Company, SecretKind};

use crate::app::App;
use crate::arguments::{self, Arguments, call_id};
use crate::body::{RETELL_BYTES_MAX, Raw};
use crate::functions::{self, Call, Caller, Function};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::signature;
use crate::spoken::Language;
use crate::{last_said, spelling};

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

/// One function call, whichever path it came by: `name` is what the path says of the function.
pub(crate) async fn measured(
    app: &App,
    company: &str,
    name: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
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

/// The company of a slug, if it is Retell who speaks to it. An unknown company and a wrong key look the same from outside.
///
/// # Errors
/// 401; 503 while the database, which has the key, is away.
pub(crate) async fn believed(app: &App, slug: &str, headers: &HeaderMap, body: &[u8]) -> Result<Company, Problem> {
    let company = app.store.company_by_slug(slug).await?.ok_or_else(Problem::signature)?;
    let keys = app.store.secrets(company.company_id, SecretKind::Retell).await?;
    if signature::valid(headers, body, &keys, (app.clock)()) {
        return Ok(company);
    }
    tracing::info!(company_id = company.company_id, "a signature was refused");
    Err(Problem::signature())
}

async fn answer(
    app: &App,
    company: &str,
    path_name: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Reply, Problem> {
    let company = believed(app, company, headers, body).await?;
    let request = Request::parse(body)?;
    let language = Language::of(&company.language);
    let names = [path_name, request.name.as_deref()].map(|name| name.map(spelling::snake));
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
    let caller = match request.who {
        Who::Caller(caller) => Some(caller),
        Who::Absent if function.only_reads() => named_call(app, company.company_id, &request.args).await?,
        Who::Absent | Who::Unusable => None,
    };
    let args = match &caller {
        Some(caller) => last_said::meant(app, company.company_id, &caller.call_id, function, request.args).await,
        None => request.args,
    };
    let catalog = app.store.catalog(company.company_id).await?;
    let call = Call { app, catalog, caller, args, language, now: (app.clock)() };
    functions::run(function, &call).await
}

/// The caller of the call that the arguments name, if it is going on: for a request without `call`.
async fn named_call(app: &App, company_id: i32, args: &Arguments) -> Result<Option<Caller>, Problem> {
    let Some(call_id) = args.text(arguments::CALL).and_then(|id| call_id(&id)) else { return Ok(None) };
    let ongoing = app.store.ongoing_call(company_id, &call_id).await?;
    Ok(ongoing.map(|call| {
        let from = call.from_number.as_deref().and_then(|raw| Phone::parse(raw, DE));
        Caller { call_id, from, from_number: call.from_number, to_number: call.to_number }
    }))
}

/// Whose call it is, as the body says.
#[derive(Debug)]
enum Who {
    /// `call` is there and has an id.
    Caller(Caller),
    /// `call` is there, and what it has is no id: nobody else's id counts then.
    Unusable,
    /// There is no `call`.
    Absent,
}

/// What a function call says, once its signature is believed.
#[derive(Debug)]
struct Request {
    name: Option<String>,
    who: Who,
    args: Arguments,
}

impl Request {
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        let Ok(Value::Object(mut root)) = serde_json::from_slice::<Value>(body) else {
            return Err(Problem::json("send one JSON object: {\"name\": …, \"call\": …, \"args\": …}"));
        };
        let name = ["name", "function_name"].iter().find_map(|key| root.get(*key).and_then(Value::as_str));
        let name = name.map(str::to_owned);
        let who = match root.remove("call") {
            None | Some(Value::Null) => Who::Absent,
            Some(call) => caller(call).map_or(Who::Unusable, Who::Caller),
        };
        let args = ["args", "arguments", "parameters"].iter().find_map(|key| root.remove(*key));
        // Without `args` the root itself carries them; and without `call`, too, `name` may be the customer's.
        let customers = args.is_none() && !matches!(who, Who::Caller(_)) && !is_function(name.as_deref());
        if !customers {
            root.remove("name");
            root.remove("function_name");
        }
        let name = name.filter(|_| !customers);
        Ok(Self { name, who, args: Arguments::of(args.or(Some(Value::Object(root)))) })
    }
}

fn is_function(name: Option<&str>) -> bool {
    name.is_some_and(|name| Function::named(&spelling::snake(name)).is_some())
}

/// Who calls, by `call` alone; `None` without a usable id.
fn caller(call: Value) -> Option<Caller> {
    let Value::Object(call) = call else { return None };
    let call_id = call_id(call.get("call_id")?.as_str()?)?;
    let from_number = number(&call, "from_number");
    let from = from_number.as_deref().and_then(|raw| Phone::parse(raw, DE));
    Some(Caller { call_id, from, from_number, to_number: number(&call, "to_number") })
}

/// A number as it is stored: as it came, if it could be one.
pub(crate) fn number(call: &Map<String, Value>, name: &str) -> Option<String> {
    let number = call.get(name)?.as_str()?.trim();
    let fine =
        !number.is_empty() && number.chars().count() <= NUMBER_CHARS_MAX && !number.chars().any(char::is_control);
    fine.then(|| number.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{DATE, NAME};
    use serde_json::json;

    fn request(body: &Value) -> Request {
        Request::parse(body.to_string().as_bytes()).unwrap()
    }

    fn caller_of(body: &Value) -> Option<Caller> {
        match request(body).who {
            Who::Caller(caller) => Some(caller),
            Who::Unusable | Who::Absent => None,
        }
    }

    #[test]
    fn the_caller_comes_from_call_alone() {
        let caller = caller_of(&json!({
            "name": "book_appointment",
            "call": {"call_id": "call_abc", "from_number": "+4915112345678", "to_number": "+493012345678"},
            "args": {"customer_phone": "+4915199999999", "call_id": "call_001"},
        }))
        .unwrap();
        assert_eq!(caller.call_id, "call_abc");
        assert_eq!(caller.from.unwrap().as_e164(), "+4915112345678");

        for withheld in ["anonymous", "unknown", "restricted", "+491234567890", "", "0151123456"] {
            let call = json!({"call": {"call_id": "call_abc", "from_number": withheld}, "args": {}});
            assert_eq!(caller_of(&call).unwrap().from, None, "{withheld}");
        }
        for no_id in [json!({}), json!({"call_id": ""}), json!({"call_id": "12345"}), json!("call_abc")] {
            let told = request(&json!({"call": no_id, "args": {"call_id": "call_abc"}}));
            assert!(matches!(told.who, Who::Unusable), "{no_id}");
        }
        for no_call in [json!({"call": null, "args": {}}), json!({"args": {}}), json!({})] {
            assert!(matches!(request(&no_call).who, Who::Absent), "{no_call}");
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
        let beside_call =
            request(&json!({"name": "query_appointment", "call": {"call_id": "call_abc"}, "datum": "morgen"}));
        assert_eq!(beside_call.args.text(DATE).as_deref(), Some("morgen"));
        assert_eq!((beside_call.name.as_deref(), beside_call.args.text(NAME)), (Some("query_appointment"), None));
        let named = request(&json!({"function_name": "query-appointment", "args": {}}));
        assert_eq!(named.name.as_deref(), Some("query-appointment"));
        assert!(Request::parse(b"[]").is_err() && Request::parse(b"").is_err() && Request::parse(b"\xff").is_err());
    }
}
