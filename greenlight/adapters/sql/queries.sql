-- Every statement the store runs, by name. Bulk writes use COPY and are built
-- in the adapter from their table's columns.

-- life ------------------------------------------------------------------------

-- name: insert_run
-- A repeated run_id is left as it was.
INSERT INTO runs (run_id, started_at, account_kind, account_number, source,
                  is_synthetic, start_cash_usd, fingerprint)
VALUES (%(run_id)s, %(started_at)s, %(account_kind)s, %(account_number)s, %(source)s,
        %(is_synthetic)s, %(start_cash_usd)s, %(fingerprint)s)
ON CONFLICT (run_id) DO NOTHING;

-- name: latest_run
-- The run that started last, whatever its clock said.
SELECT run_id, started_at, account_kind, account_number, source, is_synthetic,
       start_cash_usd, fingerprint
FROM runs ORDER BY seq DESC LIMIT 1;

-- name: first_run
-- The first run of the account that the latest run trades on.
SELECT run_id, started_at, account_kind, account_number, source, is_synthetic,
       start_cash_usd, fingerprint
FROM runs
WHERE account_number = (SELECT account_number FROM runs ORDER BY seq DESC LIMIT 1)
ORDER BY seq LIMIT 1;

-- fencing ---------------------------------------------------------------------

-- name: take_epoch
-- The next epoch of a holder; waits for intents that are being recorded.
INSERT INTO epochs (holder, epoch) VALUES (%(holder)s, 1)
ON CONFLICT (holder) DO UPDATE SET epoch = epochs.epoch + 1
RETURNING epoch;

-- name: share_epoch
-- The current epoch of a holder, which stays so until this transaction ends.
SELECT epoch FROM epochs WHERE holder = %(holder)s FOR SHARE;

-- name: fence_holders
-- No holder's epoch is current any more.
UPDATE epochs SET epoch = epoch + 1 WHERE holder <> %(desk)s;

-- name: epoch
-- The current epoch of a holder.
SELECT epoch FROM epochs WHERE holder = %(holder)s;

-- decisions -------------------------------------------------------------------

-- name: append_decision
-- Append a link of the chain; false where the decision is there already.
SELECT append_decision(%(decision_id)s, %(at)s, %(kind)s, %(verdict)s, %(symbol)s,
                       %(strategy)s, %(reason)s, %(figures)s, %(canonical)s);

-- name: decision
-- One decision by its id.
SELECT seq, decision_id, at, kind, verdict, symbol, strategy, reason, figures,
       previous_hash, row_hash
FROM decisions WHERE decision_id = %(decision_id)s;

-- name: decisions
-- The last so many decisions of a window, in the order of the chain.
SELECT * FROM (
    SELECT seq, decision_id, at, kind, verdict, symbol, strategy, reason, figures,
           previous_hash, row_hash
    FROM decisions
    WHERE (%(start)s::timestamptz IS NULL OR at >= %(start)s)
      AND (%(end)s::timestamptz IS NULL OR at < %(end)s)
      AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)
      AND (%(kind)s::text IS NULL OR kind = %(kind)s)
      AND (%(verdict)s::text IS NULL OR verdict = %(verdict)s)
    ORDER BY seq DESC LIMIT %(limit)s
) AS latest ORDER BY seq;

-- orders ----------------------------------------------------------------------

-- name: record_intent
-- Check the epoch, append the decision, insert the order; false for a known order.
SELECT record_intent(%(order)s, %(decision)s, %(canonical)s);

-- name: upsert_leg
-- A leg that the broker made; what is known of it already never goes back.
INSERT INTO orders (client_order_id, parent_client_order_id, decision_id, role, attempt, symbol,
                    side, kind, qty, limit_price, stop_price, time_in_force, replaces, holder,
                    epoch, at, order_id, status, filled_qty, updated_at)
VALUES (%(client_order_id)s, %(parent)s, %(decision_id)s, %(role)s, %(attempt)s, %(symbol)s,
        %(side)s, %(kind)s, %(qty)s, %(limit_price)s, %(stop_price)s, %(time_in_force)s,
        %(replaces)s, %(holder)s, %(epoch)s, %(at)s, %(order_id)s, %(status)s, %(filled_qty)s,
        %(updated_at)s)
ON CONFLICT DO NOTHING;

