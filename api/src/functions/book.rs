//! `book_appointment`: one transaction takes the slot; then Cal.com is waited for, as long as a caller can be kept waiting.
//!
//! "Booked" is said only of a `scheduled` appointment; until then it is noted. Deliberately absent: every search for
//! another time; a slot that is taken comes back with what is free, and the caller chooses.

use chrono::{DateTime, Utc};
use domain::appointment::Status;
use domain::hours::Offer;
use domain::id::AppointmentId;
use domain::phone::{Phone, is_placeholder_email};
use domain::policy::Operation;
use domain::refusal::Refusal;
use domain::slot::TimeRange;
use phonenumber::country::Id::DE;
use phrases::{Clock, Phrase};
use serde_json::{Value, json};
use store::{
    AcceptError, Accepted, BookingCommand, Branch, Candidate, CustomerFacts, HoldUse, How, Service, Sought, Source,
};

use super::{Call, Caller, Function, local_time, offered};
use crate::arguments::{self, Arguments};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::waiting::Until;
use crate::when;

/// Alternatives in one reply.
const ALTERNATIVES_MAX: usize = 3;

/// What is to be booked, every name resolved.
pub(super) struct Wish<'a> {
    pub(super) branch: &'a Branch,
    pub(super) service: &'a Service,
    pub(super) staff_id: Option<i32>,
    starts_at: DateTime<Utc>,
    name: String,
}

/// Books.
pub(super) async fn run(call: &Call<'_>, caller: &Caller) -> Result<Reply, Problem> {
    let first = match call.wants_the_first() {
        Some(day) => offered::first(call, caller, day).await?,
        None => None,
    };
    let mut wish = match understand(call, caller, |call| first.map_or_else(|| starts_at(call, &call.args), Ok)) {
        Ok(wish) => wish,
        Err(reply) => return Ok(reply.with("booked", false)),
    };
    let during = TimeRange::starting(wish.starts_at, wish.service.duration_minutes);
    if !during.is_some_and(|during| wish.branch.hours.contain(during))
        && let Some(starts_at) = offered::instead_of(call, caller, wish.starts_at).await?
    {
        wish.starts_at = starts_at;
    }
    let only = Candidate { staff_id: wish.staff_id, starts_at: wish.starts_at };
    accept(call, caller, wish, Function::Book, &[only]).await
}

/// Books the first of these times that is free, and waits for Cal.com.
pub(super) async fn accept(
    call: &Call<'_>,
    caller: &Caller,
    wish: Wish<'_>,
    function: Function,
    times: &[Candidate],
) -> Result<Reply, Problem> {
    if let Some(closed) = call.closed(Operation::Booking, Some(wish.service.service_id)).await? {
        return Ok(closed.with("booked", false));
    }
    let command = command(call, caller, &wish, function, times);
    match call.app.store.accept_booking(&command).await {
        Ok(accepted) => accepted_reply(call, &command, &accepted).await,
        Err(AcceptError::Refused(refusal)) => {
            Ok(refused(call, wish.starts_at, wish.branch, &refusal).with("booked", false))
        }
        Err(error) => Ok(call.failed(error)?.with("booked", false)),
    }
}

/// `when` says when, after it was asked whether and for whom.
pub(super) fn understand<'a>(
    call: &'a Call<'_>,
    caller: &Caller,
    when: impl FnOnce(&Call<'_>) -> Result<DateTime<Utc>, Reply>,
) -> Result<Wish<'a>, Reply> {
    if call.args.denied(arguments::CONFIRMED) {
        let message = call.say(
            "Ich habe noch nichts eingetragen. Soll ich den Termin buchen?",
            "I have not booked anything yet. Shall I book it?",
        );
        return Err(Reply::success("awaiting_confirmation", message).with("awaiting_confirmation", true));
    }
    let branch = call.branch(caller).ok_or_else(|| call.unknown_branch())?;
    let staff_names = call.catalog.staff.iter().map(|staff| staff.name.as_str());
    let Some(name) = call.args.name(staff_names) else {
        let message = call.say("Auf welchen Namen darf ich den Termin eintragen?", "Under which name shall I book it?");
        return Err(Reply::refusal("missing_customer_name", message));
    };
    let starts_at = when(call)?;
    let service = service(call, branch)?;
    let staff_id = staff(call, &call.args, branch, service)?;
    if starts_at <= call.now {
        return Err(in_the_past(call));
    }
    Ok(Wish { branch, service, staff_id, starts_at, name })
}

