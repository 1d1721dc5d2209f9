//! The routes against a real Postgres, without a worker and without Redis: what is accepted is accepted all the same.
//!
//! `TEST_DATABASE_URL` names a server on which each test makes a database of its own. Where Cal.com's answer is needed,
//! it is written into the record by SQL. Deliberately absent: races and crashes; they have folders of their own.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use api::{App, routes};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use base64::Engine;
use chrono::{DateTime, NaiveTime, TimeZone, Utc};
use domain::hours::Opening;
use domain::policy::{Operation, Policy, Rule, Scope as PolicyScope};
use hmac::{Hmac, Mac};
use http_body_util::BodyExt;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use settings::Settings;
use sha2::Sha256;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use store::{BranchSpec, CompanySpec, EventTypeSpec, Scope, SecretKind, ServiceSpec, StaffSpec, Store, StoreSettings};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;

const RETELL: &str = "key_of_retell";
const LENA: &str = "+4915112345678";
const PAUL: &str = "+4915112345679";
const NINE: &str = "2036-11-25T09:00:00+01:00";

/// Monday, 24 November 2036, 10:00 in Berlin: "morgen" is far ahead of the database's clock.
fn clock() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2036, 11, 24, 9, 0, 0).unwrap()
}

struct World {
    router: Router,
    store: Store,
    company_id: i32,
    pool: PgPool,
    server: String,
    database: String,
    /// Scopes: read and book, read, book.
    keys: [String; 3],
    foreign: String,
    stop: CancellationToken,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

fn salon(slug: &str) -> CompanySpec {
    let time = |hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
    let zone = chrono_tz::Europe::Berlin;
    let staff = |id, name: &str| StaffSpec { id, branch_id: 1, name: name.to_owned(), calcom_user_id: i64::from(id) };
    let service = |id, name: &str, minutes| ServiceSpec {
        id,
        name: name.to_owned(),
        aliases: vec![format!("{name} kurz")],
        duration_minutes: minutes,
        minimum_notice_minutes: 15,
    };
    let event_type = |id, service_id, staff_id| EventTypeSpec { id, branch_id: 1, service_id, staff_id };
    CompanySpec {
        slug: slug.to_owned(),
        name: slug.to_owned(),
        time_zone: zone,
        language: "de".to_owned(),
        external_changes: domain::observe::ExternalChanges::ExternalWins,
        branches: vec![BranchSpec {
            id: 1,
            name: "Kreuzberg".to_owned(),
            time_zone: zone,
            phones: vec!["+493012345678".to_owned()],
            hours: (1..=7).map(|weekday| Opening { weekday, opens: time(9), closes: time(18) }).collect(),
        }],
        staff: vec![staff(1, "Anna Berg"), staff(2, "Ben Kurt")],
        services: vec![service(1, "Herrenhaarschnitt", 30), service(2, "Färben", 90)],
        event_types: vec![event_type(101, 1, 1), event_type(102, 1, 2), event_type(103, 2, 1)],
    }
}

impl World {
    async fn new(voice_wait_ms: u32) -> Self {
        let server = std::env::var("TEST_DATABASE_URL")
            .expect("set TEST_DATABASE_URL to a Postgres server, e.g. postgres://postgres@127.0.0.1:5432/postgres");
        let database = format!("api_{}", Uuid::now_v7().simple());
        let mut conn = PgConnection::connect(&server).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {database}"))).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        let url = format!("{}/{database}", server.rsplit_once('/').unwrap().0);

        let sealing = base64::engine::general_purpose::STANDARD.encode([7; 32]);
        let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let flags = [
            set("database_url", &url),
            set("database_connections", "5"),
            // Nobody listens there: Redis is away.
            set("redis_url", "redis://127.0.0.1:1"),
            set("voice_wait_ms", &voice_wait_ms.to_string()),
            set("sealing_keys", &format!("k1:{sealing}")),
        ];
        let (settings, _) = Settings::load_from(None, [], &flags).unwrap();
        let seconds = Duration::from_secs;
        let store = Store::connect(StoreSettings {
            database_url: SecretString::from(url.as_str()),
            connections: 2,
            lock_wait: seconds(2),
            statement_timeout: seconds(10),
            lease: seconds(10),
            calcom_timeout: seconds(8),
            calcom_requests_per_minute: 120,
            quarantine: seconds(90),
            patience: seconds(900),
            back_off_base: seconds(1),
            back_off_max: seconds(900),
            attempts_max: 3,
            crashes_max: 3,
            granularity_minutes: 15,
            sealing_keys: vec![("k1".to_owned(), SecretString::from(sealing))],
            hold_ttl: Duration::from_secs(120),
            holds_per_caller: 3,
            holds_per_api_key: 100,
        })
        .unwrap();
        store.migrate().await.unwrap();
        let ours = store.load_company(&salon("salon")).await.unwrap().company_id;
        let theirs = store.load_company(&salon("praxis")).await.unwrap().company_id;
        store.set_secret(ours, SecretKind::Retell, &SecretString::from(RETELL)).await.unwrap();
        let mut keys = Vec::new();
        for scopes in [&[Scope::Read, Scope::Book][..], &[Scope::Read], &[Scope::Book]] {
            keys.push(store.create_api_key(ours, scopes).await.unwrap().expose_secret().to_owned());
        }
        let foreign = store.create_api_key(theirs, &Scope::ALL).await.unwrap().expose_secret().to_owned();
        let stop = CancellationToken::new();
        let (app, _ringing) = App::start(&settings, clock, stop.clone()).unwrap();
        let pool = PgPool::connect(&url).await.unwrap();
        Self {
            router: routes(app),
            store,
            company_id: ours,
            pool,
            server,
            database,
            keys: keys.try_into().unwrap(),
            foreign,
            stop,
        }
    }

