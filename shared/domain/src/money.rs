//! Money: whole minor units of one currency, never a fraction.
//!
//! Deliberately absent: arithmetic between currencies, and how many minor units make a major one (whoever speaks of money
//! to people knows that).

/// A currency by its ISO 4217 code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Reads three capital letters; `None` for anything else. Whether such a currency exists is the edge's to check.
    pub fn parse(code: &str) -> Option<Self> {
        let letters: [u8; 3] = code.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }

    /// Its code: `EUR`.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// An amount.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Money {
    /// Minor units: cents of a euro.
    pub minor: u32,
    /// Of which currency.
    pub currency: Currency,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!(Currency::parse("EUR").unwrap().as_str(), "EUR");
        for wrong in ["", "eur", "EU", "EURO", "E1R", "€", "ÄB"] {
            assert_eq!(Currency::parse(wrong), None, "{wrong}");
        }
    }
}
