//! The company of a test: one branch, any number of staff who all do one service of half an hour, every day 8 to 20 UTC.
//! Deliberately absent: names and hours that a test would have to know; it asks for the n-th wish.

use chrono::NaiveTime;
use domain::hours::Opening;
use sandbox::{EventType, Host};
use store::{BranchSpec, CompanySpec, EventTypeSpec, ServiceSpec, StaffSpec};

/// The number that a caller has dialled.
pub const BRANCH_PHONE: &str = "+493012345678";
/// Half hours between opening and closing.
pub const WISHES_A_DAY: u32 = 24;

pub(crate) fn salon(staff: i32) -> CompanySpec {
    let time = |h| NaiveTime::from_hms_opt(h, 0, 0).unwrap();
    let member = |id| StaffSpec { id, branch_id: 1, name: name(id), calcom_user_id: i64::from(id) };
    let event_type = |id| EventTypeSpec { id: event_type_id(id), branch_id: 1, service_id: 1, staff_id: id };
    CompanySpec {
        slug: "salon".to_owned(),
        name: "Salon Morgenrot".to_owned(),
        time_zone: chrono_tz::Europe::Berlin,
        language: "de".to_owned(),
        external_changes: domain::observe::ExternalChanges::ExternalWins,
        branches: vec![BranchSpec {
            id: 1,
            name: "Kreuzberg".to_owned(),
            time_zone: chrono_tz::UTC,
            phones: vec![BRANCH_PHONE.to_owned()],
            hours: (1..=7).map(|weekday| Opening { weekday, opens: time(8), closes: time(20) }).collect(),
        }],
        staff: (1..=staff).map(member).collect(),
        services: vec![ServiceSpec {
            id: 1,
            name: "Herrenhaarschnitt".to_owned(),
            aliases: vec![],
            duration_minutes: 30,
            minimum_notice_minutes: 15,
        }],
        event_types: (1..=staff).map(event_type).collect(),
    }
}

pub(crate) fn event_types(staff: i32) -> Vec<EventType> {
    let one = |id: i32| EventType {
        id: event_type_id(id),
        slug: format!("herrenhaarschnitt-{id}"),
        title: None,
        length_minutes: 30,
        host: Host {
            id: i64::from(id),
            name: name(id),
            email: format!("anna-{id}@salon.test"),
            username: format!("anna-{id}"),
            time_zone: "Europe/Berlin".to_owned(),
        },
        requires_confirmation: false,
    };
    (1..=staff).map(one).collect()
}

fn name(staff_id: i32) -> String {
    format!("Anna Berg {staff_id}")
}

/// What Cal.com calls the service of this member of staff.
pub fn event_type_id(staff_id: i32) -> i64 {
    100 + i64::from(staff_id)
}