    async fn gone(self) {
        self.stop.cancel();
        self.pool.close().await;
        let mut conn = PgConnection::connect(&self.server).await.unwrap();
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.database);
        sqlx::query(AssertSqlSafe(drop)).execute(&mut conn).await.unwrap();
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into());
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        let bearer = format!("Bearer {}", self.keys[0]);
        self.ask("GET", path, &[("authorization", &bearer)], String::new()).await
    }

    async fn post(&self, path: &str, body: &Value, more: &[(&str, &str)]) -> Answer {
        let bearer = format!("Bearer {}", self.keys[0]);
        let headers = [&[("authorization", bearer.as_str())], more].concat();
        self.ask("POST", path, &headers, body.to_string()).await
    }

    async fn book(&self, wish: &Value) -> Answer {
        self.post("/v1/appointments", wish, &[]).await
    }

    /// A signed function call.
    async fn call(&self, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        let stamp = clock().timestamp_millis().to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(RETELL.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        mac.update(stamp.as_bytes());
        let signature = format!("v={stamp},d={}", hex::encode(mac.finalize().into_bytes()));
        self.ask("POST", path, &[("x-retell-signature", &signature)], body).await
    }

    async fn function(&self, name: &str, call_id: &str, from: &str, args: Value) -> Value {
        let call = json!({"call_id": call_id, "from_number": from, "to_number": "+493012345678"});
        let path = format!("/retell/salon/functions/{name}");
        let answer = self.call(&path, &json!({"name": name, "call": call, "args": args})).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let mut root = answer.body;
        let data = root.as_object_mut().unwrap().remove("data").unwrap();
        assert_eq!(root, data, "root and data say the same");
        root
    }

    /// What Cal.com's confirmation would make of it, as soon as it is requested.
    async fn confirm(&self) {
        let confirm = "UPDATE appointment SET status = 'scheduled' WHERE status = 'requested'";
        while sqlx::query(confirm).execute(&self.pool).await.unwrap().rows_affected() == 0 {
            tokio::task::yield_now().await;
        }
    }
}

fn wish(staff_id: i64, starts_at: &str, phone: &str) -> Value {
    json!({"branch_id": 1, "service_id": 1, "staff_id": staff_id, "starts_at": starts_at,
           "customer": {"name": "Lena Vogt", "phone": phone}})
}

fn problem(code: &str) -> Value {
    json!(format!("https://askpro.dev/problems/{code}"))
}

