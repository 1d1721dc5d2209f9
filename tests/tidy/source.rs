//! What the rules of `tidy.rs` read: the repository's files, a crate's manifest, and Rust with strings and comments told
//! from code. Deliberately absent: any opinion.

use std::fs;
use std::path::Path;
use toml::{Table, Value};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every text of the repository with its path, sorted; without git's own folder and what the root's `.gitignore` names.
pub(crate) fn files() -> Vec<(String, String)> {
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap();
    let ignored: Vec<_> = ignored.lines().map(|line| line.trim_matches('/')).chain([".git"]).collect();
    let (mut folders, mut files) = (vec![root().to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let full = entry.path();
            let path = full.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            if ignored.contains(&path.as_str()) {
                continue;
            } else if entry.file_type().unwrap().is_dir() {
                folders.push(full);
            } else if let Ok(text) = fs::read_to_string(full) {
                files.push((path, text));
            }
        }
    }
    files.sort_unstable();
    files
}

pub(crate) fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|kind| kind == "rs")
}

pub(crate) fn is_product(path: &str) -> bool {
    is_rust(path) && !path.split('/').any(|folder| folder == "tests")
}

/// Tests stand at the end of a file.
pub(crate) fn without_tests(text: &str) -> &str {
    text.split_once("#[cfg(test)]\nmod ").map_or(text, |(product, _)| product)
}

/// The lines of `text` that have one of `words`; `println!` is not in `eprintln!`.
pub(crate) fn words(text: &str, words: &[&str]) -> Vec<String> {
    let has = |line: &str, word: &str| {
        let after = |(at, _): (usize, &str)| line[..at].ends_with(|before: char| before.is_alphanumeric());
        line.match_indices(word).any(|found| !after(found))
    };
    let first = |line: &str| words.iter().find(|word| has(line, word)).copied();
    text.lines().zip(1..).filter_map(|(line, n)| first(line).map(|word| format!("line {n}: {word}"))).collect()
}

/// A crate's name and manifest; `None` for any other file and for the root's.
pub(crate) fn manifest(path: &str, text: &str) -> Option<(String, Table)> {
    path.ends_with("/Cargo.toml").then_some(())?;
    let manifest: Table = text.parse().unwrap();
    let name = manifest.get("package")?.get("name")?.as_str()?.to_owned();
    Some((name, manifest))
}

/// In which table, what, and how it is written.
pub(crate) fn dependencies(manifest: &Table) -> impl Iterator<Item = (&'static str, &str, &Value)> {
    let of = |table| {
        manifest
            .get(table)
            .and_then(Value::as_table)
            .into_iter()
            .flatten()
            .map(move |(it, how)| (table, it.as_str(), how))
    };
    ["dependencies", "dev-dependencies", "build-dependencies"].into_iter().flat_map(of)
}

/// Rust, taken apart.
pub(crate) struct Source {
    /// Without comments and without what stands between quotes, line by line as it was.
    pub(crate) code: String,
    /// String literals with their lines.
    pub(crate) literals: Vec<(usize, String)>,
}

pub(crate) fn read(text: &str) -> Source {
    let mut source = Source { code: String::new(), literals: Vec::new() };
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let in_a_word = source.code.ends_with(|before: char| before.is_alphanumeric() || before == '_');
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some((literal, length)) = string(rest).filter(|_| next == '"' || !in_a_word) {
            source.literals.push((source.code.matches('\n').count() + 1, literal.to_owned()));
            length
        } else if let Some(length) = character(rest) {
            length
        } else {
            source.code.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        source.code.extend(rest[..skipped].matches('\n'));
        rest = &rest[skipped..];
    }
    source
}

/// What stands in the string literal that `rest` begins with (`"…"`, `r"…"`, `r#"…"#`), and the length of it all.
fn string(rest: &str) -> Option<(&str, usize)> {
    let raw = rest.strip_prefix('r');
    let hashes = raw.map_or(0, |raw| raw.len() - raw.trim_start_matches('#').len());
    let before = usize::from(raw.is_some()) + hashes;
    let inner = rest[before..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let mut at = 0;
    while !inner[at..].starts_with(&end) {
        let mut ahead = inner[at..].chars();
        let escapes = ahead.next()? == '\\' && raw.is_none();
        if escapes {
            ahead.next()?;
        }
        at = inner.len() - ahead.as_str().len();
    }
    Some((&inner[..at], before + 1 + at + end.len()))
}

/// The length of the character literal that `rest` begins with; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    let mut ahead = inner.chars();
    if ahead.next()? == '\\' {
        ahead.next()?;
        return Some(1 + inner.len() - ahead.as_str().len() + ahead.as_str().find('\'')? + 1);
    }
    ahead.as_str().starts_with('\'').then(|| rest.len() - ahead.as_str().len() + 1)
}
