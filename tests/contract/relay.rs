//! Two places to listen at, one on each side of Prism: in front of it every exchange is written down as our client has it,
//! behind it is seen what gets through, and an answer can be spoilt there on purpose. Both pass everything on otherwise.
//!
//! Requests come one after the other; so what gets through belongs to the one that is under way.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, Request, Response, StatusCode};
use axum::{Router, extract::State};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::verdict::{Endpoint, Said, Verdict};

/// Prism never answers some requests (a body that is no JSON), so nobody waits longer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Above a page of 250 bookings.
const BODY_BYTES_MAX: usize = 16 << 20;

/// One request as our client sent it, and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// `None`: none that we know of.
    pub(crate) endpoint: Option<Endpoint>,
    /// As the client saw it; if the verdict is that the answer is wrong, it is Prism's and not the sandbox's.
    pub(crate) status: u16,
    pub(crate) verdict: Verdict,
}

/// In front of Prism.
pub(crate) struct Front {
    pub(crate) url: String,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
}

impl Front {
    pub(crate) async fn start(prism: &str, behind: &Behind) -> anyhow::Result<Self> {
        let exchanges = Arc::<Mutex<Vec<Exchange>>>::default();
        let (written, passed_on) = (Arc::clone(&exchanges), Arc::clone(&behind.passed_on));
        let url = listen(prism, move |asked, answer| {
            let passed_on = passed_on.swap(false, Ordering::SeqCst);
            let exchange = Exchange {
                endpoint: Endpoint::of(&asked.method, &asked.path),
                status: answer.status.as_u16(),
                verdict: answer.verdict(passed_on),
            };
            written.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
        })
        .await?;
        Ok(Self { url, exchanges })
    }

    /// What has happened since this was asked last.
    pub(crate) fn take(&self) -> Vec<Exchange> {
        mem::take(&mut *self.exchanges.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Behind Prism.
pub(crate) struct Behind {
    pub(crate) url: String,
    passed_on: Arc<AtomicBool>,
    spoil: Arc<AtomicBool>,
}

impl Behind {
    pub(crate) async fn start(sandbox: &str) -> anyhow::Result<Self> {
        let (passed_on, spoil) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (seen, armed) = (Arc::clone(&passed_on), Arc::clone(&spoil));
        let url = listen(sandbox, move |_, answer| {
            seen.store(true, Ordering::SeqCst);
            if armed.swap(false, Ordering::SeqCst) {
                answer.body = without_uid(&answer.body);
            }
        })
        .await?;
        Ok(Self { url, passed_on, spoil })
    }

    /// The next answer will name no booking.
    pub(crate) fn spoil_next(&self) {
        self.spoil.store(true, Ordering::SeqCst);
    }
}

struct Asked {
    method: axum::http::Method,
    path: String,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn verdict(&self, passed_on: bool) -> Verdict {
        let text = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok());
        let said = Said {
            status: self.status.as_u16(),
            media_type: text(CONTENT_TYPE.as_str()).unwrap_or_default(),
            violations: text("sl-violations"),
            body: &self.body,
            passed_on,
        };
        said.verdict()
    }

    /// Nothing came from there. Shaped like one of Prism's own, so that it is one more thing that is wrong.
    fn silence(error: &anyhow::Error) -> Self {
        let problem = serde_json::json!({ "detail": format!("no answer: {error:#}") });
        let media_type = axum::http::HeaderValue::from_static("application/problem+json");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, media_type)]);
        Self { status: StatusCode::GATEWAY_TIMEOUT, headers, body: problem.to_string().into() }
    }
}

struct Relay<F> {
    target: String,
    http: reqwest::Client,
    listen: F,
}

/// Passes requests on to `target` and shows each answer to `overhear`, which may change it. The URL to ask instead.
async fn listen<F>(target: &str, overhear: F) -> anyhow::Result<String>
where
    F: Fn(&Asked, &mut Answer) + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on 127.0.0.1")?;
    let url = format!("http://{}", listener.local_addr()?);
    let redirect = reqwest::redirect::Policy::none();
    let http = reqwest::Client::builder().no_proxy().redirect(redirect).timeout(ANSWER_MAX).build()?;
    let relay = Arc::new(Relay { target: target.to_owned(), http, listen: overhear });
    let router = Router::new().fallback(pass::<F>).with_state(relay);
    // Ends with the program: it holds nothing that needs an end.
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