#[tokio::test]
async fn an_appointment_from_wish_to_cancellation() {
    let world = World::new(0).await;
    let made = world.book(&wish(1, NINE, LENA)).await;
    assert_eq!(made.status, StatusCode::ACCEPTED, "{}", made.body);
    let id = made.body["appointment"]["id"].as_str().unwrap().to_owned();
    assert_eq!(made.headers["location"], format!("/v1/appointments/{id}"));
    assert_eq!(made.headers["etag"], "\"v1\"");
    assert_eq!(made.body["appointment"]["starts_at"], NINE);
    assert_eq!(made.body["appointment"]["status"], "requested");
    assert_eq!(made.body["job"]["key"], format!("booking:{id}"));
    assert_eq!(made.body["job"]["coalesced"], false);
    assert_eq!(made.body["job"]["state"], "available");

    let again = world.book(&wish(1, NINE, LENA)).await;
    assert_eq!((again.status, &again.body["appointment"]["id"]), (StatusCode::OK, &json!(id)), "already yours");
    let taken = world.book(&wish(1, NINE, PAUL)).await;
    assert_eq!((taken.status, &taken.body["type"]), (StatusCode::CONFLICT, &problem("taken")));
    let offers = taken.body["alternatives"].as_array().unwrap();
    assert_eq!(offers.len(), 3, "{}", taken.body);
    let next = wish(offers[0]["staff_id"].as_i64().unwrap(), offers[0]["starts_at"].as_str().unwrap(), PAUL);
    assert_eq!(world.book(&next).await.status, StatusCode::ACCEPTED);

    let path = format!("/v1/appointments/{id}");
    assert_eq!(world.get(&path).await.body["id"], json!(id));
    let cancel = format!("{path}/cancel");
    let stale = world.post(&cancel, &json!({}), &[("if-match", "\"v7\"")]).await;
    assert_eq!((stale.status, &stale.body["current"]["version"]), (StatusCode::PRECONDITION_FAILED, &json!(1)));
    let cancelled = world.post(&cancel, &json!({"reason": "krank"}), &[("if-match", "\"v1\"")]).await;
    assert_eq!(cancelled.status, StatusCode::ACCEPTED, "{}", cancelled.body);
    assert_eq!(cancelled.body["appointment"]["status"], "cancelled");
    assert_eq!(cancelled.body["appointment"]["reason"], "krank");
    assert_eq!(world.post(&cancel, &json!({}), &[]).await.status, StatusCode::OK);

    let timeline = world.get(&format!("{path}/timeline")).await.body;
    assert_eq!(timeline["status"], "cancelled");
    assert!(timeline["entries"].as_array().unwrap().len() >= 2, "{timeline}");
    let newest = world.get(&format!("/v1/jobs?appointment_id={id}&limit=1")).await.body;
    assert_eq!(newest["jobs"].as_array().unwrap().len(), 1, "{newest}");
    let next = newest["next"].as_str().unwrap();
    let older = world.get(&format!("/v1/jobs?appointment_id={id}&before={next}")).await.body;
    assert_ne!(older["jobs"][0]["id"], newest["jobs"][0]["id"]);
    let job = older["jobs"][0]["id"].as_str().unwrap();
    assert_eq!(world.get(&format!("/v1/jobs/{job}")).await.status, StatusCode::OK);
    assert_eq!(world.get("/v1/queues").await.body["queues"].as_array().unwrap().len(), 5);
    assert_eq!(world.get("/v1/callbacks").await.body, json!({"callbacks": []}));
    world.gone().await;
}

