//! Functions that only read: what day is meant, what is offered, when it is open, who calls. Nothing is written, whatever
//! they are asked, and a caller hears of himself only.

use crate::{Wish, patient_api, rows, said, signed};
use chrono::{Datelike, Days, NaiveDate, Utc};
use harness::{Api, World};
use serde_json::{Value, json};

const PATH: &str = "/retell/salon/functions";

/// The branch's clock hangs in Greenwich.
#[expect(clippy::disallowed_methods, reason = "the API that is asked reads the same clock")]
fn today() -> NaiveDate {
    Utc::now().date_naive()
}

/// As an agent without a call asks.
async fn asks(world: &World, api: &Api, name: &str, args: Value) -> Value {
    said(world, signed(api, PATH, &json!({"name": name, "args": args})).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_read_as_days_and_times() {
    let world = World::new().await;
    let api = world.api().await;
    let before = rows(&world).await;
    let today = today();
    let tomorrow = today.checked_add_days(Days::new(1)).unwrap();
    let parsed = asks(&world, &api, "parse_date", json!({"date_string": "morgen um halb drei"})).await;
    assert_eq!((&parsed["status"], &parsed["time"]), (&json!("parsed"), &json!("14:30")), "{parsed}");
    assert_eq!(parsed["date"], tomorrow.to_string());
    assert_eq!(parsed["display_date"], tomorrow.format("%d.%m.%Y").to_string());
    let in_fields =
        asks(&world, &api, "parse-date", json!({"datum": "morgen", "uhrzeit": "vormittags ab 9 Uhr"})).await;
    assert_eq!((&in_fields["time_from"], &in_fields["time_until"]), (&json!("09:00"), &json!("12:00")), "{in_fields}");

    let asked_back = [
        (json!({}), "missing_date_string", Value::Null),
        (json!({"uhrzeit": "14 Uhr"}), "missing_date_string", Value::Null),
        (json!({"date_string": "irgendwann"}), "invalid_date_format", json!("not_understood")),
        (json!({"date_string": "heute, 31.12.2099"}), "invalid_date_format", json!("two_days")),
        (json!({"date_string": "31.02.2099"}), "invalid_date_format", json!("no_such_day")),
        (json!({"date_string": "gestern"}), "past_time", Value::Null),
    ];
    for (args, status, reason) in asked_back {
        let reply = asks(&world, &api, "parse_date", args.clone()).await;
        assert_eq!((&reply["success"], &reply["status"]), (&json!(false), &json!(status)), "{args}: {reply}");
        assert_eq!(reply["reason"], reason, "{args}: {reply}");
    }
    assert_eq!(rows(&world).await, before);
    drop(api);
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_and_hours_come_from_the_catalog() {
    let world = World::new().await;
    let api = world.api().await;
    for name in ["list_services", "get_available_services", "get-services-v4"] {
        let listed = asks(&world, &api, name, json!({})).await;
        assert_eq!(listed["services"][0]["name"], "Herrenhaarschnitt", "{listed}");
        assert_eq!(listed["services"][0]["duration"], 30);
        assert_eq!(listed["services"][0]["staff"], json!(["Anna Berg 1"]));
    }
    let info = asks(&world, &api, "get_service_info", json!({"service_name": "herrenhaarschnitt"})).await;
    assert_eq!(info["message"], "Herrenhaarschnitt dauert 30 Minuten.");
    let unknown = asks(&world, &api, "get_service_info", json!({"service_name": "Ölwechsel"})).await;
    assert_eq!(unknown["status"], "unknown_service", "{unknown}");

    let week = asks(&world, &api, "get_opening_hours", json!({})).await;
    assert_eq!(week["opening_hours"].as_array().unwrap().len(), 7, "{week}");
    assert!(week["opening_hours"].as_array().unwrap().iter().all(|day| day["open"][0]["from"] == "08:00"), "{week}");
    let monday = asks(&world, &api, "get_opening_hours", json!({"day_of_week": "Montag"})).await;
    let sentence = monday["message"].as_str().unwrap();
    assert!(sentence.contains("Montag") && sentence.contains("von acht Uhr bis zwanzig Uhr geöffnet"), "{sentence}");
    drop(api);
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_known_by_the_number_that_calls_and_by_nothing_else() {
    let world = World::new().await;
    let (api, worker) = (patient_api(&world).await, world.worker(None));
    let wish = Wish::nth(&world, 0).await;
    let check =
        async |from: &str, args: Value| said(&world, api.call("check_customer", "call_who", from, args).await).await;

    let stranger = check(&wish.phone, json!({"call_id": "call_001"})).await;
    assert_eq!(
        (&stranger["status"], &stranger["customer_found"]),
        (&json!("new_customer"), &json!(false)),
        "{stranger}"
    );
    said(&world, api.call("book_appointment", "call_book", &wish.phone, wish.spoken()).await).await;
    world.rests().await;

    let known = check(&wish.phone, json!({})).await;
    assert_eq!((&known["status"], &known["customer_found"]), (&json!("found"), &json!(true)), "{known}");
    assert_eq!(
        (&known["customer"]["name"], &known["predicted_service"]),
        (&json!(wish.name), &json!("Herrenhaarschnitt"))
    );
    assert_eq!((&known["service_confidence"], &known["preferred_staff_id"]), (&json!(0.5), &json!(wish.staff_id)));

    for (from, args) in [
        ("anonymous", json!({"phone_number": wish.phone})),
        ("+4915112999999", json!({"phone_number": wish.phone, "name": wish.name})),
        ("0151123456", json!({"phone_number": wish.phone})),
    ] {
        let other = check(from, args).await;
        assert_eq!((&other["customer_found"], &other["customer"]), (&json!(false), &Value::Null), "{from}: {other}");
        assert!(!other.to_string().contains(&wish.name), "{other}");
    }

    let context = said(&world, api.call("initialize_call", "call_who", &wish.phone, json!({})).await).await;
    assert_eq!(context["customer"]["status"], "found", "{context}");
    let today = today();
    assert_eq!(context["date"], today.to_string());
    assert_eq!(context["tomorrow"]["date"], today.checked_add_days(Days::new(1)).unwrap().to_string());
    let weekday = ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"];
    assert_eq!(context["weekday"], weekday[today.weekday().num_days_from_monday() as usize]);
    drop((api, worker));
    world.at_rest().await;
}

/// "Am 25. November um halb drei", in two fields.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_words_is_booked() {
    let world = World::new().await;
    let (api, worker) = (patient_api(&world).await, world.worker(None));
    let day = today().checked_add_days(Days::new(3)).unwrap();
    let written = day.format("%d.%m.%Y").to_string();
    let book = async |call: &str, args: Value| {
        said(&world, api.call("start_booking", call, "+4915112345678", args).await).await
    };
    for (args, missing) in [
        (json!({"name": "Lena Vogt", "datum": written, "uhrzeit": "nachmittags"}), json!(["time"])),
        (json!({"name": "Lena Vogt", "uhrzeit": "halb drei"}), json!(["date"])),
        (json!({"name": "Lena Vogt", "datetime": "in drei Tagen"}), json!(["time"])),
    ] {
        let reply = book("call_words", args.clone()).await;
        assert_eq!((&reply["status"], &reply["missing"]), (&json!("missing_required_fields"), &missing), "{args}");
    }
    let booked =
        book("call_words", json!({"name": "Lena Vogt", "datum": "in drei Tagen", "uhrzeit": "um halb drei"})).await;
    assert_eq!(booked["status"], "booked", "{booked}");
    assert_eq!(booked["appointment_time"], format!("{day} 14:30"));
    let same =
        book("call_words", json!({"name": "Lena Vogt", "datetime": format!("{written} vierzehn Uhr dreißig")})).await;
    assert_eq!(same["appointment_id"], booked["appointment_id"], "the same time in other words");
    world.rests().await;
    assert_eq!(world.live().len(), 1);
    drop((api, worker));
    world.at_rest().await;
}
