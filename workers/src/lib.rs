//! The workers: they bring to Cal.com what the record has promised, and put into the record what Cal.com said.
//!
//! - `perform`: what happens to every job: claim → act → settle.
//! - `event`: what happens to a hint from Cal.com: claim → read → settle.
//! - `act`, `look`: the one request of a job, and the one look when its outcome is not known. No transaction.
//! - `budget`: tells how the keys of Cal.com stand. What lets a request out is the crate `gate`.
//! - `lease`: keeps a claimed job ours beside that.
//! - `relay`, `rescue`, `holds`, `said`, `sweep`, `gauges`: the loops that run beside the jobs (`rounds`). Doubled they do no harm.
//! - `world`, `bell`, `fleet`, `health`: what all of them share, how it starts, and how it stops.
//!
//! Deliberately absent: SQL (`store`), apalis (`queue`), HTTP to Cal.com (`calcom`), and every decision (`domain`).

mod act;
mod bell;
mod budget;
mod event;
mod fleet;
mod gauges;
mod health;
mod held;
mod holds;
mod lease;
mod look;
mod perform;
mod relay;
mod rescue;
mod rounds;
mod said;
mod sweep;
mod world;

pub use fleet::{Drained, run};
pub use held::{Held, HeldEvent};
pub use perform::{Work, perform};
pub use world::{World, marker_keys};