#[tokio::test]
async fn whoever_may_not_sees_nothing() {
    let world = World::new(0).await;
    let made = world.book(&wish(1, NINE, LENA)).await;
    let path = format!("/v1/appointments/{}", made.body["appointment"]["id"].as_str().unwrap());
    let read = async |key: &str| {
        let bearer = format!("Bearer {key}");
        world.ask("GET", &path, &[("authorization", &bearer)], String::new()).await
    };
    assert_eq!(world.ask("GET", &path, &[], String::new()).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(read("ak_live_00000000_x").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(read(&world.keys[1]).await.status, StatusCode::OK);
    assert_eq!(read(&world.keys[2]).await.status, StatusCode::FORBIDDEN, "book does not include read");
    let foreign = read(&world.foreign).await;
    let nobodys = world.get(&format!("/v1/appointments/{}", Uuid::now_v7())).await;
    assert_eq!((foreign.status, &foreign.body), (StatusCode::NOT_FOUND, &nobodys.body), "the same words for both");
    assert_eq!(world.get("/v1/appointments/x").await.body, nobodys.body);

    assert_eq!(world.book(&json!("x".repeat(70_000))).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let mut unknown = wish(1, NINE, PAUL);
    unknown["uid"] = json!("x");
    let refused = world.book(&unknown).await;
    assert_eq!((refused.status, &refused.body["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("uid")));
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    let xml = world.post("/v1/appointments", &unknown, &[("content-type", "text/xml")]).await;
    assert_eq!(xml.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(world.ask("DELETE", &path, &[], String::new()).await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(world.ask("GET", "/nowhere", &[], String::new()).await.status, StatusCode::NOT_FOUND);
    for open in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        assert_eq!(world.ask("GET", open, &[], String::new()).await.status, StatusCode::OK, "{open}");
    }
    world.gone().await;
}

#[tokio::test]
async fn a_key_is_one_wish_and_a_wait_sees_the_confirmation() {
    let world = World::new(0).await;
    let key = [("idempotency-key", "k1")];
    let mut anonymous = wish(1, NINE, LENA);
    anonymous["customer"] = json!({"name": "Lena Vogt"});
    let first = world.post("/v1/appointments", &anonymous, &key).await;
    assert_eq!(first.status, StatusCode::ACCEPTED, "{}", first.body);
    let replay = world.post("/v1/appointments", &anonymous, &key).await;
    assert_eq!(replay.status, StatusCode::OK);
    assert_eq!(replay.body["appointment"]["id"], first.body["appointment"]["id"]);
    let other = world.post("/v1/appointments", &wish(2, NINE, LENA), &key).await;
    assert_eq!((other.status, &other.body["type"]), (StatusCode::UNPROCESSABLE_ENTITY, &problem("key_reused")));

    world.confirm().await;
    let began = Instant::now();
    let asked = wish(2, NINE, PAUL);
    let waits = [("prefer", "wait=8")];
    let (confirmed, ()) = tokio::join!(world.post("/v1/appointments", &asked, &waits), world.confirm());
    assert_eq!(confirmed.status, StatusCode::CREATED, "{}", confirmed.body);
    assert_eq!(confirmed.headers["preference-applied"], "wait=8");
    assert!(began.elapsed() < Duration::from_secs(6), "it does not wait to the end");
    world.gone().await;
}

#[tokio::test]
async fn a_voice_call_books_asks_and_cancels() {
    let world = World::new(8_000).await;
    let args = |name: &str| {
        json!({"customer_name": name, "datetime": "morgen 14 Uhr 30", "dienstleistung": "herrenhaarschnitt kurz",
               "mitarbeiter": "anna", "customer_phone": "0151123456"})
    };
    let calling = world.function("start-booking", "call_a", LENA, args("Lena Vogt"));
    let (booked, ()) = tokio::join!(calling, world.confirm());
    assert_eq!((&booked["success"], &booked["booked"]), (&json!(true), &json!(true)), "{booked}");
    assert_eq!((&booked["status"], &booked["appointment_time"]), (&json!("booked"), &json!("2036-11-25 14:30")));
    let id = booked["appointment_id"].clone();
    let again = world.function("bookAppointment_v17", "call_a", LENA, args("Lena Vogt")).await;
    assert_eq!((&again["booked"], &again["appointment_id"]), (&json!(true), &id), "the same success");
    let given: Option<String> =
        sqlx::query_scalar("SELECT given_phone FROM appointment").fetch_one(&world.pool).await.unwrap();
    assert_eq!(given.as_deref(), Some(LENA), "the placeholder is nobody's");

    let taken = world.function("book_appointment", "call_b", PAUL, args("Paul Becker")).await;
    assert_eq!((&taken["status"], &taken["booked"]), (&json!("slot_taken"), &json!(false)), "{taken}");
    assert_eq!(taken["available"], false);
    for field in ["time", "date", "description", "spoken_time"] {
        assert!(taken["alternatives"][0][field].is_string(), "{taken}");
    }

    let query = world.function("query-appointment", "call_c", LENA, json!({})).await;
    assert_eq!((&query["status"], &query["appointments"][0]["id"]), (&json!("found"), &id), "{query}");
    for (stranger, theirs) in [(PAUL, "not_found"), ("anonymous", "callback_queued")] {
        assert_eq!(
            world.function("query_appointment", "call_c", stranger, json!({})).await["status"],
            "no_appointments"
        );
        let told = world.function("cancel_appointment", "call_d", stranger, json!({"appointment_id": id})).await;
        assert_eq!(told["status"], theirs);
    }
    let cancel =
        async |datum: &str| world.function("cancel_appointment", "call_e", LENA, json!({"datum": datum})).await;
    assert_eq!(cancel("heute").await["status"], "not_found");
    assert_eq!(cancel("irgendwann").await["status"], "missing_required_fields");
    let cancelled = cancel("morgen").await;
    assert_eq!((&cancelled["success"], &cancelled["status"]), (&json!(true), &json!("cancelled")), "{cancelled}");
    assert_eq!(cancel("morgen").await, cancelled, "a repeated call hears the same");
    world.gone().await;
}

#[tokio::test]
async fn a_withheld_number_is_one_call_only() {
    let world = World::new(0).await;
    let book = async |call: &str, at: &str| {
        let args = json!({"name": "Max Ohne", "datum": "25.11.2036", "uhrzeit": at, "service_id": 1, "phone": PAUL});
        world.function("book_appointment", call, "anonymous", args).await
    };
    let first = book("call_n1", "10:00").await;
    assert_eq!((&first["success"], &first["booked"]), (&json!(true), &json!(false)), "{first}");
    assert_eq!(first["status"], "requested");
    assert_eq!(first["message"], "Ich habe den Termin notiert, wir bestätigen ihn gleich.");
    assert!(first.get("appointment_time").is_none(), "not before it is scheduled");
    assert_eq!(book("call_n2", "10:00").await["success"], true);
    let people: i64 = sqlx::query_scalar("SELECT count(*) FROM customer").fetch_one(&world.pool).await.unwrap();
    assert_eq!(people, 2, "each anonymous call is a person of its own");
    assert_eq!(book("call_n1", "11:00").await["success"], true);

    let cancel = async |args: Value| world.function("cancel_appointment", "call_n1", "anonymous", args).await;
    let withheld = cancel(json!({"uhrzeit": "11 Uhr", "datum": "morgen"})).await;
    assert_eq!((&withheld["status"], &withheld["cancelled"]), (&json!("callback_queued"), &json!(false)), "{withheld}");
    assert_eq!(cancel(json!({})).await["status"], "callback_queued");
    let allow = Rule { anonymous: Some(true), ..Rule::default() };
    let policy = Policy::new(PolicyScope::Company, [(Operation::Cancellation, allow)].into()).unwrap();
    world.store.publish_policy(world.company_id, PolicyScope::Company, &policy, "they may").await.unwrap();
    let several = cancel(json!({})).await;
    assert_eq!(several["status"], "multiple_found", "{several}");
    assert_eq!(several["appointments"].as_array().unwrap().len(), 2);
    assert_eq!(cancel(json!({"uhrzeit": "11 Uhr", "datum": "morgen"})).await["status"], "cancelled");
    world.gone().await;
}

#[tokio::test]
async fn what_a_voice_call_cannot_do() {
    let world = World::new(0).await;
    let plain = json!({"name": "Lena Vogt", "datetime": "morgen 16:00", "service": "Färben"});
    let status = async |field: &str, value: &str| {
        let mut args = plain.clone();
        args[field] = json!(value);
        let reply = world.function("book_appointment", "call_x", LENA, args).await;
        assert_eq!(reply["booked"], false, "{reply}");
        reply["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status("name", "Unbekannt").await, "missing_customer_name");
    assert_eq!(status("datetime", "morgen den ersten Termin").await, "missing_required_fields");
    assert_eq!(status("datetime", "2023-06-13 14:00").await, "past_time");
    assert_eq!(status("datetime", "morgen 22:00").await, "unavailable");
    assert_eq!(status("service", "Raketenbau").await, "unknown_service");
    assert_eq!(status("mitarbeiter", "Ben Kurt").await, "staff_cannot_provide_service");
    assert_eq!(status("bestaetigung", "false").await, "awaiting_confirmation");
    let written: i64 = sqlx::query_scalar("SELECT count(*) FROM appointment").fetch_one(&world.pool).await.unwrap();
    assert_eq!(written, 0);

    let path = "/retell/salon/functions/book_appointment";
    let call = json!({"call_id": "call_x"});
    let ask = async |path: &str, body: Value| {
        let answer = world.call(path, &body).await;
        (answer.status.as_u16(), answer.body["status"].as_str().unwrap_or_default().to_owned())
    };
    let said = |status: &str| (200, status.to_owned());
    assert_eq!(ask(path, json!({"name": "book_appointment", "args": plain})).await, said("missing_call"));
    assert_eq!(ask(path, json!({"name": "cancel_appointment", "call": call, "args": {}})).await.0, 400);
    let by_body = "/retell/salon/functions";
    assert_eq!(ask(by_body, json!({"name": "query_appointment", "call": call})).await, said("no_appointments"));
    assert_eq!(ask(by_body, json!({"name": "fly", "call": call, "args": {}})).await, said("unknown_function"));
    assert_eq!(ask("/retell/praxis/functions", json!({})).await.0, 401, "no key, no entry");
    assert_eq!(ask("/retell/nobody/functions", json!({})).await.0, 401);
    let forged = world.ask("POST", path, &[("x-retell-signature", "v=1,d=00")], "{}".to_owned()).await;
    assert_eq!(forged.status, StatusCode::UNAUTHORIZED);
    world.gone().await;
}