-- name: order
-- One order by our id.
SELECT client_order_id, decision_id, role, attempt, symbol, side, kind, qty, limit_price,
       stop_price, time_in_force, replaces, holder, epoch, at, order_id, status, filled_qty,
       reason, updated_at
FROM orders WHERE client_order_id = %(client_order_id)s;

-- name: lock_order
-- One order by our id, held until this transaction ends.
SELECT client_order_id, decision_id, role, attempt, symbol, side, kind, qty, limit_price,
       stop_price, time_in_force, replaces, holder, epoch, at, order_id, status, filled_qty,
       reason, updated_at
FROM orders WHERE client_order_id = %(client_order_id)s FOR UPDATE;

-- name: lock_broker_order
-- One order by the broker's id, held until this transaction ends.
SELECT client_order_id, decision_id, role, attempt, symbol, side, kind, qty, limit_price,
       stop_price, time_in_force, replaces, holder, epoch, at, order_id, status, filled_qty,
       reason, updated_at
FROM orders WHERE order_id = %(order_id)s FOR UPDATE;

-- name: open_orders
-- Orders that are not at their end, oldest first.
SELECT client_order_id, decision_id, role, attempt, symbol, side, kind, qty, limit_price,
       stop_price, time_in_force, replaces, holder, epoch, at, order_id, status, filled_qty,
       reason, updated_at
FROM orders
WHERE status NOT IN ('filled', 'canceled', 'expired', 'replaced', 'refused')
  AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)
ORDER BY at, seq;

-- name: update_order
-- What became of an order; the broker's id stays once known.
UPDATE orders SET order_id = coalesce(order_id, %(order_id)s), status = %(status)s,
                  filled_qty = %(filled_qty)s, reason = coalesce(%(reason)s, reason),
                  updated_at = %(updated_at)s
WHERE client_order_id = %(client_order_id)s;

-- fills, positions, trades ----------------------------------------------------

-- name: lock_symbol
-- Bookings of one symbol take turns, also while it has no position row.
SELECT pg_advisory_xact_lock(hashtextextended('greenlight position ' || %(symbol)s, 0));

-- name: has_fill
-- Whether a fill is booked.
SELECT 1 FROM fills WHERE order_id = %(order_id)s AND cum_qty = %(cum_qty)s;

-- name: booked_qty
-- The highest cumulative quantity among the booked fills of an order.
SELECT coalesce(max(cum_qty), 0) FROM fills WHERE order_id = %(order_id)s;

-- name: insert_fill
-- One fill, attributed to the position it changed.
INSERT INTO fills (order_id, cum_qty, execution_id, client_order_id, symbol, side, qty, price,
                   at, fees_usd, regulatory_fees_usd, slippage_usd, shortfall_usd, haircut_usd,
                   position_id)
VALUES (%(order_id)s, %(cum_qty)s, %(execution_id)s, %(client_order_id)s, %(symbol)s, %(side)s,
        %(qty)s, %(price)s, %(at)s, %(fees_usd)s,
        %(regulatory_fees_usd)s, %(slippage_usd)s, %(shortfall_usd)s, %(haircut_usd)s,
        %(position_id)s)
ON CONFLICT (order_id, cum_qty) DO NOTHING;

-- name: position
-- The open position of a symbol.
SELECT position_id, symbol, strategy, qty, cost_usd, realized_usd, stop_price, target_price,
       opened_at, exit_by, closed_at
FROM positions WHERE symbol = %(symbol)s AND closed_at IS NULL;

-- name: lock_position
-- The open position of a symbol, held until this transaction ends.
SELECT position_id, symbol, strategy, qty, cost_usd, realized_usd, stop_price, target_price,
       opened_at, exit_by, closed_at
FROM positions WHERE symbol = %(symbol)s AND closed_at IS NULL FOR UPDATE;

-- name: open_positions
-- All open positions.
SELECT position_id, symbol, strategy, qty, cost_usd, realized_usd, stop_price, target_price,
       opened_at, exit_by, closed_at
FROM positions WHERE closed_at IS NULL ORDER BY symbol;

-- name: closed_positions
-- Positions closed at or after an instant, in the order of closing.
SELECT position_id, symbol, strategy, qty, cost_usd, realized_usd, stop_price, target_price,
       opened_at, exit_by, closed_at
FROM positions WHERE closed_at >= %(start)s ORDER BY closed_at, position_id;

