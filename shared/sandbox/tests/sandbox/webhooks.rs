//! What webhooks say, whom they tell, and when: before the reply, a cancellation even before it is done.

use reqwest::Method;
use sandbox::{
    Config, Effect, Entry, Fate, Fault, Faults, Mode, On, Outcome, Rule, Status, Subscription, Trigger, WebhookPlan,
    What,
};
use serde_json::{Value, json};

use crate::client::{Client, at, body, config, reply};
use crate::receiver::{Got, Receiver, SECRET};

const NINE: &str = "2050-09-05T09:00:00Z";
const ELEVEN: &str = "2050-09-05T11:00:00Z";

async fn told() -> (Client, Receiver) {
    let receiver = Receiver::start().await;
    let client = Client::start(Config { webhooks: vec![receiver.subscription()], ..config() }).await;
    (client, receiver)
}

#[tokio::test]
async fn a_created_booking_is_told_whole_signed_and_before_the_reply() {
    let (client, receiver) = told().await;
    let made = client.create(101, NINE).await;
    let got = receiver.got();
    assert_eq!(got.len(), 1, "before the reply, and once");
    assert_eq!(
        got[0].body,
        json!({ "triggerEvent": "BOOKING_CREATED", "createdAt": "2050-09-01T08:00:00.000Z", "payload": {
            "bookerUrl": "https://cal.com", "title": "event-101 between Anna Berg and Max Müller",
            "additionalNotes": "", "type": "event-101", "description": "", "eventTypeId": 101,
            "seatsPerTimeSlot": null,
            "organizer": {
                "id": 1, "name": "Anna Berg", "email": "anna@salon.test", "username": "anna1",
                "usernameInOrg": null, "timeZone": "Europe/Berlin", "language": { "locale": "en" },
                "timeFormat": "h:mma", "utcOffset": 120,
            },
            "attendees": [{
                "email": "max@example.com", "name": "Max Müller", "firstName": "Max", "lastName": "Müller",
                "timeZone": "Europe/Berlin", "phoneNumber": "+4915112345678", "language": { "locale": "de" },
                "utcOffset": 120,
            }],
            "customInputs": {},
            "responses": {
                "name": { "label": "your_name", "value": "Max Müller", "isHidden": false },
                "email": { "label": "email_address", "value": "max@example.com", "isHidden": false },
                "attendeePhoneNumber": { "label": "phone_number", "value": "+4915112345678", "isHidden": false },
            },
            "userFieldsResponses": {}, "location": "integrations:daily", "destinationCalendar": null,
            "requiresConfirmation": false, "eventTitle": "event-101", "eventDescription": "", "price": 0,
            "currency": "usd", "length": 30, "startTime": "2050-09-05T09:00:00Z", "endTime": "2050-09-05T09:30:00Z",
            "iCalUID": format!("{}@Cal.com", made.uid()), "iCalSequence": 0, "uid": made.uid(),
            "bookingId": made.data()["id"],
            "metadata": { "gateway_key": "0b9f0a6e-0000-4000-8000-000000000001" }, "status": "ACCEPTED",
        }})
    );
    assert!(got[0].is_signed_with(SECRET) && !got[0].is_signed_with("another"));
    assert_eq!(got[0].header("x-cal-signature-256"), got[0].header("x-cal-signature-256").to_lowercase());
    assert_eq!(
        (got[0].header("x-cal-webhook-version"), got[0].header("content-type")),
        ("2021-10-20", "application/json")
    );
}

#[tokio::test]
async fn what_is_refused_or_only_repeated_is_not_told() {
    let (client, receiver) = told().await;
    client.create(101, NINE).await;
    assert_eq!(client.create(101, NINE).await.status, 409);
    assert_eq!(client.cancel("nobody").await.status, 404);
    assert_eq!(client.post("/bookings/nobody/cancel", &json!({ "colour": 1 })).await.status, 400);
    let pending = client.create(301, ELEVEN).await;
    assert_eq!(client.create(301, ELEVEN).await.uid(), pending.uid());
    assert_eq!(receiver.triggers(), ["BOOKING_CREATED", "BOOKING_REQUESTED"]);
}

