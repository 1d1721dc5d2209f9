//! Calls as Retell signs them, and whether each German sentence is true at Cal.com when it is said.
//!
//! Deliberately absent: the forms of dates, names and arguments, which `api` tries by itself.

use crate::calendar::Foreign;
use crate::{Wish, id_of, patient_api, post_signed, rows, said, signed, swept_worker};
use harness::{Api, BRANCH_PHONE, World, retell_signature};
use sandbox::Effect;
use serde_json::{Value, json};
use std::time::Duration;

/// A caller on the line.
struct Line<'a> {
    world: &'a World,
    api: &'a Api,
    call_id: &'a str,
    from: &'a str,
}

impl Line<'_> {
    async fn says(&self, function: &str, args: Value) -> Value {
        said(self.world, self.api.call(function, self.call_id, self.from, args).await).await
    }
}

fn effects(world: &World) -> Vec<Effect> {
    world.sandbox.ledger().into_iter().filter_map(|entry| entry.effect).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn book_ask_cancel_and_the_same_again_in_one_call_are_four_effects() {
    let world = World::new().await;
    let (api, _worker) = (patient_api(&world).await, world.worker(None));
    let wish = Wish::nth(&world, 0).await;
    let line = Line { world: &world, api: &api, call_id: "call_four", from: &wish.phone };
    let at = format!(", um {} Uhr.", wish.local().1);
    let mut ids = Vec::new();
    for turn in 1..=2 {
        let booked = line.says("book_appointment", wish.spoken()).await;
        assert_eq!((&booked["success"], &booked["status"]), (&json!(true), &json!("booked")), "{booked}");
        let sentence = booked["message"].as_str().unwrap();
        assert!(sentence.starts_with("Der Termin ist gebucht: ") && sentence.ends_with(&at), "{sentence}");
        assert_eq!(line.says("book_appointment", wish.spoken()).await, booked, "asked again, word for word");
        assert_eq!(world.live().len(), 1);

        let found = line.says("query_appointment", json!({})).await;
        assert_eq!(found["status"], "found", "{found}");
        assert_eq!(found["appointment"]["id"], booked["appointment_id"]);
        assert_eq!(found["appointment"]["status"], "scheduled");

        let cancelled = line.says("cancel_appointment", json!({})).await;
        assert_eq!((&cancelled["success"], &cancelled["status"]), (&json!(true), &json!("cancelled")), "{cancelled}");
        assert!(cancelled["message"].as_str().unwrap().ends_with("ist abgesagt."), "{cancelled}");
        assert_eq!(cancelled["appointment_id"], booked["appointment_id"]);
        assert_eq!(line.says("cancel_appointment", json!({})).await, cancelled, "asked again, word for word");
        assert_eq!(line.says("query_appointment", json!({})).await["status"], "no_appointments");
        world.rests().await;
        let both = [Effect::Created, Effect::Cancelled].repeat(turn);
        assert_eq!(effects(&world), both, "after {turn} turns");
        ids.push(booked["appointment_id"].clone());
    }
    assert_ne!(ids[0], ids[1], "a new appointment, not the old one again");
    world.at_rest().await;
}

/// Cal.com takes longer than the caller can be kept waiting.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_noted_is_not_called_booked() {
    let world = World::new().await;
    world.sandbox.set_latency(Duration::from_millis(700), Duration::ZERO);
    let api = world.api_with(&[("ASKPRO_VOICE_WAIT_MS", "50".to_owned())]).await;
    let _worker = world.worker(None);
    let wish = Wish::nth(&world, 0).await;
    let line = Line { world: &world, api: &api, call_id: "call_slow", from: &wish.phone };
    let noted = line.says("book_appointment", wish.spoken()).await;
    assert_eq!((&noted["success"], &noted["booked"]), (&json!(true), &json!(false)), "{noted}");
    assert_eq!(noted["status"], "requested");
    let sentence = noted["message"].as_str().unwrap();
    assert!(sentence.contains("notiert") && !sentence.contains("gebucht"), "{sentence}");
    assert_eq!(line.says("query_appointment", json!({})).await["appointment"]["id"], noted["appointment_id"]);

    world.rests().await;
    let booked = line.says("book_appointment", wish.spoken()).await;
    assert_eq!((&booked["booked"], &booked["appointment_id"]), (&json!(true), &noted["appointment_id"]), "{booked}");
    assert_eq!(effects(&world), [Effect::Created]);
    world.at_rest().await;
}

