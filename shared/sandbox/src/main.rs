//! `sandbox`: runs a sandbox Cal.com until it is told to stop. Reads arguments, environment and the files of event
//! types, faults and webhooks; everything else is the library's.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use sandbox::{Config, Faults, Overlap, RateLimit, WebhookPlan};
use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// What stands below the list of options.
const GUIDE: &str = include_str!("help.txt");

/// A Cal.com to run against, for testing a client of Cal.com's API v2 without the real service. It takes bookings by the
/// real rules and answers with the real bodies; told so, it fails as a server fails, limits requests and sends webhooks;
/// and it keeps a ledger of what truly happened, to compare with what your client believes. Bookings live in memory and
/// are gone when it stops.
#[derive(Parser)]
#[command(name = "sandbox", after_help = GUIDE)]
struct Arguments {
    /// Address and port to listen on; port 0 takes a free one. The URL is printed once it is ready.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,

    /// Milliseconds, 0 or more, between the arrival of a create, cancel or reschedule and its effect.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    latency_before_ms: u64,

    /// Milliseconds, 0 or more, between that effect and the reply.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    latency_after_ms: u64,

    /// JSON file with a list of event types that can be booked from the start; without it, none until they are PUT.
    #[arg(long, value_name = "FILE.json")]
    event_types: Option<PathBuf>,

    /// The only API key to accept; without it every key is good.
    #[arg(long, env = "SANDBOX_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<String>,

    /// JSON file with a plan of faults to play from the start: see "Faults" below.
    #[arg(long, value_name = "FILE.json")]
    faults: Option<PathBuf>,

    /// JSON file with a list of subscriptions to webhooks: see "Webhooks" below. Without it, nobody is told.
    #[arg(long, value_name = "FILE.json")]
    webhooks: Option<PathBuf>,

    /// JSON file with a plan that repeats, delays or loses webhooks: see "Webhooks" below.
    #[arg(long, value_name = "FILE.json")]
    webhook_plan: Option<PathBuf>,

    /// Requests, 1 or more, that one API key may make in one window; the next one is answered 429 and begins a block.
    /// Cal.com grants 120. Without it there is no limit.
    #[arg(long, value_name = "N")]
    rate_limit: Option<u32>,

    /// Length of that window in milliseconds, 1 to 600000.
    #[arg(long, default_value_t = RateLimit::default().window_ms, value_name = "MS", requires = "rate_limit")]
    rate_window_ms: u64,

    /// Length of that block in milliseconds, 1 to 600000.
    #[arg(long, default_value_t = RateLimit::default().block_ms, value_name = "MS", requires = "rate_limit")]
    rate_block_ms: u64,

    /// Seed of uids, of faults with a probability and of the webhooks' plan: the same seed, the same course. Without it,
    /// a random one.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Accept a booking with host, start and end of another one (otherwise 409, as with Cal.com's unique key).
    #[arg(long)]
    without_natural_key: bool,

    /// How bookings of one host that overlap are refused (400): `strict`, in the instant of the insert; `toctou(MS)`, so
    /// many milliseconds before it, as the real server does; `off`, not at all.
    #[arg(long, default_value = "strict", value_name = "CHECK")]
    overlap_check: Overlap,

    /// The same as `--overlap-check off`.
    #[arg(long)]
    without_overlap_check: bool,

    /// Milliseconds, 0 or more, by which reads, of one booking and of lists, lag behind the changes.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    replica_lag_ms: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let arguments = Arguments::parse();
    let event_types = match &arguments.event_types {
        Some(path) => read(path, "a list of event types")?,
        None => Vec::new(),
    };
    let faults = match &arguments.faults {
        Some(path) => read(path, "a plan of faults")?,
        None => Faults::default(),
    };
    let webhooks = match &arguments.webhooks {
        Some(path) => read(path, "a list of subscriptions")?,
        None => Vec::new(),
    };
    let webhook_plan = match &arguments.webhook_plan {
        Some(path) => read(path, "a plan of webhooks")?,
        None => WebhookPlan::default(),
    };
    let (window_ms, block_ms) = (arguments.rate_window_ms, arguments.rate_block_ms);
    let config = Config {
        listen: arguments.listen,
        latency_before: Duration::from_millis(arguments.latency_before_ms),
        latency_after: Duration::from_millis(arguments.latency_after_ms),
        event_types,
        faults,
        rate_limit: arguments.rate_limit.map(|requests| RateLimit { requests, window_ms, block_ms }),
        webhooks,
        webhook_plan,
        seed: arguments.seed,
        api_key: arguments.api_key.filter(|key| !key.is_empty()),
        natural_key: !arguments.without_natural_key,
        overlap: if arguments.without_overlap_check { Overlap::Off } else { arguments.overlap_check },
        replica_lag: Duration::from_millis(arguments.replica_lag_ms),
        ..Config::default()
    };
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let sandbox = sandbox::start(config).await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", sandbox.url).and_then(|()| stdout.flush()).context("cannot print the URL")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for an interrupt")?,
        _ = terminate.recv() => {}
    }
    sandbox.stop().await
}

fn read<T: DeserializeOwned>(path: &Path, what: &str) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not {what}", path.display()))
}
