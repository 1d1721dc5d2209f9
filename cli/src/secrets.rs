//! `askpro secrets`: a company's secrets. They come from stdin (a flag would be in every process list) and are sealed
//! before they reach the database; nothing here can show one.

use std::io::Read;

use clap::{Subcommand, ValueEnum};
use secrecy::SecretString;
use serde::Serialize;
use store::SecretKind;

use crate::failure::Failure;
use crate::render::Answer;
use crate::session::Session;

/// Longer than any secret, in bytes.
const BYTES_MAX: u64 = 4_096;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Make what stdin says the newest secret of its kind; the two newest are active
    Set {
        /// What it is for
        #[arg(long, value_enum)]
        kind: Kind,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Signs what Retell sends
    Retell,
    /// Lets us into Cal.com
    Calcom,
    /// Signs what Cal.com sends
    CalcomWebhook,
}

impl From<Kind> for SecretKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Retell => Self::Retell,
            Kind::Calcom => Self::Calcom,
            Kind::CalcomWebhook => Self::CalcomWebhook,
        }
    }
}

pub(crate) async fn run(verb: Verb, session: &Session, input: &mut impl Read) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        company: &'a str,
        kind: &'static str,
    }
    let Verb::Set { kind } = verb;
    let kind = SecretKind::from(kind);
    session.require_sealing_keys()?;
    let secret = read(input)?;
    let company = session.company().await?;
    session.store.set_secret(company.company_id, kind, &secret).await?;
    let body = Body { company: &company.slug, kind: kind.as_str() };
    Answer::new(session.output, &body, || {
        format!("The secret {} of {} is set; the one before it stays valid, too.", kind.as_str(), company.slug)
    })
}

/// One line; white space around it belongs to the shell, not to the secret.
fn read(input: &mut impl Read) -> Result<SecretString, Failure> {
    let refused = |what: &str| Failure::Usage(format!("the secret on stdin {what}"));
    let mut text = String::new();
    input.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(|_| refused("cannot be read as text"))?;
    let secret = text.trim();
    if secret.is_empty() {
        return Err(refused("is empty"));
    }
    if text.len() as u64 > BYTES_MAX {
        return Err(refused("is too long"));
    }
    if secret.chars().any(char::is_control) {
        return Err(refused("has more than one line"));
    }
    Ok(SecretString::from(secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_secret_is_one_line_without_what_the_shell_adds() {
        assert_eq!(read(&mut "cal_live_1\r\n".as_bytes()).unwrap().expose_secret(), "cal_live_1");
        let long = "x".repeat(5_000);
        for input in ["", " \n", "a\nb", long.as_str()] {
            assert!(matches!(read(&mut input.as_bytes()), Err(Failure::Usage(_))), "{} bytes", input.len());
        }
        assert!(read(&mut &[0xff_u8, 0xfe][..]).is_err());
    }
}
