//! What a company is: branches, hours, staff, services, event types. Loaded as a whole, read as one snapshot.
//!
//! Absent: deleting. What a newer catalog no longer names is retired; appointments still point at it.

use crate::Store;
use crate::error::StoreError;
use chrono_tz::Tz;
use domain::hours::{Hours, Opening};
use domain::observe::ExternalChanges;
use sqlx::PgConnection;

/// A business that we work for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Company {
    /// Ours.
    pub company_id: i32,
    /// Its name in paths.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// Where it is.
    pub time_zone: Tz,
    /// `de`, `en`, …
    pub language: String,
}

/// All that a company's catalog is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompanySpec {
    /// Its name in paths: lower-case letters, digits, `-`.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// Where it is.
    pub time_zone: Tz,
    /// `de`, `en`, …
    pub language: String,
    /// Whose word counts when the business changes a booking of ours at Cal.com.
    pub external_changes: ExternalChanges,
    /// Its places.
    pub branches: Vec<BranchSpec>,
    /// Its people.
    pub staff: Vec<StaffSpec>,
    /// What it does.
    pub services: Vec<ServiceSpec>,
    /// Who does what where, at Cal.com.
    pub event_types: Vec<EventTypeSpec>,
}

/// A place of business.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BranchSpec {
    /// The company's own numbering.
    pub id: i32,
    /// For people.
    pub name: String,
    /// Whose wall clock its hours mean.
    pub time_zone: Tz,
    /// E.164.
    pub phones: Vec<String>,
    /// When it is open.
    pub hours: Vec<Opening>,
}

/// A member of staff.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaffSpec {
    /// The company's own numbering.
    pub id: i32,
    /// Where they work.
    pub branch_id: i32,
    /// For people.
    pub name: String,
    /// The host at Cal.com.
    pub calcom_user_id: i64,
}

/// What can be booked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceSpec {
    /// The company's own numbering.
    pub id: i32,
    /// For people.
    pub name: String,
    /// What callers say instead.
    pub aliases: Vec<String>,
    /// 1–1440.
    pub duration_minutes: u16,
    /// 0–64800.
    pub minimum_notice_minutes: u16,
}

/// A bookable event type at Cal.com; it has exactly one host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventTypeSpec {
    /// Cal.com's.
    pub id: i64,
    /// Where.
    pub branch_id: i32,
    /// What.
    pub service_id: i32,
    /// Who.
    pub staff_id: i32,
}

/// One snapshot of what can be booked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Catalog {
    /// Whose.
    pub company: Company,
    /// By id.
    pub branches: Vec<Branch>,
    /// By id.
    pub staff: Vec<Staff>,
    /// By id.
    pub services: Vec<Service>,
}

/// A place of business.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Branch {
    /// The company's own numbering.
    pub branch_id: i32,
    /// For people.
    pub name: String,
    /// E.164.
    pub phones: Vec<String>,
    /// When it is open, by whose clock.
    pub hours: Hours,
}

/// A member of staff.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Staff {
    /// The company's own numbering.
    pub staff_id: i32,
    /// Where they work.
    pub branch_id: i32,
    /// For people.
    pub name: String,
    /// The host at Cal.com.
    pub calcom_user_id: i64,
}

/// What can be booked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// The company's own numbering.
    pub service_id: i32,
    /// For people.
    pub name: String,
    /// What callers say instead.
    pub aliases: Vec<String>,
    /// Its length.
    pub duration_minutes: u16,
    /// How long ahead it must be booked.
    pub minimum_notice_minutes: u16,
    /// Who does it: (branch, staff, event type).
    pub staff: Vec<(i32, i32, i64)>,
}

impl Service {
    /// Is it meant by this id, name or alias? Case does not matter.
    pub fn is_called(&self, wanted: &str) -> bool {
        let wanted = wanted.trim().to_lowercase();
        let mut names = std::iter::once(&self.name).chain(&self.aliases);
        self.service_id.to_string() == wanted || names.any(|name| name.to_lowercase() == wanted)
    }
}