#[tokio::test]
async fn a_chain_of_moves_has_one_calendar_uid_and_a_rising_sequence() {
    let (client, receiver) = told().await;
    let first = client.create(101, NINE).await;
    let second = client.reschedule(first.uid(), ELEVEN).await;
    let third = client.sandbox.reschedule_by_others(second.uid(), at("2050-09-06T11:00:00Z")).await.unwrap();
    client.cancel(&third.uid).await;
    let got = receiver.got();
    assert_eq!(
        receiver.triggers(),
        ["BOOKING_CREATED", "BOOKING_RESCHEDULED", "BOOKING_RESCHEDULED", "BOOKING_CANCELLED"],
        "no cancellation of those that were replaced"
    );
    let calendar = |got: &Got| (got.payload()["iCalUID"].clone(), got.payload()["iCalSequence"].clone());
    let uid = json!(format!("{}@Cal.com", first.uid()));
    assert_eq!(got.iter().map(calendar).collect::<Vec<_>>(), [0, 1, 2, 3].map(|n| (uid.clone(), json!(n))));
    let moved = got[1].payload();
    assert_eq!((&moved["uid"], &moved["status"]), (&json!(second.uid()), &json!("ACCEPTED")));
    assert_eq!((&moved["startTime"], &moved["endTime"]), (&json!(ELEVEN), &json!("2050-09-05T11:30:00Z")));
    assert_eq!((&moved["rescheduleId"], &moved["rescheduleUid"]), (&first.data()["id"], &json!(first.uid())));
    assert_eq!(moved["rescheduleStartTime"], NINE);
    assert_eq!(moved["rescheduleEndTime"], "2050-09-05T09:30:00Z");
    assert_eq!(moved["metadata"], json!({ "gateway_key": "0b9f0a6e-0000-4000-8000-000000000001" }));
    assert_eq!(got[2].payload()["metadata"], json!({}), "the booking page sends none of ours");
    assert_eq!(third.marker(), Some("0b9f0a6e-0000-4000-8000-000000000001"), "and the booking has it all the same");
}

#[tokio::test]
async fn a_cancellation_is_told_before_it_is_done() {
    let (client, receiver) = told().await;
    for by_others in [false, true] {
        let uid = client.create(101, NINE).await.uid().to_owned();
        receiver.look_at(format!("{}/bookings/{uid}", client.sandbox.url));
        let before = receiver.got().len();
        if by_others {
            client.sandbox.cancel_by_others(&uid).await.unwrap();
        } else {
            client.cancel(&uid).await;
        }
        assert_eq!(client.get(&format!("/bookings/{uid}")).await.data()["status"], "cancelled");
        let got = receiver.got();
        assert_eq!(got.len(), before + 1);
        let told = got.last().unwrap();
        assert_eq!((told.trigger(), &told.seen["data"]["status"]), ("BOOKING_CANCELLED", &json!("accepted")));
        let payload = told.payload();
        assert_eq!((&payload["uid"], &payload["status"]), (&json!(uid), &json!("CANCELLED")));
        assert_eq!(payload["startTime"], "2050-09-05T11:00:00+02:00", "with the host's offset");
        assert_eq!(payload["cancelledBy"], "anna@salon.test");
        assert_eq!(payload["cancellationReason"], if by_others { "" } else { "changed plans" });
        assert_eq!((&payload["requestReschedule"], payload.get("metadata")), (&json!(false), None));
        receiver.look_at(format!("{}/_sandbox/bookings", client.sandbox.root));
    }
}

#[tokio::test]
async fn what_waits_for_the_host_is_requested_then_confirmed_or_declined() {
    let (client, receiver) = told().await;
    let uid = client.create(301, NINE).await.uid().to_owned();
    let other = client.create(301, ELEVEN).await.uid().to_owned();
    client.post(&format!("/bookings/{uid}/confirm"), &json!({})).await;
    client.sandbox.decline_by_others(&other, "full").await.unwrap();
    let moved = client.reschedule(&uid, "2050-09-06T11:00:00Z").await;
    let said: Vec<_> = receiver.got().iter().map(|got| (got.trigger().to_owned(), got.payload().clone())).collect();
    let [requested, _, confirmed, declined, moved_told] = &said[..] else { panic!("{said:#?}") };
    assert_eq!((requested.0.as_str(), &requested.1["status"]), ("BOOKING_REQUESTED", &json!("PENDING")));
    assert_eq!(requested.1["requiresConfirmation"], true);
    assert_eq!(requested.1["metadata"]["gateway_key"], "0b9f0a6e-0000-4000-8000-000000000001");
    assert_eq!((confirmed.0.as_str(), &confirmed.1["status"]), ("BOOKING_CREATED", &json!("ACCEPTED")));
    assert_eq!((&confirmed.1["uid"], &confirmed.1["startTime"]), (&json!(uid), &json!("2050-09-05T09:00:00.000Z")));
    assert_eq!((declined.0.as_str(), &declined.1["status"]), ("BOOKING_REJECTED", &json!("REJECTED")));
    assert_eq!((&declined.1["uid"], &declined.1["rejectionReason"]), (&json!(other), &json!("full")));
    for by_the_host in [confirmed, declined] {
        assert_eq!((by_the_host.1.get("metadata"), by_the_host.1.get("iCalUID")), (None, None));
    }
    assert_eq!((moved_told.0.as_str(), &moved_told.1["status"]), ("BOOKING_REQUESTED", &json!("PENDING")));
    assert_eq!((&moved_told.1["uid"], &moved_told.1["rescheduleUid"]), (&json!(moved.uid()), &json!(uid)));
}

