//! `/_sandbox/bookings…`: what others than the gateway do, as the salon does in Cal.com's own calendar and its customers on
//! Cal.com's booking page. The bodies and the rules are the API's; a key, a version, latency, faults and the limiter are
//! not asked for; webhooks are sent. In the ledger each leaves one effect without arrival or reply, whose path begins with
//! `/_sandbox`. Deliberately absent: any way around the rules of booking.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::routing::{delete, post};
use chrono::DateTime;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{Answer, Refusal};
use crate::postman::Parcel;
use crate::request::Route;
use crate::scene::{Origin, Outcome, Scene};
use crate::server::Server;

pub(crate) fn router() -> Router<Arc<Server>> {
    Router::new()
        .route("/_sandbox/bookings", post(create))
        .route("/_sandbox/bookings/{uid}", delete(remove))
        .route("/_sandbox/bookings/{uid}/cancel", post(cancel))
        .route("/_sandbox/bookings/{uid}/reschedule", post(reschedule))
        .route("/_sandbox/bookings/{uid}/confirm", post(confirm))
        .route("/_sandbox/bookings/{uid}/decline", post(decline))
        .route("/_sandbox/bookings/{uid}/host", post(reassign))
}

impl Server {
    /// A change that comes from elsewhere: the API's rules and webhooks, none of its waiting, and no fault. In a task of
    /// its own, as every request: whoever asks may go away.
    pub(crate) async fn by_others(self: Arc<Self>, route: Route, body: Value) -> Answer {
        let asked = tokio::spawn(async move {
            let (answer, later) = self.carry_out_for_others(&route, &body).await;
            let postman = Arc::clone(&self.postman);
            tokio::spawn(async move { postman.follow(later).await });
            answer
        });
        match asked.await {
            Ok(answer) => answer,
            Err(_) => Refusal::broken().answer("", DateTime::default()),
        }
    }

    async fn carry_out_for_others(&self, route: &Route, body: &Value) -> (Answer, Vec<Parcel>) {
        let path = match route {
            Route::Cancel(uid) => format!("/_sandbox/bookings/{uid}/cancel"),
            Route::Reschedule(uid) => format!("/_sandbox/bookings/{uid}/reschedule"),
            Route::Confirm(uid) => format!("/_sandbox/bookings/{uid}/confirm"),
            Route::Decline(uid) => format!("/_sandbox/bookings/{uid}/decline"),
            Route::Reassign(uid, _) => format!("/_sandbox/bookings/{uid}/host"),
            Route::Delete(uid) => format!("/_sandbox/bookings/{uid}"),
            Route::Create | Route::Read(_) | Route::List | Route::Slots | Route::Unknown => {
                "/_sandbox/bookings".to_owned()
            }
        };
        let method = if matches!(route, Route::Delete(_)) { Method::DELETE } else { Method::POST };
        let foretell = |scene: &Scene, now| scene.foretell(route, body, Origin::Others, now);
        self.carry_out(foretell, |scene, now| {
            let mut subject = scene.subject(route, Some(body));
            subject.method = method.to_string();
            subject.path.clone_from(&path);
            match scene.change(route, body, Origin::Others, now) {
                Ok(Outcome::Done(status, done)) => {
                    scene.requests += 1;
                    let number = scene.requests;
                    scene.done(number, &mut subject, status, done, Origin::Others, now)
                }
                Ok(Outcome::Shown(answer)) => (answer, None),
                Err(refusal) => (refusal.answer(&path, now), None),
            }
        })
        .await
    }
}

/// The body of `POST /_sandbox/bookings/{uid}/host`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostInput {
    /// Number of a host that some event type has.
    host_id: i64,
}

/// What the API would answer.
type Told = (StatusCode, Json<Value>);

async fn create(State(server): State<Arc<Server>>, Json(body): Json<Value>) -> Told {
    told(server.by_others(Route::Create, body).await)
}

async fn remove(State(server): State<Arc<Server>>, Path(uid): Path<String>) -> Told {
    told(server.by_others(Route::Delete(uid), json!({})).await)
}

async fn cancel(State(server): State<Arc<Server>>, Path(uid): Path<String>, Json(body): Json<Value>) -> Told {
    told(server.by_others(Route::Cancel(uid), body).await)
}

async fn reschedule(State(server): State<Arc<Server>>, Path(uid): Path<String>, Json(body): Json<Value>) -> Told {
    told(server.by_others(Route::Reschedule(uid), body).await)
}

async fn confirm(State(server): State<Arc<Server>>, Path(uid): Path<String>) -> Told {
    told(server.by_others(Route::Confirm(uid), json!({})).await)
}

async fn decline(State(server): State<Arc<Server>>, Path(uid): Path<String>, body: Option<Json<Value>>) -> Told {
    let body = body.map_or_else(|| json!({}), |Json(body)| body);
    told(server.by_others(Route::Decline(uid), body).await)
}

async fn reassign(State(server): State<Arc<Server>>, Path(uid): Path<String>, Json(input): Json<HostInput>) -> Told {
    told(server.by_others(Route::Reassign(uid, input.host_id), json!({})).await)
}

fn told(answer: Answer) -> Told {
    (answer.status, Json(answer.body))
}