/// Another shop assistant was faster, at Cal.com itself: the caller hears so, or, when it has hung up, is to be rung.
#[tokio::test(flavor = "multi_thread")]
async fn what_calcom_refuses_is_never_called_booked() {
    let world = World::new().await;
    let _worker = swept_worker(&world).await;
    let (patient, hasty) =
        (patient_api(&world).await, world.api_with(&[("ASKPRO_VOICE_WAIT_MS", "0".to_owned())]).await);
    for (n, api, status) in [(0, &patient, "slot_taken"), (1, &hasty, "requested")] {
        let wish = Wish::nth(&world, n).await;
        let foreign = Foreign::books(&world, &wish).await;
        let line = Line { world: &world, api, call_id: &format!("call_late_{n}"), from: &wish.phone };
        let told = line.says("book_appointment", wish.spoken()).await;
        assert_eq!((&told["status"], &told["booked"]), (&json!(status), &json!(false)), "{told}");
        let offers = told["alternatives"].as_array().map_or(0, Vec::len);
        assert_eq!(offers, if status == "slot_taken" { 3 } else { 0 }, "{told}");
        world.rests().await;
        assert_eq!(world.status(id_of(&told["appointment_id"])).await, "rejected");
        assert_eq!(line.says("query_appointment", json!({})).await["status"], "no_appointments");
        let open = api.get("/v1/callbacks").await.body["callbacks"].clone();
        let of_this = open.as_array().unwrap().iter().filter(|c| c["appointment_id"] == told["appointment_id"]);
        assert_eq!(of_this.count(), 1, "a person must ring: {open}");
        foreign.leaves().await;
    }
    world.at_rest().await;
}

