-- What a maker says of a machine, and no key proves: by these it is banned, never recognised. Several machines may be said
-- to be the same; the number says whose word was first.
CREATE TABLE node_mentions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BLOB NOT NULL,
    kind TEXT NOT NULL,
    node INTEGER NOT NULL,
    UNIQUE (digest, node)
);
CREATE INDEX node_mentions_node ON node_mentions (node);
INSERT INTO node_mentions (digest, kind, node)
    SELECT digest, kind, node FROM node_marks WHERE kind LIKE 'platform.%' OR kind LIKE 'idevid.%' ORDER BY node, kind;
DELETE FROM node_marks WHERE kind LIKE 'platform.%' OR kind LIKE 'idevid.%';

-- Whether a digest was listed when that said nothing about what it is of: it goes on listing whatever it did.
ALTER TABLE inventory ADD COLUMN bare INTEGER NOT NULL DEFAULT FALSE;
UPDATE inventory SET bare = TRUE;

-- What time takes away is found without reading whole tables.
CREATE INDEX decisions_last_used ON decisions (last_used);
CREATE INDEX nodes_firmware_log ON nodes (firmware_log) WHERE firmware_log IS NOT NULL;
CREATE INDEX endorsements_not_after ON endorsements (not_after);
CREATE INDEX attempts_renewals ON attempts (id) WHERE way = 'renew' AND verdict = 'admitted';
CREATE INDEX node_facts_own ON node_facts (own);
CREATE INDEX node_facts_log ON node_facts (log) WHERE log IS NOT NULL;

-- Bodies of facts that some node named and does not any more: looked at once, and gone if no other does.
CREATE TABLE fact_bodies_let_go (
    number INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE
);
DELETE FROM node_facts WHERE node NOT IN (SELECT number FROM nodes);
DELETE FROM measured_files WHERE node NOT IN (SELECT number FROM nodes);
INSERT INTO fact_bodies_let_go (digest) SELECT digest FROM fact_bodies
    WHERE digest NOT IN (SELECT own FROM node_facts) AND digest NOT IN (SELECT log FROM node_facts WHERE log IS NOT NULL);
