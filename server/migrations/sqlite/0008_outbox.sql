-- How far each sink of events has come. The events themselves are the record's entries.
CREATE TABLE sinks (
    name TEXT PRIMARY KEY,
    -- index of the first entry that it has not acknowledged
    next INTEGER NOT NULL,
    -- why nothing is sent to it until an operator says so; empty while it runs
    parked TEXT NOT NULL,
    -- attempts in a row that did not get through
    failures INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    last_failure INTEGER NOT NULL,
    last_success INTEGER NOT NULL,
    -- entries that it would not take, or that an operator skipped
    skipped INTEGER NOT NULL
) WITHOUT ROWID;
