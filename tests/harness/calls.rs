//! Telephone calls as Retell tells of them, and whether the record has each of them whole.

use crate::{BRANCH_PHONE, World};
use serde_json::{Value, json};

/// What Retell tells of a call, in the order of the call.
pub const CALL_EVENTS: [&str; 3] = ["call_started", "call_ended", "call_analyzed"];

/// What of a call is there without the rest of it. Asked in one statement, so of one moment.
const TORN: &str = "
  SELECT count(*) FROM (
    -- a call without its customer, or of which nobody has told, or with another's appointment
    SELECT FROM call c WHERE c.customer_id IS NULL
       OR NOT EXISTS (SELECT FROM customer u WHERE u.company_id = c.company_id AND u.customer_id = c.customer_id)
       OR (c.status IS NOT NULL AND NOT EXISTS (
             SELECT FROM call_event e WHERE e.company_id = c.company_id AND e.call_id = c.call_id))
       OR (c.appointment_id IS NULL) <> (c.last_request_key IS NULL)
       OR (c.appointment_id IS NOT NULL AND NOT EXISTS (
             SELECT FROM appointment a WHERE a.company_id = c.company_id AND a.appointment_id = c.appointment_id
               AND a.call_id = c.call_id AND a.customer_id = c.customer_id))
    UNION ALL
    -- an appointment of a call without the call, its time, its history, its jobs, its decision
    SELECT FROM appointment a WHERE a.call_id IS NOT NULL AND NOT (
       EXISTS (SELECT FROM call c WHERE c.company_id = a.company_id AND c.call_id = a.call_id
                 AND c.customer_id = a.customer_id)
       AND EXISTS (SELECT FROM segment g JOIN slot s USING (company_id, appointment_id, slot_id)
                   WHERE g.company_id = a.company_id AND g.appointment_id = a.appointment_id)
       AND EXISTS (SELECT FROM appointment_event e WHERE e.company_id = a.company_id
                     AND e.appointment_id = a.appointment_id AND e.version = 1)
       AND EXISTS (SELECT FROM job j WHERE j.company_id = a.company_id AND j.appointment_id = a.appointment_id
                     AND j.kind = 'booking')
       AND EXISTS (SELECT FROM job j WHERE j.company_id = a.company_id AND j.appointment_id = a.appointment_id
                     AND j.kind = 'customer')
       AND EXISTS (SELECT FROM request_key k WHERE k.company_id = a.company_id
                     AND k.appointment_id = a.appointment_id))
    UNION ALL
    -- what was told and will never be heard
    SELECT FROM call_event e WHERE NOT EXISTS (
       SELECT FROM job j WHERE j.company_id = e.company_id AND j.kind = 'call' AND j.subject = e.call_id)) torn";

impl World {
    /// Rows of a call that is not there as a whole: never one, at no moment.
    pub async fn torn_calls(&self) -> i64 {
        self.count(TORN).await
    }

    /// A call as Retell describes it at its end.
    pub fn call(call_id: &str, from: &str) -> Value {
        json!({"call_id": call_id, "from_number": from, "to_number": BRANCH_PHONE, "direction": "inbound",
               "start_timestamp": 1_760_700_000_000_i64, "end_timestamp": 1_760_700_060_000_i64,
               "call_analysis": {"call_summary": format!("About {call_id}"), "call_successful": true}})
    }
}
