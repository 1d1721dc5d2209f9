//! The only client of Cal.com: one request, one answer.
//!
//! A request is sent at most once, with a deadline, to the configured host only, and only if the `gate` lets it pass;
//! what came back becomes a
//! [`domain::answer::Answer`] by one table (`failure`). Deliberately absent: retries, redirects, proxies, decisions, and
//! any knowledge of the store and of the queue. No uid, name, phone number, e-mail address or key appears in a log line
//! or in an error text.

mod address;
mod bookings;
mod client;
mod failure;
mod gate;
mod marker;
mod slots;
mod wire;

pub use bookings::{Attendee, Create, ListQuery};
pub use client::{Client, ClientError, ClientSettings};
pub use gate::{Closed, Gate, Soon};
pub use marker::{Marker, MarkerKeys, MarkerKeysError};
