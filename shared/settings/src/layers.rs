//! Where a value comes from: default < file < environment < flag, each remembered with its source.
//!
//! Deliberately absent: what a value means (`table`) and whether two of them agree (`check`).

use std::path::{Path, PathBuf};

use config::{Config, ConfigError, File, FileFormat, Map, Source, Value};
use url::Url;

use crate::error::SettingsError;
use crate::table::{Documented, Settings, Shape};

/// Before the key in capitals it makes the name of a variable: `lease_ms` is `ASKPRO_LEASE_MS`.
pub const ENVIRONMENT_PREFIX: &str = "ASKPRO_";

/// The variable that names the settings file; the only `ASKPRO_` variable that is no setting.
pub const FILE_VARIABLE: &str = "ASKPRO_SETTINGS_FILE";

/// A setting as it may be shown to a person: no secret, no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The key.
    pub key: &'static str,
    /// The value; `(set)` for a secret, `(not set)` for what has none, `***` in place of a URL's password.
    pub value: String,
    /// `default`, the file's path, `environment ASKPRO_…` or `flag --set …`.
    pub source: String,
}

/// Reads the `key=value` of a flag `--set`.
///
/// # Errors
/// [`SettingsError::Flag`] if there is no `=`.
pub fn parse_flag(written: &str) -> Result<(String, String), SettingsError> {
    let (key, value) = written.split_once('=').ok_or(SettingsError::Flag)?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Puts the layers on top of each other and reads the typed settings out of them.
pub(crate) fn read(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &[(String, String)],
) -> Result<(Settings, Vec<Shown>), SettingsError> {
    let (environment, named_file) = from_environment(environment)?;
    let file = file.map(Path::to_path_buf).or(named_file);
    let mut builder = Config::builder().add_source(defaults());
    if let Some(file) = &file {
        builder = builder.add_source(from_file(file)?);
    }
    let config = builder.add_source(environment).add_source(from_flags(flags)?).build().map_err(wrong_type)?;

    let values = config.collect().map_err(wrong_type)?;
    for documented in Settings::TABLE {
        let Some(value) = values.get(documented.key) else { continue };
        if value.to_string().trim().is_empty() {
            return Err(SettingsError::Empty { key: documented.key, origin: origin(Some(value)) });
        }
    }
    let shown = Settings::TABLE.iter().map(|documented| show(documented, values.get(documented.key))).collect();
    Ok((config.try_deserialize().map_err(wrong_type)?, shown))
}

/// Values of one source, every key known.
#[derive(Debug, Clone, Default)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

impl Layer {
    fn set(&mut self, key: &str, source: String, value: impl Into<config::ValueKind>) {
        self.0.insert(key.to_owned(), Value::new(Some(&source), value));
    }
}

fn defaults() -> Layer {
    let mut layer = Layer::default();
    for documented in Settings::TABLE {
        if let Some(default) = documented.default {
            layer.set(documented.key, "default".to_owned(), default);
        }
    }
    layer
}

fn from_file(path: &Path) -> Result<Layer, SettingsError> {
    let file = path.display().to_string();
    if !path.is_file() {
        return Err(SettingsError::File { file, what: "does not exist or is no file".to_owned() });
    }
    let read = File::from(path).format(FileFormat::Toml).collect();
    let values = read.map_err(|error| SettingsError::File { file: file.clone(), what: without_its_lines(&error) })?;
    let mut layer = Layer::default();
    for (key, value) in values {
        if !known(&key) {
            return Err(SettingsError::UnknownKey { key, origin: file });
        }
        layer.set(&key, file.clone(), value.kind);
    }
    Ok(layer)
}

/// What a TOML parser says first (where) and last (what); between the two it quotes the file.
fn without_its_lines(error: &ConfigError) -> String {
    let said = error.to_string();
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let place = lines.next().unwrap_or_default();
    match lines.next_back() {
        Some(what) => format!("{place}: {what}"),
        None => place.to_owned(),
    }
}

fn from_environment(
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(Layer, Option<PathBuf>), SettingsError> {
    let mut layer = Layer::default();
    let mut file = None;
    for (name, value) in environment {
        if name == FILE_VARIABLE {
            file = Some(PathBuf::from(value));
            continue;
        }
        let Some(capitals) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
        let key = capitals.to_ascii_lowercase();
        if !known(&key) || capitals != key.to_ascii_uppercase() {
            return Err(SettingsError::UnknownKey { key: name, origin: "environment".to_owned() });
        }
        layer.set(&key, format!("environment {name}"), value);
    }
    Ok((layer, file))
}

fn from_flags(flags: &[(String, String)]) -> Result<Layer, SettingsError> {
    let mut layer = Layer::default();
    for (key, value) in flags {
        if !known(key) {
            return Err(SettingsError::UnknownKey { key: key.clone(), origin: "flag --set".to_owned() });
        }
        layer.set(key, format!("flag --set {key}"), value.as_str());
    }
    Ok(layer)
}

fn known(key: &str) -> bool {
    Settings::TABLE.iter().any(|documented| documented.key == key)
}

fn show(documented: &Documented, value: Option<&Value>) -> Shown {
    let text = match (documented.shape, value) {
        (_, None) => "(not set)".to_owned(),
        (Shape::Secret, Some(_)) => "(set)".to_owned(),
        (Shape::Url, Some(value)) => without_password(&value.to_string()),
        (Shape::Plain, Some(value)) => value.to_string(),
    };
    Shown { key: documented.key, value: text, source: origin(value) }
}

fn origin(value: Option<&Value>) -> String {
    value.and_then(Value::origin).unwrap_or("default").to_owned()
}

fn without_password(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return "(not a URL)".to_owned() };
    let masked = url.password().is_none() || url.set_password(Some("***")).is_ok();
    let in_query = url.query_pairs().any(|(name, _)| name.eq_ignore_ascii_case("password"));
    if in_query {
        url.set_query(Some("***"));
    }
    if masked { url.to_string() } else { "(set)".to_owned() }
}

fn wrong_type(error: ConfigError) -> SettingsError {
    SettingsError::Type { what: error.to_string() }
}
