//! Why a name did not go out. To the caller all of these mean the same thing: the row stays due, go on.
//!
//! Deliberately absent: retry hints. Whoever rings again is the relay, once a second, whatever happened.

use std::time::Duration;

/// An error of the doorbell. Nothing is lost by it: the record of what is due is in Postgres.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The settings cannot work; only found when they are first used, never later.
    #[error("queue settings: {0}")]
    Settings(&'static str),
    /// The address of Redis cannot be read. Says nothing about whether Redis is there.
    #[error("the address of Redis cannot be used")]
    Address(#[source] redis::RedisError),
    /// Redis is away, or refused the command.
    #[error("Redis did not do it")]
    Redis(#[source] redis::RedisError),
    /// apalis could not push. Some of the names may be out.
    #[error("the push did not go through")]
    Push(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time. Some of the names may be out.
    #[error("no answer from Redis within {0:?}")]
    Timeout(Duration),
}
