//! Somebody who is told by webhook: keeps what came, byte for byte, and answers as told. Deliberately absent: any
//! expectation.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use hmac::{Hmac, Mac};
use sandbox::Subscription;
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub const SECRET: &str = "whsec_test_0123456789";

pub struct Receiver {
    pub url: String,
    inbox: Arc<Inbox>,
}

struct Inbox {
    got: Mutex<Vec<Got>>,
    status: Mutex<StatusCode>,
    look_at: Mutex<Option<String>>,
    open: watch::Sender<bool>,
}

/// One webhook.
#[derive(Clone, Debug)]
pub struct Got {
    pub headers: HeaderMap,
    pub text: String,
    pub body: Value,
    /// What stood at that moment at the address to look at.
    pub seen: Value,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub fn trigger(&self) -> &str {
        self.body["triggerEvent"].as_str().unwrap()
    }

    pub fn payload(&self) -> &Value {
        &self.body["payload"]
    }

    pub fn is_signed_with(&self, secret: &str) -> bool {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&self.text);
        self.header("x-cal-signature-256") == hex::encode(mac.finalize().into_bytes())
    }
}

impl Receiver {
    pub async fn start() -> Self {
        let inbox = Arc::new(Inbox {
            got: Mutex::default(),
            status: Mutex::new(StatusCode::OK),
            look_at: Mutex::default(),
            open: watch::Sender::new(true),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new().fallback(receive).with_state(Arc::clone(&inbox));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, inbox }
    }

    /// Everything, signed.
    pub fn subscription(&self) -> Subscription {
        Subscription { url: self.url.clone(), secret: Some(SECRET.to_owned()), triggers: None }
    }

    pub fn got(&self) -> Vec<Got> {
        self.inbox.got.lock().unwrap().clone()
    }

    pub fn triggers(&self) -> Vec<String> {
        self.got().iter().map(|got| got.trigger().to_owned()).collect()
    }

    pub fn answer(&self, status: StatusCode) {
        *self.inbox.status.lock().unwrap() = status;
    }

    /// Reads this address before each answer.
    pub fn look_at(&self, url: String) {
        *self.inbox.look_at.lock().unwrap() = Some(url);
    }

    /// Answers nobody until it is open again.
    pub fn open(&self, open: bool) {
        self.inbox.open.send_replace(open);
    }

    /// As soon as so many have come; panics after 10 s.
    pub async fn when(&self, enough: usize) -> Vec<Got> {
        for _ in 0..2_000 {
            let got = self.got();
            if got.len() >= enough {
                return got;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not in time: {:#?}", self.got());
    }
}

async fn receive(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let look_at = inbox.look_at.lock().unwrap().clone();
    let seen = match look_at {
        Some(url) => {
            let http = reqwest::Client::builder().no_proxy().build().unwrap();
            let request = http.get(url).header("cal-api-version", "2024-08-13");
            request.send().await.unwrap().json().await.unwrap()
        }
        None => Value::Null,
    };
    let text = String::from_utf8(body.to_vec()).unwrap();
    let body = serde_json::from_str(&text).unwrap();
    inbox.got.lock().unwrap().push(Got { headers, text, body, seen });
    inbox.open.subscribe().wait_for(|open| *open).await.unwrap();
    *inbox.status.lock().unwrap()
}
