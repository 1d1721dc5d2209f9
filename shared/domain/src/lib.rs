//! The rules of the product, pure: no clock, no randomness, no I/O, no serialisation.
//!
//! Time and chance are arguments; whoever calls us has locked what it read. Deliberately absent: SQL, JSON, HTTP
//! status codes, and everything that could make two runs with the same arguments differ.

pub mod alternatives;
pub mod answer;
pub mod appointment;
pub mod budget;
pub mod call;
pub mod effect;
pub mod hours;
pub mod id;
pub mod job;
pub mod money;
pub mod observe;
pub mod outcome;
pub mod phone;
pub mod policy;
pub mod refusal;
pub mod resolve;
pub mod retry;
pub mod slot;
