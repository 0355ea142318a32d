-- Endorsements serve a kind of evidence, may be about something (a chip, a platform), and come from somewhere.
CREATE TABLE endorsements_new (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    sha256 BLOB NOT NULL,
    role TEXT NOT NULL,
    serves TEXT NOT NULL,
    about TEXT NOT NULL,
    content BLOB NOT NULL,
    class TEXT NOT NULL,
    name TEXT NOT NULL,
    subject TEXT NOT NULL,
    not_after INTEGER NOT NULL,
    source TEXT NOT NULL,
    fetched_at INTEGER NOT NULL,
    imported_at INTEGER NOT NULL,
    imported_by TEXT NOT NULL,
    UNIQUE (sha256, serves)
);
INSERT INTO endorsements_new (sha256, role, serves, about, content, class, name, subject, not_after, source, fetched_at,
    imported_at, imported_by)
    SELECT sha256, role, 'tpm', '', der, class, name, subject, not_after, 'file', imported_at, imported_at, imported_by
    FROM endorsements ORDER BY imported_at, sha256;
DROP TABLE endorsements;
ALTER TABLE endorsements_new RENAME TO endorsements;
CREATE INDEX endorsements_about ON endorsements (about) WHERE about <> '';
CREATE INDEX endorsements_role ON endorsements (role, source, fetched_at);
