//! `askpro-worker`: works, and drains on SIGTERM or Ctrl-C. Exit status 0: everything was finished; 1: jobs were cut
//! short (their leases run out, and others go on with them), or it could not start.
//!
//! Deliberately absent: everything else; that is the library, so that tests can run it.

use std::process::ExitCode;

const ABOUT: &str = "A worker of the AskPro Gateway: brings booked appointments to Cal.com. Run as many as you like";

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let (settings, stop) = process::start("askpro-worker", ABOUT)?;
    let drained = workers::run(settings, stop).await?;
    Ok(if drained.cut == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
