//! What a customer usually comes for, from the appointments that stand or stood.

use crate::Store;
use crate::error::StoreError;
use domain::phone::Phone;
use uuid::Uuid;

/// So many of the latest appointments tell it.
const APPOINTMENTS: i64 = 20;

/// Who has called before.
#[derive(Clone, PartialEq, Debug)]
pub struct Profile {
    /// Ours.
    pub customer_id: Uuid,
    /// As last told.
    pub name: Option<String>,
    /// The service that was booked most often, the latest of several.
    pub usual_service: Option<Usual>,
    /// Whom it was booked with most often.
    pub usual_staff: Option<Usual>,
}

/// What was chosen most often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usual {
    /// Of the service, or of the member of staff.
    pub id: i32,
    /// So often …
    pub times: i64,
    /// … of so many appointments.
    pub of: i64,
}

impl Usual {
    /// How sure one may be that it is wanted again, in `[0, 1)`: once of one time is a half, four of four times are 0.8.
    pub fn share(self) -> f64 {
        let [times, of] = [self.times, self.of].map(|n| f64::from(i32::try_from(n).unwrap_or(i32::MAX)));
        times / (of + 1.0)
    }
}

impl Store {
    /// The customer of a number; `None` = it never booked.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn profile(&self, company_id: i32, phone: &Phone) -> Result<Option<Profile>, StoreError> {
        let row = sqlx::query!(
            r#"WITH who AS (SELECT customer_id, name FROM customer
                            WHERE company_id = $1 AND phone = $2 AND deleted_at IS NULL),
                    lately AS (SELECT a.service_id, g.staff_id, a.starts_at
                               FROM who JOIN appointment a ON a.company_id = $1 AND a.customer_id = who.customer_id
                                    JOIN segment g ON g.company_id = $1 AND g.appointment_id = a.appointment_id
                               WHERE a.status IN ('scheduled', 'completed')
                               ORDER BY a.starts_at DESC LIMIT $3),
                    services AS (SELECT service_id, count(*) AS times FROM lately GROUP BY service_id
                                 ORDER BY count(*) DESC, max(starts_at) DESC LIMIT 1),
                    staff AS (SELECT staff_id, count(*) AS times FROM lately GROUP BY staff_id
                              ORDER BY count(*) DESC, max(starts_at) DESC LIMIT 1)
               SELECT who.customer_id, who.name, (SELECT count(*) FROM lately) AS "of!",
                      services.service_id AS "service_id?", services.times AS "service_times?",
                      staff.staff_id AS "staff_id?", staff.times AS "staff_times?"
               FROM who LEFT JOIN services ON true LEFT JOIN staff ON true"#,
            company_id,
            phone.as_e164(),
            APPOINTMENTS
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|r| Profile {
            customer_id: r.customer_id,
            name: r.name,
            usual_service: r.service_id.zip(r.service_times).map(|(id, times)| Usual { id, times, of: r.of }),
            usual_staff: r.staff_id.zip(r.staff_times).map(|(id, times)| Usual { id, times, of: r.of }),
        }))
    }
}
