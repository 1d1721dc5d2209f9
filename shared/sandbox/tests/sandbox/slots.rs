//! `GET /v2/slots`: its shape, and that what it tells is what a booking would get. Deliberately absent: working hours.

use std::time::Duration;

use reqwest::Method;
use sandbox::{Fault, Faults, On, Rule};
use serde_json::{Value, json};

use crate::client::{Client, KEY, Reply, config, reply};

const MORNING: &str = "start=2050-09-05T09:00:00Z&end=2050-09-05T11:00:00Z";

async fn slots(client: &Client, query: &str) -> Reply {
    let path = format!("/slots?{query}");
    reply(client.bare(Method::GET, &path).header("cal-api-version", "2024-09-04").bearer_auth(KEY)).await
}

/// The starts of one day, hours and minutes.
fn starts(reply: &Reply, day: &str) -> Vec<String> {
    let slots = reply.data()[day].as_array().cloned().unwrap_or_default();
    slots.iter().map(|slot| slot["start"].as_str().unwrap()[11..16].to_owned()).collect()
}

#[tokio::test]
async fn free_starts_by_day_in_the_zone_that_was_asked_for() {
    let client = Client::start(config()).await;
    let told = slots(&client, &format!("eventTypeId=101&{MORNING}")).await;
    let of = |start: &str| json!({ "start": start });
    let four = ["09:00", "09:30", "10:00", "10:30"].map(|time| of(&format!("2050-09-05T{time}:00.000Z")));
    assert_eq!(told.body, json!({"status": "success", "data": {"2050-09-05": four}}));
    let berlin = slots(&client, &format!("eventTypeId=101&{MORNING}&timeZone=Europe/Berlin&format=range")).await;
    let first = json!({"start": "2050-09-05T11:00:00.000+02:00", "end": "2050-09-05T11:30:00.000+02:00"});
    assert_eq!(berlin.data()["2050-09-05"][0], first);
    let days = slots(&client, "eventTypeId=101&start=2050-09-05&end=2050-09-06&timeZone=America/Vancouver").await;
    let days: Vec<&String> = days.data().as_object().unwrap().keys().collect();
    assert_eq!(days, ["2050-09-04", "2050-09-05", "2050-09-06"], "an end without a time is the whole day");
    let named = slots(&client, &format!("eventTypeSlug=event-101&username=anna1&{MORNING}")).await;
    assert_eq!(named.body, told.body);
}

#[tokio::test]
async fn what_it_tells_is_what_a_booking_gets() {
    let client = Client::start(config()).await;
    client.create(101, "2050-09-05T09:15:00Z").await;
    let uid = client.create(102, "2050-09-05T10:30:00Z").await.uid().to_owned();
    let ask = format!("eventTypeId=101&{MORNING}");
    let told = starts(&slots(&client, &ask).await, "2050-09-05");
    assert_eq!(told, ["10:00"], "both event types have one host");
    assert_eq!(starts(&slots(&client, &format!("eventTypeId=201&{MORNING}")).await, "2050-09-05").len(), 4);
    assert_eq!(slots(&client, &format!("{ask}&duration=60")).await.body["data"], json!({}));
    for (time, status) in [("09:00", 400), ("09:30", 400), ("10:30", 400), ("10:00", 201)] {
        assert_eq!(client.create(101, &format!("2050-09-05T{time}:00Z")).await.status, status, "{time}");
    }
    client.cancel(&uid).await;
    assert_eq!(starts(&slots(&client, &ask).await, "2050-09-05"), ["10:30"]);
    client.create(301, "2050-09-05T10:30:00Z").await;
    assert_eq!(starts(&slots(&client, &ask).await, "2050-09-05"), ["10:30"], "what waits for the host excludes nobody");
    client.set_now("2050-09-05T10:31:00Z");
    assert_eq!(slots(&client, &ask).await.body["data"], json!({}), "nothing is free in the past");
}

#[tokio::test]
async fn reads_lag_and_break_as_others_do() {
    let client = Client::start(config()).await;
    let uid = client.create(101, "2050-09-05T09:00:00Z").await.uid().to_owned();
    client.sandbox.set_replica_lag(Duration::from_secs(600));
    client.create(101, "2050-09-05T10:00:00Z").await;
    client.sandbox.delete_by_others(&uid).await.unwrap();
    let ask = format!("eventTypeId=101&{MORNING}");
    assert_eq!(starts(&slots(&client, &ask).await, "2050-09-05"), ["09:30", "10:00", "10:30"]);
    client.sandbox.set_replica_lag(Duration::ZERO);
    assert_eq!(starts(&slots(&client, &ask).await, "2050-09-05"), ["09:00", "09:30", "10:30"]);
    let rules = vec![Rule::nth(On::Slots, 1, Fault::BrokenBefore)];
    client.sandbox.set_faults(Faults { seed: None, rules }).unwrap();
    assert_eq!(slots(&client, &ask).await.status, 500);
    assert_eq!(slots(&client, &ask).await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_answered_says_why() {
    let client = Client::start(config()).await;
    let message = async |query: &str| {
        let told = slots(&client, query).await;
        (told.status, told.message().to_owned())
    };
    let range = "Invalid time range given - check the 'start' and 'end' query parameters.".to_owned();
    assert_eq!(message("eventTypeId=101&start=2050-09-06&end=2050-09-04").await, (400, range.clone()));
    assert_eq!(message("eventTypeId=101&start=tomorrow&end=2050-09-04").await, (400, range.clone()));
    assert_eq!(message("eventTypeId=101").await, (400, range));
    assert_eq!(message(&format!("eventTypeId=999&{MORNING}")).await.0, 404);
    assert_eq!(message(MORNING).await.0, 400);
    for wrong in
        ["eventTypeId=x", "eventTypeId=101&duration=0", "eventTypeId=101&timeZone=Mars", "eventTypeId=101&format=x"]
    {
        assert_eq!(message(&format!("{wrong}&{MORNING}")).await, (400, "Bad Request Exception".to_owned()), "{wrong}");
    }
    let old = client.bare(Method::GET, &format!("/slots?eventTypeId=101&{MORNING}"));
    let old: Value = old.header("cal-api-version", "2024-08-13").send().await.unwrap().json().await.unwrap();
    assert_eq!(old["error"]["message"], format!("Cannot GET /v2/slots?eventTypeId=101&{MORNING}"));
}
