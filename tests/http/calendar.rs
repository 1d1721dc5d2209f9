//! Somebody else at Cal.com: books a time there without us, and gives it back.

use crate::Wish;
use harness::World;
use serde_json::{Value, json};

/// A booking that is none of ours.
pub struct Foreign {
    url: String,
    uid: String,
}

impl Foreign {
    /// Takes the wish's time at Cal.com itself.
    pub async fn books(world: &World, wish: &Wish) -> Self {
        let attendee = json!({"name": "Laufkundschaft", "email": "tresen@salon.test", "timeZone": "Europe/Berlin",
                              "language": "de"});
        let event_type_id = 100 + wish.staff_id;
        let body = json!({"eventTypeId": event_type_id, "start": wish.starts_at.to_rfc3339(), "attendee": attendee});
        let url = format!("{}/bookings", world.sandbox.url);
        let made = post(&url, &body).await;
        Self { url, uid: made["data"]["uid"].as_str().unwrap().to_owned() }
    }

    pub async fn leaves(self) {
        post(&format!("{}/{}/cancel", self.url, self.uid), &json!({"cancellationReason": "krank"})).await;
    }
}

async fn post(url: &str, body: &Value) -> Value {
    let request = reqwest::Client::new().post(url).header("cal-api-version", "2024-08-13").bearer_auth("cal_test");
    let response = request.json(body).send().await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}