impl Store {
    /// The company of a slug.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn company_by_slug(&self, slug: &str) -> Result<Option<Company>, StoreError> {
        if slug.contains('\0') {
            return Ok(None); // no text in Postgres has one: it would be an error there
        }
        let row = sqlx::query!("SELECT company_id, slug, name, time_zone, language FROM company WHERE slug = $1", slug)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|r| company(r.company_id, r.slug, r.name, &r.time_zone, r.language)).transpose()
    }

    /// All companies, by slug.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn companies(&self) -> Result<Vec<Company>, StoreError> {
        let rows = sqlx::query!("SELECT company_id, slug, name, time_zone, language FROM company ORDER BY slug")
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(|r| company(r.company_id, r.slug, r.name, &r.time_zone, r.language)).collect()
    }

    /// The company of an id.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn company_by_id(&self, company_id: i32) -> Result<Option<Company>, StoreError> {
        read_company(&mut *self.pool.acquire().await?, company_id).await
    }

    /// Makes a company's catalog what the spec says, in one transaction; loading the same again changes nothing.
    ///
    /// # Errors
    /// `Refused`: the spec contradicts itself; the constraint's name says how. Postgres is away.
    pub async fn load_company(&self, spec: &CompanySpec) -> Result<Company, StoreError> {
        self.retrying("load_company", || self.load(spec)).await
    }

    async fn load(&self, spec: &CompanySpec) -> Result<Company, StoreError> {
        let mut tx = self.pool.begin().await?;
        let company_id = sqlx::query_scalar!(
            "INSERT INTO company (slug, name, time_zone, language, external_changes) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT ON CONSTRAINT one_company_per_slug DO UPDATE SET
               name = EXCLUDED.name, time_zone = EXCLUDED.time_zone, language = EXCLUDED.language,
               external_changes = EXCLUDED.external_changes
             RETURNING company_id",
            spec.slug,
            spec.name,
            spec.time_zone.name(),
            spec.language,
            spec.external_changes.as_str()
        )
        .fetch_one(&mut *tx)
        .await?;
        // A booking re-reads the catalog under these locks: it sees the old one or the new one, never half of it.
        sqlx::query!(
            "SELECT staff_id FROM staff WHERE company_id = $1 ORDER BY staff_id FOR NO KEY UPDATE",
            company_id
        )
        .fetch_all(&mut *tx)
        .await?;
        clear(&mut tx, company_id).await?;
        load_branches(&mut tx, company_id, &spec.branches).await?;
        load_staff(&mut tx, company_id, &spec.staff).await?;
        load_services(&mut tx, company_id, &spec.services).await?;
        for event_type in &spec.event_types {
            sqlx::query!(
                "INSERT INTO event_type (company_id, event_type_id, branch_id, service_id, staff_id)
                 VALUES ($1, $2, $3, $4, $5)",
                company_id,
                event_type.id,
                event_type.branch_id,
                event_type.service_id,
                event_type.staff_id
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(Company {
            company_id,
            slug: spec.slug.clone(),
            name: spec.name.clone(),
            time_zone: spec.time_zone,
            language: spec.language.clone(),
        })
    }

    /// What can be booked, in one snapshot, without what is retired.
    ///
    /// # Errors
    /// `Broken`: no such company. Postgres is away.
    pub async fn catalog(&self, company_id: i32) -> Result<Catalog, StoreError> {
        let mut tx = self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let company = read_company(&mut tx, company_id).await?;
        let company = company.ok_or(StoreError::Broken { what: "there is no such company" })?;
        let branches = read_branches(&mut tx, company_id).await?;
        let staff = sqlx::query!(
            "SELECT staff_id, branch_id, name, calcom_user_id FROM staff
             WHERE company_id = $1 AND retired_at IS NULL ORDER BY staff_id",
            company_id
        )
        .fetch_all(&mut *tx)
        .await?;
        let staff = staff.into_iter().map(|r| Staff {
            staff_id: r.staff_id,
            branch_id: r.branch_id,
            name: r.name,
            calcom_user_id: r.calcom_user_id,
        });
        let (staff, services) = (staff.collect(), read_services(&mut tx, company_id).await?);
        tx.commit().await?;
        Ok(Catalog { company, branches, staff, services })
    }
}

fn company(
    company_id: i32,
    slug: String,
    name: String,
    time_zone: &str,
    language: String,
) -> Result<Company, StoreError> {
    Ok(Company { company_id, slug, name, time_zone: zone(time_zone)?, language })
}

fn zone(name: &str) -> Result<Tz, StoreError> {
    name.parse().map_err(|_| StoreError::Broken { what: "a time zone is unknown" })
}

async fn read_company(conn: &mut PgConnection, company_id: i32) -> Result<Option<Company>, StoreError> {
    let row = sqlx::query!(
        "SELECT company_id, slug, name, time_zone, language FROM company WHERE company_id = $1",
        company_id
    )
    .fetch_optional(conn)
    .await?;
    row.map(|r| company(r.company_id, r.slug, r.name, &r.time_zone, r.language)).transpose()
}

/// Removes what is only a list, and retires the rest until the spec names it again.
async fn clear(conn: &mut PgConnection, company_id: i32) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM event_type WHERE company_id = $1", company_id).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM service_alias WHERE company_id = $1", company_id).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM branch_phone WHERE company_id = $1", company_id).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM branch_opening WHERE company_id = $1", company_id).execute(&mut *conn).await?;
    sqlx::query!("UPDATE branch SET retired_at = now() WHERE company_id = $1 AND retired_at IS NULL", company_id)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("UPDATE staff SET retired_at = now() WHERE company_id = $1 AND retired_at IS NULL", company_id)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("UPDATE service SET retired_at = now() WHERE company_id = $1 AND retired_at IS NULL", company_id)
        .execute(conn)
        .await?;
    Ok(())
}

