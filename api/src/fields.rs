//! Reads a JSON object strictly, field by field, so that a refusal names the field: unknown, missing, of the wrong type,
//! too long, with a NUL.
//!
//! Past this edge no text needs a second look. Deliberately absent: coercion. `"1"` is not a number here.

use serde_json::{Map, Value};

use crate::problem::Problem;

/// The fields of one object that have not been read yet.
#[derive(Debug)]
pub(crate) struct Fields {
    prefix: String,
    rest: Map<String, Value>,
    known: Vec<&'static str>,
}

/// Whether a text may have several lines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    /// No control characters at all.
    Line,
    /// Line breaks and tabs.
    Paragraph,
}

impl Fields {
    /// The object that `raw` is; an empty body is an empty object.
    ///
    /// # Errors
    /// No JSON, or no object.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self, Problem> {
        if raw.is_empty() {
            return Ok(Self::of(String::new(), Map::new()));
        }
        match serde_json::from_slice(raw) {
            Ok(Value::Object(rest)) => Ok(Self::of(String::new(), rest)),
            Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Err(Problem::json("send one JSON object"))
            }
            Err(error) => {
                Err(Problem::json(format!("the JSON breaks off at line {}, column {}", error.line(), error.column())))
            }
        }
    }

    fn of(prefix: String, rest: Map<String, Value>) -> Self {
        Self { prefix, rest, known: Vec::new() }
    }

    /// As a refusal names the field.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// `null` is the same as absent.
    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.rest.remove(name).filter(|value| !value.is_null())
    }

    /// A text of 1 to `chars_max` characters, without the white space around it.
    pub(crate) fn text(&mut self, name: &'static str, kind: Text, chars_max: usize) -> Result<String, Problem> {
        self.optional_text(name, kind, chars_max)?.ok_or_else(|| Problem::missing(&self.path(name)))
    }

    /// As [`Fields::text`], but it may be absent.
    pub(crate) fn optional_text(
        &mut self,
        name: &'static str,
        kind: Text,
        chars_max: usize,
    ) -> Result<Option<String>, Problem> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let path = self.path(name);
        let Value::String(text) = value else { return Err(Problem::invalid(&path, "must be a string")) };
        let allowed = |c: char| !c.is_control() || (kind == Text::Paragraph && matches!(c, '\n' | '\r' | '\t'));
        if !text.chars().all(allowed) {
            return Err(Problem::invalid(&path, "must not contain control characters"));
        }
        let text = text.trim();
        if text.is_empty() || text.chars().count() > chars_max {
            return Err(Problem::invalid(&path, &format!("must have 1 to {chars_max} characters")));
        }
        Ok(Some(text.to_owned()))
    }

    /// An id of ours.
    pub(crate) fn id(&mut self, name: &'static str) -> Result<i32, Problem> {
        self.optional_id(name)?.ok_or_else(|| Problem::missing(&self.path(name)))
    }

    /// As [`Fields::id`], but it may be absent.
    pub(crate) fn optional_id(&mut self, name: &'static str) -> Result<Option<i32>, Problem> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let id = value.as_i64().and_then(|id| i32::try_from(id).ok());
        id.map(Some).ok_or_else(|| Problem::invalid(&self.path(name), "must be an integer of 32 bits"))
    }

    /// An object inside.
    pub(crate) fn object(&mut self, name: &'static str) -> Result<Self, Problem> {
        match self.take(name) {
            None => Err(Problem::missing(&self.path(name))),
            Some(Value::Object(rest)) => Ok(Self::of(format!("{}.", self.path(name)), rest)),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Err(Problem::invalid(&self.path(name), "must be an object"))
            }
        }
    }

    /// A list of 1 to `most` objects, if it is there.
    pub(crate) fn optional_objects(&mut self, name: &'static str, most: usize) -> Result<Option<Vec<Self>>, Problem> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let path = self.path(name);
        let wanted = || Problem::invalid(&path, &format!("must be a list of 1 to {most} objects"));
        let Value::Array(list) = value else { return Err(wanted()) };
        if list.is_empty() || list.len() > most {
            return Err(wanted());
        }
        let object = |(n, one)| match one {
            Value::Object(rest) => Ok(Self::of(format!("{path}[{n}]."), rest)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(wanted()),
        };
        list.into_iter().enumerate().map(object).collect::<Result<_, _>>().map(Some)
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// A field that nobody asked for.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.rest.keys().next() {
            None => Ok(()),
            Some(name) => {
                // What was sent is repeated shortly and without surprises.
                let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
                Err(Problem::unknown(&self.path(&shown), &self.known.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields {
        Fields::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_refusal_names_its_cause() {
        assert_eq!(Fields::parse(b"{").unwrap_err().code(), "invalid_json");
        assert_eq!(Fields::parse(b"[]").unwrap_err().code(), "invalid_json");
        assert_eq!(Fields::parse(b"\xff").unwrap_err().code(), "invalid_json");
        let deep = "[".repeat(100_000);
        assert_eq!(Fields::parse(deep.as_bytes()).unwrap_err().code(), "invalid_json");

        assert_eq!(fields("{}").id("a").unwrap_err().code(), "missing_field");
        for wrong in [r#"{"a":"1"}"#, r#"{"a":1.5}"#, r#"{"a":3000000000}"#, r#"{"a":true}"#] {
            assert_eq!(fields(wrong).id("a").unwrap_err().code(), "invalid_field", "{wrong}");
        }
        for wrong in [r#"{"a":1}"#, r#"{"a":""}"#, r#"{"a":"  "}"#, r#"{"a":"1234"}"#, r#"{"a":"\u0000"}"#] {
            assert_eq!(fields(wrong).text("a", Text::Line, 3).unwrap_err().code(), "invalid_field", "{wrong}");
        }
        assert_eq!(fields(r#"{"a":"ö\nü"}"#).text("a", Text::Paragraph, 3).unwrap(), "ö\nü");
        assert_eq!(fields(r#"{"a":null}"#).optional_text("a", Text::Line, 3).unwrap(), None);

        let mut all = fields(r#"{"a":1,"b":2}"#);
        all.id("a").unwrap();
        assert_eq!(all.finish().unwrap_err().code(), "unknown_field");
    }

    #[test]
    fn a_field_inside_is_named_with_its_path() {
        let mut customer = fields(r#"{"customer":{}}"#).object("customer").unwrap();
        let problem = format!("{:?}", customer.text("name", Text::Line, 9).unwrap_err());
        assert!(problem.contains("customer.name"), "{problem}");
    }
}
