//! Retell's door against a real Postgres, without a worker: signatures, events, inbound calls, and every form in which
//! agents in the field call a function.
//!
//! `TEST_DATABASE_URL` names a server on which each test makes a database of its own. Jobs are done by the tests
//! themselves. Deliberately absent: what the functions do (`http`), races and crashes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod events;
mod forms;
mod inbound;
mod legacy;
mod signatures;

use api::{App, Clock, routes};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use base64::Engine;
use chrono::{DateTime, NaiveTime, TimeZone, Utc};
use domain::hours::Opening;
use domain::id::JobId;
use hmac::{Hmac, Mac};
use http_body_util::BodyExt;
use secrecy::SecretString;
use serde_json::{Value, json};
use settings::Settings;
use sha2::Sha256;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use std::time::Duration;
use store::{
    BranchSpec, Claim, CompanySpec, EventTypeSpec, JobRef, SecretKind, ServiceSpec, StaffSpec, Store, StoreSettings,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;

const KEY: &str = "key_of_retell";
const LENA: &str = "+4915112345678";
const BRANCH: &str = "+493012345678";

/// Monday, 24 November 2036, 00:30 in Berlin and 23:30 of the day before in London.
fn clock() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2036, 11, 23, 23, 30, 0).unwrap()
}

struct World {
    router: Router,
    store: Store,
    pool: PgPool,
    company_id: i32,
    server: String,
    database: String,
    stop: CancellationToken,
}

fn salon(slug: &str) -> CompanySpec {
    let time = |hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
    CompanySpec {
        slug: slug.to_owned(),
        name: slug.to_owned(),
        time_zone: chrono_tz::Europe::Berlin,
        language: "de".to_owned(),
        external_changes: domain::observe::ExternalChanges::ExternalWins,
        branches: vec![BranchSpec {
            id: 1,
            name: "Soho".to_owned(),
            time_zone: chrono_tz::Europe::London,
            phones: vec![BRANCH.to_owned()],
            hours: (1..=7).map(|weekday| Opening { weekday, opens: time(9), closes: time(18) }).collect(),
        }],
        staff: vec![StaffSpec { id: 1, branch_id: 1, name: "Anna Berg".to_owned(), calcom_user_id: 1 }],
        services: vec![ServiceSpec {
            id: 1,
            name: "Herrenhaarschnitt".to_owned(),
            aliases: vec![],
            duration_minutes: 30,
            minimum_notice_minutes: 15,
        }],
        event_types: vec![EventTypeSpec { id: 101, branch_id: 1, service_id: 1, staff_id: 1 }],
    }
}

fn flags(url: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let sealing = format!("k1:{}", base64::engine::general_purpose::STANDARD.encode([7; 32]));
    // Nobody listens there: Redis is away.
    let ours = [("database_url", url), ("redis_url", "redis://127.0.0.1:1"), ("voice_wait_ms", "0")];
    let flags = ours.into_iter().chain([("sealing_keys", sealing.as_str())]).chain(more.iter().copied());
    flags.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Which the router needs nothing of, and which is gone with the test.
fn app(settings: &Settings, clock: Clock, stop: &CancellationToken) -> Router {
    let (app, _ringing) = App::start(settings, clock, stop.clone()).unwrap();
    routes(app)
}

impl World {
    /// A salon that answers as `legacy_company`, too, and a practice with a key of its own.
    async fn new() -> Self {
        Self::at(clock, &[("legacy_company", "salon")]).await
    }

    async fn at(clock: Clock, more: &[(&str, &str)]) -> Self {
        let server = std::env::var("TEST_DATABASE_URL")
            .expect("set TEST_DATABASE_URL to a Postgres server, e.g. postgres://postgres@127.0.0.1:5432/postgres");
        let database = format!("retell_{}", Uuid::now_v7().simple());
        let mut conn = PgConnection::connect(&server).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {database}"))).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        let url = format!("{}/{database}", server.rsplit_once('/').unwrap().0);
        let (settings, _) = Settings::load_from(None, [], &flags(&url, more)).unwrap();
        let second = Duration::from_secs(1);
        let store = Store::connect(StoreSettings::read(&settings, 2 * second, 2).unwrap()).unwrap();
        store.migrate().await.unwrap();
        let company_id = store.load_company(&salon("salon")).await.unwrap().company_id;
        store.set_secret(company_id, SecretKind::Retell, &SecretString::from(KEY)).await.unwrap();
        let practice = store.load_company(&salon("praxis")).await.unwrap().company_id;
        store.set_secret(practice, SecretKind::Retell, &SecretString::from("key_of_another")).await.unwrap();
        let stop = CancellationToken::new();
        let router = app(&settings, clock, &stop);
        let pool = PgPool::connect(&url).await.unwrap();
        Self { router, store, pool, company_id, server, database, stop }
    }

    async fn gone(self) {
        self.stop.cancel();
        self.pool.close().await;
        let mut conn = PgConnection::connect(&self.server).await.unwrap();
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.database);
        sqlx::query(AssertSqlSafe(drop)).execute(&mut conn).await.unwrap();
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// Signed by Retell, with one header more.
    async fn with(&self, path: &str, more: (&str, &str), body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let signature = sign(KEY, body.as_bytes(), clock().timestamp_millis());
        post(&self.router, path, &[("x-retell-signature", &signature), more], body.into_bytes()).await
    }

    async fn signed(&self, path: &str, body: &Value) -> (u16, Value) {
        self.with(path, ("x-agent", "retell"), body).await
    }

    /// What a function replies; the same at the root and in `data`.
    async fn reply(&self, path: &str, body: &Value) -> Value {
        let (status, mut root) = self.signed(path, body).await;
        assert_eq!(status, 200, "{path}: {root}");
        let data = root.as_object_mut().unwrap().remove("data").unwrap();
        assert_eq!(root, data, "root and data say the same");
        root
    }

    async fn tell(&self, event: &str, call: Value) -> Value {
        let (status, said) = self.signed("/retell/salon/webhook", &json!({"event": event, "call": call})).await;
        assert_eq!(status, 200, "{said}");
        said
    }

    /// Does every job of a call that waits.
    async fn make_calls(&self) {
        let sql = "SELECT job_id FROM job WHERE kind = 'call' AND finished_at IS NULL";
        let jobs: Vec<Uuid> = sqlx::query_scalar(sql).fetch_all(&self.pool).await.unwrap();
        for id in jobs {
            let job = JobRef { company_id: self.company_id, job_id: JobId(id) };
            assert!(matches!(self.store.claim(job, "w").await.unwrap(), Claim::Ended { .. }));
        }
    }
}

fn sign(key: &str, body: &[u8], at_ms: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(body);
    mac.update(at_ms.to_string().as_bytes());
    format!("v={at_ms},d={}", hex::encode(mac.finalize().into_bytes()))
}

async fn post(router: &Router, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, Value) {
    let mut request = Request::builder().method("POST").uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), serde_json::from_slice(&bytes).unwrap_or_default())
}

/// The caller's call, as Retell writes it.
fn call(call_id: &str, from: &str) -> Value {
    json!({"call_id": call_id, "from_number": from, "to_number": BRANCH, "call_status": "ongoing"})
}
