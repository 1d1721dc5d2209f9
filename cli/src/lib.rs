//! `askpro`: the operator's command line, noun before verb. What it says comes from the record in Postgres;
//! only `drift` reads Cal.com.
//!
//! Data goes to stdout, everything said to a person to stderr, and the exit code says how it ended (`failure`).
//! Deliberately absent: SQL (`store`), Redis (what a command enqueues is found by a worker within seconds).

mod api_keys;
mod appointments;
mod calcom;
mod callbacks;
mod catalog_file;
mod companies;
mod drift;
mod failure;
mod flags;
mod jobs;
mod keys;
mod migrate;
mod ops;
mod policies;
mod policy_file;
mod queues;
mod render;
mod review;
mod secrets;
mod session;
mod settings;
mod span;

use std::io::{IsTerminal, Write};

pub use failure::{Exit, Failure};
pub use flags::Flags;

use flags::Noun;
use render::Answer;
use session::Session;

/// Does what the flags say and reports on stdout and stderr.
pub async fn run(flags: Flags) -> Exit {
    let answer = answer(flags).await;
    let result = answer.and_then(|answer| {
        say(answer.note.as_deref().unwrap_or_default());
        render::write(&mut std::io::stdout().lock(), &answer.text)?;
        Ok(answer.exit)
    });
    match result {
        Ok(exit) => exit,
        Err(failure) => {
            say(&failure.report());
            failure.exit()
        }
    }
}

async fn answer(flags: Flags) -> Result<Answer, Failure> {
    let Flags { global, noun } = flags;
    if let Noun::Settings = noun {
        return settings::run(&global);
    }
    let session = Session::open(&global)?;
    session.log_to_stderr()?;
    let answer = match noun {
        Noun::Appointments { verb } => appointments::run(verb, &session).await,
        Noun::Jobs { verb } => jobs::run(verb, &session).await,
        Noun::Keys { verb } => keys::run(verb, &session).await,
        Noun::Queues { verb } => queues::run(verb, &session).await,
        Noun::Ops { verb } => ops::run(verb, &session).await,
        Noun::Review { verb } => review::run(verb, &session).await,
        Noun::Drift { verb } => drift::run(verb, &session).await,
        Noun::Callbacks { verb } => callbacks::run(verb, &session).await,
        Noun::Policies { verb } => policies::run(verb, &session).await,
        Noun::Companies { verb } => companies::run(verb, &session).await,
        Noun::Secrets { verb } => {
            if verb.reads_stdin() && std::io::stdin().is_terminal() {
                say("Type or paste the secret, then Enter and Ctrl-D:");
            }
            secrets::run(verb, &session, &mut std::io::stdin().lock()).await
        }
        Noun::ApiKeys { verb } => api_keys::run(verb, &session).await,
        Noun::Migrate => migrate::run(&session).await,
        Noun::Settings => settings::run(&global),
    };
    answer.map_err(|failure| failure.with_database(&session.database()))
}

/// To a person. A stderr that is closed must not change how the command ends.
fn say(text: &str) {
    if !text.is_empty() {
        let _closed = writeln!(std::io::stderr().lock(), "{text}");
    }
}
