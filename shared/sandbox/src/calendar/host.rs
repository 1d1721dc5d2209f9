//! What a host does with a booking beside moving and cancelling it: confirm, decline, hand over, delete. Deliberately
//! absent: who may ask for it (scene.rs).

use chrono::{DateTime, Utc};

use super::{Calendar, Done, title};
use crate::answer::Refusal;
use crate::booking::{Booking, Status};
use crate::ledger::Effect;

impl Calendar {
    /// `POST /v2/bookings/{uid}/confirm`: the booking keeps its uid and excludes others from now on. As at the real
    /// server nobody looks whether the host is still free: of two pending bookings of one time both can be confirmed.
    pub(crate) fn confirm(&mut self, uid: &str, now: DateTime<Utc>) -> Result<Done, Refusal> {
        let pending = self.pending(uid)?.clone();
        self.insert(Booking { status: Status::Accepted, updated_at: now, ..pending });
        Ok(done(uid, Effect::Confirmed))
    }

    /// `POST /v2/bookings/{uid}/decline`.
    pub(crate) fn decline(&mut self, uid: &str, reason: Option<String>, now: DateTime<Utc>) -> Result<Done, Refusal> {
        let pending = self.pending(uid)?.clone();
        let rejection_reason = reason.unwrap_or_default();
        self.insert(Booking { status: Status::Rejected, rejection_reason, updated_at: now, ..pending });
        Ok(done(uid, Effect::Declined))
    }

    /// Hands a live booking over to the host of this number, who must be free; its uid stays.
    pub(crate) fn reassign(&mut self, uid: &str, host_id: i64, now: DateTime<Utc>) -> Result<Done, Refusal> {
        let booking = self.named(uid)?.clone();
        if !booking.status.is_live() {
            return Err(Refusal::bad_request("Only a booking that is accepted or pending can be reassigned"));
        }
        let Some(host) = self.event_types.values().map(|it| &it.host).find(|host| host.id == host_id).cloned() else {
            return Err(Refusal::bad_request(format!("No event type has a host with id {host_id}")));
        };
        self.free(host.id, booking.start, booking.end, booking.status, Some(booking.id))?;
        self.exclude_nobody(booking.id);
        let event_type = self.event_types.get(&booking.event_type_id);
        let name = event_type.and_then(|it| it.title.as_deref()).unwrap_or(&booking.event_type_slug);
        let title = title(name, &host, &booking.attendee);
        self.insert(Booking { host, title, updated_at: now, ..booking });
        Ok(done(uid, Effect::Reassigned))
    }

    /// Removes a booking of any status, with all its traces but those in the ledger.
    pub(crate) fn delete(&mut self, uid: &str) -> Result<Done, Refusal> {
        let (id, start) = self.named(uid).map(|booking| (booking.id, booking.start))?;
        self.exclude_nobody(id);
        self.by_start.remove(&(start, id));
        self.by_uid.remove(uid);
        self.bookings.remove(&id);
        Ok(done(uid, Effect::Deleted))
    }

    fn named(&self, uid: &str) -> Result<&Booking, Refusal> {
        self.find(uid).ok_or_else(|| Refusal::not_found(format!("Booking with uid={uid} not found")))
    }

    /// The real server refuses accepted ones only, and so would revive a cancelled booking; nobody is served by that.
    fn pending(&self, uid: &str) -> Result<&Booking, Refusal> {
        let booking = self.named(uid)?;
        match booking.status {
            Status::Pending => Ok(booking),
            Status::Accepted => Err(Refusal::of_trpc("Booking already confirmed")),
            Status::Cancelled | Status::Rejected => {
                Err(Refusal::of_trpc(format!("Booking is {} and cannot be confirmed", booking.status.as_str())))
            }
        }
    }
}

fn done(uid: &str, effect: Effect) -> Done {
    Done { uid: uid.to_owned(), effect: Some(effect), previous_uid: None }
}
