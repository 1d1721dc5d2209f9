-- One bucket per key of Cal.com for the whole fleet: what was asked with it, whether it rests, whether Cal.com answers.
-- Two companies may share a key, so it is found by the key's fingerprint: 16 bytes of a hash, of no use without the key.
CREATE TABLE calcom_key (
  fingerprint bytea NOT NULL,
  second bigint NOT NULL DEFAULT 0, -- the newest one that is counted, since 1970
  granted int[] NOT NULL DEFAULT '{}', -- in that second, in the one before it, …
  paused_until timestamptz,
  strikes smallint NOT NULL DEFAULT 0, -- requests in a row without a usable answer
  struck_at timestamptz, -- when the first of them was heard of
  next_probe_at timestamptz, -- set as long as Cal.com is taken to be down
  probes int NOT NULL DEFAULT 0,
  probing boolean NOT NULL DEFAULT false,
  up_since timestamptz, -- the end of the last outage
  CONSTRAINT one_bucket_per_calcom_key PRIMARY KEY (fingerprint),
  CONSTRAINT calcom_key_fingerprint_has_16_bytes CHECK (octet_length(fingerprint) = 16),
  CONSTRAINT calcom_key_is_probed_only_while_down CHECK (next_probe_at IS NOT NULL OR (probes = 0 AND NOT probing))
) WITH (fillfactor = 50); -- every request updates it: let the new version find room on the page

ALTER TABLE company_secret ADD COLUMN fingerprint bytea,
  ADD CONSTRAINT secret_has_a_fingerprint_only_for_calcom
    CHECK (fingerprint IS NULL OR (kind = 'calcom' AND octet_length(fingerprint) = 16));
CREATE INDEX companies_by_calcom_key ON company_secret (fingerprint) WHERE fingerprint IS NOT NULL;

DROP TABLE calcom_pause;
