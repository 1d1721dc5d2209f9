//! What is told of a run: each violation with all that is needed to see it again, and one JSON object at the end.

use crate::cell::Cell;
use crate::lanes::Told;
use crate::paths::Seen;
use crate::verdict;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A run as far as it has come.
pub(crate) struct Report {
    seed: u64,
    /// Every cell that can occur is in it: then every rare path must be seen.
    whole: bool,
    cells: usize,
    violations: usize,
    unhit: Vec<String>,
    again: usize,
    seen: Seen,
}

impl Report {
    pub(crate) fn new(seed: u64, whole: bool) -> Self {
        Self { seed, whole, cells: 0, violations: 0, unhit: vec![], again: 0, seen: Seen::default() }
    }

    /// Takes a cell in, and tells what is wrong with it.
    pub(crate) fn add(&mut self, cell: Cell, told: &Told) {
        self.cells += 1;
        self.again += told.tries - 1;
        let wrong = match &told.played {
            Ok(played) => {
                self.seen.add(played);
                verdict::violations(played)
            }
            Err(why) => {
                println!("UNHIT {cell}: {why}, {} times", told.tries);
                self.unhit.push(cell.to_string());
                vec![]
            }
        };
        if wrong.is_empty() {
            return;
        }
        self.violations += 1;
        println!("VIOLATION {cell}");
        wrong.iter().for_each(|line| println!("  {line}"));
        if let Ok(played) = &told.played {
            println!("  played: {:?}; the customer heard {:?}", played.script, played.told);
            println!("  found:\n{}", played.found.story());
            println!("  the workers said:\n{}", played.log);
        }
        println!("  again: ./dev faults --only {cell} --seed {}", self.seed);
    }

    pub(crate) fn passes(&self) -> bool {
        let paths = !self.whole || self.seen.unhit().is_empty();
        self.cells > 0 && self.violations == 0 && self.unhit.is_empty() && paths
    }

    pub(crate) fn json(&self, seconds: f64) -> Value {
        json!({
            "bench": "faults", "seed": self.seed, "whole": self.whole, "cells": self.cells,
            "violations": self.violations, "unhit_cells": self.unhit, "played_again": self.again,
            "paths": self.seen.counts(), "unhit_paths": self.seen.unhit(), "seconds": seconds.round(),
            "pass": self.passes(),
        })
    }
}

/// What is not played, and why.
pub(crate) fn tell_what_cannot_occur(cells: &[Cell]) {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for cell in cells {
        if let Some(why) = cell.cannot_occur() {
            reasons.entry(why).or_default().push(cell.to_string());
        }
    }
    for (why, cells) in reasons {
        println!("{} cells cannot occur: {why}", cells.len());
        cells.chunks(4).for_each(|line| println!("  {}", line.join("  ")));
    }
}