#[tokio::test]
async fn every_subscription_is_served_for_itself() {
    let (client, receiver) = told().await;
    let unsigned = Subscription { secret: None, ..receiver.subscription() };
    let another = Subscription { secret: Some("another".to_owned()), ..receiver.subscription() };
    let cancellations = Subscription { triggers: Some(vec![Trigger::BookingCancelled]), ..receiver.subscription() };
    client.sandbox.set_webhooks(vec![receiver.subscription(), unsigned, another, cancellations]).unwrap();
    let uid = client.create(101, NINE).await.uid().to_owned();
    let got = receiver.got();
    assert_eq!(receiver.triggers(), ["BOOKING_CREATED"; 3]);
    let signed = |secret: &str| got.iter().filter(|got| got.is_signed_with(secret)).count();
    assert_eq!((signed(SECRET), signed("another")), (1, 1));
    let literal = got.iter().filter(|got| got.header("x-cal-signature-256") == "no-secret-provided").count();
    assert_eq!(literal, 1);
    let mut created: Vec<_> = got.iter().map(|got| got.body["createdAt"].as_str().unwrap()).collect();
    created.sort_unstable();
    assert_eq!(created, ["2050-09-01T08:00:00.000Z", "2050-09-01T08:00:00.001Z", "2050-09-01T08:00:00.002Z"]);
    client.cancel(&uid).await;
    assert_eq!(receiver.got().len(), 3 + 4);
    client.sandbox.set_webhooks(Vec::new()).unwrap();
    client.create(101, NINE).await;
    assert_eq!(receiver.got().len(), 3 + 4);
}

#[tokio::test]
async fn an_answer_of_any_status_and_none_at_all_change_nothing() {
    let (client, receiver) = told().await;
    receiver.answer(axum::http::StatusCode::INTERNAL_SERVER_ERROR);
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = Subscription { url: format!("http://{dead}/"), ..receiver.subscription() };
    client.sandbox.set_webhooks(vec![nobody, receiver.subscription()]).unwrap();
    assert_eq!(client.create(101, NINE).await.status, 201);
    client.sandbox.webhooks_at_rest().await;
    assert_eq!(receiver.got().len(), 1, "not sent again");
    let became: Vec<_> = client.sandbox.webhook_attempts().iter().map(|it| (it.outcome, it.status)).collect();
    assert_eq!(became, [(Outcome::Failed, None), (Outcome::Answered, Some(500))]);
}

#[tokio::test]
async fn the_reply_waits_for_the_receiver() {
    let (client, receiver) = told().await;
    receiver.open(false);
    let (_, created) = futures::future::join(
        async {
            receiver.when(1).await;
            let replied = client.sandbox.ledger().iter().any(|entry| entry.what == What::Reply);
            assert!(!replied, "the receiver has not answered yet");
            assert_eq!(client.sandbox.webhook_attempts()[0].outcome, Outcome::Outstanding);
            receiver.open(true);
        },
        client.create(101, NINE),
    )
    .await;
    assert_eq!(created.status, 201);
    assert_eq!(client.sandbox.webhook_attempts()[0].outcome, Outcome::Answered);
}

