//! A reply on its way to the client, and the note of its fate. Deliberately absent: what it says (answer.rs) and what is
//! to befall it (plan.rs).

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::sync::oneshot;
use uuid::Builder;

use crate::answer::Answer;
use crate::ledger::{Fate, Subject};
use crate::server::Server;

/// A reply under way. Notes its fate once, when it ends: taken by the connection, or dropped anywhere before that.
pub(crate) struct Delivery {
    server: Arc<Server>,
    request: u64,
    subject: Subject,
    /// `None` if there never was anything to say.
    status: Option<u16>,
    fate: Fate,
    /// Dropped with the rest, which tells whoever waits that the fate has been noted.
    _ended: oneshot::Sender<()>,
}

impl Delivery {
    /// A delivery, and what becomes ready when it has ended.
    pub(crate) fn new(
        server: Arc<Server>,
        request: u64,
        subject: Subject,
        status: Option<StatusCode>,
    ) -> (Self, oneshot::Receiver<()>) {
        let (ended, end) = oneshot::channel();
        let status = status.map(|status| status.as_u16());
        (Self { server, request, subject, status, fate: Fate::Dropped, _ended: ended }, end)
    }

    /// The whole reply; its fate, once the connection takes it, is `taken`.
    pub(crate) fn whole(mut self, answer: Answer, taken: Fate) -> Response {
        let bytes = Bytes::from(answer.body.to_string());
        let length = bytes.len();
        // The frame is taken when the connection is about to write it.
        let body = Body::new(Full::new(bytes).map_frame(move |frame| {
            self.taken(taken);
            frame
        }));
        with_headers(answer.status, length, &answer.headers, body)
    }

    /// A method, so that a closure which calls it owns the whole delivery and not a copy of its fate.
    fn taken(&mut self, fate: Fate) {
        self.fate = fate;
    }

    /// Status, headers and half of the body. The connection has to write that half before it hears that there is no
    /// other: a body that waits once is flushed.
    pub(crate) fn half(self, answer: Answer) -> Response {
        let bytes = Bytes::from(answer.body.to_string());
        let length = bytes.len();
        let half = bytes.slice(..length / 2);
        let cut = stream::once(async move {
            tokio::task::yield_now().await;
            drop(self);
            Err(io::Error::from(io::ErrorKind::ConnectionAborted))
        });
        let body = Body::from_stream(stream::iter([Ok(half)]).chain(cut));
        with_headers(answer.status, length, &answer.headers, body)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.server.note_reply(self.request, &self.subject, self.status, self.fate);
    }
}

/// A reply outside of the ledger, in NestJS's flat shape.
pub(crate) fn plain(status: StatusCode, message: &str) -> Response {
    let text = json!({ "statusCode": status.as_u16(), "message": message }).to_string();
    with_headers(status, text.len(), &[], Body::from(text))
}

fn with_headers(status: StatusCode, length: usize, more: &[(&'static str, u64)], body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    for &(name, value) in more {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
    let id = Builder::from_random_bytes(rand::random()).into_uuid().to_string();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", id);
    }
    response
}
