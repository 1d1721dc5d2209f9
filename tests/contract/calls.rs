//! Everything that we ask of Cal.com, with every answer that we know how to get from the sandbox. Each part has days of its
//! own, so that none stands in another's way.

use std::collections::BTreeSet;
use std::time::Duration;

use calcom::{Attendee, ListQuery};
use chrono::{DateTime, TimeDelta, Utc};
use domain::answer::{Ambiguity, Answer, BookingStatus, BookingUid, LookFailure, Refused};
use sandbox::{EventType, Fault, Faults, Host, On, RateLimit, Rule};
use serde_json::json;

use crate::BEGINNING;
use crate::caller::{Caller, Listed, booking, done, is, there};

/// Half an hour, booked at once.
pub(crate) const HAIRCUT: i64 = 101;
/// An hour, to be confirmed.
const COLOUR: i64 = 102;
/// Half an hour with somebody who has more bookings than a page.
const SHAVE: i64 = 103;
/// Nobody offers it.
const NOTHING: i64 = 999;
/// One more than our client asks for at once.
const MORE_THAN_A_PAGE: i64 = 251;

const BOTH: Attendee<'static> = Attendee {
    name: "Jürgen Müßiggang",
    email: Some("juergen@example.com"),
    phone_e164: Some("+4915112345678"),
    time_zone: "Europe/Berlin",
    language: "de",
};
const BY_PHONE: Attendee<'static> = Attendee { email: None, ..BOTH };
const BY_EMAIL: Attendee<'static> =
    Attendee { name: "O'Neill, Zoë", phone_e164: None, time_zone: "America/New_York", language: "en", ..BOTH };

pub(crate) fn event_types() -> Vec<EventType> {
    let offer = |id, slug: &str, length_minutes, host: &str| EventType {
        id,
        slug: slug.to_owned(),
        title: None,
        length_minutes,
        host: Host {
            id,
            name: host.to_owned(),
            email: format!("{slug}@salon.example"),
            username: slug.to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
        },
        requires_confirmation: id == COLOUR,
    };
    vec![offer(HAIRCUT, "haircut", 30, "Anna"), offer(COLOUR, "colour", 60, "Ben"), offer(SHAVE, "shave", 30, "Çelik")]
}

/// So many days and minutes after the beginning.
pub(crate) fn moment(days: i64, minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(BEGINNING, 0).unwrap_or_default() + TimeDelta::days(days) + TimeDelta::minutes(minutes)
}

/// A uid that no booking has.
fn nobodys() -> BookingUid {
    BookingUid::from("bfkkD7vGq3a9X2cWmRtYzP".to_owned())
}

