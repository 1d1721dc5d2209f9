//! Our own programs as processes that can be killed, stopped and continued; each dies with its guard.
//! Deliberately absent: their logs, except the line in which the API says where it listens.

use crate::{BRANCH_PHONE, wait_for};
use hmac::{Hmac, Mac};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sha2::Sha256;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nobody answers later than this unless something is wrong.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// What signs the calls of the world's voice agent.
pub(crate) const RETELL_KEY: &str = "key_of_retell";

pub struct Process(Child);

impl Process {
    /// Starts `program` of this build with these variables and no others of ours; its stderr goes to `log`.
    pub(crate) fn start(program: &str, environment: &[(&str, String)], log: Stdio) -> Self {
        let mut command = command(program, environment);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self(command.spawn().expect("our programs are built beside the tests: `./dev test` does it"))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) {
        let _gone_already = self.0.kill();
        self.0.wait().unwrap();
    }

    /// SIGKILL; somebody else waits for its end.
    pub fn shoot(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// SIGTERM: it drains.
    pub fn stop(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// SIGSTOP: it lives and does nothing.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }

    /// Is it gone?
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Waits for its end; `None` = it was killed by a signal.
    pub async fn ended(&mut self) -> Option<i32> {
        let child = &mut self.0;
        wait_for("the end of a process", async || child.try_wait().unwrap()).await.code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `program` of this build with these variables and no others of ours.
fn command(program: &str, environment: &[(&str, String)]) -> Command {
    // A test lies one folder below our programs, a bench beside them.
    let here = std::env::current_exe().unwrap();
    let path = here.ancestors().skip(1).take(2).map(|folder| folder.join(program)).find(|path| path.exists());
    let mut command = Command::new(path.expect("our programs are built beside the tests: `./dev test` does it"));
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

/// What `program` says on stdout, if it ends well.
pub(crate) fn says(program: &str, environment: &[(&str, String)], arguments: &[&str]) -> String {
    let output = command(program, environment).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// How `program` ends badly: its exit code, and what it says on stderr.
pub(crate) fn fails(program: &str, environment: &[(&str, String)], arguments: &[&str]) -> (i32, String) {
    let output = command(program, environment).args(arguments).output().unwrap();
    assert!(output.stdout.is_empty() && !output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// How `program` ends, and what it says on stdout.
pub(crate) fn ends(program: &str, environment: &[(&str, String)], arguments: &[&str]) -> (i32, String) {
    let output = command(program, environment).args(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// The API as a process, and whoever speaks to it: programs with a key, and the voice agent with its signature.
pub struct Api {
    pub process: Process,
    pub url: String,
    key: String,
    http: reqwest::Client,
}

/// What came back over HTTP.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Api {
    pub(crate) fn start(environment: &[(&str, String)], key: String) -> Self {
        let mut process = Process::start("askpro-api", environment, Stdio::piped());
        let mut log = BufReader::new(process.0.stderr.take().unwrap()).lines();
        let listens = |line: String| {
            let line: Value = serde_json::from_str(&line).ok()?;
            line["fields"]["address"].as_str().map(|address| format!("http://{address}"))
        };
        let url = log.by_ref().map_while(Result::ok).find_map(listens).expect("the API says where it listens");
        // Nobody reads on; but a full pipe would stop it.
        std::thread::spawn(move || log.for_each(drop));
        let http = reqwest::Client::builder().timeout(ANSWER_TIMEOUT).build().unwrap();
        Self { process, url, key, http }
    }

    /// # Errors
    /// No answer came: the API is away, or has died over this request.
    pub async fn try_post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> reqwest::Result<Answer> {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.key);
        answer(headers.iter().fold(request, |r, (name, value)| r.header(*name, *value)).json(body)).await
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.try_post(path, headers, body).await.unwrap()
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        answer(self.http.put(format!("{}{path}", self.url)).bearer_auth(&self.key).json(body)).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.key)).await.unwrap()
    }

    /// One function of a call, signed as Retell does it.
    pub async fn call(&self, function: &str, call_id: &str, from: &str, args: Value) -> Answer {
        let call = json!({"call_id": call_id, "from_number": from, "to_number": BRANCH_PHONE});
        let body = json!({"name": function, "call": call, "args": args}).to_string();
        let signature = retell_signature(&body, 0);
        let request = self.http.post(format!("{}/retell/salon/functions/{function}", self.url));
        answer(request.header("x-retell-signature", signature).body(body)).await.unwrap()
    }
}

impl Api {
    /// A webhook of Retell's about a call, signed as Retell does it.
    ///
    /// # Errors
    /// No answer came: the API is away, or has died over this request.
    pub async fn tell(&self, event: &str, call: &Value) -> reqwest::Result<Answer> {
        let body = json!({"event": event, "call": call}).to_string();
        let signature = retell_signature(&body, 0);
        let request = self.http.post(format!("{}/retell/salon/webhook", self.url));
        answer(request.header("x-retell-signature", signature).body(body)).await
    }

    /// As [`Api::call`], where the API may die over it.
    ///
    /// # Errors
    /// No answer came.
    pub async fn try_call(&self, function: &str, call: &Value, args: &Value) -> reqwest::Result<Answer> {
        let body = json!({"name": function, "call": call, "args": args}).to_string();
        let signature = retell_signature(&body, 0);
        let request = self.http.post(format!("{}/retell/salon/functions/{function}", self.url));
        answer(request.header("x-retell-signature", signature).body(body)).await
    }
}

/// The signature of a raw body as Retell makes it, by a clock that is so many milliseconds fast (or slow).
pub fn retell_signature(body: &str, clock_error_ms: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let stamp = (i64::try_from(now).unwrap() + clock_error_ms).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(RETELL_KEY.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    mac.update(stamp.as_bytes());
    format!("v={stamp},d={}", hex::encode(mac.finalize().into_bytes()))
}

async fn answer(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await?;
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into());
    Ok(Answer { status, headers, body })
}
