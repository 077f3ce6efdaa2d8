-- What a session's twin came to; run again, it takes its own place. detail has the
-- differences and the split of the gain.

CREATE TABLE twins (
    session date NOT NULL,
    account_number text NOT NULL,
    at timestamptz NOT NULL,
    fingerprint text NOT NULL,
    decisions integer NOT NULL,
    unvalued integer NOT NULL,
    detail json NOT NULL,
    PRIMARY KEY (session, account_number)
);
