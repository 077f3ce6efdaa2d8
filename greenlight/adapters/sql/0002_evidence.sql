-- Evidence: what the market showed and how the desk did. Market prices are
-- double precision US dollars, money is numeric, times UTC. Every unique key
-- holds the time, so that the four large tables can become hypertables.

-- Quotes have bid and ask, trade prints have price and size.
CREATE TABLE ticks (
    symbol text NOT NULL,
    at timestamptz NOT NULL,
    bid double precision,
    ask double precision,
    bid_size integer,
    ask_size integer,
    price double precision,
    size integer
);

CREATE TABLE bars (
    symbol text NOT NULL,
    timeframe text NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    open double precision NOT NULL,
    high double precision NOT NULL,
    low double precision NOT NULL,
    close double precision NOT NULL,
    volume bigint NOT NULL,
    UNIQUE (symbol, timeframe, starts_at)
);

CREATE TABLE equity (
    at timestamptz NOT NULL,
    source text NOT NULL,
    equity_usd numeric NOT NULL,
    cash_usd numeric NOT NULL,
    exposure_usd numeric NOT NULL,
    UNIQUE (source, at)
);

CREATE TABLE heartbeats (
    component text NOT NULL,
    at timestamptz NOT NULL,
    UNIQUE (component, at)
);

CREATE TABLE coverage (
    seq bigint GENERATED ALWAYS AS IDENTITY,
    position_id text NOT NULL,
    symbol text NOT NULL,
    at timestamptz NOT NULL,
    position_qty integer NOT NULL,
    covered_qty integer NOT NULL
);
CREATE INDEX coverage_at ON coverage (at, seq);

-- Readiness evaluations; json keeps the text as it was written.
CREATE TABLE readiness (
    at timestamptz PRIMARY KEY,
    evaluation json NOT NULL
);

-- Volatility forecasts for a session, with the fit's convergence flag.
CREATE TABLE forecasts (
    symbol text NOT NULL,
    session_day date NOT NULL,
    fitted_at timestamptz NOT NULL,
    model text NOT NULL,
    vol_frac_ann double precision,
    is_converged boolean NOT NULL,
    PRIMARY KEY (symbol, session_day, fitted_at)
);
