//! A program tells what it knows of a customer: one number is one person, by whatever door he comes.
//!
//! Deliberately absent: which fact wins (`shared/store/tests`), and every field's every wrong value (`api/src/customers.rs`).

use crate::{Wish, id_of, problem, rows};
use harness::World;
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::query_scalar;
use std::sync::Arc;
use store::Scope;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use uuid::Uuid;

const PATH: &str = "/v1/customers";

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_made_brought_up_to_date_and_is_the_one_who_books() {
    let world = World::new().await;
    let (api, _worker) = (world.api().await, world.worker(None));
    let wish = Wish::nth(&world, 0).await;
    let made = api.put(PATH, &json!({"phone": wish.phone, "name": "Jörg", "email": "joerg@web.de"})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!((&made.body["phone"], &made.body["name"]), (&json!(wish.phone), &json!("Jörg")));
    assert_eq!((&made.body["email"], &made.body["language"]), (&json!("joerg@web.de"), &json!("de")));
    let national = wish.phone.replacen("+49", "0", 1);
    let again = api.put(PATH, &json!({"phone": national, "language": "en"})).await;
    assert_eq!((again.status, &again.body["id"]), (200, &made.body["id"]), "{}", again.body);
    assert_eq!((&again.body["name"], &again.body["language"]), (&json!("Jörg"), &json!("en")));

    let booked = api.post("/v1/appointments", &[("prefer", "wait=10")], &wish.written()).await;
    assert_eq!(booked.status, 201, "{}", booked.body);
    let owner = query_scalar::<_, Uuid>("SELECT customer_id FROM appointment WHERE appointment_id = $1");
    let owner = owner.bind(id_of(&booked.body["appointment"]["id"]).0).fetch_one(&world.pool).await.unwrap();
    assert_eq!(json!(owner), made.body["id"]);
    world.rests().await;
    let after = api.put(PATH, &json!({"phone": wish.phone})).await;
    assert_eq!(after.body["name"], json!(wish.name), "what he said when he booked is newer");
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_who_tell_at_once_one_makes_him() {
    let world = World::new().await;
    let api = Arc::new(world.api().await);
    let (barrier, mut rivals) = (Arc::new(Barrier::new(32)), JoinSet::new());
    for n in 0..32 {
        let (api, barrier) = (Arc::clone(&api), Arc::clone(&barrier));
        rivals.spawn(async move {
            barrier.wait().await;
            api.put(PATH, &json!({"phone": "+4915112000001", "name": format!("Name {n}")})).await
        });
    }
    let answers = rivals.join_all().await;
    let of = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((of(201), of(200)), (1, 31), "{answers:?}");
    assert!(answers.iter().all(|answer| answer.body["id"] == answers[0].body["id"]));
    assert_eq!(world.count("SELECT count(*) FROM customer").await, 1);
    let name: String = query_scalar("SELECT name FROM customer").fetch_one(&world.pool).await.unwrap();
    assert!(answers.iter().any(|answer| answer.body["name"] == json!(name)));
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_writes_nothing() {
    let world = World::new().await;
    let api = world.api().await;
    let before = rows(&world).await;
    for (body, code, field) in [
        (json!({"name": "Lena"}), "missing_field", "phone"),
        (json!({"phone": "+49151123456"}), "invalid_field", "phone"),
        (json!({"phone": "anonymous"}), "invalid_field", "phone"),
        (json!({"phone": "+4915112345678", "email": "termin@askproai.de"}), "invalid_field", "email"),
        (json!({"phone": "+4915112345678", "anonymous_call_id": "c"}), "unknown_field", "anonymous_call_id"),
    ] {
        let refused = api.put(PATH, &body).await;
        assert_eq!((refused.status, problem(&refused.body), &refused.body["field"]), (422, code, &json!(field)));
        assert_eq!(refused.headers["content-type"], "application/problem+json");
    }
    let asks = async |key: &str| {
        let request = reqwest::Client::new().put(format!("{}{PATH}", api.url)).bearer_auth(key);
        request.json(&json!({"phone": "+4915112345678"})).send().await.unwrap().status().as_u16()
    };
    let reader = world.store.create_api_key(world.company.company_id, &[Scope::Read]).await.unwrap();
    assert_eq!((asks("ak_live_00000000_x").await, asks(reader.expose_secret()).await), (401, 403));
    assert_eq!(rows(&world).await, before);
    world.at_rest().await;
}
