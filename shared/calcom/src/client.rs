//! The one HTTP client of the process: how a request reaches Cal.com, and how much of what comes back is read.
//!
//! Deliberately absent: redirects, proxies, cookies, compression and retries. A proxy that repeated a POST by itself
//! could book twice; so could we.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::answer::Ambiguity;
use domain::budget::{GRANT, Pass, Purpose};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::address::{self, PublicOnly};
use crate::failure::{self, Asked, Failure};
use crate::gate::{Closed, Gate};

/// With less than this left nothing is sent: it could only end as unknown.
const LEFT_MIN: Duration = Duration::from_millis(50);
/// A host that does not take a connection in this time is down; saying so early is worth more than waiting, for then
/// it is certain that nothing was sent.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Shorter than the 5 s after which a Node server closes an idle connection: a request must not meet that close.
const IDLE: Duration = Duration::from_secs(4);
const IDLE_CONNECTIONS_MAX: usize = 32;

const API_VERSION: HeaderName = HeaderName::from_static("cal-api-version");

/// Where Cal.com is and what is asked of it.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The API's root, ending in `/v2`: `https://`, or `http://` on the own machine.
    pub base_url: String,
    /// The longest a call may take, from its first byte to the last of its answer (all pages of a list).
    pub timeout: Duration,
    /// The `cal-api-version` of the bookings endpoints; `2024-08-13` is what this crate was written for.
    pub bookings_version: String,
    /// The same of the slots endpoint, which has versions of its own; `2024-09-04` is what this crate was written for.
    pub slots_version: String,
    /// The longest answer that is read, in bytes.
    pub body_max_bytes: usize,
    /// Allows any `http://` host, and any private address: for a sandbox or a Cal.com in the own network.
    pub allow_insecure: bool,
}

/// Why there is no client. The text holds no URL, for a URL may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not a URL, or one with a user, a password, a query or a fragment.
    #[error("the base URL of Cal.com must be https://host/path, without user, query or fragment")]
    BaseUrl,
    /// `http://` to another machine.
    #[error("the base URL of Cal.com must be https:// (http:// only on this machine, or with calcom_allow_insecure)")]
    Insecure,
    /// A literal address that is not on the public Internet.
    #[error("the base URL of Cal.com names a private address (allowed only with calcom_allow_insecure)")]
    PrivateAddress,
    /// A version that cannot be written into a header.
    #[error("the versions of Cal.com's endpoints must be dates like 2024-08-13")]
    Version,
    /// TLS could not be set up; often there are no root certificates on this machine.
    #[error("the HTTP client cannot be built (are root certificates installed?)")]
    Build(#[source] reqwest::Error),
}

/// The client of Cal.com. Cheap to clone; one per process.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    /// What reads are for.
    reads: Purpose,
}

struct Inner {
    http: reqwest::Client,
    gate: Arc<dyn Gate>,
    base: Url,
    slots_version: HeaderValue,
    timeout: Duration,
    body_max_bytes: usize,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("host", &self.inner.base.host_str()).finish_non_exhaustive()
    }
}

