//! The matrix of faults: {create, reschedule, cancel} × what goes wrong at Cal.com × what becomes of the worker × what the
//! customer does meanwhile. Each cell is played with real worker processes against a Cal.com, a database, a queue and a
//! company of its own, and then judged.
//!
//! `./dev faults [--seed S] [--only create/500_after/before_settle/cancel] [--sample PERCENT] [--lanes N] [--list]`. The
//! last line of stdout is one JSON object; the exit code is 0 only if it says `"pass":true`.
//!
//! - `cell`: what a cell is, and which cannot occur.
//! - `script`, `play`, `customer`: how it is played. `lanes`: many at a time.
//! - `found`, `verdict`, `paths`, `report`: what is found, what must hold, what must have been seen, what is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

mod cell;
mod customer;
mod expected;
mod found;
mod hit;
mod lanes;
mod paths;
mod play;
mod report;
mod rest;
mod script;
mod verdict;

use cell::Cell;
use report::{Report, tell_what_cannot_occur};
use std::process::ExitCode;
use std::time::Instant;

/// Cells at a time: each of them mostly waits.
const LANES: usize = 16;

/// What was asked for.
struct Wanted {
    seed: u64,
    only: Option<String>,
    percent: u64,
    lanes: usize,
    list: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(wanted) = wanted(std::env::args().skip(1)) else {
        eprintln!("matrix [--seed S] [--only NAME] [--sample PERCENT] [--lanes N] [--list]");
        return ExitCode::from(2);
    };
    let named: Vec<Cell> =
        Cell::all().into_iter().filter(|cell| wanted.only.as_ref().is_none_or(|words| cell.is_named(words))).collect();
    let whole = wanted.only.is_none() && wanted.percent >= 100;
    if wanted.list || whole {
        tell_what_cannot_occur(&named);
    }
    let can = named.into_iter().filter(|cell| cell.cannot_occur().is_none());
    let drawn = |cell: &Cell| script::draw(wanted.seed, &format!("{cell} sample")) % 100 < wanted.percent;
    let mut cells: Vec<Cell> = can.filter(drawn).collect();
    // So that neighbours, which take equally long, do not all run at once.
    cells.sort_by_key(|cell| script::draw(wanted.seed, &format!("{cell} order")));
    if wanted.list {
        cells.iter().for_each(|cell| println!("{cell}"));
        println!("{} cells", cells.len());
        return ExitCode::SUCCESS;
    }
    println!("{} cells, {} at a time, seed {}", cells.len(), wanted.lanes, wanted.seed);
    let (begun, mut report) = (Instant::now(), Report::new(wanted.seed, whole));
    lanes::play_all(cells, wanted.lanes, wanted.seed, |cell, told| report.add(cell, told)).await;
    println!("{}", report.json(begun.elapsed().as_secs_f64()));
    if report.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `None`: that is no command line.
fn wanted(mut words: impl Iterator<Item = String>) -> Option<Wanted> {
    let mut wanted = Wanted { seed: 1, only: None, percent: 100, lanes: LANES, list: false };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seed" => wanted.seed = words.next()?.parse().ok()?,
            "--only" => wanted.only = Some(words.next()?),
            "--sample" => wanted.percent = words.next()?.parse().ok()?,
            "--lanes" => wanted.lanes = words.next()?.parse().ok().filter(|lanes| *lanes > 0)?,
            "--list" => wanted.list = true,
            _ => return None,
        }
    }
    Some(wanted)
}
