-- Whose each withdrawn name is, so that one node does not fill the room of all. 0 in rows of before: nobody's.
ALTER TABLE withdrawn_grants ADD COLUMN node INTEGER NOT NULL DEFAULT 0;
CREATE INDEX withdrawn_grants_node ON withdrawn_grants (node, ends);