async fn load_branches(conn: &mut PgConnection, company_id: i32, branches: &[BranchSpec]) -> Result<(), StoreError> {
    for branch in branches {
        sqlx::query!(
            "INSERT INTO branch (company_id, branch_id, name, time_zone) VALUES ($1, $2, $3, $4)
             ON CONFLICT ON CONSTRAINT one_branch_per_id DO UPDATE SET
               name = EXCLUDED.name, time_zone = EXCLUDED.time_zone, retired_at = NULL",
            company_id,
            branch.id,
            branch.name,
            branch.time_zone.name()
        )
        .execute(&mut *conn)
        .await?;
        for phone in &branch.phones {
            sqlx::query!(
                "INSERT INTO branch_phone (company_id, phone, branch_id) VALUES ($1, $2, $3)",
                company_id,
                phone,
                branch.id
            )
            .execute(&mut *conn)
            .await?;
        }
        for opening in &branch.hours {
            sqlx::query!(
                "INSERT INTO branch_opening (company_id, branch_id, weekday, opens, closes) VALUES ($1, $2, $3, $4, $5)",
                company_id,
                branch.id,
                i16::from(opening.weekday),
                opening.opens,
                opening.closes
            )
            .execute(&mut *conn)
            .await?;
        }
    }
    Ok(())
}

