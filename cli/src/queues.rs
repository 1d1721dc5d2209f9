//! `askpro queues`: how much work waits, of one company or of all, counted in the ledger and not in Redis.

use clap::Subcommand;
use serde::Serialize;
use store::QueueView;

use crate::failure::Failure;
use crate::flags::Output;
use crate::render::{self, Answer};
use crate::session::Session;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Every queue; of all companies unless --company names one
    List,
}

pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Answer, Failure> {
    let Verb::List = verb;
    let company = session.company_if_named().await?;
    let queues = session.store.queues(company.map(|company| company.company_id)).await?;
    listed(session.output, &queues)
}

#[derive(Serialize)]
struct Queue {
    queue: &'static str,
    available: i64,
    retryable: i64,
    running: i64,
    parked: i64,
    oldest_due_seconds: Option<f64>,
}

fn listed(output: Output, queues: &[QueueView]) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body {
        queues: Vec<Queue>,
    }
    let queue = |view: &QueueView| Queue {
        queue: view.kind.as_str(),
        available: view.available,
        retryable: view.retryable,
        running: view.running,
        parked: view.parked,
        oldest_due_seconds: view.oldest_due_seconds,
    };
    Answer::new(output, &Body { queues: queues.iter().map(queue).collect() }, || {
        let rows = queues.iter().map(|view| {
            [
                view.kind.as_str().to_owned(),
                view.available.to_string(),
                view.retryable.to_string(),
                view.running.to_string(),
                view.parked.to_string(),
                render::or_dash(view.oldest_due_seconds.map(|seconds| format!("{seconds:.1} s"))),
            ]
        });
        let header = ["QUEUE", "AVAILABLE", "RETRYABLE", "RUNNING", "PARKED", "OLDEST DUE"];
        render::table(header, &[1, 2, 3, 4, 5], rows.collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::job::Kind;

    #[test]
    fn queues_as_a_table() {
        let queue = |kind, available, oldest_due_seconds| QueueView {
            kind,
            available,
            retryable: 0,
            running: 2,
            parked: 0,
            oldest_due_seconds,
        };
        let text = listed(Output::Table, &[queue(Kind::Booking, 1_200, Some(3.21)), queue(Kind::Sync, 0, None)]);
        let wanted = "\
QUEUE    AVAILABLE  RETRYABLE  RUNNING  PARKED  OLDEST DUE
booking       1200          0        2       0       3.2 s
sync             0          0        2       0           -";
        assert_eq!(text.unwrap().text, wanted);
    }
}
