//! What the business allows, at both doors: refused with the reason and with what is possible, done with its fee; whose
//! number is withheld changes nothing and is rung instead.
//!
//! Deliberately absent: the decision itself (`shared/domain`), and that it holds while policies change (`tests/races`).

use crate::{Wish, id_of, patient_api, problem, rows, said};
use harness::{Api, World};
use serde_json::{Value, json};
use uuid::Uuid;

/// Puts a policy into force as an operator does, and says what came of it.
fn publish(world: &World, toml: &str) -> Value {
    let file = std::env::temp_dir().join(format!("askpro-policy-{}.toml", Uuid::now_v7()));
    std::fs::write(&file, toml).unwrap();
    let path = file.to_str().unwrap();
    let told = world.askpro(&["policies", "publish", path, "--yes", "--reason", "new season", "-o", "json"]);
    std::fs::remove_file(&file).unwrap();
    serde_json::from_str(&told).unwrap()
}

fn says(world: &World, arguments: &[&str]) -> Value {
    serde_json::from_str(&world.askpro(&[arguments, &["-o", "json"]].concat())).unwrap()
}

async fn scheduled(api: &Api, wish: &Wish) -> String {
    let made = api.post("/v1/appointments", &[("prefer", "wait=10")], &wish.written()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.body["appointment"]["id"].as_str().unwrap().to_owned()
}

async fn call(world: &World, api: &Api, function: &str, (id, from): (&str, &str), args: Value) -> Value {
    said(world, api.call(function, id, from, args).await).await
}

/// What the history says of decisions, in their order.
async fn decisions(world: &World) -> Vec<(String, Option<i32>, Option<i64>)> {
    let sql = "SELECT who, policy_version, fee_minor FROM appointment_event
               WHERE what IN ('cancelled', 'rescheduled') ORDER BY at";
    sqlx::query_as(sql).fetch_all(&world.pool).await.unwrap()
}

const STRICT: &str = r#"
scope = "company"
currency = "EUR"
[cancellation]
hours_before = 5000
[reschedule]
max_per_appointment = 1
fee_tiers = [{ hours_before = 5000, fee_minor = 0 }, { hours_before = 0, fee_minor = 1550 }]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_hears_why_not_what_is_possible_and_what_it_costs() {
    let world = World::new().await;
    let (api, _worker) = (world.api().await, world.worker(None));
    let [first, second, third] = [Wish::nth(&world, 0).await, Wish::nth(&world, 1).await, Wish::nth(&world, 2).await];
    let (id, other) = (scheduled(&api, &first).await, scheduled(&api, &second).await);
    assert_eq!(says(&world, &["policies", "list"])["policies"], json!([]));
    let published = publish(&world, STRICT);
    assert_eq!((&published["version"], &published["dry_run"]), (&json!(1), &json!(false)), "{published}");
    assert_eq!(publish(&world, STRICT)["version"], Value::Null, "it says so already");

    world.rests().await;
    let before = rows(&world).await;
    let cancel = format!("/v1/appointments/{id}/cancel");
    let refused = api.post(&cancel, &[], &json!({})).await;
    assert_eq!((refused.status, problem(&refused.body)), (422, "policy"), "{}", refused.body);
    assert_eq!((&refused.body["reason"], &refused.body["hours_before"]), (&json!("deadline_missed"), &json!(5000)));
    assert_eq!(refused.body["possible"], json!(["reschedule", "callback_service"]));
    assert_eq!(rows(&world).await, before, "nothing was written");

    let check = says(&world, &["policies", "check", &id]);
    let known: Vec<_> =
        check["decisions"].as_array().unwrap().iter().filter(|d| d["number_withheld"] == false).collect();
    assert_eq!((&known[0]["reason"], &known[0]["decided_by"]), (&json!("deadline_missed"), &json!(1)), "{check}");
    assert_eq!((&known[1]["allowed"], &known[1]["fee_minor"]), (&json!(true), &json!(1550)), "{check}");

    let body = json!({"starts_at": third.starts_at.to_rfc3339()});
    let (path, key) = (format!("/v1/appointments/{id}/reschedule"), [("idempotency-key", "k"), ("prefer", "wait=10")]);
    let moved = api.post(&path, &key, &body).await;
    let fee = json!({"minor": 1550, "currency": "EUR"});
    assert_eq!((moved.status, &moved.body["fee"]), (202, &fee), "{}", moved.body);
    let again = api.post(&path, &key, &body).await;
    assert_eq!((again.status, &again.body["fee"]), (200, &fee), "the same decision: {}", again.body);
    let back = api.post(&path, &[], &json!({"starts_at": first.starts_at.to_rfc3339()})).await;
    assert_eq!((back.status, &back.body["reason"]), (422, &json!("max_reschedules_reached")), "{}", back.body);

    world.askpro(&["appointments", "cancel", &other, "--reason", "flooded"]);
    assert_eq!(world.status(id_of(&json!(other))).await, "cancelled", "an operator is never denied");
    let nearer = publish(&world, "scope = \"staff\"\nid = 1\ncurrency = \"EUR\"\n[cancellation]\nfee_minor = 0\n");
    assert_eq!(nearer["version"], 2, "{nearer}");
    let off = api.post(&cancel, &[("prefer", "wait=10")], &json!({})).await;
    assert_eq!((off.status, &off.body["fee"]), (202, &json!({"minor": 0, "currency": "EUR"})), "{}", off.body);
    let wanted = [("business", Some(1), Some(1550)), ("operator", None, None), ("business", Some(2), Some(0))];
    assert_eq!(decisions(&world).await, wanted.map(|(who, version, fee)| (who.to_owned(), version, fee)));

    let (code, told) = world.askpro_fails(&["policies", "publish", "/nowhere.toml"]);
    assert!(code == 1 && told.contains("/nowhere.toml"), "{code}: {told}");
    let listed = says(&world, &["policies", "list"])["policies"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 2, "one of each scope: {listed}");
    let noted = "SELECT count(*) FROM operator_action WHERE what = 'policies publish' AND why = 'new season'";
    assert_eq!(world.count(noted).await, 2);
    world.rests().await;
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_what_would_change_and_changes_nothing() {
    let world = World::new().await;
    let file = std::env::temp_dir().join(format!("askpro-policy-{}.toml", Uuid::now_v7()));
    std::fs::write(&file, STRICT).unwrap();
    let plan = says(&world, &["policies", "publish", file.to_str().unwrap()]);
    assert_eq!((&plan["dry_run"], &plan["version"]), (&json!(true), &Value::Null), "{plan}");
    assert_eq!(plan["changes"].as_array().unwrap().len(), 6, "{plan}");
    std::fs::write(&file, STRICT.replace("company", "staff\"\nid = 9 #")).unwrap();
    let nobody = ["policies", "publish", file.to_str().unwrap(), "--yes", "--reason", "x"];
    assert_eq!(world.askpro_fails(&nobody).0, 3, "no such member of staff");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(world.count("SELECT count(*) FROM policy_version").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM operator_action").await, 0);
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_hears_until_when_it_was_possible_and_what_it_costs() {
    let world = World::new().await;
    let (api, _worker) = (patient_api(&world).await, world.worker(None));
    let [old, new] = [Wish::nth(&world, 0).await, Wish::nth(&world, 3).await];
    scheduled(&api, &old).await;
    publish(&world, STRICT);
    let caller = ("call_policy", old.phone.as_str());
    let denied = call(&world, &api, "cancel_appointment", caller, json!({})).await;
    assert_eq!((&denied["success"], &denied["status"]), (&json!(false), &json!("denied")), "{denied}");
    assert_eq!((&denied["reason"], &denied["cancelled"]), (&json!("deadline_missed"), &json!(false)), "{denied}");
    let until = (old.starts_at - chrono::TimeDelta::hours(5000)).format("um %H:%M Uhr").to_string();
    let sentence = denied["message"].as_str().unwrap();
    assert!(sentence.contains("5000 Stunden") && sentence.contains(&until), "{sentence}");
    assert!(sentence.ends_with("Verschieben ist noch möglich."), "{sentence}");
    assert_eq!(world.live().len(), 1);

    let (day, time) = new.local();
    let asks = json!({"new_datum": day, "new_uhrzeit": time});
    let asked = call(&world, &api, "reschedule_appointment", caller, asks.clone()).await;
    assert_eq!((&asked["status"], &asked["fee"]), (&json!("ready_for_confirmation"), &json!(15.5)), "{asked}");
    assert!(asked["message"].as_str().unwrap().ends_with("eine Gebühr von 15,50 Euro an."), "{asked}");
    let mut yes = asks.clone();
    yes["bestaetigung"] = json!("true");
    let moved = call(&world, &api, "reschedule_appointment", caller, yes.clone()).await;
    assert_eq!((&moved["status"], &moved["fee"]), (&json!("rescheduled"), &json!(15.5)), "{moved}");
    assert_eq!(call(&world, &api, "reschedule_appointment", caller, yes).await["fee"], 15.5, "and again");
    let third = json!({"new_datum": day, "new_uhrzeit": old.local().1});
    let twice = call(&world, &api, "reschedule_appointment", caller, third).await;
    assert_eq!((&twice["status"], &twice["reason"]), (&json!("denied"), &json!("max_reschedules_reached")), "{twice}");

    publish(&world, "scope = \"company\"\ncurrency = \"EUR\"\n[cancellation]\nfee_minor = 1000\n");
    let off = call(&world, &api, "cancel_appointment", caller, json!({})).await;
    assert_eq!((&off["status"], &off["fee"]), (&json!("cancelled"), &json!(10.0)), "{off}");
    assert!(off["message"].as_str().unwrap().ends_with("eine Gebühr von 10 Euro an."), "{off}");
    assert_eq!(call(&world, &api, "cancel_appointment", caller, json!({})).await, off, "word for word");
    let wanted = [("customer", Some(1), Some(1550)), ("customer", Some(2), Some(1000))];
    assert_eq!(decisions(&world).await, wanted.map(|(who, version, fee)| (who.to_owned(), version, fee)));
    world.rests().await;
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_number_is_withheld_changes_nothing_and_is_rung() {
    let world = World::new().await;
    let (api, _worker) = (patient_api(&world).await, world.worker(None));
    let [wish, new] = [Wish::nth(&world, 0).await, Wish::nth(&world, 3).await];
    let nobody = ("call_withheld", "anonymous");
    let booked = call(&world, &api, "book_appointment", nobody, wish.spoken()).await;
    let id = booked["appointment_id"].clone();
    assert_eq!(booked["booked"], true, "{booked}");
    let (day, time) = new.local();
    let moves = json!({"new_datum": day, "new_uhrzeit": time});
    let queued = call(&world, &api, "reschedule_appointment", nobody, moves.clone()).await;
    assert_eq!((&queued["success"], &queued["status"]), (&json!(true), &json!("callback_queued")), "{queued}");
    assert_eq!((&queued["callback_queued"], &queued["rescheduled"]), (&json!(true), &json!(false)), "{queued}");
    assert_eq!(call(&world, &api, "reschedule_appointment", nobody, moves).await, queued, "once");
    let cancelled = call(&world, &api, "cancel_appointment", nobody, json!({})).await;
    assert_eq!(
        (&cancelled["status"], &cancelled["cancelled"]),
        (&json!("callback_queued"), &json!(false)),
        "{cancelled}"
    );
    assert_eq!(world.status(id_of(&id)).await, "scheduled");
    assert_eq!(world.live()[0].start, wish.starts_at, "nothing was moved");
    let open = api.get("/v1/callbacks").await.body["callbacks"].clone();
    let told: Vec<_> = open.as_array().unwrap().iter().map(|c| (&c["id"], &c["appointment_id"])).collect();
    assert_eq!(told, [(&queued["callback_id"], &id), (&cancelled["callback_id"], &id)], "{open}");

    let stranger = ("call_stranger", "anonymous");
    let theirs = call(&world, &api, "cancel_appointment", stranger, json!({"appointment_id": id})).await;
    assert_eq!(theirs["status"], "callback_queued", "{theirs}");
    assert_eq!(api.get("/v1/callbacks").await.body["callbacks"][2]["appointment_id"], Value::Null, "not his");

    publish(&world, "scope = \"company\"\n[cancellation]\nanonymous = true\n");
    let off = call(&world, &api, "cancel_appointment", nobody, json!({})).await;
    assert_eq!((&off["status"], &off["appointment_id"]), (&json!("cancelled"), &id), "{off}");
    assert_eq!(decisions(&world).await, [("anonymous".to_owned(), Some(1), None)]);
    let none = call(&world, &api, "cancel_appointment", stranger, json!({})).await;
    assert_eq!(none["status"], "callback_queued", "of this call only: {none}");
    world.rests().await;
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_function_is_answered_before_anything_is_written() {
    let world = World::new().await;
    let api = patient_api(&world).await;
    let wish = Wish::nth(&world, 0).await;
    publish(
        &world,
        "scope = \"company\"\n[booking]\nallowed = false\n[callback_service]\nallowed = false\n
         [appointment_inquiry]\nanonymous = false\n",
    );
    let before = rows(&world).await;
    let (known, nobody) = (("call_a", wish.phone.as_str()), ("call_b", "anonymous"));
    for (function, caller, reason) in [
        ("book_appointment", known, "policy_disabled"),
        ("request_callback", known, "policy_disabled"),
        ("query_appointment", nobody, "anonymous_caller_restricted"),
        ("cancel_appointment", nobody, "anonymous_caller_restricted"),
    ] {
        let mut args = wish.spoken();
        if function == "cancel_appointment" {
            args = json!({});
        }
        let told = call(&world, &api, function, caller, args).await;
        assert_eq!((&told["success"], &told["status"]), (&json!(false), &json!("denied")), "{function}: {told}");
        assert_eq!(told["reason"], reason, "{function}: {told}");
    }
    assert_eq!(call(&world, &api, "query_appointment", known, json!({})).await["status"], "no_appointments");
    assert_eq!(rows(&world).await, before, "nothing was written");
    assert_eq!(world.count("SELECT count(*) FROM callback_request").await, 0);
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_is_rung_at_the_number_that_calls() {
    let world = World::new().await;
    let api = patient_api(&world).await;
    let phone = "+4915112345678";
    let known = ("call_ring", phone);
    let wish =
        |number: &str, reason: &str| json!({"phone_number": number, "customer_name": "Lena Vogt", "reason": reason});
    let noted = call(&world, &api, "request_callback", known, wish("0151123456", "Preise")).await;
    assert_eq!((&noted["success"], &noted["status"]), (&json!(true), &json!("callback_requested")), "{noted}");
    let foreign = call(&world, &api, "request_callback", known, wish("+4915112999999", "Preise")).await;
    assert_eq!(foreign["callback_id"], noted["callback_id"], "once, and only the caller's own number");
    let other = call(&world, &api, "request_callback", known, wish("", "Allergie")).await;
    assert_ne!(other["callback_id"], noted["callback_id"]);
    let nobody = ("call_dark", "anonymous");
    let nowhere = call(&world, &api, "request_callback", nobody, wish("0151123456", "Preise")).await;
    assert_eq!(nowhere["missing"], json!(["phone_number"]), "a placeholder is no number: {nowhere}");
    let dark = call(&world, &api, "request_callback", nobody, wish("0151 12888888", "Preise")).await;
    let open = api.get("/v1/callbacks").await.body["callbacks"].clone();
    let told: Vec<_> = open.as_array().unwrap().iter().map(|c| (&c["id"], &c["phone"], &c["said"])).collect();
    let wanted = [
        (&noted["callback_id"], &json!(phone), &json!("Preise")),
        (&other["callback_id"], &json!(phone), &json!("Allergie")),
        (&dark["callback_id"], &json!("+4915112888888"), &json!("Preise")),
    ];
    assert_eq!(told, wanted, "{open}");
    assert_eq!(open[0]["customer_name"], "Lena Vogt");

    let path = |id: &Value, verb: &str| format!("/v1/callbacks/{}/{verb}", id.as_str().unwrap());
    let assign = path(&noted["callback_id"], "assign");
    let assigned = api.post(&assign, &[], &json!({"to": "Anna Berg", "reason": "her customer"})).await;
    assert_eq!((assigned.status, &assigned.body["assigned_to"]), (200, &json!("Anna Berg")), "{}", assigned.body);
    assert_eq!(api.post(&assign, &[], &json!({"to": "Anna Berg"})).await.body["changed"], false);
    assert_eq!(api.post(&assign, &[], &json!({})).await.status, 422);
    let dark_id = dark["callback_id"].as_str().unwrap();
    let by_hand = ["callbacks", "assign", dark_id, "--to", "Ben", "--reason", "he is there"];
    assert_eq!(says(&world, &by_hand)["assigned_to"], "Ben");
    let listed = world.askpro(&["callbacks", "list"]);
    assert!(listed.contains("Ben") && !listed.contains("12888888") && !listed.contains("Lena"), "{listed}");
    let done = path(&noted["callback_id"], "done");
    let rung = api.post(&done, &[], &json!({"reason": "told her"})).await;
    assert_eq!((rung.status, &rung.body["changed"]), (200, &json!(true)), "{}", rung.body);
    let again = api.post(&done, &[], &json!({})).await;
    assert_eq!((&again.body["changed"], &again.body["done_at"]), (&json!(false), &rung.body["done_at"]));
    let late = api.post(&assign, &[], &json!({"to": "Ben"})).await;
    assert_eq!((late.status, problem(&late.body)), (409, "done"), "{}", late.body);
    let nothing = json!(Uuid::nil().to_string());
    assert_eq!(api.post(&path(&nothing, "done"), &[], &json!({})).await.status, 404);
    assert_eq!(api.post(&path(&nothing, "assign"), &[], &json!({"to": "Ben"})).await.status, 404);
    let noted: Vec<(String, String)> = sqlx::query_as("SELECT who, what FROM operator_action ORDER BY action_id")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    let wanted = [("business", "callbacks assign"), ("operator", "callbacks assign"), ("business", "callbacks done")];
    assert_eq!(noted, wanted.map(|(who, what)| (who.to_owned(), what.to_owned())));
    world.at_rest().await;
}
