//! Connections that fail before, during and after the request; deadlines; and what reaches the log.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use calcom::{Client, ClientError, ClientSettings, ListQuery};
use domain::answer::{Ambiguity, Answer, LookFailure};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::gate::Doorman;
use crate::peer::{Peer, Reply, on_the_wire, read_request, reply, write};
use crate::{COMPANY, NEW_UID, UID, ask, at, booking, client, key, markers, settings, soon, success, uid};

const QUICK: Duration = Duration::from_millis(700);

fn open() -> Arc<Doorman> {
    Arc::new(Doorman::default())
}

fn quick(base_url: String) -> Client {
    Client::new(ClientSettings { timeout: QUICK, ..settings(base_url) }, open()).unwrap()
}

async fn create(client: &Client) -> Answer {
    client.create(&key(), &ask(), &markers(), soon()).await
}

fn unknown(why: Ambiguity) -> Answer {
    Answer::Unknown { why }
}

/// Closes with a reset instead of an orderly end.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

#[tokio::test]
async fn nothing_is_sent_without_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let refused = client(format!("http://{address}/v2"));
    assert_eq!(create(&refused).await, Answer::NotSent { wait: None });
    assert_eq!(refused.get(&key(), &uid(), &markers(), COMPANY).await, Err(LookFailure::NotSent { wait: None }));
    let query =
        ListQuery::Window { event_type_id: 1, from: at("2050-09-05T08:59:00Z"), to: at("2050-09-05T09:31:00Z") };
    assert_eq!(refused.list(&key(), &query, &markers(), COMPANY).await, Err(LookFailure::NotSent { wait: None }));
}

#[tokio::test]
async fn nothing_is_sent_when_tls_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            write(&mut stream, "HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    assert_eq!(create(&client(format!("https://{address}/v2"))).await, Answer::NotSent { wait: None });
}

#[tokio::test]
async fn a_host_that_takes_no_connection_was_sent_nothing() {
    // A TLS handshake that never ends is given up at the connect timeout, which is before the call's.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let begun = Instant::now();
    assert_eq!(create(&client(format!("https://{address}/v2"))).await, Answer::NotSent { wait: None });
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(listener);
}

#[tokio::test]
async fn silence_ends_at_the_timeout_and_at_the_deadline() {
    let (url, requests) = on_the_wire(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let begun = Instant::now();
    assert_eq!(create(&quick(url.clone())).await, unknown(Ambiguity::Timeout));
    assert!(begun.elapsed() < Duration::from_secs(4));

    let begun = Instant::now();
    let answer = client(url.clone()).create(&key(), &ask(), &markers(), Instant::now() + QUICK).await;
    assert_eq!(answer, unknown(Ambiguity::Timeout));
    assert!(begun.elapsed() < Duration::from_secs(4));
    assert_eq!(quick(url).get(&key(), &uid(), &markers(), COMPANY).await, Err(LookFailure::NoAnswer { wait: None }));
    assert_eq!(*requests.lock().unwrap(), 3);
}

#[tokio::test]
async fn nothing_is_sent_when_the_deadline_is_near() {
    let peer = Peer::answering([reply(201, success(booking()))]).await;
    let client = client(peer.url.clone());
    let now = Instant::now();
    for deadline in [now, now + Duration::from_millis(20)] {
        assert_eq!(client.create(&key(), &ask(), &markers(), deadline).await, Answer::NotSent { wait: None });
        assert_eq!(
            client.cancel(&key(), &uid(), "", &markers(), COMPANY, deadline).await,
            Answer::NotSent { wait: None }
        );
    }
    assert!(peer.asked().is_empty());
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_leaves_it_unknown_and_is_not_tried_again() {
    let (url, requests) = on_the_wire(|stream| async move { reset(stream) }).await;
    assert_eq!(create(&client(url)).await, unknown(Ambiguity::Reset));
    assert_eq!(*requests.lock().unwrap(), 1, "reset");

    let (url, requests) = on_the_wire(|stream| async move { drop(stream) }).await;
    assert_eq!(create(&client(url)).await, unknown(Ambiguity::Reset));
    assert_eq!(*requests.lock().unwrap(), 1, "closed");

    let (url, requests) = on_the_wire(|mut stream| async move { write(&mut stream, "nonsense\r\n\r\n").await }).await;
    assert_eq!(create(&client(url)).await, unknown(Ambiguity::Reset));
    assert_eq!(*requests.lock().unwrap(), 1, "not HTTP");
}

#[tokio::test]
async fn an_answer_that_is_cut_leaves_it_unknown() {
    for head in ["HTTP/1.1 201 Created", "HTTP/1.1 400 Bad Request", "HTTP/1.1 409 Conflict"] {
        let (url, requests) = on_the_wire(move |mut stream| async move {
            write(&mut stream, &format!("{head}\r\ncontent-length: 4000\r\n\r\n{{\"status\":")).await;
        })
        .await;
        assert_eq!(create(&client(url)).await, unknown(Ambiguity::Reset), "{head}");
        assert_eq!(*requests.lock().unwrap(), 1);
    }
    let (url, _) = on_the_wire(|mut stream| async move {
        write(&mut stream, "HTTP/1.1 201 Created\r\ncontent-length: 4000\r\n\r\n{\"status\":").await;
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!(create(&quick(url)).await, unknown(Ambiguity::Timeout), "a body that never ends");
}

#[tokio::test]
async fn a_body_without_a_length_is_not_read_without_end() {
    let (url, _) = on_the_wire(|mut stream| async move {
        write(&mut stream, "HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n").await;
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        use tokio::io::AsyncWriteExt;
        while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    })
    .await;
    assert_eq!(create(&client(url)).await, unknown(Ambiguity::BadBody));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Peer::answering([reply(201, success(booking()))]).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("{}/bookings", elsewhere.url);
        let peer = Peer::answering([Reply { status, headers: vec![("location", location)], body: Vec::new() }]).await;
        assert_eq!(create(&client(peer.url.clone())).await, unknown(Ambiguity::Redirect), "{status}");
        peer.asked_once();
    }
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn a_connection_is_used_again_and_a_dead_one_is_replaced() {
    // Each connection is closed by the peer after its first answer, without saying so.
    let body = success(booking());
    let gone = Arc::new(Semaphore::new(0));
    let tell = Arc::clone(&gone);
    let (url, requests) = on_the_wire(move |mut stream| {
        let (body, tell) = (body.clone(), Arc::clone(&tell));
        async move {
            let head = format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n", body.len());
            write(&mut stream, &format!("{head}{body}")).await;
            stream.shutdown().await.unwrap();
            // The client hangs up as well: it has seen the close.
            while stream.read(&mut [0]).await.is_ok_and(|bytes| bytes > 0) {}
            tell.add_permits(1);
        }
    })
    .await;
    let closing = client(url);
    for _ in 0..3 {
        assert!(matches!(create(&closing).await, Answer::Applied(_)));
        gone.acquire().await.unwrap().forget();
    }
    assert_eq!(*requests.lock().unwrap(), 3);

    let connections = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&connections);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v2", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            *counted.lock().unwrap() += 1;
            tokio::spawn(async move {
                let body = success(booking());
                while read_request(&mut stream).await {
                    let head = format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n", body.len());
                    write(&mut stream, &format!("{head}{body}")).await;
                }
            });
        }
    });
    let keeping = client(url);
    for _ in 0..5 {
        assert!(matches!(create(&keeping).await, Answer::Applied(_)));
    }
    assert_eq!(*connections.lock().unwrap(), 1);
}

