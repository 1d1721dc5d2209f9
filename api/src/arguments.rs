//! The arguments of a function call, by their German and English names, without what agents send when they know nothing.
//!
//! Agents follow a schema as well as a language model manages: a number may come as text, a template may come unfilled,
//! a name may be no name. What is left after this file is what the caller said. Deliberately absent: the caller's number
//! and call id; they come from `call` alone.

use serde_json::{Map, Value};

/// The longest argument, characters; the rest is cut off.
const CHARS_MAX: usize = 500;
/// The longest name, characters; what is longer is no name.
const NAME_CHARS_MAX: usize = 120;

pub(crate) const NAME: &[&str] = &["customer_name", "name", "kundenname", "kunde"];
pub(crate) const DATETIME: &[&str] = &["datetime", "date_time", "termin", "zeitpunkt"];
pub(crate) const DATE: &[&str] = &["date", "datum", "appointment_date", "preferred_date", "termin_datum"];
pub(crate) const TIME: &[&str] = &["time", "uhrzeit", "appointment_time", "preferred_time", "zeit"];
pub(crate) const DATE_STRING: &[&str] = &["date_string", "text"];
pub(crate) const DAY_OF_WEEK: &[&str] = &["day_of_week", "wochentag", "day", "tag", "datum", "date"];
pub(crate) const SERVICE: &[&str] = &["service_name", "dienstleistung", "service", "service_id"];
pub(crate) const STAFF: &[&str] =
    &["preferred_staff_id", "mitarbeiter", "staff_id", "staff_name", "staff", "preferred_staff"];
pub(crate) const PHONE: &[&str] = &["customer_phone", "phone_number", "phone", "telefonnummer", "telefon"];
pub(crate) const EMAIL: &[&str] = &["customer_email", "email", "e_mail"];
pub(crate) const NOTES: &[&str] = &["notes", "notizen", "bemerkung", "hinweis"];
pub(crate) const REASON: &[&str] = &["reason", "grund"];
pub(crate) const APPOINTMENT: &[&str] = &["appointment_id", "termin_id"];
pub(crate) const OLD_DATE: &[&str] = &["old_date", "old_datum", "appointment_date", "datum", "date"];
pub(crate) const OLD_TIME: &[&str] = &["old_time", "old_uhrzeit", "uhrzeit", "time"];
pub(crate) const NEW_DATETIME: &[&str] = &["new_datetime", "new_date_time", "neuer_termin"];
pub(crate) const NEW_DATE: &[&str] = &["new_date", "new_datum", "neues_datum"];
pub(crate) const NEW_TIME: &[&str] = &["new_time", "new_uhrzeit", "neue_uhrzeit"];
pub(crate) const CONFIRMED_MOVE: &[&str] = &["bestaetigung", "bestätigung", "confirm_reschedule", "confirm"];
pub(crate) const CALL: &[&str] = &["call_id"];
pub(crate) const RESERVATION: &[&str] = &["reservation_uid", "reservation_id", "hold_token", "uid"];
pub(crate) const AFTER: &[&str] = &["after", "ab", "from", "nach"];
pub(crate) const SEARCH_DAYS: &[&str] = &["search_days", "days", "tage"];
pub(crate) const CANDIDATES: &[&str] = &["any_of", "candidates", "datetimes", "alternatives", "termine"];
pub(crate) const CONFIRMED: &[&str] = &["bestaetigung", "bestätigung", "confirm_booking", "confirm"];

/// What a language model writes where it knows nothing.
const NOTHING: [&str; 12] = [
    "none",
    "null",
    "undefined",
    "nil",
    "n/a",
    "unknown",
    "unbekannt",
    "not specified",
    "not provided",
    "nicht angegeben",
    "keine",
    "egal",
];

/// What agents take for a name.
const NO_NAME: [&str; 9] =
    ["unbekannt", "anonym", "anonymous", "unknown", "gast", "guest", "kunde", "customer", "anrufer"];

/// Call ids that agents invent.
const NO_CALL: [&str; 6] = ["call_1", "call_001", "current", "current_call", "dummy_call_id", "call_id"];

/// The arguments of one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arguments(Map<String, Value>);

