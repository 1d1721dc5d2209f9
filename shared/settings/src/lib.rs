//! The settings of api, worker and cli: one typed struct, one documented table, and every refusal at start.
//!
//! A value comes from the default, a TOML file, the environment (`ASKPRO_` + the key in capitals) or a flag
//! (`--set key=value`); the later one wins, and [`Shown`] says which one it was. An unknown key is refused by its name,
//! and so are two settings that contradict each other. Deliberately absent: reloading (restart the process), settings
//! of a company (they are rows in Postgres), the choice of what a process is (that is its binary).

mod check;
mod error;
mod keys;
mod layers;
mod table;

use std::path::Path;

pub use error::{Named, SettingsError};
pub use keys::{Key, KeyRing};
pub use layers::{ENVIRONMENT_PREFIX, FILE_VARIABLE, Shown, parse_flag};
pub use table::{Documented, Settings};

impl Settings {
    /// Reads the settings of this process: default < `file` < environment < `flags`, then checks them. Without `file`
    /// the one that the variable `ASKPRO_SETTINGS_FILE` names is read, if it is set.
    ///
    /// # Errors
    /// A file that cannot be read or parsed, an unknown key or `ASKPRO_` variable, a value of the wrong type, an empty
    /// value, a URL that cannot work, or two settings that contradict each other.
    pub fn load(file: Option<&Path>, flags: &[(String, String)]) -> Result<(Self, Vec<Shown>), SettingsError> {
        let environment = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
        Self::load_from(file, environment, flags)
    }

    /// [`Settings::load`] with the environment as an argument: what tests call.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn load_from(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<(Self, Vec<Shown>), SettingsError> {
        let (mut settings, shown) = layers::read(file, environment, flags)?;
        check::check(&settings, &shown)?;
        settings.calcom_url.truncate(settings.calcom_url.trim_end_matches('/').len());
        Ok((settings, shown))
    }

    /// The keys that seal the companies' secrets, for a process that cannot work without them.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] if `sealing_keys` is not set.
    pub fn require_sealing_keys(&self) -> Result<&KeyRing, SettingsError> {
        self.sealing_keys.as_ref().ok_or(SettingsError::Missing { key: "sealing_keys" })
    }

    /// The keys that sign the marker in a booking at Cal.com, for a process that cannot work without them.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] if `marker_keys` is not set.
    pub fn require_marker_keys(&self) -> Result<&KeyRing, SettingsError> {
        self.marker_keys.as_ref().ok_or(SettingsError::Missing { key: "marker_keys" })
    }
}
