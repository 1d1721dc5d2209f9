//! Policies: published once and never changed, read under a lock by whoever decides by them.
//!
//! The lock is the company's `policy_head`: FOR SHARE here, FOR UPDATE where one is published. So the number that a change
//! stores is the newest one when it commits. Lock order: after the call, before the staff.

use crate::Store;
use crate::command::Who;
use crate::error::StoreError;
use crate::operator::note_operator;
use crate::policy_content as content;
use crate::promise::{Locked, Ruled};
use chrono::{DateTime, Utc};
use domain::id::AppointmentId;
use domain::policy::{Asking, Case, InForce, Operation, Policies, Policy, Ruling, Scope, decide};
use domain::refusal::Refusal;
use sqlx::PgConnection;
use uuid::Uuid;

/// Where a policy is looked for; what is `None` is not known, or nobody's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ground {
    /// Where.
    pub branch_id: Option<i32>,
    /// What.
    pub service_id: Option<i32>,
    /// With whom.
    pub staff_id: Option<i32>,
}

/// A version of a policy, for those who look at it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyView {
    /// Its number in the company.
    pub version: i32,
    /// For whom.
    pub scope: Scope,
    /// What it says.
    pub policy: Policy,
    /// Since when.
    pub published_at: DateTime<Utc>,
    /// Why.
    pub why: String,
    /// Nothing newer is there for its scope.
    pub in_force: bool,
}

/// What came of publishing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Published {
    /// It is in force.
    New {
        /// Under this number.
        version: i32,
    },
    /// That is what its scope says already.
    Unchanged,
    /// The company has no such branch, service or member of staff.
    NoSuchScope,
}

impl Store {
    /// What is in force there. Nothing is locked: this is what is said beforehand, and no decision about an appointment.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn policies(&self, company_id: i32, ground: Ground) -> Result<Policies, StoreError> {
        let mut conn = self.pool.acquire().await?;
        let head = sqlx::query_scalar!("SELECT version FROM policy_head WHERE company_id = $1", company_id)
            .fetch_optional(&mut *conn)
            .await?;
        in_force(&mut conn, company_id, head.unwrap_or_default(), ground).await
    }

    /// What would decide about an appointment now, and by what; `None`: no such appointment. As `policies`, no decision.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn policy_case(
        &self,
        company_id: i32,
        appointment_id: AppointmentId,
    ) -> Result<Option<(Policies, Case)>, StoreError> {
        let mut tx = self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let Some(subject) = subject(&mut tx, company_id, appointment_id).await? else { return Ok(None) };
        let head = sqlx::query_scalar!("SELECT version FROM policy_head WHERE company_id = $1", company_id)
            .fetch_optional(&mut *tx)
            .await?;
        let policies = in_force(&mut tx, company_id, head.unwrap_or_default(), subject.ground).await?;
        let case = case(&mut tx, company_id, appointment_id, subject.customer_id, Asking::Known).await?;
        Ok(Some((policies, case)))
    }

    /// Versions, newest first, at most 500; `all` = also those that are no longer in force.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn policy_versions(&self, company_id: i32, all: bool) -> Result<Vec<PolicyView>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT * FROM (
                 SELECT version, scope, scope_id, content, published_at, why,
                        version = max(version) OVER (PARTITION BY scope, scope_id) AS "in_force!"
                 FROM policy_version WHERE company_id = $1) p
               WHERE $2 OR "in_force!" ORDER BY version DESC LIMIT 500"#,
            company_id,
            all
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|r| {
                let scope = read_scope(&r.scope, r.scope_id)?;
                let policy = content::read(scope, r.content)?;
                let (version, published_at, in_force) = (r.version, r.published_at, r.in_force);
                Ok(PolicyView { version, scope, policy, published_at, why: r.why, in_force })
            })
            .collect()
    }

    /// Puts a policy into force for its scope, from the next decision on. Whoever decides at this moment is waited for.
    ///
    /// # Errors
    /// Postgres is away, or decisions held the lock for too long.
    pub async fn publish_policy(
        &self,
        company_id: i32,
        scope: Scope,
        policy: &Policy,
        why: &str,
    ) -> Result<Published, StoreError> {
        self.retrying("publish_policy", || self.publish(company_id, scope, policy, why)).await
    }

    async fn publish(
        &self,
        company_id: i32,
        scope: Scope,
        policy: &Policy,
        why: &str,
    ) -> Result<Published, StoreError> {
        let mut tx = self.pool.begin().await?;
        let head = sqlx::query!(
            r#"SELECT version, pg_current_xact_id()::text AS "xid!" FROM policy_head WHERE company_id = $1 FOR UPDATE"#,
            company_id
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(head) = head else { return Ok(Published::NoSuchScope) };
        if !exists(&mut tx, company_id, scope).await? {
            return Ok(Published::NoSuchScope);
        }
        let written = content::write(policy)?;
        let newest = sqlx::query_scalar!(
            "SELECT content FROM policy_version
             WHERE company_id = $1 AND scope = $2 AND scope_id IS NOT DISTINCT FROM $3 ORDER BY version DESC LIMIT 1",
            company_id,
            scope.as_str(),
            scope.id()
        )
        .fetch_optional(&mut *tx)
        .await?;
        if newest.is_some_and(|newest| newest == written) {
            return Ok(Published::Unchanged);
        }
        let version = head.version + 1;
        sqlx::query!(
            "WITH h AS (UPDATE policy_head SET version = $2 WHERE company_id = $1)
             INSERT INTO policy_version (company_id, version, scope, scope_id, content, why) VALUES ($1, $2, $3, $4, $5, $6)",
            company_id,
            version,
            scope.as_str(),
            scope.id(),
            written,
            why
        )
        .execute(&mut *tx)
        .await?;
        let id = scope.id().map(|id| format!(" {id}")).unwrap_or_default();
        note_operator(&mut tx, company_id, "policies publish", &format!("{}{id}", scope.as_str()), Some(why)).await?;
        self.commit(tx, &head.xid).await?;
        Ok(Published::New { version })
    }
}

