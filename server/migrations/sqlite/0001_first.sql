-- One row: which history this is, and how far it has come.
CREATE TABLE history (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    epoch BLOB NOT NULL,
    n INTEGER NOT NULL,
    -- entry_changes hold every change after this n
    changes_after INTEGER NOT NULL,
    bundle_sequence INTEGER NOT NULL,
    ledger_size INTEGER NOT NULL,
    ledger_hash BLOB NOT NULL
);

CREATE TABLE ledger (
    idx INTEGER PRIMARY KEY,
    leaf BLOB NOT NULL,
    hash BLOB NOT NULL
);

CREATE TABLE challenges (
    id BLOB PRIMARY KEY,
    expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX challenges_expires ON challenges (expires);

CREATE TABLE decisions (
    digest BLOB PRIMARY KEY,
    body TEXT NOT NULL,
    last_used INTEGER NOT NULL
);

CREATE TABLE attempts (
    id BLOB PRIMARY KEY,
    at INTEGER NOT NULL,
    way TEXT NOT NULL,
    kinds TEXT NOT NULL,
    source TEXT NOT NULL,
    node INTEGER,
    spiffe_id TEXT,
    verdict TEXT NOT NULL,
    code TEXT NOT NULL,
    policy BLOB,
    decision BLOB NOT NULL,
    idx INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX attempts_node ON attempts (node, id);

CREATE TABLE firmware_logs (
    digest BLOB PRIMARY KEY,
    bytes BLOB NOT NULL,
    last_used INTEGER NOT NULL
);

CREATE TABLE nodes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    spiffe_id TEXT,
    standing TEXT NOT NULL,
    ban TEXT,
    freeze TEXT,
    hold TEXT,
    approval TEXT,
    kinds TEXT NOT NULL,
    trust_class TEXT NOT NULL,
    copyable INTEGER NOT NULL,
    ak_name BLOB,
    known BLOB NOT NULL,
    description TEXT NOT NULL,
    node_key_spki BLOB NOT NULL,
    node_key_sha256 BLOB,
    clock INTEGER,
    reset_count INTEGER,
    restart_count INTEGER,
    clock_safe INTEGER,
    selectors TEXT NOT NULL,
    -- the n at which its name, selectors or standing changed last
    changed_n INTEGER NOT NULL,
    firmware_log BLOB,
    policy BLOB,
    rule TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    attested_at INTEGER NOT NULL,
    evidence_expires INTEGER NOT NULL,
    svid_serial BLOB,
    svid_not_after INTEGER NOT NULL,
    last_attempt BLOB
);
CREATE UNIQUE INDEX nodes_spiffe_id ON nodes (spiffe_id);
CREATE UNIQUE INDEX nodes_ak_name ON nodes (ak_name);
CREATE UNIQUE INDEX nodes_node_key ON nodes (node_key_sha256);

CREATE TABLE node_marks (
    digest BLOB PRIMARY KEY,
    kind TEXT NOT NULL,
    node INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX node_marks_node ON node_marks (node);

-- An ID once owned by a machine goes to no other.
CREATE TABLE node_ids (
    spiffe_id TEXT PRIMARY KEY,
    node INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX node_ids_node ON node_ids (node);

CREATE TABLE inventory (
    digest BLOB PRIMARY KEY,
    label TEXT NOT NULL,
    added_at INTEGER NOT NULL,
    added_by TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE entries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    spiffe_id TEXT NOT NULL,
    -- a SPIFFE ID, or a sorted JSON array of node selectors
    parent TEXT NOT NULL,
    selectors TEXT NOT NULL,
    x509_svid_ttl INTEGER NOT NULL,
    dns_names TEXT NOT NULL,
    hint TEXT NOT NULL,
    expires_at INTEGER,
    revision_number INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    -- SHA-256 over parent, SPIFFE ID and selectors
    likeness BLOB NOT NULL UNIQUE
);
CREATE INDEX entries_parent ON entries (parent, number);
CREATE INDEX entries_spiffe_id ON entries (spiffe_id, number);
CREATE INDEX entries_expires ON entries (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE entry_selectors (
    selector TEXT NOT NULL,
    entry INTEGER NOT NULL,
    PRIMARY KEY (selector, entry)
) WITHOUT ROWID;

-- The distinct sets of node selectors that entries name as their parent, and how many do.
CREATE TABLE selector_parents (
    parent TEXT PRIMARY KEY,
    entries INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE entry_changes (
    parent TEXT NOT NULL,
    n INTEGER NOT NULL,
    entry_id TEXT NOT NULL,
    PRIMARY KEY (parent, n, entry_id)
) WITHOUT ROWID;
CREATE INDEX entry_changes_n ON entry_changes (n);

CREATE TABLE policies (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    documents TEXT NOT NULL,
    mode TEXT NOT NULL,
    message TEXT NOT NULL,
    author TEXT NOT NULL,
    applied_at INTEGER NOT NULL
);

CREATE TABLE endorsements (
    sha256 BLOB PRIMARY KEY,
    role TEXT NOT NULL,
    der BLOB NOT NULL,
    class TEXT NOT NULL,
    name TEXT NOT NULL,
    subject TEXT NOT NULL,
    not_after INTEGER NOT NULL,
    imported_at INTEGER NOT NULL,
    imported_by TEXT NOT NULL
);

CREATE TABLE authorities (
    sha256 BLOB PRIMARY KEY,
    der BLOB NOT NULL,
    published_at INTEGER NOT NULL,
    place INTEGER NOT NULL
);

CREATE TABLE strangers (
    minute INTEGER NOT NULL,
    source TEXT NOT NULL,
    counts TEXT NOT NULL,
    PRIMARY KEY (minute, source)
) WITHOUT ROWID;
