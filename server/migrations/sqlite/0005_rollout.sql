-- What evidence said of machines, kept so that other policies can be asked about it: bodies by their SHA-256, that of a
-- log once for all machines that booted alike.
CREATE TABLE fact_bodies (
    digest BLOB PRIMARY KEY,
    body BLOB NOT NULL
);

-- The latest appraised evidence of each node.
CREATE TABLE node_facts (
    node INTEGER PRIMARY KEY,
    own BLOB NOT NULL,
    log BLOB,
    at INTEGER NOT NULL,
    attempt BLOB NOT NULL
);

-- Every state that the rollout ever had; the last row is the present one.
CREATE TABLE rollouts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    author TEXT NOT NULL,
    approver TEXT NOT NULL,
    action TEXT NOT NULL,
    message TEXT NOT NULL,
    -- the version for whoever no scope names
    enforced BLOB,
    -- JSON: [{"selectors":[...],"policy":"hex"}], the first that fits decides
    scopes TEXT NOT NULL,
    observed BLOB,
    -- the state that was brought back
    restored INTEGER,
    -- nodes that it was known to refuse
    refused INTEGER NOT NULL
);
INSERT INTO rollouts (at, author, approver, action, message, enforced, scopes, observed, refused)
    SELECT MAX(applied_at), 'server', '', 'rollout.begin', '',
        (SELECT digest FROM policies WHERE mode = 'enforce' ORDER BY applied_at DESC LIMIT 1), '[]',
        (SELECT digest FROM policies WHERE mode = 'observe' ORDER BY applied_at DESC LIMIT 1), 0
    FROM policies HAVING COUNT(*) > 0;

ALTER TABLE policies DROP COLUMN mode;
ALTER TABLE policies ADD COLUMN signing_key TEXT NOT NULL DEFAULT '';
ALTER TABLE policies ADD COLUMN signature BLOB NOT NULL DEFAULT x'';

-- What one operator wants and another must approve.
CREATE TABLE proposals (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    made_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    author TEXT NOT NULL,
    author_uid INTEGER NOT NULL,
    message TEXT NOT NULL,
    -- JSON, as the server's own operations have it
    content TEXT NOT NULL,
    state TEXT NOT NULL,
    closed_at INTEGER,
    closed_by TEXT NOT NULL
);
