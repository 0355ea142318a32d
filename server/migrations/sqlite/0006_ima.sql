-- How far each node's list of measured files was judged at its last admission, and what was found in it.
CREATE TABLE measured_files (
    node INTEGER PRIMARY KEY REFERENCES nodes (number),
    state TEXT NOT NULL
);
