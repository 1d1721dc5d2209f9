//! What API and workers do in the same way: flags and settings, the log, the stop on SIGTERM or Ctrl-C, and the answers
//! to whoever watches a process from outside.
//!
//! Deliberately absent: what a process is for, its listener and its routes; and the CLI, whose flags, log and exit codes
//! are an operator's.

mod watched;

use std::path::PathBuf;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser};
use settings::{Settings, parse_flag};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub use watched::{Metrics, is_ready};

#[derive(Parser)]
#[command(version)]
struct Flags {
    /// A settings file (TOML); without it the one that ASKPRO_SETTINGS_FILE names.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, above file and environment; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Begins a program, inside a tokio runtime: reads flags and settings, sends the log to stderr, line by line as JSON, and
/// watches for SIGTERM and Ctrl-C, at which the token is cancelled. `--help`, `--version` and a flag that nobody knows end
/// the process.
///
/// # Errors
/// The settings are refused, or a signal cannot be watched.
pub fn start(program: &'static str, about: &'static str) -> anyhow::Result<(Settings, CancellationToken)> {
    let matches = Flags::command().name(program).about(about).get_matches();
    let flags = Flags::from_arg_matches(&matches)?;
    let overrides = flags.set.iter().map(|written| parse_flag(written)).collect::<Result<Vec<_>, _>>()?;
    let (settings, _shown) = Settings::load(flags.config.as_deref(), &overrides)?;
    let filter = tracing_subscriber::EnvFilter::try_new(&settings.log).context("the setting `log` cannot be read")?;
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok((settings, stop_on_signal()?))
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
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
    Ok(stop)
}
