-- The intermediates of every server of this store, from the moment that they are prepared until nothing of theirs lives.
CREATE TABLE x509_authorities (
    key_id BLOB PRIMARY KEY,
    der BLOB NOT NULL,
    -- the key identifier of the root that it leads to
    root BLOB NOT NULL,
    -- which server holds its key
    server BLOB NOT NULL,
    stage TEXT NOT NULL,
    prepared_at INTEGER NOT NULL,
    activated_at INTEGER,
    ends INTEGER NOT NULL,
    used_until INTEGER NOT NULL
) WITHOUT ROWID;

-- Authorities, roots among them, below which everything is to be replaced, or counts no more.
CREATE TABLE x509_marks (
    key_id BLOB PRIMARY KEY,
    is_root INTEGER NOT NULL,
    revoked INTEGER NOT NULL,
    at INTEGER NOT NULL,
    -- until then something below it could be shown
    until INTEGER NOT NULL
) WITHOUT ROWID;
