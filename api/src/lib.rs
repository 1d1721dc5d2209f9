//! The HTTP API: accepts commands, says what became of them, and answers the voice agent's functions.
//!
//! It decides nothing by itself: whether a time is free is answered by the transaction that takes it (`store`). Of Cal.com it
//! asks nothing but what is free; workers do the rest. Deliberately absent: sessions, cookies, CORS, any state that a second process
//! would not have.

mod alternatives;
mod app;
mod appointments;
mod arguments;
mod availability;
mod bell;
mod body;
mod calcom;
mod callbacks;
mod calls;
mod candidates;
mod customers;
mod fee;
mod fields;
mod functions;
mod health;
mod holds;
mod inbound;
mod jobs;
mod key;
mod last_said;
mod legacy;
mod observe;
mod person;
mod prefer;
mod problem;
mod queues;
mod reply;
mod reschedule;
mod retell;
mod router;
mod signature;
mod spelling;
mod spoken;
mod sync;
mod waiting;
mod when;

use std::future::IntoFuture;
use std::time::Duration;

use anyhow::Context;
use axum::serve::ListenerExt;
use chrono::{DateTime, Utc};
use settings::Settings;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use app::{App, Clock};
pub use router::{document, routes};

/// Names that are still to be rung for are pushed for at most this long after the last request; then the relay does it.
const BELL_DRAIN: Duration = Duration::from_secs(4);

/// Serves the API on `listener` until `stop`, then finishes the requests that run, at most for `drain_ms`.
///
/// # Errors
/// The settings lack the sealing keys or cannot work, or the listener fails. A database that is away is no error: the
/// process answers 503 until it is back.
pub async fn serve(settings: Settings, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
    serve_at(settings, listener, wall_clock, stop).await
}

/// [`serve`] with the clock as an argument: it dates signatures and says what "heute" is.
///
/// # Errors
/// As [`serve`].
pub async fn serve_at(
    settings: Settings,
    listener: TcpListener,
    clock: Clock,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let drain = Duration::from_millis(settings.drain_ms);
    let (app, bell) = App::start(&settings, clock, stop.clone())?;
    let address = listener.local_addr().context("the listener has no address")?;
    let listener = listener.tap_io(|tcp| {
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was not set");
        }
    });
    let server = axum::serve(listener, routes(app)).with_graceful_shutdown(stop.clone().cancelled_owned());
    tracing::info!(%address, "listening");
    tokio::select! {
        ended = server.into_future() => ended.context("the listener failed")?,
        () = async { stop.cancelled().await; tokio::time::sleep(drain).await } => {
            tracing::warn!(drain_ms = settings.drain_ms, "requests were cut off: they took longer than the drain time");
        }
    }
    if tokio::time::timeout(BELL_DRAIN, bell).await.is_err() {
        tracing::info!("some names were not rung for; the relay of a worker will do it");
    }
    Ok(())
}

/// The clock of this machine. Only for the age of a signature and for what "heute" means; whether a time lies in the
/// past is decided by the database's clock.
#[allow(clippy::disallowed_methods, reason = "the one place of the API where the wall clock is read")]
fn wall_clock() -> DateTime<Utc> {
    Utc::now()
}
