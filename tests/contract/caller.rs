//! Our client in front of Prism: each call with the statuses that it has to meet, and what it has to make of the answer.

use std::cell::RefCell;
use std::fmt::Debug;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use calcom::{Attendee, Client, ClientSettings, Closed, Create, Gate, ListQuery, MarkerKeys, Soon};
use chrono::{DateTime, Utc};
use domain::answer::{Answer, Booking, BookingStatus, BookingUid, LookFailure};
use domain::budget::{Heard, Pass, Purpose};
use sandbox::Sandbox;
use secrecy::SecretString;
use uuid::Uuid;

use crate::KEY;
use crate::relay::Front;
use crate::tally::Tally;

/// Longer than Prism may take; with two pages, than it may take twice.
const CALL_MAX: Duration = Duration::from_secs(90);
const COMPANY: i32 = 7;
/// What is shown of something unexpected.
const CHARACTERS_MAX: usize = 300;

/// What our client makes of the two kinds of looks.
pub(crate) type Looked = Result<Option<Booking>, LookFailure>;
pub(crate) type Listed = Result<Vec<Booking>, LookFailure>;

pub(crate) struct Caller<'a> {
    pub(crate) sandbox: &'a Sandbox,
    front: &'a Front,
    /// Minutes by which the sandbox's clock was put forward.
    later: &'a AtomicI64,
    client: Client,
    key: RefCell<SecretString>,
    markers: MarkerKeys,
    tally: RefCell<&'a mut Tally>,
}

impl<'a> Caller<'a> {
    pub(crate) fn new(
        front: &'a Front,
        sandbox: &'a Sandbox,
        later: &'a AtomicI64,
        tally: &'a mut Tally,
    ) -> anyhow::Result<Self> {
        let settings = ClientSettings {
            base_url: format!("{}/v2", front.url),
            timeout: CALL_MAX,
            bookings_version: "2024-08-13".to_owned(),
            slots_version: "2024-09-04".to_owned(),
            body_max_bytes: 4 << 20,
            allow_insecure: false,
        };
        let client = Client::new(settings, Arc::new(Open))?;
        let secret = SecretString::from("0123456789abcdef0123456789abcdef");
        let markers = MarkerKeys::new(vec![("k1".to_owned(), secret)]).context("marker keys")?;
        let key = RefCell::new(SecretString::from(KEY));
        Ok(Self { sandbox, front, later, client, key, markers, tally: RefCell::new(tally) })
    }

    /// The key of the calls from now on.
    pub(crate) fn use_key(&self, key: &str) {
        self.key.replace(SecretString::from(key));
    }

    /// Puts the sandbox's clock forward.
    pub(crate) fn wait(&self, minutes: i64) {
        self.later.fetch_add(minutes, Ordering::SeqCst);
    }

    /// Something that our calls need has not come about.
    pub(crate) fn surprise(&self, what: String) {
        self.tally.borrow_mut().surprise(what);
    }

