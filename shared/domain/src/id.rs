//! Names of things. Each noun has its own type, so that a slot can never be passed for an appointment.
//!
//! Absent: making them. A v7 uuid needs a clock; whoever accepts a command makes the ids it will write, so that a lost
//! COMMIT reply can be asked about.

use std::fmt;
use uuid::Uuid;

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub Uuid);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

uuid_id! {
    /// What a customer has been promised.
    AppointmentId,
    /// What occupies a staff member for a time.
    SlotId,
    /// One row of the job ledger.
    JobId,
    /// One intended effect at Cal.com.
    OpId,
    /// Our name for the chain of Cal.com bookings that one segment makes; the marker carries it.
    Lineage,
    /// A person who calls.
    CustomerId,
}
