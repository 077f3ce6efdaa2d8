-- How the four large tables lie on disk. Each step is repeatable; the adapter
-- runs those that fit what the server offers (plain, timescale-apache,
-- timescale-community), after the numbered migrations.

-- name: plain_brin_ticks
-- Rows arrive in the order of time, so a block-range index finds a window.
CREATE INDEX IF NOT EXISTS ticks_at_brin ON ticks USING brin (at);

-- name: plain_brin_bars
-- As above, for reads of many symbols.
CREATE INDEX IF NOT EXISTS bars_starts_at_brin ON bars USING brin (starts_at);

-- name: plain_brin_equity
-- As above.
CREATE INDEX IF NOT EXISTS equity_at_brin ON equity USING brin (at);

-- name: plain_brin_heartbeats
-- As above.
CREATE INDEX IF NOT EXISTS heartbeats_at_brin ON heartbeats USING brin (at);

-- name: plain_minute_bars
-- Minute bars of the recorded trade prints, computed when asked.
CREATE OR REPLACE VIEW minute_bars AS
SELECT symbol,
       date_trunc('minute', at) AS starts_at,
       (array_agg(price ORDER BY at))[1] AS open,
       max(price) AS high,
       min(price) AS low,
       (array_agg(price ORDER BY at DESC))[1] AS close,
       sum(size)::bigint AS volume
FROM ticks
WHERE price IS NOT NULL
GROUP BY symbol, date_trunc('minute', at);

-- name: hypertable_ticks
-- Chunks of a week, rows already there included.
SELECT create_hypertable('ticks', 'at', chunk_time_interval => INTERVAL '7 days',
                         if_not_exists => true, migrate_data => true);

-- name: hypertable_bars
-- Chunks of a quarter.
SELECT create_hypertable('bars', 'starts_at', chunk_time_interval => INTERVAL '90 days',
                         if_not_exists => true, migrate_data => true);

-- name: hypertable_equity
-- Chunks of a quarter.
SELECT create_hypertable('equity', 'at', chunk_time_interval => INTERVAL '90 days',
                         if_not_exists => true, migrate_data => true);

-- name: hypertable_heartbeats
-- Chunks of a quarter.
SELECT create_hypertable('heartbeats', 'at', chunk_time_interval => INTERVAL '90 days',
                         if_not_exists => true, migrate_data => true);

-- name: community_is_aggregated
-- Whether minute_bars is a continuous aggregate already.
SELECT count(*) FROM timescaledb_information.continuous_aggregates
WHERE view_name = 'minute_bars';

-- name: community_drop_plain_view
-- The continuous aggregate takes the plain view's name.
DROP VIEW IF EXISTS minute_bars;

-- name: community_minute_bars
-- Minute bars of the recorded trade prints, kept up to date by the server.
CREATE MATERIALIZED VIEW minute_bars
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT symbol,
       time_bucket(INTERVAL '1 minute', at) AS starts_at,
       first(price, at) AS open,
       max(price) AS high,
       min(price) AS low,
       last(price, at) AS close,
       sum(size)::bigint AS volume
FROM ticks
WHERE price IS NOT NULL
GROUP BY symbol, time_bucket(INTERVAL '1 minute', at)
WITH NO DATA;

-- name: community_refresh_minute_bars
-- Refresh the last three days every minute.
SELECT add_continuous_aggregate_policy('minute_bars',
    start_offset => INTERVAL '3 days', end_offset => INTERVAL '1 minute',
    schedule_interval => INTERVAL '1 minute', if_not_exists => true);

-- name: community_compress_ticks
-- Columns by symbol, newest first: queries ask for one symbol's window.
ALTER TABLE ticks SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol',
                       timescaledb.compress_orderby = 'at DESC');

-- name: community_compression_policy_ticks
-- Compress chunks once nothing is written to them any more.
SELECT add_compression_policy('ticks', INTERVAL '14 days', if_not_exists => true);

-- name: community_compress_bars
-- As the ticks.
ALTER TABLE bars SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol, timeframe',
                      timescaledb.compress_orderby = 'starts_at DESC');

-- name: community_compression_policy_bars
-- As the ticks.
SELECT add_compression_policy('bars', INTERVAL '180 days', if_not_exists => true);

-- name: community_drop_retention_ticks
-- A changed retention replaces the old one.
SELECT remove_retention_policy('ticks', if_exists => true);

-- name: community_retention_ticks
-- Ticks older than the given number of days are dropped; bars stay.
SELECT add_retention_policy('ticks', make_interval(days => %(days)s), if_not_exists => true);
