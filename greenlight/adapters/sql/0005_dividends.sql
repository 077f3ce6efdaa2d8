-- Cash dividends (and tax withheld from them), once by the broker's id. They are
-- in the account's cash and in no trade's gain.

CREATE TABLE dividends (
    activity_id text PRIMARY KEY,
    symbol text NOT NULL,
    at timestamptz NOT NULL,
    usd numeric NOT NULL,
    qty numeric,
    usd_a_share numeric,
    position_id text REFERENCES positions (position_id)
);
CREATE INDEX dividends_at ON dividends (at);
