-- What a business allows, version by version; what a change of an appointment was decided by; and whom to ring at whose wish.

-- One row per company: its newest number. Who decides by policies reads it FOR SHARE, who publishes takes it FOR UPDATE:
-- what a decision was made by is what is in force when it commits.
CREATE TABLE policy_head (
  company_id int NOT NULL,
  version int NOT NULL DEFAULT 0, -- 0: nothing was ever published
  CONSTRAINT one_policy_head_per_company PRIMARY KEY (company_id),
  CONSTRAINT policy_head_belongs_to_a_company FOREIGN KEY (company_id) REFERENCES company
);
INSERT INTO policy_head (company_id) SELECT company_id FROM company;

-- It must be there before the first decision: a row that does not exist cannot be locked.
CREATE FUNCTION company_has_a_policy_head() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO policy_head (company_id) VALUES (NEW.company_id);
  RETURN NULL;
END $$;
CREATE TRIGGER company_has_a_policy_head AFTER INSERT ON company
  FOR EACH ROW EXECUTE FUNCTION company_has_a_policy_head();

-- Numbered through the company: a number names all that was in force with it, the newest row of each scope up to it.
CREATE TABLE policy_version (
  company_id int NOT NULL,
  version int NOT NULL,
  scope text COLLATE "C" NOT NULL,
  scope_id int,
  content jsonb NOT NULL,
  published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  why text NOT NULL,
  CONSTRAINT one_policy_per_version PRIMARY KEY (company_id, version),
  CONSTRAINT policy_belongs_to_a_company FOREIGN KEY (company_id) REFERENCES company,
  CONSTRAINT policy_versions_begin_with_one CHECK (version > 0),
  CONSTRAINT policy_scope_is_known CHECK (scope IN ('company', 'branch', 'service', 'staff')),
  CONSTRAINT policy_scope_has_an_id_unless_company CHECK ((scope = 'company') = (scope_id IS NULL)),
  CONSTRAINT policy_content_is_an_object CHECK (jsonb_typeof(content) = 'object')
);
CREATE INDEX policies_by_scope ON policy_version (company_id, scope, scope_id, version);

CREATE FUNCTION policy_version_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'policy_version is append-only: publish a new version'
    USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'policy_version_is_append_only';
END $$;
CREATE TRIGGER policy_version_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON policy_version
  FOR EACH STATEMENT EXECUTE FUNCTION policy_version_is_append_only();

-- What the change was decided by (appointment_event.policy_version: the company's newest number then), and what it costs.
ALTER TABLE appointment_event
  ADD COLUMN fee_minor bigint,
  ADD COLUMN fee_currency text COLLATE "C",
  ADD CONSTRAINT event_fee_is_an_amount
    CHECK ((fee_minor IS NULL) = (fee_currency IS NULL) AND fee_minor >= 0 AND fee_currency ~ '^[A-Z]{3}$'),
  ADD CONSTRAINT event_fee_comes_from_a_policy CHECK (fee_minor IS NULL OR COALESCE(policy_version, 0) > 0);

-- A callback that somebody has asked for: in which call, where to ring him, and what he said.
ALTER TABLE callback_request
  ADD COLUMN call_id text COLLATE "C",
  ADD COLUMN phone text COLLATE "C",
  ADD COLUMN customer_name text,
  ADD COLUMN said text,
  ADD COLUMN assigned_to text,
  ADD COLUMN assigned_at timestamptz,
  ADD CONSTRAINT callback_phone_is_e164 CHECK (phone ~ '^\+[1-9][0-9]{5,14}$'),
  ADD CONSTRAINT callback_is_assigned_to_somebody CHECK ((assigned_to IS NULL) = (assigned_at IS NULL));
-- Said twice in one call it is one wish. Hashed: what people say is longer than an index takes.
CREATE UNIQUE INDEX one_callback_per_call_and_reason ON callback_request (company_id, call_id, reason, md5(COALESCE(said, '')))
  WHERE call_id IS NOT NULL;
