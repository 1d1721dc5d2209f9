//! How a command can end badly, what is said about it, and its exit code.
//!
//! Every failure says what to do next where there is something to do. Deliberately absent: retries; an operator decides.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use store::{AcceptError, StoreError};

/// How a command ended; the number is its exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Anything that has no number of its own.
    Error = 1,
    /// The command or the settings cannot be meant so.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// It is not as the command expects, or its state forbids it.
    Conflict = 4,
    /// Cal.com and the record differ.
    Drift = 5,
    /// The database is out of reach.
    OutOfReach = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command cannot be meant so.
    #[error("{0}")]
    Usage(String),
    /// The settings are refused.
    #[error("{0}")]
    Settings(#[from] ::settings::SettingsError),
    /// A file is not what it should be.
    #[error("{file}: {what}")]
    File {
        /// Its path.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It is not as the command expects, or its state forbids it.
    #[error("{0}")]
    Conflict(String),
    /// The database is out of reach.
    #[error("the database is out of reach: {cause}\n  tried: {tried}")]
    OutOfReach {
        /// Why.
        cause: String,
        /// Its address without a password, and where that comes from.
        tried: String,
    },
    /// Cal.com could not be read.
    #[error("Cal.com could not be read: {0}")]
    Calcom(String),
    /// The record answered with an error.
    #[error("{}", causes(.0))]
    Store(#[from] StoreError),
    /// The answer could not be written.
    #[error("the answer could not be written: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// Its exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Settings(_) => Exit::Usage,
            Self::NotFound(_) => Exit::NotFound,
            Self::Conflict(_) => Exit::Conflict,
            Self::OutOfReach { .. } | Self::Store(StoreError::Away(_)) => Exit::OutOfReach,
            Self::File { .. } | Self::Calcom(_) | Self::Output(_) => Exit::Error,
            Self::Store(
                StoreError::LockWait | StoreError::Broken { .. } | StoreError::Refused { .. } | StoreError::Database(_),
            ) => Exit::Error,
        }
    }

    /// What a person reads: what happened, and what to do next.
    #[must_use]
    pub fn report(&self) -> String {
        let said = format!("askpro: error: {self}");
        match self.hint() {
            Some(hint) => format!("{said}\n  {hint}"),
            None => said,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::OutOfReach { .. } => Some(
                "On this machine `./dev up` starts a database and `./dev askpro ...` uses it; another one is named by \
                 the setting database_url (`askpro settings` shows all of them).",
            ),
            Self::Store(StoreError::LockWait) => Some("Somebody else is at it; try again in a moment."),
            Self::Store(StoreError::Database(_)) if self.to_string().contains("does not exist") => {
                Some("Perhaps the schema is missing or older than this program: `askpro migrate` brings it up to date.")
            }
            Self::Usage(_) => Some("`askpro help` shows what there is."),
            Self::Settings(_)
            | Self::File { .. }
            | Self::NotFound(_)
            | Self::Conflict(_)
            | Self::Calcom(_)
            | Self::Store(_)
            | Self::Output(_) => None,
        }
    }

    /// The same, and if the database is out of reach, which one was tried.
    #[must_use]
    pub(crate) fn with_database(self, tried: &str) -> Self {
        match self {
            Self::Store(StoreError::Away(cause)) => {
                Self::OutOfReach { cause: causes(cause.as_ref()), tried: tried.to_owned() }
            }
            other @ (Self::Usage(_)
            | Self::Settings(_)
            | Self::File { .. }
            | Self::NotFound(_)
            | Self::Conflict(_)
            | Self::Calcom(_)
            | Self::OutOfReach { .. }
            | Self::Store(_)
            | Self::Output(_)) => other,
        }
    }
}

impl From<AcceptError> for Failure {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Refused(refusal) => Self::Conflict(refusal.to_string()),
            AcceptError::StaleVersion { current, status } => Self::Conflict(format!(
                "the appointment is at version {current} by now and is {}; nothing was changed",
                status.as_str()
            )),
            AcceptError::KeyReused => Self::Conflict("the request key belongs to another request".to_owned()),
            AcceptError::Busy { .. } => Self::Store(StoreError::LockWait),
            AcceptError::NotFound => Self::NotFound("there is no such appointment".to_owned()),
            AcceptError::Store(error) => Self::Store(error),
        }
    }
}

/// An error and its causes, each once: many repeat their cause in their own text.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = next.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::appointment::Status;
    use domain::refusal::Refusal;

    fn away() -> StoreError {
        StoreError::Away(Box::new(io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused")))
    }

    #[test]
    fn every_failure_has_its_exit_code() {
        let table = [
            (Failure::Usage(String::new()), 2),
            (Failure::Settings(::settings::SettingsError::Flag), 2),
            (Failure::File { file: String::new(), what: String::new() }, 1),
            (Failure::NotFound(String::new()), 3),
            (Failure::Conflict(String::new()), 4),
            (Failure::Calcom(String::new()), 1),
            (Failure::OutOfReach { cause: String::new(), tried: String::new() }, 6),
            (Failure::Store(away()), 6),
            (Failure::Store(StoreError::LockWait), 1),
            (Failure::Store(StoreError::Broken { what: "x" }), 1),
            (Failure::Store(StoreError::Refused { constraint: "x".to_owned() }), 1),
            (Failure::Output(io::Error::other("x")), 1),
            (AcceptError::Refused(Refusal::Final { status: Status::Cancelled }).into(), 4),
            (AcceptError::StaleVersion { current: 3, status: Status::Scheduled }.into(), 4),
            (AcceptError::KeyReused.into(), 4),
            (AcceptError::Busy { retry_after_seconds: 1 }.into(), 1),
            (AcceptError::NotFound.into(), 3),
            (AcceptError::Store(away()).into(), 6),
        ];
        for (failure, code) in table {
            assert_eq!(failure.exit() as u8, code, "{failure:?}");
        }
    }

    #[test]
    fn a_database_that_is_away_is_named_with_a_way_out() {
        let tried = "postgres://askpro:***@127.0.0.1:5432/askpro (database_url, from default)";
        let report = Failure::Store(away()).with_database(tried).report();
        for word in ["out of reach: connection refused", tried, "./dev up"] {
            assert!(report.contains(word), "{report}");
        }
    }
}