-- name: lock_position_by_id
-- One position while it is open, held until this transaction ends.
SELECT position_id, symbol, strategy, qty, cost_usd, realized_usd, stop_price, target_price,
       opened_at, exit_by, closed_at
FROM positions WHERE position_id = %(position_id)s AND closed_at IS NULL FOR UPDATE;

-- name: position_ids
-- Ids taken by positions of one entry decision.
SELECT position_id FROM positions
WHERE position_id = %(position_id)s OR starts_with(position_id, %(position_id)s || '.');

-- name: insert_position
-- A position that a fill opened.
INSERT INTO positions (position_id, symbol, strategy, qty, cost_usd, realized_usd, stop_price,
                       target_price, opened_at, exit_by, closed_at)
VALUES (%(position_id)s, %(symbol)s, %(strategy)s, %(qty)s, %(cost_usd)s, %(realized_usd)s,
        %(stop_price)s, %(target_price)s, %(opened_at)s, %(exit_by)s, %(closed_at)s);

-- name: update_position
-- What a fill or a corporate action made of an open position.
UPDATE positions SET symbol = %(symbol)s, qty = %(qty)s, cost_usd = %(cost_usd)s, realized_usd = %(realized_usd)s,
                     stop_price = %(stop_price)s, target_price = %(target_price)s,
                     closed_at = %(closed_at)s
WHERE position_id = %(position_id)s;

-- name: leave_by
-- When an open position is to be left; fills that are being booked are not undone.
UPDATE positions SET exit_by = %(exit_by)s WHERE position_id = %(position_id)s;

-- name: position_fills
-- All fills of a position with their fees, in the order of booking.
SELECT execution_id, order_id, client_order_id, symbol, side, qty, price, cum_qty, at, fees_usd,
       haircut_usd
FROM fills WHERE position_id = %(position_id)s ORDER BY seq;

-- name: fills
-- The last so many fills from an instant on, oldest first.
SELECT * FROM (
    SELECT execution_id, order_id, client_order_id, symbol, side, qty, price, cum_qty, at, seq
    FROM fills
    WHERE (%(start)s::timestamptz IS NULL OR at >= %(start)s)
    ORDER BY at DESC, seq DESC LIMIT %(limit)s
) AS latest ORDER BY at, seq;

-- name: insert_trade
-- A closed round trip.
INSERT INTO trades (position_id, symbol, strategy, qty, entry_price, exit_price, opened_at,
                    closed_at, pnl_usd, fees_usd, haircut_usd, exit_reason)
VALUES (%(position_id)s, %(symbol)s, %(strategy)s, %(qty)s, %(entry_price)s, %(exit_price)s,
        %(opened_at)s, %(closed_at)s, %(pnl_usd)s, %(fees_usd)s, %(haircut_usd)s,
        %(exit_reason)s);

-- name: trades
-- The last so many trades closed from an instant on, oldest first.
SELECT * FROM (
    SELECT position_id, symbol, strategy, qty, entry_price, exit_price, opened_at, closed_at,
           pnl_usd, fees_usd, haircut_usd, exit_reason
    FROM trades
    WHERE (%(start)s::timestamptz IS NULL OR closed_at >= %(start)s)
    ORDER BY closed_at DESC, position_id DESC LIMIT %(limit)s
) AS latest ORDER BY closed_at, position_id;

-- name: insert_dividend
-- A payment; a repeated one is left as it was.
INSERT INTO dividends (activity_id, symbol, at, usd, qty, usd_a_share, position_id)
VALUES (%(activity_id)s, %(symbol)s, %(at)s, %(usd)s, %(qty)s, %(usd_a_share)s, %(position_id)s)
ON CONFLICT (activity_id) DO NOTHING;

-- name: dividends
-- The last so many payments from an instant on, oldest first.
SELECT * FROM (
    SELECT activity_id, symbol, at, usd, qty, usd_a_share, position_id
    FROM dividends
    WHERE (%(start)s::timestamptz IS NULL OR at >= %(start)s)
    ORDER BY at DESC, activity_id DESC LIMIT %(limit)s
) AS latest ORDER BY at, activity_id;

-- name: insert_cash_movement
-- A movement of cash; a repeated one is left as it was.
INSERT INTO cash_movements (activity_id, activity_type, at, usd, symbol, description, booked_at)
VALUES (%(activity_id)s, %(activity_type)s, %(at)s, %(usd)s, %(symbol)s, %(description)s,
        %(booked_at)s)
