//! Stands between a program of ours and PostgreSQL, passes everything on, and stops at one COMMIT: the first of a
//! transaction that has run certain statements. There it stands between the commit and whoever waits for its answer.
//!
//! Deliberately absent: TLS, and every other message's meaning; a statement is recognised by a part of its text.

use crate::wait_for;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Where the COMMIT is when it is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Commit {
    /// PostgreSQL will never see it: the transaction rolls back.
    Unsent,
    /// It is done; the answer is not yet with whoever waits for it.
    Done,
}

/// A stopped connection: dropped, it is cut.
pub struct Stopped(oneshot::Sender<()>);

impl Stopped {
    /// Passes the answer on, late; what follows passes as before.
    pub fn answer(self) {
        let _gone = self.0.send(());
    }
}

/// It has not happened yet.
pub struct Stop(oneshot::Receiver<Stopped>);

impl Stop {
    /// Waits until the COMMIT has been stopped.
    pub async fn happened(mut self) -> Stopped {
        wait_for("a COMMIT to stop", async || self.0.try_recv().ok()).await
    }
}

/// What to stop, and whom to tell.
struct Trap {
    commit: Commit,
    /// The transaction has run all of these.
    statements: &'static [&'static str],
    stopped: oneshot::Sender<Stopped>,
}

type Armed = Arc<Mutex<Option<Trap>>>;

pub struct Proxy {
    /// The database, through here.
    pub url: String,
    armed: Armed,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// In front of the database at this URL.
    pub async fn start(database_url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let authority = database_url.split('/').nth(2).unwrap();
        let server = authority.rsplit('@').next().unwrap().to_owned();
        let url = format!("{}?sslmode=disable", database_url.replacen(&server, &address.to_string(), 1));
        let armed = Armed::default();
        let traps = armed.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server.clone(), traps.clone()));
            }
        });
        Self { url, armed, accepting }
    }

    /// From now on the first COMMIT of a transaction that has run all of these statements is stopped.
    pub fn stop(&self, commit: Commit, statements: &'static [&'static str]) -> Stop {
        let (stopped, told) = oneshot::channel();
        *self.armed.lock().unwrap() = Some(Trap { commit, statements, stopped });
        Stop(told)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One connection, until either side ends it.
async fn pass(mut client: TcpStream, server: String, armed: Armed) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let (mut asked, mut answered) = (Vec::new(), vec![0; 16 * 1024]);
    let mut session = Session::default();
    loop {
        tokio::select! {
            read = client.read_buf(&mut asked) => {
                if read? == 0 {
                    return Ok(());
                }
                while let Some(message) = session.take_message(&mut asked) {
                    let trap = if session.commits(&message) { session.caught(&armed) } else { None };
                    match trap {
                        Some(trap) => stop(&mut client, &mut server, &message, trap).await?,
                        None => server.write_all(&message).await?,
                    }
                }
            }
            read = server.read(&mut answered) => match read? {
                0 => return Ok(()),
                length => client.write_all(&answered[..length]).await?,
            }
        }
    }
}

/// An error = the connection is cut.
async fn stop(client: &mut TcpStream, server: &mut TcpStream, message: &[u8], trap: Trap) -> io::Result<()> {
    let mut answer = Vec::new();
    if trap.commit == Commit::Done {
        server.write_all(message).await?;
        // The tag of its answer: a transaction that had failed would say ROLLBACK.
        while !answer.windows(7).any(|tag| tag == b"COMMIT\0") {
            if server.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    let (go_on, told) = oneshot::channel();
    let _nobody_waits = trap.stopped.send(Stopped(go_on));
    told.await.map_err(|_dropped| io::ErrorKind::ConnectionReset)?;
    match trap.commit {
        Commit::Unsent => server.write_all(message).await,
        Commit::Done => client.write_all(&answer).await,
    }
}

/// What a connection has said so far.
#[derive(Default)]
struct Session {
    /// Its first message, and only that one, has no letter in front.
    begun: bool,
    /// The text of each prepared statement.
    prepared: HashMap<Vec<u8>, Vec<u8>>,
    /// What it has run since BEGIN.
    run: Vec<Vec<u8>>,
}

impl Session {
    /// The next message if it is complete: a letter, the length of the rest, the rest.
    fn take_message(&mut self, bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
        let letter = usize::from(self.begun);
        let length = u32::from_be_bytes(bytes.get(letter..letter + 4)?.try_into().unwrap());
        let end = letter + usize::try_from(length).unwrap();
        if bytes.len() < end {
            return None;
        }
        self.begun = true;
        Some(bytes.drain(..end).collect())
    }

    /// Is this a COMMIT? Whatever else it is, is remembered.
    fn commits(&mut self, message: &[u8]) -> bool {
        let mut texts = message.get(5..).unwrap_or_default().split(|byte| *byte == 0).map(<[u8]>::to_vec);
        let (first, second) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
        match message[0] {
            b'Q' if first.starts_with(b"BEGIN") => self.run.clear(),
            b'Q' if first == b"COMMIT" => return true,
            b'P' => drop(self.prepared.insert(first, second)),
            b'B' => self.run.extend(self.prepared.get(&second).cloned()),
            _ => {}
        }
        false
    }

    /// The trap, if this transaction is the one that it is set for.
    fn caught(&self, armed: &Armed) -> Option<Trap> {
        let has_run = |part: &&str| self.run.iter().any(|text| String::from_utf8_lossy(text).contains(*part));
        armed.lock().unwrap().take_if(|trap| trap.statements.iter().all(has_run))
    }
}
