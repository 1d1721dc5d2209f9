//! A function's reply in the united form: the root and `data` carry the same, because agents in the field read either.
//!
//! Always `success`, `status` and a short true sentence in `message`. Always HTTP 200: a refusal is something that the
//! agent must read out, not a broken tool. Deliberately absent: Cal.com's uid, phone numbers, causes.

use axum::Json;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

/// One reply.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    fields: Map<String, Value>,
}

impl Reply {
    /// It was done, or it is so.
    pub(crate) fn success(status: &str, message: impl Into<String>) -> Self {
        Self::new(true, status, message)
    }

    /// It was not done, and nothing was written.
    pub(crate) fn refusal(status: &str, message: impl Into<String>) -> Self {
        Self::new(false, status, message)
    }

    fn new(success: bool, status: &str, message: impl Into<String>) -> Self {
        let mut fields = Map::new();
        fields.insert("success".to_owned(), success.into());
        fields.insert("status".to_owned(), status.into());
        fields.insert("message".to_owned(), message.into().into());
        Self { fields }
    }

    /// One field more.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// One sentence more.
    pub(crate) fn and_says(mut self, more: &str) -> Self {
        if let Some(Value::String(message)) = self.fields.get_mut("message") {
            message.push(' ');
            message.push_str(more);
        }
        self
    }

    /// The status word: what metrics count.
    pub(crate) fn status(&self) -> &str {
        self.fields.get("status").and_then(Value::as_str).unwrap_or_default()
    }

    /// When the times begin that it offers.
    pub(crate) fn offered(&self) -> Vec<DateTime<Utc>> {
        let alternatives = self.fields.get("alternatives").and_then(Value::as_array);
        let starts =
            alternatives.into_iter().flatten().filter_map(|offer| offer.get("starts_at")?.as_str()?.parse().ok());
        starts.collect()
    }

    /// Root and `data`.
    pub(crate) fn united(self) -> Value {
        let mut root = self.fields.clone();
        root.insert("data".to_owned(), Value::Object(self.fields));
        Value::Object(root)
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        Json(self.united()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn root_and_data_say_the_same() {
        let reply = Reply::refusal("slot_taken", "Leider vergeben.").with("booked", false).with("available", false);
        assert_eq!(reply.status(), "slot_taken");
        let same = json!({"success": false, "status": "slot_taken", "message": "Leider vergeben.", "booked": false,
                          "available": false});
        let mut united = reply.united();
        let data = united.as_object_mut().unwrap().remove("data").unwrap();
        assert_eq!((&united, &data), (&same, &same));
    }
}
