//! What a command needs: the settings, the record, and whose data it is about.
//!
//! Deliberately absent: Redis. The relay and the workers' own look at the ledger find what a command has enqueued.

use std::time::Duration;

use settings::{Settings, Shown};
use store::{Company, Store, StoreSettings};
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;
use crate::flags::{Global, Output};

/// Connections of one command: a statement at a time, and one to spare for asking about a lost COMMIT.
const CONNECTIONS_MAX: u32 = 2;

/// One command's surroundings.
pub(crate) struct Session {
    pub(crate) store: Store,
    pub(crate) output: Output,
    pub(crate) settings: Settings,
    shown: Vec<Shown>,
    slug: Option<String>,
}

impl Session {
    /// Reads the settings; connects only when the record is first asked.
    pub(crate) fn open(global: &Global) -> Result<Self, Failure> {
        let (settings, shown) = Settings::load(global.config.as_deref(), &global.set)?;
        let lock_wait = Duration::from_millis(settings.worker_lock_wait_ms);
        let database = StoreSettings::read(&settings, lock_wait, CONNECTIONS_MAX)?;
        let store = Store::connect(database)?;
        Ok(Self { store, output: global.output, settings, shown, slug: global.company.clone() })
    }

    /// Warnings by default: an operator wants the answer. The setting `log`, once given, is followed.
    pub(crate) fn log_to_stderr(&self) -> Result<(), Failure> {
        let given = self.shown.iter().any(|shown| shown.key == "log" && shown.source != "default");
        let directives = if given { self.settings.log.as_str() } else { "warn" };
        let filter = EnvFilter::try_new(directives)
            .map_err(|error| Failure::Usage(format!("the setting log cannot be read: {error}")))?;
        // A second call in one process (tests) keeps the first subscriber.
        let _set_before = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
        Ok(())
    }

    /// The company that the command is about: the one that `--company` names, else the only one.
    pub(crate) async fn company(&self) -> Result<Company, Failure> {
        if let Some(slug) = &self.slug {
            let company = self.store.company_by_slug(slug).await?;
            return company.ok_or_else(|| Failure::NotFound(format!("there is no company {slug}")));
        }
        let mut companies = self.store.companies().await?;
        match (companies.pop(), companies.is_empty()) {
            (Some(only), true) => Ok(only),
            (None, _) => {
                Err(Failure::NotFound("there is no company yet: askpro companies load FILE makes one".to_owned()))
            }
            (Some(last), false) => {
                companies.push(last);
                let slugs: Vec<_> = companies.iter().map(|company| company.slug.as_str()).collect();
                Err(Failure::Usage(format!("which company? Name it: --company {}", slugs.join("|"))))
            }
        }
    }

    /// The company of `--company`, if it was given: for what can be shown of all companies.
    pub(crate) async fn company_if_named(&self) -> Result<Option<Company>, Failure> {
        match self.slug {
            Some(_) => self.company().await.map(Some),
            None => Ok(None),
        }
    }

    /// Refuses when no key can seal.
    pub(crate) fn require_sealing_keys(&self) -> Result<(), Failure> {
        self.settings.require_sealing_keys()?;
        Ok(())
    }

    /// The database's address without its password, and where it comes from.
    pub(crate) fn database(&self) -> String {
        let shown = self.shown.iter().find(|shown| shown.key == "database_url");
        shown.map_or_else(String::new, |url| format!("{} (database_url, from {})", url.value, url.source))
    }
}
