//! The landmines of apalis-redis 1.0.0, one regression test each: what it does was measured, what we do about it is
//! shown here. Each test has a Redis of its own and waits for what must happen, never for a time to pass, except where
//! the absence of something is to be shown.
//!
//! Deliberately absent: what needs Postgres (fences, rescue, deduplication). A `Ledger` in memory stands for it, with
//! the one property that matters here: a job is claimed by compare-and-set.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ledger;
mod limits;
mod outages;
mod poison;
mod rig;
mod server;
mod stop;
