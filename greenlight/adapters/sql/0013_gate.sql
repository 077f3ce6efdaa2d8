-- What the gate's evidence rests on besides the account: the universe's returns, the
-- out-of-sample days of walk-forwards, and how often the gate itself is wrong.

-- The equal-weight return of the desk's symbols from one close to the next.
CREATE TABLE universe_returns (
    day date PRIMARY KEY,
    frac double precision NOT NULL,
    symbols integer NOT NULL
);

-- days is a list of [day, return, exposure, universe's return], fractions; trials is how
-- many the ledger had when the run ended.
CREATE TABLE out_of_sample (
    run_id text PRIMARY KEY,
    at timestamptz NOT NULL,
    fingerprint text NOT NULL,
    trials integer NOT NULL,
    days json NOT NULL
);
CREATE INDEX out_of_sample_at ON out_of_sample (at);

CREATE TABLE calibrations (
    at timestamptz PRIMARY KEY,
    policy_hash text NOT NULL,
    report json NOT NULL
);
