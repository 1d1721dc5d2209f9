//! A conversation as its file has it: the first line says what it is about, then one step a line.
//!
//! ```text
//! caller +4915112345678            a new call from that number; `anonymous` withholds it
//! > start_booking {"datetime": …}  the agent calls a function; {tue} and the like are days
//! post /api/retell/… {…}           the same at a path of the old gateway
//! < status booked                  what the reply says there: a word, JSON, `~ part of a text`, `*` anything, `-` nothing
//! remember id appointment_id       {id} is what the reply says there
//! event call_ended {…}             Retell tells of the call
//! business cancels | moves DAY TIME | books DAY TIME STAFF   at Cal.com, without us
//! settle                           until nothing is to be done any more
//! end live 1 | status cancelled | callbacks 0 | customers 1 | appointments 1
//! ```

use std::path::Path;

/// One of them.
pub struct Conversation {
    pub name: String,
    pub title: String,
    pub steps: Vec<Step>,
}

pub enum Step {
    Caller(String),
    Function { name: String, args: String },
    Post { path: String, args: String },
    Expect { field: String, what: Expected },
    Remember { name: String, field: String },
    Event { name: String, fields: String },
    Business(Vec<String>),
    Settle,
    End { what: String, value: String },
}

pub enum Expected {
    Is(String),
    Contains(String),
    Something,
    Nothing,
}

impl Conversation {
    pub fn read(file: &Path) -> Self {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(file).unwrap();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let title = lines.next().expect("the first line says what it is about").to_owned();
        let steps: Vec<Step> = lines.map(|line| step(line).unwrap_or_else(|| panic!("{name}: {line}"))).collect();
        let judged = steps.iter().any(|s| matches!(s, Step::Expect { .. }));
        assert!(judged && steps.iter().any(|s| matches!(s, Step::End { .. })), "{name} expects nothing");
        Self { name, title, steps }
    }
}

fn step(line: &str) -> Option<Step> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let two =
        || rest.split_once(' ').map_or((rest.to_owned(), String::new()), |(a, b)| (a.to_owned(), b.trim().to_owned()));
    let (first, second) = two();
    Some(match word {
        "caller" => Step::Caller(rest.to_owned()),
        ">" => Step::Function { name: first, args: if second.is_empty() { "{}".to_owned() } else { second } },
        "post" => Step::Post { path: first, args: second },
        "<" => Step::Expect { field: first, what: expected(&second) },
        "remember" => Step::Remember { name: first, field: second },
        "event" => Step::Event { name: first, fields: if second.is_empty() { "{}".to_owned() } else { second } },
        "business" => Step::Business(rest.split(' ').map(str::to_owned).collect()),
        "settle" => Step::Settle,
        "end" => Step::End { what: first, value: second },
        _ => return None,
    })
}

fn expected(text: &str) -> Expected {
    match text.split_once(' ') {
        Some(("~", part)) => Expected::Contains(part.to_owned()),
        _ if text == "*" => Expected::Something,
        _ if text == "-" => Expected::Nothing,
        _ => Expected::Is(text.to_owned()),
    }
}
