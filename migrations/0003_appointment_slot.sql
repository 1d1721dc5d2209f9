-- What a customer has been promised (appointment), what is at Cal.com (segment), and what occupies a member of staff (slot).
CREATE TABLE appointment (
  company_id int NOT NULL,
  appointment_id uuid NOT NULL,
  customer_id uuid NOT NULL,
  branch_id int NOT NULL,
  service_id int NOT NULL,
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  time_zone text NOT NULL,
  status text COLLATE "C" NOT NULL,
  version int NOT NULL DEFAULT 1, -- counts the promise only: status, time, staff, service; each bump is one event
  source text COLLATE "C" NOT NULL,
  call_id text COLLATE "C",
  given_name text NOT NULL,
  given_email text,
  given_phone text,
  language text NOT NULL,
  notes text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT one_appointment_per_id PRIMARY KEY (company_id, appointment_id),
  CONSTRAINT appointment_status_is_known
    CHECK (status IN ('requested', 'scheduled', 'completed', 'no_show', 'cancelled', 'rejected')),
  CONSTRAINT appointment_source_is_known CHECK (source IN ('api', 'voice')),
  CONSTRAINT appointment_ends_after_it_starts CHECK (starts_at < ends_at)
);
CREATE INDEX appointments_by_customer ON appointment (company_id, customer_id, starts_at);
CREATE INDEX appointments_by_call ON appointment (company_id, call_id) WHERE call_id IS NOT NULL;

CREATE TABLE segment (
  company_id int NOT NULL,
  appointment_id uuid NOT NULL,
  segment_no smallint NOT NULL,
  staff_id int NOT NULL,
  event_type_id bigint NOT NULL,
  lineage uuid NOT NULL,       -- our name for the chain of Cal.com bookings; the marker carries it
  slot_id uuid NOT NULL,       -- promised
  calcom_uid text,
  calcom_slot_id uuid,         -- the slot its live booking stands on
  sync text COLLATE "C" NOT NULL DEFAULT 'pending',
  CONSTRAINT one_segment_per_number PRIMARY KEY (company_id, appointment_id, segment_no),
  CONSTRAINT one_segment_per_lineage UNIQUE (company_id, lineage),
  CONSTRAINT segment_sync_is_known
    CHECK (sync IN ('pending', 'in_flight', 'synced', 'awaiting_confirmation', 'unknown', 'needs_review', 'orphaned')),
  CONSTRAINT segment_booking_stands_on_a_slot CHECK ((calcom_uid IS NULL) = (calcom_slot_id IS NULL))
);

CREATE TABLE slot (
  company_id int NOT NULL,
  appointment_id uuid NOT NULL, -- a hold bears the id that its appointment will have; NULL would conflict with nothing
  slot_id uuid NOT NULL,
  segment_no smallint NOT NULL,
  staff_id int NOT NULL,
  during tstzrange NOT NULL,
  state text COLLATE "C" NOT NULL,
  promise_version int NOT NULL,
  expires_at timestamptz,
  token_hash bytea,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz,
  CONSTRAINT one_slot_per_id PRIMARY KEY (company_id, appointment_id, slot_id),
  CONSTRAINT slot_state_is_known CHECK (state IN ('held', 'booked', 'released', 'expired')),
  CONSTRAINT slot_has_a_token_iff_held
    CHECK ((state = 'held') = (token_hash IS NOT NULL) AND (state <> 'held' OR expires_at IS NOT NULL)),
  -- else `[x,)` is NULL and passes
  CONSTRAINT slot_is_finite_half_open_not_empty
    CHECK (lower_inc(during) AND NOT upper_inc(during)
           AND COALESCE(isfinite(lower(during)) AND isfinite(upper(during)), false)),
  -- The only truth about double booking. `<>`: one appointment holds its old and its new time during a reschedule.
  CONSTRAINT slots_no_overlap
    EXCLUDE USING gist (company_id WITH =, staff_id WITH =, during WITH &&, appointment_id WITH <>)
    WHERE (state IN ('held', 'booked'))
);
CREATE INDEX holds_by_expiry ON slot (expires_at) WHERE state = 'held';

CREATE TABLE appointment_event (
  company_id int NOT NULL,
  appointment_id uuid NOT NULL,
  version int NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  what text NOT NULL,
  from_status text COLLATE "C",
  to_status text COLLATE "C" NOT NULL,
  who text NOT NULL,
  why text,
  job_id uuid,
  fence bigint,
  policy_version int,
  CONSTRAINT one_event_per_version PRIMARY KEY (company_id, appointment_id, version)
);