ON CONFLICT (activity_id) DO NOTHING;

-- name: cash_movements
-- The last so many movements of cash from an instant on, oldest first.
SELECT * FROM (
    SELECT activity_id, activity_type, at, usd, symbol, description, booked_at
    FROM cash_movements
    WHERE (%(start)s::timestamptz IS NULL OR at >= %(start)s)
    ORDER BY at DESC, activity_id DESC LIMIT %(limit)s
) AS latest ORDER BY at, activity_id;

-- name: cash
-- Start cash of the account's first run, and what fills, dividends and other movements made of it.
SELECT first.start_cash_usd + coalesce((
    SELECT sum(CASE side WHEN 'sell' THEN qty * price ELSE -qty * price END - fees_usd)
    FROM fills WHERE fills.at >= first.started_at), 0) + coalesce((
    SELECT sum(usd) FROM dividends WHERE dividends.at >= first.started_at), 0) + coalesce((
    SELECT sum(usd) FROM cash_movements WHERE cash_movements.at >= first.started_at), 0)
FROM runs AS first
WHERE first.account_number = (SELECT account_number FROM runs ORDER BY seq DESC LIMIT 1)
ORDER BY first.seq LIMIT 1;

-- evidence --------------------------------------------------------------------

-- name: bars
-- Bars of a symbol and timeframe that start inside a window.
SELECT symbol, starts_at, ends_at, open, high, low, close, volume
FROM bars
WHERE symbol = %(symbol)s AND timeframe = %(timeframe)s
  AND starts_at >= %(start)s AND starts_at < %(end)s
ORDER BY starts_at;

-- name: equity
-- Marks of a source inside a window.
SELECT at, equity_usd, cash_usd, exposure_usd, source
FROM equity WHERE source = %(source)s AND at >= %(start)s AND at < %(end)s ORDER BY at;

-- name: heartbeat_minutes
-- Minutes inside a window in which a component was at work.
SELECT DISTINCT date_trunc('minute', at, 'UTC') AS minute
FROM heartbeats
WHERE component = %(component)s AND at >= %(start)s AND at < %(end)s
ORDER BY minute;

-- name: coverage
-- Coverage readings inside a window, in the order of time and writing.
SELECT position_id, symbol, at, position_qty, covered_qty
FROM coverage WHERE at >= %(start)s AND at < %(end)s ORDER BY at, seq;

-- name: tallies
-- All rows of the ledger counted by what they are.
SELECT * FROM (
    SELECT 'orders' AS of, role AS label, status AS detail, count(*) FROM orders
    GROUP BY role, status
    UNION ALL
    SELECT 'decisions', kind, verdict, count(*) FROM decisions GROUP BY kind, verdict
    UNION ALL
    SELECT 'fills', side, '', count(*) FROM fills GROUP BY side
    UNION ALL
    SELECT 'trades', exit_reason, '', count(*) FROM trades GROUP BY exit_reason
) AS counted ORDER BY of COLLATE "C", label COLLATE "C", detail COLLATE "C";

-- halts, strategy memory, evaluations -----------------------------------------

-- name: insert_halt
-- Entries are halted.
INSERT INTO halts (at, until, reason) VALUES (%(at)s, %(until)s, %(reason)s);

-- name: halts_in_force
-- Halts that nobody lifted and that have not run out.
SELECT halt_id, at, until, reason, lifted_at, lifted_reason
FROM halts WHERE lifted_at IS NULL AND (until IS NULL OR until > %(now)s) ORDER BY halt_id;

-- name: lifted_halts
-- Halts that a person lifted from an instant on.
SELECT halt_id, at, until, reason, lifted_at, lifted_reason
FROM halts WHERE lifted_at >= %(start)s ORDER BY lifted_at, halt_id;

-- name: lift_halts
-- Lift all halts in force.
UPDATE halts SET lifted_at = %(at)s, lifted_reason = %(reason)s
WHERE lifted_at IS NULL AND (until IS NULL OR until > %(at)s);

-- name: upsert_strategy_state
-- Replace what a strategy remembers of a symbol.
INSERT INTO strategy_states (strategy, symbol, at, figures)
VALUES (%(strategy)s, %(symbol)s, %(at)s, %(figures)s)
ON CONFLICT (strategy, symbol) DO UPDATE SET at = excluded.at, figures = excluded.figures;

