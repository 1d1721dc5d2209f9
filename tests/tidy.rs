//! The shape of the source, as far as neither compiler nor clippy refuses the rest. Each rule is a pure function over a
//! path and a text; its test shows it samples that it must refuse and one that it must not, and then every file.
//!
//! Deliberately absent: a limit of length. The ten longest files are printed, no more.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "tidy/source.rs"]
mod source;

use domain::appointment::Status;
use source::{dependencies, files, is_product, is_rust, manifest, read, root, without_tests, words};
use std::fs;
use std::path::Path;
use toml::Value;

/// What is wrong in a file; `None`: the file is none of the rule's business.
type Rule = fn(path: &str, text: &str) -> Option<Vec<String>>;

/// Crates from outside, and the only ones of ours that may use them; `tests` and dev-dependencies may use all.
const FOREIGN: [(&str, &[&str]); 6] = [
    ("sqlx", &["store"]),
    ("apalis", &["queue"]),
    ("apalis-core", &["queue"]),
    ("apalis-redis", &["queue"]),
    ("redis", &["queue", "availability"]),
    ("reqwest", &["calcom", "sandbox"]),
];

/// What each of our crates may know of the others.
const DIRECTION: [(&str, &[&str]); 14] = [
    ("domain", &[]),
    ("phrases", &[]),
    ("crashpoint", &[]),
    ("settings", &[]),
    ("sandbox", &[]),
    ("calcom", &["domain"]),
    ("queue", &["domain", "settings"]),
    ("store", &["domain", "settings"]),
    ("process", &["store", "settings"]),
    ("gate", &["store", "calcom", "domain"]),
    ("availability", &["calcom", "domain", "settings"]),
    ("api", &["store", "queue", "domain", "settings", "process", "crashpoint", "gate", "availability", "phrases"]),
    ("workers", &["store", "queue", "calcom", "domain", "settings", "process", "crashpoint", "gate"]),
    ("cli", &["store", "queue", "calcom", "domain", "settings"]),
];

/// The routes of api that may ask what Cal.com says is free, and where they are put together.
const READERS: [&str; 5] =
    ["api/src/availability.rs", "api/src/functions/check.rs", "api/src/app.rs", "api/src/lib.rs", "api/src/router.rs"];

/// All that `domain` may use: values and arithmetic, nothing that waits, reads, writes or serialises.
const PURE: [&str; 5] = ["chrono", "chrono-tz", "phonenumber", "thiserror", "uuid"];

/// Words that are no status of a promise, though they look like one.
const NO_STATUS: [(&str, &str); 2] = [
    ("api/src/functions/cancel.rs", "cancelled"), // a field of the voice agent's reply
    ("shared/store/src/timeline.rs", "cancelled"), // where a job stands
];

#[test]
fn a_crate_from_outside_has_one_home() {
    let why = "SQL, apalis, Redis and HTTP clients live in one crate each, so that their landmines are known in one place. \
               Ask that crate for what you need, or give it a new function; a version is named in the root's table alone.";
    let bad = [
        ("api/Cargo.toml", "[package]\nname = 'api'\n[dependencies]\nsqlx.workspace = true"),
        ("cli/Cargo.toml", "[package]\nname = 'cli'\n[build-dependencies]\nredis = { workspace = true }"),
        ("shared/domain/Cargo.toml", "[package]\nname = 'domain'\n[dependencies]\nserde.workspace = true"),
        (
            "workers/Cargo.toml",
            "[package]\nname = 'workers'\n[dependencies]\nsql = { package = 'sqlx', version = '*' }",
        ),
        ("workers/Cargo.toml", "[package]\nname = 'workers'\n[target.'cfg(unix)'.dependencies]\nnix.workspace = true"),
    ];
    let good = ("api/Cargo.toml", "[package]\nname = 'api'\n[dev-dependencies]\nsqlx.workspace = true");
    hold(foreign_crates, &bad, good, 10, why);
}

