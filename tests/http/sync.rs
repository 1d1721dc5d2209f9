//! Another try, asked for over HTTP: what a back-off or a person would keep waiting is looked at now, and still nothing
//! is sent twice.
//!
//! Deliberately absent: what the record alone decides (`shared/store/tests`).

use crate::{Wish, id_of, problem};
use harness::{Answer, Api, World, wait_for, wait_until};
use sandbox::{Fault, Faults, On, Rule};
use secrecy::SecretString;
use serde_json::{Value, json};
use store::SecretKind;
use uuid::Uuid;

const WAIT: (&str, &str) = ("prefer", "wait=10");

async fn book(world: &World, api: &Api) -> String {
    let made = api.post("/v1/appointments", &[], &Wish::nth(world, 0).await.written()).await;
    assert_eq!(made.status, 202, "{}", made.body);
    id_of(&made.body["appointment"]["id"]).to_string()
}

async fn sync(api: &Api, id: &str, headers: &[(&str, &str)]) -> Answer {
    api.post(&format!("/v1/appointments/{id}/sync"), headers, &json!({})).await
}

fn standing(answer: &Answer) -> (&Value, &Value) {
    (&answer.body["appointment"]["status"], &answer.body["appointment"]["sync"])
}

/// The next create has its effect, but nobody hears so, and nobody can look.
pub fn lose_the_answer(world: &World) {
    let rules = vec![Rule::nth(On::Create, 1, Fault::BrokenAfter), Rule::every(On::List, Fault::BrokenBefore)];
    world.sandbox.set_faults(Faults { seed: None, rules }).unwrap();
}

/// Puts the next look an hour away, at a moment at which nobody is looking.
pub async fn an_hour_away(world: &World) {
    wait_for("a job that waits for its next look", async || {
        let mut tx = world.pool.begin().await.unwrap();
        sqlx::query("SELECT FROM appointment FOR UPDATE").execute(&mut *tx).await.unwrap();
        let waits = "UPDATE job SET run_at = now() + interval '1 h', not_before = now() + interval '1 h'
                     WHERE kind = 'booking' AND state = 'retryable'";
        let looks = "UPDATE calcom_op SET next_look_at = now() + interval '1 h' WHERE state = 'unknown'";
        let waits = sqlx::query(waits).execute(&mut *tx).await.unwrap().rows_affected();
        let looks = sqlx::query(looks).execute(&mut *tx).await.unwrap().rows_affected();
        if (waits, looks) != (1, 1) {
            return None;
        }
        tx.commit().await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_looked_for_at_once_and_nothing_is_sent_again() {
    let world = World::new().await;
    lose_the_answer(&world);
    let (api, _worker) = (world.api().await, world.worker(None));
    let id = book(&world, &api).await;
    an_hour_away(&world).await;
    world.sandbox.set_faults(Faults::default()).unwrap();
    let tried = sync(&api, &id, &[WAIT, ("idempotency-key", "k")]).await;
    assert_eq!(tried.status, 202, "{}", tried.body);
    assert_eq!(standing(&tried), (&json!("scheduled"), &json!("synced")), "{}", tried.body);
    assert_eq!((&tried.body["job"]["kind"], &tried.body["job"]["coalesced"]), (&json!("sync"), &json!(false)));
    let again = sync(&api, &id, &[("idempotency-key", "k")]).await;
    assert_eq!((again.status, &again.body["job"]["id"]), (200, &tried.body["job"]["id"]), "decided before");
    assert_eq!(world.creates().1, 1);
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needed_a_person_is_done_once_its_cause_is_gone() {
    let world = World::new().await;
    sqlx::query("DELETE FROM company_secret WHERE kind = 'calcom'").execute(&world.pool).await.unwrap();
    let (api, _worker) = (world.api().await, world.worker(None));
    let id = book(&world, &api).await;
    let path = format!("/v1/appointments/{id}");
    wait_until("needs_review", async || api.get(&path).await.body["sync"] == "needs_review").await;
    let key = SecretString::from("cal_test");
    world.store.set_secret(world.company.company_id, SecretKind::Calcom, &key).await.unwrap();
    let tried = sync(&api, &id, &[WAIT]).await;
    assert_eq!((tried.status, standing(&tried)), (202, (&json!("scheduled"), &json!("synced"))), "{}", tried.body);
    let queues = api.get("/v1/queues").await.body;
    let parked = queues["queues"].as_array().unwrap().iter().map(|queue| queue["parked"].as_i64().unwrap());
    assert_eq!(parked.sum::<i64>(), 0, "nothing needs a person any more: {queues}");
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_worker_one_job_waits_and_what_is_over_is_refused() {
    let world = World::new().await;
    let api = world.api().await;
    let id = book(&world, &api).await;
    let [first, second] = [sync(&api, &id, &[]).await, sync(&api, &id, &[]).await];
    assert_eq!((first.status, &first.body["job"]["coalesced"]), (202, &json!(false)), "{}", first.body);
    assert_eq!((second.status, &second.body["job"]["coalesced"]), (202, &json!(true)), "{}", second.body);
    assert_eq!(
        (&second.body["job"]["id"], &second.body["job"]["key"]),
        (&first.body["job"]["id"], &json!(format!("sync:{id}")))
    );
    for nobody in [&Uuid::nil().to_string(), "12"] {
        assert_eq!(sync(&api, nobody, &[]).await.status, 404);
    }
    let unknown = api.post(&format!("/v1/appointments/{id}/sync"), &[], &json!({"force": true})).await;
    assert_eq!((unknown.status, problem(&unknown.body)), (422, "unknown_field"), "{}", unknown.body);
    sqlx::query("UPDATE appointment SET status = 'completed'").execute(&world.pool).await.unwrap();
    let over = sync(&api, &id, &[]).await;
    assert_eq!((over.status, problem(&over.body)), (422, "final"), "{}", over.body);
    world.gone().await;
}
