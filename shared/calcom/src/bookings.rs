//! Cal.com's bookings: create, cancel, reschedule, get, list. Each method is one request, a list one per page.
//!
//! Deliberately absent: `location` (the event type has its own), `lengthInMinutes` and notes (Cal.com refuses them for
//! ordinary event types, or does not need them), confirm and decline (the business does that), and any decision.

use std::time::Instant;

use chrono::{DateTime, Utc};
use domain::answer::{Ambiguity, Answer, Booking, BookingUid, LookFailure};
use reqwest::{Method, RequestBuilder};
use secrecy::SecretString;
use uuid::Uuid;

use crate::client::Client;
use crate::failure::{self, Asked};
use crate::marker::MarkerKeys;
use crate::wire::{self, AttendeeBody, CancelBody, CreateBody, ListParameters, MetadataBody, RescheduleBody};

/// Entries of a page; the most that Cal.com gives.
const TAKE: u32 = 250;
/// Pages of one list. A window with more than 10,000 bookings was asked for wrongly.
const PAGES_MAX: u32 = 40;
/// One parameter for each status, as Cal.com's document declares it; its server also takes them in one, with commas.
type Statuses = &'static [(&'static str, &'static str)];
/// Everything: a cancelled booking with our marker is an answer, too.
const STATUS_ALL: Statuses =
    &[("status", "upcoming"), ("status", "past"), ("status", "cancelled"), ("status", "unconfirmed")];
/// What stands, and what the business has still to confirm.
const STATUS_UPCOMING: Statuses = &[("status", "upcoming"), ("status", "unconfirmed")];

/// A booking to be made. It lasts as long as its event type says.
#[derive(Clone, Copy)]
pub struct Create<'a> {
    /// Cal.com's id of the event type.
    pub event_type_id: i64,
    /// When it begins; sent in whole seconds.
    pub start: DateTime<Utc>,
    /// For whom it is.
    pub attendee: Attendee<'a>,
    /// The segment's lineage, which the marker names.
    pub lineage: Uuid,
    /// The company, which the marker's MAC covers.
    pub company: i32,
}

/// For whom a booking is. Cal.com wants at least one of e-mail address and phone number.
#[derive(Clone, Copy)]
pub struct Attendee<'a> {
    /// The name as the business shall read it.
    pub name: &'a str,
    /// The customer's own address; never an invented one, for Cal.com tells attendees apart by it.
    pub email: Option<&'a str>,
    /// In E.164, `+4915112345678`.
    pub phone_e164: Option<&'a str>,
    /// The IANA zone in which Cal.com writes to the customer.
    pub time_zone: &'a str,
    /// The language in which it does, `de`.
    pub language: &'a str,
}

/// Which bookings to list.
#[derive(Clone, Copy, Debug)]
pub enum ListQuery {
    /// Of an event type in a window, whatever their status.
    Window {
        /// Cal.com's id of the event type.
        event_type_id: i64,
        /// They begin after this.
        from: DateTime<Utc>,
        /// They end before this.
        to: DateTime<Utc>,
    },
    /// Changed after this, by Cal.com's clock, whatever their status.
    Updated {
        /// When.
        after: DateTime<Utc>,
    },
    /// All that are to come and have not been called off.
    Upcoming {
        /// They begin after this.
        from: DateTime<Utc>,
    },
}

impl ListQuery {
    fn statuses(&self) -> Statuses {
        match self {
            Self::Window { .. } | Self::Updated { .. } => STATUS_ALL,
            Self::Upcoming { .. } => STATUS_UPCOMING,
        }
    }

    fn page(&self, skip: u32) -> ListParameters {
        let all = ListParameters {
            event_type_id: None,
            after_start: None,
            before_end: None,
            after_updated_at: None,
            sort_created: "asc",
            take: TAKE,
            skip,
        };
        match *self {
            Self::Window { event_type_id, from, to } => ListParameters {
                event_type_id: Some(event_type_id),
                after_start: Some(wire::instant(from)),
                before_end: Some(wire::instant(to)),
                ..all
            },
            Self::Updated { after } => ListParameters { after_updated_at: Some(wire::instant(after)), ..all },
            Self::Upcoming { from } => ListParameters { after_start: Some(wire::instant(from)), ..all },
        }
    }
}

impl Client {
    /// Makes a booking. [`Answer::Applied`] may be `Pending`, and for some event types it is an older booking of the
    /// same customer at the same time.
    pub async fn create(
        &self,
        key: &SecretString,
        ask: &Create<'_>,
        markers: &MarkerKeys,
        deadline: Instant,
    ) -> Answer {
        let marker = markers.sign(ask.company, ask.lineage);
        let request = self.request(Method::POST, &["bookings"]).json(&CreateBody {
            event_type_id: ask.event_type_id,
            start: wire::instant(ask.start),
            attendee: AttendeeBody {
                name: ask.attendee.name,
                email: ask.attendee.email,
                time_zone: ask.attendee.time_zone,
                phone_number: ask.attendee.phone_e164,
                language: ask.attendee.language,
            },
            metadata: MetadataBody { gateway_key: marker.key, gateway_mac: marker.mac },
        });
        self.mutate(key, Asked::Create, request, markers, ask.company, deadline).await
    }

