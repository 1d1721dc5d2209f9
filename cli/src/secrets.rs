//! `askpro secrets`: a company's secrets. They come from stdin (a flag would be in every process list) and are sealed
//! before they reach the database; nothing here can show one.
//!
//! A sealing key is changed in three steps, and no process is ever without a secret: the new key goes to the end of the
//! setting `sealing_keys` of every process; then it goes to the front, and `rotate` seals all secrets anew with it; then
//! the old one may leave the setting.

use std::collections::BTreeMap;
use std::io::Read;

use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use secrecy::SecretString;
use serde::Serialize;
use store::{Removed, SecretKind, SecretView, StoreError};

use crate::appointments::reason;
use crate::failure::Failure;
use crate::flags::Output;
use crate::render::{self, Answer};
use crate::session::Session;
use crate::span;

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
    /// What there is, never its value; of all companies unless --company names one
    List,
    /// Seal with the first sealing key what is sealed with another; only shows it unless --yes is given
    Rotate {
        /// Do it
        #[arg(long, requires = "reason")]
        yes: bool,
        /// Why; it is noted
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: Option<String>,
    },
    /// Take away one that a newer one of its kind has replaced; it is refused from then on
    Remove {
        /// Its number, as `secrets list` has it
        secret: i64,
        /// Why; it is noted
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
}

impl Verb {
    /// Must somebody type?
    pub(crate) fn reads_stdin(&self) -> bool {
        matches!(self, Self::Set { .. })
    }
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
    match verb {
        Verb::Set { kind } => set(kind.into(), session, input).await,
        Verb::List => {
            let company = session.company_if_named().await?;
            listed(session.output, &session.store.sealed_secrets(company.map(|company| company.company_id)).await?)
        }
        Verb::Rotate { yes, reason } => rotate(session, reason.filter(|_| yes).as_deref()).await,
        Verb::Remove { secret, reason } => remove(session, secret, &reason).await,
    }
}

async fn set(kind: SecretKind, session: &Session, input: &mut impl Read) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        company: &'a str,
        kind: &'static str,
    }
    session.require_sealing_keys()?;
    let secret = read(input)?;
    let company = session.company().await?;
    session.store.set_secret(company.company_id, kind, &secret).await?;
    let body = Body { company: &company.slug, kind: kind.as_str() };
    Answer::new(session.output, &body, || {
        format!("The secret {} of {} is set; the one before it stays valid, too.", kind.as_str(), company.slug)
    })
}

#[derive(Serialize)]
struct Secret<'a> {
    company: &'a str,
    kind: &'static str,
    id: i64,
    /// The key that seals it.
    key_id: &'a str,
    /// Is that the key that seals now?
    current: bool,
    newest: bool,
    created_at: DateTime<Utc>,
}

impl<'a> From<&'a SecretView> for Secret<'a> {
    fn from(view: &'a SecretView) -> Self {
        Self {
            company: &view.company,
            kind: view.kind.as_str(),
            id: view.secret_id,
            key_id: &view.key_id,
            current: view.is_current,
            newest: view.is_newest,
            created_at: view.created_at,
        }
    }
}

fn listed(output: Output, secrets: &[SecretView]) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        secrets: Vec<Secret<'a>>,
    }
    Answer::new(output, &Body { secrets: secrets.iter().map(Secret::from).collect() }, || table(secrets))
}

fn table(secrets: &[SecretView]) -> String {
    let rows = secrets.iter().map(|view| {
        [
            view.company.clone(),
            view.kind.as_str().to_owned(),
            view.secret_id.to_string(),
            if view.is_newest { "newest" } else { "older" }.to_owned(),
            view.key_id.clone(),
            if view.is_current { "yes" } else { "no" }.to_owned(),
            span::age(view.age_seconds),
        ]
    });
    let header = ["COMPANY", "KIND", "SECRET", "WHICH", "SEALED WITH", "CURRENT KEY", "AGE"];
    render::table(header, &[2, 6], rows.collect())
}

