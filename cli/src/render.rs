//! The one place that writes: aligned tables for people, one JSON document for programs.
//!
//! Nothing is cut or wrapped, there is no colour, and a control character in the data never reaches the terminal.
//! Deliberately absent: what is worth showing; each noun knows its own columns.

use std::io::{ErrorKind, Write};

use chrono::{DateTime, Utc};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::flags::Output;

/// The version of the JSON documents; a field that goes away or changes its meaning changes it.
pub(crate) const API_VERSION: &str = "askpro/v1";

/// What a command says.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Data, for stdout.
    pub(crate) text: String,
    /// A word to the person, for stderr.
    pub(crate) note: Option<String>,
    /// How the command ends.
    pub(crate) exit: Exit,
}

impl Answer {
    /// The body as JSON, or the table of it.
    pub(crate) fn new(output: Output, body: &impl Serialize, table: impl FnOnce() -> String) -> Result<Self, Failure> {
        let text = match output {
            Output::Table => table(),
            Output::Json => document(body)?,
        };
        Ok(Self { text, note: None, exit: Exit::Ok })
    }

    /// The same with a word to the person.
    pub(crate) fn with_note(self, note: Option<String>) -> Self {
        Self { note, ..self }
    }

    /// The same, and the command ends so.
    pub(crate) fn ending(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }
}

/// Writes it to a locked stdout and ends its last line. A reader who has seen enough (`| head`) is no failure.
pub(crate) fn write(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    let line = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    #[serde(flatten)]
    body: &'a T,
}

/// A body, which must be a JSON object, with its version in front.
pub(crate) fn document(body: &impl Serialize) -> Result<String, Failure> {
    let versioned = Versioned { api_version: API_VERSION, body };
    serde_json::to_string_pretty(&versioned).map_err(|error| Failure::Output(error.into()))
}

/// Rows under a header; `right` names the columns of numbers.
pub(crate) fn table<const N: usize>(header: [&str; N], right: &[usize], rows: Vec<[String; N]>) -> String {
    let mut table = aligned(rows, right);
    table.set_header(header.to_vec());
    align(&mut table, right);
    table.trim_fmt()
}

/// Rows without a header.
pub(crate) fn lines<const N: usize>(right: &[usize], rows: Vec<[String; N]>) -> String {
    aligned(rows, right).trim_fmt()
}

/// One thing, a fact a line; a fact without a value is left out.
pub(crate) fn facts(facts: Vec<(&str, Option<String>)>) -> String {
    let known = facts.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?]));
    lines(&[], known.collect())
}

fn aligned<const N: usize>(rows: Vec<[String; N]>, right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    for row in rows {
        table.add_row(row.map(|cell| plain(&cell)).to_vec());
    }
    align(&mut table, right);
    table
}

fn align(table: &mut Table, right: &[usize]) {
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// A line of a terminal, whatever the data hold.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// An instant for people.
pub(crate) fn instant(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A value or a dash.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_never_cut() {
        let long = "0199a3c2-7c1e-7b60-9c55-1f2a3b4c5d6e".repeat(8);
        let rows = vec![[long.clone(), "7".to_owned()], ["Färben".to_owned(), "120".to_owned()]];
        let text = table(["ID", "COUNT"], &[1], rows);
        let pad = " ".repeat(long.len());
        let wanted = format!("ID{}  COUNT\n{long}      7\nFärben{}    120", &pad[2..], &pad[6..]);
        assert_eq!(text, wanted);
    }

    #[test]
    fn facts_without_a_value_are_left_out() {
        let text = facts(vec![("id", Some("1".to_owned())), ("call", None), ("status", Some("scheduled".to_owned()))]);
        assert_eq!(text, "id      1\nstatus  scheduled");
    }

    #[test]
    fn a_document_says_its_version_first() {
        #[derive(Serialize)]
        struct Body {
            jobs: Vec<u8>,
            next: Option<u8>,
        }
        let text = document(&Body { jobs: vec![], next: None }).unwrap();
        assert_eq!(text, "{\n  \"apiVersion\": \"askpro/v1\",\n  \"jobs\": [],\n  \"next\": null\n}");
    }

    #[test]
    fn data_cannot_steer_the_terminal() {
        let text = lines(&[], vec![["a\u{1b}[2Jb".to_owned(), "c\nd".to_owned()]]);
        assert_eq!(text, "a [2Jb  c d");
    }

    #[test]
    fn a_closed_pipe_is_no_failure_and_a_full_disk_is() {
        struct Broken(ErrorKind);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        assert!(write(&mut Broken(ErrorKind::BrokenPipe), "x").is_ok());
        assert!(write(&mut Broken(ErrorKind::StorageFull), "x").is_err());
        let mut out = Vec::new();
        write(&mut out, "x").unwrap();
        assert_eq!(out, b"x\n");
    }
}
