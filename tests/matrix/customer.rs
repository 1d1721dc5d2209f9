//! The customer of a cell: one person, one service, three times that he may want. What he is told is kept.

use chrono::{DateTime, Utc};
use domain::id::AppointmentId;
use domain::refusal::Refusal;
use harness::World;
use std::time::{Duration, Instant};
use store::{AcceptError, Accepted, BookingCommand, CancelCommand, How, RescheduleCommand, Who};

/// Whoever hears that his time is being released asks again so often.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// An answer to a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    Accepted {
        appointment: AppointmentId,
        how: How,
    },
    Refused(Refusal),
    /// Nothing that a customer should hear.
    Failed(String),
}

impl Reply {
    pub(crate) fn of(answer: Result<Accepted, AcceptError>) -> Self {
        match answer {
            Ok(accepted) => Self::Accepted { appointment: accepted.appointment_id, how: accepted.how },
            Err(AcceptError::Refused(refusal)) => Self::Refused(refusal),
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

pub(crate) struct Customer {
    wish: BookingCommand,
    pub(crate) first: DateTime<Utc>,
    pub(crate) second: DateTime<Utc>,
    pub(crate) third: DateTime<Utc>,
}

impl Customer {
    pub(crate) async fn of(world: &World) -> Self {
        let wish = world.wish(0).await;
        let at = async |n| world.wish(n).await.starts_at;
        Self { first: wish.starts_at, second: at(4).await, third: at(8).await, wish }
    }

    pub(crate) async fn books(&self, world: &World, at: DateTime<Utc>) -> Result<Accepted, String> {
        self.try_book(world, at).await.map_err(|error| error.to_string())
    }

    pub(crate) async fn cancels(&self, world: &World, id: AppointmentId) -> Result<Accepted, String> {
        self.try_cancel(world, id).await.map_err(|error| error.to_string())
    }

    pub(crate) async fn moves(&self, world: &World, id: AppointmentId, to: DateTime<Utc>) -> Result<Accepted, String> {
        self.try_move(world, id, to).await.map_err(|error| error.to_string())
    }

    pub(crate) async fn try_book(&self, world: &World, at: DateTime<Utc>) -> Result<Accepted, AcceptError> {
        world.store.accept_booking(&BookingCommand { starts_at: at, ..self.wish.clone() }).await
    }

    pub(crate) async fn try_cancel(&self, world: &World, id: AppointmentId) -> Result<Accepted, AcceptError> {
        let command = CancelCommand {
            company_id: self.wish.company_id,
            appointment_id: id,
            if_match: None,
            who: Who::Customer,
            why: None,
            call: None,
            key: None,
        };
        world.store.accept_cancel(&command).await
    }

    pub(crate) async fn try_move(
        &self,
        world: &World,
        id: AppointmentId,
        to: DateTime<Utc>,
    ) -> Result<Accepted, AcceptError> {
        let command = RescheduleCommand {
            company_id: self.wish.company_id,
            appointment_id: id,
            starts_at: to,
            if_match: None,
            who: Who::Customer,
            why: None,
            call: None,
            key: None,
        };
        world.store.accept_reschedule(&command).await
    }

    /// Wants that time until he has it, or hears something else than that it is being released.
    pub(crate) async fn insists(&self, world: &World, at: DateTime<Utc>, patience: Duration) -> Vec<Reply> {
        let (begun, mut told) = (Instant::now(), Vec::new());
        loop {
            let reply = Reply::of(self.try_book(world, at).await);
            let waits = matches!(reply, Reply::Refused(Refusal::BeingReleased { .. }));
            // The same again is not told again.
            if waits {
                told.clear();
            }
            told.push(reply);
            if !waits || begun.elapsed() > patience {
                return told;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}
