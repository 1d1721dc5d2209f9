//! A Redis of its own for each test: a child on a free port of 127.0.0.1, empty, without persistence, ended by its guard.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use redis::{AsyncConnectionConfig, FromRedisValue, aio::MultiplexedConnection};
use tokio::time::{Instant, sleep};

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(45);

pub struct Redis {
    child: Child,
    port: u16,
    dir: PathBuf,
}

impl Redis {
    pub async fn start() -> Redis {
        static DIRS: AtomicUsize = AtomicUsize::new(0);
        let dir = std::env::temp_dir().join(format!("landmine-{}-{}", std::process::id(), DIRS.fetch_add(1, SeqCst)));
        fs::create_dir_all(&dir).unwrap();
        for _ in 0..20 {
            let port = free_port();
            let mut redis = Redis { child: spawn(&dir, port), port, dir: dir.clone() };
            if redis.came_up().await {
                return redis;
            }
            // Somebody else was quicker with this port.
            redis.dir = PathBuf::new();
        }
        panic!("no redis-server would start");
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Empty, on the same port.
    pub async fn start_again(&mut self) {
        self.kill();
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.child = spawn(&self.dir, self.port);
            if self.came_up().await {
                return;
            }
            self.kill();
            assert!(Instant::now() < deadline, "redis-server did not come back");
        }
    }

    pub async fn connection(&self) -> MultiplexedConnection {
        let bounds = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(5)))
            .set_response_timeout(Some(Duration::from_secs(20)));
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection_with_config(&bounds).await.unwrap()
    }

    /// One command, words separated by blanks.
    pub async fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        let mut cmd = redis::Cmd::new();
        for word in command.split(' ') {
            cmd.arg(word);
        }
        cmd.query_async(&mut self.connection().await).await.unwrap()
    }

    /// The names of the registered workers.
    pub async fn workers(&self) -> Vec<String> {
        self.ask("ZRANGE jobs:workers 0 -1").await
    }

    /// The one worker that is registered, as soon as there is exactly one.
    pub async fn worker(&self) -> String {
        wait_for("one registered worker", async || {
            let mut names = self.workers().await;
            if names.len() == 1 { names.pop() } else { None }
        })
        .await
    }

    pub async fn inflight(&self) -> usize {
        let sets: Vec<String> = self.ask("KEYS jobs:inflight*").await;
        let mut ids = 0;
        for set in sets {
            ids += self.ask::<usize>(&format!("SCARD {set}")).await;
        }
        ids
    }

    /// Whether the child answers on its port, and nobody else does.
    async fn came_up(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let client = redis::Client::open(self.url()).unwrap();
        while Instant::now() < deadline {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if let Ok(mut connection) = client.get_multiplexed_async_connection().await
                && let Ok(info) = redis::cmd("INFO").arg("server").query_async::<String>(&mut connection).await
            {
                return info.contains(&format!("process_id:{}\r", self.child.id()));
            }
            sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        if self.dir.as_os_str().len() > 1 {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Polls until there is an answer.
pub async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub async fn wait_until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    wait_for(what, async || is_so().await.then_some(())).await;
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(dir: &PathBuf, port: u16) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--maxmemory-policy", "noeviction", "--dir"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server must be installed")
}