/// What a change of an appointment is decided by, until the transaction ends.
pub(crate) struct Held {
    policies: Policies,
    customer_id: Uuid,
    who: Asking,
}

/// Takes the company's head, then reads what is in force; where somebody's appointments are counted, takes him, too.
/// Neither place nor customer of an appointment ever changes. `None`: no such appointment, or nobody who is ever asked.
pub(crate) async fn hold_policies(
    conn: &mut PgConnection,
    company_id: i32,
    appointment_id: AppointmentId,
    operation: Operation,
    who: Who,
) -> Result<Option<Held>, StoreError> {
    let Some(asking) = who.asks() else { return Ok(None) };
    let Some(subject) = subject(conn, company_id, appointment_id).await? else { return Ok(None) };
    let head = sqlx::query_scalar!("SELECT version FROM policy_head WHERE company_id = $1 FOR SHARE", company_id)
        .fetch_optional(&mut *conn)
        .await?
        .ok_or(StoreError::Broken { what: "a company has no policy head" })?;
    let policies = in_force(conn, company_id, head, subject.ground).await?;
    let counts = policies.deciding(operation).is_some_and(|(_, rule)| rule.terms.max.is_some());
    if operation == Operation::Cancellation && counts {
        sqlx::query!(
            "SELECT customer_id FROM customer WHERE company_id = $1 AND customer_id = $2 FOR NO KEY UPDATE",
            company_id,
            subject.customer_id
        )
        .fetch_optional(conn)
        .await?;
    }
    Ok(Some(Held { policies, customer_id: subject.customer_id, who: asking }))
}

impl Held {
    /// Decides about a locked appointment; what follows from it goes into the history with the change that comes next.
    pub(crate) async fn rule_on(
        &self,
        conn: &mut PgConnection,
        locked: &mut Locked,
        operation: Operation,
    ) -> Result<Result<(), Refusal>, StoreError> {
        let case = case(conn, locked.company_id, locked.appointment_id, self.customer_id, self.who).await?;
        Ok(match decide(&self.policies, operation, &case) {
            Ruling::Allowed { fee } => {
                locked.ruled = Some(Ruled { policy_version: self.policies.head(), fee, at: case.now });
                Ok(())
            }
            Ruling::Denied(denial) => Err(Refusal::Policy(denial)),
        })
    }
}

struct Subject {
    ground: Ground,
    customer_id: Uuid,
}

