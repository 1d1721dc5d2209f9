//! What the company offers and when it is open: `list_services`, `get_service_info`, `get_opening_hours`. From the catalog.

use chrono::{Datelike, Days, NaiveDate, Weekday};
use domain::hours::Opening;
use serde_json::{Value, json};
use store::{Branch, Service};

use super::{Call, SERVICES_MAX};
use crate::arguments::{self, DAY_OF_WEEK};
use crate::reply::Reply;
use crate::spoken::Language;

/// `list_services`, `get_available_services`.
pub(super) fn list(call: &Call<'_>) -> Reply {
    let branch = call.branch_of_call();
    let services: Vec<&Service> = call.services(branch.map(|branch| branch.branch_id)).take(SERVICES_MAX).collect();
    let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    if names.is_empty() {
        let message = call.say("Zurzeit lässt sich hier nichts buchen.", "Nothing can be booked here at the moment.");
        return Reply::refusal("no_services", message).with("services", json!([]));
    }
    let names = names.join(", ");
    let message = call.say(&format!("Wir bieten an: {names}."), &format!("We offer: {names}."));
    let listed: Vec<Value> = services.into_iter().map(|service| listed(call, branch, service)).collect();
    Reply::success("listed", message).with("services", listed)
}

/// `get_service_info`.
pub(super) fn info(call: &Call<'_>) -> Reply {
    let branch = call.branch_of_call();
    let Some(wanted) = call.args.text(arguments::SERVICE) else {
        let message = call.say("Um welche Leistung geht es?", "Which service do you mean?");
        return Reply::refusal("missing_required_fields", message).with("missing", json!(["service_name"]));
    };
    let found = call.services(branch.map(|branch| branch.branch_id)).find(|service| service.is_called(&wanted));
    let Some(service) = found else {
        let message = call.say("Diese Leistung bieten wir hier nicht an.", "We do not offer this service here.");
        let offered: Vec<Value> =
            call.services(branch.map(|b| b.branch_id)).take(SERVICES_MAX).map(|s| listed(call, branch, s)).collect();
        return Reply::refusal("unknown_service", message).with("services", offered);
    };
    let message = call.say(
        &format!("{} dauert {} Minuten.", service.name, service.duration_minutes),
        &format!("{} takes {} minutes.", service.name, service.duration_minutes),
    );
    Reply::success("found", message).with("service", listed(call, branch, service))
}

fn listed(call: &Call<'_>, branch: Option<&Branch>, service: &Service) -> Value {
    let here = |branch_id: i32| branch.is_none_or(|branch| branch.branch_id == branch_id);
    let by = |staff_id: i32| service.staff.iter().any(|(branch_id, id, _)| here(*branch_id) && *id == staff_id);
    let staff: Vec<&str> =
        call.catalog.staff.iter().filter(|staff| by(staff.staff_id)).map(|staff| staff.name.as_str()).collect();
    json!({
        "id": service.service_id,
        "name": service.name,
        "duration": service.duration_minutes,
        "minimum_notice_minutes": service.minimum_notice_minutes,
        "staff": staff,
    })
}

/// `get_opening_hours`: of the day that is named, else of the week.
pub(super) fn opening_hours(call: &Call<'_>) -> Reply {
    let Some(branch) = call.branch_of_call() else {
        let message = call.say("Um welche Filiale geht es?", "Which branch do you mean?");
        return Reply::refusal("unknown_branch", message);
    };
    let today = call.now.with_timezone(&branch.hours.time_zone).date_naive();
    let Some(said) = call.args.text(DAY_OF_WEEK) else {
        let week: Vec<NaiveDate> = (0..7).filter_map(|days| today.checked_add_days(Days::new(days))).collect();
        let listed: Vec<Value> = week.into_iter().map(|day| of_day(call.language, branch, day)).collect();
        let message = call.say("Das sind unsere Öffnungszeiten.", "These are our opening hours.");
        return Reply::success("found", message).with("opening_hours", listed);
    };
    match phrases::read(&said, today).map(|phrase| phrase.day) {
        Ok(Some(day)) => {
            let words = words(call, branch, day);
            Reply::success("found", words).with("opening_hours", json!([of_day(call.language, branch, day)]))
        }
        Ok(None) => super::parse_date::asked_back(call, phrases::Unclear::Nothing),
        Err(unclear) => super::parse_date::asked_back(call, unclear),
    }
}

fn openings(branch: &Branch, weekday: Weekday) -> Vec<Opening> {
    let of_day = |opening: &&Opening| u32::from(opening.weekday) == weekday.number_from_monday();
    let mut openings: Vec<Opening> = branch.hours.openings.iter().filter(of_day).copied().collect();
    openings.sort_by_key(|opening| opening.opens);
    openings
}

fn of_day(language: Language, branch: &Branch, day: NaiveDate) -> Value {
    let open: Vec<Value> = openings(branch, day.weekday())
        .into_iter()
        .map(|o| json!({"from": o.opens.format("%H:%M").to_string(), "to": o.closes.format("%H:%M").to_string()}))
        .collect();
    json!({"day": language.weekday(day), "date": day.to_string(), "closed": open.is_empty(), "open": open})
}

fn words(call: &Call<'_>, branch: &Branch, day: NaiveDate) -> String {
    let name = call.language.day(day);
    let open = openings(branch, day.weekday());
    if open.is_empty() {
        return call.say(&format!("Am {name} haben wir geschlossen."), &format!("On {name} we are closed."));
    }
    let hours = |german: bool| {
        let (to, joint) = if german { ("bis", " und ") } else { ("to", " and ") };
        let from = if german { "von " } else { "from " };
        let spans =
            open.iter().map(|o| format!("{from}{} {to} {}", call.language.time(o.opens), call.language.time(o.closes)));
        spans.collect::<Vec<_>>().join(joint)
    };
    call.say(
        &format!("Am {name} haben wir {} geöffnet.", hours(true)),
        &format!("On {name} we are open {}.", hours(false)),
    )
}
