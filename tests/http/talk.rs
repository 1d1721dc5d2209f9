//! The first conversations, for every day; `./dev talk` plays all of them. `TALK_ONLY` says which.

use std::process::{Command, Stdio};

#[test]
fn the_first_conversations_go_as_they_are_written() {
    let only = std::env::var("TALK_ONLY").unwrap_or_else(|_| "0".to_owned());
    let mut talk = Command::new(env!("CARGO_BIN_EXE_talk"));
    let output = talk.args(["--only", &only]).stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    println!("{said}");
    let figures: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert!(output.status.success(), "{figures}");
    assert_eq!((figures["pass"].as_bool(), figures["failed"].as_u64()), (Some(true), Some(0)), "{figures}");
    assert!(figures["conversations"].as_u64() > Some(0), "nothing was played: {figures}");
}