async fn subject(
    conn: &mut PgConnection,
    company_id: i32,
    appointment_id: AppointmentId,
) -> Result<Option<Subject>, StoreError> {
    let row = sqlx::query!(
        "SELECT a.branch_id, a.service_id, a.customer_id, g.staff_id
         FROM appointment a JOIN segment g USING (company_id, appointment_id)
         WHERE a.company_id = $1 AND a.appointment_id = $2 AND g.segment_no = 1",
        company_id,
        appointment_id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|r| Subject {
        ground: Ground { branch_id: Some(r.branch_id), service_id: Some(r.service_id), staff_id: Some(r.staff_id) },
        customer_id: r.customer_id,
    }))
}

/// Counted under the appointment's lock. A move that Cal.com has refused was none.
async fn case(
    conn: &mut PgConnection,
    company_id: i32,
    appointment_id: AppointmentId,
    customer_id: Uuid,
    who: Asking,
) -> Result<Case, StoreError> {
    let row = sqlx::query!(
        r#"SELECT a.starts_at, clock_timestamp() AS "now!",
                  (SELECT count(*) FILTER (WHERE e.what = 'rescheduled' AND e.who <> 'operator')
                          - count(*) FILTER (WHERE e.what = 'moved_back')
                   FROM appointment_event e
                   WHERE e.company_id = $1 AND e.appointment_id = $2) AS "reschedules!",
                  (SELECT count(*) FROM appointment o JOIN appointment_event e USING (company_id, appointment_id)
                   WHERE o.company_id = $1 AND o.customer_id = $3 AND e.to_status = 'cancelled'
                     AND e.policy_version IS NOT NULL
                     AND e.at > clock_timestamp() - interval '30 days') AS "cancellations!"
           FROM appointment a WHERE a.company_id = $1 AND a.appointment_id = $2"#,
        company_id,
        appointment_id.0,
        customer_id
    )
    .fetch_one(conn)
    .await?;
    let count = |n: i64| u32::try_from(n.max(0)).unwrap_or(u32::MAX);
    let (reschedules, cancellations) = (count(row.reschedules), count(row.cancellations));
    Ok(Case { who, starts_at: row.starts_at, now: row.now, reschedules, cancellations })
}

/// The newest of each scope, in a statement after the head's lock. Where nothing was ever published nothing is asked.
async fn in_force(conn: &mut PgConnection, company_id: i32, head: i32, ground: Ground) -> Result<Policies, StoreError> {
    if head == 0 {
        return Ok(Policies::default());
    }
    let rows = sqlx::query!(
        "SELECT DISTINCT ON (scope) scope, scope_id, version, content FROM policy_version
         WHERE company_id = $1 AND version <= $2
           AND (scope = 'company' OR (scope = 'branch' AND scope_id = $3) OR (scope = 'service' AND scope_id = $4)
                OR (scope = 'staff' AND scope_id = $5))
         ORDER BY scope, version DESC",
        company_id,
        head,
        ground.branch_id,
        ground.service_id,
        ground.staff_id
    )
    .fetch_all(conn)
    .await?;
    let in_force = rows.into_iter().map(|r| {
        let scope = read_scope(&r.scope, r.scope_id)?;
        Ok(InForce { scope, version: r.version, policy: content::read(scope, r.content)? })
    });
    Ok(Policies::new(head, in_force.collect::<Result<_, StoreError>>()?))
}

fn read_scope(word: &str, id: Option<i32>) -> Result<Scope, StoreError> {
    Scope::parse(word, id).ok_or(StoreError::Broken { what: "a policy is for nobody" })
}

async fn exists(conn: &mut PgConnection, company_id: i32, scope: Scope) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT CASE $2::text
                    WHEN 'branch' THEN EXISTS (SELECT FROM branch WHERE company_id = $1 AND branch_id = $3
                                                 AND retired_at IS NULL)
                    WHEN 'service' THEN EXISTS (SELECT FROM service WHERE company_id = $1 AND service_id = $3
                                                  AND retired_at IS NULL)
                    WHEN 'staff' THEN EXISTS (SELECT FROM staff WHERE company_id = $1 AND staff_id = $3
                                                AND retired_at IS NULL)
                    ELSE true END AS "exists!""#,
        company_id,
        scope.as_str(),
        scope.id()
    )
    .fetch_one(conn)
    .await?)
}
