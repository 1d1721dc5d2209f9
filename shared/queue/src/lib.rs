//! The doorbell: tells a worker at once that a job is due. The record of what is due is kept elsewhere, in Postgres.
//!
//! The only crate that knows apalis. What travels is the name of a job (`Task`) and nothing else; it may be lost,
//! doubled or late, and nothing but a second or so of latency depends on it.
//!
//! - `send`: [`Doorbell`] pushes names to Redis, never more than a bounded number of them at a time.
//! - `work`: [`answer_the_bell`] is the supervised apalis worker that picks them up.
//! - `sweep`: [`claim_directly`] asks the record itself once a second, and needs no Redis.
//! - `janitor`: [`keep_clean`] removes what apalis-redis leaves behind for ever.
//!
//! Both workers share one [`Crew`]: the slots, the running work, and the signal to stop.
//!
//! Deliberately absent: retries, back-off, results, priorities, deduplication, schedules. All of these are columns of
//! a row in Postgres; towards apalis a job always ends well.

mod bell;
mod connection;
mod crew;
mod error;
mod janitor;
mod send;
mod settings;
mod sweep;
mod task;
mod work;

pub use crew::Crew;
pub use error::QueueError;
pub use janitor::keep_clean;
pub use send::{Doorbell, Rung};
pub use settings::QueueSettings;
pub use sweep::claim_directly;
pub use task::{Task, TaskError};
pub use work::answer_the_bell;
