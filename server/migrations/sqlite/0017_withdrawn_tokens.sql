-- What a node's workloads have by an entry as JWT-SVIDs: one row for all tokens of that pair, until the last of them ends.
CREATE TABLE token_grants (
    node INTEGER NOT NULL,
    entry INTEGER NOT NULL,
    -- by what the tokens name it
    id BLOB NOT NULL,
    -- the latest end of a token
    ends INTEGER NOT NULL,
    PRIMARY KEY (node, entry)
) STRICT, WITHOUT ROWID;
CREATE INDEX token_grants_entry ON token_grants (entry);
CREATE INDEX token_grants_ends ON token_grants (ends);

-- Those that were withdrawn, until then.
CREATE TABLE withdrawn_grants (
    -- rises, and is never used again: who has heard of all up to one needs those behind it
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL,
    ends INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX withdrawn_grants_ends ON withdrawn_grants (ends);
