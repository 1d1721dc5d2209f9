-- Who calls, and the calls. A customer is a number or, when it is withheld, the one call: never both, never neither.
CREATE TABLE customer (
  company_id int NOT NULL,
  customer_id uuid NOT NULL,
  phone text COLLATE "C",
  anonymous_call_id text COLLATE "C",
  name text,
  name_learnt_at timestamptz,
  email text,
  email_learnt_at timestamptz,
  language text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz,
  CONSTRAINT one_customer_per_id PRIMARY KEY (company_id, customer_id),
  -- over all rows: the upsert revives one that was deleted softly
  CONSTRAINT one_customer_per_phone UNIQUE (company_id, phone),
  CONSTRAINT one_customer_per_anonymous_call UNIQUE (company_id, anonymous_call_id),
  CONSTRAINT customer_is_a_phone_or_a_call CHECK ((phone IS NULL) <> (anonymous_call_id IS NULL)),
  CONSTRAINT customer_phone_is_e164 CHECK (phone ~ '^\+[1-9][0-9]{5,14}$')
);

CREATE TABLE call (
  company_id int NOT NULL,
  call_id text COLLATE "C" NOT NULL,
  from_number text,
  to_number text,
  customer_id uuid,
  appointment_id uuid,   -- what its last success was about
  last_request_key text, -- which request that success answered: only this one may be replayed inside the call
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT one_call_per_retell_id PRIMARY KEY (company_id, call_id)
);
