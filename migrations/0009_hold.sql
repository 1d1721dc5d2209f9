-- Who holds a time while somebody is still deciding. Both columns are about the hold, not about the booking that it becomes.
ALTER TABLE slot
  ADD COLUMN held_by text COLLATE "C",      -- whose holds are counted together: phone:…, call:… or key:…; gone with the hold
  ADD COLUMN held_in_call text COLLATE "C", -- the call that holds, or held, it: its booking finds it without a token
  ADD CONSTRAINT slot_has_a_holder_while_held CHECK (state <> 'held' OR held_by IS NOT NULL);
CREATE UNIQUE INDEX one_hold_per_token ON slot (company_id, token_hash) WHERE token_hash IS NOT NULL;
CREATE INDEX holds_by_holder ON slot (company_id, held_by) WHERE held_by IS NOT NULL;
CREATE INDEX holds_by_call ON slot (company_id, held_in_call) WHERE held_in_call IS NOT NULL;