impl Arguments {
    /// `args` is an object, or a text that holds one; anything else has no arguments.
    pub(crate) fn of(args: Option<Value>) -> Self {
        match args {
            Some(Value::Object(map)) => Self(map),
            Some(Value::String(text)) => match serde_json::from_str(&text) {
                Ok(Value::Object(map)) => Self(map),
                Ok(_) | Err(_) => Self::default(),
            },
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) | None => Self::default(),
        }
    }

    /// The first of `names` that says something.
    pub(crate) fn text(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| match self.0.get(*name)? {
            Value::String(text) => said(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        })
    }

    /// As `text`, but what cannot be text has been said too: a garbled "which one" must not become "the only one".
    pub(crate) fn anything(&self, names: &[&str]) -> Option<String> {
        self.text(names).or_else(|| {
            let garbled = names.iter().filter_map(|name| self.0.get(*name));
            garbled
                .filter(|value| value.is_boolean() || value.is_array() || value.is_object())
                .map(Value::to_string)
                .next()
        })
    }

    /// The first of `names` that is a list, as it is, or a text that holds one; else nothing.
    pub(crate) fn list(&self, names: &[&str]) -> Vec<Value> {
        let list = |name: &&str| match self.0.get(*name)? {
            Value::Array(list) => Some(list.clone()),
            Value::String(text) => serde_json::from_str::<Vec<Value>>(text).ok(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        };
        names.iter().find_map(list).unwrap_or_default()
    }

    /// Was it said, as a boolean or in words, that this is *not* so?
    pub(crate) fn denied(&self, names: &[&str]) -> bool {
        names.iter().filter_map(|name| self.0.get(*name)).any(|value| match value {
            Value::Bool(yes) => !yes,
            Value::String(word) => matches!(word.trim().to_lowercase().as_str(), "false" | "nein" | "no" | "0"),
            Value::Number(number) => number.as_i64() == Some(0),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        })
    }

    /// Was it said, as a boolean or in words, that this *is* so?
    pub(crate) fn affirmed(&self, names: &[&str]) -> bool {
        names.iter().filter_map(|name| self.0.get(*name)).any(|value| match value {
            Value::Bool(yes) => *yes,
            Value::String(word) => matches!(word.trim().to_lowercase().as_str(), "true" | "ja" | "yes" | "1"),
            Value::Number(number) => number.as_i64() == Some(1),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        })
    }

    /// The customer's name, unless it is a placeholder, a time, or one of the `staff`.
    pub(crate) fn name<'a>(&self, mut staff: impl Iterator<Item = &'a str>) -> Option<String> {
        let name = self.text(NAME)?;
        let lower = name.to_lowercase();
        let is_staff = staff.any(|of_staff| of_staff.to_lowercase() == lower);
        let is_time = lower.ends_with(" uhr") || lower.contains(" uhr ");
        let is_person = lower.chars().any(char::is_alphabetic) && !lower.starts_with("bei ");
        let known = !NO_NAME.contains(&lower.as_str()) && !is_staff && !is_time;
        (known && is_person && name.chars().count() <= NAME_CHARS_MAX).then_some(name)
    }

    /// Is this a retry that has lost its arguments: nothing but a call's id, and one that the agent has invented? To a
    /// function that `changes` something no other id says more: a lost argument must not become "the only one".
    pub(crate) fn only_repeat(&self, changes: bool) -> bool {
        let id = self.0.get("call_id").filter(|id| !id.is_null());
        let invented = || id.and_then(Value::as_str).and_then(call_id).is_none();
        id.is_some() && self.said().next().is_none() && (changes || invented())
    }

    /// What was said, as text that [`Self::of`] reads; `None` = nothing.
    pub(crate) fn written(&self) -> Option<String> {
        let said: Map<String, Value> = self.said().map(|(name, value)| (name.clone(), value.clone())).collect();
        (!said.is_empty()).then(|| Value::Object(said).to_string())
    }

    /// What is an argument and says something.
    fn said(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0
            .iter()
            .filter(|(name, value)| !matches!(name.as_str(), "execution_message" | "call_id") && !value.is_null())
    }

    /// The same, in one spelling: keys sorted, without what is no argument. For request keys.
    pub(crate) fn canonical(&self) -> String {
        let mut sorted = std::collections::BTreeMap::new();
        self.said().for_each(|(name, value)| {
            sorted.insert(name.as_str(), value.as_str().map_or_else(|| value.to_string(), |t| t.trim().to_owned()));
        });
        format!("{sorted:?}")
    }
}

/// What was said, on one line and cut to a length; `None` for a placeholder.
fn said(text: &str) -> Option<String> {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CHARS_MAX).collect();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let nothing = line.is_empty() || line.contains("{{") || NOTHING.contains(&line.to_lowercase().as_str());
    (!nothing).then_some(line)
}

