//! `/v1` with workers behind it: what an answer says is how it stands, now and at Cal.com.
//!
//! Deliberately absent: what needs no worker (`api/tests`), and bad input (bad_input.rs).

use crate::calendar::Foreign;
use crate::{Wish, id_of, problem, said, swept_worker};
use chrono::{DateTime, Utc};
use harness::{Answer, Api, Process, World, wait_until};
use serde_json::{Value, json};
use sqlx::query_scalar;
use std::sync::Arc;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use uuid::Uuid;

/// The longest wait that can be asked for.
const WAIT: (&str, &str) = ("prefer", "wait=10");

async fn book(api: &Api, wish: &Wish, headers: &[(&str, &str)]) -> Answer {
    api.post("/v1/appointments", headers, &wish.written()).await
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map_or("none", |value| value.to_str().unwrap())
}

/// The words of an appointment's timeline, in order.
async fn timeline(api: &Api, path: &str) -> Vec<String> {
    let told = api.get(&format!("{path}/timeline")).await.body;
    let entries = told["entries"].as_array().unwrap();
    assert!(entries.iter().all(|entry| !entry["detail"].as_str().unwrap().is_empty()), "{told}");
    entries.iter().map(|entry| entry["what"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_told_that_it_is_scheduled() {
    let world = World::new().await;
    let (api, _worker) = (world.api().await, world.worker(None));
    let made = book(&api, &Wish::nth(&world, 0).await, &[WAIT]).await;
    assert_eq!((made.status, &made.body["appointment"]["status"]), (201, &json!("scheduled")), "{}", made.body);
    assert_eq!(world.live().len(), 1, "when it is said");
    assert_eq!(header(&made, "preference-applied"), "wait=10");
    let path = header(&made, "location").to_owned();
    let kept = api.get(&path).await;
    assert_eq!((kept.status, &kept.body), (200, &made.body["appointment"]));
    assert_eq!(header(&kept, "etag"), header(&made, "etag"));

    world.rests().await;
    let job = api.get(&format!("/v1/jobs/{}", made.body["job"]["id"].as_str().unwrap())).await.body;
    assert_eq!((&job["state"], &job["key"]), (&json!("completed"), &made.body["job"]["key"]), "{job}");
    let of_it = api.get(&format!("/v1/jobs?appointment_id={}", kept.body["id"].as_str().unwrap())).await.body;
    assert!(of_it["jobs"].as_array().unwrap().contains(&job), "{of_it}");
    assert_eq!(waiting(&api).await, 0);
    assert_eq!(api.get("/v1/callbacks").await.body, json!({"callbacks": []}));
    world.at_rest().await;
}

/// Jobs of every kind that wait, run or need a person, as `/v1/queues` has it.
async fn waiting(api: &Api) -> i64 {
    let told = api.get("/v1/queues").await.body;
    let queues = told["queues"].as_array().unwrap();
    assert!(queues.iter().any(|queue| queue["name"] == "booking"), "{told}");
    let states = ["available", "retryable", "running", "parked"];
    queues.iter().flat_map(|queue| states.map(|state| queue[state].as_i64().unwrap())).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_wait_gets_a_promise_a_job_and_a_place_to_look() {
    let world = World::new().await;
    let api = world.api().await;
    let made = book(&api, &Wish::nth(&world, 0).await, &[]).await;
    assert_eq!((made.status, &made.body["appointment"]["status"]), (202, &json!("requested")), "{}", made.body);
    assert_eq!((&made.body["job"]["coalesced"], &made.body["job"]["state"]), (&json!(false), &json!("available")));
    let path = header(&made, "location").to_owned();
    assert_eq!(path, format!("/v1/appointments/{}", made.body["appointment"]["id"].as_str().unwrap()));
    assert_eq!(timeline(&api, &path).await.first().unwrap(), "accepted");
    assert!(!timeline(&api, &path).await.contains(&"scheduled".to_owned()), "nobody works yet");
    assert!(waiting(&api).await > 0);

    let _worker = world.worker(None);
    wait_until("the confirmation", async || api.get(&path).await.body["status"] == "scheduled").await;
    world.rests().await;
    let story = timeline(&api, &path).await;
    let mut told = story.iter();
    for word in ["accepted", "sent", "answered", "scheduled"] {
        assert!(told.any(|t| t == word), "{word}, in this order: {story:?}");
    }
    assert_eq!(waiting(&api).await, 0);
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_idempotency_key_is_one_appointment_however_often_and_at_once() {
    const CALLERS: usize = 20;
    let world = World::new().await;
    let (api, _worker) = (Arc::new(world.api().await), world.worker(None));
    let (wish, other) = (Wish::nth(&world, 0).await, Wish::nth(&world, 1).await);
    let key = ("idempotency-key", "k-4711");
    let barrier = Arc::new(Barrier::new(CALLERS));
    let mut asking = JoinSet::new();
    for _ in 0..CALLERS {
        let (api, barrier, wish) = (Arc::clone(&api), Arc::clone(&barrier), wish.clone());
        asking.spawn(async move {
            barrier.wait().await;
            book(&api, &wish, &[key]).await
        });
    }
    let answers = asking.join_all().await;
    let first = answers.iter().find(|answer| answer.status == 202).expect("one of them is new");
    let id = &first.body["appointment"]["id"];
    assert!(answers.iter().all(|answer| answer.body["appointment"]["id"] == *id), "one appointment");
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), CALLERS - 1, "the others hear of it");

    world.rests().await;
    let again = book(&api, &wish, &[key, WAIT]).await;
    assert_eq!((again.status, &again.body["appointment"]["id"]), (200, id), "decided before");
    assert_eq!(again.body["appointment"]["status"], "scheduled", "as it stands now");
    assert_eq!(again.body["job"]["id"], first.body["job"]["id"]);
    let reused = book(&api, &other, &[key]).await;
    assert_eq!((reused.status, problem(&reused.body)), (422, "key_reused"), "{}", reused.body);
    assert_eq!(reused.body["field"], "Idempotency-Key");
    assert_eq!(world.creates().1, 1);
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_of_another_version_than_the_current_one_does_nothing() {
    let world = World::new().await;
    let (api, _worker) = (world.api().await, world.worker(None));
    let asked = book(&api, &Wish::nth(&world, 0).await, &[]).await;
    let (path, stale) = (header(&asked, "location").to_owned(), header(&asked, "etag").to_owned());
    world.rests().await;
    let kept = api.get(&path).await;
    let current = header(&kept, "etag").to_owned();
    assert_ne!(stale, current, "its confirmation is a version of its own");

    let cancel = format!("{path}/cancel");
    let refused = api.post(&cancel, &[("if-match", &stale)], &json!({})).await;
    assert_eq!((refused.status, problem(&refused.body)), (412, "stale_version"), "{}", refused.body);
    assert_eq!(header(&refused, "etag"), current);
    assert_eq!(refused.body["current"], json!({"version": kept.body["version"], "status": "scheduled"}));
    assert_eq!((api.get(&path).await.body, world.live().len()), (kept.body, 1), "it stands");

    let done = api.post(&cancel, &[("if-match", &current), WAIT], &json!({"reason": "krank"})).await;
    assert_eq!((done.status, &done.body["appointment"]["status"]), (202, &json!("cancelled")), "{}", done.body);
    assert_eq!((&done.body["appointment"]["sync"], world.live().len()), (&json!("synced"), 0), "Cal.com knows");
    let again = api.post(&cancel, &[], &json!({})).await;
    assert_eq!((again.status, &again.body["job"]), (200, &json!(null)), "{}", again.body);
    world.rests().await;
    world.at_rest().await;
}

/// The worker does what there is to do, and ends. (One that is merely paused may hold a lock.)
async fn goes_home(world: &World, mut worker: Process) {
    world.rests().await;
    worker.stop();
    assert_eq!(worker.ended().await, Some(0));
}

/// Of two that wait under one key there is only ever one; the answer says which, and whether it is new.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_says_whether_its_job_is_new_or_waited_already() {
    let world = World::new().await;
    let api = world.api().await;
    for waits_already in [false, true] {
        let worker = world.worker(None);
        let made = book(&api, &Wish::nth(&world, u32::from(waits_already)).await, &[]).await;
        let (path, id) = (header(&made, "location"), id_of(&made.body["appointment"]["id"]));
        goes_home(&world, worker).await;
        let mut waiting = None;
        if waits_already {
            // As a sweep or a webhook will leave one; no route of today does.
            let sql = "INSERT INTO job (company_id, job_id, kind, subject, appointment_id, expected_version, run_at)
                       SELECT company_id, $2, 'sync', $1::text, $1, version, now() + interval '1 hour' FROM appointment
                       WHERE appointment_id = $1 RETURNING job_id";
            waiting = Some(query_scalar(sql).bind(id.0).bind(Uuid::now_v7()).fetch_one(&world.pool).await.unwrap());
        }
        let cancelled = api.post(&format!("{path}/cancel"), &[], &json!({})).await;
        let job = &cancelled.body["job"];
        assert_eq!((cancelled.status, &job["coalesced"]), (202, &json!(waits_already)), "{}", cancelled.body);
        assert_eq!((&job["kind"], &job["key"]), (&json!("sync"), &json!(format!("sync:{id}"))));
        let job_id: Uuid = job["id"].as_str().unwrap().parse().unwrap();
        assert!(waiting.is_none_or(|waiting: Uuid| waiting == job_id), "the one that waited");
        let _worker = world.worker(None);
        world.rests().await;
        assert_eq!(api.get(&format!("/v1/jobs/{job_id}")).await.body["state"], "completed");
    }
    assert_eq!(world.live().len(), 0);
    world.at_rest().await;
}

/// Somebody has the time at Cal.com already, and the record cannot know.
#[tokio::test(flavor = "multi_thread")]
async fn what_calcom_refuses_is_rejected_and_said_so() {
    let world = World::new().await;
    let (api, _worker) = (world.api().await, swept_worker(&world).await);
    for (n, waits) in [(0, true), (10, false)] {
        let wish = Wish::nth(&world, n).await;
        let foreign = Foreign::books(&world, &wish).await;
        let told = book(&api, &wish, if waits { &[WAIT] } else { &[] }).await;
        let path = header(&told, "location").to_owned();
        let id = if waits { &told.body["appointment_id"] } else { &told.body["appointment"]["id"] };
        assert_eq!(path, format!("/v1/appointments/{}", id_of(id)));
        if waits {
            assert_eq!((told.status, problem(&told.body)), (409, "rejected"), "{}", told.body);
            instead_of(&api, &wish, &told.body["alternatives"]).await;
        } else {
            assert_eq!((told.status, &told.body["appointment"]["status"]), (202, &json!("requested")), "{}", told.body);
        }
        wait_until("the refusal", async || api.get(&path).await.body["status"] == "rejected").await;
        world.rests().await;
        assert!(api.get(&path).await.body["reason"].is_string(), "it says why");
        let story = timeline(&api, &path).await;
        assert!(["rejected", "callback"].iter().all(|word| story.contains(&(*word).to_owned())), "{story:?}");
        let callbacks = api.get("/v1/callbacks").await.body["callbacks"].clone();
        let of_it = callbacks.as_array().unwrap().iter().filter(|callback| callback["appointment_id"] == *id);
        assert_eq!(of_it.count(), 1, "a person must ring: {callbacks}");
        let then = world.live().into_iter().filter(|booking| booking.start == wish.starts_at);
        assert_eq!(then.map(|b| b.marker().is_some()).collect::<Vec<_>>(), [false], "only the other's");
        foreign.leaves().await;
        let again = book(&api, &wish, &[WAIT]).await;
        assert_eq!(again.status, 201, "once it is free there too, it can be had: {}", again.body);
    }
    world.at_rest().await;
}

/// Three are offered, none of them what was just refused; the first can be had at once.
async fn instead_of(api: &Api, refused: &Wish, offers: &Value) {
    let offers = offers.as_array().unwrap();
    let starts: Vec<DateTime<Utc>> = offers.iter().map(|o| o["starts_at"].as_str().unwrap().parse().unwrap()).collect();
    assert!(starts.len() == 3 && starts.iter().all(|start| *start > refused.starts_at), "{offers:?}");
    let staff_id = i32::try_from(offers[0]["staff_id"].as_i64().unwrap()).unwrap();
    let taken = book(api, &Wish { starts_at: starts[0], staff_id, ..refused.clone() }, &[WAIT]).await;
    assert_eq!(taken.status, 201, "{}", taken.body);
}

/// Called off, and Cal.com does not know yet: the time is not free, and not simply taken either.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_is_being_released_is_called_so_until_it_is_free() {
    let world = World::new().await;
    let (api, worker) = (world.api().await, world.worker(None));
    let (wish, next) = (Wish::nth(&world, 0).await, Wish::nth(&world, 1).await);
    let made = book(&api, &wish, &[WAIT]).await;
    goes_home(&world, worker).await;
    let cancelled = api.post(&format!("{}/cancel", header(&made, "location")), &[], &json!({})).await;
    assert_eq!((cancelled.status, world.live().len()), (202, 1), "{}", cancelled.body);

    let after = Wish { starts_at: wish.starts_at, ..next };
    let refused = book(&api, &after, &[]).await;
    assert_eq!((refused.status, problem(&refused.body)), (409, "being_released"), "{}", refused.body);
    assert!(header(&refused, "retry-after").parse::<u32>().unwrap() >= 1);
    let spoken = api.call("book_appointment", "call_released", &after.phone, after.spoken()).await;
    let spoken = said(&world, spoken).await;
    assert_eq!((&spoken["success"], &spoken["status"]), (&json!(false), &json!("slot_locked")), "{spoken}");
    for alternatives in [&refused.body["alternatives"], &spoken["alternatives"]] {
        assert_eq!(alternatives.as_array().unwrap().len(), 3);
    }
    let _worker = world.worker(None);
    world.rests().await;
    assert_eq!(book(&api, &after, &[WAIT]).await.status, 201, "now it is");
    world.at_rest().await;
}
