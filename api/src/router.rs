//! Every route on one page, and the OpenAPI document that is made from them.

use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn;
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::problem::{Alternative, Problem, ProblemBody};
use crate::{
    alternatives, appointments, availability, calcom, callbacks, calls, customers, health, holds, jobs, legacy,
    observe, queues, reschedule, retell, sync,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "AskPro Gateway", description = "Bookings that never double: enqueue them, read what became of them."),
    components(schemas(ProblemBody, Alternative)),
    modifiers(&Keys)
)]
struct Described;

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut Document) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("ak_live_<id>_<secret>");
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("api_key", SecurityScheme::Http(bearer.build()));
    }
}

fn described() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(appointments::create))
        .routes(routes!(appointments::read))
        .routes(routes!(appointments::timeline))
        .routes(routes!(appointments::cancel))
        .routes(routes!(reschedule::reschedule))
        .routes(routes!(sync::sync))
        .routes(routes!(customers::put))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::read))
        .routes(routes!(queues::list))
        .routes(routes!(callbacks::list))
        .routes(routes!(availability::list))
        .routes(routes!(callbacks::assign))
        .routes(routes!(callbacks::done))
        .routes(routes!(retell::by_path))
        .routes(routes!(retell::by_body))
        .routes(routes!(calcom::webhook))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(holds::create))
        .routes(routes!(holds::release))
        .routes(routes!(alternatives::list))
        .routes(routes!(calls::webhook))
        .routes(routes!(calls::inbound))
        .routes(routes!(legacy::function))
        .routes(routes!(legacy::versioned_function))
        .routes(routes!(legacy::webhook_function))
        .routes(routes!(legacy::events))
        .routes(routes!(legacy::webhook))
}

/// The OpenAPI document, as `/openapi.json` serves it.
#[must_use]
pub fn document() -> Document {
    described().into_openapi()
}

/// The whole HTTP surface.
pub fn routes(app: App) -> Router {
    let (router, document) = described().split_for_parts();
    let document: Arc<str> = document.to_json().unwrap_or_default().into();
    let serve_document = move || {
        let document = Arc::clone(&document);
        async move { ([(CONTENT_TYPE, "application/json")], document.to_string()) }
    };
    router
        .route("/openapi.json", get(serve_document))
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::method())
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(from_fn(observe::observe))
        .with_state(app)
}
