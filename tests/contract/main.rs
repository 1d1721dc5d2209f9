//! `contract SPEC.json PRISM`: what our client asks of Cal.com and what the sandbox answers, against Cal.com's published
//! OpenAPI. Between the two stands Prism, which knows neither of them; a table for people first, then one line of JSON.
//!
//! SPEC.json is the caller's, PRISM the program (`@stoplight/prism-cli`); `./dev contract` brings it. Ends with 0 if nothing
//! was against the document, 1 if something was, 2 if nothing could be checked. A check that cannot fail is a failure: some
//! requests and answers are made wrong on purpose, and each of them has to be found. Deliberately absent: the document,
//! and Cal.com itself.

#![allow(clippy::print_stdout)]

mod caller;
mod calls;
mod document;
mod prism;
mod proofs;
mod relay;
mod tally;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::Context;
use caller::Caller;
use chrono::{DateTime, TimeDelta};
use prism::Prism;
use relay::{Behind, Front};
use sandbox::{Clock, Config};
use tally::Tally;
use tokio::signal::unix::{SignalKind, signal};

/// The only key that this sandbox takes.
const KEY: &str = "cal_contract";
/// The sandbox's time before anything happens: 2050-09-01 08:00 UTC, a Thursday.
const BEGINNING: i64 = 2_545_632_000;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [spec, prism] = arguments.as_slice() else {
        eprintln!("contract SPEC.json PRISM");
        return ExitCode::from(2);
    };
    match check(spec, prism).await {
        Ok(tally) => {
            print!("{tally}");
            println!("{}", tally.json());
            if tally.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("contract: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Everything between the start and the end of the servers. An error: nothing could be checked.
async fn check(spec: &std::path::Path, prism: &std::path::Path) -> anyhow::Result<Tally> {
    document::read(spec)?;
    let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let later = Arc::new(AtomicI64::new(0));
    let config = Config {
        api_key: Some(KEY.to_owned()),
        clock: clock(Arc::clone(&later))?,
        event_types: calls::event_types(),
        seed: Some(1),
        ..Config::default()
    };
    let sandbox = sandbox::start(config).await.context("the sandbox does not start")?;
    let behind = Behind::start(&sandbox.root).await?;
    let prism = Prism::start(prism, spec, &behind.url).await?;
    let front = Front::start(&prism.url, &behind).await?;
    let checked = async {
        let mut tally = Tally::default();
        proofs::make(&front, &behind, &sandbox, &mut tally).await?;
        Caller::new(&front, &sandbox, &later, &mut tally)?.call_everything().await;
        Ok(tally)
    };
    let tally = tokio::select! {
        checked = checked => checked,
        _ = interrupted.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminated.recv() => Err(anyhow::anyhow!("terminated")),
    };
    prism.end().await;
    sandbox.stop().await?;
    tally
}

/// The sandbox's clock stands still until it is put forward by so many minutes: what is booked can so be over.
fn clock(later: Arc<AtomicI64>) -> anyhow::Result<Clock> {
    let beginning = DateTime::from_timestamp(BEGINNING, 0).context("a moment that chrono knows")?;
    Ok(Clock::new(move || beginning + TimeDelta::minutes(later.load(Ordering::SeqCst))))
}
