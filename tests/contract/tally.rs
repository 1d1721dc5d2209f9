//! What has been seen, and whether that is enough. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Value, json};

use crate::relay::Exchange;
use crate::verdict::{Endpoint, Verdict};

/// Characters of one violation that are shown: about one of many bookings Prism has much to say.
const LINE_MAX: usize = 400;

/// What has been seen of one status of one endpoint.
#[derive(Default)]
struct Row {
    requests: u64,
    violations: u64,
    not_described: u64,
}

#[derive(Default)]
pub(crate) struct Tally {
    rows: BTreeMap<(Endpoint, u16), Row>,
    /// What was against the document, and when.
    violations: Vec<String>,
    /// What our client made of an answer and should not have, or what did not happen.
    surprises: Vec<String>,
    /// What was made wrong on purpose, and whether it was found.
    proofs: Vec<(String, bool)>,
}

impl Tally {
    /// Counts one exchange that was meant to be right.
    pub(crate) fn note(&mut self, what: &str, exchange: &Exchange) {
        let Exchange { endpoint, status, verdict } = exchange;
        let violation = match verdict {
            Verdict::Conforms | Verdict::NotDescribed => None,
            Verdict::WrongRequest(why) => Some(format!("{what}: our request: {why}")),
            Verdict::WrongAnswer(why) => Some(format!("{what}: the sandbox's answer: {why}")),
        };
        let Some(endpoint) = *endpoint else {
            self.violations.push(violation.unwrap_or_else(|| format!("{what}: a request to no place that we know")));
            return;
        };
        let row = self.rows.entry((endpoint, *status)).or_default();
        row.requests += 1;
        row.violations += u64::from(violation.is_some());
        row.not_described += u64::from(*verdict == Verdict::NotDescribed);
        self.violations.extend(violation);
    }

    /// Something that is nobody's violation, and wrong all the same.
    pub(crate) fn surprise(&mut self, what: String) {
        self.surprises.push(what);
    }

    /// Something was made wrong on purpose.
    pub(crate) fn proof(&mut self, what: String, found: bool) {
        self.proofs.push((what, found));
    }

    /// Nothing was wrong, everything was seen, and whatever was made wrong was found.
    pub(crate) fn passes(&self) -> bool {
        self.violations.is_empty()
            && self.surprises.is_empty()
            && self.never_seen().is_empty()
            && !self.proofs.is_empty()
            && self.found() == self.proofs.len()
    }

    /// The last line, for programs.
    pub(crate) fn json(&self) -> Value {
        let mut endpoints = json!({});
        for ((endpoint, status), row) in &self.rows {
            endpoints[endpoint.to_string()][status.to_string()] = json!(row.requests);
        }
        json!({
            "requests": self.requests(),
            "endpoints": endpoints,
            "violations": self.violations.len(),
            "not_described": self.rows.values().map(|row| row.not_described).sum::<u64>(),
            "surprises": self.surprises.len(),
            "never_seen": self.never_seen(),
            "wrong_on_purpose": { "made": self.proofs.len(), "found": self.found() },
            "pass": self.passes(),
        })
    }

    fn requests(&self) -> u64 {
        self.rows.values().map(|row| row.requests).sum()
    }

    fn found(&self) -> usize {
        self.proofs.iter().filter(|(_, found)| *found).count()
    }

