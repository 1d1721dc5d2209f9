//! The bodies of mutating requests, checked as Cal.com's validation does: every finding of every property in one
//! message, unknown properties first. Deliberately absent: any rule that needs to know a booking or an event type.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SubsecRound, Utc};
use serde_json::{Map, Value, json};

use crate::answer::Refusal;
use crate::booking::Attendee;

/// Limits of `metadata`, counted as JavaScript counts.
const METADATA_KEYS_MAX: usize = 50;
const METADATA_KEY_CHARS_MAX: usize = 40;
const METADATA_VALUE_CHARS_MAX: usize = 500;

const CREATE_FIELDS: [&str; 15] = [
    "attendee",
    "bookingFieldsResponses",
    "emailVerificationCode",
    "eventTypeId",
    "eventTypeSlug",
    "guests",
    "lengthInMinutes",
    "location",
    "meetingUrl",
    "metadata",
    "organizationSlug",
    "routing",
    "start",
    "teamSlug",
    "username",
];
const ATTENDEE_FIELDS: [&str; 5] = ["email", "language", "name", "phoneNumber", "timeZone"];
const CANCEL_FIELDS: [&str; 3] = ["cancelSubsequentBookings", "cancellationReason", "seatUid"];
const RESCHEDULE_FIELDS: [&str; 5] =
    ["emailVerificationCode", "rescheduledBy", "reschedulingReason", "seatUid", "start"];
const LANGUAGES: [&str; 43] = [
    "ar", "ca", "de", "es", "eu", "he", "id", "ja", "lv", "pl", "ro", "sr", "th", "vi", "az", "cs", "el", "es-419",
    "fi", "hr", "it", "km", "nl", "pt", "ru", "sv", "tr", "zh-CN", "bg", "da", "en", "et", "fr", "hu", "iw", "ko",
    "no", "pt-BR", "sk", "ta", "uk", "zh-TW", "bn",
];

/// A well-formed body of `POST /v2/bookings`.
#[derive(Debug)]
pub(crate) struct Create {
    pub(crate) wanted: Wanted,
    pub(crate) start: DateTime<Utc>,
    pub(crate) attendee: Attendee,
    pub(crate) guests: Vec<String>,
    pub(crate) location: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) responses: Map<String, Value>,
    pub(crate) length_given: bool,
}

/// How the event type is named.
#[derive(Debug)]
pub(crate) enum Wanted {
    Id(i64),
    OfUser { slug: String, username: String },
    OfTeam { slug: String, team: String },
}

/// A well-formed body of a cancellation.
#[derive(Debug)]
pub(crate) struct Cancel {
    pub(crate) reason: Option<String>,
}

/// A well-formed body of a reschedule.
#[derive(Debug)]
pub(crate) struct Reschedule {
    pub(crate) start: DateTime<Utc>,
    pub(crate) reason: Option<String>,
    pub(crate) by: Option<String>,
}

