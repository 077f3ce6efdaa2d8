-- The outbox: what a person is to be told, written in the transaction of its cause, and
-- how far the telling has come. facts is JSON as it was written.

CREATE TABLE outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE,
    at timestamptz NOT NULL,
    event text NOT NULL,
    is_critical boolean NOT NULL,
    symbol text,
    position_id text,
    facts json NOT NULL,
    status text NOT NULL DEFAULT 'waiting',
    doubts integer NOT NULL DEFAULT 0 CHECK (doubts >= 0),
    changed_at timestamptz,
    acked_at timestamptz,
    note text
);
CREATE INDEX outbox_open ON outbox (seq) WHERE status IN ('waiting', 'sending', 'doubtful');
CREATE INDEX outbox_unacknowledged ON outbox (seq) WHERE is_critical AND acked_at IS NULL;
CREATE INDEX outbox_at ON outbox (at);
