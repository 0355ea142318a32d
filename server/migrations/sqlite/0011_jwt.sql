-- The keys that verify JWT-SVIDs, of every server: all of them are in the trust bundle. Private halves are never here.
CREATE TABLE jwt_authorities (
    -- The key's thumbprint (RFC 7638), which tokens name as `kid`.
    authority_id TEXT PRIMARY KEY,
    -- DER SubjectPublicKeyInfo.
    spki BLOB NOT NULL,
    -- prepared, active, old or tainted.
    stage TEXT NOT NULL,
    prepared_at INTEGER NOT NULL,
    activated_at INTEGER,
    -- It signs nothing that ends later.
    ends INTEGER NOT NULL,
    -- The latest end of what it has signed.
    used_until INTEGER NOT NULL,
    -- Order of publication.
    place INTEGER NOT NULL
) STRICT;

-- Seconds that a JWT-SVID of this entry lives; 0 means the server's default.
ALTER TABLE entries ADD COLUMN jwt_svid_ttl INTEGER NOT NULL DEFAULT 0;
