//! What the record guarantees, tried against a real Postgres: `TEST_DATABASE_URL` names a server on which each test
//! makes a database of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::wildcard_enum_match_arm)]

mod alternatives;
mod batch;
mod booking;
mod calcom_key;
mod call;
mod callback;
mod cancel;
mod catalog;
mod constraints;
mod customer;
mod hold;
mod inspect;
mod op_list;
mod policy;
mod protocol;
mod reschedule;
mod review;
mod sync;
mod vault;
mod world;
