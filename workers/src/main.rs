//! `askpro-worker`: reads the settings, works, and drains on SIGTERM or Ctrl-C. Exit status 0: everything was finished;
//! 1: jobs were cut short (their leases run out, and others go on with them), or it could not start.
//!
//! Deliberately absent: everything else; that is the library, so that tests can run it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use settings::{Settings, parse_flag};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A worker of the AskPro Gateway: brings booked appointments to Cal.com. Run as many as you like.
#[derive(Parser)]
#[command(name = "askpro-worker", version, about)]
struct Flags {
    /// A settings file (TOML); without it the one that ASKPRO_SETTINGS_FILE names.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, above file and environment; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let flags = Flags::parse();
    let overrides = flags.set.iter().map(|written| parse_flag(written)).collect::<Result<Vec<_>, _>>()?;
    let (settings, _shown) = Settings::load(flags.config.as_deref(), &overrides)?;
    let filter = tracing_subscriber::EnvFilter::try_new(&settings.log).context("the setting `log` cannot be read")?;
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();

    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be watched")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be watched")?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stopping.cancel();
    });
    let drained = workers::run(settings, stop).await?;
    Ok(if drained.cut == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