/// Reads the body of `POST /v2/bookings`.
pub(crate) fn create(body: &Value) -> Result<Create, Refusal> {
    let body = object(body)?;
    let mut findings = Findings::default();
    findings.unknown(body, &CREATE_FIELDS);
    let start = start(body, &mut findings);
    let attendee = attendee(body, &mut findings);
    let responses = match given(body, "bookingFieldsResponses") {
        None => Map::new(),
        Some(Value::Object(responses)) => responses.clone(),
        Some(_) => {
            findings.add("bookingFieldsResponses", "bookingFieldsResponses must be an object");
            Map::new()
        }
    };
    let event_type_id = given(body, "eventTypeId").map(Value::as_i64);
    if event_type_id == Some(None) {
        findings.add("eventTypeId", "eventTypeId must be an integer number");
    }
    let slug = findings.text(body, "eventTypeSlug");
    let username = findings.text(body, "username");
    let team = findings.text(body, "teamSlug");
    findings.text(body, "organizationSlug");
    let guests = guests(body, &mut findings);
    findings.text(body, "meetingUrl");
    let location = location(body, &mut findings);
    let metadata = metadata(body, &mut findings);
    let length_given = given(body, "lengthInMinutes").is_some();
    if given(body, "lengthInMinutes").is_some_and(|length| !length.is_number()) {
        findings.add("lengthInMinutes", "lengthInMinutes must be a number conforming to the specified constraints");
    }
    findings.text(body, "emailVerificationCode");
    findings.done()?;
    let (Some(start), Some(attendee)) = (start, attendee) else {
        return Err(Refusal::bad_request("Body is required"));
    };

    let wanted = match (event_type_id.flatten(), slug, username, team) {
        (Some(id), ..) => Wanted::Id(id),
        (None, Some(slug), Some(username), _) => Wanted::OfUser { slug, username },
        (None, Some(slug), None, Some(team)) => Wanted::OfTeam { slug, team },
        (None, ..) => {
            return Err(Refusal::bad_request(
                "Either eventTypeId or eventTypeSlug + username or eventTypeSlug + teamSlug must be provided",
            ));
        }
    };
    let metadata = strings_only(metadata)?;
    let responses = complete(responses, &attendee, &guests);
    Ok(Create { wanted, start, attendee, guests, location, metadata, responses, length_given })
}

/// Reads the body of `POST /v2/bookings/{uid}/cancel`. Recurrences and seats are not here: their fields are checked
/// and have no effect.
pub(crate) fn cancel(body: &Value) -> Result<Cancel, Refusal> {
    let body = object(body)?;
    let mut findings = Findings::default();
    findings.unknown(body, &CANCEL_FIELDS);
    let reason = findings.text(body, "cancellationReason");
    findings.text(body, "seatUid");
    if given(body, "cancelSubsequentBookings").is_some_and(|value| !value.is_boolean()) {
        findings.add("cancelSubsequentBookings", "cancelSubsequentBookings must be a boolean value");
    }
    findings.done()?;
    Ok(Cancel { reason })
}

/// Reads the reason in the body of `POST /v2/bookings/{uid}/decline`.
pub(crate) fn decline(body: &Value) -> Result<Option<String>, Refusal> {
    let body = object(body)?;
    let mut findings = Findings::default();
    findings.unknown(body, &["reason"]);
    let reason = findings.text(body, "reason");
    findings.done()?;
    Ok(reason)
}

/// Reads the body of `POST /v2/bookings/{uid}/reschedule`.
pub(crate) fn reschedule(body: &Value) -> Result<Reschedule, Refusal> {
    let body = object(body)?;
    let mut findings = Findings::default();
    findings.unknown(body, &RESCHEDULE_FIELDS);
    let start = start(body, &mut findings);
    let by = findings.text(body, "rescheduledBy");
    let reason = findings.text(body, "reschedulingReason");
    findings.text(body, "seatUid");
    findings.text(body, "emailVerificationCode");
    findings.done()?;
    let Some(start) = start else { return Err(Refusal::bad_request("Body is required")) };
    Ok(Reschedule { start, reason, by })
}

/// The texts of a create, well-formed or not, in which a marker may stand: the attendee's name and e-mail address, and
/// the values of the metadata.
pub(crate) fn texts(body: &Value) -> Vec<&str> {
    let metadata = body["metadata"].as_object().into_iter().flat_map(Map::values);
    [&body["attendee"]["name"], &body["attendee"]["email"]]
        .into_iter()
        .chain(metadata)
        .filter_map(Value::as_str)
        .collect()
}

/// An ISO 8601 moment in whole milliseconds; without an offset it is UTC, as Cal.com takes it.
pub(crate) fn moment(text: &str) -> Option<DateTime<Utc>> {
    let bytes = text.as_bytes();
    if bytes.len() > 10 && bytes[10] != b'T' {
        return None;
    }
    let naive = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
    let moment = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M%#z"))
        .map(|moment| moment.to_utc())
        .ok()
        .or_else(|| {
            naive.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()).map(|at| at.and_utc())
        })
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0).map(|at| at.and_utc()))?;
    Some(moment.trunc_subsecs(3))
}

