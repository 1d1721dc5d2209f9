//! What is found after a play: the record's rows, and Cal.com's bookings and ledger. Read by statements of its own, with
//! none of the product's code.

use crate::cell::Op;
use crate::play::asks_for;
use chrono::{DateTime, Utc};
use harness::World;
use sandbox::{Booking, Entry, What};
use sqlx::FromRow;
use sqlx::postgres::PgRow;
use uuid::Uuid;

pub(crate) struct Found {
    pub(crate) appointments: Vec<Appointment>,
    pub(crate) events: Vec<Event>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) ops: Vec<SentOp>,
    pub(crate) jobs: Vec<Job>,
    /// Attempts that their worker did not end.
    pub(crate) crashes: i64,
    /// Bookings that were doubled and called off.
    pub(crate) spares: i64,
    pub(crate) callbacks: Vec<Callback>,
    pub(crate) ledger: Vec<Entry>,
    pub(crate) bookings: Vec<Booking>,
}

#[derive(FromRow, Debug)]
pub(crate) struct Appointment {
    pub(crate) appointment_id: Uuid,
    pub(crate) status: String,
    pub(crate) version: i32,
    pub(crate) starts_at: DateTime<Utc>,
    pub(crate) ends_at: DateTime<Utc>,
    pub(crate) lineage: Uuid,
    pub(crate) calcom_uid: Option<String>,
    pub(crate) sync: String,
    pub(crate) host_id: i64,
}

#[derive(FromRow, Debug)]
pub(crate) struct Event {
    pub(crate) appointment_id: Uuid,
    pub(crate) version: i32,
    pub(crate) what: String,
    pub(crate) from_status: Option<String>,
    pub(crate) to_status: String,
    pub(crate) who: String,
}

#[derive(FromRow, Debug)]
pub(crate) struct Slot {
    pub(crate) appointment_id: Uuid,
    pub(crate) starts_at: DateTime<Utc>,
    pub(crate) ends_at: DateTime<Utc>,
    pub(crate) state: String,
    pub(crate) ended_at: Option<DateTime<Utc>>,
}

#[derive(FromRow, Debug, Clone, PartialEq)]
pub(crate) struct SentOp {
    pub(crate) op_id: Uuid,
    pub(crate) appointment_id: Uuid,
    pub(crate) lineage: Uuid,
    pub(crate) kind: String,
    pub(crate) starts_at: Option<DateTime<Utc>>,
    pub(crate) ends_at: Option<DateTime<Utc>>,
    pub(crate) target_uid: Option<String>,
    pub(crate) state: String,
    pub(crate) sent_at: DateTime<Utc>,
    pub(crate) resolved_at: Option<DateTime<Utc>>,
    pub(crate) looks: i16,
}

#[derive(FromRow, Debug)]
pub(crate) struct Job {
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) outcome: Option<String>,
}

#[derive(FromRow, Debug)]
pub(crate) struct Callback {
    pub(crate) reason: String,
}

const APPOINTMENTS: &str = "SELECT appointment_id, status, version, starts_at, ends_at, lineage, calcom_uid, sync,
      (SELECT calcom_user_id FROM staff s WHERE s.company_id = g.company_id AND s.staff_id = g.staff_id) AS host_id
    FROM appointment JOIN segment g USING (company_id, appointment_id) ORDER BY created_at";
const EVENTS: &str = "SELECT appointment_id, version, what, from_status, to_status, who FROM appointment_event
    ORDER BY appointment_id, version";
const SLOTS: &str =
    "SELECT appointment_id, lower(during) AS starts_at, upper(during) AS ends_at, state, ended_at FROM slot
    ORDER BY created_at";
const OPS: &str =
    "SELECT op_id, appointment_id, lineage, o.kind, starts_at, ends_at, target_uid, state, sent_at, resolved_at,
      looks FROM calcom_op o JOIN segment USING (company_id, appointment_id, segment_no) ORDER BY sent_at";
