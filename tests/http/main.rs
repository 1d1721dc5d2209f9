//! The whole system over HTTP: the API and its workers as processes, PostgreSQL, Redis and a sandbox Cal.com. Programs
//! with a key and the voice agent with its signature ask; what they are told is held against the record and Cal.com.
//!
//! Deliberately absent: what one route answers without a worker (`api/tests`), crashes, and every fault but a slow Cal.com.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod appointments;
mod availability;
mod bad_calls;
mod bad_input;
mod calendar;
mod customers;
mod herd;
mod holds;
mod operator;
mod policy;
mod reading;
mod reschedule;
mod sync;
mod talk;
mod voice;

use chrono::{DateTime, Utc};
use domain::id::AppointmentId;
use domain::phone::Identity;
use harness::{Answer, Api, Process, World, retell_signature, wait_until};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use std::collections::BTreeMap;

/// The voice agent waits for Cal.com as long as any machine needs: what it says then depends on no timing.
const PATIENT_VOICE: (&str, &str) = ("ASKPRO_VOICE_WAIT_MS", "25000");

/// What somebody wants, in the words of either door.
#[derive(Clone)]
struct Wish {
    starts_at: DateTime<Utc>,
    staff_id: i32,
    name: String,
    phone: String,
}

impl Wish {
    /// The harness's n-th: a time and a customer of its own.
    async fn nth(world: &World, n: u32) -> Self {
        let command = world.wish(n).await;
        let Identity::Phone(phone) = command.who else { unreachable!("every wish has a phone") };
        let (starts_at, staff_id) = (command.starts_at, command.staff_id.unwrap());
        Self { starts_at, staff_id, name: command.facts.name, phone: phone.as_e164().to_owned() }
    }

    /// The body of `POST /v1/appointments`.
    fn written(&self) -> Value {
        json!({"branch_id": 1, "service_id": 1, "staff_id": self.staff_id, "starts_at": self.starts_at.to_rfc3339(),
               "customer": {"name": self.name, "phone": self.phone}})
    }

    /// The arguments of `book_appointment`.
    fn spoken(&self) -> Value {
        json!({"customer_name": self.name, "datetime": self.starts_at.to_rfc3339(), "mitarbeiter": self.staff_id})
    }

    /// Its day and time on the wall of the branch, as people write them. It hangs in Greenwich, the company's in Berlin.
    fn local(&self) -> (String, String) {
        let local = self.starts_at;
        (local.format("%d.%m.%Y").to_string(), local.format("%H:%M").to_string())
    }
}

/// A worker that has swept when this returns and does not sweep again: nobody learns what others do at Cal.com but by
/// asking for their time.
async fn swept_worker(world: &World) -> Process {
    let never = [("ASKPRO_SWEEP_MS", "3600000".to_owned()), ("ASKPRO_AUDIT_MS", "3600000".to_owned())];
    let worker = world.worker_with(&never);
    wait_until("the sweep at the start", async || world.reads() >= 2).await;
    worker
}

async fn patient_api(world: &World) -> Api {
    world.api_with(&[(PATIENT_VOICE.0, PATIENT_VOICE.1.to_owned())]).await
}

/// What the voice agent reads: HTTP 200, the same at the root and in `data`. "Booked" is said of what is scheduled, and
/// of nothing else.
async fn said(world: &World, answer: Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut root = answer.body;
    let data = root.as_object_mut().unwrap().remove("data").unwrap();
    assert_eq!(root, data, "root and data");
    let message = root["message"].as_str().unwrap();
    let says_booked = ["ist gebucht", "schon gebucht"].iter().any(|words| message.contains(words));
    assert_eq!(says_booked, root["booked"] == json!(true), "{root}");
    if says_booked {
        assert_eq!(world.status(id_of(&root["appointment_id"])).await, "scheduled", "{root}");
    }
    root
}

/// A function call byte for byte, under whatever signature.
async fn post_signed(api: &Api, path: &str, signature: Option<&str>, body: &str) -> Answer {
    let mut request = reqwest::Client::new().post(format!("{}{path}", api.url)).body(body.to_owned());
    if let Some(signature) = signature {
        request = request.header("x-retell-signature", signature);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: serde_json::from_slice(&response.bytes().await.unwrap()).unwrap() }
}

async fn signed(api: &Api, path: &str, body: &Value) -> Answer {
    let body = body.to_string();
    post_signed(api, path, Some(&retell_signature(&body, 0)), &body).await
}

fn id_of(value: &Value) -> AppointmentId {
    AppointmentId(value.as_str().expect("an id").parse().unwrap())
}

/// The code of a problem: the end of its type.
fn problem(body: &Value) -> &str {
    body["type"].as_str().and_then(|url| url.rsplit('/').next()).unwrap_or("none")
}

/// How many rows there are of everything that a command may write.
async fn rows(world: &World) -> BTreeMap<&'static str, i64> {
    let mut rows = BTreeMap::new();
    for table in ["appointment", "job", "slot", "customer", "request_key", "call"] {
        let count = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
        rows.insert(table, count.fetch_one(&world.pool).await.unwrap());
    }
    rows
}
