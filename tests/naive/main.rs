//! What the old system did, on our schema: a file a race, each the counterpart of one in `tests/races`. Every variant
//! stands still between its check and its use until its rival has passed the check too: it loses every time, and the
//! test expects the loss.
//!
//! Where a constraint of ours would prevent it, the test drops that in its own database. Deliberately absent: switches
//! in the product; nothing here calls accept, claim or settle to lose.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod double_booking;
mod free_time;
mod lost_cancel;
mod lost_move;
mod remembered_offer;
mod stale_policy;
mod torn_call;
mod two_customers;
