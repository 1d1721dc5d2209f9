//! The voice agent's functions: what is common to them, and which one is meant.
//!
//! A business refusal is a reply, never an HTTP error. Whoever calls may see and change the appointments of this call,
//! else of the exact number that calls; nothing that the agent says about itself widens that.

mod alternatives;
mod book;
mod callback;
mod cancel;
mod check;
mod confirm;
mod customer;
mod first_free;
mod hold;
mod offered;
mod parse_date;
mod policy;
mod query;
mod reschedule;
mod services;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use chrono_tz::Tz;
use domain::appointment::Status;
use domain::id::AppointmentId;
use domain::phone::Phone;
use domain::policy::Operation;
use phonenumber::country::Id::DE;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::{AcceptError, AppointmentView, Branch, CallFacts, Catalog, Replay, RequestKey, Service, StoreError, Whose};
use uuid::Uuid;

use crate::app::App;
use crate::arguments::{self, Arguments};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::spoken::Language;
use crate::when;

/// Appointments in one reply.
const APPOINTMENTS_MAX: i64 = 10;
/// Services in one reply.
const SERVICES_MAX: usize = 20;

/// Which function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Function {
    /// Books what was said.
    Book,
    /// Calls an appointment off.
    Cancel,
    /// Moves an appointment.
    Reschedule,
    /// Says which appointments there are.
    Query,
    /// Says which day is meant.
    ParseDate,
    /// Says what can be booked.
    ListServices,
    /// Says what a service is.
    ServiceInfo,
    /// Says when it is open.
    OpeningHours,
    /// Says who calls.
    CheckCustomer,
    /// Says who calls and what time it is.
    Context,
    /// Says whether a time is free.
    Check,
    /// Keeps a time.
    Reserve,
    /// Gives a kept time back.
    Release,
    /// Says what is free near a time.
    Alternatives,
    /// Says what is free next.
    NextAvailable,
    /// Books the first of several times that is free.
    BookFirstFree,
    /// Says what became of this call's booking.
    Confirm,
    /// Notes that somebody wishes to be rung.
    RequestCallback,
}

impl Function {
    /// By its name in snake case, or one of its aliases.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "book_appointment" | "start_booking" | "collect" | "collect_appointment" | "collect_appointment_data" => {
                Some(Self::Book)
            }
            "cancel_appointment" => Some(Self::Cancel),
            "reschedule_appointment" => Some(Self::Reschedule),
            "query_appointment" | "query_appointment_by_name" | "get_customer_appointments" | "get_appointments" => {
                Some(Self::Query)
            }
            "parse_date" | "datetime" => Some(Self::ParseDate),
            "list_services" | "get_available_services" | "get_services" => Some(Self::ListServices),
            "get_service_info" => Some(Self::ServiceInfo),
            "get_opening_hours" => Some(Self::OpeningHours),
            "check_customer" => Some(Self::CheckCustomer),
            "get_current_context" | "current_context" | "initialize_call" | "current_time_berlin" => {
                Some(Self::Context)
            }
            "check_availability" => Some(Self::Check),
            "reserve_slot" => Some(Self::Reserve),
            "release_slot_reservation" => Some(Self::Release),
            "get_alternatives" => Some(Self::Alternatives),
            "find_next_available" => Some(Self::NextAvailable),
            "book_first_free" => Some(Self::BookFirstFree),
            "confirm_booking" => Some(Self::Confirm),
            "request_callback" => Some(Self::RequestCallback),
            _ => None,
        }
    }

    /// Does it change nothing? Only then it answers without a `call`.
    pub(crate) fn only_reads(self) -> bool {
        match self {
            Self::Book | Self::BookFirstFree | Self::Cancel | Self::Reschedule => false,
            Self::Reserve | Self::Release | Self::Confirm | Self::RequestCallback => false,
            Self::Query | Self::Check | Self::Alternatives | Self::NextAvailable => true,
            Self::ParseDate | Self::ListServices | Self::ServiceInfo | Self::OpeningHours => true,
            Self::CheckCustomer | Self::Context => true,
        }
    }

    /// Its one name, whatever the agent calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Book => "book_appointment",
            Self::Cancel => "cancel_appointment",
            Self::Reschedule => "reschedule_appointment",
            Self::Query => "query_appointment",
            Self::ParseDate => "parse_date",
            Self::ListServices => "list_services",
            Self::ServiceInfo => "get_service_info",
            Self::OpeningHours => "get_opening_hours",
            Self::CheckCustomer => "check_customer",
            Self::Context => "get_current_context",
            Self::Check => "check_availability",
            Self::Reserve => "reserve_slot",
            Self::Release => "release_slot_reservation",
            Self::Alternatives => "get_alternatives",
            Self::NextAvailable => "find_next_available",
            Self::BookFirstFree => "book_first_free",
            Self::Confirm => "confirm_booking",
            Self::RequestCallback => "request_callback",
        }
    }

    /// What a policy closes it as, before anything is done. About changes, and about the service of a booking, it is asked
    /// later, when it is known of what.
    fn gated(self) -> Option<Operation> {
        match self {
            Self::Book | Self::BookFirstFree | Self::Cancel | Self::Reschedule => None,
            Self::ParseDate | Self::CheckCustomer | Self::Context | Self::Release | Self::Confirm => None,
            Self::Reserve => Some(Operation::Booking),
            Self::Check | Self::Alternatives | Self::NextAvailable => Some(Operation::AvailabilityInquiry),
            Self::ListServices | Self::ServiceInfo => Some(Operation::ServiceInformation),
            Self::OpeningHours => Some(Operation::OpeningHours),
            Self::Query => Some(Operation::AppointmentInquiry),
            Self::RequestCallback => Some(Operation::CallbackService),
        }
    }
}

