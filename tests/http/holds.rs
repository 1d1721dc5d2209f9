//! Holds, alternatives and several times that would do, by both doors, up to Cal.com.
//!
//! Deliberately absent: races (`tests/races`) and what the record alone decides (`shared/store/tests`).

use crate::{Wish, id_of, patient_api, problem, rows, said};
use chrono::{DateTime, TimeDelta, Utc};
use harness::{Api, Setup, World};
use serde_json::{Value, json};

fn instant(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

async fn delete(api: &Api, token: &str, key: &str) -> u16 {
    let request = reqwest::Client::new().delete(format!("{}/v1/holds/{token}", api.url));
    request.bearer_auth(key).send().await.unwrap().status().as_u16()
}

async fn a_key(world: &World) -> String {
    use secrecy::ExposeSecret;
    let key = world.store.create_api_key(world.company.company_id, &[store::Scope::Book]).await.unwrap();
    key.expose_secret().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_holds_a_time_books_it_and_gives_another_one_back() {
    let world = World::new().await;
    let (api, key) = (world.api().await, a_key(&world).await);
    let _worker = world.worker(None);
    let (wish, rival) = (Wish::nth(&world, 0).await, Wish::nth(&world, 1).await);
    let body = json!({"branch_id": 1, "service_id": 1, "starts_at": wish.starts_at.to_rfc3339()});
    let kept = api.post("/v1/holds", &[], &body).await;
    assert_eq!(kept.status, 201, "{}", kept.body);
    assert_eq!(kept.headers["cache-control"], "no-store");
    assert_eq!((instant(&kept.body["starts_at"]), &kept.body["staff_id"]), (wish.starts_at, &json!(1)));
    assert!(instant(&kept.body["expires_at"]) < instant(&kept.body["starts_at"]));
    let token = kept.body["token"].as_str().unwrap();
    let again = api.post("/v1/holds", &[], &body).await;
    assert_eq!((again.status, problem(&again.body)), (409, "taken"), "a program has no call: {}", again.body);
    let rival = Wish { starts_at: wish.starts_at, ..rival };
    let refused = api.post("/v1/appointments", &[], &rival.written()).await;
    assert_eq!((refused.status, problem(&refused.body)), (409, "taken"), "{}", refused.body);

    let mut booking = wish.written();
    booking["hold_token"] = json!(token);
    let made = api.post("/v1/appointments", &[("prefer", "wait=10")], &booking).await;
    assert_eq!((made.status, &made.body["hold"]), (201, &json!("used")), "{}", made.body);
    let path = format!("/v1/appointments/{}", id_of(&made.body["appointment"]["id"]));
    assert_eq!(api.get(&path).await.body["status"], "scheduled");

    let later = wish.starts_at + TimeDelta::hours(1);
    let body = json!({"branch_id": 1, "service_id": 1, "staff_id": 1, "starts_at": later.to_rfc3339()});
    let other = api.post("/v1/holds", &[], &body).await;
    let other = other.body["token"].as_str().unwrap();
    for _ in 0..2 {
        assert_eq!(delete(&api, other, &key).await, 204, "as often as one likes");
    }
    assert_eq!(delete(&api, "nonsense", &key).await, 204);
    assert_eq!(delete(&api, other, "ak_live_00000000_x").await, 401);
    assert_eq!(api.post("/v1/holds", &[], &body).await.status, 201, "it is free again");
    world.sql("UPDATE slot SET expires_at = clock_timestamp() WHERE state = 'held'").await;
    let late = Wish { starts_at: later, ..rival };
    let mut late = late.written();
    late["hold_token"] = json!(other);
    let lucky = api.post("/v1/appointments", &[], &late).await;
    assert_eq!((lucky.status, &lucky.body["hold"]), (202, &json!("expired")), "booked all the same: {}", lucky.body);
    world.rests().await;
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_held_is_refused_by_its_name() {
    let world = World::new().await;
    let api = world.api_with(&[("ASKPRO_HOLDS_PER_API_KEY", "1".to_owned())]).await;
    let wish = Wish::nth(&world, 0).await;
    let body = |more: Value| {
        let mut body = json!({"branch_id": 1, "service_id": 1, "starts_at": wish.starts_at.to_rfc3339()});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let nothing = rows(&world).await;
    for (more, status, code) in [
        (json!({"branch_id": 9}), 422, "unknown_branch"),
        (json!({"staff_id": 9}), 422, "unknown_staff"),
        (json!({"starts_at": "2020-01-01T10:00:00Z"}), 422, "in_the_past"),
        (json!({"starts_at": "morgen"}), 422, "invalid_field"),
        (json!({"customer": {}}), 422, "unknown_field"),
        (json!({"starts_at": (wish.starts_at - TimeDelta::hours(2)).to_rfc3339()}), 422, "outside_hours"),
    ] {
        let answer = api.post("/v1/holds", &[], &body(more)).await;
        assert_eq!((answer.status, problem(&answer.body)), (status, code), "{}", answer.body);
    }
    assert_eq!(rows(&world).await, nothing, "nothing was written");
    assert_eq!(api.post("/v1/holds", &[], &body(json!({}))).await.status, 201);
    let later = json!({"starts_at": (wish.starts_at + TimeDelta::hours(1)).to_rfc3339()});
    let more = api.post("/v1/holds", &[], &body(later)).await;
    assert_eq!((more.status, problem(&more.body)), (429, "too_many_holds"), "{}", more.body);
    assert!((1..=120).contains(&more.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap()));
    world.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_reserves_thinks_and_books_and_nobody_comes_between() {
    let world = World::new().await;
    let (api, _worker) = (patient_api(&world).await, world.worker(None));
    let (wish, rival) = (Wish::nth(&world, 0).await, Wish::nth(&world, 1).await);
    let says = async |function: &str, call: &str, from: &str, args: Value| {
        said(&world, api.call(function, call, from, args).await).await
    };
    let (day, time) = wish.local();
    let at = json!({"datetime": format!("{day} {time}"), "service_name": "Herrenhaarschnitt"});
    let kept = says("reserve_slot", "call_keeps", &wish.phone, at.clone()).await;
    assert_eq!(
        (&kept["success"], &kept["status"], &kept["reserved"]),
        (&json!(true), &json!("reserved"), &json!(true))
    );
    assert!(kept["reservation_uid"].is_string() && kept["expires_at"].is_string(), "{kept}");
    let again = says("reserve-slot", "call_keeps", &wish.phone, at.clone()).await;
    assert_eq!(again["expires_at"], kept["expires_at"], "no longer than at first: {again}");
    let theirs = Wish { starts_at: wish.starts_at, ..rival.clone() };
    for function in ["reserve_slot", "book_appointment"] {
        let taken = says(function, "call_rival", &rival.phone, theirs.spoken()).await;
        assert_eq!((&taken["success"], &taken["status"]), (&json!(false), &json!("slot_taken")), "{taken}");
        assert_eq!(taken["alternatives"].as_array().unwrap().len(), 3);
    }
    let booked = says("start_booking", "call_keeps", &wish.phone, wish.spoken()).await;
    assert_eq!((&booked["booked"], &booked["reservation"]), (&json!(true), &json!("used")), "{booked}");
    let released = says("release_slot_reservation", "call_keeps", &wish.phone, json!({})).await;
    assert_eq!((&released["success"], &released["released"]), (&json!(true), &json!(true)), "the booking stands");
    assert_eq!(world.status(id_of(&booked["appointment_id"])).await, "scheduled");

    let other = Wish::nth(&world, 4).await;
    says("reserve_slot", "call_rival", &rival.phone, other.spoken()).await;
    let uid = says("reserve_slot", "call_rival", &rival.phone, other.spoken()).await["reservation_uid"].clone();
    let not_theirs = says("release_slot_reservation", "call_keeps", &wish.phone, json!({"reservation_uid": uid})).await;
    assert_eq!(not_theirs["released"], true, "nobody hears whose it is");
    assert_eq!(world.count("SELECT count(*) FROM slot WHERE state = 'held'").await, 1, "it is still kept");
    says("release_slot_reservation", "call_rival", &rival.phone, json!({"reservation_uid": uid})).await;
    assert_eq!(world.count("SELECT count(*) FROM slot WHERE state = 'held'").await, 0);

    says("reserve_slot", "call_rival", &rival.phone, other.spoken()).await;
    world.sql("UPDATE slot SET expires_at = clock_timestamp() WHERE state = 'held'").await;
    let lucky = Wish { name: rival.name.clone(), ..other.clone() };
    let lucky = says("book_appointment", "call_rival", &rival.phone, lucky.spoken()).await;
    assert_eq!((&lucky["booked"], &lucky["reservation"]), (&json!(true), &json!("expired")), "{lucky}");
    assert!(lucky["message"].as_str().unwrap().ends_with("die Zeit war aber noch frei."), "{lucky}");
    let four = (6..10).map(|n| Wish { starts_at: wish.starts_at + TimeDelta::minutes(30 * n), ..wish.clone() });
    let mut told = Vec::new();
    for wish in four {
        told.push(says("reserve_slot", "call_greedy", "+4915112777777", wish.spoken()).await["status"].clone());
    }
    assert_eq!(told, ["reserved", "reserved", "reserved", "too_many_reservations"]);
    world.rests().await;
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_offered_near_a_time_and_next_can_be_had() {
    let world = World::of(Setup { staff: 2, ..Setup::default() }).await;
    let (api, _worker) = (patient_api(&world).await, world.worker(None));
    let (taken, wish) = (Wish::nth(&world, 8).await, Wish::nth(&world, 1).await);
    let made = api.post("/v1/appointments", &[("prefer", "wait=10")], &taken.written()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let at = taken.starts_at.to_rfc3339().replace('+', "%2B");
    let path = format!("/v1/alternatives?branch_id=1&service_id=1&staff_id=1&starts_at={at}");
    let found = api.get(&path).await;
    assert_eq!((found.status, &found.body["wished"]), (200, &json!("taken")), "{}", found.body);
    let offers = found.body["alternatives"].as_array().unwrap();
    assert_eq!(offers.iter().map(|o| &o["strategy"]).collect::<Vec<_>>(), ["same_day", "same_day", "next_workday"]);
    assert_eq!(instant(&offers[0]["starts_at"]), taken.starts_at + TimeDelta::minutes(30));
    let many = api.get(&format!("{path}&limit=20")).await.body;
    assert_eq!(many["alternatives"].as_array().unwrap().len(), 20);
    assert_eq!(problem(&api.get("/v1/alternatives?branch_id=1").await.body), "missing_field");
    assert_eq!(problem(&api.get(&path.replace("staff_id=1", "staff_id=9")).await.body), "unknown_staff");

    let says = async |function: &str, args: Value| {
        said(&world, api.call(function, "call_asks", &wish.phone, args).await).await
    };
    let (day, time) = taken.local();
    let near = says(
        "get_alternatives",
        json!({"service_name": "Herrenhaarschnitt", "preferred_date": day,
                                               "preferred_time": time, "mitarbeiter": 1}),
    )
    .await;
    assert_eq!((&near["status"], &near["found"], &near["available"]), (&json!("found"), &json!(true), &json!(false)));
    assert_eq!((&near["already_booked"], near["alternatives"].as_array().unwrap().len()), (&json!(false), 3), "{near}");
    for field in ["time", "date", "description", "spoken_time", "staff"] {
        assert!(near["alternatives"][0][field].is_string(), "{field}: {near}");
    }
    let free = says("get_alternatives", json!({"preferred_date": day, "preferred_time": time})).await;
    assert_eq!(free["available"], true, "with anybody: {free}");
    let whole_day = says("get_alternatives", json!({"preferred_date": day})).await;
    assert_eq!(
        (&whole_day["status"], &whole_day["alternatives"][0]["date"]),
        (&json!("found"), &json!(day)),
        "{whole_day}"
    );
    assert_eq!(
        says("get_alternatives", json!({"preferred_date": "neulich"})).await["status"],
        "missing_required_fields"
    );
    let past = says("get_alternatives", json!({"preferred_date": "2023-06-13", "preferred_time": "10:00"})).await;
    assert_eq!((&past["status"], &past["available"]), (&json!("past_time"), &json!(false)), "{past}");

    let next = says("find_next_available", json!({"after": day, "search_days": 3})).await;
    assert_eq!((&next["status"], &next["available"]), (&json!("found"), &json!(true)), "{next}");
    let first = &next["next_available"];
    assert_eq!((first, &first["date"]), (&next["alternatives"][0], &json!(day)), "{next}");
    let args =
        json!({"customer_name": wish.name, "datum": first["date"], "uhrzeit": first["time"], "staff": first["staff"]});
    assert_eq!(says("book_appointment", args).await["booked"], true);
    world
        .sql(
            "INSERT INTO external_busy (company_id, calcom_uid, staff_id, during)
               SELECT 1, 'x' || n, n, tstzrange(now(), now() + interval '40 days', '[)') FROM generate_series(1, 2) n",
        )
        .await;
    let none = says("find_next_available", json!({})).await;
    assert_eq!((&none["status"], &none["available"]), (&json!("no_availability"), &json!(false)), "{none}");
    world.sql("DELETE FROM external_busy").await;
    world.rests().await;
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_times_the_first_that_is_free_is_booked_at_cal_com() {
    let world = World::new().await;
    let (api, _worker) = (patient_api(&world).await, world.worker(None));
    let (taken, wish) = (Wish::nth(&world, 0).await, Wish::nth(&world, 1).await);
    api.post("/v1/appointments", &[], &taken.written()).await;
    let (first, second, third) =
        (taken.starts_at, taken.starts_at + TimeDelta::hours(1), taken.starts_at + TimeDelta::hours(2));
    let any_of = |times: &[DateTime<Utc>]| {
        let mut body = wish.written();
        body.as_object_mut().unwrap().remove("starts_at");
        body["any_of"] = times.iter().map(|at| json!({"starts_at": at.to_rfc3339()})).collect();
        body
    };
    let made = api.post("/v1/appointments", &[("prefer", "wait=10")], &any_of(&[first, second, third])).await;
    assert_eq!((made.status, instant(&made.body["appointment"]["starts_at"])), (201, second), "{}", made.body);
    let again = api.post("/v1/appointments", &[], &any_of(&[first, second, third])).await;
    assert_eq!(
        (again.status, &again.body["appointment"]["id"]),
        (200, &made.body["appointment"]["id"]),
        "not the next"
    );

    let other = Wish::nth(&world, 9).await;
    let says =
        async |args: Value| said(&world, api.call("book_first_free", "call_any", &other.phone, args).await).await;
    let (day, time) = Wish { starts_at: third, ..other.clone() }.local();
    let candidates =
        json!([first.to_rfc3339(), second.to_rfc3339(), {"date": day, "time": time, "staff": "Anna Berg 1"}]);
    let booked = says(json!({"customer_name": other.name, "candidates": candidates})).await;
    assert_eq!((&booked["booked"], &booked["status"]), (&json!(true), &json!("booked")), "{booked}");
    assert!(booked["message"].as_str().unwrap().contains(&format!(", um {time} Uhr")), "{booked}");
    assert_eq!(says(json!({"customer_name": other.name, "candidates": candidates})).await, booked, "word for word");
    let none = json!({"customer_name": "Lena", "any_of": [first.to_rfc3339(), second.to_rfc3339()]});
    let none = said(&world, api.call("book_first_free", "call_late", "+4915112777777", none).await).await;
    assert_eq!((&none["booked"], &none["status"]), (&json!(false), &json!("slot_taken")), "{none}");
    assert_eq!(says(json!({"customer_name": other.name})).await["status"], "missing_required_fields");
    world.rests().await;
    assert_eq!(world.live().len(), 3);
    world.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_step_of_older_flows_says_what_became_of_the_first() {
    let world = World::new().await;
    let api = world.api_with(&[("ASKPRO_VOICE_WAIT_MS", "25000".to_owned())]).await;
    let hasty = world.api_with(&[("ASKPRO_VOICE_WAIT_MS", "0".to_owned())]).await;
    let wish = Wish::nth(&world, 0).await;
    let confirm = async || {
        said(&world, api.call("confirm_booking", "call_two", &wish.phone, json!({"call_id": "12345"})).await).await
    };
    let nothing = confirm().await;
    assert_eq!((&nothing["success"], &nothing["status"]), (&json!(false), &json!("no_booking")), "{nothing}");
    let noted = said(&world, hasty.call("start_booking", "call_two", &wish.phone, wish.spoken()).await).await;
    assert_eq!((&noted["status"], &noted["booked"]), (&json!("requested"), &json!(false)), "{noted}");
    let _worker = world.worker(None);
    for _ in 0..2 {
        let told = confirm().await;
        assert_eq!((&told["status"], &told["booked"]), (&json!("booked"), &json!(true)), "it waits: {told}");
        assert_eq!(told["appointment_id"], noted["appointment_id"]);
    }
    let stranger = said(&world, api.call("confirm_booking", "call_three", &wish.phone, json!({})).await).await;
    assert_eq!(stranger["status"], "no_booking", "of this call alone: {stranger}");
    api.call("cancel_appointment", "call_two", &wish.phone, json!({})).await;
    assert_eq!(confirm().await["status"], "cancelled");
    world.rests().await;
    assert_eq!(world.count("SELECT count(*) FROM appointment").await, 1);
    world.at_rest().await;
}
