//! Why the settings were refused: each refusal names the settings, says where their values came from and what to do.
//!
//! Deliberately absent: any secret, and the password of a URL.

use std::fmt;

/// A setting as a refusal speaks of it: its key, its value and where that came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The key.
    pub key: &'static str,
    /// Its value, as [`crate::Shown`] shows it.
    pub value: String,
    /// Where it came from.
    pub source: String,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ({})", self.key, self.value, self.source)
    }
}

/// Why the process does not start.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read or is no TOML.
    #[error("the settings file {file}: {what}")]
    File {
        /// Its path.
        file: String,
        /// What is wrong with it; never a line of it, for it may hold secrets.
        what: String,
    },
    /// A key that does not exist.
    #[error("there is no setting `{key}` ({origin}); `askpro settings` lists them all")]
    UnknownKey {
        /// The key or the variable as it was written.
        key: String,
        /// The file, the environment or the flag.
        origin: String,
    },
    /// A flag that is not `key=value`.
    #[error("--set wants key=value")]
    Flag,
    /// A value of the wrong type.
    #[error("{what}")]
    Type {
        /// The message of the parser, with key and source.
        what: String,
    },
    /// A value that is there but empty; for a secret that would mean no protection at all.
    #[error("{key} ({origin}) is set but empty: give it a value, or remove it")]
    Empty {
        /// The key.
        key: &'static str,
        /// Where it was set.
        origin: String,
    },
    /// A number that must not be zero.
    #[error("{0}: must be at least 1")]
    Zero(Box<Named>),
    /// A number that is too small to work with.
    #[error("{setting}: must be at least {at_least}")]
    TooSmall {
        /// The setting.
        setting: Box<Named>,
        /// The least that works.
        at_least: u32,
    },
    /// A URL that cannot work.
    #[error("{key} ({origin}) {what}")]
    Url {
        /// The key.
        key: &'static str,
        /// Where it was set.
        origin: String,
        /// What is wrong and what to do.
        what: String,
    },
    /// Two settings that cannot both hold.
    #[error("{} and {} contradict each other: {why}; {remedy}", pair[0], pair[1])]
    Contradiction {
        /// The two.
        pair: Box<[Named; 2]>,
        /// What would go wrong.
        why: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A secret that this process needs and that is not set.
    #[error(
        "{key} is not set: give it in the environment or in the settings file as id:base64 of 32 bytes, e.g. made by \
         `echo k1:$(openssl rand -base64 32)`"
    )]
    Missing {
        /// The key.
        key: &'static str,
    },
}
