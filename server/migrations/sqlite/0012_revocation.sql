-- Certificates of nodes and workloads that have not ended: what a ban, a refusal or a change withdraws is found here. By
-- node, so that what one request of a node adds lies together.
CREATE TABLE svids (
    node INTEGER NOT NULL,
    -- 0 for the node's own
    entry INTEGER NOT NULL,
    -- place of the issuance in the record
    idx INTEGER NOT NULL,
    -- key identifier of the signing certificate
    issuer BLOB NOT NULL,
    serial BLOB NOT NULL,
    not_after INTEGER NOT NULL,
    PRIMARY KEY (node, entry, idx)
) WITHOUT ROWID;
CREATE INDEX svids_not_after ON svids (not_after);

-- What was withdrawn, until it has been on one list that was made after its end.
CREATE TABLE revocations (
    issuer BLOB NOT NULL,
    not_after INTEGER NOT NULL,
    serial BLOB NOT NULL,
    -- CRLReason of RFC 5280
    reason INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (issuer, not_after, serial)
) WITHOUT ROWID;

-- One row for each certificate that signs: how far its lists are numbered, and the last one that was signed.
CREATE TABLE revocation_lists (
    issuer BLOB PRIMARY KEY,
    -- of the last list that was recorded
    number INTEGER NOT NULL,
    -- end of the signing certificate; its lists go with it
    ends INTEGER NOT NULL,
    imported INTEGER NOT NULL,
    -- of the list below; 0 where there is none yet
    signed_number INTEGER NOT NULL,
    der BLOB,
    this_update INTEGER NOT NULL,
    next_update INTEGER NOT NULL
) WITHOUT ROWID;
