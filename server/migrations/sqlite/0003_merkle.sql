-- The record becomes a Merkle tree. Entries of a record that was a chain are carried over when the store opens; until
-- then chain_end says where it ended.
CREATE TABLE chain_end AS SELECT ledger_size AS size, ledger_hash AS hash FROM history WHERE ledger_size > 0;
ALTER TABLE history DROP COLUMN ledger_hash;
-- The roots of the complete subtrees that the tree is made of, the largest first.
ALTER TABLE history ADD COLUMN frontier BLOB NOT NULL DEFAULT x'';

-- Hashes of nodes at every eighth height above the leaves, whose own are in the ledger: tiles are read from these.
CREATE TABLE ledger_nodes (
    level INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (level, idx)
) WITHOUT ROWID;

-- What was signed of it.
CREATE TABLE checkpoints (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    origin TEXT NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    at INTEGER NOT NULL,
    -- the key's public half
    vkey TEXT NOT NULL,
    note TEXT NOT NULL
);
