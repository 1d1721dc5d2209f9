//! A running sandbox with an HTTP client: the least that the tests share. Deliberately absent: any expectation.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{Method, RequestBuilder};
use sandbox::{Clock, Config, Entry, EventType, Host, Sandbox};
use serde_json::{Value, json};

pub const KEY: &str = "cal_live_good";

pub struct Client {
    pub sandbox: Sandbox,
    http: reqwest::Client,
    now: Arc<Mutex<DateTime<Utc>>>,
}

/// A status and a JSON body.
#[derive(Debug, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
}

impl Reply {
    pub fn data(&self) -> &Value {
        &self.body["data"]
    }

    pub fn uid(&self) -> &str {
        self.data()["uid"].as_str().expect("a uid")
    }

    pub fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_else(|| self.body["message"].as_str().expect("a message"))
    }
}

pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a moment")
}

pub fn event_type(id: i64, host: i64, length_minutes: u32) -> EventType {
    EventType {
        id,
        slug: format!("event-{id}"),
        title: None,
        length_minutes,
        host: Host {
            id: host,
            name: "Anna Berg".to_owned(),
            email: "anna@salon.test".to_owned(),
            username: format!("anna{host}"),
            time_zone: "Europe/Berlin".to_owned(),
        },
        requires_confirmation: false,
    }
}

/// 101 and 102 (45 minutes) of host 1, 201 of host 2, 301 (to be confirmed) of host 1.
pub fn config() -> Config {
    let mut confirmed = event_type(301, 1, 30);
    confirmed.requires_confirmation = true;
    Config {
        event_types: vec![event_type(101, 1, 30), event_type(102, 1, 45), event_type(201, 2, 30), confirmed],
        ..Config::default()
    }
}

pub fn body(event_type_id: i64, start: &str) -> Value {
    json!({
        "eventTypeId": event_type_id,
        "start": start,
        "attendee": {
            "name": "Max Müller", "email": "max@example.com", "timeZone": "Europe/Berlin",
            "phoneNumber": "+4915112345678", "language": "de",
        },
        "metadata": { "gateway_key": "0b9f0a6e-0000-4000-8000-000000000001" },
    })
}

impl Client {
    /// A sandbox that stands at 2050-09-01T08:00:00Z until told otherwise.
    pub async fn start(config: Config) -> Self {
        let now = Arc::new(Mutex::new(at("2050-09-01T08:00:00Z")));
        let shown = Arc::clone(&now);
        let clock = Clock::new(move || *shown.lock().unwrap());
        let sandbox = sandbox::start(Config { clock, ..config }).await.expect("a sandbox");
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).no_proxy().build().unwrap();
        Self { sandbox, http, now }
    }

    pub fn set_now(&self, now: &str) {
        *self.now.lock().unwrap() = at(now);
    }

    /// A request without any header of Cal.com's; `path` starts after `/v2`.
    pub fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.sandbox.url))
    }

    pub fn control(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/_sandbox{path}", self.sandbox.root))
    }

    pub async fn get(&self, path: &str) -> Reply {
        reply(self.bare(Method::GET, path).header("cal-api-version", "2024-08-13").bearer_auth(KEY)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        let request = self.bare(Method::POST, path).header("cal-api-version", "2024-08-13").bearer_auth(KEY);
        reply(request.json(body)).await
    }

    /// A create whose reply may not come.
    pub async fn try_create(&self, event_type_id: i64, start: &str) -> reqwest::Result<reqwest::Response> {
        self.try_post("/bookings", &body(event_type_id, start)).await
    }

    /// The same for any path.
    pub async fn try_post(&self, path: &str, body: &Value) -> reqwest::Result<reqwest::Response> {
        let request = self.bare(Method::POST, path).header("cal-api-version", "2024-08-13").bearer_auth(KEY);
        request.json(body).send().await
    }

    pub async fn create(&self, event_type_id: i64, start: &str) -> Reply {
        self.post("/bookings", &body(event_type_id, start)).await
    }

    pub async fn cancel(&self, uid: &str) -> Reply {
        self.post(&format!("/bookings/{uid}/cancel"), &json!({ "cancellationReason": "changed plans" })).await
    }

    pub async fn reschedule(&self, uid: &str, start: &str) -> Reply {
        self.post(&format!("/bookings/{uid}/reschedule"), &json!({ "start": start })).await
    }

    /// The ledger as soon as `enough`; panics after 10 s.
    pub async fn ledger_when(&self, enough: impl Fn(&[Entry]) -> bool) -> Vec<Entry> {
        for _ in 0..2_000 {
            let ledger = self.sandbox.ledger();
            if enough(&ledger) {
                return ledger;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not in time: {:#?}", self.sandbox.ledger());
    }
}

pub async fn reply(request: RequestBuilder) -> Reply {
    let response = request.send().await.expect("a response");
    let status = response.status().as_u16();
    assert!(response.headers().contains_key("x-request-id") || response.url().path().starts_with("/_sandbox"));
    Reply { status, body: response.json().await.expect("JSON") }
}

/// The envelope of Nest's HttpExceptions, with the clock of these tests.
pub fn envelope(path: &str, status: u16, code: &str, error: &str, message: &str) -> Value {
    json!({
        "status": "error",
        "timestamp": "2050-09-01T08:00:00.000Z",
        "path": path,
        "error": {
            "code": code,
            "message": message,
            "details": { "message": message, "error": error, "statusCode": status },
        },
    })
}

pub fn bad_request(path: &str, message: &str) -> Reply {
    Reply { status: 400, body: envelope(path, 400, "BadRequestException", "Bad Request", message) }
}

pub fn not_found(path: &str, message: &str) -> Reply {
    Reply { status: 404, body: envelope(path, 404, "NotFoundException", "Not Found", message) }
}
