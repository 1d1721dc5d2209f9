//! `askpro-api`: listens, serves, and stops on SIGTERM or Ctrl-C.
//!
//! Deliberately absent: everything that answers a request; that is the library, so that tests can run it.

use anyhow::Context;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (settings, stop) = process::start("askpro-api", "The HTTP API of the AskPro Gateway")?;
    let listener = TcpListener::bind(settings.listen).await.with_context(|| format!("listen = {}", settings.listen))?;
    api::serve(settings, listener, stop).await
}