fn foreign_crates(path: &str, text: &str) -> Option<Vec<String>> {
    let (name, manifest) = manifest(path, text)?;
    let homeless = |it: &str| {
        let home = FOREIGN.iter().find(|(foreign, _)| *foreign == it);
        home.is_some_and(|(_, homes)| !homes.contains(&name.as_str()) && name != "tests")
            || (name == "domain" && !PURE.contains(&it))
    };
    let mut found = Vec::new();
    for (table, it, how) in dependencies(&manifest) {
        if table != "dev-dependencies" && homeless(it) {
            found.push(format!("{name} may not use {it}"));
        }
        if how.get("workspace") != Some(&Value::Boolean(true)) {
            found.push(format!("{it} is to be `workspace = true`"));
        }
    }
    if manifest.contains_key("target") {
        found.push("dependencies of one platform are not looked at here: teach this test first".to_owned());
    }
    Some(found)
}

#[test]
fn our_crates_know_each_other_in_one_direction() {
    let why = "domain knows nobody; store, queue and calcom never see one another; api asks of Cal.com only what is free, \
               and whoever books knows nothing of that (availability). Whoever needs two of them stands above both. A new crate: say in DIRECTION what it may know.";
    let bad = [
        ("shared/store/Cargo.toml", "[package]\nname = 'store'\n[dependencies]\nqueue.workspace = true"),
        ("shared/domain/Cargo.toml", "[package]\nname = 'domain'\n[dev-dependencies]\nstore.workspace = true"),
        ("api/Cargo.toml", "[package]\nname = 'api'\n[dependencies]\ncalcom.workspace = true"),
        ("shared/store/Cargo.toml", "[package]\nname = 'store'\n[dependencies]\navailability.workspace = true"),
        ("workers/Cargo.toml", "[package]\nname = 'workers'\n[dependencies]\navailability.workspace = true"),
        ("shared/news/Cargo.toml", "[package]\nname = 'news'"),
    ];
    let good = ("workers/Cargo.toml", "[package]\nname = 'workers'\n[dependencies]\ncalcom.workspace = true");
    hold(direction, &bad, good, DIRECTION.len(), why);
}

fn direction(path: &str, text: &str) -> Option<Vec<String>> {
    let (name, manifest) = manifest(path, text)?;
    if name == "tests" {
        return None;
    }
    let Some((_, known)) = DIRECTION.iter().find(|(ours, _)| *ours == name) else {
        return Some(vec![format!("{name} is not in DIRECTION")]);
    };
    let ours = |it: &str| it == "tests" || DIRECTION.iter().any(|(ours, _)| *ours == it);
    let against = dependencies(&manifest).filter(|(_, it, _)| ours(it) && !known.contains(it));
    Some(against.map(|(_, it, _)| format!("{name} may not know {it}")).collect())
}

#[test]
fn only_who_reads_knows_what_cal_com_says_is_free() {
    let why = "What Cal.com said some seconds ago must decide nothing: a booking is decided by its transaction, whatever the \
               cache holds. So in api only the routes that read say the word `availability`; a new one is added to READERS.";
    let bad = [
        ("api/src/functions/book.rs", "let free = call.app.availability.look(store, &look).await?;"),
        ("api/src/appointments.rs", "use crate::availability::Look;"),
        ("api/src/reschedule.rs", "fn f(x: availability::Told) {}"),
    ];
    let good = ("api/src/functions/book.rs", "//! availability\nlet name = \"check_availability\";");
    hold(free_time_readers, &bad, good, 30, why);
    for path in READERS {
        assert!(root().join(path).exists(), "{path} is gone: strike it from READERS");
    }
}

fn free_time_readers(path: &str, text: &str) -> Option<Vec<String>> {
    (path.starts_with("api/src/") && is_rust(path)).then_some(())?;
    let may = READERS.contains(&path);
    Some(if may { vec![] } else { words(&read(without_tests(text)).code, &["availability"]) })
}

