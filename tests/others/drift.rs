//! `askpro drift`: an operator compares, and has it repaired where neither a webhook nor a sweep has come.

use crate::by_webhook;
use harness::{World, wait_until};
use serde_json::{Value, json};

fn says(world: &World, arguments: &[&str], code: i32) -> Value {
    let (ended, text) = world.askpro_ends(&[arguments, &["-o", "json"]].concat());
    assert_eq!(ended, code, "{arguments:?}: {text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_lists_what_differs_and_has_it_repaired() {
    let world = World::new().await;
    let _worker = world.worker_with(&by_webhook());
    let ids = [world.scheduled(0).await, world.scheduled(1).await, world.scheduled(2).await];
    world.rests().await;
    // Not while it might have been made just now.
    wait_until("the end of the quarantine", async || {
        world.count("SELECT count(*) FROM calcom_op WHERE sent_at > now() - interval '3 seconds'").await == 0
    })
    .await;
    assert_eq!(says(&world, &["drift", "list"], 0)["drift"], json!([]));
    let elsewhere = world.wish(6).await.starts_at;
    world.sandbox.reschedule_by_others(&world.booking(ids[0]).await.unwrap().uid, elsewhere).await.unwrap();
    world.sandbox.delete_by_others(&world.booking(ids[1]).await.unwrap().uid).await.unwrap();
    let foreign = world.sandbox.create_by_others(&world.foreign(8).await).await.unwrap();

    let listed = says(&world, &["drift", "list"], 5);
    let mut found: Vec<(Value, Value)> = vec![];
    for drift in listed["drift"].as_array().unwrap() {
        found.push((drift["difference"].clone(), drift["appointment_id"].clone()));
        assert_eq!(drift["job_id"], Value::Null, "a list does nothing");
    }
    found.sort_by_key(|(difference, _)| difference.to_string());
    let (moved, deleted) = (json!(ids[0].to_string()), json!(ids[1].to_string()));
    // The old booking is gone, the new one is not recorded.
    assert_eq!(found, [(json!("missing"), moved.clone()), (json!("missing"), deleted), (json!("not_ours"), moved)]);
    assert_eq!(listed["others_unknown"], 1);
    let table = world.askpro_ends(&["drift", "list"]).1;
    for booking in world.sandbox.bookings() {
        assert!(!table.contains(&booking.uid) && !listed.to_string().contains(&booking.uid), "a uid is a capability");
    }

    let jobs = "SELECT count(*) FROM job WHERE kind = 'calcom_event'";
    assert_eq!(says(&world, &["drift", "repair"], 0)["repaired"], false);
    assert_eq!(world.count(jobs).await, 0, "a dry run does nothing");
    let repaired = says(&world, &["drift", "repair", "--yes", "--reason", "restored from a dump"], 0);
    assert!(repaired["drift"].as_array().unwrap().iter().all(|drift| drift["job_id"].is_string()), "{repaired}");
    assert!(world.count(jobs).await > 0);
    wait_until("the lost one, made again", async || {
        world.booking(ids[1]).await.is_some_and(|b| b.status == sandbox::Status::Accepted)
    })
    .await;
    wait_until("the move", async || crate::starts_at(&world, ids[0]).await == elsewhere).await;
    world.rests().await;
    let noted = "SELECT count(*) FROM operator_action WHERE what = 'drift repair' AND why = 'restored from a dump'";
    assert_eq!(world.count(noted).await, 3, "one for each difference");
    assert_eq!(says(&world, &["drift", "list"], 0)["drift"], json!([]));
    world.sandbox.cancel_by_others(&foreign.uid).await.unwrap();
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cal_com_refuses_is_told() {
    let world = World::new().await;
    sqlx::query("DELETE FROM company_secret WHERE kind = 'calcom'").execute(&world.pool).await.unwrap();
    let (code, said) = world.askpro_fails(&["drift", "list"]);
    assert!(code == 3 && said.contains("no key of Cal.com"), "{code}: {said}");
    world.gone().await;
}
