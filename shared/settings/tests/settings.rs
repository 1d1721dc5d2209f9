//! What the three binaries rely on: which layer wins, what is refused at start, and that nothing secret is ever printed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;

use settings::{Settings, SettingsError, Shown, parse_flag};

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn flags(set: &[(&str, &str)]) -> Result<(Settings, Vec<Shown>), SettingsError> {
    Settings::load_from(None, [], &pairs(set))
}

fn refusal(set: &[(&str, &str)]) -> String {
    flags(set).expect_err("must be refused").to_string()
}

fn row<'a>(shown: &'a [Shown], key: &str) -> &'a Shown {
    shown.iter().find(|row| row.key == key).unwrap()
}

/// A file that is removed with the test.
struct Written(PathBuf);

impl Written {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("askpro-settings-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn defaults_start_and_are_the_documented_ones() {
    let (settings, shown) = flags(&[]).unwrap();
    assert_eq!(settings.lease_ms, 10_000);
    assert_eq!(settings.quarantine_ms, 90_000);
    assert_eq!(settings.slots, 50);
    assert!(!settings.calcom_allow_insecure);
    assert_eq!(settings.listen.port(), 8080);
    assert!(settings.legacy_company.is_none());
    assert!(shown.iter().all(|row| row.source == "default"));
}

#[test]
fn each_documented_key_is_shown_and_explained() {
    let (_, shown) = flags(&[]).unwrap();
    let documented: Vec<_> = Settings::TABLE.iter().map(|row| row.key).collect();
    assert_eq!(shown.iter().map(|row| row.key).collect::<Vec<_>>(), documented);
    assert!(Settings::TABLE.iter().all(|row| row.meaning.trim().len() > 20));
}

#[test]
fn the_later_layer_wins_and_is_named() {
    let file = Written::new("layers", "lease_ms = 11000\nrenewal_ms = 2000\nslots = 7\nlog = 'debug'\n");
    let environment = pairs(&[("ASKPRO_RENEWAL_MS", "2500"), ("ASKPRO_SLOTS", "8"), ("PATH", "/bin")]);
    let (settings, shown) = Settings::load_from(Some(&file.0), environment, &pairs(&[("slots", "9")])).unwrap();
    assert_eq!((settings.lease_ms, settings.renewal_ms, settings.slots), (11_000, 2_500, 9));
    assert_eq!(row(&shown, "lease_ms").source, file.0.display().to_string());
    assert_eq!(row(&shown, "renewal_ms").source, "environment ASKPRO_RENEWAL_MS");
    assert_eq!(row(&shown, "slots").source, "flag --set slots");
    assert_eq!(row(&shown, "crashes_max").source, "default");
}

#[test]
fn the_environment_can_name_the_file() {
    let file = Written::new("named", "slots = 7\n");
    let environment = pairs(&[("ASKPRO_SETTINGS_FILE", file.0.to_str().unwrap())]);
    assert_eq!(Settings::load_from(None, environment, &[]).unwrap().0.slots, 7);
    let missing = pairs(&[("ASKPRO_SETTINGS_FILE", "/nowhere/askpro.toml")]);
    let said = Settings::load_from(None, missing, &[]).unwrap_err().to_string();
    assert!(said.contains("/nowhere/askpro.toml") && said.contains("does not exist"), "{said}");
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let file = Written::new("unknown", "lease_msec = 1\n");
    let said = Settings::load_from(Some(&file.0), [], &[]).unwrap_err().to_string();
    assert!(said.contains("`lease_msec`") && said.contains("unknown.toml"), "{said}");

    let table = Written::new("table", "[redis]\nurl = 'redis://x'\n");
    let said = Settings::load_from(Some(&table.0), [], &[]).unwrap_err().to_string();
    assert!(said.contains("`redis`"), "{said}");

    for name in ["ASKPRO_LEASE", "ASKPRO_lease_ms", "ASKPRO_API_SERVICE_HOST"] {
        let said = Settings::load_from(None, pairs(&[(name, "1")]), &[]).unwrap_err().to_string();
        assert!(said.contains(name) && said.contains("environment"), "{said}");
    }
    assert!(refusal(&[("leese_ms", "1")]).contains("`leese_ms` (flag --set)"));
    assert!(matches!(parse_flag("lease_ms"), Err(SettingsError::Flag)));
    assert_eq!(parse_flag("database_url=postgres://a/b?x=y").unwrap().1, "postgres://a/b?x=y");
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_key_and_source() {
    for (key, value) in [("lease_ms", "ten"), ("lease_ms", "-1"), ("calcom_allow_insecure", "maybe"), ("slots", "1.5x")]
    {
        let said = refusal(&[(key, value)]);
        assert!(said.contains(key) && said.contains("flag --set"), "{said}");
    }
    assert!(refusal(&[("listen", "8080")]).contains("listen"));
}

#[test]
fn a_budget_without_a_tenth_to_keep_is_refused() {
    let said = refusal(&[("calcom_requests_per_minute", "9")]);
    assert!(said.contains("calcom_requests_per_minute = 9 (flag --set") && said.contains("at least 10"), "{said}");
    assert_eq!(flags(&[("calcom_requests_per_minute", "10")]).unwrap().0.calcom_requests_per_minute, 10);
}

#[test]
fn contradictions_name_both_settings_and_the_remedy() {
    for (set, both, remedy) in [
        (&[("calcom_timeout_ms", "9500"), ("lease_ms", "9500")][..], ["calcom_timeout_ms", "lease_ms"], "shorter"),
        (&[("renewal_ms", "5000")][..], ["renewal_ms", "lease_ms"], "half"),
        (&[("worker_lock_wait_ms", "10000")], ["worker_lock_wait_ms", "lease_ms"], "shorter"),
        (&[("quarantine_ms", "8000")][..], ["quarantine_ms", "calcom_timeout_ms"], "longer"),
        (&[("drain_ms", "10999")][..], ["drain_ms", "calcom_timeout_ms"], "at least"),
        (&[("calcom_timeout_ms", "100"), ("drain_ms", "3099")][..], ["drain_ms", "calcom_timeout_ms"], "at least"),
        (&[("drain_ms", "15000")][..], ["drain_ms", "orphan_ms"], "shorter"),
        (&[("backoff_base_ms", "900001")][..], ["backoff_base_ms", "backoff_max_ms"], "at most"),
        (&[("calcom_url", "http://127.0.0.1:1/v2")][..], ["calcom_url", "calcom_allow_insecure"], "https"),
    ] {
        let said = refusal(set);
        assert!(both.iter().all(|key| said.contains(&format!("{key} = "))), "{said}");
        assert!(said.contains(remedy), "{said}");
        assert!(said.contains("(flag --set ") && said.contains("contradict"), "{said}");
    }
}

#[test]
fn the_border_of_each_contradiction_starts() {
    for set in [
        &[("calcom_timeout_ms", "7999"), ("lease_ms", "8000")][..],
        &[("renewal_ms", "4999")],
        &[("quarantine_ms", "8001")],
        &[("drain_ms", "11000")],
        &[("drain_ms", "14999")],
        &[("worker_lock_wait_ms", "9999")],
        &[
            ("worker_lock_wait_ms", "1000"),
            ("calcom_timeout_ms", "1000"),
            ("lease_ms", "2000"),
            ("renewal_ms", "500"),
            ("quarantine_ms", "3000"),
        ],
        &[("calcom_url", "http://127.0.0.1:1/v2"), ("calcom_allow_insecure", "true")],
    ] {
        flags(set).unwrap();
    }
}

#[test]
fn zero_and_empty_are_refused() {
    for key in ["slots", "lease_ms", "renewal_ms", "attempts_max", "api_lock_wait_ms", "statement_timeout_ms"] {
        assert!(refusal(&[(key, "0")]).contains(&format!("{key} = 0")));
    }
    for key in ["sealing_keys", "marker_keys", "legacy_company", "queue", "database_url"] {
        for empty in ["", "  "] {
            let said = refusal(&[(key, empty)]);
            assert!(said.contains(key) && said.contains("empty"), "{said}");
        }
    }
}

#[test]
fn a_bad_url_is_refused_without_its_password() {
    for (key, url) in [
        ("database_url", "not a url"),
        ("database_url", "mysql://user:geheim@db/askpro"),
        ("redis_url", "http://:geheim@redis"),
        ("calcom_url", "ftp://user:geheim@cal.example"),
        ("calcom_url", "https://user:geheim@cal.example/v2"),
        ("calcom_url", "https://cal.example/v2?key=geheim"),
    ] {
        let said = refusal(&[(key, url)]);
        assert!(said.contains(key) && !said.contains("geheim"), "{said}");
    }
    assert_eq!(flags(&[("calcom_url", "https://cal.example/v2/")]).unwrap().0.calcom_url, "https://cal.example/v2");
}

#[test]
fn secrets_are_read_and_never_shown() {
    let written = format!("new:{KEY}");
    let database = "postgres://askpro:geheim@db:5432/askpro";
    let set = [("sealing_keys", written.as_str()), ("database_url", database), ("redis_url", "redis://:geheim@r")];
    let (settings, shown) = flags(&set).unwrap();
    assert_eq!(settings.require_sealing_keys().unwrap().keys()[0].id, "new");
    assert_eq!(settings.database_url, database);
    assert!(settings.require_marker_keys().unwrap_err().to_string().contains("marker_keys"));
    assert_eq!(row(&shown, "sealing_keys").value, "(set)");
    assert_eq!(row(&shown, "marker_keys").value, "(not set)");
    assert_eq!(row(&shown, "database_url").value, "postgres://askpro:***@db:5432/askpro");
    let printed = format!("{shown:?}{settings:?}{:?}", settings.sealing_keys);
    assert!(!printed.contains(KEY) && !printed.contains("geheim"), "{printed}");
}

#[test]
fn a_broken_secret_or_file_is_refused_without_its_text() {
    let said = refusal(&[("sealing_keys", "k1:geheim!")]);
    assert!(
        said.contains("key 1 is not base64") && said.contains("sealing_keys") && !said.contains("geheim"),
        "{said}"
    );

    let file = Written::new("broken", "slots = 7\nsealing_keys = \"k1:geheim\n");
    let said = Settings::load_from(Some(&file.0), [], &[]).unwrap_err().to_string();
    assert!(said.contains("broken.toml") && said.contains("line 2") && !said.contains("geheim"), "{said}");
}
