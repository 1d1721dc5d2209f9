-- The decision that a request key has had, whom a person must ring, and what operators did.
CREATE TABLE request_key (
  company_id int NOT NULL,
  key text COLLATE "C" NOT NULL,
  body_hash bytea NOT NULL,
  appointment_id uuid NOT NULL, -- ids only, never a live state
  job_id uuid,
  appointment_version int,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT one_decision_per_request_key PRIMARY KEY (company_id, key),
  CONSTRAINT request_hash_is_sha256 CHECK (octet_length(body_hash) = 32),
  CONSTRAINT request_key_has_1_to_300_characters CHECK (length(key) BETWEEN 1 AND 300)
);

CREATE TABLE callback_request (
  company_id int NOT NULL,
  callback_id uuid NOT NULL,
  appointment_id uuid,
  reason text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  done_at timestamptz,
  CONSTRAINT one_callback_per_id PRIMARY KEY (company_id, callback_id)
);
CREATE INDEX callbacks_by_appointment ON callback_request (company_id, appointment_id);
CREATE INDEX open_callbacks ON callback_request (company_id, created_at) WHERE done_at IS NULL;

CREATE TABLE operator_action (
  company_id int NOT NULL,
  action_id uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  who text NOT NULL,
  what text NOT NULL,
  subject text NOT NULL,
  why text,
  CONSTRAINT one_operator_action_per_id PRIMARY KEY (company_id, action_id)
);
