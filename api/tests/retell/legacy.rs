//! The old gateway's paths: an agent in the field only changes its host.

use crate::{LENA, World, call, clock, post};
use serde_json::{Value, json};

/// Each of them is a question for appointments, named in the path.
const QUERIES: [&str; 8] = [
    "/api/retell/query-appointment",
    "/api/retell/query_appointment",
    "/api/retell/queryAppointment",
    "/api/retell/query-appointment-v4",
    "/api/retell/v17/query-appointment",
    "/api/retell/v4/query_appointment",
    "/api/webhooks/retell/query-appointment",
    "/api/webhooks/retell/query_appointment_v17",
];
/// Here the body names the function.
const BY_BODY: [&str; 4] = [
    "/api/webhooks/retell/function",
    "/api/webhooks/retell/function-call",
    "/api/retell/function-call",
    "/api/retell/function",
];
const EVENTS: [&str; 2] = ["/api/webhooks/retell", "/api/webhook"];

fn query(name: Option<&str>) -> Value {
    let mut body = json!({"call": call("call_b", LENA), "args": {"datum": "morgen"}});
    if let Some(name) = name {
        body["name"] = json!(name);
    }
    body
}

#[tokio::test]
async fn each_old_path_answers_as_the_new_one() {
    let world = World::new().await;
    let wish = json!({"name": "Lena Vogt", "datum": "24.11.2036", "uhrzeit": "10:00", "mitarbeiter": "Anna Berg"});
    let body = json!({"call": call("call_a", LENA), "args": wish});
    let booked = world.reply("/api/retell/v17/collect-appointment", &body).await;
    assert_eq!(booked["success"], true, "{booked}");
    let wanted = world.reply("/retell/salon/functions/query_appointment", &query(None)).await;
    assert_eq!(wanted["appointment"]["id"], booked["appointment_id"]);
    for path in QUERIES {
        assert_eq!(world.reply(path, &query(None)).await, wanted, "{path}");
        assert_eq!(world.reply(path, &query(Some("query_appointment"))).await, wanted, "{path}, named twice");
    }
    for path in BY_BODY {
        assert_eq!(world.reply(path, &query(Some("query_appointment_v12"))).await, wanted, "{path}");
        assert_eq!(world.reply(path, &query(None)).await["status"], "unknown_function", "{path} names none");
    }
    let unknown = world.reply("/api/retell/make-coffee", &query(None)).await;
    assert_eq!(unknown["status"], "unknown_function");
    let (status, _) = world.signed("/api/retell/query-appointment", &query(Some("book_appointment"))).await;
    assert_eq!(status, 400, "two functions are named");
    let (status, _) = world.signed("/api/retell/latest/query-appointment", &query(None)).await;
    assert_eq!(status, 404, "that is no version");
    for path in EVENTS {
        let (status, said) = world.signed(path, &json!({"event": "call_started", "call": call("call_b", LENA)})).await;
        assert_eq!((status, &said["call_id"]), (200, &json!("call_b")), "{path}");
    }
    world.gone().await;
}

#[tokio::test]
async fn an_old_path_is_signed_like_every_other() {
    let world = World::new().await;
    let body = query(Some("query_appointment")).to_string().into_bytes();
    for path in QUERIES.into_iter().chain(BY_BODY).chain(EVENTS) {
        let (status, _) = post(&world.router, path, &[], body.clone()).await;
        assert_eq!(status, 401, "{path}");
        let foreign = crate::sign("key_of_another", &body, clock().timestamp_millis());
        let (status, _) = post(&world.router, path, &[("x-retell-signature", &foreign)], body.clone()).await;
        assert_eq!(status, 401, "{path}: the key is the legacy company's");
    }
    world.gone().await;
}

#[tokio::test]
async fn without_the_setting_there_are_no_old_paths() {
    let world = World::at(clock, &[]).await;
    for path in QUERIES.into_iter().chain(BY_BODY).chain(EVENTS) {
        let (status, said) = world.signed(path, &query(Some("query_appointment"))).await;
        assert_eq!((status, &said["type"]), (404, &json!("https://askpro.dev/problems/not_found")), "{path}");
    }
    world.gone().await;
}
