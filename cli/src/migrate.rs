//! `askpro migrate`: brings the schema up to date. A second one at the same time waits for the first.

use serde::Serialize;

use crate::failure::Failure;
use crate::render::Answer;
use crate::session::Session;

#[derive(Serialize)]
struct Body {
    schema: &'static str,
}

pub(crate) async fn run(session: &Session) -> Result<Answer, Failure> {
    session.store.migrate().await?;
    Answer::new(session.output, &Body { schema: "current" }, || "The schema is up to date.".to_owned())
}
