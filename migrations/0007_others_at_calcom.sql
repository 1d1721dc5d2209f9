-- What others do at Cal.com: the hints we get of it, where we have read up to, and what it may do to a promise.

-- A business that cancels or moves a booking of ours at Cal.com: does the appointment follow, is it put back, or does a
-- person decide?
ALTER TABLE company
  ADD COLUMN external_changes text COLLATE "C" NOT NULL DEFAULT 'external_wins',
  ADD CONSTRAINT external_changes_is_known CHECK (external_changes IN ('external_wins', 'ours_wins', 'review'));

-- A live booking at Cal.com that bears our marker and that no promise owns. It is called off by an op of its own.
CREATE TABLE spare_booking (
  company_id int NOT NULL,
  appointment_id uuid NOT NULL,
  calcom_uid text COLLATE "C" NOT NULL,
  segment_no smallint NOT NULL,
  found_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  gone_at timestamptz,
  CONSTRAINT one_spare_per_booking PRIMARY KEY (company_id, appointment_id, calcom_uid)
);

-- A person decides what becomes of this segment's booking: nothing is done for this version of the promise until then.
ALTER TABLE segment ADD COLUMN held_version int;

ALTER TABLE job DROP CONSTRAINT job_kind_is_known;
ALTER TABLE job ADD CONSTRAINT job_kind_is_known CHECK (kind IN ('booking', 'sync', 'customer', 'calcom_event'));

-- A hint says that something has happened to a booking. It is never believed: the booking is read.
ALTER TABLE webhook_inbox
  ADD COLUMN subject text COLLATE "C",      -- whose job reads it: a lineage of ours, or the hash of a foreign booking's
  ADD COLUMN calcom_uid text COLLATE "C",   -- the booking to be read
  ADD COLUMN said_status text COLLATE "C",  -- what the hint says of it
  ADD COLUMN said_start timestamptz,
  DROP CONSTRAINT inbox_source_is_known,
  ADD CONSTRAINT inbox_source_is_known CHECK (source IN ('calcom', 'retell', 'sweep')),
  ADD CONSTRAINT inbox_hint_names_a_booking
    CHECK (source = 'retell' OR (subject IS NULL) = (calcom_uid IS NULL));
CREATE INDEX hints_by_subject ON webhook_inbox (company_id, subject, received_at) WHERE subject IS NOT NULL;
CREATE INDEX unapplied_hints ON webhook_inbox (company_id, subject) WHERE applied_at IS NULL;

-- How far the sweep has read a company's bookings at Cal.com, by Cal.com's own clock.
CREATE TABLE calcom_cursor (
  company_id int NOT NULL,
  read_until timestamptz,                                  -- every change up to then has been seen
  swept_at timestamptz NOT NULL DEFAULT '-infinity',       -- when the last sweep began
  audited_at timestamptz NOT NULL DEFAULT '-infinity',     -- when all bookings to come were last compared
  CONSTRAINT one_cursor_per_company PRIMARY KEY (company_id)
);

-- Whose is the booking that a hint names?
CREATE INDEX ops_by_booking ON calcom_op (company_id, uid) WHERE uid IS NOT NULL;
CREATE INDEX segments_by_booking ON segment (company_id, calcom_uid) WHERE calcom_uid IS NOT NULL;

-- What is open is counted every few seconds.
CREATE INDEX segments_in_review ON segment (company_id) WHERE sync = 'needs_review';
CREATE INDEX open_spares ON spare_booking (company_id, appointment_id) WHERE gone_at IS NULL;