/// A day and a time on it, wherever they were said.
pub(super) fn starts_at(call: &Call<'_>, args: &Arguments) -> Result<DateTime<Utc>, Reply> {
    if let Some(exact) = args.text(arguments::DATETIME).and_then(|text| when::moment(&text, call.time_zone(), call.now))
    {
        return Ok(exact);
    }
    let today = call.now.with_timezone(&call.time_zone()).date_naive();
    let missing: &[&str] = match when::said(args, today) {
        Ok(Some(Phrase { day: Some(day), clock: Some(Clock::At(time)) })) => {
            return phrases::instant(day.and_time(time), call.time_zone()).ok_or_else(|| {
                let message = call.say(
                    "Diese Uhrzeit gibt es an diesem Tag wegen der Zeitumstellung nicht.",
                    "The clock change skips this time on that day.",
                );
                Reply::refusal("missing_required_fields", message).with("missing", json!(["time"]))
            });
        }
        Ok(Some(Phrase { day: Some(_), clock: _ })) => &["time"],
        Ok(Some(Phrase { day: None, clock: Some(Clock::At(_)) })) => &["date"],
        Ok(Some(Phrase { day: None, clock: _ }) | None) => &["date", "time"],
        Err(_unclear) => &[],
    };
    Err(self::missing(call, missing))
}

/// Asks for a date and a time, or for the part of it that is missing; for nothing that is missing: it was not understood.
pub(super) fn missing(call: &Call<'_>, missing: &[&str]) -> Reply {
    let message = match missing {
        [] => call.say(
            "Das habe ich nicht verstanden. Bitte das Datum mit Tag, Monat und Jahr und die Uhrzeit nennen.",
            "I did not understand that. Please say the date with day, month and year, and the time.",
        ),
        ["time"] => call.say("Um wie viel Uhr soll der Termin sein?", "At what time?"),
        ["date"] => call.say("An welchem Tag soll der Termin sein?", "On which day?"),
        _ => call.say("An welchem Tag und um wie viel Uhr soll der Termin sein?", "On which day and at what time?"),
    };
    let missing = if missing.is_empty() { &["date", "time"] } else { missing };
    Reply::refusal("missing_required_fields", message).with("missing", missing.to_vec())
}

/// By id, name or alias; the only one if none is named.
pub(super) fn service<'a>(call: &'a Call<'_>, branch: &Branch) -> Result<&'a Service, Reply> {
    let listed = || call.services_listed(branch.branch_id);
    let Some(wanted) = call.args.text(arguments::SERVICE) else {
        let mut here = call.services(Some(branch.branch_id));
        if let (Some(only), None) = (here.next(), here.next()) {
            return Ok(only);
        }
        let message = call.say("Welche Leistung soll es sein?", "Which service would you like?");
        let reply = Reply::refusal("missing_required_fields", message);
        return Err(reply.with("missing", json!(["service_name"])).with("services", listed()));
    };
    let found = call.services(Some(branch.branch_id)).find(|service| service.is_called(&wanted));
    found.ok_or_else(|| unknown_service(call, branch))
}

fn unknown_service(call: &Call<'_>, branch: &Branch) -> Reply {
    let message = call.say("Diese Leistung bieten wir hier nicht an.", "We do not offer this service here.");
    Reply::refusal("unknown_service", message).with("services", call.services_listed(branch.branch_id))
}

/// By id, name or first name, among those who do the service there; `None` = anybody.
pub(super) fn staff(
    call: &Call<'_>,
    args: &Arguments,
    branch: &Branch,
    service: &Service,
) -> Result<Option<i32>, Reply> {
    let Some(wanted) = args.text(arguments::STAFF) else { return Ok(None) };
    let wanted = wanted.to_lowercase();
    let able = |id: i32| {
        service.staff.iter().any(|(branch_id, staff_id, _)| (*branch_id, *staff_id) == (branch.branch_id, id))
    };
    let able: Vec<_> = call.catalog.staff.iter().filter(|staff| able(staff.staff_id)).collect();
    let exact = able.iter().find(|s| s.staff_id.to_string() == wanted || s.name.to_lowercase() == wanted);
    let mut by_first_name =
        able.iter().filter(|s| s.name.to_lowercase().split_whitespace().next() == Some(wanted.as_str()));
    match (exact, by_first_name.next(), by_first_name.next()) {
        (Some(found), _, _) | (None, Some(found), None) => Ok(Some(found.staff_id)),
        _ => {
            let names: Vec<_> = able.iter().map(|staff| staff.name.as_str()).collect();
            Err(unknown_staff(call).with("alternative_staff", names))
        }
    }
}