    /// An answer that Prism has replaced has not been seen.
    fn never_seen(&self) -> Vec<String> {
        let all =
            Endpoint::ALL.into_iter().flat_map(|endpoint| endpoint.statuses().iter().map(move |it| (endpoint, *it)));
        let seen = |key: &(Endpoint, u16)| self.rows.get(key).is_some_and(|row| row.requests > row.violations);
        all.filter(|key| !seen(key)).map(|(endpoint, status)| format!("{endpoint}: {status}")).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<40} {:>6} {:>9} {:>11} {:>14}",
            "Endpoint", "status", "requests", "violations", "not described"
        )?;
        for ((endpoint, status), row) in &self.rows {
            let Row { requests, violations, not_described } = row;
            writeln!(f, "{endpoint:<40} {status:>6} {requests:>9} {violations:>11} {not_described:>14}")?;
        }
        writeln!(f, "Not described: the document has no answer of that status, so its body could not be checked.")?;
        let made = self.proofs.len();
        writeln!(f, "Made wrong on purpose: {made}, found: {}", self.found())?;
        for (what, _) in self.proofs.iter().filter(|(_, found)| !found) {
            writeln!(f, "  not found: {what}")?;
        }
        for what in self.never_seen() {
            writeln!(f, "  never seen: {what}")?;
        }
        for what in &self.surprises {
            writeln!(f, "  surprise: {what}")?;
        }
        // One mistake may be made often.
        for what in self.violations.iter().collect::<BTreeSet<_>>() {
            writeln!(f, "  violation: {what:.LINE_MAX$}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(endpoint: Endpoint, status: u16, verdict: Verdict) -> Exchange {
        Exchange { endpoint: Some(endpoint), status, verdict }
    }

    fn good() -> Tally {
        let mut tally = Tally::default();
        for endpoint in Endpoint::ALL {
            for status in endpoint.statuses() {
                let verdict = if *status == 401 { Verdict::NotDescribed } else { Verdict::Conforms };
                tally.note("call", &exchange(endpoint, *status, verdict));
            }
        }
        tally.proof("wrong".to_owned(), true);
        tally
    }

    #[test]
    fn all_is_well_only_if_everything_was_seen_and_nothing_was_wrong() {
        assert!(good().passes(), "{}", good());
        let broken: [fn(&mut Tally); 6] = [
            |tally| tally.note("get", &exchange(Endpoint::Get, 200, Verdict::WrongAnswer("no uid".to_owned()))),
            |tally| tally.note("get", &exchange(Endpoint::Get, 422, Verdict::WrongRequest("no key".to_owned()))),
            |tally| tally.note("get", &Exchange { endpoint: None, status: 200, verdict: Verdict::Conforms }),
            |tally| tally.surprise("read as Unknown".to_owned()),
            |tally| tally.proof("wrong, too".to_owned(), false),
            |tally| tally.proofs.clear(),
        ];
        for (n, break_it) in broken.iter().enumerate() {
            let mut tally = good();
            break_it(&mut tally);
            assert!(!tally.passes(), "{n}");
            assert_eq!(tally.json()["pass"], false, "{n}");
        }
        for key in good().rows.keys() {
            let mut tally = good();
            tally.rows.remove(key);
            assert!(!tally.passes(), "{key:?}");
            assert_eq!(tally.json()["never_seen"], json!([format!("{}: {}", key.0, key.1)]));
        }
        let mut replaced = good();
        replaced.rows.remove(&(Endpoint::Get, 500));
        replaced.note("get", &exchange(Endpoint::Get, 500, Verdict::WrongAnswer("no uid".to_owned())));
        assert_eq!(replaced.json()["never_seen"], json!(["GET /v2/bookings/{uid}: 500"]));
    }

    #[test]
    fn the_last_line_counts_by_endpoint_and_status() {
        let mut tally = good();
        tally.note("again", &exchange(Endpoint::List, 200, Verdict::Conforms));
        let json = tally.json();
        assert_eq!(json["requests"], 30);
        assert_eq!(json["endpoints"]["GET /v2/bookings"], json!({"200": 2, "401": 1, "429": 1, "500": 1}));
        assert_eq!((&json["violations"], &json["not_described"]), (&json!(0), &json!(5)));
        assert_eq!(json["wrong_on_purpose"], json!({"made": 1, "found": 1}));
        assert_eq!(json["pass"], true);
    }

    #[test]
    fn people_read_each_mistake_once() {
        let mut tally = good();
        for _ in 0..3 {
            tally.note("list", &exchange(Endpoint::List, 422, Verdict::WrongRequest("query.status.0: no".to_owned())));
        }
        let text = tally.to_string();
        assert_eq!(text.matches("violation: list: our request: query.status.0: no").count(), 1, "{text}");
        assert_eq!(tally.json()["violations"], 3);
    }
}
