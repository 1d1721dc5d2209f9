//! `parse_date`: which day and time a caller's words mean. Reads nothing and changes nothing.

use chrono::{Datelike, NaiveDate, NaiveTime};
use phrases::{Clock, Phrase, Unclear};
use serde_json::{Value, json};

use super::Call;
use crate::arguments::DATE_STRING;
use crate::reply::Reply;
use crate::when;

/// Reads them.
pub(super) fn run(call: &Call<'_>) -> Reply {
    let today = call.now.with_timezone(&call.time_zone()).date_naive();
    let said = match call.args.text(DATE_STRING) {
        Some(text) => phrases::read(&text, today).map(Some),
        None => when::said(&call.args, today),
    };
    match said {
        Ok(Some(phrase)) => understood(call, phrase, today),
        Ok(None) => {
            let message = call.say("Welcher Tag ist gemeint?", "Which day do you mean?");
            Reply::refusal("missing_date_string", message).with("missing", json!(["date_string"]))
        }
        Err(unclear) => asked_back(call, unclear),
    }
}

fn understood(call: &Call<'_>, phrase: Phrase, today: NaiveDate) -> Reply {
    let clock = phrase.clock.map(|clock| spoken(call, clock));
    let Some(day) = phrase.day else {
        let message = call.say("An welchem Tag?", "On which day?");
        let reply = Reply::refusal("missing_date_string", message).with("missing", json!(["date_string"]));
        return with_clock(reply, phrase.clock);
    };
    let name = call.language.day(day);
    if day < today {
        let message = call.say(
            &format!("{name} {}, das ist vorbei. Welcher Tag ist gemeint?", day.year()),
            &format!("{name} {}, that is over. Which day do you mean?", day.year()),
        );
        return Reply::refusal("past_time", message).with("date", day.to_string());
    }
    let message = clock.map_or_else(|| format!("{name}."), |clock| format!("{name}, {clock}."));
    let reply = Reply::success("parsed", message)
        .with("date", day.to_string())
        .with("display_date", day.format("%d.%m.%Y").to_string())
        .with("day_name", call.language.weekday(day));
    with_clock(reply, phrase.clock)
}

fn with_clock(reply: Reply, clock: Option<Clock>) -> Reply {
    let hhmm = |time: NaiveTime| Value::from(time.format("%H:%M").to_string());
    match clock {
        Some(Clock::At(time)) => reply.with("time", hhmm(time)),
        Some(Clock::Between(from, until)) => reply.with("time_from", hhmm(from)).with("time_until", hhmm(until)),
        Some(Clock::First) => reply.with("first_available", true),
        None => reply,
    }
}

fn spoken(call: &Call<'_>, clock: Clock) -> String {
    let time = |time| call.language.time(time);
    match clock {
        Clock::At(at) => time(at),
        Clock::Between(from, until) => {
            call.say(&format!("von {} bis {}", time(from), time(until)), &format!("{} to {}", time(from), time(until)))
        }
        Clock::First => call.say("der erste freie Termin", "the first free time"),
    }
}

/// What the caller is asked.
pub(super) fn asked_back(call: &Call<'_>, unclear: Unclear) -> Reply {
    let (reason, message) = match unclear {
        Unclear::Nothing | Unclear::Word => (
            "not_understood",
            call.say(
                "Das Datum habe ich nicht verstanden. Bitte Tag und Monat nennen.",
                "I did not understand the date. Please say day and month.",
            ),
        ),
        Unclear::TwoDays => ("two_days", call.say("Welcher Tag genau ist gemeint?", "Which day exactly do you mean?")),
        Unclear::TwoTimes => ("two_times", call.say("Um wie viel Uhr genau?", "At what time exactly?")),
        Unclear::WrongWeekday => (
            "wrong_weekday",
            call.say(
                "Wochentag und Datum passen nicht zusammen. Was gilt?",
                "That date is another weekday. Which one do you mean?",
            ),
        ),
        Unclear::NoSuchDay => (
            "no_such_day",
            call.say("Diese Zeit gibt es nicht. Was ist gemeint?", "There is no such time. What do you mean?"),
        ),
    };
    Reply::refusal("invalid_date_format", message).with("reason", reason)
}