fn unknown_staff(call: &Call<'_>) -> Reply {
    let message =
        call.say("Diese Person bietet die Leistung hier nicht an.", "This person does not offer the service here.");
    Reply::refusal("staff_cannot_provide_service", message)
}

fn command(
    call: &Call<'_>,
    caller: &Caller,
    wish: &Wish<'_>,
    function: Function,
    times: &[Candidate],
) -> BookingCommand {
    let first = times.first().copied().unwrap_or(Candidate { staff_id: wish.staff_id, starts_at: wish.starts_at });
    let said_phone = || call.args.text(arguments::PHONE).and_then(|raw| Phone::parse(&raw, DE));
    let email = call.args.text(arguments::EMAIL).filter(|e| crate::person::is_email(e) && !is_placeholder_email(e));
    let notes = call.args.text(arguments::NOTES);
    let asked = format!(
        "{}\n{}\n{:?}\n{}",
        wish.branch.branch_id,
        wish.service.service_id,
        times.iter().map(|time| (time.staff_id, time.starts_at.timestamp())).collect::<Vec<_>>(),
        wish.name.to_lowercase()
    );
    BookingCommand {
        company_id: call.company_id(),
        branch_id: wish.branch.branch_id,
        service_id: wish.service.service_id,
        staff_id: first.staff_id,
        starts_at: first.starts_at,
        who: caller.identity(),
        facts: CustomerFacts {
            name: wish.name.clone(),
            email,
            // What a withheld caller says is where to ring back, and nobody's identity.
            phone: caller.from.clone().or_else(said_phone),
            language: call.catalog.company.language.clone(),
        },
        notes,
        source: Source::Voice,
        call: Some(call.facts(caller)),
        key: Some(call.key(function, caller, &asked)),
        // What this call holds is found by the call.
        hold: None,
        or_else: times.iter().skip(1).copied().collect(),
    }
}

async fn accepted_reply(call: &Call<'_>, command: &BookingCommand, accepted: &Accepted) -> Result<Reply, Problem> {
    call.app.bell.committed(&accepted.ring);
    let status = match accepted.status {
        Status::Requested => settled(call, accepted.appointment_id).await,
        status @ (Status::Scheduled | Status::Completed | Status::NoShow | Status::Cancelled | Status::Rejected) => {
            status
        }
    };
    let starts_at = if command.or_else.is_empty() {
        command.starts_at
    } else {
        let view = call.app.store.appointment(call.company_id(), accepted.appointment_id).await?;
        view.map_or(command.starts_at, |view| view.starts_at)
    };
    let reply = told(call, starts_at, &command.sought(), status, accepted.how).await?;
    let reply = reply.with("appointment_id", accepted.appointment_id.to_string());
    Ok(match accepted.hold {
        Some(HoldUse::Expired) => reply.with("reservation", HoldUse::Expired.as_str()).and_says(&call.say(
            "Die Reservierung war schon abgelaufen, die Zeit war aber noch frei.",
            "The reservation had run out already, but the time was still free.",
        )),
        Some(hold) => reply.with("reservation", hold.as_str()),
        None => reply,
    })
}

/// The status of a `requested` appointment when Cal.com has answered, or when a caller cannot be kept waiting any longer.
pub(super) async fn settled(call: &Call<'_>, id: AppointmentId) -> Status {
    let seen = call.app.waiting.wait_for((call.company_id(), id), Until::Decided, call.app.voice_wait).await;
    seen.map_or(Status::Requested, |seen| seen.status)
}

/// What is true of the promise at this moment.
pub(super) async fn told(
    call: &Call<'_>,
    starts_at: DateTime<Utc>,
    sought: &Sought,
    status: Status,
    how: How,
) -> Result<Reply, Problem> {
    let at = call.moment(starts_at);
    Ok(match status {
        Status::Scheduled | Status::Completed | Status::NoShow => {
            let message = match how {
                How::AlreadyYours => call.say(
                    &format!("Dieser Termin war schon gebucht: {at}."),
                    &format!("This appointment was booked already: {at}."),
                ),
                How::New | How::Replayed | How::Unchanged => {
                    call.say(&format!("Der Termin ist gebucht: {at}."), &format!("The appointment is booked: {at}."))
                }
            };
            Reply::success("booked", message)
                .with("booked", true)
                .with("available", true)
                .with("appointment_time", local_time(starts_at, call.time_zone()))
        }
        Status::Requested => {
            let message = call.say(
                "Ich habe den Termin notiert, wir bestätigen ihn gleich.",
                "I have noted the appointment, we will confirm it shortly.",
            );
            Reply::success(status.as_str(), message).with("booked", false).with("available", true)
        }
        Status::Rejected => {
            let offers = call.app.store.free_instead(sought, starts_at).await?;
            let (instead, alternatives) = instead(call, starts_at, &offers);
            let message = call.say(
                "Dieser Termin ist im Kalender leider nicht mehr frei.",
                "This time is no longer free in the calendar.",
            ) + &instead;
            not_free("slot_taken", message, alternatives).with("booked", false)
        }
        Status::Cancelled => {
            let message = call.say("Dieser Termin wurde abgesagt.", "This appointment was cancelled.");
            Reply::refusal(status.as_str(), message).with("booked", false)
        }
    })
}

