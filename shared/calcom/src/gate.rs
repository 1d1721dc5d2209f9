//! Who lets a request out: asked right before each one is written, told right after what came of it.
//!
//! Deliberately absent: who that is. It is not optional, so no request can go round it.

use std::pin::Pin;
use std::time::{Duration, Instant};

use domain::budget::{Heard, Pass, Purpose};
use secrecy::SecretString;

/// An answer that takes a moment.
pub type Soon<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Nothing may be sent with this key now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed {
    /// It is of no use to ask again before, if that is known.
    pub wait: Option<Duration>,
}

/// Lets requests out. May be dropped in the middle of an answer; a pass that nobody uses runs out by itself.
pub trait Gate: Send + Sync {
    /// May one request of this purpose be sent with this key? A pass is good for [`domain::budget::GRANT`], from a moment
    /// before it was granted.
    fn ask<'a>(&'a self, key: &'a SecretString, purpose: Purpose) -> Soon<'a, Result<(Pass, Instant), Closed>>;

    /// This came of the request with this pass. Says for how long it is of no use to try the same again, if that is known.
    fn tell<'a>(&'a self, key: &'a SecretString, pass: Pass, heard: Heard) -> Soon<'a, Option<Duration>>;
}
