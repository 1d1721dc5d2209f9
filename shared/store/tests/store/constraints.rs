//! Each constraint violated once: it comes back by its name, and none is left out.

use crate::world::World;
use sqlx::AssertSqlSafe;
use std::collections::BTreeSet;
use store::StoreError;

/// One row in every table that the booking of the test does not fill.
const ROWS: [&str; 9] = [
    "INSERT INTO company_secret (company_id, kind, key_id, nonce, sealed) VALUES (1, 'retell', 'k', '123456789012', '12345678901234567')",
    "INSERT INTO api_key (company_id, key_id, secret_hash, scopes) VALUES (1, 'k', sha256('x'), '{read}')",
    "INSERT INTO call (company_id, call_id) VALUES (1, 'c')",
    "INSERT INTO job_attempt (company_id, job_id, fence, started_at, outcome) VALUES (1, gen_random_uuid(), 1, now(), 'x')",
    "INSERT INTO calcom_op (company_id, appointment_id, op_id, segment_no, kind, appointment_version, job_id, fence,
       event_type_id, starts_at, ends_at, deadline_at)
     SELECT 1, appointment_id, gen_random_uuid(), 1, 'create', 1, gen_random_uuid(), 1, 101, now(), now(), now() FROM appointment",
    "INSERT INTO calcom_key (fingerprint) VALUES ('1234567890123456')",
    "INSERT INTO external_busy (company_id, calcom_uid, staff_id, during) VALUES (1, 'u', 1, '[2020-01-01,2020-01-02)')",
    "INSERT INTO webhook_inbox (company_id, body_hash, source, body) VALUES (1, sha256('x'), 'calcom', 'x')",
    "INSERT INTO operator_action (company_id, action_id, who, what, subject) VALUES (1, gen_random_uuid(), 'o', 'x', 'y')",
];

const MORE_ROWS: [&str; 8] = [
    "INSERT INTO policy_version (company_id, version, scope, content, why) VALUES (1, 1, 'company', '{}', 'x')",
    "INSERT INTO spare_booking (company_id, appointment_id, calcom_uid, segment_no) VALUES (1, gen_random_uuid(), 'u', 1)",
    "INSERT INTO calcom_cursor (company_id) VALUES (1)",
    "INSERT INTO callback_request (company_id, callback_id, reason, call_id) VALUES (1, gen_random_uuid(), 'x', 'c')",
    "INSERT INTO request_key (company_id, key, body_hash, appointment_id) VALUES (1, 'k', sha256('x'), gen_random_uuid())",
    "INSERT INTO customer (company_id, customer_id, anonymous_call_id, language) VALUES (1, gen_random_uuid(), 'c', 'de')",
    "INSERT INTO call_event (company_id, call_id, event) VALUES (1, 'c', 'call_started')",
    "INSERT INTO call_said (company_id, call_id, function, arguments) VALUES (1, 'c', 'book_appointment', '{}')",
];

/// As `UNTRUE`, of policies and callbacks.
const UNTRUE_OF_POLICIES: [(&str, &str); 11] = [
    ("policy_head_belongs_to_a_company", "UPDATE policy_head SET company_id = 9"),
    (
        "policy_belongs_to_a_company",
        "INSERT INTO policy_version (company_id, version, scope, content, why) VALUES (9, 1, 'company', '{}', 'x')",
    ),
    (
        "policy_versions_begin_with_one",
        "INSERT INTO policy_version (company_id, version, scope, content, why) VALUES (1, 0, 'company', '{}', 'x')",
    ),
    (
        "policy_scope_is_known",
        "INSERT INTO policy_version (company_id, version, scope, scope_id, content, why) VALUES (1, 2, 'chair', 1, '{}', 'x')",
    ),
    (
        "policy_scope_has_an_id_unless_company",
        "INSERT INTO policy_version (company_id, version, scope, content, why) VALUES (1, 2, 'staff', '{}', 'x')",
    ),
    (
        "policy_content_is_an_object",
        "INSERT INTO policy_version (company_id, version, scope, content, why) VALUES (1, 2, 'company', '[]', 'x')",
    ),
    ("event_fee_is_an_amount", "UPDATE appointment_event SET fee_minor = -1, fee_currency = 'EUR', policy_version = 1"),
    ("event_fee_comes_from_a_policy", "UPDATE appointment_event SET fee_minor = 1, fee_currency = 'EUR'"),
    ("callback_phone_is_e164", "UPDATE callback_request SET phone = '0151'"),
    ("callback_is_assigned_to_somebody", "UPDATE callback_request SET assigned_to = 'x'"),
    (
        "one_callback_per_call_and_reason",
        "INSERT INTO callback_request (company_id, callback_id, reason, call_id) VALUES (1, gen_random_uuid(), 'x', 'c')",
    ),
];

