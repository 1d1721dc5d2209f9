//! Tells cargo that a new file in `migrations/` is a reason to compile again; `sqlx::migrate!` alone cannot.
#![allow(clippy::print_stdout, reason = "this is how a build script talks to cargo")]

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
