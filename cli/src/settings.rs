//! `askpro settings`: every setting, its value and where that comes from. No secret and no password is shown.

use ::settings::{Settings, Shown};
use serde::Serialize;

use crate::failure::Failure;
use crate::flags::{Global, Output};
use crate::render::{self, Answer};

pub(crate) fn run(global: &Global) -> Result<Answer, Failure> {
    let (_, shown) = Settings::load(global.config.as_deref(), &global.set)?;
    listed(global.output, &shown)
}

#[derive(Serialize)]
struct Setting<'a> {
    key: &'a str,
    value: &'a str,
    source: &'a str,
    meaning: &'a str,
}

impl<'a> From<&'a Shown> for Setting<'a> {
    fn from(shown: &'a Shown) -> Self {
        Self { key: shown.key, value: &shown.value, source: &shown.source, meaning: meaning(shown.key) }
    }
}

fn listed(output: Output, shown: &[Shown]) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        settings: Vec<Setting<'a>>,
    }
    Answer::new(output, &Body { settings: shown.iter().map(Setting::from).collect() }, || {
        let rows = shown.iter().map(|shown| {
            [shown.key.to_owned(), shown.value.clone(), shown.source.clone(), meaning(shown.key).to_owned()]
        });
        render::table(["KEY", "VALUE", "SOURCE", "MEANING"], &[], rows.collect())
    })
}

fn meaning(key: &str) -> &'static str {
    let row = Settings::TABLE.iter().find(|documented| documented.key == key);
    row.map_or("", |documented| documented.meaning.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let flags = [("database_url".to_owned(), "postgres://askpro:geheim@db/askpro".to_owned())];
        let (_, shown) = Settings::load_from(None, [], &flags).unwrap();
        for output in [Output::Table, Output::Json] {
            let text = listed(output, &shown).unwrap().text;
            assert!(text.contains("postgres://askpro:***@db/askpro") && !text.contains("geheim"), "{text}");
            assert!(Settings::TABLE.iter().all(|row| text.contains(row.key)), "{text}");
        }
    }
}