const JOBS: &str = "SELECT kind, state, outcome FROM job ORDER BY created_at";
const CALLBACKS: &str = "SELECT reason FROM callback_request ORDER BY created_at";

impl Found {
    pub(crate) async fn read(world: &World) -> Self {
        Self {
            appointments: rows(world, APPOINTMENTS).await,
            events: rows(world, EVENTS).await,
            slots: rows(world, SLOTS).await,
            ops: rows(world, OPS).await,
            jobs: rows(world, JOBS).await,
            crashes: world.count("SELECT count(*) FROM job_attempt WHERE outcome = 'crashed'").await,
            spares: world.count("SELECT count(*) FROM spare_booking WHERE gone_at IS NOT NULL").await,
            callbacks: rows(world, CALLBACKS).await,
            ledger: world.sandbox.ledger(),
            bookings: world.sandbox.bookings(),
        }
    }

    /// All of it that tells what happened, line by line.
    pub(crate) fn story(&self) -> String {
        let rows = self.appointments.iter().map(|row| format!("    {row:?}"));
        let rows = rows.chain(self.events.iter().map(|row| format!("    {row:?}")));
        let rows = rows.chain(self.slots.iter().map(|row| format!("    {row:?}")));
        let rows = rows.chain(self.ops.iter().map(|row| format!("    {row:?}")));
        let rows = rows.chain(self.jobs.iter().map(|row| format!("    {row:?}")));
        let told = |e: &Entry| {
            let Entry { at, what, request, method, path, start, status, fate, fault, effect, .. } = e;
            let done = format!("{start:?} {effect:?} {status:?} {fate:?} {fault:?}");
            format!("    {at} request {request} {method} {path} {what:?} {done}")
        };
        let mut lines: Vec<String> = rows.chain(self.ledger.iter().map(told)).collect();
        lines
            .extend(self.bookings.iter().map(|b| format!("    {} {:?} {} {:?}", b.uid, b.status, b.start, b.marker())));
        lines.join("\n")
    }

    /// The gateway's requests that change something, each with the intent it was sent for, if there is one: the latest
    /// that asks for the same and was committed before the request arrived.
    pub(crate) fn requests(&self) -> Vec<Request<'_>> {
        let arrivals = self.ledger.iter().filter(|entry| entry.what == What::Arrival);
        let changing = arrivals.filter_map(|arrival| Some((arrival, asks_for(arrival)?)));
        changing
            .map(|(arrival, asks)| {
                let may_be = self.ops.iter().filter(|op| op.sent_at <= arrival.at && op.asks(arrival, asks));
                let of_it = |what| move |e: &&Entry| e.request == arrival.request && e.what == what;
                Request {
                    arrival,
                    intent: may_be.max_by_key(|op| op.sent_at),
                    effect: self.ledger.iter().find(of_it(What::Effect)),
                    reply: self.ledger.iter().find(of_it(What::Reply)),
                }
            })
            .collect()
    }
}

/// A request of the gateway, and what became of it.
pub(crate) struct Request<'a> {
    pub(crate) arrival: &'a Entry,
    pub(crate) intent: Option<&'a SentOp>,
    pub(crate) effect: Option<&'a Entry>,
    pub(crate) reply: Option<&'a Entry>,
}

impl SentOp {
    /// Is this what the op asks of Cal.com?
    fn asks(&self, arrival: &Entry, asks: Op) -> bool {
        let about_it = match asks {
            Op::Create => arrival.marker.as_deref() == Some(self.lineage.to_string().as_str()),
            Op::Reschedule | Op::Cancel => arrival.uid == self.target_uid,
        };
        self.kind == asks.as_str() && about_it && (asks == Op::Cancel || arrival.start == self.starts_at)
    }
}

async fn rows<T>(world: &World, sql: &'static str) -> Vec<T>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    sqlx::query_as(sql).fetch_all(&world.pool).await.unwrap()
}
