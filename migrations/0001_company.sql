-- Whom we work for: a company, its catalog, its secrets and its keys. Every table carries company_id, first in each key.
CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE TABLE company (
  company_id int GENERATED ALWAYS AS IDENTITY,
  slug text COLLATE "C" NOT NULL,
  name text NOT NULL,
  time_zone text NOT NULL,
  language text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT one_company_per_id PRIMARY KEY (company_id),
  CONSTRAINT one_company_per_slug UNIQUE (slug),
  CONSTRAINT company_slug_fits_in_a_path CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$')
);

-- What a catalog no longer names is retired, never deleted: appointments and history still point at it.
CREATE TABLE branch (
  company_id int NOT NULL,
  branch_id int NOT NULL,
  name text NOT NULL,
  time_zone text NOT NULL,
  retired_at timestamptz,
  CONSTRAINT one_branch_per_id PRIMARY KEY (company_id, branch_id),
  CONSTRAINT branch_belongs_to_a_company FOREIGN KEY (company_id) REFERENCES company
);

CREATE TABLE branch_phone (
  company_id int NOT NULL,
  phone text COLLATE "C" NOT NULL,
  branch_id int NOT NULL,
  CONSTRAINT one_branch_per_phone PRIMARY KEY (company_id, phone),
  CONSTRAINT branch_phone_rings_in_a_branch FOREIGN KEY (company_id, branch_id) REFERENCES branch
);

CREATE TABLE branch_opening (
  company_id int NOT NULL,
  branch_id int NOT NULL,
  weekday smallint NOT NULL, -- ISO: 1 = Monday … 7 = Sunday
  opens time NOT NULL,       -- local
  closes time NOT NULL,
  CONSTRAINT one_opening_per_weekday_and_start PRIMARY KEY (company_id, branch_id, weekday, opens),
  CONSTRAINT opening_is_of_a_branch FOREIGN KEY (company_id, branch_id) REFERENCES branch,
  CONSTRAINT opening_is_on_an_iso_weekday CHECK (weekday BETWEEN 1 AND 7),
  CONSTRAINT opening_closes_after_it_opens CHECK (opens < closes)
);

CREATE TABLE staff (
  company_id int NOT NULL,
  staff_id int NOT NULL,
  branch_id int NOT NULL,
  name text NOT NULL,
  calcom_user_id bigint NOT NULL,
  retired_at timestamptz,
  CONSTRAINT one_staff_per_id PRIMARY KEY (company_id, staff_id),
  CONSTRAINT staff_works_in_a_branch FOREIGN KEY (company_id, branch_id) REFERENCES branch
);

CREATE TABLE service (
  company_id int NOT NULL,
  service_id int NOT NULL,
  name text NOT NULL,
  duration_minutes int NOT NULL,
  minimum_notice_minutes int NOT NULL,
  retired_at timestamptz,
  CONSTRAINT one_service_per_id PRIMARY KEY (company_id, service_id),
  CONSTRAINT service_belongs_to_a_company FOREIGN KEY (company_id) REFERENCES company,
  CONSTRAINT service_lasts_a_minute_to_a_day CHECK (duration_minutes BETWEEN 1 AND 1440),
  CONSTRAINT service_notice_is_at_most_45_days CHECK (minimum_notice_minutes BETWEEN 0 AND 64800)
);

CREATE TABLE service_alias (
  company_id int NOT NULL,
  service_id int NOT NULL,
  alias text NOT NULL,
  CONSTRAINT one_alias_once_per_service PRIMARY KEY (company_id, service_id, alias),
  CONSTRAINT alias_names_a_service FOREIGN KEY (company_id, service_id) REFERENCES service
);

-- A bookable event type at Cal.com has exactly one host: a round-robin one could pick another than the slot we hold.
CREATE TABLE event_type (
  company_id int NOT NULL,
  event_type_id bigint NOT NULL,
  branch_id int NOT NULL,
  service_id int NOT NULL,
  staff_id int NOT NULL,
  CONSTRAINT one_event_type_per_id PRIMARY KEY (company_id, event_type_id),
  CONSTRAINT one_event_type_per_branch_service_and_staff UNIQUE (company_id, branch_id, service_id, staff_id),
  CONSTRAINT event_type_is_of_a_branch FOREIGN KEY (company_id, branch_id) REFERENCES branch,
  CONSTRAINT event_type_is_of_a_service FOREIGN KEY (company_id, service_id) REFERENCES service,
  CONSTRAINT event_type_has_a_host FOREIGN KEY (company_id, staff_id) REFERENCES staff
);

-- Sealed with chacha20poly1305; the key comes from the environment and is named by key_id.
CREATE TABLE company_secret (
  company_id int NOT NULL,
  kind text COLLATE "C" NOT NULL,
  secret_id bigint GENERATED ALWAYS AS IDENTITY,
  key_id text COLLATE "C" NOT NULL,
  nonce bytea NOT NULL,
  sealed bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT one_secret_per_id PRIMARY KEY (company_id, kind, secret_id),
  CONSTRAINT secret_belongs_to_a_company FOREIGN KEY (company_id) REFERENCES company,
  CONSTRAINT secret_kind_is_known CHECK (kind IN ('retell', 'calcom', 'calcom_webhook')),
  CONSTRAINT secret_has_a_nonce_and_a_tag CHECK (octet_length(nonce) = 12 AND octet_length(sealed) > 16)
);

-- The token itself is never stored; secret_hash is sha256 of all of it.
CREATE TABLE api_key (
  company_id int NOT NULL,
  key_id text COLLATE "C" NOT NULL,
  secret_hash bytea NOT NULL,
  scopes text[] NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  revoked_at timestamptz,
  CONSTRAINT one_api_key_per_id PRIMARY KEY (company_id, key_id),
  CONSTRAINT api_key_belongs_to_a_company FOREIGN KEY (company_id) REFERENCES company,
  CONSTRAINT api_key_scopes_are_known CHECK (scopes <@ ARRAY['read', 'book', 'admin'] AND cardinality(scopes) > 0),
  CONSTRAINT api_key_hash_is_sha256 CHECK (octet_length(secret_hash) = 32)
);
CREATE INDEX api_keys_by_key_id ON api_key (key_id);