#[test]
fn a_status_is_written_out_only_in_domain_and_in_sql() {
    let why = "A status that is spelt at a second place can be misspelt there, and no compiler sees it. Write \
               Status::…, with as_str() and parse() at the edges. Not looked at: comments, tests, whatever is longer than \
               the one word (SQL, examples), and Cal.com's own words in calcom and sandbox.";
    let bad = [
        ("api/src/jobs.rs", r#"if view.status == "scheduled" {}"#),
        ("workers/src/act.rs", r##"let s = r#"no_show"#;"##),
        ("cli/src/render.rs", "let (quote, status) = ('\"', \"rejected\");"),
    ];
    let good = (
        "api/src/jobs.rs",
        "// \"scheduled\"\nlet sql = \"SELECT 'scheduled'\"; /* \"rejected\" */\n#[cfg(test)]\nmod tests { \"cancelled\" }",
    );
    hold(status_words, &bad, good, 60, why);
    for (path, word) in NO_STATUS {
        let text = fs::read_to_string(root().join(path)).unwrap();
        assert!(text.contains(&format!("\"{word}\"")), "{path} says {word} no longer: strike it from NO_STATUS");
    }
}

fn status_words(path: &str, text: &str) -> Option<Vec<String>> {
    if !is_product(path) || ["domain", "calcom", "sandbox"].iter().any(|c| path.starts_with(&format!("shared/{c}/"))) {
        return None;
    }
    let is_status = |word: &str| Status::parse(word).is_some() && !NO_STATUS.contains(&(path, word));
    let literals = read(without_tests(text)).literals.into_iter().filter(|(_, literal)| is_status(literal));
    Some(literals.map(|(line, literal)| format!("line {line}: \"{literal}\"")).collect())
}

#[test]
fn a_file_says_on_top_what_it_is_for() {
    let why = "A newcomer reads the first line only. Open the file with `//!` and a sentence: what it is for, and what is \
               deliberately absent.";
    let bad = [
        ("api/src/jobs.rs", "use std::fmt;\n//! Too late to say it."),
        ("api/src/jobs.rs", "//! Jobs"),
        ("tests/tidy.rs", "\n//! A blank line before what it is for."),
    ];
    hold(
        says_what_it_is_for,
        &bad,
        ("api/src/jobs.rs", "//! What an operator may do to a job.\nuse std::fmt;"),
        130,
        why,
    );
}

fn says_what_it_is_for(path: &str, text: &str) -> Option<Vec<String>> {
    is_rust(path).then_some(())?;
    let said: Vec<_> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
    let said = said.join(" ");
    let is_sentence = said.split_whitespace().count() >= 4 && said.contains(['.', ':', ';']);
    Some(if is_sentence { vec![] } else { vec!["no sentence after `//!` on top".to_owned()] })
}

#[test]
fn nothing_is_put_into_a_drawer() {
    let why = "What has no name of its own has no home yet: util, helper, common and misc grow for ever and nobody guesses \
               what is in them. Name the thing, or put it where it is used.";
    let bad = [
        ("api/src/utils.rs", ""),
        ("shared/common/Cargo.toml", ""),
        ("tests/misc-data/salon.toml", ""),
        ("api/src/lib.rs", "mod helpers {}"),
    ];
    hold(drawers, &bad, ("shared/queue/src/sweep.rs", "mod settings; // no mod helpers"), 150, why);
}

fn drawers(path: &str, text: &str) -> Option<Vec<String>> {
    let is_drawer = |name: &str| {
        let name = name.to_lowercase();
        ["util", "helper", "common", "misc"].iter().any(|drawer| name.starts_with(drawer))
    };
    let mut found: Vec<_> = path.split('/').filter(|part| is_drawer(part)).map(str::to_owned).collect();
    if is_rust(path) {
        let code = read(text).code;
        let modules = code.split("mod ").skip(1).filter(|name| is_drawer(name));
        found.extend(modules.map(|name| format!("mod {}", name.lines().next().unwrap_or_default())));
    }
    Some(found)
}

#[test]
fn nothing_is_unfinished_and_only_the_cli_prints() {
    let why = "A todo! is a crash that waits for a caller, and whoever runs a server reads its log and not its stdout. \
               Finish it or refuse it by an error; log by tracing.";
    let bad = [
        ("api/src/jobs.rs", "fn list() { todo!() }"),
        ("workers/src/act.rs", "dbg!(answer);"),
        ("shared/store/src/lib.rs", "println!(\"claimed\")"),
    ];
    let good = ("api/src/jobs.rs", "// todo!\nlet s = \"todo!()\";\n#[cfg(test)]\nmod tests { println!() }");
    hold(unfinished, &bad, good, 100, why);
}

fn unfinished(path: &str, text: &str) -> Option<Vec<String>> {
    // A build script talks to cargo by printing.
    (is_product(path) && !path.starts_with("cli/") && !path.ends_with("/build.rs")).then_some(())?;
    Some(words(&read(without_tests(text)).code, &["todo!", "unimplemented!", "dbg!", "println!", "print!"]))
}

#[test]
fn no_test_is_ignored_or_tried_again() {
    let why = "A test that is skipped or repeated until it is green hides the race that we are here for. Find out what it \
               waits for, and wait for that; or delete it.";
    let bad = [
        ("tests/races/main.rs", "#[test]\n#[ignore = \"flaky\"]\nfn f() {}"),
        (".config/nextest.toml", "[profile.default]\nretries = 2"),
        ("dev", "cargo nextest run --retries 3"),
        (".ci/run", "export NEXTEST_RETRIES=1"),
    ];
    hold(ignored, &bad, ("tests/races/main.rs", "// #[ignore]\nconst RETRIES_MAX: u8 = 5;"), 150, why);
}

fn ignored(path: &str, text: &str) -> Option<Vec<String>> {
    if is_rust(path) {
        return Some(words(&read(text).code, &["#[ignore"]));
    }
    let runs_tests = !Path::new(path).extension().is_some_and(|kind| kind == "md" || kind == "lock" || kind == "json");
    runs_tests.then(|| words(&text.to_lowercase(), &["retries"]))
}

#[test]
fn the_repository_names_nothing_outside_itself() {
    let why = "A clone must work on every machine: no folder of somebody's computer and no tool that is not in this \
               repository. Say it relative to the root, or leave it out.";
    let bad = [
        ("README.md", concat!("see ", "/wo", "rk/notes.md")),
        ("k8s/base/api.yaml", concat!("path: ", "/ho", "me/anna/askpro")),
        (".ci/run", concat!("fa", "rm-test run")),
    ];
    hold(outside, &bad, ("README.md", "the network works; a farm; /usr/lib/postgresql"), 200, why);
}

fn outside(_path: &str, text: &str) -> Option<Vec<String>> {
    Some(words(text, &[concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("fa", "rm-")]))
}

#[test]
fn migrations_are_numbered_without_gaps() {
    assert!(misnumbered(&["0001_a.sql", "0003_b.sql"]).is_some(), "a gap");
    assert!(misnumbered(&["0001_a.sql", "0001_b.sql"]).is_some(), "a number twice");
    assert!(misnumbered(&["0001_a.sql", "two.sql"]).is_some(), "no number");
    let files = files();
    let names: Vec<_> = files.iter().filter_map(|(path, _)| path.strip_prefix("migrations/")).collect();
    assert!(names.len() >= 6, "looked at {} migrations only", names.len());
    assert_eq!(misnumbered(&names), None, "rename it: the next free number, then what it is about (0007_webhook.sql)");
}

/// The first that breaks the row 0001_, 0002_, …
fn misnumbered(sorted: &[&str]) -> Option<String> {
    let wrong =
        sorted.iter().zip(1..).find(|(name, n)| !(name.starts_with(&format!("{n:04}_")) && name.ends_with(".sql")));
    wrong.map(|(name, _)| (*name).to_owned())
}

/// About 300 lines are one idea; but a long `match` that reads from top to bottom stays whole. So this only tells.
#[test]
fn the_ten_longest_files_are_told() {
    let files = files();
    let mut lengths: Vec<_> =
        files.iter().filter(|(path, _)| is_rust(path)).map(|(path, text)| (text.lines().count(), path)).collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    assert!(lengths.len() >= 130, "looked at {} files only", lengths.len());
    for (lines, path) in &lengths[..10] {
        eprintln!("{lines:>5}  {path}");
    }
}

/// First the rule must refuse what is bad and pass what is good; then nothing in the repository may break it.
fn hold(rule: Rule, bad: &[(&str, &str)], good: (&str, &str), at_least: usize, why: &str) {
    for (path, text) in bad {
        assert!(rule(path, text).is_some_and(|found| !found.is_empty()), "the rule does not see it: {path}: {text}");
    }
    assert_eq!(rule(good.0, good.1), Some(vec![]), "the rule refuses what is good: {good:?}");
    let mut looked_at = 0;
    let mut broken = Vec::new();
    for (path, text) in files() {
        let Some(found) = rule(&path, &text) else { continue };
        looked_at += 1;
        broken.extend(found.into_iter().map(|what| format!("\n  {path}: {what}")));
    }
    assert!(looked_at >= at_least, "looked at {looked_at} files only, not at {at_least}");
    assert!(broken.is_empty(), "{why}{}", broken.concat());
}
