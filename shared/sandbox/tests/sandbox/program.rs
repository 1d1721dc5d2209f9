//! The binary: it says where it listens, takes its arguments, and ends when asked.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::client::{body, event_type};
use crate::receiver::{Receiver, SECRET};

#[tokio::test]
async fn it_prints_its_url_and_serves() {
    let path = std::env::temp_dir().join(format!("sandbox-event-types-{}.json", std::process::id()));
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(json!([event_type(101, 1, 30)]).to_string().as_bytes()).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(["--listen", "127.0.0.1:0", "--latency-before-ms", "20", "--latency-after-ms", "10", "--event-types"])
        .arg(&path)
        .env("SANDBOX_API_KEY", "cal_secret")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let url = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await.unwrap().unwrap().unwrap();
    let start = if url.ends_with("/v2") { "2150-09-05T09:00:00Z" } else { panic!("{url}") };
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = |key: &str| {
        http.post(format!("{url}/bookings"))
            .header("cal-api-version", "2024-08-13")
            .bearer_auth(key)
            .json(&body(101, start))
            .timeout(Duration::from_secs(10))
            .send()
    };
    assert_eq!(post("cal_other").await.unwrap().status(), 401);
    assert_eq!(post("cal_secret").await.unwrap().status(), 201);
    program.kill().await.unwrap();
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn it_plays_the_faults_of_its_file_and_refuses_a_wrong_one() {
    let path = std::env::temp_dir().join(format!("sandbox-faults-{}.json", std::process::id()));
    let program = |plan: &str| {
        std::fs::write(&path, plan).unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_sandbox"));
        program.args(["--seed", "7", "--faults"]).arg(&path).stdout(Stdio::piped()).stderr(Stdio::piped());
        program.kill_on_drop(true);
        program
    };
    let mut good = program(r#"{"rules": [{"on": "list", "fault": "429"}]}"#).spawn().unwrap();
    let mut lines = BufReader::new(good.stdout.take().unwrap()).lines();
    let url = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await.unwrap().unwrap().unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(http.get(format!("{url}/bookings")).send().await.unwrap().status(), 429);
    good.kill().await.unwrap();
    for (plan, said) in [
        (r#"{"rules": [{"on": "list", "fault": "flood"}]}"#, "is not a plan of faults"),
        (r#"{"rules": [{"on": "list", "nth": 0, "fault": "429"}]}"#, "rule 1: nth counts from 1"),
    ] {
        let wrong = program(plan).output().await.unwrap();
        let text = String::from_utf8(wrong.stderr).unwrap();
        assert!(!wrong.status.success() && text.contains(said), "{text}");
    }
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn it_limits_and_tells_as_its_arguments_say() {
    let receiver = Receiver::start().await;
    let file = |name: &str, text: String| {
        let path = std::env::temp_dir().join(format!("sandbox-{name}-{}.json", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    };
    let event_types = file("told-event-types", json!([event_type(101, 1, 30)]).to_string());
    let webhooks = file("webhooks", json!([receiver.subscription()]).to_string());
    let plan = file("webhook-plan", json!({ "duplicates": 1 }).to_string());
    let mut program = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(["--rate-limit", "1", "--rate-block-ms", "7000", "--event-types"])
        .arg(&event_types)
        .arg("--webhooks")
        .arg(&webhooks)
        .arg("--webhook-plan")
        .arg(&plan)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let url = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await.unwrap().unwrap().unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = || {
        let request = http.post(format!("{url}/bookings")).header("cal-api-version", "2024-08-13");
        request.json(&body(101, "2150-09-05T09:00:00Z")).send()
    };
    let first = post().await.unwrap();
    assert_eq!((first.status().as_u16(), &first.headers()["x-ratelimit-reset-default"]), (201, &"60".parse().unwrap()));
    assert_eq!(receiver.got().len(), 2);
    assert!(receiver.got().iter().all(|got| got.is_signed_with(SECRET)));
    let second = post().await.unwrap();
    assert_eq!(
        (second.status().as_u16(), &second.headers()["x-ratelimit-reset-default"]),
        (429, &"7".parse().unwrap())
    );
    program.kill().await.unwrap();
    for path in [event_types, webhooks, plan] {
        std::fs::remove_file(path).unwrap();
    }
    let alone = Command::new(env!("CARGO_BIN_EXE_sandbox")).args(["--rate-window-ms", "5"]).output().await.unwrap();
    assert!(!alone.status.success(), "a window without a limit");
}

/// Every option and every route of the control surface, by name.
#[tokio::test]
async fn help_is_enough() {
    let help = Command::new(env!("CARGO_BIN_EXE_sandbox")).arg("--help").output().await.unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    for word in [
        "A booking, from nothing:",
        "--listen",
        "--latency-before-ms",
        "--event-types",
        "--api-key",
        "$S/_sandbox/ledger",
        "--faults",
        "--seed",
        "fault:500_after",
        "--rate-limit",
        "--rate-window-ms",
        "--rate-block-ms",
        "--webhooks",
        "--webhook-plan",
        "$S/_sandbox/bookings",
        "$S/_sandbox/event-types",
        "$S/_sandbox/latency",
        "$S/_sandbox/faults",
        "$S/_sandbox/checks",
        "$S/_sandbox/rate-limit",
        "$S/_sandbox/webhooks",
        "$S/_sandbox/webhooks/plan",
        "$S/_sandbox/webhooks/attempts",
        "$S/_sandbox/webhooks/at-rest",
        "/cancel",
        "/reschedule",
        "/confirm",
        "/decline",
        "/host",
        "-X DELETE",
    ] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
}
