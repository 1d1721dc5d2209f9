//! What the record answers when it does not do what was asked; each variant says what to do next.
//!
//! Absent: refusals. "Taken" is an answer of the product (`domain::refusal`), not an error of the database.

use std::error::Error;

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Postgres is out of reach, going down, too slow, or the pool is used up: try again later.
    #[error("Postgres is out of reach")]
    Away(#[source] Box<dyn Error + Send + Sync>),
    /// Somebody else held a lock for longer than we wait: try again soon.
    #[error("a lock was not to be had in time")]
    LockWait,
    /// An invariant is broken, in the data or in the configuration: for a person.
    #[error("broken invariant: {what}")]
    Broken {
        /// Which.
        what: &'static str,
    },
    /// A constraint said no; its name is the sentence that would have been untrue.
    #[error("refused by the constraint {constraint}")]
    Refused {
        /// Its name.
        constraint: String,
    },
    /// Anything else that the database said.
    #[error("the database refused a statement")]
    Database(#[source] Box<sqlx::Error>),
}

const DEADLOCK: &str = "40P01";
const SERIALISATION: &str = "40001";
const LOCK_WAIT: &str = "55P03";

impl StoreError {
    /// Was the transaction given up for another one's sake? Then it may simply be tried again.
    pub(crate) fn passes(&self) -> bool {
        matches!(self.code(), DEADLOCK | SERIALISATION | LOCK_WAIT)
    }

    /// The SQLSTATE of what passes; `other` else.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::LockWait => LOCK_WAIT,
            Self::Database(source) => match source.as_database_error().and_then(|e| e.code()).as_deref() {
                Some(DEADLOCK) => DEADLOCK,
                Some(SERIALISATION) => SERIALISATION,
                Some(_) | None => "other",
            },
            Self::Away(_) | Self::Broken { .. } | Self::Refused { .. } => "other",
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if let Some(database) = error.as_database_error() {
            let code = database.code().unwrap_or_default().into_owned();
            // 08 connection, 53 resources, 57P going down, 57014 statement timeout, 25P03 idle in transaction.
            let away = ["08", "53", "57P", "57014", "25P03"].iter().any(|class| code.starts_with(class));
            return match database.constraint() {
                Some(constraint) if code.starts_with("23") => Self::Refused { constraint: constraint.to_owned() },
                Some(_) | None if code == LOCK_WAIT => Self::LockWait,
                Some(_) | None if away => Self::Away(Box::new(error)),
                Some(_) | None => Self::Database(Box::new(error)),
            };
        }
        let away = matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::BeginFailed
        );
        if away { Self::Away(Box::new(error)) } else { Self::Database(Box::new(error)) }
    }
}
