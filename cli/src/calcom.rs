//! Cal.com, as a command reads it: by the company's key, and only as often as the budget of that key lets it.
//!
//! Deliberately absent: any change of a booking. A command says what it has seen, and a worker's job acts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use calcom::{Client, ClientSettings, Closed, Gate, ListQuery, MarkerKeys, Soon};
use chrono::{DateTime, Utc};
use domain::answer::{Booking, LookFailure};
use domain::budget::{Heard, Pass, Purpose};
use secrecy::SecretString;
use settings::Settings;
use store::{Company, Fingerprint, Question, Reply, SecretKind, Store};

use crate::failure::Failure;

/// The longest answer of Cal.com that is read: 250 bookings of a page are well below a megabyte.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// All bookings to come that `company` has at Cal.com.
pub(crate) async fn upcoming(
    store: &Store,
    settings: &Settings,
    company: &Company,
    from: DateTime<Utc>,
) -> Result<Vec<Booking>, Failure> {
    let unusable = |error: &dyn std::fmt::Display| Failure::Usage(format!("Cal.com cannot be asked: {error}"));
    let markers = MarkerKeys::new(settings.require_marker_keys()?.pairs()).map_err(|error| unusable(&error))?;
    let client = ClientSettings {
        base_url: settings.calcom_url.clone(),
        timeout: Duration::from_millis(settings.calcom_timeout_ms),
        bookings_version: settings.calcom_bookings_version.clone(),
        slots_version: settings.calcom_slots_version.clone(),
        body_max_bytes: BODY_BYTES_MAX,
        allow_insecure: settings.calcom_allow_insecure,
    };
    let client = Client::new(client, Arc::new(OneByOne(store.clone()))).map_err(|error| unusable(&error))?;
    let key = store.secrets(company.company_id, SecretKind::Calcom).await?.into_iter().next();
    let key = key.ok_or_else(|| Failure::NotFound(format!("{} has no key of Cal.com", company.slug)))?;
    let listed = client.sweeping().list(&key, &ListQuery::Upcoming { from }, &markers, company.company_id).await;
    listed.map_err(|failure| Failure::Calcom(said(&failure)))
}

fn said(failure: &LookFailure) -> String {
    let again = |wait: Option<Duration>| {
        wait.map(|wait| format!("; try again in {} s", wait.as_secs().saturating_add(1))).unwrap_or_default()
    };
    match failure {
        LookFailure::NotSent { wait } => {
            format!("it was not asked: no connection, or its budget is used up{}", again(*wait))
        }
        LookFailure::Throttled { wait } => format!("it wants the key to rest{}", again(Some(*wait))),
        LookFailure::Unauthorized => "it refused the company's key".to_owned(),
        LookFailure::NoAnswer { wait } => format!("it did not answer{}", again(*wait)),
        LookFailure::Other => "its answer makes no sense".to_owned(),
    }
}

/// Asks the record for each request of its own: a command makes a handful.
struct OneByOne(Store);

impl OneByOne {
    async fn reply(&self, key: &SecretString, question: Question) -> Option<Reply> {
        match self.0.ask_calcom_key(Fingerprint::of(key), &[question]).await {
            Ok(replies) => replies.replies.into_iter().next(),
            // Without the record nobody passes.
            Err(_away) => None,
        }
    }
}

impl Gate for OneByOne {
    fn ask<'a>(&'a self, key: &'a SecretString, purpose: Purpose) -> Soon<'a, Result<(Pass, Instant), Closed>> {
        Box::pin(async move {
            let since = Instant::now();
            match self.reply(key, Question::May(purpose)).await {
                Some(Reply::Go(pass)) => Ok((pass, since)),
                Some(Reply::Wait { wait, .. }) => Err(Closed { wait: Some(wait) }),
                Some(Reply::Noted { wait }) => Err(Closed { wait }),
                None => Err(Closed { wait: None }),
            }
        })
    }

    fn tell<'a>(&'a self, key: &'a SecretString, pass: Pass, heard: Heard) -> Soon<'a, Option<Duration>> {
        Box::pin(async move {
            match self.reply(key, Question::Heard(pass, heard)).await {
                Some(Reply::Noted { wait }) => wait,
                Some(Reply::Go(_) | Reply::Wait { .. }) | None => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_when_to_try_again() {
        let wait = Some(Duration::from_millis(1_500));
        assert_eq!(said(&LookFailure::NoAnswer { wait }), "it did not answer; try again in 2 s");
        assert_eq!(said(&LookFailure::NoAnswer { wait: None }), "it did not answer");
        assert!(said(&LookFailure::NotSent { wait }).ends_with("; try again in 2 s"));
    }
}
