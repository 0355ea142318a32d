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
