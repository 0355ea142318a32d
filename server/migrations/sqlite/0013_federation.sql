-- Foreign trust domains: one row each, with its bundle as it was fetched or brought. Never merged with another.
CREATE TABLE federations (
    trust_domain TEXT PRIMARY KEY,
    -- where its bundle comes from; empty where an operator brings it by hand
    profile TEXT NOT NULL CHECK (profile IN ('', 'https_web', 'https_spiffe')),
    url TEXT NOT NULL,
    endpoint_spiffe_id TEXT NOT NULL,
    document BLOB,
    sequence INTEGER,
    bundle_at INTEGER,
    created_at INTEGER NOT NULL,
    last_success INTEGER,
    last_failure INTEGER,
    last_error TEXT NOT NULL DEFAULT '',
    -- in a row
    failures INTEGER NOT NULL DEFAULT 0,
    next_refresh INTEGER NOT NULL
) WITHOUT ROWID;

-- Foreign trust domains whose bundles the workloads of an entry get.
ALTER TABLE entries ADD COLUMN federates_with TEXT NOT NULL DEFAULT '[]';
CREATE TABLE entry_federations (
    trust_domain TEXT NOT NULL,
    entry INTEGER NOT NULL,
    PRIMARY KEY (trust_domain, entry)
) WITHOUT ROWID;
