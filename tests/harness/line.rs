//! The line between our programs and the sandbox: it can refuse every connection, as a host that is down, or take them
//! and say nothing, as one that hangs. What is said on it while it hangs is counted and lost.
//!
//! Deliberately absent: half-lost requests (the sandbox has faults for those).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How the host behind the line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Host {
    Answers,
    /// Nobody listens; what was open is cut.
    Refuses,
    /// It takes connections and requests, and is silent.
    Hangs,
}

pub struct Line {
    /// The API's root, through here.
    pub url: String,
    host: watch::Sender<Host>,
    swallowed: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Line {
    /// In front of the sandbox with this URL.
    pub async fn start(sandbox_url: &str) -> Self {
        let server = sandbox_url.split('/').nth(2).unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (host, state) = watch::channel(Host::Answers);
        let swallowed = Arc::<AtomicUsize>::default();
        let serving = tokio::spawn(serve(listener, server.clone(), state, swallowed.clone()));
        Self { url: sandbox_url.replacen(&server, &address.to_string(), 1), host, swallowed, serving }
    }

    /// From now on; connections of before are cut, unless it hangs: then they are silent, too.
    pub fn set(&self, host: Host) {
        self.host.send_replace(host);
    }

    /// Pieces that came in while it hung: a request is one, seldom two.
    pub fn swallowed(&self) -> usize {
        self.swallowed.load(SeqCst)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(first: TcpListener, server: String, mut state: watch::Receiver<Host>, swallowed: Arc<AtomicUsize>) {
    let address = first.local_addr().unwrap();
    let mut listener = Some(first);
    loop {
        let host = *state.borrow_and_update();
        match (host, &listener) {
            (Host::Refuses, _) => {
                listener = None;
                if state.changed().await.is_err() {
                    return;
                }
            }
            (Host::Answers | Host::Hangs, None) => listener = Some(listen_again(address).await),
            (Host::Answers | Host::Hangs, Some(listening)) => tokio::select! {
                changed = state.changed() => if changed.is_err() { return },
                Ok((client, _)) = listening.accept() => {
                    tokio::spawn(pass(client, server.clone(), state.clone(), swallowed.clone()));
                }
            },
        }
    }
}

async fn listen_again(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_still_taken) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// One connection, until either side ends it or the host changes; one that hung is cut when the host is back.
async fn pass(mut client: TcpStream, server: String, mut state: watch::Receiver<Host>, swallowed: Arc<AtomicUsize>) {
    if *state.borrow_and_update() == Host::Answers {
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        let _cut = tokio::select! {
            _ended = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
            changed = state.changed() => changed,
        };
        if *state.borrow_and_update() != Host::Hangs {
            return;
        }
    }
    let mut bytes = vec![0; 16 * 1024];
    loop {
        tokio::select! {
            read = client.read(&mut bytes) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => drop(swallowed.fetch_add(1, SeqCst)),
            },
            _changed = state.changed() => return,
        }
    }
}