/// Who calls, as the telephone network says; or, without `call`, the call that `args.call_id` names.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) call_id: String,
    /// `None`: withheld, or no number.
    pub(crate) from: Option<Phone>,
    pub(crate) from_number: Option<String>,
    pub(crate) to_number: Option<String>,
}

/// One call of one function.
pub(crate) struct Call<'a> {
    pub(crate) app: &'a App,
    pub(crate) catalog: Catalog,
    pub(crate) caller: Option<Caller>,
    pub(crate) args: Arguments,
    pub(crate) language: Language,
    pub(crate) now: DateTime<Utc>,
}

/// Runs it.
///
/// # Errors
/// Only what is no business refusal: the database is away, or a fault of ours.
pub(crate) async fn run(function: Function, call: &Call<'_>) -> Result<Reply, Problem> {
    if let Some(operation) = function.gated()
        && let Some(closed) = call.closed(operation, None).await?
    {
        return Ok(closed);
    }
    let reply = answer(function, call).await?;
    if let Some(caller) = &call.caller {
        offered::remember(call, caller, &reply).await;
    }
    Ok(reply)
}

async fn answer(function: Function, call: &Call<'_>) -> Result<Reply, Problem> {
    match (function, &call.caller) {
        (Function::Book, Some(caller)) => book::run(call, caller).await,
        (Function::Cancel, Some(caller)) => cancel::run(call, caller).await,
        (Function::Reschedule, Some(caller)) => reschedule::run(call, caller).await,
        (Function::RequestCallback, Some(caller)) => callback::run(call, caller).await,
        (Function::Query, _) => query::run(call).await,
        (Function::ParseDate, _) => Ok(parse_date::run(call)),
        (Function::ListServices, _) => Ok(services::list(call)),
        (Function::ServiceInfo, _) => Ok(services::info(call)),
        (Function::OpeningHours, _) => Ok(services::opening_hours(call)),
        (Function::CheckCustomer, _) => customer::check(call).await,
        (Function::Context, _) => customer::context(call).await,
        (Function::Check, _) => check::run(call).await,
        (Function::Reserve, Some(caller)) => hold::reserve(call, caller).await,
        (Function::Release, Some(caller)) => hold::release(call, caller).await,
        (Function::Alternatives, _) => alternatives::near(call).await,
        (Function::NextAvailable, _) => alternatives::next(call).await,
        (Function::BookFirstFree, Some(caller)) => first_free::run(call, caller).await,
        (Function::Confirm, Some(caller)) => confirm::run(call, caller).await,
        (Function::Book | Function::Cancel | Function::Reschedule, None)
        | (Function::Reserve | Function::Release | Function::BookFirstFree | Function::Confirm, None)
        | (Function::RequestCallback, None) => {
            let message = call.say(
                "Ohne Angaben zum Anruf kann ich nichts ändern.",
                "I cannot change anything without the details of the call.",
            );
            Ok(Reply::refusal("missing_call", message))
        }
    }
}

