//! The sandbox seen from outside, over HTTP: its bodies, its rules, its ledger. Deliberately absent: tests of private
//! functions; a client knows none of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cancel;
mod client;
mod confirm;
mod control;
mod create;
mod faults;
mod faults_asked_for;
mod ledger;
mod limiter;
mod list;
mod others;
mod overlap;
mod program;
mod receiver;
mod replica;
mod reschedule;
mod slots;
mod webhook_plan;
mod webhooks;
