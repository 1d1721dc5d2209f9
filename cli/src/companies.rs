//! `askpro companies`: loads a company's whole catalog from a file and says what scripts need to book with it.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use store::{Catalog, StoreError};

use crate::catalog_file;
use crate::failure::Failure;
use crate::flags::Output;
use crate::render::{self, Answer};
use crate::session::Session;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Make a company what the file says, in one transaction; the same again changes nothing
    Load {
        /// TOML, as demo/salon.toml
        file: PathBuf,
        /// How the ids are written; the same as -o
        #[arg(long, value_enum, value_name = "FORMAT")]
        print: Option<Output>,
    },
}

pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Answer, Failure> {
    let Verb::Load { file, print } = verb;
    let spec = catalog_file::read(&file)?;
    let company = session.store.load_company(&spec).await.map_err(|error| match error {
        StoreError::Refused { constraint } => Failure::File {
            file: file.display().to_string(),
            what: format!(
                "the database refuses it, because then this would be untrue: {}",
                constraint.replace('_', " ")
            ),
        },
        other @ (StoreError::Away(_) | StoreError::LockWait | StoreError::Broken { .. } | StoreError::Database(_)) => {
            Failure::Store(other)
        }
    })?;
    loaded(print.unwrap_or(session.output), &session.store.catalog(company.company_id).await?)
}

#[derive(Serialize)]
struct Body<'a> {
    company: &'a str,
    /// The first branch.
    branch_id: Option<i32>,
    /// One row for each event type.
    services: Vec<Service<'a>>,
    staff: Vec<Staff<'a>>,
}

#[derive(Serialize)]
struct Service<'a> {
    id: i32,
    name: &'a str,
    event_type_id: i64,
    staff_id: i32,
    duration_minutes: u16,
}

#[derive(Serialize)]
struct Staff<'a> {
    id: i32,
    name: &'a str,
}

fn loaded(output: Output, catalog: &Catalog) -> Result<Answer, Failure> {
    let mut services: Vec<Service<'_>> = catalog
        .services
        .iter()
        .flat_map(|service| {
            service.staff.iter().map(|&(_, staff_id, event_type_id)| Service {
                id: service.service_id,
                name: &service.name,
                event_type_id,
                staff_id,
                duration_minutes: service.duration_minutes,
            })
        })
        .collect();
    services.sort_by_key(|service| (service.id, service.event_type_id));
    let body = Body {
        company: &catalog.company.slug,
        branch_id: catalog.branches.first().map(|branch| branch.branch_id),
        services,
        staff: catalog.staff.iter().map(|staff| Staff { id: staff.staff_id, name: &staff.name }).collect(),
    };
    Answer::new(output, &body, || {
        let name_of = |id| body.staff.iter().find(|staff| staff.id == id).map_or("-", |staff| staff.name);
        let rows = body.services.iter().map(|service| {
            [
                service.event_type_id.to_string(),
                format!("{} ({})", service.name, service.id),
                format!("{} ({})", name_of(service.staff_id), service.staff_id),
                service.duration_minutes.to_string(),
            ]
        });
        let rows = render::table(["EVENT TYPE", "SERVICE", "STAFF", "MINUTES"], &[0, 3], rows.collect());
        let branch = render::or_dash(body.branch_id);
        format!("Company {} is loaded; its first branch is {branch}.\n\n{rows}", body.company)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::hours::Hours;
    use store::{Branch, Company};

    fn catalog() -> Catalog {
        let time_zone = chrono_tz::Europe::Berlin;
        let (slug, name, language) = ("salon".to_owned(), "Salon".to_owned(), "de".to_owned());
        Catalog {
            company: Company { company_id: 1, slug, name, time_zone, language },
            branches: vec![Branch {
                branch_id: 1,
                name: "Kreuzberg".to_owned(),
                phones: vec![],
                hours: Hours { time_zone, openings: vec![] },
            }],
            staff: vec![store::Staff { staff_id: 2, branch_id: 1, name: "Ben Kurt".to_owned(), calcom_user_id: 2 }],
            services: vec![store::Service {
                service_id: 3,
                name: "Färben".to_owned(),
                aliases: vec![],
                duration_minutes: 90,
                minimum_notice_minutes: 15,
                staff: vec![(1, 2, 107)],
            }],
        }
    }

    #[test]
    fn what_scripts_read() {
        let wanted = r#"{
  "apiVersion": "askpro/v1",
  "company": "salon",
  "branch_id": 1,
  "services": [
    {
      "id": 3,
      "name": "Färben",
      "event_type_id": 107,
      "staff_id": 2,
      "duration_minutes": 90
    }
  ],
  "staff": [
    {
      "id": 2,
      "name": "Ben Kurt"
    }
  ]
}"#;
        assert_eq!(loaded(Output::Json, &catalog()).unwrap().text, wanted);
    }

    #[test]
    fn what_people_read() {
        let wanted = "\
Company salon is loaded; its first branch is 1.

EVENT TYPE  SERVICE     STAFF         MINUTES
       107  Färben (3)  Ben Kurt (2)       90";
        assert_eq!(loaded(Output::Table, &catalog()).unwrap().text, wanted);
    }
}