impl Call<'_> {
    fn say(&self, german: &str, english: &str) -> String {
        self.language.pick(german, english)
    }

    /// The clock on the wall of the branch that was called; without a branch, the company's.
    fn time_zone(&self) -> Tz {
        self.branch_of_call().map_or(self.catalog.company.time_zone, |branch| branch.hours.time_zone)
    }

    fn company_id(&self) -> i32 {
        self.catalog.company.company_id
    }

    /// The branch whose number was called, else the only one.
    fn branch(&self, caller: &Caller) -> Option<&Branch> {
        branch_called(&self.catalog, caller.to_number.as_deref())
    }

    /// As [`Call::branch`]; without a caller the only one.
    fn branch_of_call(&self) -> Option<&Branch> {
        match (&self.caller, self.catalog.branches.as_slice()) {
            (Some(caller), _) => self.branch(caller),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }

    fn unknown_branch(&self) -> Reply {
        let message = self.say(
            "Ich weiß nicht, für welche Filiale der Termin sein soll.",
            "I do not know which branch the appointment is for.",
        );
        Reply::refusal("unknown_branch", message)
    }

    /// The services of a branch; `None` = of all.
    fn services(&self, branch_id: Option<i32>) -> impl Iterator<Item = &Service> {
        self.catalog.services.iter().filter(move |service| {
            branch_id.is_none_or(|wanted| service.staff.iter().any(|(branch_id, _, _)| *branch_id == wanted))
        })
    }

    /// The services as a reply lists them.
    fn services_listed(&self, branch_id: i32) -> Value {
        let listed = self.services(Some(branch_id)).take(SERVICES_MAX);
        listed.map(|s| json!({ "id": s.service_id, "name": s.name, "duration": s.duration_minutes })).collect()
    }

    /// The words of a moment in this company's language and this branch's time zone.
    fn moment(&self, at: DateTime<Utc>) -> String {
        self.language.moment(at, self.time_zone())
    }

    fn facts(&self, caller: &Caller) -> CallFacts {
        CallFacts {
            call_id: caller.call_id.clone(),
            from_number: caller.from_number.clone(),
            to_number: caller.to_number.clone(),
        }
    }

    /// The appointments that this caller may see: those of this call, else of the exact number; narrowed by what the
    /// arguments say. `Err`: something was said that cannot be understood.
    async fn appointments(&self) -> Result<Result<Vec<AppointmentView>, Reply>, Problem> {
        match Wish::of(self, arguments::DATE, arguments::TIME) {
            Ok(wish) => Ok(Ok(self.fitting(&wish).await?)),
            Err(reply) => Ok(Err(reply)),
        }
    }

    async fn fitting(&self, wish: &Wish) -> Result<Vec<AppointmentView>, Problem> {
        let Some(caller) = &self.caller else { return Ok(Vec::new()) };
        let from = caller.from.clone().map(Whose::Phone);
        for whose in std::iter::once(Whose::Call(caller.call_id.clone())).chain(from) {
            let found = self.app.store.upcoming_of(self.company_id(), &whose, APPOINTMENTS_MAX).await?;
            let fitting: Vec<_> = found.into_iter().filter(|view| wish.fits(view)).collect();
            if !fitting.is_empty() {
                return Ok(fitting);
            }
        }
        Ok(Vec::new())
    }

    /// One appointment as a reply lists it.
    fn listed(&self, view: &AppointmentView) -> Value {
        let local = view.starts_at.with_timezone(&zone(&view.time_zone, self.time_zone()));
        json!({
            "id": view.appointment_id.to_string(),
            "date": local.format("%d.%m.%Y").to_string(),
            "time": local.format("%H:%M").to_string(),
            "spoken_time": self.language.time(local.time()),
            "service": view.service_name,
            "staff": view.staff_name,
            "status": view.status.as_str(),
        })
    }

    /// A request key over this call, this function and what it was asked, in one spelling.
    fn key(&self, function: Function, caller: &Caller, asked: &str) -> RequestKey {
        let mut hash = Sha256::new();
        for part in [caller.call_id.as_str(), function.name(), asked] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let body_hash: [u8; 32] = hash.finalize().into();
        RequestKey { key: format!("fn:{}", hex::encode(body_hash)), body_hash, replay: Replay::WhileItStands }
    }

    /// What the agent says when a command failed for no reason of the customer's.
    fn failed(&self, error: AcceptError) -> Result<Reply, Problem> {
        match error {
            AcceptError::Store(StoreError::LockWait) | AcceptError::Busy { .. } => {
                let message = self.say(
                    "Gerade wird dieser Kalender bearbeitet. Bitte noch einmal versuchen.",
                    "This calendar is busy just now. Please try again.",
                );
                Ok(Reply::refusal("slot_locked", message))
            }
            AcceptError::Store(error) => Err(Problem::from(error)),
            AcceptError::NotFound => Ok(self.not_found()),
            AcceptError::StaleVersion { .. } | AcceptError::KeyReused => {
                let message = self.say(
                    "Das hat sich gerade geändert. Bitte noch einmal versuchen.",
                    "This has just changed. Please try again.",
                );
                Ok(Reply::refusal("error", message))
            }
            AcceptError::Refused(refusal) => {
                let message = self.say("Das ist leider nicht möglich.", "I am afraid that is not possible.");
                Ok(Reply::refusal("denied", message).with("reason", refusal.code()))
            }
        }
    }

    fn not_found(&self) -> Reply {
        let message = self
            .say("Ich finde keinen passenden Termin zu diesem Anruf.", "I find no matching appointment for this call.");
        Reply::refusal("not_found", message)
    }
}

