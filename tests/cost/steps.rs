//! One booking by hand: accept, claim, ask for the request, settle, then its customer job, and what each of them says to
//! the record.
//! Deliberately absent: a worker, whose loops would be counted too; the sandbox is asked by the few lines below.

use chrono::TimeDelta;
use domain::answer::{Booking, BookingStatus, BookingUid};
use domain::budget::Purpose;
use domain::outcome::Outcome;
use harness::{Traffic, Wire, World};
use secrecy::SecretString;
use serde_json::{Value, json};
use store::{Claim, Claimed, Fingerprint, Question, Reply, Settled, Store};

/// In their order; all but the last are the booking. The commit of `ask` does not wait for the disk, and a process that
/// is busy has one for many requests.
pub const STEPS: [&str; 5] = ["accept", "claim", "ask", "settle", "customer"];

/// The n-th wish, through `store`, whose connections go through `wire`.
pub async fn book(world: &World, store: &Store, wire: &Wire, n: u32) -> [Traffic; 5] {
    let wish = world.wish(n).await;
    let mut before = wire.traffic();
    let mut step = || {
        let now = wire.traffic();
        now - std::mem::replace(&mut before, now)
    };

    let accepted = store.accept_booking(&wish).await.unwrap();
    let accept = step();

    let booking = accepted.job.expect("a new booking has its job").job;
    let Claim::Granted(claimed) = store.claim(booking, "by hand").await.unwrap() else { panic!("not granted") };
    let claim = step();

    let key = Fingerprint::of(&SecretString::from("cal_test"));
    let asked = store.ask_calcom_key(key, &[Question::May(Purpose::Act)]).await.unwrap();
    assert!(matches!(asked.replies[..], [Reply::Go(_)]), "{asked:?}");
    let ask = step();

    let outcome = Outcome::Applied { booking: create(world, &claimed).await, spares: vec![] };
    let settled = store.settle(&claimed, &outcome, 0.5).await.unwrap();
    assert!(matches!(settled, Settled::Done { .. }), "{settled:?}");
    let settle = step();

    let customer = *accepted.ring.iter().find(|job| **job != booking).expect("the customer has a job");
    let merged = store.claim(customer, "by hand").await.unwrap();
    assert!(matches!(merged, Claim::Ended { .. }), "{merged:?}");
    [accept, claim, ask, settle, step()]
}

/// What the op asks of Cal.com, and its answer.
async fn create(world: &World, claimed: &Claimed) -> Booking {
    let start = claimed.asked.starts_at.unwrap();
    let body = json!({
        "eventTypeId": claimed.event_type_id,
        "start": start,
        "attendee": {"name": "Max", "email": "max@salon.test", "timeZone": "Europe/Berlin"},
    });
    let request = reqwest::Client::new().post(format!("{}/bookings", world.sandbox.url));
    let answer = request.header("cal-api-version", "2024-08-13").json(&body).send().await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let uid = answer["data"]["uid"].as_str().unwrap_or_else(|| panic!("not booked: {answer}"));
    Booking {
        uid: BookingUid::from(uid.to_owned()),
        status: BookingStatus::Accepted,
        start,
        end: start + TimeDelta::minutes(30),
        event_type_id: claimed.event_type_id.unwrap(),
        host_id: None,
        created_at: claimed.claimed_at,
        updated_at: None,
        marker: Some(claimed.asked.lineage.0),
        rescheduled_to: None,
        rescheduled_from: None,
    }
}