-- name: strategy_states
-- What a strategy remembers, by symbol.
SELECT strategy, symbol, at, figures
FROM strategy_states WHERE strategy = %(strategy)s ORDER BY symbol;

-- name: insert_evaluation
-- A repeated instant is left as it was.
INSERT INTO readiness (at, evaluation) VALUES (%(at)s, %(evaluation)s)
ON CONFLICT (at) DO NOTHING;

-- name: evaluations
-- Evaluations inside a window, oldest first.
SELECT at, evaluation FROM readiness WHERE at >= %(start)s AND at < %(end)s ORDER BY at;

-- volatility ------------------------------------------------------------------

-- name: insert_forecast
-- A repeated symbol and instant is left as it was.
INSERT INTO forecasts (symbol, at, through, model, distribution, sigma_pct, vol_frac_ann,
                       is_converged, flags, bic, n_obs, params, reason)
VALUES (%(symbol)s, %(at)s, %(through)s, %(model)s, %(distribution)s, %(sigma_pct)s,
        %(vol_frac_ann)s, %(is_converged)s, %(flags)s, %(bic)s, %(n_obs)s, %(params)s, %(reason)s)
ON CONFLICT (symbol, at) DO NOTHING;

-- name: latest_forecasts
-- The newest forecast of each symbol inside a window; attempts that failed are passed over.
SELECT DISTINCT ON (symbol) symbol, at, through, model, distribution, sigma_pct, vol_frac_ann,
       is_converged, flags, bic, n_obs, params
FROM forecasts
WHERE model IS NOT NULL AND at >= %(start)s AND at < %(end)s
ORDER BY symbol, at DESC;

-- name: failed_forecasts
-- Attempts inside a window that failed, oldest first.
SELECT symbol, at, reason FROM forecasts
WHERE reason IS NOT NULL AND at >= %(start)s AND at < %(end)s ORDER BY at, symbol;

-- name: insert_volatility_score
-- A repeated session, symbol and method is left as it was.
INSERT INTO volatility_scores (symbol, session, method, forecast_pct2, realised_pct2, qlike)
VALUES (%(symbol)s, %(session)s, %(method)s, %(forecast_pct2)s, %(realised_pct2)s, %(qlike)s)
ON CONFLICT DO NOTHING;

-- name: volatility_scores
-- Scores of the sessions from one date to another, both included.
SELECT symbol, session, method, forecast_pct2, realised_pct2, qlike
FROM volatility_scores WHERE session >= %(start)s AND session <= %(end)s
ORDER BY session, symbol, method;

-- trials ----------------------------------------------------------------------

-- name: insert_trial
-- The same trial is in the ledger once.
INSERT INTO trials (trial_id, at, kind, code_hash, strategies, params, source, symbols,
                    data_hash, start_day, end_day, figures)
VALUES (%(trial_id)s, %(at)s, %(kind)s, %(code_hash)s, %(strategies)s, %(params)s, %(source)s,
        %(symbols)s, %(data_hash)s, %(start_day)s, %(end_day)s, %(figures)s)
ON CONFLICT (trial_id) DO NOTHING
RETURNING trial_id;

-- name: trials
-- The newest trials, oldest first; no limit is all of them.
SELECT * FROM (
    SELECT trial_id, at, kind, code_hash, strategies, params, source, symbols, data_hash,
           start_day, end_day, figures
    FROM trials ORDER BY at DESC, trial_id DESC LIMIT %(limit)s
) AS newest ORDER BY at, trial_id;

-- walk-forwards ---------------------------------------------------------------

-- name: insert_walkforward_part
-- The same part is kept once.
INSERT INTO walkforward_parts (run_id, part, result)
VALUES (%(run_id)s, %(part)s, %(result)s)
ON CONFLICT (run_id, part) DO NOTHING;

-- name: walkforward_parts
-- What a run that has not ended came to so far.
SELECT part, result FROM walkforward_parts WHERE run_id = %(run_id)s ORDER BY part;

-- name: upsert_walkforward
-- A run that ended; its parts go, and one that was run again takes its own place.
WITH gone AS (DELETE FROM walkforward_parts WHERE run_id = %(run_id)s)
INSERT INTO walkforwards (run_id, at, fingerprint, plan, figures)
VALUES (%(run_id)s, %(at)s, %(fingerprint)s, %(plan)s, %(figures)s)
ON CONFLICT (run_id) DO UPDATE
SET at = excluded.at, fingerprint = excluded.fingerprint, plan = excluded.plan,
    figures = excluded.figures;

