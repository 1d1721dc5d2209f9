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
    /// any numbering plan, or a placeholder that agents send when they know none.
    pub fn parse(raw: &str, country: phonenumber::country::Id) -> Option<Self> {
        if raw.len() > 40 {
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

/// Addresses that agents send when they know none: nobody's e-mail.
pub fn is_placeholder_email(email: &str) -> bool {
    let email = email.trim().to_lowercase();
    let Some((local, host)) = email.split_once('@') else { return true };
    matches!(email.as_str(), "booking@temp.de" | "booking@askpro.ai" | "termin@askproai.de")
        || local == "noreply"
        || host.starts_with("noreply.")
        || host.starts_with("example.")
        || host == "placeholder.local"
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
        assert!(is_placeholder_email("noreply@salon.de") && is_placeholder_email("x@example.com"));
        assert!(!is_placeholder_email("müller@web.de"));
    }

    #[test]
    fn a_number_is_not_in_a_log() {
        let shown = format!("{:?}", Phone::parse("+4915112345678", DE).unwrap());
        assert!(!shown.contains("15112345678"), "{shown}");
    }
}