async fn load_staff(conn: &mut PgConnection, company_id: i32, staff: &[StaffSpec]) -> Result<(), StoreError> {
    for person in staff {
        sqlx::query!(
            "INSERT INTO staff (company_id, staff_id, branch_id, name, calcom_user_id) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT ON CONSTRAINT one_staff_per_id DO UPDATE SET branch_id = EXCLUDED.branch_id,
               name = EXCLUDED.name, calcom_user_id = EXCLUDED.calcom_user_id, retired_at = NULL",
            company_id,
            person.id,
            person.branch_id,
            person.name,
            person.calcom_user_id
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

async fn load_services(conn: &mut PgConnection, company_id: i32, services: &[ServiceSpec]) -> Result<(), StoreError> {
    for service in services {
        sqlx::query!(
            "INSERT INTO service (company_id, service_id, name, duration_minutes, minimum_notice_minutes)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT ON CONSTRAINT one_service_per_id DO UPDATE SET name = EXCLUDED.name,
               duration_minutes = EXCLUDED.duration_minutes,
               minimum_notice_minutes = EXCLUDED.minimum_notice_minutes, retired_at = NULL",
            company_id,
            service.id,
            service.name,
            i32::from(service.duration_minutes),
            i32::from(service.minimum_notice_minutes)
        )
        .execute(&mut *conn)
        .await?;
        sqlx::query!(
            "INSERT INTO service_alias (company_id, service_id, alias) SELECT $1, $2, unnest($3::text[])",
            company_id,
            service.id,
            &service.aliases
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

async fn read_branches(conn: &mut PgConnection, company_id: i32) -> Result<Vec<Branch>, StoreError> {
    let openings = sqlx::query!(
        "SELECT branch_id, weekday, opens, closes FROM branch_opening WHERE company_id = $1
         ORDER BY branch_id, weekday, opens",
        company_id
    )
    .fetch_all(&mut *conn)
    .await?;
    let rows = sqlx::query!(
        r#"SELECT branch_id, name, time_zone,
                  ARRAY(SELECT p.phone FROM branch_phone p WHERE p.company_id = b.company_id
                          AND p.branch_id = b.branch_id ORDER BY p.phone) AS "phones!"
           FROM branch b WHERE company_id = $1 AND retired_at IS NULL ORDER BY branch_id"#,
        company_id
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            let own = openings.iter().filter(|o| o.branch_id == r.branch_id).map(|o| {
                let weekday = u8::try_from(o.weekday).map_err(|_| StoreError::Broken { what: "a weekday is none" })?;
                Ok(Opening { weekday, opens: o.opens, closes: o.closes })
            });
            let hours = Hours { time_zone: zone(&r.time_zone)?, openings: own.collect::<Result<_, StoreError>>()? };
            Ok(Branch { branch_id: r.branch_id, name: r.name, phones: r.phones, hours })
        })
        .collect()
}

async fn read_services(conn: &mut PgConnection, company_id: i32) -> Result<Vec<Service>, StoreError> {
    let hosts = sqlx::query!(
        "SELECT e.service_id, e.branch_id, e.staff_id, e.event_type_id
         FROM event_type e JOIN staff f USING (company_id, staff_id)
         WHERE e.company_id = $1 AND f.retired_at IS NULL ORDER BY e.branch_id, e.staff_id",
        company_id
    )
    .fetch_all(&mut *conn)
    .await?;
    let rows = sqlx::query!(
        r#"SELECT service_id, name, duration_minutes, minimum_notice_minutes,
                  ARRAY(SELECT l.alias FROM service_alias l WHERE l.company_id = v.company_id
                          AND l.service_id = v.service_id ORDER BY l.alias) AS "aliases!"
           FROM service v WHERE company_id = $1 AND retired_at IS NULL ORDER BY service_id"#,
        company_id
    )
    .fetch_all(conn)
    .await?;
    let short = |minutes: i32| u16::try_from(minutes).map_err(|_| StoreError::Broken { what: "a length is none" });
    rows.into_iter()
        .map(|r| {
            let own = hosts.iter().filter(|h| h.service_id == r.service_id);
            Ok(Service {
                service_id: r.service_id,
                name: r.name,
                aliases: r.aliases,
                duration_minutes: short(r.duration_minutes)?,
                minimum_notice_minutes: short(r.minimum_notice_minutes)?,
                staff: own.map(|h| (h.branch_id, h.staff_id, h.event_type_id)).collect(),
            })
        })
        .collect()
}
