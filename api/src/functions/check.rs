//! `check_availability`: whether a time is free for a service, and what is free instead.
//!
//! It says what is known and how well: where Cal.com does not answer, the sentence is weaker. Nothing is kept for anybody;
//! the booking decides. Deliberately absent: moving a wish that lies in the past.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use domain::hours::Offer;
use domain::refusal::Refusal;
use domain::slot::TimeRange;
use phrases::{Clock, Phrase};
use serde_json::json;
use store::{Branch, Own, Service, Whose};

use super::{Call, book, local_time};
use crate::availability::{DAYS_MAX, Look, Seen, Source, midnight};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::when;

/// Alternatives in one reply.
const ALTERNATIVES_MAX: usize = 3;
/// What is free so little before the wish, on the same day, is offered too.
const BEFORE: TimeDelta = TimeDelta::hours(2);
/// What the agent takes the service to last; it is as long as it is.
const DURATION: &[&str] = &["duration", "duration_minutes", "dauer"];

/// What is asked for, every name resolved.
struct Wish<'a> {
    branch: &'a Branch,
    service: &'a Service,
    staff_id: Option<i32>,
    when: When,
}

enum When {
    At(DateTime<Utc>),
    /// A day, or a part of one, without a time.
    On(NaiveDate, Option<(NaiveTime, NaiveTime)>),
}

/// Looks.
pub(super) async fn run(call: &Call<'_>) -> Result<Reply, Problem> {
    let wish = match understand(call) {
        Ok(wish) => wish,
        Err(reply) => return Ok(reply.with("available", false)),
    };
    match wish.when {
        When::At(starts_at) => {
            let reply = at(call, &wish, starts_at).await?;
            Ok(reply.with("requested_time", local_time(starts_at, call.time_zone())))
        }
        When::On(day, part) => on(call, &wish, day, part).await,
    }
}

fn understand<'a>(call: &'a Call<'_>) -> Result<Wish<'a>, Reply> {
    let branch = call.branch_of_call().ok_or_else(|| call.unknown_branch())?;
    let when = when(call)?;
    let service = book::service(call, branch)?;
    let staff_id = book::staff(call, &call.args, branch, service)?;
    Ok(Wish { branch, service, staff_id, when })
}

/// A date and a time; or a day that is understood, when the time is missing.
fn when(call: &Call<'_>) -> Result<When, Reply> {
    let unclear = match book::starts_at(call, &call.args) {
        Ok(starts_at) => return Ok(When::At(starts_at)),
        Err(unclear) => unclear,
    };
    let (day, clock) = match when::said(&call.args, call.today()) {
        Ok(Some(Phrase { day: Some(day), clock })) => (day, clock),
        Ok(_) | Err(_) => return Err(unclear),
    };
    let part = match clock {
        Some(Clock::Between(from, until)) => Some((from, until)),
        Some(Clock::First) | None => None,
        Some(Clock::At(_)) => return Err(unclear),
    };
    if day < call.today() { Err(book::in_the_past(call)) } else { Ok(When::On(day, part)) }
}

/// Is this time free?
async fn at(call: &Call<'_>, wish: &Wish<'_>, starts_at: DateTime<Utc>) -> Result<Reply, Problem> {
    if starts_at <= call.now {
        return Ok(book::in_the_past(call));
    }
    let from =
        midnight(call.time_zone(), starts_at.with_timezone(&call.time_zone()).date_naive()).max(starts_at - BEFORE);
    let seen = look(call, wish, from, starts_at, from + TimeDelta::days(DAYS_MAX)).await?;
    let reply = judge(call, wish, starts_at, &seen);
    Ok(told(call, wish, &seen, reply))
}

fn judge(call: &Call<'_>, wish: &Wish<'_>, starts_at: DateTime<Utc>, seen: &Seen) -> Reply {
    let offers = nearest(&seen.offers, starts_at);
    let (instead, alternatives) = book::instead(call, starts_at, &offers);
    let Some(during) = TimeRange::starting(starts_at, wish.service.duration_minutes) else {
        return book::in_the_past(call);
    };
    let minimum_minutes = wish.service.minimum_notice_minutes;
    if starts_at <= seen.now {
        return book::in_the_past(call);
    }
    if starts_at < seen.now + TimeDelta::minutes(minimum_minutes.into()) {
        let refusal = Refusal::TooSoon { minimum_minutes, alternatives: offers };
        return book::refused(call, starts_at, wish.branch, &refusal);
    }
    let not_free = |status: &str, message: String| {
        Reply::success(status, message + &instead).with("available", false).with("alternatives", alternatives.clone())
    };
    if let Some(own) = seen.own.iter().find(|own| own.during.overlaps(during)) {
        let at = call.moment(own.during.start());
        let message = call.say(
            &format!("Zu dieser Zeit gibt es schon einen eigenen Termin: {}, {at}.", own.service_name),
            &format!("There is an appointment of yours at this time already: {}, {at}.", own.service_name),
        );
        return not_free("has_existing_appointment", message)
            .with("has_existing_appointment", true)
            .with("existing_appointment", existing(call, own));
    }
    if !wish.branch.hours.contain(during) {
        let message = call.say("Zu dieser Zeit haben wir geschlossen.", "We are closed at this time.");
        return not_free("unavailable", message).with("reason", "outside_hours");
    }
    let Some(staff_id) = seen.whom(during) else {
        let message = call.say("Diese Zeit ist leider nicht frei.", "I am afraid this time is not free.");
        return not_free("unavailable", message);
    };
    let at = call.moment(starts_at);
    let message = match seen.source {
        Source::Calcom => call.say(&format!("Ja, {at} ist frei."), &format!("Yes, {at} is free.")),
        Source::CalcomStale | Source::Record => call.say(
            &format!("Soweit ich gerade sehen kann, ist {at} frei."),
            &format!("As far as I can see just now, {at} is free."),
        ),
    };
    let staff = call.catalog.staff.iter().find(|staff| staff.staff_id == staff_id);
    Reply::success("available", message)
        .with("available", true)
        .with("slot_time", local_time(starts_at, call.time_zone()))
        .with("spoken_time", call.language.time(starts_at.with_timezone(&call.time_zone()).time()))
        .with("staff", staff.map(|staff| staff.name.as_str()))
        .with("alternatives", json!([]))
}

