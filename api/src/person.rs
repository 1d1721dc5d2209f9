//! What is said of a person, read strictly: name, number, address. A placeholder is nobody's number and nobody's address.

use domain::phone::{Phone, is_placeholder_email};
use phonenumber::country::Id::DE;

use crate::fields::{Fields, Text};
use crate::problem::Problem;

pub(crate) const NAME_CHARS_MAX: usize = 200;
pub(crate) const PHONE_CHARS_MAX: usize = 40;
pub(crate) const EMAIL_CHARS_MAX: usize = 254;
/// `de-AT-1996` is long already.
const LANGUAGE_CHARS_MAX: usize = 35;

/// The number that `raw` is; `field` is where it stood.
pub(crate) fn phone(raw: &str, field: &str) -> Result<Phone, Problem> {
    let wanted = "must be a valid number that is no placeholder, for example +4915112345678";
    Phone::parse(raw, DE).ok_or_else(|| Problem::invalid(field, wanted))
}

/// Refuses what is no address, or nobody's; `field` is where it stood.
pub(crate) fn own_email(email: Option<&str>, field: &str) -> Result<(), Problem> {
    if email.is_none_or(|email| is_email(email) && !is_placeholder_email(email)) {
        return Ok(());
    }
    Err(Problem::invalid(field, "must be an address of the customer's own; leave it out if there is none"))
}

/// Could mail be sent there? One `@`, something on both sides, no white space.
pub(crate) fn is_email(text: &str) -> bool {
    let parts = text.split_once('@');
    parts.is_some_and(|(local, host)| {
        !local.is_empty()
            && host.contains('.')
            && !host.starts_with('.')
            && !host.ends_with('.')
            && !host.contains('@')
            && text.len() <= EMAIL_CHARS_MAX
            && !text.chars().any(|c| c.is_whitespace() || c.is_control())
    })
}

/// `language` of a body: a language tag, `de` or `de-AT`.
pub(crate) fn language(fields: &mut Fields) -> Result<Option<String>, Problem> {
    let Some(tag) = fields.optional_text("language", Text::Line, LANGUAGE_CHARS_MAX)? else { return Ok(None) };
    let mut parts = tag.split('-');
    let is_tag = parts
        .next()
        .is_some_and(|language| (2..=3).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_lowercase()))
        && parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    if is_tag { Ok(Some(tag)) } else { Err(Problem::invalid("language", "must be a language tag, for example de")) }
}
