//! Who calls, and what time it is: `check_customer`, `get_current_context`.
//!
//! A customer is whoever calls from the exact number; a withheld one is nobody, whatever the agent says. The caller hears
//! his own facts only.

use chrono::Days;
use domain::phone::Phone;
use serde_json::{Value, json};
use store::Profile;

use super::Call;
use crate::problem::Problem;
use crate::reply::Reply;

/// `check_customer`.
pub(super) async fn check(call: &Call<'_>) -> Result<Reply, Problem> {
    let Some(phone) = call.caller.as_ref().and_then(|caller| caller.from.as_ref()) else {
        let message = call.say("Der Anruf hat keine Rufnummer.", "The call has no number.");
        return Ok(unknown(Reply::success("anonymous", message)));
    };
    let Some(profile) = call.app.store.profile(call.company_id(), phone).await? else {
        let message = call.say("Das ist ein neuer Kunde.", "This is a new customer.");
        return Ok(unknown(Reply::success("new_customer", message).with("new_customer", true)));
    };
    let message = match &profile.name {
        Some(name) => call.say(&format!("Der Anruf ist von {name}."), &format!("The caller is {name}.")),
        None => call.say("Die Nummer ist bekannt.", "The number is known."),
    };
    let customer = described(call, phone, &profile);
    Ok(with_fields(Reply::success("found", message), &customer)
        .with("new_customer", false)
        .with("customer_found", true)
        .with("customer", customer))
}

/// `get_current_context`, `initialize_call`.
pub(super) async fn context(call: &Call<'_>) -> Result<Reply, Problem> {
    let customer = match call.caller.as_ref().and_then(|caller| caller.from.as_ref()) {
        None => json!({"status": "anonymous"}),
        Some(phone) => match call.app.store.profile(call.company_id(), phone).await? {
            None => json!({"status": "new_customer"}),
            Some(profile) => {
                let mut customer = described(call, phone, &profile);
                customer["status"] = "found".into();
                customer
            }
        },
    };
    let now = call.now.with_timezone(&call.time_zone());
    let today = now.date_naive();
    let day = |days: u64| today.checked_add_days(Days::new(days)).unwrap_or(today);
    let dated = |days: u64| json!({"date": day(days).to_string(), "weekday": call.language.weekday(day(days))});
    let message = call.say(
        &format!("Heute ist {}, es ist {}.", call.language.day(today), call.language.time(now.time())),
        &format!("Today is {}, it is {}.", call.language.day(today), call.language.time(now.time())),
    );
    let time = now.format("%H:%M").to_string();
    Ok(Reply::success("context", message)
        .with("customer", customer)
        .with("current_time", json!({"date": today.to_string(), "time": time, "weekday": call.language.weekday(today)}))
        .with("date", today.to_string())
        .with("time", time)
        .with("weekday", call.language.weekday(today))
        .with("tomorrow", dated(1))
        .with("day_after_tomorrow", dated(2)))
}

const FIELDS: [&str; 4] = ["predicted_service", "service_confidence", "preferred_staff", "preferred_staff_id"];

/// Flows read these at the root, too.
fn with_fields(reply: Reply, customer: &Value) -> Reply {
    FIELDS.into_iter().fold(reply, |reply, field| reply.with(field, customer.get(field).cloned().unwrap_or_default()))
}

fn unknown(reply: Reply) -> Reply {
    with_fields(reply, &json!({"service_confidence": 0.0})).with("customer_found", false).with("customer", Value::Null)
}

fn described(call: &Call<'_>, phone: &Phone, profile: &Profile) -> Value {
    let service = profile.usual_service.and_then(|usual| {
        let named = call.catalog.services.iter().find(|service| service.service_id == usual.id)?;
        Some((named.name.as_str(), usual.share()))
    });
    let staff =
        profile.usual_staff.and_then(|usual| call.catalog.staff.iter().find(|staff| staff.staff_id == usual.id));
    json!({
        "id": profile.customer_id.to_string(),
        "name": profile.name,
        "phone": phone.as_e164(),
        "predicted_service": service.map(|(name, _)| name),
        "service_confidence": service.map_or(0.0, |(_, share)| share),
        "preferred_staff": staff.map(|staff| staff.name.as_str()),
        "preferred_staff_id": staff.map(|staff| staff.staff_id),
    })
}
