//! `askpro`: reads the flags and ends with the exit code. Everything else is the library, so that tests can call it.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    cli::run(cli::Flags::parse()).await.into()
}
