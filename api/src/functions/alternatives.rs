//! `get_alternatives` and `find_next_available`: what is free near a time, and what is free next.
//!
//! From the record alone; only a booking decides. Deliberately absent: keeping what was offered for anybody.

use chrono::{DateTime, LocalResult, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use domain::alternatives::DAYS_MAX;
use domain::hours::Offer;
use domain::refusal::Refusal;
use serde_json::Value;
use store::{Branch, Found, Sake, Sought};

use super::book::{alternative, in_the_past, missing, refused, service, staff};
use super::{Call, local_time};
use crate::arguments;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::when;

/// Times in one reply.
const ALTERNATIVES_MAX: usize = 3;

/// What is free near the wished time; near none, what is free next.
pub(super) async fn near(call: &Call<'_>) -> Result<Reply, Problem> {
    let (branch, sought) = match sought(call) {
        Ok(sought) => sought,
        Err(reply) => return Ok(reply),
    };
    match wished(call) {
        Err(reply) => Ok(reply),
        Ok(Wished::From(from)) => next_from(call, branch, &sought, from, DAYS_MAX).await,
        Ok(Wished::At(at)) if at <= call.now => Ok(in_the_past(call)),
        Ok(Wished::At(at)) => match call.app.store.alternatives(&sought, at, ALTERNATIVES_MAX).await? {
            Ok(found) => Ok(told(call, at, &found)),
            Err(refusal) => Ok(refused(call, at, branch, &refusal)),
        },
    }
}

fn told(call: &Call<'_>, at: DateTime<Utc>, found: &Found) -> Reply {
    let offers: Vec<Offer> = found.alternatives.iter().map(|a| a.offer).collect();
    let when = call.moment(at);
    let instead = match offers.first() {
        None => call.say(" In der Nähe ist leider nichts frei.", " Nothing is free near it, I am afraid."),
        Some(first) => {
            let first = call.language.offer(first.during.start(), at, call.time_zone());
            call.say(&format!(" Frei wäre {first}."), &format!(" Free would be {first}."))
        }
    };
    let (is_free, seconds) = match &found.wished {
        Ok(_) => (true, None),
        Err(Refusal::BeingReleased { seconds, .. }) => (false, Some(*seconds)),
        Err(_) => (false, None),
    };
    let message = match (found.already_theirs, is_free, seconds) {
        (true, ..) => {
            call.say(&format!("Diesen Termin haben Sie schon: {when}."), &format!("You have this one already: {when}."))
        }
        (false, true, _) => call.say(&format!("{when} ist frei."), &format!("{when} is free.")),
        (false, false, Some(seconds)) => call.say(
            &format!("{when} wird in etwa {seconds} Sekunden frei."),
            &format!("{when} becomes free in about {seconds} seconds."),
        ),
        (false, false, None) => {
            call.say(&format!("{when} ist leider nicht frei."), &format!("{when} is not free, I am afraid."))
        }
    } + if found.already_theirs || is_free { "" } else { &instead };
    let any = is_free || !offers.is_empty();
    let reply = Reply::success(if any { "found" } else { "no_availability" }, message)
        .with("found", any)
        .with("available", is_free)
        .with("already_booked", found.already_theirs)
        .with("requested_time", local_time(at, call.time_zone()))
        .with("reason", found.wished.as_ref().err().map(Refusal::code))
        .with("alternatives", listed(call, at, &offers));
    match seconds {
        Some(seconds) => reply.with("retry_after_seconds", seconds),
        None => reply,
    }
}

/// What is free next, from a moment or day on, or from now on.
pub(super) async fn next(call: &Call<'_>) -> Result<Reply, Problem> {
    let (branch, sought) = match sought(call) {
        Ok(sought) => sought,
        Err(reply) => return Ok(reply),
    };
    let after = match after(call) {
        Ok(after) => after,
        Err(reply) => return Ok(reply),
    };
    let asked = call.args.text(arguments::SEARCH_DAYS).and_then(|days| days.parse().ok());
    let days = asked.filter(|days| (1..=DAYS_MAX).contains(days)).unwrap_or(DAYS_MAX);
    next_from(call, branch, &sought, after, days).await
}

async fn next_from(
    call: &Call<'_>,
    branch: &Branch,
    sought: &Sought,
    after: Option<DateTime<Utc>>,
    days: u16,
) -> Result<Reply, Problem> {
    let from = after.unwrap_or(call.now);
    let offers = match call.app.store.next_available(sought, after, days, ALTERNATIVES_MAX).await? {
        Ok(offers) => offers,
        Err(refusal) => return Ok(refused(call, from, branch, &refusal)),
    };
    let Some(first) = offers.first() else {
        let message = call.say(
            &format!("In den nächsten {days} Tagen ist leider nichts frei."),
            &format!("Nothing is free within the next {days} days, I am afraid."),
        );
        let reply = Reply::success("no_availability", message).with("found", false).with("available", false);
        return Ok(reply.with("alternatives", Value::Array(vec![])));
    };
    let at = call.moment(first.during.start());
    let message =
        call.say(&format!("Der nächste freie Termin ist am {at}."), &format!("The next free time is on {at}."));
    Ok(Reply::success("found", message)
        .with("found", true)
        .with("available", true)
        .with("already_booked", false)
        .with("next_available", alternative(call, from, first))
        .with("slot_time", local_time(first.during.start(), call.time_zone()))
        .with("alternatives", listed(call, from, &offers)))
}

fn listed(call: &Call<'_>, wished: DateTime<Utc>, offers: &[Offer]) -> Value {
    offers.iter().map(|offer| alternative(call, wished, offer)).collect()
}

/// Where and what, and for whom: a caller's own appointments are in the way.
fn sought<'a>(call: &'a Call<'_>) -> Result<(&'a Branch, Sought), Reply> {
    let branch = call.branch_of_call().ok_or_else(|| call.unknown_branch())?;
    let service = service(call, branch)?;
    let staff_id = staff(call, &call.args, branch, service)?;
    let whose = call.caller.as_ref().map(|caller| Sake::Caller(caller.identity()));
    let (branch_id, service_id) = (branch.branch_id, service.service_id);
    Ok((branch, Sought { company_id: call.company_id(), branch_id, service_id, staff_id, whose }))
}