async fn pass<F>(State(relay): State<Arc<Relay<F>>>, request: Request<Body>) -> Response<Body>
where
    F: Fn(&Asked, &mut Answer) + Send + Sync + 'static,
{
    let asked = Asked { method: request.method().clone(), path: request.uri().path().to_owned() };
    let mut answer = relay.ask(request).await.unwrap_or_else(|error| Answer::silence(&error));
    (relay.listen)(&asked, &mut answer);
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

impl<F> Relay<F> {
    async fn ask(&self, request: Request<Body>) -> anyhow::Result<Answer> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, BODY_BYTES_MAX).await.context("the request breaks off")?;
        let path = parts.uri.path_and_query().map_or("/", |it| it.as_str());
        let asked =
            self.http.request(parts.method, format!("{}{path}", self.target)).headers(of_the_ends(parts.headers));
        // A GET without a body stays one.
        let asked = if body.is_empty() { asked } else { asked.body(body) };
        let answer = asked.send().await?;
        let (status, headers) = (answer.status(), of_the_ends(answer.headers().clone()));
        Ok(Answer { status, headers, body: answer.bytes().await? })
    }
}

/// Without what belongs to one connection.
fn of_the_ends(mut headers: HeaderMap) -> HeaderMap {
    for name in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}

/// The answer about a booking, or a list of them, without the (first) one's uid.
fn without_uid(body: &[u8]) -> Bytes {
    let mut answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let data = answer.get_mut("data");
    let booking = data.and_then(|data| if data.is_array() { data.get_mut(0) } else { Some(data) });
    if let Some(booking) = booking.and_then(Value::as_object_mut) {
        booking.remove("uid");
    }
    answer.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_uid_is_lost() {
        let spoilt =
            |answer: Value| -> Value { serde_json::from_slice(&without_uid(answer.to_string().as_bytes())).unwrap() };
        assert_eq!(
            spoilt(json!({"data": {"uid": "a", "id": 1}, "status": "success"})),
            json!({"data": {"id": 1}, "status": "success"})
        );
        assert_eq!(spoilt(json!({"data": [{"uid": "a"}, {"uid": "b"}]})), json!({"data": [{}, {"uid": "b"}]}));
        for unchanged in [json!({"data": []}), json!({"error": {}})] {
            assert_eq!(spoilt(unchanged.clone()), unchanged);
        }
    }

    #[tokio::test]
    async fn who_listens_hears_the_answer_as_the_client_has_it_and_what_got_through() {
        let end = listen("http://127.0.0.1:1", |_, answer| {
            *answer = Answer {
                status: StatusCode::CREATED,
                headers: HeaderMap::new(),
                body: r#"{"data":{"uid":"a"}}"#.into(),
            };
        });
        let behind = Behind::start(&end.await.unwrap()).await.unwrap();
        let front = Front::start(&behind.url, &behind).await.unwrap();
        let url = format!("{}/v2/bookings", front.url);
        let post = async || reqwest::Client::new().post(&url).body("{}").send().await.unwrap().text().await.unwrap();
        assert_eq!(post().await, r#"{"data":{"uid":"a"}}"#);
        behind.spoil_next();
        assert_eq!(post().await, r#"{"data":{}}"#);
        assert_eq!(post().await, r#"{"data":{"uid":"a"}}"#, "only the next");
        let heard = front.take();
        assert_eq!(heard.len(), 3);
        for exchange in heard {
            assert_eq!((exchange.endpoint, exchange.status), (Some(Endpoint::Create), 201));
            assert_eq!(exchange.verdict, Verdict::Conforms);
        }
        assert!(front.take().is_empty());
        // Where nothing gets through, the request is to blame.
        let alone = Front::start("http://127.0.0.1:1", &behind).await.unwrap();
        assert_eq!(reqwest::get(format!("{}/v2/bookings", alone.url)).await.unwrap().status().as_u16(), 504);
        let [Exchange { endpoint: Some(Endpoint::List), status: 504, verdict: Verdict::WrongRequest(why) }] =
            &alone.take()[..]
        else {
            panic!("one request that was kept");
        };
        assert!(why.starts_with("no answer: "), "{why}");
    }
}
