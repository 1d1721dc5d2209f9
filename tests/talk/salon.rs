//! The salon of `demo/salon.toml`, as the harness and the sandbox know it.

use harness::World;
use sandbox::{EventType, Host};
use std::path::PathBuf;
use toml::Value;

/// Makes the world's company the demo's.
pub fn open(world: &World) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../demo/salon.toml");
    world.askpro(&["companies", "load", file.to_str().unwrap()]);
    let catalog: Value = toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    world.sandbox.set_event_types(event_types(&catalog)).unwrap();
}

fn event_types(catalog: &Value) -> Vec<EventType> {
    let of = |table: &str, id: i64| {
        let rows = catalog[table].as_array().unwrap();
        rows.iter().find(|row| row["id"].as_integer() == Some(id)).unwrap()
    };
    let number = |row: &Value, field: &str| row[field].as_integer().unwrap();
    let one = |row: &Value| {
        let (staff, service) = (of("staff", number(row, "staff")), of("service", number(row, "service")));
        let name = staff["name"].as_str().unwrap();
        EventType {
            id: number(row, "id"),
            slug: format!("event-{}", number(row, "id")),
            title: None,
            length_minutes: number(service, "duration_minutes").try_into().unwrap(),
            host: Host {
                id: number(staff, "calcom_user_id"),
                name: name.to_owned(),
                email: format!("staff-{}@salon.test", number(staff, "id")),
                username: format!("staff-{}", number(staff, "id")),
                time_zone: "Europe/Berlin".to_owned(),
            },
            requires_confirmation: false,
        }
    };
    catalog["event_type"].as_array().unwrap().iter().map(one).collect()
}
