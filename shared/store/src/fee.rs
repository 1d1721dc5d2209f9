//! What a change of an appointment costs, as its history has it: minor units beside the currency's code.

use crate::error::StoreError;
use domain::money::{Currency, Money};

/// `None`: no policy spoke of a fee.
pub(crate) fn read_fee(minor: Option<i64>, currency: Option<&str>) -> Result<Option<Money>, StoreError> {
    let Some((minor, code)) = minor.zip(currency) else { return Ok(None) };
    let read = u32::try_from(minor).ok().zip(Currency::parse(code)).map(|(minor, currency)| Money { minor, currency });
    read.map(Some).ok_or(StoreError::Broken { what: "a fee is no amount" })
}
