//! Telephone numbers, and who is calling.
//!
//! A number is E.164 or it does not exist. Withheld numbers and the placeholders that voice agents invent are nobody's
//! identity: a caller without a number is keyed by the call and never merges with another.

use std::fmt;

/// A valid number in E.164 (`+4915112345678`). `Debug` shows its country and last two digits only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phone(String);

impl Phone {
    /// Reads a number as dialled in `country` (an ISO 3166 code such as `DE`). `None` when it is not a valid number of
    /// any numbering plan, a word for a withheld one, or a placeholder that agents send when they know none.
    pub fn parse(raw: &str, country: phonenumber::country::Id) -> Option<Self> {
        if raw.len() > 40 || is_withheld(raw) {
            return None;
        }
        let number = phonenumber::parse(Some(country), raw).ok()?;
        if !number.is_valid() {
            return None;
        }
        let e164 = number.format().mode(phonenumber::Mode::E164).to_string();
        (!PLACEHOLDERS.contains(&e164.as_str())).then_some(Self(e164))
    }

    /// The number in E.164, to be stored or sent to Cal.com; never to be logged.
    pub fn as_e164(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Phone({}…)", self.0.get(..3).unwrap_or("+"))
    }
}

/// Sent by agents in the field when they know no number.
const PLACEHOLDERS: [&str; 3] = ["+49151123456", "+491234567890", "+4915112345"];

/// What telephone networks, and agents after them, write instead of a number.
const WITHHELD: [&str; 7] = ["anonymous", "unknown", "blocked", "private", "withheld", "restricted", "unavailable"];

/// Is this no number but a word for one that its owner does not show (`anonymous`, `Anonymous@anonymous.invalid`,
/// `anonymous_17`)? Whoever calls so is nobody's customer of before.
pub fn is_withheld(raw: &str) -> bool {
    let lower = raw.trim().trim_start_matches('+').to_lowercase();
    WITHHELD.iter().any(|word| {
        lower.strip_prefix(word).is_some_and(|rest| rest.is_empty() || !rest.starts_with(char::is_alphanumeric))
    })
}

/// Addresses that agents send when they know none: nobody's e-mail.
pub fn is_placeholder_email(email: &str) -> bool {
    let email = email.trim().to_lowercase();
    let Some((local, host)) = email.split_once('@') else { return true };
    matches!(email.as_str(), "booking@temp.de" | "booking@askpro.ai" | "termin@askproai.de")
        || local == "noreply"
        || host.starts_with("noreply.")
        || host.starts_with("example.")
        || host == "placeholder.local"
        || host.ends_with(".placeholder.local")
        || local.strip_prefix("anonymous_").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Who a customer is to us: a number, or, when it is withheld, the one call.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Identity {
    /// The same person in every call.
    Phone(Phone),
    /// Known only inside this call (Retell call id, or the request that made the booking).
    Anonymous(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use phonenumber::country::Id::DE;

    #[test]
    fn one_number_has_one_spelling() {
        for raw in ["+4915112345678", "0151 12345678", "004915112345678", "(0151) 123-45678", "+49 151 12345678"] {
            assert_eq!(Phone::parse(raw, DE).unwrap().as_e164(), "+4915112345678", "{raw}");
        }
        for raw in ["+493012345678", "+14155552671", "+12025550123"] {
            assert_eq!(Phone::parse(raw, DE).unwrap().as_e164(), raw);
        }
    }

    #[test]
    fn withheld_words_placeholders_and_rubbish_are_nobody() {
        let rubbish = ["anonymous", "", "0151123456", "+491234567890", "+15551234567", "\0", "Unbekannt", "1"];
        for raw in rubbish {
            assert_eq!(Phone::parse(raw, DE), None, "{raw:?}");
        }
        assert_eq!(Phone::parse(&"9".repeat(10_000), DE), None);
    }

    #[test]
    fn a_withheld_number_is_recognised_by_its_word() {
        let words =
            ["anonymous", " Anonymous ", "+anonymous", "UNKNOWN", "blocked", "private", "withheld", "restricted"];
        let forms = ["unavailable", "anonymous@anonymous.invalid", "anonymous_1731", "Restricted Number"];
        for raw in words.into_iter().chain(forms) {
            assert!(is_withheld(raw) && Phone::parse(raw, DE).is_none(), "{raw:?}");
        }
        for raw in ["+4915112345678", "", "privateer", "0151 12345678"] {
            assert!(!is_withheld(raw), "{raw:?}");
        }
    }

    #[test]
    fn addresses_that_agents_invent_are_nobodys() {
        let invented = [
            "booking@temp.de",
            "Booking@AskPro.ai ",
            "termin@askproai.de",
            "noreply@salon.de",
            "x@noreply.de",
            "x@placeholder.local",
            "x@example.com",
            "x@example.org",
            "anonymous_1731@salon.de",
            "no address",
        ];
        for email in invented {
            assert!(is_placeholder_email(email), "{email}");
        }
        for email in ["müller@web.de", "anonymous_anna@web.de", "temp@temp.de", "booking@salon.de"] {
            assert!(!is_placeholder_email(email), "{email}");
        }
    }

    #[test]
    fn a_number_is_not_in_a_log() {
        let shown = format!("{:?}", Phone::parse("+4915112345678", DE).unwrap());
        assert!(!shown.contains("15112345678"), "{shown}");
    }
}
