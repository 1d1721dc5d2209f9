//! Stands between a program of ours and PostgreSQL, passes everything on, and counts what PostgreSQL answers: the one
//! place where a round trip can be seen that no statistics know, such as the pool's question whether a connection lives.
//!
//! Deliberately absent: TLS, and what was asked. A write that commits by itself is known by its answer, so one inside of
//! a SELECT would be missed; we have none.

use std::io;
use std::ops::{AddAssign, Sub};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What has gone over the wire.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Traffic {
    /// Somebody asked and waited for the answer.
    pub round_trips: u64,
    /// Statements that ran, BEGIN and COMMIT among them.
    pub statements: u64,
    /// COMMITs, and writes that commit by themselves.
    pub commits: u64,
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            round_trips: self.round_trips - earlier.round_trips,
            statements: self.statements - earlier.statements,
            commits: self.commits - earlier.commits,
        }
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, more: Self) {
        self.round_trips += more.round_trips;
        self.statements += more.statements;
        self.commits += more.commits;
    }
}

pub struct Wire {
    /// The database, through here.
    pub url: String,
    traffic: Arc<Mutex<Traffic>>,
    accepting: JoinHandle<()>,
}

impl Wire {
    /// In front of the database at this URL.
    pub async fn start(database_url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let authority = database_url.split('/').nth(2).unwrap();
        let server = authority.rsplit('@').next().unwrap().to_owned();
        let url = format!("{}?sslmode=disable", database_url.replacen(&server, &address.to_string(), 1));
        let traffic = Arc::<Mutex<Traffic>>::default();
        let counted = traffic.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server.clone(), counted.clone()));
            }
        });
        Self { url, traffic, accepting }
    }

    /// So far. An answer is counted before it is passed on.
    pub fn traffic(&self) -> Traffic {
        *self.traffic.lock().unwrap()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One connection, until either side ends it.
async fn pass(client: TcpStream, server: String, traffic: Arc<Mutex<Traffic>>) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((mut asks, mut hears), (mut answers, mut serves)) = (client.into_split(), server.into_split());
    let asking = async { tokio::io::copy(&mut asks, &mut serves).await.map(drop) };
    let answering = async {
        let (mut bytes, mut session) = (vec![0; 16 * 1024], Session::default());
        loop {
            let length = answers.read(&mut bytes).await?;
            if length == 0 {
                return Ok(());
            }
            *traffic.lock().unwrap() += session.read(&bytes[..length]);
            hears.write_all(&bytes[..length]).await?;
        }
    };
    tokio::select! {
        ended = asking => ended,
        ended = answering => ended,
    }
}

/// What PostgreSQL has said on a connection.
#[derive(Default)]
struct Session {
    /// The beginning of a message whose end has not come.
    rest: Vec<u8>,
    in_transaction: bool,
    /// Since it was ready last.
    wrote: bool,
}

impl Session {
    fn read(&mut self, bytes: &[u8]) -> Traffic {
        self.rest.extend_from_slice(bytes);
        let mut seen = Traffic::default();
        while let Some((letter, body)) = self.take_message() {
            match letter {
                b'C' => {
                    seen.statements += 1;
                    seen.commits += u64::from(body.starts_with(b"COMMIT"));
                    self.wrote |= [b"INSERT", b"UPDATE", b"DELETE"].iter().any(|tag| body.starts_with(*tag));
                }
                b'Z' => {
                    let in_transaction = body != b"I";
                    seen.round_trips += 1;
                    seen.commits += u64::from(self.wrote && !self.in_transaction && !in_transaction);
                    (self.in_transaction, self.wrote) = (in_transaction, false);
                }
                _ => {}
            }
        }
        seen
    }

    /// The next message if it is complete: its letter, the length of the rest, the rest.
    fn take_message(&mut self) -> Option<(u8, Vec<u8>)> {
        let length = u32::from_be_bytes(self.rest.get(1..5)?.try_into().unwrap());
        let end = 1 + usize::try_from(length).unwrap();
        if self.rest.len() < end {
            return None;
        }
        let message: Vec<u8> = self.rest.drain(..end).collect();
        Some((message[0], message[5..].to_vec()))
    }
}
