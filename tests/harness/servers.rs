//! A Redis and a PostgreSQL of a test's own: they can be killed in the middle of it and started again on the same port.
//! `./dev` knows how each is started; both end with their guard, and their folders go with them.
//!
//! Deliberately absent: persistence of Redis (it comes back empty), and the loss of what the kernel has not yet written:
//! SIGKILL ends processes, not the machine.

use crate::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection, PgConnection};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

const DEV: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../dev");
/// Below the range from which the kernel takes the ports of clients.
const PORT_FIRST: u16 = 20_000;
const PORTS: u16 = 12_000;
/// So long an ending PostgreSQL may clean up behind itself.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// `./dev KIND FOLDER PORT` becomes the server, so the child's pid is the server's.
struct Server {
    kind: &'static str,
    folder: PathBuf,
    port: u16,
    child: Child,
}

impl Server {
    fn spawn(kind: &'static str, folder: &Path, port: u16) -> Child {
        let mut command = Command::new(DEV);
        command.arg(kind).arg(folder).arg(port.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("./dev starts the servers")
    }

    /// On a port that is free, or on another one if somebody was quicker.
    async fn start(kind: &'static str, is_up: impl AsyncFn(&Self) -> bool) -> Self {
        let folder = std::env::temp_dir().join(format!("askpro-{kind}-{}", Uuid::now_v7().simple()));
        let port = free_port();
        let mut server = Self { kind, child: Self::spawn(kind, &folder, port), folder, port };
        wait_until("a server's start", async || {
            if server.has_ended() {
                server.port = free_port();
                server.child = Self::spawn(kind, &server.folder, server.port);
            }
            is_up(&server).await
        })
        .await;
        server
    }

    /// On the same port.
    async fn restart(&mut self, is_up: impl AsyncFn(&Self) -> bool) {
        assert!(self.has_ended(), "what is started again was killed before");
        wait_until("a server's return", async || {
            if self.has_ended() {
                self.child = Self::spawn(self.kind, &self.folder, self.port);
            }
            is_up(self).await
        })
        .await;
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn kill(&mut self) {
        let _gone_already = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _was_never_made = fs::remove_dir_all(&self.folder);
    }
}

pub struct Redis(Server);

impl Redis {
    pub async fn start() -> Self {
        Self(Server::start("redis", Self::is_up).await)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.0.port)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.0.kill();
    }

    /// Empty.
    pub async fn restart(&mut self) {
        self.0.restart(Self::is_up).await;
    }

    /// Everything in it is gone.
    pub async fn flush(&self) {
        let answer = self.ask("FLUSHALL").await.unwrap();
        assert!(answer.starts_with("+OK"), "{answer}");
    }

    /// How many keys it has.
    pub async fn keys(&self) -> usize {
        self.names("*").await
    }

    /// How many queues have registered workers.
    pub async fn workers(&self) -> usize {
        self.names("*:workers").await
    }

    async fn names(&self, pattern: &str) -> usize {
        let answer = self.ask(&format!("KEYS {pattern}")).await.unwrap();
        answer.lines().next().and_then(|line| line.strip_prefix('*')).unwrap().parse().unwrap()
    }

    async fn ask(&self, command: &str) -> io::Result<String> {
        ask_redis(&self.0, command).await
    }

    /// Does our own child answer at this port, and not somebody else's?
    async fn is_up(server: &Server) -> bool {
        let ours = format!("process_id:{}\r", server.child.id());
        ask_redis(server, "INFO server").await.is_ok_and(|answer| answer.lines().any(|line| line == ours.trim_end()))
    }
}

async fn ask_redis(server: &Server, command: &str) -> io::Result<String> {
    let mut tcp = TcpStream::connect(("127.0.0.1", server.port)).await?;
    tcp.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).await?;
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await?;
    Ok(answer)
}

pub struct Postgres {
    server: Server,
    /// Where it works: below the server's folder, or below the spare one that `./dev` takes if its user cannot get there.
    data: PathBuf,
}

impl Postgres {
    pub async fn start() -> Self {
        let server = Server::start("postgres", Self::is_up).await;
        let data = working_folder(server.child.id()).unwrap();
        let mut conn = PgConnection::connect(&url(&server)).await.unwrap();
        let durable = "SELECT current_setting('fsync') || ' ' || current_setting('synchronous_commit')";
        let durable: String = sqlx::query_scalar(durable).fetch_one(&mut conn).await.unwrap();
        assert_eq!(durable, "on on", "a commit that it has answered is on the disk");
        Self { server, data }
    }

    /// Of its first database.
    pub fn url(&self) -> String {
        url(&self.server)
    }

    /// SIGKILL to the postmaster and to every process of its, and the end of all of them.
    pub async fn kill(&mut self) {
        self.server.kill();
        wait_until("the end of PostgreSQL's processes", async || {
            let left: Vec<u32> =
                processes().filter(|pid| working_folder(*pid).is_some_and(|f| f == self.data)).collect();
            left.iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
            left.is_empty()
        })
        .await;
    }

    /// It recovers what was committed.
    pub async fn restart(&mut self) {
        self.server.restart(Self::is_up).await;
    }

    /// Does our own child answer at this port, and not somebody else's?
    async fn is_up(server: &Server) -> bool {
        let Ok(mut conn) = PgConnection::connect(&url(server)).await else { return false };
        let data: Result<String, _> = sqlx::query_scalar("SHOW data_directory").fetch_one(&mut conn).await;
        data.is_ok_and(|data| working_folder(server.child.id()).is_some_and(|ours| ours == Path::new(&data)))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Killed, it would leave its shared memory behind.
        if !self.server.has_ended() {
            signal(self.server.child.id(), Signal::SIGQUIT);
            let begun = Instant::now();
            while !self.server.has_ended() && begun.elapsed() < END_PATIENCE {
                thread::sleep(Duration::from_millis(20));
            }
        }
        let _gone_already = self.data.parent().map(fs::remove_dir_all);
    }
}

fn url(server: &Server) -> String {
    format!("postgres://postgres@127.0.0.1:{}/postgres", server.port)
}

fn free_port() -> u16 {
    let port = || PORT_FIRST + u16::try_from(Uuid::now_v7().as_u128() % u128::from(PORTS)).unwrap();
    std::iter::repeat_with(port).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// `None`: it is gone, or a zombie.
fn working_folder(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

fn signal(pid: u32, signal: Signal) {
    let _gone_already = kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal);
}
