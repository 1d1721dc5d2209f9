//! The old gateway's paths, for the company that the setting `legacy_company` names: an agent in the field only changes
//! its host. Without the setting they do not exist.
//!
//! A path names a function in kebab, camel or snake case, with or without a version, or says `function`, and then the body
//! names it. The old gateway did not check the signature of a function call; Retell signs each of them with the same key
//! all the same, and so here they are checked like everything else. Deliberately absent: a way to turn that off.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::app::App;
use crate::body::{RETELL_BYTES_MAX, Raw};
use crate::problem::Problem;
use crate::{calls, retell, spelling};

/// What a path says where the body names the function.
const IN_THE_BODY: [&str; 2] = ["function", "function_call"];

/// A function by an old path.
#[utoipa::path(
    post, path = "/api/retell/{name}", tag = "legacy",
    params(("name" = String, Path, description = "the function; `function` or `function-call` if the body names it"),
           ("x-retell-signature" = String, Header, description = "signed with the key of `legacy_company`")),
    request_body(content = serde_json::Value, description = "Retell's custom function call, or its arguments alone"),
    responses((status = 200, body = serde_json::Value, description = "As /retell/{company}/functions/{name}"),
              (status = 400, description = "No JSON, or two functions named"),
              (status = 401, description = "Signature missing or not valid"),
              (status = 404, description = "`legacy_company` is not set"),
              (status = 413, description = "More than 2 MiB"),
              (status = 503, description = "The database is out of reach"))
)]
pub(crate) async fn function(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Raw(body): Raw<RETELL_BYTES_MAX>,
) -> Response {
    run(&app, &name, &headers, &body).await
}

/// A function by an old path that bears a version before the name.
#[utoipa::path(
    post, path = "/api/retell/{version}/{name}", tag = "legacy",
    params(("version" = String, Path, description = "`v` and a number; it is ignored"),
           ("name" = String, Path, description = "the function"),
           ("x-retell-signature" = String, Header, description = "signed with the key of `legacy_company`")),
    request_body(content = serde_json::Value, description = "Retell's custom function call, or its arguments alone"),
    responses((status = 200, body = serde_json::Value, description = "As /retell/{company}/functions/{name}"),
              (status = 400, description = "No JSON, or two functions named"),
              (status = 401, description = "Signature missing or not valid"),
              (status = 404, description = "`legacy_company` is not set, or that is no version"),
              (status = 413, description = "More than 2 MiB"),
              (status = 503, description = "The database is out of reach"))
)]
pub(crate) async fn versioned_function(
    State(app): State<App>,
    Path((version, name)): Path<(String, String)>,
    headers: HeaderMap,
    Raw(body): Raw<RETELL_BYTES_MAX>,
) -> Response {
    if !spelling::is_version(&version) {
        return Problem::not_found().into_response();
    }
    run(&app, &name, &headers, &body).await
}

/// A function by an old path under `webhooks`.
#[utoipa::path(
    post, path = "/api/webhooks/retell/{name}", tag = "legacy",
    params(("name" = String, Path, description = "the function; `function` or `function-call` if the body names it"),
           ("x-retell-signature" = String, Header, description = "signed with the key of `legacy_company`")),
    request_body(content = serde_json::Value, description = "Retell's custom function call, or its arguments alone"),
    responses((status = 200, body = serde_json::Value, description = "As /retell/{company}/functions/{name}"),
              (status = 400, description = "No JSON, or two functions named"),
              (status = 401, description = "Signature missing or not valid"),
              (status = 404, description = "`legacy_company` is not set"),
              (status = 413, description = "More than 2 MiB"),
              (status = 503, description = "The database is out of reach"))
)]
pub(crate) async fn webhook_function(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Raw(body): Raw<RETELL_BYTES_MAX>,
) -> Response {
    run(&app, &name, &headers, &body).await
}

/// Call events and inbound calls by an old path.
#[utoipa::path(
    post, path = "/api/webhooks/retell", tag = "legacy",
    params(("x-retell-signature" = String, Header, description = "signed with the key of `legacy_company`")),
    request_body(content = serde_json::Value, description = "As /retell/{company}/webhook and /retell/{company}/inbound"),
    responses((status = 200, body = serde_json::Value, description = "As /retell/{company}/webhook or …/inbound"),
              (status = 400, description = "Signed, but no event of a call"),
              (status = 401, description = "Signature missing or not valid"),
              (status = 404, description = "`legacy_company` is not set"),
              (status = 413, description = "More than 2 MiB"),
              (status = 503, description = "The database is out of reach"))
)]
pub(crate) async fn events(
    State(app): State<App>,
    headers: HeaderMap,
    Raw(body): Raw<RETELL_BYTES_MAX>,
) -> Result<Json<Value>, Problem> {
    calls::hear(&app, company(&app)?, &headers, &body).await
}

/// The other old path of call events and inbound calls.
#[utoipa::path(
    post, path = "/api/webhook", tag = "legacy",
    params(("x-retell-signature" = String, Header, description = "signed with the key of `legacy_company`")),
    request_body(content = serde_json::Value, description = "As /retell/{company}/webhook and /retell/{company}/inbound"),
    responses((status = 200, body = serde_json::Value, description = "As /retell/{company}/webhook or …/inbound"),
              (status = 400, description = "Signed, but no event of a call"),
              (status = 401, description = "Signature missing or not valid"),
              (status = 404, description = "`legacy_company` is not set"),
              (status = 413, description = "More than 2 MiB"),
              (status = 503, description = "The database is out of reach"))
)]
pub(crate) async fn webhook(
    State(app): State<App>,
    headers: HeaderMap,
    Raw(body): Raw<RETELL_BYTES_MAX>,
) -> Result<Json<Value>, Problem> {
    calls::hear(&app, company(&app)?, &headers, &body).await
}

async fn run(app: &App, name: &str, headers: &HeaderMap, body: &[u8]) -> Response {
    let company = match company(app) {
        Ok(company) => company,
        Err(problem) => return problem.into_response(),
    };
    let named = Some(name).filter(|name| !IN_THE_BODY.contains(&spelling::snake(name).as_str()));
    retell::measured(app, company, named, headers, body).await
}

fn company(app: &App) -> Result<&str, Problem> {
    app.legacy_company.as_deref().ok_or_else(Problem::not_found)
}
