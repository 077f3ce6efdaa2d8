-- Volatility forecasts as they are made, and how near they came. The table of
-- the same name in step 2 was never written.

DROP TABLE forecasts;

-- A row without a model is an attempt that failed, with its reason. Standard
-- deviations and parameters are arrays: by session ahead, in arch's order.
CREATE TABLE forecasts (
    symbol text NOT NULL,
    at timestamptz NOT NULL,
    through date,
    model text,
    distribution text,
    sigma_pct double precision[],
    vol_frac_ann double precision,
    is_converged boolean NOT NULL,
    flags text[] NOT NULL,
    bic double precision,
    n_obs integer,
    params double precision[],
    reason text,
    PRIMARY KEY (symbol, at),
    CHECK ((model IS NULL) = (reason IS NOT NULL))
);

-- Variances are percent squared.
CREATE TABLE volatility_scores (
    symbol text NOT NULL,
    session date NOT NULL,
    method text NOT NULL,
    forecast_pct2 double precision NOT NULL,
    realised_pct2 double precision NOT NULL,
    qlike double precision NOT NULL,
    PRIMARY KEY (session, symbol, method)
);
