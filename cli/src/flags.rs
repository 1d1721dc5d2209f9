//! What can be typed: the global flags and the nouns; the verbs stand with their nouns.
//!
//! Deliberately absent: defaults of settings (`settings` has them) and flags that hold a secret.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{api_keys, appointments, callbacks, companies, drift, jobs, keys, ops, policies, queues, review, secrets};

const EXAMPLES: &str = "\
Examples:
  askpro appointments timeline 0199a3c2-7c1e-7b60-9c55-1f2a3b4c5d6e
  askpro appointments cancel 0199a3c2-7c1e-7b60-9c55-1f2a3b4c5d6e --reason 'salon is flooded'
  askpro jobs list --state parked -o json
  askpro keys timeline booking:0199a3c2-7c1e-7b60-9c55-1f2a3b4c5d6e
  askpro ops list --state unknown --older-than 5m
  askpro review resolve 0199a3c2-7c1e-7b60-9c55-1f2a3b4c5d6e --by retry --reason 'event type is back'
  printf %s \"$KEY\" | askpro secrets set --company salon --kind calcom

Exit codes: 0 ok, 1 error, 2 usage or settings, 3 not found, 4 conflict, 5 Cal.com and the record differ,
6 the database is out of reach.
Settings come from --set, else the environment (ASKPRO_...), else the file, else the default: `askpro settings`.";

/// What happened to an appointment, and why: the operator's command line of the AskPro Gateway.
#[derive(Parser, Debug)]
#[command(name = "askpro", version, after_help = EXAMPLES, propagate_version = true)]
pub struct Flags {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) noun: Noun,
}

/// What every command understands.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// A settings file (TOML); without it the one that ASKPRO_SETTINGS_FILE names
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// One setting, above file and environment; may be repeated
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub(crate) set: Vec<(String, String)>,
    /// How the answer is written
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// Whose data; may be left out where there is only one company
    #[arg(long, global = true, value_name = "SLUG")]
    pub(crate) company: Option<String>,
}

/// How an answer is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Output {
    /// For people: aligned, never cut.
    Table,
    /// For programs: one document with its `apiVersion`.
    Json,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Noun {
    /// What customers have been promised
    Appointments {
        #[command(subcommand)]
        verb: appointments::Verb,
    },
    /// The ledger of work
    Jobs {
        #[command(subcommand)]
        verb: jobs::Verb,
    },
    /// Job keys: everything that was done under one
    Keys {
        #[command(subcommand)]
        verb: keys::Verb,
    },
    /// How much work waits
    Queues {
        #[command(subcommand)]
        verb: queues::Verb,
    },
    /// What was asked of Cal.com
    Ops {
        #[command(subcommand)]
        verb: ops::Verb,
    },
    /// Appointments that need a person
    Review {
        #[command(subcommand)]
        verb: review::Verb,
    },
    /// Where Cal.com and the record differ
    Drift {
        #[command(subcommand)]
        verb: drift::Verb,
    },
    /// Customers whom a person must ring
    Callbacks {
        #[command(subcommand)]
        verb: callbacks::Verb,
    },
    /// What the business allows: until when, how often, at what price
    Policies {
        #[command(subcommand)]
        verb: policies::Verb,
    },
    /// Companies and their catalogs
    Companies {
        #[command(subcommand)]
        verb: companies::Verb,
    },
    /// A company's secrets, sealed in the database
    Secrets {
        #[command(subcommand)]
        verb: secrets::Verb,
    },
    /// Keys of the HTTP API
    ApiKeys {
        #[command(subcommand)]
        verb: api_keys::Verb,
    },
    /// Bring the database's schema up to date
    Migrate,
    /// Every setting, its value and where it comes from
    Settings,
}

fn key_and_value(written: &str) -> Result<(String, String), String> {
    ::settings::parse_flag(written).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    const ID: &str = "0199a3c2-7c1e-7b60-9c55-1f2a3b4c5d6e";

    fn parse(line: &str) -> Result<Flags, clap::Error> {
        Flags::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Flags::command().debug_assert();
    }

    #[test]
    fn every_command_that_scripts_call_is_understood() {
        let key = format!("booking:{ID}");
        for line in [
            format!("askpro appointments get {ID}"),
            format!("askpro appointments timeline {ID} -o json"),
            format!("askpro --company salon appointments cancel {ID} --if-match 2 --reason flooded"),
            format!("askpro jobs list --kind sync --state parked --appointment {ID} --limit 200 --before {ID}"),
            format!("askpro jobs get {ID}"),
            format!("askpro keys timeline {key}"),
            "askpro queues list --company salon".to_owned(),
            "askpro callbacks list --all".to_owned(),
            "askpro drift list -o json".to_owned(),
            "askpro drift repair".to_owned(),
            "askpro drift repair --yes --reason restored".to_owned(),
            format!("askpro callbacks done {ID} --reason reached"),
            format!("askpro callbacks assign {ID} --to Anna --reason her-customer"),
            "askpro policies list --all -o json".to_owned(),
            "askpro policies publish demo/policy.toml".to_owned(),
            "askpro policies publish demo/policy.toml --yes --reason season".to_owned(),
            format!("askpro policies check {ID}"),
            format!("askpro ops list --state unknown --older-than 5m --appointment {ID} --limit 200 --before {ID}"),
            format!("askpro ops verify {ID}"),
            "askpro review list -o json".to_owned(),
            format!("askpro review resolve {ID} --by cancel --reason flooded"),
            "askpro secrets list".to_owned(),
            "askpro secrets rotate".to_owned(),
            "askpro secrets rotate --yes --reason leaked".to_owned(),
            "askpro secrets remove 12 --reason leaked".to_owned(),
            "askpro companies load demo/salon.toml --print json".to_owned(),
            "askpro secrets set --company salon --kind calcom_webhook".to_owned(),
            "askpro api-keys create --company salon --scopes read,book,admin".to_owned(),
            "askpro migrate --config a.toml --set log=debug --set slots=5".to_owned(),
            "askpro settings -o json".to_owned(),
        ] {
            assert!(parse(&line).is_ok(), "{line}: {}", parse(&line).unwrap_err());
        }
    }

    #[test]
    fn what_cannot_be_meant_is_a_usage_error() {
        for line in [
            "askpro",
            "askpro appointments get 12",
            "askpro appointments cancel 0199a3c2-7c1e-7b60-9c55-1f2a3b4c5d6e",
            "askpro jobs list --state waiting",
            "askpro jobs list --limit 0",
            "askpro jobs list --limit 201",
            "askpro keys timeline booking",
            "askpro keys timeline nothing:0199a3c2-7c1e-7b60-9c55-1f2a3b4c5d6e",
            "askpro secrets set --kind stripe",
            "askpro secrets rotate --yes",
            "askpro secrets remove 12",
            "askpro ops list --state running",
            "askpro ops list --older-than 5",
            "askpro review resolve 0199a3c2-7c1e-7b60-9c55-1f2a3b4c5d6e --by retry",
            "askpro review resolve 0199a3c2-7c1e-7b60-9c55-1f2a3b4c5d6e --by magic --reason x",
            "askpro callbacks done 0199a3c2-7c1e-7b60-9c55-1f2a3b4c5d6e",
            "askpro callbacks assign 0199a3c2-7c1e-7b60-9c55-1f2a3b4c5d6e --reason x",
            "askpro policies publish demo/policy.toml --yes",
            "askpro api-keys create --scopes read,write",
            "askpro api-keys create",
            "askpro drift repair --yes",
            "askpro migrate --set slots",
            "askpro settings -o yaml",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
