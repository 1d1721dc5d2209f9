-- The ledger of jobs. A key is (kind, subject); the two partial unique indexes are the whole semantics of uniqueness.
CREATE TABLE job (
  company_id int NOT NULL,
  job_id uuid NOT NULL,
  kind text COLLATE "C" NOT NULL,
  subject text COLLATE "C" NOT NULL,
  appointment_id uuid, -- whose lock covers it
  state text COLLATE "C" NOT NULL DEFAULT 'available',
  run_at timestamptz NOT NULL DEFAULT now(),
  not_before timestamptz NOT NULL DEFAULT '-infinity', -- a floor that coalescing never lowers
  rung_at timestamptz NOT NULL DEFAULT '-infinity',
  expected_version int,
  fence bigint NOT NULL DEFAULT 0, -- rises with every change of state
  attempt smallint NOT NULL DEFAULT 0,
  crashes smallint NOT NULL DEFAULT 0,
  worker text,
  lease_until timestamptz,
  started_at timestamptz,
  finished_at timestamptz,
  found_version int,
  found_status text COLLATE "C",
  created_at timestamptz NOT NULL DEFAULT now(),
  outcome text,
  superseded_by uuid,
  CONSTRAINT one_job_per_id PRIMARY KEY (company_id, job_id),
  CONSTRAINT job_kind_is_known CHECK (kind IN ('booking', 'sync', 'customer')),
  CONSTRAINT job_state_is_known
    CHECK (state IN ('available', 'retryable', 'running', 'completed', 'superseded', 'cancelled', 'parked')),
  CONSTRAINT job_runs_not_before_its_floor CHECK (run_at >= not_before),
  CONSTRAINT job_has_a_lease_iff_running CHECK ((state = 'running') = (lease_until IS NOT NULL)),
  CONSTRAINT job_has_an_end_iff_finished
    CHECK ((state IN ('completed', 'superseded', 'cancelled', 'parked')) = (finished_at IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE UNIQUE INDEX one_waiting_job_per_key ON job (company_id, subject, kind)
  WHERE state IN ('available', 'retryable');
CREATE UNIQUE INDEX one_running_job_per_key ON job (company_id, subject, kind) WHERE state = 'running';
CREATE INDEX waiting_jobs_by_time ON job (run_at) WHERE state IN ('available', 'retryable');
CREATE INDEX jobs_by_appointment ON job (company_id, appointment_id);

-- Written once, when the attempt ends.
CREATE TABLE job_attempt (
  company_id int NOT NULL,
  job_id uuid NOT NULL,
  fence bigint NOT NULL,
  started_at timestamptz NOT NULL,
  ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  seen_version int,
  worker text,
  outcome text NOT NULL,
  CONSTRAINT one_attempt_per_fence PRIMARY KEY (company_id, job_id, fence)
);
CREATE INDEX parked_jobs ON job (company_id, kind) WHERE state = 'parked';
