//! A company as a TOML file writes it (`demo/salon.toml`), read into what the store loads.
//!
//! An unknown key, an unknown weekday, a telephone number that is not E.164 and a reference to nothing are refused here,
//! by name. Deliberately absent: what the database's own constraints refuse better.

use std::collections::BTreeSet;
use std::path::Path;

use chrono::NaiveTime;
use chrono_tz::Tz;
use domain::hours::Opening;
use domain::observe::ExternalChanges;
use serde::Deserialize;
use store::{BranchSpec, CompanySpec, EventTypeSpec, ServiceSpec, StaffSpec};

use crate::failure::Failure;

/// Reads the file.
pub(crate) fn read(path: &Path) -> Result<CompanySpec, Failure> {
    let refused = |what: String| Failure::File { file: path.display().to_string(), what };
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    parse(&text).map_err(refused)
}

/// Reads its text; the error says what is wrong with it.
fn parse(text: &str) -> Result<CompanySpec, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    file.refer()?;
    file.spec()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    company: Company,
    branch: Vec<Branch>,
    staff: Vec<Staff>,
    service: Vec<Service>,
    event_type: Vec<EventType>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Company {
    slug: String,
    name: String,
    time_zone: String,
    language: String,
    #[serde(default = "external_wins")]
    external_changes: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Branch {
    id: i32,
    name: String,
    time_zone: String,
    #[serde(default)]
    phones: Vec<String>,
    hours: Vec<Hours>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hours {
    weekdays: Vec<Weekday>,
    opens: String,
    closes: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Weekday {
    Mon = 1,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Staff {
    id: i32,
    name: String,
    branch: i32,
    calcom_user_id: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    id: i32,
    name: String,
    duration_minutes: u16,
    minimum_notice_minutes: u16,
    #[serde(default)]
    aliases: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventType {
    id: i64,
    branch: i32,
    service: i32,
    staff: i32,
}

impl File {
    /// Every id names one thing, and every reference names something.
    fn refer(&self) -> Result<(), String> {
        let branches = distinct("branch", self.branch.iter().map(|branch| i64::from(branch.id)))?;
        let staff = distinct("staff", self.staff.iter().map(|staff| i64::from(staff.id)))?;
        let services = distinct("service", self.service.iter().map(|service| i64::from(service.id)))?;
        distinct("event_type", self.event_type.iter().map(|event_type| event_type.id))?;
        let known = |owner: String, noun: &str, ids: &BTreeSet<i64>, id: i32| {
            if ids.contains(&id.into()) { Ok(()) } else { Err(format!("{owner}: there is no {noun} {id}")) }
        };
        for member in &self.staff {
            known(format!("staff {}", member.id), "branch", &branches, member.branch)?;
        }
        for event_type in &self.event_type {
            let owner = || format!("event_type {}", event_type.id);
            known(owner(), "branch", &branches, event_type.branch)?;
            known(owner(), "service", &services, event_type.service)?;
            known(owner(), "staff", &staff, event_type.staff)?;
        }
        if branches.is_empty() { Err("a company has at least one branch".to_owned()) } else { Ok(()) }
    }

    fn spec(self) -> Result<CompanySpec, String> {
        let branches = self.branch.into_iter().map(Branch::spec).collect::<Result<_, _>>()?;
        let staff = self.staff.into_iter().map(|staff| StaffSpec {
            id: staff.id,
            branch_id: staff.branch,
            name: staff.name,
            calcom_user_id: staff.calcom_user_id,
        });
        let services = self.service.into_iter().map(|service| ServiceSpec {
            id: service.id,
            name: service.name,
            aliases: service.aliases,
            duration_minutes: service.duration_minutes,
            minimum_notice_minutes: service.minimum_notice_minutes,
        });
        let event_types = self.event_type.into_iter().map(|event_type| EventTypeSpec {
            id: event_type.id,
            branch_id: event_type.branch,
            service_id: event_type.service,
            staff_id: event_type.staff,
        });
        Ok(CompanySpec {
            slug: self.company.slug,
            name: self.company.name,
            time_zone: zone(&self.company.time_zone)?,
            language: self.company.language,
            external_changes: policy(&self.company.external_changes)?,
            branches,
            staff: staff.collect(),
            services: services.collect(),
            event_types: event_types.collect(),
        })
    }
}

impl Branch {
    fn spec(self) -> Result<BranchSpec, String> {
        if let Some(phone) = self.phones.iter().find(|phone| !is_e164(phone)) {
            return Err(format!("branch {}: {phone} is not E.164 (+ and digits: +493012345678)", self.id));
        }
        let mut hours = Vec::new();
        for row in self.hours {
            let (opens, closes) = (time(&row.opens)?, time(&row.closes)?);
            if opens >= closes {
                return Err(format!("branch {}: {} is not before {}", self.id, row.opens, row.closes));
            }
            hours.extend(row.weekdays.iter().map(|day| Opening { weekday: *day as u8, opens, closes }));
        }
        let time_zone = zone(&self.time_zone)?;
        Ok(BranchSpec { id: self.id, name: self.name, time_zone, phones: self.phones, hours })
    }
}

fn distinct(noun: &str, ids: impl Iterator<Item = i64>) -> Result<BTreeSet<i64>, String> {
    let mut seen = BTreeSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(format!("{noun} {id} is there twice"));
        }
    }
    Ok(seen)
}

fn external_wins() -> String {
    ExternalChanges::ExternalWins.as_str().to_owned()
}

fn policy(word: &str) -> Result<ExternalChanges, String> {
    ExternalChanges::parse(word).ok_or_else(|| {
        let known = ExternalChanges::ALL.map(ExternalChanges::as_str).join(", ");
        format!("external_changes is one of {known}")
    })
}

fn zone(name: &str) -> Result<Tz, String> {
    name.parse().map_err(|_| format!("{name} is not a time zone (IANA name: Europe/Berlin)"))
}

fn time(text: &str) -> Result<NaiveTime, String> {
    NaiveTime::parse_from_str(text, "%H:%M").map_err(|_| format!("{text} is not a time (HH:MM)"))
}

fn is_e164(phone: &str) -> bool {
    let digits = phone.strip_prefix('+').unwrap_or_default();
    (6..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALON: &str = include_str!("../../demo/salon.toml");

    #[test]
    fn the_demo_company_is_read() {
        let spec = parse(SALON).unwrap();
        assert_eq!((spec.slug.as_str(), spec.time_zone), ("salon", chrono_tz::Europe::Berlin));
        assert_eq!((spec.branches.len(), spec.staff.len(), spec.services.len(), spec.event_types.len()), (1, 3, 3, 8));
        assert_eq!(spec.branches[0].hours.len(), 6);
        let saturday = spec.branches[0].hours[5];
        assert_eq!((saturday.weekday, saturday.closes), (6, NaiveTime::from_hms_opt(14, 0, 0).unwrap()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            ("Europe/Berlin", "Europe/Bonn", "Europe/Bonn is not a time zone"),
            ("\"+493012345678\"", "\"030 12345678\"", "branch 1: 030 12345678 is not E.164"),
            ("[\"sat\"]", "[\"samstag\"]", "unknown variant `samstag`"),
            ("\"14:00\"", "\"08:00\"", "branch 1: 09:00 is not before 08:00"),
            ("\"14:00\"", "\"2 pm\"", "2 pm is not a time"),
            ("id = 108", "id = 107", "event_type 107 is there twice"),
            ("id = 108\nbranch = 1", "id = 108\nbranch = 7", "event_type 108: there is no branch 7"),
            ("calcom_user_id = 3", "calcom_user = 3", "unknown field `calcom_user`"),
        ];
        for (from, to, wanted) in table {
            let text = SALON.replacen(from, to, 1);
            assert_ne!(text, SALON, "{from}");
            let said = parse(&text).unwrap_err();
            assert!(said.contains(wanted), "{said}");
        }
    }
}
