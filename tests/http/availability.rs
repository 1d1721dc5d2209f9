//! What is free, over HTTP and by voice: that Cal.com is asked once for all, that the record's half is always new, and that
//! an answer says how much it knows.
//!
//! Deliberately absent: races with bookings (`tests/races`), and dates in words.

use crate::calendar::Foreign;
use crate::{Wish, problem, said};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures::future::join_all;
use harness::{Api, World, wait_until};
use sandbox::{Fault, Faults, On, Rule};
use serde_json::{Value, json};

fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The path that asks for half an hour from there on.
fn path(from: DateTime<Utc>) -> String {
    let to = from + TimeDelta::minutes(30);
    format!("/v1/availability?branch_id=1&service_id=1&from={}&to={}", written(from), written(to))
}

async fn told(api: &Api, from: DateTime<Utc>) -> Value {
    let answer = api.get(&path(from)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn starts(told: &Value) -> Vec<DateTime<Utc>> {
    let slots = told["slots"].as_array().unwrap().iter();
    slots.map(|slot| slot["starts_at"].as_str().unwrap().parse().unwrap()).collect()
}

async fn check(world: &World, api: &Api, args: Value) -> Value {
    said(world, api.call("check_availability_v17", "call_check", "+4915112345678", args).await).await
}

fn break_slots(world: &World, fault: Fault, delay_ms: Option<u64>) {
    let rule = Rule { delay_ms, ..Rule::every(On::Slots, fault) };
    world.sandbox.set_faults(Faults { seed: None, rules: vec![rule] }).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_who_ask_at_two_apis_at_once_are_one_request() {
    let world = World::new().await;
    let patient = [("ASKPRO_AVAILABILITY_WAIT_MS", "60000".to_owned())];
    let apis = [world.api_with(&patient).await, world.api_with(&patient).await];
    let wish = Wish::nth(&world, 4).await;
    break_slots(&world, Fault::LateReply, Some(500));
    let answers = join_all((0..50).map(|n| {
        let (api, world, wish) = (&apis[n % 2], &world, &wish);
        async move {
            match n % 5 {
                0 => check(world, api, json!({"datetime": wish.starts_at.to_rfc3339()})).await,
                _ => told(api, wish.starts_at).await,
            }
        }
    }))
    .await;
    assert!(answers.iter().all(|told| told["source"] == "calcom"), "{answers:?}");
    let free = answers.iter().filter(|told| told["available"] == true || starts_at(told, wish.starts_at)).count();
    assert_eq!((free, world.asked_for_slots()), (50, 1));
    told(&apis[0], wish.starts_at).await;
    assert_eq!(world.asked_for_slots(), 1, "nor later");
    let metrics = apis[0].get("/metrics").await.body.to_string() + &apis[1].get("/metrics").await.body.to_string();
    for counted in ["found=\\\"miss\\\"", "found=\\\"hit\\\"", "askpro_availability_requests_total"] {
        assert!(metrics.contains(counted), "{counted}: {metrics}");
    }
    world.at_rest().await;
}

fn starts_at(told: &Value, at: DateTime<Utc>) -> bool {
    told["slots"].is_array() && starts(told).contains(&at)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_asks_is_told_books_and_asks_again() {
    let world = World::new().await;
    let (api, _worker) = (crate::patient_api(&world).await, world.worker(None));
    let wish = Wish::nth(&world, 4).await;
    let (day, time) = wish.local();
    let asks =
        json!({"datum": day, "uhrzeit": format!("{time} Uhr"), "dienstleistung": "herrenhaarschnitt", "duration": 45});
    let free = check(&world, &api, asks.clone()).await;
    assert_eq!(
        (&free["success"], &free["available"], &free["status"]),
        (&json!(true), &json!(true), &json!("available"))
    );
    let requested = wish.starts_at.format("%Y-%m-%d %H:%M").to_string();
    assert_eq!((&free["requested_time"], &free["source"]), (&json!(requested), &json!("calcom")), "{free}");
    assert_eq!(free["staff"], "Anna Berg 1");
    assert!(free["duration_note"].as_str().unwrap().contains("30 Minuten"), "it lasts as long as it lasts: {free}");
    assert!(free["message"].as_str().unwrap().ends_with("ist frei."), "{free}");

    let booked = said(&world, api.call("book_appointment", "call_a", &wish.phone, wish.spoken()).await).await;
    assert_eq!(booked["booked"], true, "{booked}");
    let taken = check(&world, &api, asks.clone()).await;
    assert_eq!(
        (&taken["success"], &taken["available"], &taken["status"]),
        (&json!(true), &json!(false), &json!("unavailable"))
    );
    let offers = taken["alternatives"].as_array().unwrap();
    assert_eq!(offers.len(), 3, "{taken}");
    let minutes = |offer: &Value| {
        let at = format!("{} {}", offer["date"].as_str().unwrap(), offer["time"].as_str().unwrap());
        let at = chrono::NaiveDateTime::parse_from_str(&at, "%d.%m.%Y %H:%M").unwrap().and_utc();
        (at - wish.starts_at).num_minutes()
    };
    assert_eq!(offers.iter().map(minutes).collect::<Vec<_>>(), [30, -30, 45], "the nearest, on both sides: {taken}");
    for field in ["description", "spoken", "spoken_time", "staff"] {
        assert!(offers.iter().all(|offer| offer[field].is_string()), "{field}: {taken}");
    }

    let own = said(&world, api.call("check_availability", "call_b", &wish.phone, asks).await).await;
    assert_eq!((&own["status"], &own["has_existing_appointment"]), (&json!("has_existing_appointment"), &json!(true)));
    assert_eq!(
        (&own["available"], &own["existing_appointment"]["id"]),
        (&json!(false), &booked["appointment_id"]),
        "{own}"
    );
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_told_by_its_name() {
    let world = World::new().await;
    world
        .sql(
            "INSERT INTO staff (company_id, staff_id, branch_id, name, calcom_user_id)
              SELECT company_id, 2, 1, 'Ben Kurt', 2 FROM company",
        )
        .await;
    let api = world.api().await;
    let wish = Wish::nth(&world, 4).await;
    let (day, _) = wish.local();
    let status = async |args: Value| check(&world, &api, args).await;
    let past = status(json!({"datum": "2023-06-13", "uhrzeit": "vormittags ab 9 Uhr"})).await;
    assert_eq!(
        (&past["status"], &past["available"], &past["success"]),
        (&json!("past_time"), &json!(false), &json!(false))
    );
    let past = status(json!({"datetime": "2023-06-13 09:00"})).await;
    assert_eq!(
        (&past["status"], &past["requested_time"]),
        (&json!("past_time"), &json!("2023-06-13 09:00")),
        "not moved"
    );
    let soon = "SELECT date_trunc('minute', now()) + interval '5 minutes'";
    let soon: DateTime<Utc> = sqlx::query_scalar(soon).fetch_one(&world.pool).await.unwrap();
    let soon = status(json!({"datetime": written(soon)})).await;
    assert_eq!((&soon["status"], &soon["success"]), (&json!("booking_notice_violation"), &json!(false)), "{soon}");
    let closed = status(json!({"datum": day, "uhrzeit": "7 Uhr"})).await;
    assert_eq!((&closed["status"], &closed["reason"]), (&json!("unavailable"), &json!("outside_hours")), "{closed}");
    assert_eq!(closed["alternatives"][0]["time"], "08:00", "{closed}");
    let ben = status(json!({"datum": day, "uhrzeit": "10:00", "preferred_staff_id": "Ben Kurt"})).await;
    assert_eq!(ben["status"], "staff_cannot_provide_service", "{ben}");
    assert_eq!((&ben["available"], &ben["alternative_staff"]), (&json!(false), &json!(["Anna Berg 1"])));
    let anna = status(json!({"datum": day, "uhrzeit": "10:00", "mitarbeiter": "anna"})).await;
    assert_eq!((&anna["available"], &anna["staff"]), (&json!(true), &json!("Anna Berg 1")), "{anna}");
    let timeless = status(json!({"datum": day})).await;
    assert_eq!((&timeless["status"], &timeless["available"]), (&json!("time_required"), &json!(false)), "{timeless}");
    assert_eq!(timeless["alternatives"][0]["time"], "08:00", "{timeless}");
    assert_eq!(status(json!({})).await["status"], "missing_required_fields");
    assert_eq!(
        status(json!({"service": "Massage", "datetime": "2030-01-02 10:00"})).await["status"],
        "unknown_service"
    );
    world.at_rest().await;
}

/// Whoever has no calendar of ours: the chair is taken at Cal.com, and only Cal.com knows.
#[tokio::test(flavor = "multi_thread")]
async fn without_cal_com_the_answer_says_how_little_it_knows() {
    let world = World::new().await;
    let hasty = [("ASKPRO_AVAILABILITY_TTL_MS", "1".to_owned()), ("ASKPRO_AVAILABILITY_WAIT_MS", "60000".to_owned())];
    let api = world.api_with(&hasty).await;
    let wish = Wish::nth(&world, 4).await;
    let _foreign = Foreign::books(&world, &wish).await;
    let asks = json!({"datetime": wish.starts_at.to_rfc3339()});
    let fresh = check(&world, &api, asks.clone()).await;
    assert_eq!((&fresh["source"], &fresh["available"]), (&json!("calcom"), &json!(false)), "{fresh}");
    let as_of = |told: &Value| told["as_of"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();

    break_slots(&world, Fault::BrokenBefore, None);
    let stale = check(&world, &api, asks.clone()).await;
    assert_eq!((&stale["source"], &stale["available"]), (&json!("calcom_stale"), &json!(false)), "{stale}");
    let asked = world.asked_for_slots();
    assert_eq!(check(&world, &api, asks.clone()).await["source"], "calcom_stale");
    assert_eq!(world.asked_for_slots(), asked, "who failed a moment ago is not asked again");
    assert!(as_of(&stale) <= as_of(&fresh) + TimeDelta::seconds(5), "{fresh} {stale}");

    // A week about which nothing is known.
    let later = Wish { starts_at: wish.starts_at + TimeDelta::days(21), ..wish.clone() };
    let alone = told(&api, later.starts_at).await;
    assert_eq!((&alone["source"], starts_at(&alone, later.starts_at)), (&json!("record"), true), "{alone}");
    let alone = check(&world, &api, json!({"datetime": later.starts_at.to_rfc3339()})).await;
    assert!(alone["message"].as_str().unwrap().starts_with("Soweit ich gerade sehen kann"), "{alone}");
    let booked = api.post("/v1/appointments", &[], &later.written()).await;
    assert_eq!(booked.status, 202, "{}", booked.body);
    assert!(!starts_at(&told(&api, later.starts_at).await, later.starts_at), "what the record has is never offered");

    world.sandbox.set_faults(Faults::default()).unwrap();
    wait_until("Cal.com's word", async || told(&api, later.starts_at).await["source"] == "calcom").await;
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_cal_com_keeps_nobody_waiting_and_its_answer_is_kept() {
    let world = World::new().await;
    let api = world.api_with(&[("ASKPRO_AVAILABILITY_WAIT_MS", "50".to_owned())]).await;
    let wish = Wish::nth(&world, 4).await;
    break_slots(&world, Fault::LateReply, Some(600));
    let first = told(&api, wish.starts_at).await;
    assert_eq!((&first["source"], starts_at(&first, wish.starts_at)), (&json!("record"), true), "{first}");
    wait_until("the answer that nobody waited for", async || told(&api, wish.starts_at).await["source"] == "calcom")
        .await;
    assert_eq!(world.asked_for_slots(), 1);
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_leave_bookings_their_half_of_the_budget() {
    let world = World::new().await;
    let budget = [("ASKPRO_CALCOM_REQUESTS_PER_MINUTE", "10".to_owned())];
    let api = world.api_with(&budget).await;
    let wish = Wish::nth(&world, 4).await;
    for week in 0..8 {
        let told = told(&api, wish.starts_at + TimeDelta::weeks(week)).await;
        assert_eq!(told["source"], if week < 5 { "calcom" } else { "record" }, "week {week}");
    }
    assert_eq!(world.asked_for_slots(), 5);
    let _worker = world.worker_with(&budget);
    world.scheduled(4).await;
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_a_problem_that_names_the_field() {
    let world = World::new().await;
    let api = world.api().await;
    for (query, code, field) in [
        ("service_id=1&date=2036-11-25", "missing_field", "branch_id"),
        ("branch_id=1&service_id=1", "missing_field", "date"),
        ("branch_id=1&service_id=1&date=morgen", "invalid_field", "date"),
        ("branch_id=1&service_id=1&from=2036-11-25T09:00:00Z&to=2036-11-25T08:00:00Z", "invalid_field", "to"),
        ("branch_id=1&service_id=1&date=2036-11-25&tag=1", "unknown_field", "tag"),
        ("branch_id=7&service_id=1&date=2036-11-25", "unknown_branch", "branch_id"),
        ("branch_id=1&service_id=7&date=2036-11-25", "unknown_service", "service_id"),
        ("branch_id=1&service_id=1&staff_id=7&date=2036-11-25", "unknown_staff", "staff_id"),
    ] {
        let answer = api.get(&format!("/v1/availability?{query}")).await;
        assert_eq!((answer.status, problem(&answer.body)), (422, code), "{query}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.body["field"], field, "{query}");
    }
    let nobody = reqwest::get(format!("{}/v1/availability?branch_id=1&service_id=1&date=2036-11-25", api.url)).await;
    assert_eq!(nobody.unwrap().status().as_u16(), 401);
    let document = api.get("/openapi.json").await.body;
    assert!(document["paths"]["/v1/availability"]["get"]["parameters"].as_array().unwrap().len() == 6);
    assert_eq!(world.asked_for_slots(), 0);
    let day = api.get("/v1/availability?branch_id=1&service_id=1&date=2036-03-30").await.body;
    let slots = day["slots"].as_array().unwrap();
    assert_eq!((slots.len(), &slots[0]["staff_id"]), (47, &json!(1)), "8 to 20 o'clock, on the grid: {day}");
    world.at_rest().await;
}