/// What a refusal sounds like. `branch`: whose services are listed when there is no such one.
pub(super) fn refused(call: &Call<'_>, wished: DateTime<Utc>, branch: &Branch, refusal: &Refusal) -> Reply {
    let (instead, alternatives) = instead(call, wished, refusal.alternatives());
    match refusal {
        Refusal::Taken { .. } => {
            let message =
                call.say("Dieser Termin ist leider schon vergeben.", "This time is already taken.") + &instead;
            not_free("slot_taken", message, alternatives)
        }
        Refusal::BeingReleased { .. } => {
            let message = call.say(
                "Dieser Termin wird gerade erst frei. Bitte gleich noch einmal versuchen.",
                "This time is just being released. Please try again in a moment.",
            ) + &instead;
            not_free("slot_locked", message, alternatives)
        }
        Refusal::OutsideHours { .. } => {
            let message = call.say("Zu dieser Zeit haben wir geschlossen.", "We are closed at this time.") + &instead;
            not_free("unavailable", message, alternatives)
        }
        Refusal::TooSoon { minimum_minutes, .. } => {
            let message = call.say(
                &format!("Diese Leistung muss mindestens {minimum_minutes} Minuten vorher gebucht werden."),
                &format!("This service must be booked at least {minimum_minutes} minutes ahead."),
            ) + &instead;
            not_free("booking_notice_violation", message, alternatives)
        }
        Refusal::InThePast => in_the_past(call),
        Refusal::UnknownService => unknown_service(call, branch),
        Refusal::UnknownStaff => unknown_staff(call),
        Refusal::Policy(denial) => call.denied(Operation::Reschedule, denial, call.time_zone()),
        Refusal::UnknownBranch | Refusal::Final { .. } => {
            let message = call.say("Das ist leider nicht möglich.", "I am afraid that is not possible.");
            Reply::refusal("denied", message).with("reason", refusal.code())
        }
    }
}

/// The end of the sentence, and the field, that name what is free instead.
pub(super) fn instead(call: &Call<'_>, wished: DateTime<Utc>, offers: &[Offer]) -> (String, Value) {
    let sentence = offers.first().map_or_else(String::new, |offer| {
        let first = call.language.offer(offer.during.start(), wished, call.time_zone());
        call.say(&format!(" Frei wäre {first}."), &format!(" Free would be {first}."))
    });
    (sentence, offers.iter().take(ALTERNATIVES_MAX).map(|offer| alternative(call, wished, offer)).collect())
}

fn not_free(status: &str, message: String, alternatives: Value) -> Reply {
    Reply::refusal(status, message).with("available", false).with("alternatives", alternatives)
}

pub(super) fn in_the_past(call: &Call<'_>) -> Reply {
    let message = call.say(
        "Diese Zeit liegt in der Vergangenheit. Welcher Tag ist gemeint?",
        "This time is in the past. Which day do you mean?",
    );
    Reply::refusal("past_time", message).with("available", false)
}

pub(super) fn alternative(call: &Call<'_>, wished: DateTime<Utc>, offer: &Offer) -> Value {
    let local = offer.during.start().with_timezone(&call.time_zone());
    let staff = call.catalog.staff.iter().find(|staff| staff.staff_id == offer.staff_id);
    json!({
        "time": local.format("%H:%M").to_string(),
        "date": local.format("%d.%m.%Y").to_string(),
        "starts_at": offer.during.start().to_rfc3339(),
        "description": call.language.offer(offer.during.start(), wished, call.time_zone()),
        "spoken": call.language.offer(offer.during.start(), wished, call.time_zone()),
        "spoken_time": call.language.time(local.time()),
        "staff": staff.map(|staff| staff.name.as_str()),
    })
}
