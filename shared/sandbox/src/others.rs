//! `/_sandbox/bookings…`: bookings made, moved and cancelled by others than the gateway, as the salon does in Cal.com's
//! own calendar. The bodies and the rules are the API's; a key, a version, latency and faults are not asked for. In the
//! ledger each leaves one effect without arrival or reply, whose path begins with `/_sandbox`. Deliberately absent: any
//! way around the rules of booking.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;

use crate::answer::Answer;
use crate::request::Route;
use crate::server::Server;

pub(crate) fn router() -> Router<Arc<Server>> {
    Router::new()
        .route("/_sandbox/bookings", post(create))
        .route("/_sandbox/bookings/{uid}/cancel", post(cancel))
        .route("/_sandbox/bookings/{uid}/reschedule", post(reschedule))
}

/// What the API would answer.
type Told = (StatusCode, Json<Value>);

async fn create(State(server): State<Arc<Server>>, Json(body): Json<Value>) -> Told {
    told(server.by_others(&Route::Create, &body))
}

async fn cancel(State(server): State<Arc<Server>>, Path(uid): Path<String>, Json(body): Json<Value>) -> Told {
    told(server.by_others(&Route::Cancel(uid), &body))
}

async fn reschedule(State(server): State<Arc<Server>>, Path(uid): Path<String>, Json(body): Json<Value>) -> Told {
    told(server.by_others(&Route::Reschedule(uid), &body))
}

fn told(answer: Answer) -> Told {
    (answer.status, Json(answer.body))
}
