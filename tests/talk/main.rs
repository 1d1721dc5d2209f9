//! Conversations: what callers say, function by function, and what they must hear; each a plain file under
//! `conversations/`, played over HTTP with signed bodies against real processes and the company of `demo/salon.toml`.
//!
//! `./dev talk [--only WORD] [--show WORD]`. Each is played three times: plainly; with every request sent twice at once;
//! with every request sent again after its answer. The last line of stdout is one JSON object; the exit code is 0 only if
//! it says `"pass":true`.
//!
//! - `script`: a file as steps. `day`: days that a file can name. `play`: the steps, played and judged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

mod day;
mod play;
mod salon;
mod script;

use futures::{FutureExt, StreamExt};
use play::{Played, Twist, play};
use script::Conversation;
use serde_json::json;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// Conversations at a time: each of them mostly waits.
const LANES: usize = 4;

#[tokio::main]
async fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (mut only, mut show) = (None, None);
    while let Some(word) = words.next() {
        match (word.as_str(), words.next()) {
            ("--only", Some(part)) => only = Some(part),
            ("--show", Some(part)) => show = Some(part),
            _ => {
                eprintln!("talk [--only WORD] [--show WORD]");
                return ExitCode::from(2);
            }
        }
    }
    let began = Instant::now();
    let conversations = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("talk/conversations"));
    let wanted: Vec<&Conversation> =
        conversations.iter().filter(|c| only.as_ref().is_none_or(|word| c.name.contains(word.as_str()))).collect();
    let show = show.or_else(|| wanted.first().map(|c| c.name.clone())).unwrap_or_default();
    let rounds = wanted.iter().flat_map(|c| Twist::ALL.map(|twist| (*c, twist)));
    let mut failed = 0;
    let mut told = futures::stream::iter(rounds)
        .map(async |(conversation, twist)| {
            let played = AssertUnwindSafe(play(conversation, twist)).catch_unwind().await;
            let broke = |_| Played { dialogue: String::new(), wrong: vec!["it broke; see above".to_owned()] };
            (conversation, twist, played.unwrap_or_else(broke))
        })
        .buffer_unordered(LANES);
    while let Some((conversation, twist, played)) = told.next().await {
        if twist == Twist::Plain && conversation.name.contains(&show) {
            println!("\n{}\n", played.dialogue);
        }
        failed += usize::from(!played.wrong.is_empty());
        let verdict = if played.wrong.is_empty() { "ok  " } else { "FAIL" };
        println!("{verdict} {} ({twist:?}): {}", conversation.name, conversation.title);
        played.wrong.iter().for_each(|line| println!("       {line}"));
    }
    let pass = failed == 0 && !wanted.is_empty();
    println!(
        "{}",
        json!({"conversations": wanted.len(), "played": wanted.len() * Twist::ALL.len(), "failed": failed,
               "seconds": began.elapsed().as_secs(), "pass": pass})
    );
    if pass { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(folder: &Path) -> Vec<Conversation> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| Conversation::read(file)).collect()
}