    /// Cancels a booking; some event types want a reason that is not empty. [`Answer::NotFound`] without a request if
    /// the uid cannot be one of Cal.com's.
    pub async fn cancel(
        &self,
        key: &SecretString,
        uid: &BookingUid,
        reason: &str,
        markers: &MarkerKeys,
        company: i32,
        deadline: Instant,
    ) -> Answer {
        let uid = uid.expose();
        if !wire::is_uid(uid) {
            return Answer::NotFound;
        }
        let request =
            self.request(Method::POST, &["bookings", uid, "cancel"]).json(&CancelBody { cancellation_reason: reason });
        self.mutate(key, Asked::Cancel { uid }, request, markers, company, deadline).await
    }

    /// Moves a booking. The one in [`Answer::Applied`] has a new uid, the old length, and `rescheduled_from`.
    /// [`Answer::NotFound`] without a request if the uid cannot be one of Cal.com's.
    #[allow(clippy::too_many_arguments, reason = "each is a fact of the one request")]
    pub async fn reschedule(
        &self,
        key: &SecretString,
        uid: &BookingUid,
        start: DateTime<Utc>,
        reason: &str,
        markers: &MarkerKeys,
        company: i32,
        deadline: Instant,
    ) -> Answer {
        let uid = uid.expose();
        if !wire::is_uid(uid) {
            return Answer::NotFound;
        }
        let request = self
            .request(Method::POST, &["bookings", uid, "reschedule"])
            .json(&RescheduleBody { start: wire::instant(start), rescheduling_reason: reason });
        self.mutate(key, Asked::Reschedule { uid }, request, markers, company, deadline).await
    }

    /// Reads a booking; `None` if Cal.com says that there is none with this uid. Reads come from a replica: a miss
    /// proves nothing while a write may be on its way.
    ///
    /// # Errors
    /// [`LookFailure`]; a 404 that is not Cal.com's own "no such booking" is `Other`.
    pub async fn get(
        &self,
        key: &SecretString,
        uid: &BookingUid,
        markers: &MarkerKeys,
        company: i32,
    ) -> Result<Option<Booking>, LookFailure> {
        let uid = uid.expose();
        if !wire::is_uid(uid) {
            return Ok(None);
        }
        let asked = Asked::Get { uid };
        match self.send(key, asked, self.request(Method::GET, &["bookings", uid]), self.until(None)).await {
            Ok(body) => match wire::booking(&body, markers, company) {
                Some(booking) => Ok(Some(booking)),
                None => Err(unreadable(asked)),
            },
            Err(failure) => failure::look(asked, failure).map(|()| None),
        }
    }

    /// Lists bookings, all pages, oldest first. Either all of them
    /// or an error: an incomplete list never looks like a complete one. Cal.com has no filter for metadata, so the
    /// caller picks by `marker`.
    ///
    /// # Errors
    /// [`LookFailure`]; `Other` also for more than 10,000 bookings.
    pub async fn list(
        &self,
        key: &SecretString,
        query: &ListQuery,
        markers: &MarkerKeys,
        company: i32,
    ) -> Result<Vec<Booking>, LookFailure> {
        let until = self.until(None);
        let mut bookings = Vec::new();
        let mut skip = 0;
        for _ in 0..PAGES_MAX {
            let request = self.request(Method::GET, &["bookings"]).query(query.statuses()).query(&query.page(skip));
            let body = match self.send(key, Asked::List, request, until).await {
                Ok(body) => body,
                Err(failure) => {
                    failure::look(Asked::List, failure)?;
                    return Err(LookFailure::Other);
                }
            };
            let page = wire::page(&body, markers, company).ok_or_else(|| unreadable(Asked::List))?;
            if page.unreadable > 0 {
                tracing::warn!(entries = page.unreadable, "left out bookings of others that could not be read");
            }
            bookings.extend(page.bookings);
            if !page.more {
                return Ok(bookings);
            }
            if page.entries == 0 {
                break;
            }
            skip += page.entries;
        }
        tracing::warn!("Cal.com's list does not end");
        Err(LookFailure::Other)
    }

    async fn mutate(
        &self,
        key: &SecretString,
        asked: Asked<'_>,
        request: RequestBuilder,
        markers: &MarkerKeys,
        company: i32,
        deadline: Instant,
    ) -> Answer {
        match self.send(key, asked, request, self.until(Some(deadline))).await {
            Ok(body) => wire::booking(&body, markers, company).map_or_else(
                || {
                    tracing::warn!(request = asked.name(), "Cal.com's answer could not be read");
                    Answer::Unknown { why: Ambiguity::BadBody }
                },
                Answer::Applied,
            ),
            Err(failure) => failure::answer(asked, failure),
        }
    }
}

fn unreadable(asked: Asked<'_>) -> LookFailure {
    tracing::warn!(request = asked.name(), "Cal.com's answer could not be read");
    LookFailure::Other
}