/// A statement that would make the sentence untrue.
const UNTRUE: [(&str, &str); 71] = [
    ("external_changes_is_known", "UPDATE company SET external_changes = 'ignore'"),
    ("inbox_hint_names_a_booking", "UPDATE webhook_inbox SET subject = 'x'"),
    (
        "one_company_per_slug",
        "INSERT INTO company (slug, name, time_zone, language) VALUES ('salon', 'x', 'UTC', 'de')",
    ),
    ("company_slug_fits_in_a_path", "UPDATE company SET slug = 'A b'"),
    (
        "branch_belongs_to_a_company",
        "INSERT INTO branch (company_id, branch_id, name, time_zone) VALUES (9, 1, 'x', 'UTC')",
    ),
    ("branch_phone_rings_in_a_branch", "UPDATE branch_phone SET branch_id = 9"),
    ("opening_is_of_a_branch", "UPDATE branch_opening SET branch_id = 9"),
    ("opening_is_on_an_iso_weekday", "UPDATE branch_opening SET weekday = 8 WHERE weekday = 7"),
    ("opening_closes_after_it_opens", "UPDATE branch_opening SET closes = opens"),
    ("staff_works_in_a_branch", "UPDATE staff SET branch_id = 9"),
    (
        "service_belongs_to_a_company",
        "INSERT INTO service (company_id, service_id, name, duration_minutes, minimum_notice_minutes) VALUES (9, 1, 'x', 30, 0)",
    ),
    ("service_lasts_a_minute_to_a_day", "UPDATE service SET duration_minutes = 0"),
    ("service_notice_is_at_most_45_days", "UPDATE service SET minimum_notice_minutes = 64801"),
    ("alias_names_a_service", "UPDATE service_alias SET service_id = 9"),
    ("one_event_type_per_branch_service_and_staff", "UPDATE event_type SET staff_id = 1 WHERE event_type_id = 102"),
    ("event_type_is_of_a_branch", "UPDATE event_type SET branch_id = 9"),
    ("event_type_is_of_a_service", "UPDATE event_type SET service_id = 9 WHERE event_type_id = 104"),
    ("event_type_has_a_host", "UPDATE event_type SET staff_id = 9 WHERE event_type_id = 101"),
    ("secret_belongs_to_a_company", "UPDATE company_secret SET company_id = 9"),
    ("secret_kind_is_known", "UPDATE company_secret SET kind = 'x'"),
    ("secret_has_a_nonce_and_a_tag", "UPDATE company_secret SET sealed = ''"),
    ("api_key_belongs_to_a_company", "UPDATE api_key SET company_id = 9"),
    ("api_key_scopes_are_known", "UPDATE api_key SET scopes = '{write}'"),
    ("api_key_hash_is_sha256", "UPDATE api_key SET secret_hash = ''"),
    (
        "one_customer_per_phone",
        "INSERT INTO customer (company_id, customer_id, phone, language) SELECT 1, gen_random_uuid(), phone, 'de' FROM customer WHERE phone IS NOT NULL",
    ),
    (
        "one_customer_per_anonymous_call",
        "INSERT INTO customer (company_id, customer_id, anonymous_call_id, language) VALUES (1, gen_random_uuid(), 'c', 'de')",
    ),
    ("customer_is_a_phone_or_a_call", "UPDATE customer SET phone = NULL, anonymous_call_id = NULL"),
    ("customer_phone_is_e164", "UPDATE customer SET phone = '0151' WHERE phone IS NOT NULL"),
    ("appointment_status_is_known", "UPDATE appointment SET status = 'confirmed'"),
    ("appointment_source_is_known", "UPDATE appointment SET source = 'fax'"),
    ("appointment_ends_after_it_starts", "UPDATE appointment SET ends_at = starts_at"),
    (
        "one_segment_per_lineage",
        "INSERT INTO segment (company_id, appointment_id, segment_no, staff_id, event_type_id, lineage, slot_id) SELECT company_id, appointment_id, 2, staff_id, event_type_id, lineage, slot_id FROM segment",
    ),
    ("segment_sync_is_known", "UPDATE segment SET sync = 'done'"),
    ("segment_booking_stands_on_a_slot", "UPDATE segment SET calcom_uid = 'u'"),
    ("slot_state_is_known", "UPDATE slot SET state = 'free'"),
    ("slot_has_a_token_iff_held", "UPDATE slot SET state = 'held', held_by = 'key:k'"),
    ("slot_has_a_holder_while_held", "UPDATE slot SET state = 'held', expires_at = now(), token_hash = 'x'"),
    (
        "one_hold_per_token",
        "INSERT INTO slot (company_id, appointment_id, slot_id, segment_no, staff_id, during, state, promise_version, expires_at, token_hash, held_by) SELECT 1, gen_random_uuid(), gen_random_uuid(), 1, n, '[2020-01-01,2020-01-02)', 'held', 1, now(), 'x', 'key:k' FROM generate_series(2, 3) n",
    ),
    ("slot_is_finite_half_open_not_empty", "UPDATE slot SET during = tstzrange(lower(during), NULL)"),
    ("slot_is_finite_half_open_not_empty", "UPDATE slot SET during = 'empty'"),
    ("slot_is_finite_half_open_not_empty", "UPDATE slot SET during = tstzrange(lower(during), upper(during), '[]')"),
    (
        "slots_no_overlap",
        "INSERT INTO slot (company_id, appointment_id, slot_id, segment_no, staff_id, during, state, promise_version) SELECT company_id, gen_random_uuid(), gen_random_uuid(), 1, staff_id, during, 'booked', 1 FROM slot",
    ),
    ("job_kind_is_known", "UPDATE job SET kind = 'fax'"),
    ("job_state_is_known", "UPDATE job SET state = 'open'"),
    ("job_runs_not_before_its_floor", "UPDATE job SET not_before = run_at + interval '1 s'"),
    ("job_has_a_lease_iff_running", "UPDATE job SET state = 'running'"),
    ("job_has_an_end_iff_finished", "UPDATE job SET state = 'completed'"),
    (
        "one_waiting_job_per_key",
        "INSERT INTO job (company_id, job_id, kind, subject) SELECT company_id, gen_random_uuid(), kind, subject FROM job",
    ),
    (
        "one_running_job_per_key",
        "INSERT INTO job (company_id, job_id, kind, subject, state, lease_until) SELECT 1, gen_random_uuid(), 'sync', 'x', 'running', now() FROM generate_series(1, 2)",
    ),
    ("op_state_is_known", "UPDATE calcom_op SET state = 'done', resolved_at = now()"),
    ("op_is_resolved_iff_it_has_an_end", "UPDATE calcom_op SET state = 'applied'"),
    ("op_kind_is_known", "UPDATE calcom_op SET kind = 'move', target_uid = 'u'"),
    ("op_says_what_it_asks", "UPDATE calcom_op SET target_uid = 'u'"),
    ("op_says_what_it_asks", "UPDATE calcom_op SET starts_at = NULL"),
    (
        "one_unresolved_op_per_appointment",
        "INSERT INTO calcom_op SELECT company_id, appointment_id, gen_random_uuid(), segment_no, kind, appointment_version, job_id, fence, event_type_id, starts_at, ends_at, target_uid, slot_id, 'unknown', sent_at, deadline_at FROM calcom_op",
    ),
    ("busy_time_is_finite_half_open_not_empty", "UPDATE external_busy SET during = '[2020-01-01,)'"),
    ("calcom_key_fingerprint_has_16_bytes", "UPDATE calcom_key SET fingerprint = 'short'"),
    ("calcom_key_is_probed_only_while_down", "UPDATE calcom_key SET probing = true"),
    ("secret_has_a_fingerprint_only_for_calcom", "UPDATE company_secret SET fingerprint = '1234567890123456'"),
    ("secret_has_a_fingerprint_only_for_calcom", "UPDATE company_secret SET kind = 'calcom', fingerprint = 'short'"),
    ("inbox_source_is_known", "UPDATE webhook_inbox SET source = 'fax'"),
    ("inbox_hash_is_sha256", "UPDATE webhook_inbox SET body_hash = ''"),
    ("request_hash_is_sha256", "UPDATE request_key SET body_hash = ''"),
    ("request_key_has_1_to_300_characters", "UPDATE request_key SET key = ''"),
    ("request_key_has_1_to_300_characters", "UPDATE request_key SET key = repeat('x', 301)"),
    ("call_event_is_known", "UPDATE call_event SET event = 'call_inbound'"),
    ("call_event_direction_is_known", "UPDATE call_event SET direction = 'sideways'"),
    ("call_event_phone_is_e164", "UPDATE call_event SET phone = '0151'"),
    ("call_status_is_known", "UPDATE call SET customer_id = gen_random_uuid(), status = 'error'"),
    ("call_that_was_told_of_has_a_customer", "UPDATE call SET status = 'ongoing'"),
    ("saying_has_at_most_8_kib", "UPDATE call_said SET arguments = repeat('x', 8193)"),
];