#[tokio::test]
async fn a_receiver_who_never_answers_is_waited_for_and_given_up() {
    let (client, receiver) = told().await;
    receiver.open(false);
    assert_eq!(client.create(101, NINE).await.status, 201);
    let attempt = client.sandbox.webhook_attempts().remove(0);
    assert_eq!((attempt.outcome, attempt.status), (Outcome::Failed, None));
    assert_eq!(receiver.got().len(), 1);
}

#[tokio::test]
async fn by_the_other_mode_the_receiver_hears_after_the_reply() {
    let (client, receiver) = told().await;
    client.sandbox.set_webhook_plan(WebhookPlan { mode: Mode::After, ..WebhookPlan::default() }).unwrap();
    receiver.look_at(format!("{}/_sandbox/ledger", client.sandbox.root));
    receiver.open(false);
    let uid = client.create(101, NINE).await.uid().to_owned();
    client.cancel(&uid).await;
    let got = receiver.when(2).await;
    let replied = |got: &Got| {
        let cancel = |entry: &&Value| entry["path"].as_str().is_some_and(|path| path.ends_with("cancel"));
        let of = got.trigger() == "BOOKING_CANCELLED";
        let entries = got.seen.as_array().unwrap();
        entries.iter().filter(|entry| cancel(entry) == of).any(|entry| entry["what"] == "reply")
    };
    assert!(got.iter().all(replied), "{got:#?}");
    receiver.open(true);
    client.sandbox.webhooks_at_rest().await;
    assert!(client.sandbox.webhook_attempts().iter().all(|it| it.outcome == Outcome::Answered));
}

#[tokio::test]
async fn a_fault_after_the_effect_does_not_silence_it() {
    let (client, receiver) = told().await;
    let rules = [Fault::BrokenBefore, Fault::BrokenAfter, Fault::LateEffect];
    let rules = rules.iter().zip(1..).map(|(fault, nth)| Rule {
        delay_ms: (*fault == Fault::LateEffect).then_some(1),
        ..Rule::nth(On::Create, nth, *fault)
    });
    client.sandbox.set_faults(Faults { seed: None, rules: rules.collect() }).unwrap();
    assert_eq!(client.create(101, NINE).await.status, 500);
    assert_eq!(receiver.got().len(), 0, "it had no effect");
    assert_eq!(client.create(101, NINE).await.status, 500);
    assert_eq!(receiver.got().len(), 1);
    assert_eq!(client.create(101, ELEVEN).await.status, 500);
    assert_eq!(receiver.when(2).await[1].payload()["startTime"], ELEVEN);
    let effects = client.sandbox.ledger().iter().filter(|entry| entry.effect == Some(Effect::Created)).count();
    assert_eq!(effects, 2);
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_misses_only_the_reply() {
    let (client, receiver) = told().await;
    let ours = client.create(101, NINE).await.uid().to_owned();
    let theirs = client.create(201, NINE).await.uid().to_owned();
    receiver.open(false);
    for (path, told) in [(format!("/v2/bookings/{ours}"), 3), (format!("/_sandbox/bookings/{theirs}"), 4)] {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let post = http.post(format!("{}{path}/cancel", client.sandbox.root)).header("cal-api-version", "2024-08-13");
        let asked = tokio::spawn(post.json(&json!({})).send());
        receiver.when(told).await;
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
    }
    receiver.open(true);
    let done = |ledger: &[Entry]| ledger.iter().filter(|it| it.effect == Some(Effect::Cancelled)).count() == 2;
    let replied = |ledger: &[Entry]| ledger.iter().any(|it| it.request == 3 && it.what == What::Reply);
    let ledger = client.ledger_when(|ledger| done(ledger) && replied(ledger)).await;
    assert_eq!(ledger.iter().rfind(|it| it.what == What::Reply).unwrap().fate, Some(Fate::Dropped));
    assert!(client.sandbox.bookings().iter().all(|booking| booking.status == Status::Cancelled));
}

#[tokio::test]
async fn what_others_do_over_the_control_surface_is_told_too() {
    let (client, receiver) = told().await;
    let post = |path: String, body: Value| reply(client.control(Method::POST, &path).json(&body));
    let made = post("/bookings".to_owned(), body(301, NINE)).await;
    post(format!("/bookings/{}/confirm", made.uid()), json!({})).await;
    post(format!("/bookings/{}/cancel", made.uid()), json!({})).await;
    assert_eq!(receiver.triggers(), ["BOOKING_REQUESTED", "BOOKING_CREATED", "BOOKING_CANCELLED"]);
}
