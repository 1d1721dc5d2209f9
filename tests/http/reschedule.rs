//! Another time, by both doors: the new one is Cal.com's too before anybody hears "moved"; refused there, the old one
//! stands, and whoever waited hears that.
//!
//! Deliberately absent: what the record alone decides (`shared/store/tests`).

use crate::calendar::Foreign;
use crate::{Wish, id_of, patient_api, problem, rows, said, swept_worker};
use domain::id::AppointmentId;
use harness::{Answer, Api, World};
use serde_json::{Value, json};

async fn scheduled(api: &Api, wish: &Wish) -> AppointmentId {
    let made = api.post("/v1/appointments", &[("prefer", "wait=10")], &wish.written()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    id_of(&made.body["appointment"]["id"])
}

async fn moves(api: &Api, id: AppointmentId, to: &Wish, headers: &[(&str, &str)]) -> Answer {
    let body = json!({"starts_at": to.starts_at.to_rfc3339(), "reason": "krank"});
    api.post(&format!("/v1/appointments/{id}/reschedule"), headers, &body).await
}

async fn history(world: &World) -> Vec<String> {
    sqlx::query_scalar("SELECT what FROM appointment_event ORDER BY version").fetch_all(&world.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appointment_is_moved_at_cal_com_and_its_old_time_is_free() {
    let world = World::new().await;
    let (api, _worker) = (world.api().await, world.worker(None));
    let [old, new] = [Wish::nth(&world, 0).await, Wish::nth(&world, 3).await];
    let id = scheduled(&api, &old).await;
    let stale = moves(&api, id, &new, &[("if-match", "\"v1\"")]).await;
    assert_eq!((stale.status, problem(&stale.body)), (412, "stale_version"), "{}", stale.body);
    let headers = [("if-match", "\"v2\""), ("prefer", "wait=10"), ("idempotency-key", "k")];
    let moved = moves(&api, id, &new, &headers).await;
    assert_eq!(moved.status, 202, "{}", moved.body);
    assert_eq!(
        (&moved.body["appointment"]["status"], &moved.body["appointment"]["sync"]),
        (&json!("scheduled"), &json!("synced"))
    );
    assert_eq!(moved.body["job"]["key"], format!("sync:{id}"));
    let again = moves(&api, id, &new, &headers).await;
    assert_eq!((again.status, &again.body["appointment"]["id"]), (200, &json!(id.to_string())), "decided before");
    let live = world.live();
    assert_eq!(live.iter().map(|b| b.start).collect::<Vec<_>>(), [new.starts_at]);
    assert!(live[0].marker().is_some(), "the chain is still ours");
    assert_eq!(history(&world).await, ["requested", "scheduled", "rescheduled"]);
    let rival = Wish { phone: "+4915112999999".to_owned(), ..old };
    scheduled(&api, &rival).await;
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_by_cal_com_the_old_time_stands_and_whoever_waited_hears_it() {
    let world = World::new().await;
    let (api, _worker) = (world.api().await, swept_worker(&world).await);
    let [old, new] = [Wish::nth(&world, 0).await, Wish::nth(&world, 3).await];
    let id = scheduled(&api, &old).await;
    let foreign = Foreign::books(&world, &new).await;
    let refused = moves(&api, id, &new, &[("prefer", "wait=10")]).await;
    assert_eq!((refused.status, problem(&refused.body)), (409, "rejected"), "{}", refused.body);
    let now = api.get(&format!("/v1/appointments/{id}")).await.body;
    assert_eq!((&now["status"], &now["version"], &now["sync"]), (&json!("scheduled"), &json!(4), &json!("synced")));
    assert_eq!(now["starts_at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap(), old.starts_at);
    assert_eq!(history(&world).await, ["requested", "scheduled", "rescheduled", "moved_back"]);
    let callbacks = api.get("/v1/callbacks").await.body["callbacks"].clone();
    assert_eq!(callbacks[0]["reason"], "reschedule_refused_by_calcom", "{callbacks}");
    foreign.leaves().await;
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_voice_it_is_asked_first_and_moved_when_confirmed() {
    let world = World::new().await;
    let (api, _worker) = (patient_api(&world).await, world.worker(None));
    let [old, new] = [Wish::nth(&world, 0).await, Wish::nth(&world, 3).await];
    scheduled(&api, &old).await;
    let (day, time) = new.local();
    let says = async |more: Value| {
        let mut args = json!({"new_datum": day, "new_uhrzeit": time});
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        said(&world, api.call("reschedule_appointment", "call_move", &old.phone, args).await).await
    };
    let before = rows(&world).await;
    let asked = says(json!({})).await;
    assert_eq!((&asked["success"], &asked["status"]), (&json!(true), &json!("ready_for_confirmation")), "{asked}");
    assert_eq!(asked["new_appointment"]["time"], json!(time));
    let no = says(json!({"bestaetigung": "false"})).await;
    assert_eq!((&no["status"], &no["rescheduled"]), (&json!("not_rescheduled"), &json!(false)), "{no}");
    assert_eq!(rows(&world).await, before, "nothing was written");
    assert_eq!(world.live()[0].start, old.starts_at);

    let moved = says(json!({"bestaetigung": "true"})).await;
    assert_eq!((&moved["status"], &moved["rescheduled"]), (&json!("rescheduled"), &json!(true)), "{moved}");
    assert_eq!((&moved["neues_datum"], &moved["neue_uhrzeit"]), (&json!(day), &json!(time)), "{moved}");
    assert_eq!(world.live()[0].start, new.starts_at, "it is true when it is said");
    let again = says(json!({"bestaetigung": "true"})).await;
    assert_eq!((&again["status"], &again["rescheduled"]), (&json!("rescheduled"), &json!(true)), "{again}");
    assert_eq!(history(&world).await, ["requested", "scheduled", "rescheduled"], "once");

    let missing = said(&world, api.call("reschedule_appointment", "call_move", &old.phone, json!({})).await).await;
    assert_eq!(missing["status"], "needs_new_time", "{missing}");
    let nobody = api
        .call("reschedule_appointment", "call_other", "+4915112888888", json!({"new_datum": day, "new_uhrzeit": time}))
        .await;
    assert_eq!(said(&world, nobody).await["status"], "not_found");
    world.rests().await;
    world.at_rest().await;
}
