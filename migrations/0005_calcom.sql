-- Cal.com: what we asked of it, when its key rests, what others booked there, and what it told us.
CREATE TABLE calcom_op (
  company_id int NOT NULL,
  appointment_id uuid NOT NULL,
  op_id uuid NOT NULL,
  segment_no smallint NOT NULL,
  kind text COLLATE "C" NOT NULL,
  appointment_version int NOT NULL,
  job_id uuid NOT NULL,
  fence bigint NOT NULL,
  event_type_id bigint,
  starts_at timestamptz,
  ends_at timestamptz,
  target_uid text,
  slot_id uuid,
  state text COLLATE "C" NOT NULL DEFAULT 'sent',
  sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  deadline_at timestamptz NOT NULL,
  resolved_at timestamptz,
  answered_status smallint,
  uid text,
  looks smallint NOT NULL DEFAULT 0,
  next_look_at timestamptz,
  CONSTRAINT one_op_per_id PRIMARY KEY (company_id, appointment_id, op_id),
  CONSTRAINT op_state_is_known CHECK (state IN ('sent', 'unknown', 'applied', 'refused', 'never')),
  CONSTRAINT op_is_resolved_iff_it_has_an_end CHECK ((state IN ('sent', 'unknown')) = (resolved_at IS NULL)),
  CONSTRAINT op_kind_is_known CHECK (kind IN ('create', 'cancel', 'reschedule')),
  CONSTRAINT op_says_what_it_asks
    CHECK ((kind = 'create') = (target_uid IS NULL) AND (kind <> 'create' OR event_type_id IS NOT NULL)
           AND (kind = 'cancel' OR (starts_at IS NOT NULL AND ends_at IS NOT NULL)))
);
CREATE UNIQUE INDEX one_unresolved_op_per_appointment ON calcom_op (company_id, appointment_id)
  WHERE state IN ('sent', 'unknown');

CREATE TABLE calcom_pause (
  company_id int NOT NULL,
  until timestamptz NOT NULL,
  CONSTRAINT one_pause_per_company PRIMARY KEY (company_id)
);

CREATE TABLE external_busy (
  company_id int NOT NULL,
  calcom_uid text COLLATE "C" NOT NULL,
  staff_id int NOT NULL,
  during tstzrange NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT one_busy_time_per_booking PRIMARY KEY (company_id, calcom_uid),
  CONSTRAINT busy_time_is_finite_half_open_not_empty
    CHECK (lower_inc(during) AND NOT upper_inc(during)
           AND COALESCE(isfinite(lower(during)) AND isfinite(upper(during)), false))
);
CREATE INDEX busy_times_by_staff ON external_busy USING gist (company_id, staff_id, during);

CREATE TABLE webhook_inbox (
  company_id int NOT NULL,
  body_hash bytea NOT NULL, -- sha256 of the raw body
  source text COLLATE "C" NOT NULL,
  body bytea NOT NULL,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  applied_at timestamptz,
  CONSTRAINT one_inbox_row_per_body PRIMARY KEY (company_id, body_hash),
  CONSTRAINT inbox_source_is_known CHECK (source IN ('calcom', 'retell')),
  CONSTRAINT inbox_hash_is_sha256 CHECK (octet_length(body_hash) = 32)
);