/// The branch whose number was called, else the only one.
pub(crate) fn branch_called<'a>(catalog: &'a Catalog, to_number: Option<&str>) -> Option<&'a Branch> {
    let called = to_number.and_then(|raw| Phone::parse(raw, DE));
    let by_number = called.and_then(|called| {
        catalog.branches.iter().find(|branch| {
            branch.phones.iter().any(|phone| Phone::parse(phone, DE).is_some_and(|phone| phone == called))
        })
    });
    by_number.or(match catalog.branches.as_slice() {
        [only] => Some(only),
        _ => None,
    })
}

/// The time zone of that name, else `other`.
fn zone(name: &str, other: Tz) -> Tz {
    name.parse().unwrap_or(other)
}

/// Which of the caller's appointments is meant.
#[derive(Default)]
struct Wish {
    id: Option<AppointmentId>,
    date: Option<NaiveDate>,
    time: Option<NaiveTime>,
    service: Option<String>,
    time_zone: Tz,
}

impl Wish {
    fn of(call: &Call<'_>, date: &[&str], time: &[&str]) -> Result<Self, Reply> {
        let time_zone = call.time_zone();
        let id = call.args.anything(arguments::APPOINTMENT);
        // An id that is no id names nothing of ours; Uuid::nil is nobody's.
        let id = id.map(|written| AppointmentId(Uuid::try_parse(&written).unwrap_or_default()));
        let unclear = |missing: &str| {
            let message = call.say(
                "Das Datum habe ich nicht verstanden. Bitte Tag, Monat und Jahr nennen.",
                "I did not understand the date. Please say day, month and year.",
            );
            Reply::refusal("missing_required_fields", message).with("missing", json!([missing]))
        };
        let date = match call.args.anything(date) {
            None => None,
            Some(text) => Some(when::date(&text, time_zone, call.now).ok_or_else(|| unclear("date"))?),
        };
        let time = match call.args.anything(time) {
            None => None,
            Some(text) => Some(when::time(&text).ok_or_else(|| unclear("time"))?),
        };
        let service = call.args.anything(arguments::SERVICE).map(|name| name.to_lowercase());
        Ok(Self { id, date, time, service, time_zone })
    }

    fn fits(&self, view: &AppointmentView) -> bool {
        let local = view.starts_at.with_timezone(&zone(&view.time_zone, self.time_zone));
        let service =
            |wanted: &String| view.service_name.to_lowercase() == *wanted || view.service_id.to_string() == *wanted;
        // An id says it all; the agent repeats the rest from memory.
        if let Some(id) = self.id {
            return view.appointment_id == id;
        }
        self.date.is_none_or(|date| date == local.date_naive())
            && self.time.is_none_or(|time| time == local.time())
            && self.service.as_ref().is_none_or(service)
    }
}

/// `2026-11-25 14:30`, local.
fn local_time(at: DateTime<Utc>, time_zone: Tz) -> String {
    at.with_timezone(&time_zone).format("%Y-%m-%d %H:%M").to_string()
}

/// Is this what a customer would call an appointment?
fn stands(status: Status) -> bool {
    status.wants_booking() == Some(true)
}