impl Caller<'_> {
    /// A part that cannot go on is a surprise, and the others go on.
    pub(crate) async fn call_everything(&self) {
        let parts = [
            ("bookings", self.bookings().await),
            ("bookings to be confirmed", self.bookings_to_be_confirmed().await),
            ("bookings of others", self.bookings_of_others().await),
            ("refused bookings", self.refused_bookings().await),
            ("cancellations", self.cancellations().await),
            ("moves", self.moves().await),
            ("lists", self.lists().await),
            ("two pages", self.two_pages().await),
            ("wrong keys", self.wrong_keys().await),
            ("too many requests", self.too_many_requests().await),
            ("a broken server", self.a_broken_server().await),
        ];
        for (part, result) in parts {
            if let Err(error) = result {
                self.surprise(format!("{part}: {error:#}"));
            }
        }
    }

    async fn bookings(&self) -> anyhow::Result<()> {
        for (what, who, minutes) in [
            ("a booking", BOTH, 0),
            ("a booking without an e-mail address", BY_PHONE, 30),
            ("a booking without a phone number", BY_EMAIL, 60),
        ] {
            let made = self.create(what, 201, (HAIRCUT, moment(1, minutes), who), done(BookingStatus::Accepted)).await;
            self.get(what, 200, &booking(made)?.uid, there(BookingStatus::Accepted)).await;
        }
        self.get("a booking that there is not", 404, &nobodys(), is(Ok(None))).await;
        Ok(())
    }

    async fn bookings_to_be_confirmed(&self) -> anyhow::Result<()> {
        let ask = (COLOUR, moment(2, 0), BOTH);
        let asked = booking(self.create("a request", 201, ask, done(BookingStatus::Pending)).await)?;
        self.create("the same request", 201, ask, is(Answer::Applied(asked.clone()))).await;
        self.get("a request", 200, &asked.uid, there(BookingStatus::Pending)).await;
        self.sandbox.confirm_by_others(asked.uid.expose()).await?;
        self.get("a confirmed request", 200, &asked.uid, there(BookingStatus::Accepted)).await;

        let ask = (COLOUR, moment(2, 120), BY_PHONE);
        let declined = booking(self.create("a request", 201, ask, done(BookingStatus::Pending)).await)?.uid;
        self.sandbox.decline_by_others(declined.expose(), "Wir haben zu.").await?;
        self.get("a declined request", 200, &declined, there(BookingStatus::Rejected)).await;
        let misread = is(Answer::Misconfigured { status: 404 });
        self.reschedule("moving a declined request", 404, &declined, moment(2, 240), misread).await;

        let ask = (COLOUR, moment(2, 360), BY_EMAIL);
        let asked = booking(self.create("a request", 201, ask, done(BookingStatus::Pending)).await)?.uid;
        let moved =
            self.reschedule("moving a request", 201, &asked, moment(2, 480), done(BookingStatus::Pending)).await;
        let moved = booking(moved)?.uid;
        self.cancel("cancelling a request", 200, &moved, done(BookingStatus::Cancelled)).await;
        self.create("a request that waits", 201, (COLOUR, moment(2, 600), BOTH), done(BookingStatus::Pending)).await;
        Ok(())
    }

    /// They have fields that ours have not.
    async fn bookings_of_others(&self) -> anyhow::Result<()> {
        let attendee = json!({"name": "Max", "email": "max@example.com", "timeZone": "Europe/Berlin"});
        let wanted = |minutes: i64| json!({"eventTypeId": HAIRCUT, "start": moment(3, minutes), "attendee": attendee});
        let mut full = wanted(30);
        full["guests"] = json!(["guest@example.com"]);
        full["location"] = json!({"type": "attendeePhone", "phone": "+4915112345678"});
        full["bookingFieldsResponses"] = json!({"notes": "Bitte kurz."});
        full["metadata"] = json!({"source": "web"});
        for (what, body) in [("a plain booking of others", wanted(0)), ("a full booking of others", full)] {
            let uid = BookingUid::from(self.sandbox.create_by_others(&body).await?.uid);
            self.get(what, 200, &uid, there(BookingStatus::Accepted)).await;
            let moved = self.sandbox.reschedule_by_others(uid.expose(), moment(3, 90)).await?.uid;
            self.get("a booking that others moved", 200, &uid, there(BookingStatus::Cancelled)).await;
            self.get("where others moved it", 200, &BookingUid::from(moved.clone()), there(BookingStatus::Accepted))
                .await;
            self.sandbox.cancel_by_others(&moved).await?;
            self.get("a booking that others cancelled", 200, &moved.into(), there(BookingStatus::Cancelled)).await;
        }
        let uid = self.sandbox.create_by_others(&wanted(180)).await?.uid;
        self.sandbox.reassign_by_others(&uid, COLOUR).await?;
        self.get("a booking of another host", 200, &uid.clone().into(), there(BookingStatus::Accepted)).await;
        self.sandbox.delete_by_others(&uid).await?;
        self.get("a deleted booking", 404, &uid.into(), is(Ok(None))).await;
        Ok(())
    }

    async fn refused_bookings(&self) -> anyhow::Result<()> {
        let refused = |reason| is(Answer::Refused { status: 400, reason });
        self.create("a booking", 201, (HAIRCUT, moment(4, 0), BOTH), done(BookingStatus::Accepted)).await;
        let taken = |status| is(Answer::Taken { status });
        self.create("a time that overlaps another", 400, (HAIRCUT, moment(4, 15), BY_EMAIL), taken(400)).await;
        self.create("the time of another", 409, (HAIRCUT, moment(4, 0), BY_EMAIL), taken(409)).await;
        self.create("a time in the past", 400, (HAIRCUT, moment(-1, 0), BOTH), refused(Refused::InThePast)).await;
        let misconfigured = is(Answer::Misconfigured { status: 404 });
        self.create("an event type that there is not", 404, (NOTHING, moment(4, 60), BOTH), misconfigured).await;
        Ok(())
    }

    async fn cancellations(&self) -> anyhow::Result<()> {
        let made = self.create("a booking", 201, (HAIRCUT, moment(5, 0), BOTH), done(BookingStatus::Accepted)).await;
        let uid = booking(made)?.uid;
        self.cancel("a cancellation", 200, &uid, done(BookingStatus::Cancelled)).await;
        self.cancel("the same cancellation", 400, &uid, is(Answer::AlreadyCancelled)).await;
        self.get("a cancelled booking", 200, &uid, there(BookingStatus::Cancelled)).await;
        self.cancel("cancelling nothing", 404, &nobodys(), is(Answer::NotFound)).await;

        let made = self.create("a booking", 201, (HAIRCUT, moment(0, 60), BOTH), done(BookingStatus::Accepted)).await;
        self.wait(120);
        let over = is(Answer::Refused { status: 400, reason: Refused::InThePast });
        self.cancel("cancelling what is over", 400, &booking(made)?.uid, over).await;
        Ok(())
    }

    async fn moves(&self) -> anyhow::Result<()> {
        let made = self.create("a booking", 201, (HAIRCUT, moment(6, 0), BOTH), done(BookingStatus::Accepted)).await;
        let old = booking(made)?.uid;
        self.create("a booking", 201, (HAIRCUT, moment(6, 240), BOTH), done(BookingStatus::Accepted)).await;
        let taken = |status| is(Answer::Taken { status });
        self.reschedule("a move to a time that overlaps another", 400, &old, moment(6, 225), taken(400)).await;
        self.reschedule("a move to the time of another", 409, &old, moment(6, 240), taken(409)).await;
        let past = is(Answer::Refused { status: 400, reason: Refused::InThePast });
        self.reschedule("a move into the past", 400, &old, moment(-1, 0), past).await;
        let moved = self.reschedule("a move", 201, &old, moment(6, 60), done(BookingStatus::Accepted)).await;
        let new = booking(moved)?.uid;
        self.reschedule("the same move", 400, &old, moment(6, 60), taken(400)).await;
        let to = Some(new.clone());
        self.get(
            "a booking that was moved",
            200,
            &old,
            move |it| matches!(it, Ok(Some(it)) if it.rescheduled_to == to),
        )
        .await;
        let from = Some(old);
        self.get(
            "where it was moved to",
            200,
            &new,
            move |it| matches!(it, Ok(Some(it)) if it.rescheduled_from == from),
        )
        .await;
        self.cancel("a cancellation", 200, &new, done(BookingStatus::Cancelled)).await;
        self.reschedule("moving what was cancelled", 400, &new, moment(6, 120), taken(400)).await;
        self.reschedule("moving nothing", 404, &nobodys(), moment(6, 120), is(Answer::NotFound)).await;
        Ok(())
    }

    /// What the sandbox has by now: bookings of every status, past ones among them.
    async fn lists(&self) -> anyhow::Result<()> {
        let all = self.sandbox.bookings();
        let statuses: BTreeSet<&str> = all.iter().map(|booking| booking.status.as_str()).collect();
        anyhow::ensure!(statuses.len() == 4, "bookings of every status were to be listed, not only {statuses:?}");
        let live = |status: &str| status == "accepted" || status == "pending";
        let (from, to) = (moment(0, 0), moment(6, 0));

        let window = |b: &&sandbox::Booking| b.event_type_id == HAIRCUT && b.start >= from && b.end <= to;
        let expected = all.iter().filter(window).count();
        let query = ListQuery::Window { event_type_id: HAIRCUT, from, to };
        self.list("a window", &[200], query, |listed| listed.as_ref().is_ok_and(|it| it.len() == expected)).await;
        let empty = ListQuery::Window { event_type_id: NOTHING, from, to };
        self.list("an empty window", &[200], empty, is(Ok(Vec::new()))).await;

        let query = ListQuery::Updated { after: from };
        self.list("what has changed", &[200], query, |listed| listed.as_ref().is_ok_and(|it| it.len() == all.len()))
            .await;

        let expected =
            all.iter().filter(|b| b.start >= from && b.end > moment(0, 120) && live(b.status.as_str())).count();
        let query = ListQuery::Upcoming { from };
        self.list("what is to come", &[200], query, |listed| listed.as_ref().is_ok_and(|it| it.len() == expected))
            .await;
        Ok(())
    }

    async fn two_pages(&self) -> anyhow::Result<()> {
        let attendee = json!({"name": "Max", "email": "max@example.com", "timeZone": "Europe/Berlin"});
        for n in 0..MORE_THAN_A_PAGE {
            let body = json!({"eventTypeId": SHAVE, "start": moment(10, n * 30), "attendee": attendee});
            self.sandbox.create_by_others(&body).await?;
        }
        let (from, to) = (moment(10, -1), moment(30, 0));
        let query = ListQuery::Window { event_type_id: SHAVE, from, to };
        let uids = |listed: &Listed| {
            let uids = listed.iter().flatten().map(|booking| booking.uid.expose().to_owned());
            uids.collect::<BTreeSet<_>>().len() as i64 == MORE_THAN_A_PAGE
        };
        self.list("a window of two pages", &[200, 200], query, uids).await;
        Ok(())
    }

    async fn wrong_keys(&self) -> anyhow::Result<()> {
        for (what, key) in [("an unknown key", "cal_of_nobody"), ("no key of Cal.com's", "of-nobody")] {
            self.use_key(key);
            let misconfigured = || is(Answer::Misconfigured { status: 401 });
            self.refuse_everything(what, 401, misconfigured, LookFailure::Unauthorized).await;
        }
        self.use_key(crate::KEY);
        Ok(())
    }

    async fn too_many_requests(&self) -> anyhow::Result<()> {
        self.sandbox.set_rate_limit(Some(RateLimit { requests: 1, ..RateLimit::default() }))?;
        self.get("the last one that is granted", 404, &nobodys(), is(Ok(None))).await;
        let wait = Duration::from_secs(60);
        let throttled = || is(Answer::Throttled { wait });
        self.refuse_everything("a throttled key", 429, throttled, LookFailure::Throttled { wait }).await;
        self.sandbox.set_rate_limit(None)
    }

    async fn a_broken_server(&self) -> anyhow::Result<()> {
        let all = [On::Create, On::Cancel, On::Reschedule, On::Get, On::List];
        let rules = all.into_iter().map(|on| Rule::every(on, Fault::BrokenBefore)).collect();
        self.sandbox.set_faults(Faults { seed: None, rules })?;
        let unknown = || is(Answer::Unknown { why: Ambiguity::ServerError(500) });
        self.refuse_everything("a broken server", 500, unknown, LookFailure::NoAnswer { wait: None }).await;
        self.sandbox.set_faults(Faults::default())
    }

    /// Calls each endpoint once, for an answer that does not depend on what was asked.
    async fn refuse_everything<M: FnOnce(&Answer) -> bool>(
        &self,
        what: &str,
        status: u16,
        meant: impl Fn() -> M,
        failure: LookFailure,
    ) {
        self.create(what, status, (HAIRCUT, moment(7, 0), BOTH), meant()).await;
        self.cancel(what, status, &nobodys(), meant()).await;
        self.reschedule(what, status, &nobodys(), moment(7, 60), meant()).await;
        self.get(what, status, &nobodys(), is(Err(failure.clone()))).await;
        let query = ListQuery::Upcoming { from: moment(0, 0) };
        self.list(what, &[status], query, is(Err(failure))).await;
    }
}
