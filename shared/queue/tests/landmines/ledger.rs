//! Stands for Postgres: jobs that are due, claimed by compare-and-set, settled once. It counts every start and effect.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use queue::Task;
use uuid::Uuid;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Due,
    Running,
    Done,
}

#[derive(Default)]
struct Rows {
    states: HashMap<Task, State>,
    order: Vec<Task>,
    rings: usize,
    running: usize,
    peak: usize,
    effects: HashMap<Task, usize>,
}

#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Rows>>);

impl Ledger {
    /// New due jobs.
    pub fn accept(&self, jobs: usize) -> Vec<Task> {
        let mut rows = self.0.lock().unwrap();
        let first = rows.order.len();
        let new: Vec<Task> = (first..first + jobs)
            .map(|n| Task { company_id: (n % 7) as i32, job_id: Uuid::from_u128(n as u128 + 1) })
            .collect();
        for task in &new {
            rows.states.insert(*task, State::Due);
        }
        rows.order.extend(&new);
        new
    }

    /// Counts the ring; true if the job was due, and is now ours.
    pub fn claim(&self, task: Task) -> bool {
        let mut rows = self.0.lock().unwrap();
        rows.rings += 1;
        rows.take(task)
    }

    /// At most `n` due jobs, all ours.
    pub fn claim_due(&self, n: usize) -> Vec<Task> {
        let mut rows = self.0.lock().unwrap();
        let due: Vec<Task> = rows.due().take(n).collect();
        for task in &due {
            assert!(rows.take(*task));
        }
        due
    }

    pub fn settle(&self, task: Task) {
        let mut rows = self.0.lock().unwrap();
        assert_eq!(rows.states.insert(task, State::Done), Some(State::Running), "settled by somebody else");
        rows.running -= 1;
        *rows.effects.entry(task).or_default() += 1;
    }

    pub fn due(&self) -> Vec<Task> {
        self.0.lock().unwrap().due().collect()
    }

    /// How often a worker was told of a job, ours or not.
    pub fn rings(&self) -> usize {
        self.0.lock().unwrap().rings
    }

    pub fn running(&self) -> usize {
        self.0.lock().unwrap().running
    }

    /// The most that ran at a time.
    pub fn peak(&self) -> usize {
        self.0.lock().unwrap().peak
    }

    pub fn done(&self) -> usize {
        self.0.lock().unwrap().effects.len()
    }

    /// Every job is done, and none twice.
    pub fn all_done_once(&self) -> bool {
        let rows = self.0.lock().unwrap();
        assert!(rows.effects.values().all(|effects| *effects == 1), "an effect was repeated");
        rows.effects.len() == rows.order.len()
    }
}

impl Rows {
    fn due(&self) -> impl Iterator<Item = Task> {
        self.order.iter().copied().filter(|task| self.states[task] == State::Due)
    }

    fn take(&mut self, task: Task) -> bool {
        let ours = self.states.get(&task) == Some(&State::Due);
        if ours {
            self.states.insert(task, State::Running);
            self.running += 1;
            self.peak = self.peak.max(self.running);
        }
        ours
    }
}