/// What is wrong with a body so far, in the words of class-validator.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, property: &str, constraint: &str) {
        self.0.push(format!("{property} property is wrong,{constraint} "));
    }

    /// Findings inside of `property`.
    fn nest(&mut self, property: &str, inner: Self) {
        if !inner.0.is_empty() {
            self.0.push(format!("{property} property is wrong, {}", inner.0.join(", ")));
        }
    }

    fn unknown(&mut self, object: &Map<String, Value>, known: &[&str]) {
        for property in object.keys().filter(|property| !known.contains(&property.as_str())) {
            self.add(property, &format!("property {property} should not exist"));
        }
    }

    /// An optional string.
    fn text(&mut self, object: &Map<String, Value>, property: &str) -> Option<String> {
        let text = given(object, property)?.as_str();
        if text.is_none() {
            self.add(property, &format!("{property} must be a string"));
        }
        text.map(str::to_owned)
    }

    fn done(self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::bad_request(self.0.join(", "))) }
    }
}

fn object(body: &Value) -> Result<&Map<String, Value>, Refusal> {
    body.as_object().ok_or_else(|| Refusal::bad_request("Body should be an object"))
}

/// A property that is there and not `null`.
fn given<'a>(object: &'a Map<String, Value>, property: &str) -> Option<&'a Value> {
    object.get(property).filter(|value| !value.is_null())
}

fn start(body: &Map<String, Value>, findings: &mut Findings) -> Option<DateTime<Utc>> {
    let start = given(body, "start").and_then(Value::as_str).and_then(moment);
    if start.is_none() {
        findings.add("start", "start must be a valid ISO 8601 date string");
    }
    start
}

/// The attendee; one without an e-mail address gets one made of the phone number, as Cal.com does.
fn attendee(body: &Map<String, Value>, findings: &mut Findings) -> Option<Attendee> {
    let Some(attendee) = given(body, "attendee") else {
        findings.add("attendee", "attendee should not be null or undefined");
        return None;
    };
    let Some(object) = attendee.as_object() else {
        findings.add("attendee", "nested property attendee must be either object or array");
        return None;
    };
    let mut inner = Findings::default();
    inner.unknown(object, &ATTENDEE_FIELDS);
    let text = |property: &str| given(object, property).and_then(Value::as_str).map(str::to_owned);
    let email = text("email").filter(|email| is_email(email));
    if given(object, "email").is_some() && email.is_none() {
        inner.add("email", "email must be an email");
    }
    if given(object, "email").or(given(object, "phoneNumber")).is_none() {
        inner.add("attendee email or phone", "Attendee must have at least one contact method (email or phone number)");
    }
    let name = text("name");
    if name.is_none() {
        inner.add("name", "name must be a string");
    }
    let time_zone = text("timeZone").filter(|name| name.parse::<chrono_tz::Tz>().is_ok());
    if time_zone.is_none() {
        inner.add("timeZone", "timeZone must be a valid IANA time-zone");
    }
    let phone_number = text("phoneNumber").filter(|phone_number| is_phone_number(phone_number));
    if given(object, "phoneNumber").is_some() && phone_number.is_none() {
        inner.add("phoneNumber", "Invalid phone number format. Please use international format.");
    }
    let language = text("language").filter(|language| LANGUAGES.contains(&language.as_str()));
    if given(object, "language").is_some() && language.is_none() {
        inner.add("language", &format!("language must be one of the following values: {}", LANGUAGES.join(", ")));
    }
    findings.nest("attendee", inner);
    let made = phone_number.as_deref().map(|number| format!("{}@sms.cal.com", number.trim_start_matches('+')));
    Some(Attendee {
        name: name?,
        email: email.or(made)?,
        phone_number,
        time_zone: time_zone?,
        language: language.unwrap_or_else(|| "en".to_owned()),
    })
}

