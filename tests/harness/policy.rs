//! Policies of a test's company, and a witness of what was in force when a change was committed.
//!
//! The witness is a trigger that runs at the very end of each transaction, while its locks are still held: it notes the
//! number of the newest policy as everybody sees it then. Deliberately absent: any part of it in the product.

use crate::World;
use domain::money::{Currency, Money};
use domain::policy::{Operation, Policy, Rule, Scope, Terms, Tier};
use store::Published;
use uuid::Uuid;

/// A change whose decision is in its history.
#[derive(Clone, PartialEq, Eq, Debug, sqlx::FromRow)]
pub struct Decided {
    pub appointment_id: Uuid,
    pub to_status: String,
    pub at: chrono::DateTime<chrono::Utc>,
    pub policy_version: i32,
    pub fee_minor: Option<i64>,
    /// The newest number when it was committed.
    pub head: i32,
}

/// So many euro cents, whenever.
pub fn flat(minor: u32) -> Terms {
    let fee = Money { minor, currency: Currency::parse("EUR").unwrap() };
    Terms { tiers: vec![Tier { hours_before: 0, fee }], ..Terms::default() }
}

/// A policy that says one thing.
pub fn policy(scope: Scope, operation: Operation, terms: Terms) -> Policy {
    Policy::new(scope, [(operation, Rule { terms, ..Rule::default() })].into()).unwrap()
}

impl World {
    /// From now on each change of a promise notes what was in force at its commit.
    pub async fn witness_policies(&self) {
        for sql in [
            "CREATE TABLE at_commit (appointment_id uuid, version int, head int)",
            "CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
               INSERT INTO at_commit
               SELECT NEW.appointment_id, NEW.version, version FROM policy_head WHERE company_id = NEW.company_id;
               RETURN NULL;
             END $$",
            "CREATE CONSTRAINT TRIGGER witness AFTER INSERT ON appointment_event
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION witness()",
        ] {
            self.sql(sql).await;
        }
    }

    /// All changes that a policy was asked about.
    pub async fn decided(&self) -> Vec<Decided> {
        let sql = "SELECT appointment_id, to_status, at, policy_version, fee_minor, head
                   FROM appointment_event JOIN at_commit USING (appointment_id, version)
                   WHERE policy_version IS NOT NULL ORDER BY at";
        sqlx::query_as(sql).fetch_all(&self.pool).await.unwrap()
    }

    /// Puts it into force; its number.
    pub async fn publish(&self, scope: Scope, policy: &Policy) -> i32 {
        match self.store.publish_policy(self.company.company_id, scope, policy, "test").await.unwrap() {
            Published::New { version } => version,
            other @ (Published::Unchanged | Published::NoSuchScope) => panic!("not published: {other:?}"),
        }
    }
}
