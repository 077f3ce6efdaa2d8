-- The trial ledger: every backtest that was ever run, once by what was tried.
-- params and figures are JSON as it was written; a figure without a value is null.

CREATE TABLE trials (
    trial_id text PRIMARY KEY,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    code_hash text NOT NULL,
    strategies text[] NOT NULL,
    params json NOT NULL,
    source text NOT NULL,
    symbols text[] NOT NULL,
    data_hash text NOT NULL,
    start_day date NOT NULL,
    end_day date NOT NULL,
    figures json NOT NULL
);
CREATE INDEX trials_at ON trials (at);
