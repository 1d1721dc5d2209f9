//! Prism as a process of ours: started on a free port, ready when it says so, ended by its pid.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// To read a document of a megabyte on a machine that does much else.
const START_MAX: Duration = Duration::from_secs(120);
/// What is shown of its log if it does not start.
const LOG_LINES: usize = 20;

pub(crate) struct Prism {
    pub(crate) url: String,
    child: Child,
}

impl Prism {
    /// In front of `upstream`, with the rules of `document`.
    ///
    /// # Errors
    /// It does not start; with what it said.
    pub(crate) async fn start(program: &Path, document: &Path, upstream: &str) -> anyhow::Result<Self> {
        // The port is free again for a moment; if somebody is faster, Prism says so and ends.
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let mut child = Command::new(program)
            .args(["proxy", "--host", "127.0.0.1", "--port", &port.to_string(), "--errors", "--multiprocess", "false"])
            .arg(document)
            .arg(upstream)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("Prism cannot be started: {}", program.display()))?;
        let log = Log::default();
        let (ready, mut is_ready) = mpsc::channel(1);
        log.keep(child.stdout.take(), ready.clone());
        log.keep(child.stderr.take(), ready);
        let started = tokio::time::timeout(START_MAX, is_ready.recv()).await;
        match started {
            Ok(Some(())) => Ok(Self { url: format!("http://127.0.0.1:{port}"), child }),
            Ok(None) => bail!("Prism has ended before it was ready:\n{}", log.end()),
            Err(_) => bail!("Prism is not ready after {} s:\n{}", START_MAX.as_secs(), log.end()),
        }
    }

    /// Kills it, and waits for its end. It has nothing to lose.
    pub(crate) async fn end(mut self) {
        let _gone_already = self.child.kill().await;
    }
}

/// The last lines that it has written.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<VecDeque<String>>>);

impl Log {
    /// Reads to the end, for a full pipe would stop it; tells once that it listens.
    fn keep(&self, from: Option<impl AsyncRead + Unpin + Send + 'static>, ready: mpsc::Sender<()>) {
        let (Some(from), Self(lines)) = (from, self.clone()) else { return };
        tokio::spawn(async move {
            let mut written = BufReader::new(from).lines();
            while let Ok(Some(line)) = written.next_line().await {
                if line.contains("Prism is listening") {
                    // Nobody waits any more for a second time.
                    let _ = ready.try_send(());
                }
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push_back(line);
                if lines.len() > LOG_LINES {
                    lines.pop_front();
                }
            }
        });
    }

    fn end(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }
}