/// A weaker check than the real one, which knows every country's numbers: a leading + and 8 to 15 digits.
fn is_phone_number(text: &str) -> bool {
    text.strip_prefix('+')
        .is_some_and(|digits| (8..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let plain = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c == '@' || c == ',');
    plain(local) && plain(domain) && domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.')
}

fn guests(body: &Map<String, Value>, findings: &mut Findings) -> Vec<String> {
    match given(body, "guests") {
        None => Vec::new(),
        Some(Value::Array(guests)) => {
            let addresses: Vec<String> =
                guests.iter().filter_map(Value::as_str).filter(|guest| is_email(guest)).map(str::to_owned).collect();
            if addresses.len() < guests.len() {
                findings.add("guests", "each value in guests must be an email");
            }
            addresses
        }
        Some(_) => {
            findings.add("guests", "guests must be an array");
            Vec::new()
        }
    }
}

/// What a location comes to in the booking. A plain string is the old form, still taken.
fn location(body: &Map<String, Value>, findings: &mut Findings) -> Option<String> {
    let location = given(body, "location")?;
    if let Some(text) = location.as_str() {
        return Some(text.to_owned());
    }
    let value_of = match location["type"].as_str() {
        Some("address" | "link" | "phone" | "organizersDefaultApp") => return None,
        Some("attendeeAddress") => "address",
        Some("attendeeDefined") => "location",
        Some("attendeePhone") => "phone",
        Some("integration") => "integration",
        Some(_) | None => {
            findings.add("location", "location must be an object of one of the known types");
            return None;
        }
    };
    let value = location[value_of].as_str().map(str::to_owned);
    if value.is_none() {
        findings.add("location", &format!("{value_of} must be a string"));
    }
    value
}

fn metadata(body: &Map<String, Value>, findings: &mut Findings) -> Map<String, Value> {
    const LIMITS: &str = "Metadata must have at most 50 keys, each key up to 40 characters, and string values up to \
                          500 characters.";
    let within = |text: &str, max: usize| text.encode_utf16().count() <= max;
    match given(body, "metadata") {
        None => Map::new(),
        Some(Value::Object(metadata)) => {
            let fits = metadata.len() <= METADATA_KEYS_MAX
                && metadata.iter().all(|(key, value)| {
                    within(key, METADATA_KEY_CHARS_MAX)
                        && match value {
                            Value::String(text) => within(text, METADATA_VALUE_CHARS_MAX),
                            Value::Number(_) | Value::Bool(_) => true,
                            Value::Null | Value::Array(_) | Value::Object(_) => false,
                        }
                });
            if !fits {
                findings.add("metadata", LIMITS);
            }
            metadata.clone()
        }
        Some(_) => {
            findings.add("metadata", &format!("{LIMITS}, metadata must be an object"));
            Map::new()
        }
    }
}

/// Numbers and booleans pass the validation above and are refused by the layer below it.
fn strings_only(metadata: Map<String, Value>) -> Result<BTreeMap<String, String>, Refusal> {
    let received = |kind: &str| Err(Refusal::schema_violation(format!("Expected string, received {kind}")));
    metadata
        .into_iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key, text)),
            Value::Bool(_) => received("boolean"),
            Value::Number(_) => received("number"),
            Value::Null => received("null"),
            Value::Array(_) => received("array"),
            Value::Object(_) => received("object"),
        })
        .collect()
}

/// The answers to the booking form: the caller's, and those that Cal.com fills in from the rest of the body.
fn complete(mut responses: Map<String, Value>, attendee: &Attendee, guests: &[String]) -> Map<String, Value> {
    responses.entry("name").or_insert_with(|| json!(attendee.name));
    responses.entry("email").or_insert_with(|| json!(attendee.email));
    if let Some(email) = responses.get("email").cloned() {
        responses.insert("displayEmail".to_owned(), email);
    }
    if let Some(phone_number) = &attendee.phone_number {
        responses.entry("attendeePhoneNumber").or_insert_with(|| json!(phone_number));
    }
    if !guests.is_empty() {
        responses.insert("guests".to_owned(), json!(guests));
        responses.insert("displayGuests".to_owned(), json!(guests));
    }
    responses
}
