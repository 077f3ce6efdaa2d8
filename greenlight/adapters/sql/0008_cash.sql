-- Cash that moved otherwise than by a fill or a dividend: fees, interest, transfers;
-- once by the broker's id. booked_at is when the ledger's cash took it in.

CREATE TABLE cash_movements (
    activity_id text PRIMARY KEY,
    activity_type text NOT NULL,
    at timestamptz NOT NULL,
    usd numeric NOT NULL,
    symbol text,
    description text NOT NULL,
    booked_at timestamptz NOT NULL
);
CREATE INDEX cash_movements_at ON cash_movements (at);
