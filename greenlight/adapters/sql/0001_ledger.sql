-- The ledger: runs, fencing, decisions, orders, fills, positions, trades, halts.
-- Money and prices at the broker's edge are numeric US dollars, times UTC.

-- One life of the desk each; seq is the order of starting, because a replay's
-- clock may go back.
CREATE TABLE runs (
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    run_id text PRIMARY KEY,
    started_at timestamptz NOT NULL,
    account_kind text NOT NULL,
    account_number text NOT NULL,
    source text NOT NULL,
    is_synthetic boolean NOT NULL,
    start_cash_usd numeric NOT NULL,
    fingerprint text NOT NULL
);

-- Who may act under a name, by the highest epoch.
CREATE TABLE epochs (
    holder text PRIMARY KEY,
    epoch bigint NOT NULL CHECK (epoch > 0)
);

-- Every decision, hash-chained. figures is json and not jsonb: its text comes
-- back as it was written, so the hash can be computed again.
CREATE TABLE decisions (
    seq bigint PRIMARY KEY CHECK (seq > 0),
    decision_id text NOT NULL UNIQUE,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    verdict text NOT NULL,
    symbol text,
    strategy text,
    reason text NOT NULL,
    figures json NOT NULL,
    previous_hash text NOT NULL,
    row_hash text NOT NULL
);
CREATE INDEX decisions_at ON decisions (at);
CREATE INDEX decisions_symbol ON decisions (symbol, seq);

-- The end of the chain; its row lock makes appends take turns.
CREATE TABLE chain_head (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    seq bigint NOT NULL,
    row_hash text NOT NULL
);
INSERT INTO chain_head (seq, row_hash) VALUES (0, repeat('0', 64));

-- Orders from the intent on; parent_client_order_id is set for legs that the
-- broker made of one of ours.
CREATE TABLE orders (
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    client_order_id text PRIMARY KEY,
    parent_client_order_id text REFERENCES orders (client_order_id),
    decision_id text NOT NULL,
    role text NOT NULL,
    attempt integer NOT NULL,
    symbol text NOT NULL,
    side text NOT NULL,
    kind text NOT NULL,
    qty integer NOT NULL CHECK (qty > 0),
    limit_price numeric,
    stop_price numeric,
    time_in_force text NOT NULL,
    replaces text,
    holder text NOT NULL,
    epoch bigint NOT NULL,
    at timestamptz NOT NULL,
    order_id text UNIQUE,
    status text NOT NULL,
    filled_qty integer NOT NULL DEFAULT 0,
    reason text,
    updated_at timestamptz NOT NULL
);
CREATE INDEX orders_open ON orders (symbol, seq)
    WHERE status NOT IN ('filled', 'canceled', 'expired', 'replaced', 'refused');

CREATE TABLE positions (
    position_id text PRIMARY KEY,
    symbol text NOT NULL,
    strategy text NOT NULL,
    qty integer NOT NULL CHECK (qty >= 0),
    cost_usd numeric NOT NULL,
    realized_usd numeric NOT NULL,
    stop_price numeric NOT NULL,
    target_price numeric NOT NULL,
    opened_at timestamptz NOT NULL,
    exit_by timestamptz NOT NULL,
    closed_at timestamptz,
    CHECK ((qty = 0) = (closed_at IS NOT NULL))
);
CREATE UNIQUE INDEX positions_open ON positions (symbol) WHERE closed_at IS NULL;
CREATE INDEX positions_closed_at ON positions (closed_at);

-- One fill each; (order_id, cum_qty) is what the stream and REST agree on.
CREATE TABLE fills (
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    order_id text NOT NULL,
    cum_qty integer NOT NULL,
    execution_id text NOT NULL,
    client_order_id text,
    symbol text NOT NULL,
    side text NOT NULL,
    qty integer NOT NULL CHECK (qty > 0),
    price numeric NOT NULL,
    at timestamptz NOT NULL,
    -- Charged; and what greenlight.domain.costs says a paper fill leaves out.
    fees_usd numeric NOT NULL,
    regulatory_fees_usd numeric NOT NULL,
    slippage_usd numeric NOT NULL,
    shortfall_usd numeric,
    haircut_usd numeric NOT NULL,
    position_id text NOT NULL REFERENCES positions (position_id),
    PRIMARY KEY (order_id, cum_qty)
);
CREATE INDEX fills_at ON fills (at);
CREATE INDEX fills_position ON fills (position_id);

CREATE TABLE trades (
    position_id text PRIMARY KEY REFERENCES positions (position_id),
    symbol text NOT NULL,
    strategy text NOT NULL,
    qty integer NOT NULL,
    entry_price numeric NOT NULL,
    exit_price numeric NOT NULL,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz NOT NULL,
    pnl_usd numeric NOT NULL,
    fees_usd numeric NOT NULL,
    haircut_usd numeric NOT NULL,
    exit_reason text NOT NULL
);
CREATE INDEX trades_closed_at ON trades (closed_at);

CREATE TABLE halts (
    halt_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    until timestamptz,
    reason text NOT NULL,
    lifted_at timestamptz,
    lifted_reason text
);

-- What a strategy remembers of a symbol, after the bar that ended at `at`.
CREATE TABLE strategy_states (
    strategy text NOT NULL,
    symbol text NOT NULL,
    at timestamptz NOT NULL,
    figures double precision[] NOT NULL,
    PRIMARY KEY (strategy, symbol)
);
