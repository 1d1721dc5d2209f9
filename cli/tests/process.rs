//! The program as a script sees it: exit code, stdout, stderr. Needs no database: its address leads nowhere.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::{Command, Output};

fn askpro(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_askpro"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ASKPRO_")) {
        command.env_remove(name);
    }
    command.args(["--set", "database_url=postgres://askpro:geheim@127.0.0.1:1/askpro"]).args(arguments);
    command.output().unwrap()
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_database_that_is_away_is_6_and_names_what_was_tried() {
    let ended = askpro(&["queues", "list"]);
    let stderr = said(&ended.stderr);
    assert_eq!(ended.status.code(), Some(6), "{stderr}");
    assert_eq!(said(&ended.stdout), "");
    assert!(stderr.contains("postgres://askpro:***@127.0.0.1:1/askpro (database_url, from flag"), "{stderr}");
    assert!(stderr.contains("./dev up") && !stderr.contains("geheim"), "{stderr}");
}

#[test]
fn what_cannot_be_meant_is_2() {
    for arguments in [&["jobs"][..], &["settings", "--set", "lease=5"], &["jobs", "get", "12"]] {
        let ended = askpro(arguments);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}");
        assert_eq!(said(&ended.stdout), "", "{arguments:?}");
    }
}

#[test]
fn settings_are_data_on_stdout() {
    let ended = askpro(&["settings", "-o", "json"]);
    assert_eq!((ended.status.code(), said(&ended.stderr).as_str()), (Some(0), ""));
    assert!(said(&ended.stdout).starts_with("{\n  \"apiVersion\": \"askpro/v1\",\n  \"settings\": [\n"));
}

#[test]
fn a_file_that_is_not_there_is_1() {
    let ended = askpro(&["companies", "load", "no-such-file.toml"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(said(&ended.stderr).contains("no-such-file.toml"));
}
