-- Whose an entry is: of whoever applied it from files, or nobody's, made by hand.
ALTER TABLE entries ADD COLUMN owner TEXT NOT NULL DEFAULT '';
CREATE INDEX entries_owner ON entries (owner, number) WHERE owner <> '';

-- Tokens of other issuers that were exchanged for ours, until they end: how often each was.
CREATE TABLE exchanged_tokens (
    -- SHA-256 over its issuer and its ID, or over the token itself where it has none.
    digest BLOB PRIMARY KEY,
    expires INTEGER NOT NULL,
    uses INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX exchanged_tokens_expires ON exchanged_tokens (expires);