/// Company after company, each in one transaction: broken off, it goes on where it was. Without a reason it only says what
/// it would do.
async fn rotate(session: &Session, why: Option<&str>) -> Result<Answer, Failure> {
    session.require_sealing_keys()?;
    let key = session.store.sealing_key_id().unwrap_or_default();
    let company_id = session.company_if_named().await?.map(|company| company.company_id);
    let others = async || {
        let secrets = session.store.sealed_secrets(company_id).await?;
        Ok::<_, Failure>(secrets.into_iter().filter(|secret| !secret.is_current).collect::<Vec<_>>())
    };
    let due = others().await?;
    let Some(why) = why else { return planned(session.output, key, &due) };
    let companies: BTreeMap<i32, &str> = due.iter().map(|view| (view.company_id, view.company.as_str())).collect();
    let (mut resealed, mut broken) = (0, Vec::new());
    for (company_id, company) in companies {
        match session.store.reseal(company_id, why).await {
            Ok(count) => resealed += count,
            // One company's trouble is not the others'.
            Err(StoreError::Broken { what }) => broken.push(format!("{company}: {what}")),
            Err(error) => return Err(error.into()),
        }
    }
    if !broken.is_empty() {
        let broken = broken.join("; ");
        return Err(Failure::Conflict(format!("{resealed} secrets were sealed anew, others were not: {broken}")));
    }
    rotated(session.output, key, resealed, others().await?.len())
}

fn planned(output: Output, key: &str, due: &[SecretView]) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        dry_run: bool,
        key_id: &'a str,
        count: usize,
        secrets: Vec<Secret<'a>>,
    }
    let body = Body { dry_run: true, key_id: key, count: due.len(), secrets: due.iter().map(Secret::from).collect() };
    let answer = Answer::new(output, &body, || match due {
        [] => format!("Every secret is sealed with the key {key}."),
        _ => format!("To be sealed with the key {key}: {}\n\n{}", due.len(), table(due)),
    })?;
    let note = "Nothing was changed. To do it: askpro secrets rotate --yes --reason TEXT";
    Ok(answer.with_note((!due.is_empty()).then(|| note.to_owned())))
}

fn rotated(output: Output, key: &str, resealed: usize, left: usize) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        dry_run: bool,
        key_id: &'a str,
        resealed: usize,
        /// Set meanwhile, by a process whose first key is another one.
        left: usize,
    }
    Answer::new(output, &Body { dry_run: false, key_id: key, resealed, left }, || {
        let then = match left {
            0 => "No secret needs another key any more.".to_owned(),
            _ => format!("{left} were set meanwhile with another key: call it again."),
        };
        format!("Sealed with the key {key}: {resealed}. {then}")
    })
}

async fn remove(session: &Session, secret: i64, why: &str) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        company: &'a str,
        kind: &'static str,
        removed: i64,
    }
    let company = session.company().await?;
    let slug = &company.slug;
    let kind = match session.store.remove_secret(company.company_id, secret, why).await? {
        Removed::Done(kind) => kind.as_str(),
        Removed::Newest(kind) => {
            let kind = kind.as_str();
            return Err(Failure::Conflict(format!(
                "{secret} is the newest secret {kind} of {slug}: set another one first, then remove this one"
            )));
        }
        Removed::Unknown => {
            return Err(Failure::NotFound(format!("{slug} has no secret {secret}: askpro secrets list")));
        }
    };
    let body = Body { company: slug, kind, removed: secret };
    Answer::new(session.output, &body, || format!("The secret {kind} {secret} of {slug} is gone."))
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

    fn secret(secret_id: i64, is_newest: bool) -> SecretView {
        SecretView {
            company_id: 1,
            company: "salon".to_owned(),
            kind: SecretKind::CalcomWebhook,
            secret_id,
            key_id: "k1".to_owned(),
            is_current: false,
            is_newest,
            created_at: DateTime::UNIX_EPOCH,
            age_seconds: 90_000,
        }
    }

    #[test]
    fn secrets_as_a_table() {
        let text = listed(Output::Table, &[secret(12, true), secret(7, false)]).unwrap().text;
        let wanted = "\
COMPANY  KIND            SECRET  WHICH   SEALED WITH  CURRENT KEY  AGE
salon    calcom_webhook      12  newest  k1           no            1d
salon    calcom_webhook       7  older   k1           no            1d";
        assert_eq!(text, wanted);
    }

    #[test]
    fn a_rotation_is_shown_before_it_is_done() {
        let shown = planned(Output::Table, "k2", &[secret(12, true)]).unwrap();
        assert!(shown.text.starts_with("To be sealed with the key k2: 1\n\nCOMPANY"), "{}", shown.text);
        assert!(shown.note.unwrap().starts_with("Nothing was changed."));
        let none = planned(Output::Table, "k2", &[]).unwrap();
        assert_eq!((none.text.as_str(), none.note), ("Every secret is sealed with the key k2.", None));
        let json: serde_json::Value =
            serde_json::from_str(&planned(Output::Json, "k2", &[secret(12, true)]).unwrap().text).unwrap();
        assert_eq!(
            (&json["dry_run"], &json["count"], &json["secrets"][0]["id"]),
            (&true.into(), &1.into(), &12.into())
        );
        assert!(rotated(Output::Table, "k2", 3, 1).unwrap().text.ends_with("call it again."));
    }
}