/// The company's clock hangs in Berlin, the branch's in Greenwich; the caller must not notice.
#[tokio::test(flavor = "multi_thread")]
async fn an_appointment_is_at_one_time_in_every_sentence() {
    let world = World::new().await;
    let (api, _worker) = (patient_api(&world).await, world.worker(None));
    let wish = Wish::nth(&world, 2).await;
    let line = Line { world: &world, api: &api, call_id: "call_time", from: &wish.phone };
    let (day, time) = wish.local();
    let says_the_time = |told: &Value| told["message"].as_str().unwrap().contains(&format!(", um {time} Uhr"));
    let booked = line.says("book_appointment", json!({"name": wish.name, "datum": day, "uhrzeit": time})).await;
    assert!(booked["booked"] == json!(true) && says_the_time(&booked), "{time}: {booked}");
    let found = line.says("query_appointment", json!({"datum": day})).await;
    assert!(found["appointment"]["time"] == json!(time) && says_the_time(&found), "{time}: {found}");
    let cancelled = line.says("cancel_appointment", json!({"datum": day, "uhrzeit": time})).await;
    assert!(cancelled["cancelled"] == json!(true) && says_the_time(&cancelled), "{time}: {cancelled}");
    world.rests().await;
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_of_a_function_does_the_same() {
    let world = World::new().await;
    let (api, _worker) = (patient_api(&world).await, world.worker(None));
    let books = [
        "book_appointment",
        "book-appointment",
        "bookAppointment",
        "BookAppointment",
        "book_appointment_v17",
        "start_booking",
        "start-booking",
        "collect",
        "collect_appointment",
        "collect-appointment-v4",
        "collect_appointment_data",
        "collectAppointmentData",
    ];
    let (cancels, asks) = (["cancel_appointment", "cancel-appointment-v4"], ["query_appointment", "queryAppointment"]);
    for (n, (book, (cancel, ask))) in (0..).zip(books.iter().zip(cancels.iter().zip(&asks).cycle())) {
        let wish = Wish::nth(&world, n).await;
        let call_id = format!("call_name_{n}");
        let line = Line { world: &world, api: &api, call_id: &call_id, from: &wish.phone };
        let booked = line.says(book, wish.spoken()).await;
        assert_eq!(booked["booked"], true, "{book}: {booked}");
        let call = json!({"call_id": call_id, "from_number": wish.phone, "to_number": BRANCH_PHONE});
        let by_body = json!({"name": book, "call": call, "args": wish.spoken()});
        let again = said(&world, signed(&api, "/retell/salon/functions", &by_body).await).await;
        assert_eq!(again, booked, "{book}, named in the body alone");
        assert_eq!(line.says(ask, json!({})).await["appointment"]["id"], booked["appointment_id"], "{ask}");
        assert_eq!(line.says(cancel, json!({})).await["appointment_id"], booked["appointment_id"], "{cancel}");
    }
    world.rests().await;
    let (created, cancelled): (Vec<_>, Vec<_>) = effects(&world).into_iter().partition(|e| *e == Effect::Created);
    assert_eq!((created.len(), cancelled.len()), (books.len(), books.len()));
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_valid_signature_nothing_is_said_and_nothing_written() {
    const SIX_MINUTES_MS: i64 = 360_000;
    let world = World::new().await;
    let (api, _worker) = (patient_api(&world).await, world.worker(None));
    let standing = Wish::nth(&world, 0).await;
    let made = api.post("/v1/appointments", &[], &standing.written()).await;
    assert_eq!(made.status, 202, "{}", made.body);
    world.rests().await;
    let (before, effects_before) = (rows(&world).await, effects(&world));
    let wish = Wish { phone: standing.phone.clone(), ..Wish::nth(&world, 1).await };
    let mut refused = 0;
    for (function, args) in
        [("book_appointment", wish.spoken()), ("cancel_appointment", json!({})), ("query_appointment", json!({}))]
    {
        let call = json!({"call_id": "call_forged", "from_number": wish.phone, "to_number": BRANCH_PHONE});
        let body = json!({"name": function, "call": call, "args": args}).to_string();
        let right = retell_signature(&body, 0);
        let (stamp, digest) = right.split_once(",d=").unwrap();
        let forged = [
            None,
            Some(String::new()),
            Some(digest.to_owned()),
            Some(format!("{stamp},d={}", "0".repeat(64))),
            Some(format!("v=1,d={digest}")),
            Some(retell_signature(&format!("{body} "), 0)),
            Some(retell_signature(&body, -SIX_MINUTES_MS)),
            Some(retell_signature(&body, SIX_MINUTES_MS)),
        ];
        let path = format!("/retell/salon/functions/{function}");
        for signature in &forged {
            let answer = post_signed(&api, &path, signature.as_deref(), &body).await;
            assert_eq!(answer.status, 401, "{function}, {signature:?}: {}", answer.body);
            assert_eq!(crate::problem(&answer.body), "invalid_signature");
            refused += 1;
        }
        let elsewhere = post_signed(&api, "/retell/praxis/functions", Some(&right), &body).await;
        assert_eq!(elsewhere.status, 401, "there is no such company");
    }
    assert_eq!(refused, 24);
    assert_eq!((rows(&world).await, effects(&world)), (before, effects_before), "nothing was written");

    let line = Line { world: &world, api: &api, call_id: "call_forged", from: &wish.phone };
    assert_eq!(line.says("book_appointment", wish.spoken()).await["booked"], true, "rightly signed, it books");
    world.rests().await;
    world.at_rest().await;
}