    pub(crate) async fn create(
        &self,
        what: &str,
        status: u16,
        (event_type_id, start, attendee): (i64, DateTime<Utc>, Attendee<'_>),
        meant: impl FnOnce(&Answer) -> bool,
    ) -> Answer {
        let ask = Create { event_type_id, start, attendee, lineage: Uuid::now_v7(), company: COMPANY };
        let key = self.key.borrow().clone();
        let call = self.client.create(&key, &ask, &self.markers, Instant::now() + CALL_MAX);
        self.see(what, &[status], call, meant).await
    }

    pub(crate) async fn cancel(
        &self,
        what: &str,
        status: u16,
        uid: &BookingUid,
        meant: impl FnOnce(&Answer) -> bool,
    ) -> Answer {
        let key = self.key.borrow().clone();
        let deadline = Instant::now() + CALL_MAX;
        let call = self.client.cancel(&key, uid, "Der Kunde hat abgesagt.", &self.markers, COMPANY, deadline);
        self.see(what, &[status], call, meant).await
    }

    pub(crate) async fn reschedule(
        &self,
        what: &str,
        status: u16,
        uid: &BookingUid,
        start: DateTime<Utc>,
        meant: impl FnOnce(&Answer) -> bool,
    ) -> Answer {
        let key = self.key.borrow().clone();
        let deadline = Instant::now() + CALL_MAX;
        let call = self.client.reschedule(&key, uid, start, "Der Kunde kann nicht.", &self.markers, COMPANY, deadline);
        self.see(what, &[status], call, meant).await
    }

    pub(crate) async fn get(&self, what: &str, status: u16, uid: &BookingUid, meant: impl FnOnce(&Looked) -> bool) {
        let key = self.key.borrow().clone();
        let _seen = self.see(what, &[status], self.client.get(&key, uid, &self.markers, COMPANY), meant).await;
    }

    /// A status for each page.
    pub(crate) async fn list(
        &self,
        what: &str,
        statuses: &[u16],
        query: ListQuery,
        meant: impl FnOnce(&Listed) -> bool,
    ) {
        let key = self.key.borrow().clone();
        let _seen = self.see(what, statuses, self.client.list(&key, &query, &self.markers, COMPANY), meant).await;
    }

    /// Calls, counts what went to and fro, and compares.
    async fn see<T: Debug>(
        &self,
        what: &str,
        statuses: &[u16],
        call: impl Future<Output = T>,
        meant: impl FnOnce(&T) -> bool,
    ) -> T {
        let result = call.await;
        let exchanges = self.front.take();
        let mut tally = self.tally.borrow_mut();
        exchanges.iter().for_each(|exchange| tally.note(what, exchange));
        let came: Vec<u16> = exchanges.iter().map(|exchange| exchange.status).collect();
        if came != statuses {
            tally.surprise(format!("{what}: {came:?} came, not {statuses:?}"));
        } else if !meant(&result) {
            let shown: String = format!("{result:?}").chars().take(CHARACTERS_MAX).collect();
            tally.surprise(format!("{what}: {came:?} was read as {shown}"));
        }
        result
    }
}

/// Here nobody has to spare Cal.com.
struct Open;

impl Gate for Open {
    fn ask<'a>(&'a self, _key: &'a SecretString, _purpose: Purpose) -> Soon<'a, Result<(Pass, Instant), Closed>> {
        Box::pin(ready(Ok((Pass { probe: None }, Instant::now()))))
    }

    fn tell<'a>(&'a self, _key: &'a SecretString, _pass: Pass, _heard: Heard) -> Soon<'a, Option<Duration>> {
        Box::pin(ready(None))
    }
}

/// Done, and the booking is that; it bears our marker, for it is ours.
pub(crate) fn done(status: BookingStatus) -> impl FnOnce(&Answer) -> bool {
    move |answer| matches!(answer, Answer::Applied(booking) if booking.status == status && booking.marker.is_some())
}

/// There is such a booking, and it is that.
pub(crate) fn there(status: BookingStatus) -> impl FnOnce(&Looked) -> bool {
    move |looked| matches!(looked, Ok(Some(booking)) if booking.status == status)
}

pub(crate) fn is<T: PartialEq>(expected: T) -> impl FnOnce(&T) -> bool {
    move |result| *result == expected
}

/// The booking, for a call that needs one.
///
/// # Errors
/// There is none.
pub(crate) fn booking(answer: Answer) -> anyhow::Result<Booking> {
    match answer {
        Answer::Applied(booking) => Ok(booking),
        Answer::Taken { .. }
        | Answer::AlreadyCancelled
        | Answer::NotFound
        | Answer::Refused { .. }
        | Answer::Misconfigured { .. }
        | Answer::NotSent { .. }
        | Answer::Throttled { .. }
        | Answer::Unknown { .. } => bail!("a booking is missing that the calls after it need"),
    }
}