#[tokio::test]
async fn every_constraint_holds_and_comes_back_by_its_name() {
    let world = World::new().await;
    world.store.accept_booking(&world.wish(1, 0)).await.unwrap();
    for row in ROWS.into_iter().chain(MORE_ROWS) {
        world.sql(row).await;
    }
    let (mut tried, mut wrong) = (BTreeSet::new(), Vec::new());
    for (name, sql) in UNTRUE.into_iter().chain(UNTRUE_OF_POLICIES) {
        match sqlx::query(sql).execute(&world.pool).await.map_err(StoreError::from) {
            Err(StoreError::Refused { constraint }) if constraint == name => {}
            other => wrong.push((name, other)),
        }
        tried.insert(name.to_owned());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A primary key is violated by the same row again.
    let keys: Vec<(String, String)> = sqlx::query_as(
        "SELECT conrelid::regclass::text, conname::text FROM pg_constraint
         WHERE contype = 'p' AND connamespace = 'public'::regnamespace AND conrelid::regclass::text <> '_sqlx_migrations'",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    for (table, name) in keys {
        let again = format!("INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM {table}");
        let again = if ["company", "company_secret"].contains(&table.as_str()) {
            again
        } else {
            again.replace(" OVERRIDING SYSTEM VALUE", "")
        };
        let done = sqlx::query(AssertSqlSafe(again)).execute(&world.pool).await;
        let error = done.err().unwrap_or_else(|| panic!("{table} has no row to repeat"));
        let refused = StoreError::from(error);
        assert!(matches!(&refused, StoreError::Refused { constraint } if *constraint == name), "{name}: {refused:?}");
        tried.insert(name);
    }
    let all: Vec<String> = sqlx::query_scalar(
        "SELECT conname::text FROM pg_constraint WHERE connamespace = 'public'::regnamespace
           AND conrelid::regclass::text <> '_sqlx_migrations'
         UNION SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
         WHERE indisunique AND relnamespace = 'public'::regnamespace AND relname <> '_sqlx_migrations'",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let left_out: Vec<_> = all.iter().filter(|name| !tried.contains(*name)).collect();
    assert!(left_out.is_empty(), "never violated: {left_out:?}");
    world.gone().await;
}
