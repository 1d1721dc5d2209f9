//! What a change costs: for programs in minor units, for a caller in words.

use domain::money::Money;
use iso_currency::Currency;
use serde::Serialize;
use utoipa::ToSchema;

use crate::spoken::Language;

/// An amount.
#[derive(Serialize, ToSchema)]
pub(crate) struct Fee {
    /// Whole minor units: cents of a euro.
    minor: u32,
    /// ISO 4217.
    currency: String,
}

impl From<Money> for Fee {
    fn from(money: Money) -> Self {
        Self { minor: money.minor, currency: money.currency.as_str().to_owned() }
    }
}

/// Digits behind the point of a currency; two where it is not known.
fn digits(money: Money) -> u32 {
    let known = Currency::from_code(money.currency.as_str()).and_then(|currency| currency.exponent());
    known.map_or(2, |digits| u32::from(digits).min(4))
}

/// In major units, as agents in the field read it: 15.5 euros.
pub(crate) fn major(money: Money) -> f64 {
    f64::from(money.minor) / f64::from(10_u32.pow(digits(money)))
}

/// `15,50 Euro`, `15.50 Euro`; without a fraction where there is none.
pub(crate) fn spoken(money: Money, language: Language) -> String {
    let (digits, unit) = (digits(money), 10_u32.pow(digits(money)));
    let (whole, rest) = (money.minor / unit, money.minor % unit);
    let width = digits as usize;
    let point = language.pick(",", ".");
    let amount = if rest == 0 { whole.to_string() } else { format!("{whole}{point}{rest:0width$}") };
    format!("{amount} {}", name(money, language))
}

fn name(money: Money, language: Language) -> String {
    let code = money.currency.as_str();
    match (language, code) {
        (Language::German, "CHF") => "Franken".to_owned(),
        (Language::German, "USD") => "Dollar".to_owned(),
        (Language::German, "GBP") => "Pfund".to_owned(),
        (_, _) => Currency::from_code(code).map_or_else(|| code.to_owned(), |currency| currency.name().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_in_words() {
        let money = |minor, code| Money { minor, currency: domain::money::Currency::parse(code).unwrap() };
        let table = [
            (money(1_500, "EUR"), "15 Euro", 15.0),
            (money(1_550, "EUR"), "15,50 Euro", 15.5),
            (money(5, "EUR"), "0,05 Euro", 0.05),
            (money(2_000, "CHF"), "20 Franken", 20.0),
            (money(1_500, "JPY"), "1500 Japanese yen", 1_500.0),
            (money(1_500, "KWD"), "1,500 Kuwaiti dinar", 1.5),
            (money(1_500, "QQQ"), "15 QQQ", 15.0),
        ];
        for (money, words, number) in table {
            assert_eq!(spoken(money, Language::German).to_lowercase(), words.to_lowercase());
            assert!((major(money) - number).abs() < 1e-9, "{words}");
        }
        assert_eq!(spoken(money(1_550, "EUR"), Language::English), "15.50 Euro");
    }
}
