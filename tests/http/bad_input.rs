//! Requests to `/v1` that cannot be used: something is missing, wrong-typed, too long, past, or has NUL, emoji, Arabic or
//! SQL in it. Each is refused clearly, by the field's name, and leaves nothing behind.
//!
//! Deliberately absent: a fuzzer, and the voice agent's functions (bad_calls.rs).

use crate::{Wish, patient_api, problem, rows};
use harness::{Api, Process, World};
use serde_json::{Value, json};

const SQL: &str = "'; DROP TABLE appointment; --";
pub const EMOJI: &str = "💇🏽‍♀️";
const ARABIC: &str = "موعد غدا";
const NUL: &str = "a\u{0}b";

/// Everything that no field of these takes, whatever its form.
pub fn odd_texts() -> Vec<String> {
    [SQL, EMOJI, ARABIC, NUL, "\u{202e}", "%00", "NaN"].map(str::to_owned).into_iter().chain([long()]).collect()
}

pub fn long() -> String {
    "ü".repeat(10_000)
}

/// A world with one appointment of the caller's, so that there is something that could be harmed.
pub struct Salon {
    pub world: World,
    pub api: Api,
    _worker: Process,
    pub standing: Wish,
    /// Where its appointment is.
    path: String,
}

impl Salon {
    pub async fn new() -> Self {
        let world = World::new().await;
        let (api, worker) = (patient_api(&world).await, world.worker(None));
        let standing = Wish::nth(&world, 0).await;
        let made = api.post("/v1/appointments", &[("prefer", "wait=10")], &standing.written()).await;
        let path = made.headers["location"].to_str().unwrap().to_owned();
        world.rests().await;
        Self { world, api, _worker: worker, standing, path }
    }

    /// A second time that the same customer might want.
    pub async fn wish(&self) -> Wish {
        Wish { phone: self.standing.phone.clone(), ..Wish::nth(&self.world, 1).await }
    }

    pub async fn at_rest(self) {
        assert_eq!(self.api.get(&self.path).await.body["status"], "scheduled", "untouched");
        self.world.at_rest().await;
    }
}