/// A call's id, unless an agent has invented it.
pub(crate) fn call_id(text: &str) -> Option<String> {
    let id = said(text)?;
    let short_number = id.len() <= 5 && id.bytes().all(|b| b.is_ascii_digit());
    let cut = id.ends_with("..") || id.ends_with('…');
    let fine = id.len() <= 128 && !short_number && !cut && !NO_CALL.contains(&id.to_lowercase().as_str());
    fine.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn arguments(value: Value) -> Arguments {
        Arguments::of(Some(value))
    }

    #[test]
    fn german_and_english_names() {
        assert_eq!(arguments(json!({"dienstleistung": "Dauerwelle"})).text(SERVICE).as_deref(), Some("Dauerwelle"));
        assert_eq!(arguments(json!({"service_id": 3})).text(SERVICE).as_deref(), Some("3"));
        assert_eq!(arguments(json!({"datum": "morgen"})).text(DATE).as_deref(), Some("morgen"));
        let both = json!({"date": "{{current_date}}", "datum": " morgen "});
        assert_eq!(arguments(both).text(DATE).as_deref(), Some("morgen"), "a template says nothing");
        assert_eq!(arguments(json!("{\"uhrzeit\":\"14:00\"}")).text(TIME).as_deref(), Some("14:00"));
        assert_eq!(arguments(json!([1])).text(TIME), None);
    }

    #[test]
    fn what_cannot_be_text_has_been_said_all_the_same() {
        let id = |value: Value| arguments(json!({"appointment_id": value})).anything(APPOINTMENT);
        assert_eq!(id(json!("4711")).as_deref(), Some("4711"));
        assert_eq!(id(json!(["4711"])).as_deref(), Some("[\"4711\"]"));
        assert!(id(json!({})).is_some() && id(json!(false)).is_some());
        assert_eq!(
            (id(json!(null)), id(json!("none")), arguments(json!({})).anything(APPOINTMENT)),
            (None, None, None)
        );
    }

    #[test]
    fn placeholders_are_nothing() {
        for nothing in ["", "  ", "None", "not specified", "{{customer_name}}", "undefined", "\u{0}"] {
            assert_eq!(arguments(json!({"name": nothing})).text(NAME), None, "{nothing:?}");
        }
        assert_eq!(arguments(json!({"notes": "a\u{0}b\nc"})).text(NOTES).as_deref(), Some("a b c"));
        assert_eq!(arguments(json!({"notes": "x".repeat(9_000)})).text(NOTES).map(|t| t.len()), Some(500));
    }

    #[test]
    fn what_is_no_name() {
        let name = |name: &str| arguments(json!({"customer_name": name})).name(["Anna Berg"].into_iter());
        assert_eq!(name("Paul Becker").as_deref(), Some("Paul Becker"));
        assert_eq!(name("Uhr Macher").as_deref(), Some("Uhr Macher"));
        for no_name in ["Unbekannt", "Gast", "acht Uhr", "bei Anna", "anna berg", "12345", "Kunde"] {
            assert_eq!(name(no_name), None, "{no_name}");
        }
        assert_eq!(name(&"x".repeat(121)), None);
    }

    #[test]
    fn no_is_understood() {
        for no in [json!(false), json!("false"), json!("Nein"), json!(0)] {
            assert!(arguments(json!({"bestaetigung": no})).denied(CONFIRMED), "{no}");
            assert!(!arguments(json!({"bestaetigung": no})).affirmed(CONFIRMED_MOVE), "{no}");
        }
        for other in [json!(true), json!("true"), json!("ja"), json!(null), json!(1)] {
            let args = arguments(json!({"bestaetigung": other}));
            assert!(!args.denied(CONFIRMED), "{other}");
            assert_eq!(args.affirmed(CONFIRMED_MOVE), !other.is_null(), "{other}");
        }
        assert!(!arguments(json!({})).denied(CONFIRMED));
    }

    #[test]
    fn invented_call_ids() {
        let invented =
            ["", "1", "123", "12345", "call_1", "call_001", "current", "current_call", "dummy_call_id", "None"];
        for invented in invented.into_iter().chain(["undefined", "{{call_id}}", "call_272e...", "call_272e…"]) {
            assert_eq!(call_id(invented), None, "{invented:?}");
        }
        assert_eq!(call_id("call_272edd18").as_deref(), Some("call_272edd18"));
        assert_eq!(call_id(&"c".repeat(129)), None);
    }

    #[test]
    fn a_retry_that_has_lost_its_arguments() {
        let only = |args: Value, changes| arguments(args).only_repeat(changes);
        for lost in [json!({"call_id": "call_001"}), json!({"call_id": "12345", "execution_message": "Moment"})] {
            assert!(only(lost.clone(), true) && only(lost, false));
        }
        assert!(only(json!({"call_id": "call_001", "datum": null}), false));
        let its_own = json!({"call_id": "call_272edd18"});
        assert!(only(its_own.clone(), true) && !only(its_own, false), "a question may be meant so");
        for whole in [json!({}), json!({"call_id": null}), json!({"call_id": "call_001", "datum": "morgen"})] {
            assert!(!only(whole.clone(), true) && !only(whole, false));
        }
        let said = arguments(json!({"datum": "Freitag", "call_id": "call_001", "execution_message": "Moment"}));
        let again = Arguments::of(said.written().map(Value::String));
        assert_eq!((again.text(DATE).as_deref(), again.text(CALL)), (Some("Freitag"), None));
        assert_eq!(arguments(json!({"call_id": "call_001"})).written(), None);
    }

    #[test]
    fn one_spelling() {
        let a = arguments(json!({"b": " x ", "a": 1, "execution_message": "Moment", "call_id": "call_001"}));
        let b = arguments(json!({"a": 1, "b": "x", "c": null}));
        assert_eq!(a.canonical(), b.canonical());
        assert_ne!(a.canonical(), arguments(json!({"a": 1, "b": "y"})).canonical());
    }
}