enum Wished {
    /// This time.
    At(DateTime<Utc>),
    /// No time of day was said: whatever is free from then on.
    From(Option<DateTime<Utc>>),
}

/// A date and a time, a day, a time of today or else of tomorrow, or nothing.
fn wished(call: &Call<'_>) -> Result<Wished, Reply> {
    let (whole, date, time) =
        (call.args.text(arguments::DATETIME), call.args.text(arguments::DATE), call.args.text(arguments::TIME));
    let moment = |text: &str| when::moment(text, call.time_zone(), call.now);
    let parted = date.as_ref().zip(time.as_ref()).map(|(date, time)| format!("{date} {time}"));
    if let Some(at) = [&whole, &parted, &date].into_iter().flatten().find_map(|text| moment(text)) {
        return Ok(Wished::At(at));
    }
    let day = date.as_ref().or(whole.as_ref());
    match (day, time) {
        (None, None) => Ok(Wished::From(None)),
        (Some(day), None) => start_of_day(call, day).map(|at| Wished::From(Some(at))).ok_or_else(|| missing(call, &[])),
        (None, Some(time)) => {
            let time = when::time(&time).ok_or_else(|| missing(call, &["time"]))?;
            let today = call.now.with_timezone(&call.time_zone()).date_naive();
            let at =
                [0, 1].into_iter().filter_map(|days| instant(call, (today + TimeDelta::days(days)).and_time(time)));
            at.into_iter().find(|at| *at > call.now).map(Wished::At).ok_or_else(|| missing(call, &[]))
        }
        (Some(_), Some(_)) => Err(missing(call, &[])),
    }
}

/// `after`: a moment, a day, or nothing; else date and time as everywhere.
fn after(call: &Call<'_>) -> Result<Option<DateTime<Utc>>, Reply> {
    let Some(text) = call.args.text(arguments::AFTER) else {
        return wished(call).map(|wished| match wished {
            Wished::At(at) => Some(at),
            Wished::From(from) => from,
        });
    };
    let moment = when::moment(&text, call.time_zone(), call.now);
    moment.or_else(|| start_of_day(call, &text)).map(Some).ok_or_else(|| missing(call, &[]))
}

fn start_of_day(call: &Call<'_>, text: &str) -> Option<DateTime<Utc>> {
    instant(call, when::date(text, call.time_zone(), call.now)?.and_time(NaiveTime::MIN))
}

fn instant(call: &Call<'_>, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
    match call.time_zone().from_local_datetime(&wall) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at.with_timezone(&Utc)),
        LocalResult::None => None,
    }
}
