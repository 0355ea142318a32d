-- What attempts were judged by, kept by digest and once for all machines that share it. The record's entries carry the
-- digest of each attempt's manifest, which names the rest; bodies go when their time is over, digests never.
CREATE TABLE bodies (
    number INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    -- bytes as they were, and as they are kept
    size INTEGER NOT NULL,
    stored INTEGER NOT NULL,
    -- 0: as they were; 1: deflate (zlib)
    packing INTEGER NOT NULL,
    -- day of its first use since 1970, for the account of what is kept
    day INTEGER NOT NULL,
    -- no attempt that names it needs it longer
    kept_until INTEGER NOT NULL,
    content BLOB NOT NULL
);
CREATE INDEX bodies_kept_until ON bodies (kept_until);

-- What is kept, by the day of its first use: so that nobody must count rows to know where the space went.
CREATE TABLE body_usage (
    day INTEGER NOT NULL,
    kind TEXT NOT NULL,
    bodies INTEGER NOT NULL,
    size INTEGER NOT NULL,
    stored INTEGER NOT NULL,
    PRIMARY KEY (day, kind)
) WITHOUT ROWID;

ALTER TABLE attempts ADD COLUMN manifest BLOB;

-- Firmware logs are bodies like any other; those of before are kept for 400 days after their last use.
INSERT INTO bodies (digest, kind, size, stored, packing, day, kept_until, content)
    SELECT digest, 'event-log', length(bytes), length(bytes), 0, last_used / 86400, last_used + 34560000, bytes
    FROM firmware_logs;
INSERT INTO body_usage (day, kind, bodies, size, stored)
    SELECT day, kind, COUNT(*), SUM(size), SUM(stored) FROM bodies GROUP BY day, kind;
DROP TABLE firmware_logs;