/// `body` with something else at a path; `null` takes the field away.
pub fn with(body: &Value, path: &str, value: Value) -> Value {
    let mut body = body.clone();
    let (parent, name) = path.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    parent.remove(name);
    if !value.is_null() {
        parent.insert(name.to_owned(), value);
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_cannot_be_read_is_refused_by_the_fields_name() {
    let salon = Salon::new().await;
    let good = salon.wish().await.written();
    let (missing, invalid, unknown) = ("missing_field", "invalid_field", "unknown_field");
    let mut table: Vec<(&str, Value, &str)> = vec![
        ("/starts_at", json!("2020-01-01T10:00:00Z"), "in_the_past"),
        ("/starts_at", json!("0000-01-01T00:00:00Z"), "in_the_past"),
        ("/starts_at", json!("9999-12-31T23:59:00Z"), "outside_hours"),
        ("/branch_id", json!(0), "unknown_branch"),
        ("/service_id", json!(i32::MAX), "unknown_service"),
        ("/staff_id", json!(-1), "unknown_staff"),
        ("/uid", json!("x"), unknown),
        ("/customer/id", json!(1), unknown),
        ("/customer/name", json!(""), invalid),
        ("/customer/name", json!(NUL), invalid),
        ("/customer/name", json!(long()), invalid),
        ("/notes", json!(NUL), invalid),
        ("/notes", json!(long()), invalid),
    ];
    for field in ["/branch_id", "/service_id", "/starts_at", "/customer", "/customer/name"] {
        table.push((field, json!(null), missing));
    }
    let of_no_use = [json!(true), json!([1]), json!({"a": 1}), json!(1.5), json!(1e300)];
    for field in ["/branch_id", "/service_id", "/staff_id", "/starts_at", "/customer/phone", "/customer/email"] {
        table.extend(of_no_use.iter().map(|value| (field, value.clone(), invalid)));
        table.extend(odd_texts().into_iter().map(|text| (field, json!(text), invalid)));
    }
    for field in ["/customer/name", "/notes"] {
        table.extend(of_no_use.iter().map(|value| (field, value.clone(), invalid)));
    }
    for value in [json!("Lena"), json!([]), json!(1)] {
        table.push(("/customer", value, invalid));
    }

    let before = rows(&salon.world).await;
    for (field, value, code) in &table {
        let shown = value.to_string().chars().take(40).collect::<String>();
        let refused = salon.api.post("/v1/appointments", &[], &with(&good, field, value.clone())).await;
        assert_eq!((refused.status, problem(&refused.body)), (422, *code), "{field} {shown}: {}", refused.body);
        let named = refused.body["field"].as_str().unwrap_or("none").replace('.', "/");
        assert!(*code == "outside_hours" || format!("/{named}") == *field, "{field} {shown}: {}", refused.body);
        assert!(!refused.body["detail"].as_str().unwrap().is_empty());
    }
    assert!(table.len() > 90, "{} were tried", table.len());
    assert_eq!(rows(&salon.world).await, before, "nothing was written");
    salon.at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_or_a_header_that_cannot_be_used_is_refused() {
    let salon = Salon::new().await;
    let good = salon.wish().await.written();
    let before = rows(&salon.world).await;
    let cancel = format!("{}/cancel", salon.path);
    for path in ["/v1/appointments", &cancel] {
        for body in [json!([good]), json!("x"), json!(1)] {
            let refused = salon.api.post(path, &[], &body).await;
            assert_eq!((refused.status, problem(&refused.body)), (400, "invalid_json"), "{path}: {}", refused.body);
        }
        for (header, value) in [
            ("idempotency-key", "k".repeat(300)),
            ("idempotency-key", " ".to_owned()),
            ("idempotency-key", "schlüssel".to_owned()),
        ] {
            let refused = salon.api.post(path, &[(header, &value)], &good).await;
            assert_eq!((refused.status, problem(&refused.body)), (400, "invalid_header"), "{path}: {}", refused.body);
            assert_eq!(refused.body["field"], "Idempotency-Key");
        }
    }
    for stale in ["1", "\"1\"", "\"v1\", \"v2\"", "W/\"v2\"", SQL, "\"v99999999999999999999\""] {
        let refused = salon.api.post(&cancel, &[("if-match", stale)], &json!({})).await;
        assert_eq!((refused.status, problem(&refused.body)), (400, "invalid_header"), "{stale}: {}", refused.body);
        assert_eq!(refused.body["field"], "If-Match");
    }
    let fields = [
        ("reason", json!(1), "invalid_field"),
        ("reason", json!(["krank"]), "invalid_field"),
        ("reason", json!(""), "invalid_field"),
        ("reason", json!(NUL), "invalid_field"),
        ("reason", json!(long()), "invalid_field"),
        ("grund", json!("krank"), "unknown_field"),
    ];
    for (field, value, code) in fields {
        let refused = salon.api.post(&cancel, &[], &json!({field: value})).await;
        assert_eq!((refused.status, problem(&refused.body)), (422, code), "{}", refused.body);
        assert_eq!(refused.body["field"], field);
    }
    for nobody in ["1", "%00", "%F0%9F%92%87", "'%3B%20DROP%20TABLE%20job%3B--", "019a0000-0000-7000-8000-000000000000"]
    {
        let refused = salon.api.post(&format!("/v1/appointments/{nobody}/cancel"), &[], &json!({})).await;
        assert_eq!((refused.status, problem(&refused.body)), (404, "not_found"), "{nobody}: {}", refused.body);
    }
    assert_eq!(rows(&salon.world).await, before, "nothing was written");
    salon.at_rest().await;
}

/// Whoever sends too much hears so, by whatever door. A broken connection would mean "try again".
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_long_is_answered() {
    let salon = Salon::new().await;
    let before = rows(&salon.world).await;
    let cancel = format!("{}/cancel", salon.path);
    let doors = [("/v1/appointments", 70_000, 100), (&cancel, 70_000, 100), ("/retell/salon/functions", 2_200_000, 10)];
    let mut unanswered = 0;
    for (path, bytes, times) in doors {
        let huge = json!({"notes": "x".repeat(bytes)});
        for _ in 0..times {
            match salon.api.try_post(path, &[], &huge).await {
                Ok(refused) => assert_eq!((refused.status, problem(&refused.body)), (413, "too_large"), "{path}"),
                Err(_) => unanswered += 1,
            }
        }
    }
    assert_eq!(rows(&salon.world).await, before, "nothing was written");
    assert_eq!(unanswered, 0, "of 210 were cut off without an answer");
    salon.at_rest().await;
}
