-- Walk-forwards: those that ended, and the parts of those that did not yet. A part is
-- an npz file of arrays; with the end of its run it goes.

CREATE TABLE walkforwards (
    run_id text PRIMARY KEY,
    at timestamptz NOT NULL,
    fingerprint text NOT NULL,
    plan json NOT NULL,
    figures json NOT NULL
);
CREATE INDEX walkforwards_at ON walkforwards (at);

CREATE TABLE walkforward_parts (
    run_id text NOT NULL,
    part integer NOT NULL,
    result bytea NOT NULL,
    PRIMARY KEY (run_id, part)
);
