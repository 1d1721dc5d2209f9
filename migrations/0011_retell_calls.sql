-- What Retell tells of a call, and what its agent said last to a function.

ALTER TABLE job DROP CONSTRAINT job_kind_is_known;
ALTER TABLE job ADD CONSTRAINT job_kind_is_known
  CHECK (kind IN ('booking', 'sync', 'customer', 'calcom_event', 'call'));

-- The inbox of call events: each once a call, whatever its second delivery says. The transcript is not kept.
CREATE TABLE call_event (
  company_id int NOT NULL,
  call_id text COLLATE "C" NOT NULL,
  event text COLLATE "C" NOT NULL,
  phone text COLLATE "C", -- the customer's, E.164; NULL = withheld
  from_number text,
  to_number text,
  direction text COLLATE "C",
  started_at timestamptz, -- by Retell's clock
  ended_at timestamptz,
  end_reason text,
  sentiment text,
  successful boolean,
  voicemail boolean,
  summary text,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT one_event_per_call_and_name PRIMARY KEY (company_id, call_id, event),
  CONSTRAINT call_event_is_known CHECK (event IN ('call_started', 'call_ended', 'call_analyzed')),
  CONSTRAINT call_event_direction_is_known CHECK (direction IN ('inbound', 'outbound')),
  CONSTRAINT call_event_phone_is_e164 CHECK (phone ~ '^\+[1-9][0-9]{5,14}$')
);

-- What all events of a call tell together, written by its `call` job; NULL status: none has come.
ALTER TABLE call
  ADD COLUMN status text COLLATE "C",
  ADD COLUMN direction text COLLATE "C",
  ADD COLUMN started_at timestamptz,
  ADD COLUMN ended_at timestamptz,
  ADD COLUMN end_reason text,
  ADD COLUMN sentiment text,
  ADD COLUMN successful boolean,
  ADD COLUMN voicemail boolean,
  ADD COLUMN summary text,
  ADD CONSTRAINT call_status_is_known CHECK (status IN ('ongoing', 'ended')),
  ADD CONSTRAINT call_that_was_told_of_has_a_customer CHECK (status IS NULL OR customer_id IS NOT NULL);

-- A retry of the agent may hold nothing but a call's id: then it means what it said before. Not logged, so that what was
-- said is in no backup and no copy; all of it may be lost at any time.
CREATE UNLOGGED TABLE call_said (
  company_id int NOT NULL,
  call_id text COLLATE "C" NOT NULL,
  function text COLLATE "C" NOT NULL,
  arguments text NOT NULL,
  said_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT one_saying_per_call_and_function PRIMARY KEY (company_id, call_id, function),
  CONSTRAINT saying_has_at_most_8_kib CHECK (octet_length(arguments) <= 8192)
);
CREATE INDEX sayings_by_age ON call_said (said_at);
