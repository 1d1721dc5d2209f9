//! Function calls that cannot be understood: the agent is asked back, by the name of what is missing, and nothing happens.
//! What only looks odd is taken as it is.
//!
//! Deliberately absent: a fuzzer, the forms of dates (`api`), and calls that are not signed (voice.rs).

use crate::bad_input::{EMOJI, Salon, long, odd_texts, with};
use crate::{Wish, id_of, problem, rows, said, signed};
use harness::BRANCH_PHONE;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_cannot_be_understood_asks_back_and_does_nothing() {
    let salon = Salon::new().await;
    let good = salon.wish().await.spoken();
    let unclear = |field: &str| (json!("missing_required_fields"), json!([field]));
    let both = (json!("missing_required_fields"), json!(["date", "time"]));
    let status = |word: &str| (json!(word), json!(null));
    let mut table = vec![
        ("book_appointment", json!({}), status("missing_customer_name")),
        ("book_appointment", with(&good, "/customer_name", json!(null)), status("missing_customer_name")),
        ("book_appointment", with(&good, "/datetime", json!(null)), both.clone()),
        ("book_appointment", json!({"name": "Lena Vogt", "datum": "25.11.2036"}), unclear("time")),
        ("book_appointment", json!({"name": "Lena Vogt", "uhrzeit": "10:00"}), unclear("date")),
        ("book_appointment", with(&good, "/datetime", json!("2023-06-13 14:00")), status("past_time")),
        ("book_appointment", with(&good, "/datetime", json!("31.12.9999 03:00")), status("unavailable")),
        ("cancel_appointment", json!({"appointment_id": 4711}), status("not_found")),
        ("query_appointment", json!({"appointment_id": 4711}), status("no_appointments")),
    ];
    for value in [
        json!(true),
        json!(17),
        json!(["Lena"]),
        json!({"a": 1}),
        json!(EMOJI),
        json!(long()),
        json!("x".repeat(70_000)),
    ] {
        table.push(("book_appointment", with(&good, "/customer_name", value), status("missing_customer_name")));
    }
    for value in [json!(true), json!([1]), json!({"a": 1}), json!(17), json!(1e300)] {
        table.push(("book_appointment", with(&good, "/datetime", value), both.clone()));
    }
    for text in odd_texts() {
        table.push(("book_appointment", with(&good, "/datetime", json!(text)), both.clone()));
        table.push(("book_appointment", with(&good, "/service", json!(text)), status("unknown_service")));
        table.push((
            "book_appointment",
            with(&good, "/mitarbeiter", json!(text)),
            status("staff_cannot_provide_service"),
        ));
        for (function, nothing) in [("cancel_appointment", "not_found"), ("query_appointment", "no_appointments")] {
            table.push((function, json!({"appointment_id": text}), status(nothing)));
            table.push((function, json!({"datum": text}), unclear("date")));
            table.push((function, json!({"uhrzeit": text}), unclear("time")));
        }
    }

    let before = rows(&salon.world).await;
    for (n, (function, args, (word, missing))) in table.iter().enumerate() {
        let answer = salon.api.call(function, &format!("call_odd_{n}"), &salon.standing.phone, args.clone()).await;
        let shown = args.to_string().chars().take(120).collect::<String>();
        let reply = said(&salon.world, answer).await;
        assert_eq!((&reply["success"], &reply["status"]), (&json!(false), word), "{function} {shown}: {reply}");
        assert_eq!(reply["missing"], *missing, "{function} {shown}: {reply}");
    }
    assert!(table.len() > 90, "{} were tried", table.len());
    assert_eq!(rows(&salon.world).await, before, "nothing was written");
    salon.at_rest().await;
}

/// An id that is none must not be taken for "no id": then the caller's only appointment would be called off.
#[tokio::test(flavor = "multi_thread")]
async fn a_garbled_id_cancels_nothing() {
    let salon = Salon::new().await;
    for id in [json!(["4711"]), json!({"id": "4711"}), json!(true)] {
        let args = json!({"appointment_id": id});
        let answer = salon.api.call("cancel_appointment", "call_garbled", &salon.standing.phone, args).await;
        let reply = said(&salon.world, answer).await;
        assert_eq!((&reply["success"], &reply["status"]), (&json!(false), &json!("not_found")), "{id}: {reply}");
    }
    salon.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_no_call_does_nothing() {
    let salon = Salon::new().await;
    let args = salon.wish().await.spoken();
    let before = rows(&salon.world).await;
    let path = "/retell/salon/functions/book_appointment";
    let call = |id: Value| {
        let call = json!({"call_id": id, "from_number": salon.standing.phone, "to_number": BRANCH_PHONE});
        json!({"name": "book_appointment", "call": call, "args": args})
    };
    for id in [
        json!(null),
        json!(""),
        json!("12345"),
        json!("{{call_id}}"),
        json!(17),
        json!("\u{0}"),
        json!("c".repeat(10_000)),
    ] {
        let reply = said(&salon.world, signed(&salon.api, path, &call(id.clone())).await).await;
        assert_eq!((&reply["success"], &reply["status"]), (&json!(false), &json!("missing_call")), "{reply}");
    }
    for body in [json!([]), json!("x"), json!(null), json!(1)] {
        let refused = signed(&salon.api, path, &body).await;
        assert_eq!((refused.status, problem(&refused.body)), (400, "invalid_json"), "{body}");
    }
    assert_eq!(rows(&salon.world).await, before, "nothing was written");
    salon.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_that_cannot_be_one_is_nobodys() {
    let salon = Salon::new().await;
    let long = "x".repeat(5_000);
    for nobody in ["praxis", "%F0%9F%92%87", "'%3B--", &long, "%00"] {
        let refused = signed(&salon.api, &format!("/retell/{nobody}/functions"), &json!({})).await;
        assert_eq!((refused.status, problem(&refused.body)), (401, "invalid_signature"), "{}", refused.body);
    }
    salon.at_rest().await;
}

/// Odd, and yet a name: it stands in the calendar as it was given, and in the database nothing else has happened.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_can_be_a_name_is_taken_as_it_is() {
    let salon = Salon::new().await;
    let names = ["Zoë 💇🏽‍♀️", "ليلى حداد", "Robert'); DROP TABLE slot; --", "李小龍", "O’Brien \"Bob\" <b>"];
    for (n, name) in (1..).zip(names) {
        let wish = Wish { name: name.to_owned(), ..Wish::nth(&salon.world, n).await };
        let id = if n % 2 == 0 {
            let made = salon.api.post("/v1/appointments", &[("prefer", "wait=10")], &wish.written()).await;
            assert_eq!(made.status, 201, "{}", made.body);
            made.body["appointment"]["id"].clone()
        } else {
            let answer =
                salon.api.call("book_appointment", &format!("call_name_{n}"), &wish.phone, wish.spoken()).await;
            said(&salon.world, answer).await["appointment_id"].clone()
        };
        let kept: String = sqlx::query_scalar("SELECT given_name FROM appointment WHERE appointment_id = $1")
            .bind(id_of(&id).0)
            .fetch_one(&salon.world.pool)
            .await
            .unwrap();
        let live = salon.world.live();
        let booking = live.iter().find(|booking| booking.start == wish.starts_at).expect("it is booked");
        assert_eq!((kept.as_str(), booking.attendee.name.as_str()), (name, name));
    }
    salon.at_rest().await;
}
