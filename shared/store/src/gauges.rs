//! Numbers that say how the fleet stands, for whoever watches it: read from the record, so that each process says the same.

use crate::Store;
use crate::error::StoreError;

/// How the whole fleet stands at a moment.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Gauges {
    /// Requests to Cal.com that are on their way.
    pub ops_sent: i64,
    /// Requests to Cal.com whose outcome is not known.
    pub ops_unknown: i64,
    /// The oldest of both, in seconds; 0 when there is none.
    pub oldest_unresolved_seconds: f64,
    /// Bookings at Cal.com with our marker that no promise owns.
    pub orphans: i64,
    /// Segments that need a person.
    pub needs_review: i64,
    /// Hints that have not been followed.
    pub inbox: i64,
    /// The oldest of them, in seconds; 0 when there is none.
    pub inbox_lag_seconds: f64,
    /// Jobs that need a person.
    pub parked: i64,
    /// How long the oldest due job has waited, in seconds; 0 when there is none.
    pub oldest_due_seconds: f64,
}

impl Store {
    /// Counts what is open, in one snapshot. Each count has an index of its own, so it costs as much as there is open.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn gauges(&self) -> Result<Gauges, StoreError> {
        Ok(sqlx::query_as!(
            Gauges,
            r#"SELECT
                 (SELECT count(*) FROM calcom_op WHERE state = 'sent') AS "ops_sent!",
                 (SELECT count(*) FROM calcom_op WHERE state = 'unknown') AS "ops_unknown!",
                 (SELECT COALESCE(extract(epoch FROM clock_timestamp() - min(sent_at)), 0)::float8 FROM calcom_op
                  WHERE state IN ('sent', 'unknown')) AS "oldest_unresolved_seconds!",
                 (SELECT count(*) FROM spare_booking WHERE gone_at IS NULL) AS "orphans!",
                 (SELECT count(*) FROM segment WHERE sync = 'needs_review') AS "needs_review!",
                 (SELECT count(*) FROM webhook_inbox WHERE applied_at IS NULL AND subject IS NOT NULL) AS "inbox!",
                 (SELECT COALESCE(extract(epoch FROM clock_timestamp() - min(received_at)), 0)::float8
                  FROM webhook_inbox WHERE applied_at IS NULL AND subject IS NOT NULL) AS "inbox_lag_seconds!",
                 (SELECT count(*) FROM job WHERE state = 'parked') AS "parked!",
                 (SELECT COALESCE(GREATEST(extract(epoch FROM clock_timestamp() - min(run_at)), 0), 0)::float8
                  FROM job WHERE state IN ('available', 'retryable')) AS "oldest_due_seconds!""#
        )
        .fetch_one(&self.pool)
        .await?)
    }
}