-- name: walkforwards
-- The newest walk-forwards, oldest first; no limit is all of them.
SELECT * FROM (
    SELECT run_id, at, fingerprint, plan, figures
    FROM walkforwards ORDER BY at DESC, run_id DESC LIMIT %(limit)s
) AS newest ORDER BY at, run_id;

-- the gate --------------------------------------------------------------------

-- name: insert_universe_return
-- The first return of a day stays.
INSERT INTO universe_returns (day, frac, symbols) VALUES (%(day)s, %(frac)s, %(symbols)s)
ON CONFLICT (day) DO NOTHING;

-- name: universe_returns
-- Returns of the universe from one day to another, both included.
SELECT day, frac, symbols FROM universe_returns
WHERE day >= %(start)s AND day <= %(end)s ORDER BY day;

-- name: insert_out_of_sample
-- The same run is kept once.
INSERT INTO out_of_sample (run_id, at, fingerprint, trials, days)
VALUES (%(run_id)s, %(at)s, %(fingerprint)s, %(trials)s, %(days)s)
ON CONFLICT (run_id) DO NOTHING;

-- name: out_of_samples
-- The runs of one fingerprint, oldest first.
SELECT run_id, at, fingerprint, trials, days FROM out_of_sample
WHERE fingerprint = %(fingerprint)s ORDER BY at, run_id;

-- name: insert_calibration
-- A calibration of the gate; a repeated instant stays.
INSERT INTO calibrations (at, policy_hash, report)
VALUES (%(at)s, %(policy_hash)s, %(report)s) ON CONFLICT (at) DO NOTHING;

-- name: latest_calibration
-- The newest calibration up to an instant.
SELECT at, policy_hash, report FROM calibrations
WHERE at <= %(now)s ORDER BY at DESC LIMIT 1;

-- twins -----------------------------------------------------------------------

-- name: upsert_twin
-- What a session's twin came to; run again, it takes its own place.
INSERT INTO twins (session, account_number, at, fingerprint, decisions, unvalued, detail)
VALUES (%(session)s, %(account_number)s, %(at)s, %(fingerprint)s, %(decisions)s, %(unvalued)s,
        %(detail)s)
ON CONFLICT (session, account_number) DO UPDATE
SET at = excluded.at, fingerprint = excluded.fingerprint, decisions = excluded.decisions,
    unvalued = excluded.unvalued, detail = excluded.detail;

-- name: twins
-- The outcomes of a window of sessions, both ends included.
SELECT session, account_number, at, fingerprint, decisions, unvalued, detail
FROM twins WHERE session BETWEEN %(start)s AND %(end)s ORDER BY session, account_number;

-- drills ----------------------------------------------------------------------

-- name: insert_drill
-- A drill; a repeated one is left as it was.
INSERT INTO drills
    (kind, at, account_kind, recovered_s, bound_s, naked_s, not_recovered, not_told, detail)
VALUES (%(kind)s, %(at)s, %(account_kind)s, %(recovered_s)s, %(bound_s)s, %(naked_s)s,
        %(not_recovered)s, %(not_told)s, %(detail)s)
ON CONFLICT DO NOTHING;

-- name: drills
-- The last so many drills from an instant on, oldest first.
SELECT * FROM (
    SELECT kind, at, account_kind, recovered_s, bound_s, naked_s, not_recovered, not_told, detail
    FROM drills
    WHERE (%(start)s::timestamptz IS NULL OR at >= %(start)s)
    ORDER BY at DESC, kind DESC LIMIT %(limit)s
) AS latest ORDER BY at, kind;

-- outbox ----------------------------------------------------------------------

-- name: insert_alert
-- An alert; one of the same key is left as it was.
INSERT INTO outbox (key, at, event, is_critical, symbol, position_id, facts)
VALUES (%(key)s, %(at)s, %(event)s, %(is_critical)s, %(symbol)s, %(position_id)s, %(facts)s)
ON CONFLICT (key) DO NOTHING;

-- name: open_alerts
-- The first so many alerts that are not at their end.
SELECT seq, key, at, event, symbol, position_id, facts, status, doubts, changed_at, acked_at, note
FROM outbox WHERE status IN ('waiting', 'sending', 'doubtful') ORDER BY seq LIMIT %(limit)s;

