-- News: headlines, what a model thought of each, the readings that strategies were
-- given, and how the model stands. A reading that there was not is null, with its reason.

CREATE TABLE headlines (
    headline_id text PRIMARY KEY,
    at timestamptz NOT NULL,
    headline text NOT NULL,
    symbols text[] NOT NULL,
    is_synthetic boolean NOT NULL
);
CREATE INDEX headlines_at ON headlines (at);

CREATE TABLE opinions (
    headline_id text NOT NULL REFERENCES headlines,
    symbol text NOT NULL,
    model text NOT NULL,
    digest text NOT NULL,
    prompt_version text NOT NULL,
    read_at timestamptz NOT NULL,
    score double precision NOT NULL,
    relevance double precision NOT NULL,
    event_type text NOT NULL,
    horizon text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (headline_id, symbol, digest, prompt_version),
    CHECK (score BETWEEN -1 AND 1),
    CHECK (relevance BETWEEN 0 AND 1)
);

CREATE TABLE readings (
    symbol text NOT NULL,
    at timestamptz NOT NULL,
    weight double precision NOT NULL,
    model text,
    score double precision,
    uncertainty double precision,
    headlines integer,
    is_synthetic boolean,
    reason text,
    PRIMARY KEY (symbol, at),
    CHECK ((score IS NULL) <> (reason IS NULL))
);
CREATE INDEX readings_at ON readings (at);

CREATE TABLE sentiment_state (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    at timestamptz NOT NULL,
    state json NOT NULL
);
