//! `askpro api-keys`: keys of the HTTP API. A key is shown once, alone on stdout, and stored as a hash.

use clap::Subcommand;
use secrecy::ExposeSecret;
use serde::Serialize;
use store::Scope;

use crate::failure::Failure;
use crate::render::Answer;
use crate::session::Session;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Make one; it cannot be shown again
    Create {
        /// What it allows: read, book, admin, separated by commas
        #[arg(long, required = true, value_name = "SCOPES", value_delimiter = ',', value_parser = scope)]
        scopes: Vec<Scope>,
    },
}

fn scope(word: &str) -> Result<Scope, String> {
    Scope::parse(word).ok_or_else(|| format!("a scope is one of {}", Scope::ALL.map(Scope::as_str).join(", ")))
}

pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        company: &'a str,
        scopes: Vec<&'static str>,
        api_key: &'a str,
    }
    let Verb::Create { scopes } = verb;
    let scopes: Vec<Scope> = Scope::ALL.into_iter().filter(|scope| scopes.contains(scope)).collect();
    let company = session.company().await?;
    let key = session.store.create_api_key(company.company_id, &scopes).await?;
    let words: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    let note = format!("This key of {} allows {}. It is not shown again.", company.slug, words.join(", "));
    let body = Body { company: &company.slug, scopes: words, api_key: key.expose_secret() };
    Ok(Answer::new(session.output, &body, || key.expose_secret().to_owned())?.with_note(Some(note)))
}
