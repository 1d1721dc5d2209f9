//! A person at the command line, with workers behind him: what is stuck is seen, decided and done.
//!
//! Deliberately absent: how an answer looks (`cli/src`), and what the record alone decides (`shared/store/tests`).

use crate::id_of;
use crate::sync::{an_hour_away, lose_the_answer};
use domain::id::AppointmentId;
use harness::{World, wait_until};
use sandbox::Faults;
use secrecy::SecretString;
use serde_json::{Value, json};
use store::SecretKind;

fn says(world: &World, arguments: &[&str]) -> Value {
    serde_json::from_str(&world.askpro(&[arguments, &["-o", "json"]].concat())).unwrap()
}

async fn becomes(world: &World, id: AppointmentId, status: &str) {
    wait_until(status, async || world.status(id).await == status).await;
}

/// What was done by hand: the command, and why.
async fn noted(world: &World) -> Vec<(String, String)> {
    let sql = "SELECT what, why FROM operator_action ORDER BY action_id";
    sqlx::query_as(sql).fetch_all(&world.pool).await.unwrap()
}

fn deeds(deeds: &[(&str, &str)]) -> Vec<(String, String)> {
    deeds.iter().map(|(what, why)| ((*what).to_owned(), (*why).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_person_is_listed_tried_again_and_rung_for() {
    let world = World::new().await;
    sqlx::query("DELETE FROM company_secret WHERE kind = 'calcom'").execute(&world.pool).await.unwrap();
    let _worker = world.worker(None);
    let id = world.book(0).await;
    wait_until("a review", async || says(&world, &["review", "list"])["reviews"] != json!([])).await;
    let listed = says(&world, &["review", "list"])["reviews"].clone();
    assert_eq!(
        (&listed[0]["appointment_id"], &listed[0]["reason"]),
        (&json!(id.to_string()), &json!("calcom_key_missing"))
    );
    assert_eq!((&listed[0]["status"], &listed[0]["booked_at"]), (&json!("requested"), &Value::Null), "{listed}");
    let step = format!("askpro --company salon review resolve {id} --by retry --reason TEXT");
    assert_eq!(listed[0]["next_step"], json!(step));

    let key = SecretString::from("cal_test");
    world.store.set_secret(world.company.company_id, SecretKind::Calcom, &key).await.unwrap();
    let again = ["review", "resolve", &id.to_string(), "--by", "retry", "--reason", "the key is there"];
    assert_eq!(says(&world, &again)["status"], "requested", "the promise stands");
    becomes(&world, id, "scheduled").await;
    world.rests().await;
    assert_eq!(says(&world, &["review", "list"])["reviews"], json!([]));
    let (code, said) =
        world.askpro_fails(&["review", "resolve", &id.to_string(), "--by", "cancel", "--reason", "late"]);
    assert!(code == 4 && said.contains("nothing was changed"), "{code}: {said}");
    assert_eq!(world.status(id).await, "scheduled");
    let nobody = uuid::Uuid::nil().to_string();
    assert_eq!(world.askpro_fails(&["review", "resolve", &nobody, "--by", "retry", "--reason", "x"]).0, 3);

    let open = says(&world, &["callbacks", "list"])["callbacks"].clone();
    let done = ["callbacks", "done", open[0]["id"].as_str().unwrap(), "--reason", "told him"];
    assert_eq!((&says(&world, &done)["changed"], &says(&world, &done)["changed"]), (&json!(true), &json!(false)));
    assert_eq!(says(&world, &["callbacks", "list"])["callbacks"], json!([]));
    assert_eq!(world.askpro_fails(&["callbacks", "done", &nobody, "--reason", "x"]).0, 3);
    let wanted = deeds(&[("review resolve --by retry", "the key is there"), ("callbacks done", "told him")]);
    assert_eq!(noted(&world).await, wanted, "each change once");
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_person_is_called_off_and_its_time_is_free() {
    let world = World::new().await;
    sqlx::query("DELETE FROM company_secret WHERE kind = 'calcom'").execute(&world.pool).await.unwrap();
    let _worker = world.worker(None);
    let id = world.book(0).await;
    wait_until("a review", async || says(&world, &["review", "list"])["reviews"] != json!([])).await;
    let off = says(&world, &["review", "resolve", &id.to_string(), "--by", "cancel", "--reason", "she rang off"]);
    assert_eq!((&off["status"], &off["version"]), (&json!("cancelled"), &json!(2)));
    world.rests().await;
    assert_eq!(says(&world, &["review", "list"])["reviews"], json!([]));
    assert_eq!(noted(&world).await, deeds(&[("review resolve --by cancel", "she rang off")]));
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_unknown_outcome_is_found_and_verified() {
    let world = World::new().await;
    lose_the_answer(&world);
    let _worker = world.worker(None);
    let id = world.book(0).await;
    an_hour_away(&world).await;
    world.sandbox.set_faults(Faults::default()).unwrap();
    let ops = says(&world, &["ops", "list", "--state", "unknown", "--older-than", "0s"])["ops"].clone();
    assert_eq!((ops.as_array().unwrap().len(), id_of(&ops[0]["appointment_id"])), (1, id), "{ops}");
    assert_eq!(says(&world, &["ops", "list", "--older-than", "1h"])["ops"], json!([]));
    let verifying = says(&world, &["ops", "verify", &id.to_string(), "--reason", "she waits"]);
    assert_eq!((&verifying["op_id"], &verifying["job"]["kind"]), (&ops[0]["id"], &json!("booking")), "{verifying}");
    becomes(&world, id, "scheduled").await;
    let (code, said) = world.askpro_fails(&["ops", "verify", &id.to_string()]);
    assert!(code == 3 && said.contains("unresolved"), "{code}: {said}");
    assert_eq!(noted(&world).await, deeds(&[("ops verify", "she waits")]));
    let uid = world.live()[0].uid.clone();
    assert!(!world.askpro(&["ops", "list", "-o", "json"]).contains(&uid), "never the uid");
    assert_eq!(world.creates().1, 1);
    world.at_rest().await;
}

/// In three steps: both keys everywhere, all sealed anew, the old key gone. A booking is made after each.
#[tokio::test(flavor = "multi_thread")]
async fn the_sealing_key_is_changed_while_bookings_are_made() {
    const OLD: &str = "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const NEW: &str = "k2:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let world = World::new().await;
    let keys = |keys: &[&str]| [("ASKPRO_SEALING_KEYS", keys.join(","))];
    let both = world.worker_with(&keys(&[OLD, NEW]));
    let first = world.book(0).await;
    becomes(&world, first, "scheduled").await;

    let set = format!("sealing_keys={NEW},{OLD}");
    let rotate = |more: &[&str]| says(&world, &[&["--set", &set, "secrets", "rotate"], more].concat());
    let plan = rotate(&[]);
    assert_eq!((&plan["dry_run"], &plan["count"]), (&json!(true), &json!(2)), "{plan}");
    assert_eq!(rotate(&[])["count"], json!(2), "nothing was changed");
    let done = rotate(&["--yes", "--reason", "every year"]);
    assert_eq!((&done["resealed"], &done["left"]), (&json!(2), &json!(0)), "{done}");
    assert_eq!(rotate(&[])["count"], json!(0));
    let second = world.book(1).await;
    becomes(&world, second, "scheduled").await;
    world.rests().await;
    drop(both);

    let _new_only = world.worker_with(&keys(&[NEW]));
    let third = world.book(2).await;
    becomes(&world, third, "scheduled").await;
    let listed = world.askpro(&["secrets", "list", "-o", "json"]);
    let secrets: Value = serde_json::from_str(&listed).unwrap();
    assert!(secrets["secrets"].as_array().unwrap().iter().all(|s| s["key_id"] == "k2"), "{secrets}");
    assert!(!listed.contains("cal_test"), "never a value");
    let newest = secrets["secrets"][0]["id"].to_string();
    let (code, said) = world.askpro_fails(&["secrets", "remove", &newest, "--reason", "x"]);
    assert!(code == 4 && said.contains("set another one first"), "{code}: {said}");
    assert_eq!(noted(&world).await, deeds(&[("secrets rotate", "every year")]));
    world.at_rest().await;
}