-- name: unacknowledged_alerts
-- Critical alerts that were told and that nobody has acknowledged.
SELECT seq, key, at, event, symbol, position_id, facts, status, doubts, changed_at, acked_at, note
FROM outbox
WHERE is_critical AND acked_at IS NULL AND status IN ('sent', 'maybe') ORDER BY seq
LIMIT %(limit)s;

-- name: alerts
-- The last so many alerts from an instant on, oldest first.
SELECT * FROM (
    SELECT seq, key, at, event, symbol, position_id, facts, status, doubts, changed_at, acked_at,
           note
    FROM outbox
    WHERE (%(start)s::timestamptz IS NULL OR at >= %(start)s)
    ORDER BY seq DESC LIMIT %(limit)s
) AS latest ORDER BY seq;

-- name: lock_alert
-- The status of one alert, held until this transaction ends.
SELECT status FROM outbox WHERE seq = %(seq)s FOR UPDATE;

-- name: update_alert
-- How far the telling of an alert has come.
UPDATE outbox SET status = %(status)s, doubts = %(doubts)s, changed_at = %(at)s, note = %(note)s
WHERE seq = %(seq)s;

-- name: acknowledge_alerts
-- Somebody has seen the critical alerts that were told.
UPDATE outbox SET acked_at = %(at)s
WHERE is_critical AND acked_at IS NULL AND status IN ('sent', 'maybe');

-- news ------------------------------------------------------------------------

-- name: insert_headline
-- A headline; a repeated one is left as it was.
INSERT INTO headlines (headline_id, at, headline, symbols, is_synthetic)
VALUES (%(headline_id)s, %(at)s, %(headline)s, %(symbols)s, %(is_synthetic)s)
ON CONFLICT DO NOTHING;

-- name: headlines
-- The last so many headlines from an instant on, oldest first.
SELECT * FROM (
    SELECT at, headline, symbols, is_synthetic, headline_id FROM headlines
    WHERE at >= %(start)s ORDER BY at DESC, headline_id DESC LIMIT %(limit)s
) AS latest ORDER BY at, headline_id;

-- name: insert_opinion
-- What a model thought of a headline for a symbol; a repeated one is left as it was.
INSERT INTO opinions
    (headline_id, symbol, model, digest, prompt_version, read_at, score, relevance, event_type,
     horizon, reason)
VALUES (%(headline_id)s, %(symbol)s, %(model)s, %(digest)s, %(prompt_version)s, %(read_at)s,
        %(score)s, %(relevance)s, %(event_type)s, %(horizon)s, %(reason)s)
ON CONFLICT DO NOTHING;

-- name: opinions
-- The last so many opinions of headlines from an instant on, oldest headline first.
SELECT * FROM (
    SELECT h.at, h.headline, h.symbols, h.is_synthetic, o.symbol, o.model, o.digest,
           o.prompt_version, o.read_at, o.score, o.relevance, o.event_type, o.horizon, o.reason,
           h.headline_id
    FROM opinions AS o JOIN headlines AS h USING (headline_id)
    WHERE h.at >= %(start)s
    ORDER BY h.at DESC, h.headline_id DESC, o.symbol DESC, o.read_at DESC LIMIT %(limit)s
) AS latest ORDER BY at, headline_id, symbol, read_at;

-- name: insert_reading
-- A reading that a strategy was given, or why none; a repeated one is left as it was.
INSERT INTO readings
    (symbol, at, weight, model, score, uncertainty, headlines, is_synthetic, reason)
VALUES (%(symbol)s, %(at)s, %(weight)s, %(model)s, %(score)s, %(uncertainty)s, %(headlines)s,
        %(is_synthetic)s, %(reason)s)
ON CONFLICT DO NOTHING;

-- name: readings
-- The last so many readings from an instant on, oldest first.
SELECT * FROM (
    SELECT symbol, at, weight, model, score, uncertainty, headlines, is_synthetic, reason
    FROM readings WHERE at >= %(start)s ORDER BY at DESC, symbol DESC LIMIT %(limit)s
) AS latest ORDER BY at, symbol;

-- name: upsert_sentiment_state
-- How the model stands now.
INSERT INTO sentiment_state (at, state) VALUES (%(at)s, %(state)s)
ON CONFLICT (is_only) DO UPDATE SET at = excluded.at, state = excluded.state;

-- name: sentiment_state
-- How the model stood last.
SELECT state FROM sentiment_state;