#[tokio::test]
async fn base_urls_with_a_path_and_versions() {
    let peer = Peer::answering([reply(201, success(booking()))]).await;
    let base_url = format!("{}/", peer.url.replace("/v2", "/api/v2"));
    let version = "2026-02-25".to_owned();
    let client = Client::new(ClientSettings { bookings_version: version, ..settings(base_url) }, open()).unwrap();
    create(&client).await;
    let asked = peer.asked_once();
    assert_eq!(asked.path, "/api/v2/bookings");
    assert_eq!(asked.headers["cal-api-version"], "2026-02-25");

    let new = |base_url: &str, bookings_version: &str| {
        let settings = settings(base_url.to_owned());
        Client::new(ClientSettings { bookings_version: bookings_version.to_owned(), ..settings }, open()).map(|_| ())
    };
    assert!(matches!(new("https://api.cal.com/v2", ""), Err(ClientError::Version)));
    assert!(matches!(new("https://api.cal.com/v2", "a\nb"), Err(ClientError::Version)));
    assert!(matches!(new("http://api.cal.com/v2", "2024-08-13"), Err(ClientError::Insecure)));
    let error = new("https://user:hunter2@api.cal.com/v2", "2024-08-13").unwrap_err();
    assert!(matches!(error, ClientError::BaseUrl));
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_key_that_is_no_header_value_is_not_sent() {
    let peer = Peer::answering([reply(201, success(booking()))]).await;
    let client = client(peer.url.clone());
    let key = SecretString::from("cal_test\nX-Evil: 1");
    let answer = client.create(&key, &ask(), &markers(), soon()).await;
    assert_eq!(answer, Answer::Misconfigured { status: 401 });
    assert_eq!(client.get(&key, &uid(), &markers(), COMPANY).await, Err(LookFailure::Unauthorized));
    assert!(peer.asked().is_empty());
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn nothing_personal_and_no_capability_is_logged_even_at_trace() {
    let log = Log::default();
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || written.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);

    let refusal =
        |message: &str| reply(400, serde_json::json!({"status": "error", "error": {"message": message}}).to_string());
    let peer = Peer::answering([
        reply(201, success(booking())),
        refusal(&format!("Can't cancel booking with uid={UID} because of juergen@example.com")),
        refusal(&format!("You can reschedule your existing booking ({UID})")),
        reply(500, "{\"uid\":\"bfkkD7vGq3a9X2cWmRtYzP\"}"),
        reply(200, "Jürgen Müßiggang +4915112345678"),
    ])
    .await;
    let client = client(peer.url.clone());
    let mut answers = vec![create(&client).await];
    answers.push(client.cancel(&key(), &uid(), "weil Jürgen Müßiggang", &markers(), COMPANY, soon()).await);
    let start = at("2050-09-06T13:00:00Z");
    answers.push(client.reschedule(&key(), &uid(), start, "Jürgen", &markers(), COMPANY, soon()).await);
    let looks =
        [client.get(&key(), &uid(), &markers(), COMPANY).await, client.get(&key(), &uid(), &markers(), COMPANY).await];
    drop(guard);

    let mut text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("Cal.com answered") && text.contains("Cal.com refused"), "{text}");
    text += &format!("{answers:?} {looks:?} {client:?} {:?} {:?}", markers(), key());
    for secret in
        [UID, NEW_UID, "rgen", "ggang", "4915112345678", "juergen", "0123456789secret", "0123456789abcdef", "anna"]
    {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
