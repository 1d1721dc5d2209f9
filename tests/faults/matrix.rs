//! A seeded part of the matrix of faults, for every day; `./dev faults` plays all of it. `FAULTS_PERCENT` says how much,
//! `FAULTS_SEED` which. It needs workers with the feature `crashpoints`; `./dev test` builds them.

use std::process::{Command, Stdio};

#[test]
fn a_tenth_of_the_matrix_holds() {
    let variable = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let (percent, seed) = (variable("FAULTS_PERCENT", "10"), variable("FAULTS_SEED", "1"));
    let mut matrix = Command::new(env!("CARGO_BIN_EXE_matrix"));
    matrix.args(["--sample", &percent, "--seed", &seed]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = matrix.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    println!("{said}");
    let figures: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert!(output.status.success(), "{figures}");
    assert_eq!((figures["pass"].as_bool(), figures["violations"].as_u64()), (Some(true), Some(0)), "{figures}");
    assert!(figures["cells"].as_u64() > Some(0), "nothing was played: {figures}");
}