impl Client {
    /// Builds the one client of the process; each of its requests has to pass the gate. Nothing is sent.
    ///
    /// # Errors
    /// A base URL that may not be used, a version that is no header value, or no TLS on this machine.
    pub fn new(settings: ClientSettings, gate: Arc<dyn Gate>) -> Result<Self, ClientError> {
        let checked = address::check(&settings.base_url, settings.allow_insecure)?;
        let version = version(&settings.bookings_version)?;
        let slots_version = self::version(&settings.slots_version)?;
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("askpro-gateway/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter([
                (API_VERSION, version),
                (ACCEPT, HeaderValue::from_static("application/json")),
            ]))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_MAX.min(settings.timeout))
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX);
        if checked.public_only {
            http = http.dns_resolver(Arc::new(PublicOnly));
        }
        let inner = Inner {
            http: http.build().map_err(ClientError::Build)?,
            gate,
            base: checked.url,
            slots_version,
            timeout: settings.timeout,
            body_max_bytes: settings.body_max_bytes,
        };
        Ok(Self { inner: Arc::new(inner), reads: Purpose::Look })
    }

    /// The same client for reads without a cause: they leave a fifth of the budget to those that have one.
    #[must_use]
    pub fn sweeping(&self) -> Self {
        Self { reads: Purpose::Sweep, ..self.clone() }
    }

    /// When a call that begins now and may last until `deadline` is given up.
    pub(crate) fn until(&self, deadline: Option<Instant>) -> Instant {
        let longest = Instant::now() + self.inner.timeout;
        deadline.map_or(longest, |deadline| deadline.min(longest))
    }

    /// A request to the path under the base URL. The segments must be safe in a path, which `wire::is_uid` says.
    pub(crate) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.inner.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        self.inner.http.request(method, url)
    }

    /// As [`Client::request`], in the version of the slots endpoint.
    pub(crate) fn request_slots(&self) -> RequestBuilder {
        self.request(Method::GET, &["slots"]).header(API_VERSION, self.inner.slots_version.clone())
    }

    /// Sends a request once and reads the body of a 2xx, not longer than until `until`.
    pub(crate) async fn send(
        &self,
        key: &SecretString,
        asked: Asked<'_>,
        request: RequestBuilder,
        until: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let begun = Instant::now();
        let result = self.exchange(key, asked, request, until).await;
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &result {
            Ok(_) => tracing::debug!(request = asked.name(), milliseconds, "Cal.com answered"),
            Err(Failure::Client { status, .. }) => {
                tracing::info!(request = asked.name(), milliseconds, status, "Cal.com refused");
            }
            Err(Failure::Throttled { wait }) => {
                tracing::warn!(
                    request = asked.name(),
                    milliseconds,
                    wait_seconds = wait.as_secs(),
                    "Cal.com throttled"
                );
            }
            Err(Failure::NotSent { wait }) => {
                let wait_seconds = wait.map(|wait| wait.as_secs());
                tracing::info!(request = asked.name(), milliseconds, wait_seconds, "nothing was sent to Cal.com");
            }
            Err(Failure::UnusableKey) => {
                tracing::warn!(request = asked.name(), milliseconds, "nothing was sent to Cal.com");
            }
            Err(Failure::Ambiguous { why, wait: _ }) => {
                tracing::warn!(request = asked.name(), milliseconds, ?why, "what Cal.com did is unknown");
            }
        }
        result
    }

    async fn exchange(
        &self,
        key: &SecretString,
        asked: Asked<'_>,
        request: RequestBuilder,
        until: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", key.expose_secret())).map_err(|_| Failure::UnusableKey)?;
        authorization.set_sensitive(true);
        let request = request.header(AUTHORIZATION, authorization);
        let pass = self.pass(key, asked.purpose(self.reads), until).await?;
        let answered = async {
            let response = request.send().await.map_err(|error| failure::of_sending(&error))?;
            self.read(response).await
        };
        let result = tokio::time::timeout_at(until.into(), answered).await;
        let result = result.unwrap_or(Err(Failure::unknown(Ambiguity::Timeout)));
        let wait = self.inner.gate.tell(key, pass, failure::heard(&result)).await;
        match result {
            Err(Failure::NotSent { .. }) => Err(Failure::NotSent { wait }),
            Err(Failure::Ambiguous { why, .. }) => Err(Failure::Ambiguous { why, wait }),
            told => told,
        }
    }

    /// Waits for a pass that is still good when it is here.
    async fn pass(&self, key: &SecretString, purpose: Purpose, until: Instant) -> Result<Pass, Failure> {
        let is_late = || until.saturating_duration_since(Instant::now()) < LEFT_MIN;
        while !is_late() {
            match tokio::time::timeout_at(until.into(), self.inner.gate.ask(key, purpose)).await {
                Ok(Ok((pass, since))) if since.elapsed() <= GRANT && !is_late() => return Ok(pass),
                Ok(Ok(_run_out)) => {}
                Ok(Err(Closed { wait })) => return Err(Failure::NotSent { wait }),
                Err(_late) => break,
            }
        }
        Err(Failure::NotSent { wait: None })
    }

    async fn read(&self, response: Response) -> Result<Vec<u8>, Failure> {
        match response.status().as_u16() {
            200..=299 => self.body(response).await,
            300..=399 => Err(Failure::unknown(Ambiguity::Redirect)),
            // A proxy may say so about a request that Cal.com has taken.
            408 => Err(Failure::unknown(Ambiguity::Timeout)),
            429 => {
                let headers = response.headers().iter();
                let wait = failure::wait(headers.map(|(name, value)| (name.as_str(), value.as_bytes())));
                Err(Failure::Throttled { wait })
            }
            status @ 400..=499 => {
                let message = failure::message(&self.body(response).await?);
                Err(Failure::Client { status, message })
            }
            status => Err(Failure::unknown(Ambiguity::ServerError(status))),
        }
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure::of_reading(&error))? {
            if body.len() + chunk.len() > self.inner.body_max_bytes {
                return Err(Failure::unknown(Ambiguity::BadBody));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// A `cal-api-version` that can be sent. Without one Cal.com falls back to an older controller in silence.
fn version(text: &str) -> Result<HeaderValue, ClientError> {
    HeaderValue::from_str(text).ok().filter(|version| !version.is_empty()).ok_or(ClientError::Version)
}