/// A day is known and no time: asks for it, and says what is free first. A part of the day was asked about as such.
async fn on(
    call: &Call<'_>,
    wish: &Wish<'_>,
    day: NaiveDate,
    part: Option<(NaiveTime, NaiveTime)>,
) -> Result<Reply, Problem> {
    let whole = midnight(call.time_zone(), day);
    let next = day.checked_add_days(Days::new(1)).map_or(whole, |next| midnight(call.time_zone(), next));
    let wall = |time: NaiveTime| phrases::instant(day.and_time(time), call.time_zone());
    let begins = part.and_then(|(from, _)| wall(from)).unwrap_or(whole);
    let ends = part.and_then(|(_, until)| wall(until)).unwrap_or(next);
    let seen = look(call, wish, begins, begins, ends).await?;
    let fitting = seen.offers.iter().filter(|offer| offer.during.start() >= begins && offer.during.end() <= ends);
    let offers: Vec<_> = fitting.take(ALTERNATIVES_MAX).copied().collect();
    let (instead, alternatives) = book::instead(call, begins, &offers);
    let (status, message) = match (offers.is_empty(), part) {
        (true, None) => (
            "no_availability",
            call.say("An diesem Tag ist leider nichts frei.", "I am afraid nothing is free on this day."),
        ),
        (true, Some(_)) => (
            "no_availability",
            call.say("In dieser Zeit ist leider nichts frei.", "I am afraid nothing is free at that time."),
        ),
        (false, _) => ("time_required", call.say("Um wie viel Uhr soll es sein?", "At what time?") + &instead),
    };
    let free = part.is_some() && !offers.is_empty();
    let reply = if free { Reply::success(status, message) } else { Reply::refusal(status, message) };
    let reply = reply.with("available", free).with("alternatives", alternatives);
    Ok(told(call, wish, &seen, reply).with("requested_date", day.to_string()))
}

async fn look(
    call: &Call<'_>,
    wish: &Wish<'_>,
    from: DateTime<Utc>,
    wished: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Seen, Problem> {
    let caller = call.caller.as_ref();
    let whose = caller.map(|caller| Whose::Call(caller.call_id.clone())).into_iter();
    let look = Look {
        company_id: call.company_id(),
        branch: wish.branch,
        service: wish.service,
        staff_id: wish.staff_id,
        from,
        to,
        enough: (ALTERNATIVES_MAX, wished),
        whose: whose.chain(caller.and_then(|caller| caller.from.clone()).map(Whose::Phone)).collect(),
        clock: call.now,
    };
    call.app.availability.look(&call.app.store, &look).await
}

/// The ones that lie nearest, of the next and of those a little before.
fn nearest(offers: &[Offer], wished: DateTime<Utc>) -> Vec<Offer> {
    let mut nearest: Vec<_> = offers.iter().filter(|offer| offer.during.start() != wished).copied().collect();
    nearest.sort_by_key(|offer| {
        let distance = (offer.during.start() - wished).abs();
        (distance, offer.during.start() < wished)
    });
    nearest.truncate(ALTERNATIVES_MAX);
    nearest
}

fn existing(call: &Call<'_>, own: &Own) -> serde_json::Value {
    let local = own.during.start().with_timezone(&call.time_zone());
    json!({
        "id": own.appointment_id.to_string(),
        "service": own.service_name,
        "date": local.format("%d.%m.%Y").to_string(),
        "time": local.format("%H:%M").to_string(),
    })
}

/// What every reply tells of itself: for which service, of which moment, from where.
fn told(call: &Call<'_>, wish: &Wish<'_>, seen: &Seen, reply: Reply) -> Reply {
    let minutes = wish.service.duration_minutes;
    let reply = reply
        .with("service", wish.service.name.as_str())
        .with("duration", minutes)
        .with("as_of", seen.as_of.to_rfc3339())
        .with("source", seen.source.as_str());
    let differs =
        call.args.text(DURATION).and_then(|said| said.parse::<u16>().ok()).is_some_and(|said| said != minutes);
    if !differs {
        return reply;
    }
    let note = call.say(
        &format!("{} dauert {minutes} Minuten.", wish.service.name),
        &format!("{} takes {minutes} minutes.", wish.service.name),
    );
    reply.with("duration_note", note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first_and_of_two_the_later() {
        let at = |hour, minute| format!("2026-11-25T{hour:02}:{minute:02}:00Z").parse::<DateTime<Utc>>().unwrap();
        let offer = |(hour, minute)| Offer { staff_id: 1, during: TimeRange::starting(at(hour, minute), 30).unwrap() };
        let offers: Vec<_> = [(12, 0), (13, 0), (13, 30), (14, 0), (14, 30), (16, 0)].map(offer).into();
        let starts: Vec<_> = nearest(&offers, at(14, 0)).iter().map(|offer| offer.during.start()).collect();
        assert_eq!(starts, [at(14, 30), at(13, 30), at(13, 0)]);
        let starts: Vec<_> = nearest(&offers[5..], at(14, 0)).iter().map(|offer| offer.during.start()).collect();
        assert_eq!(starts, [at(16, 0)]);
    }
}
