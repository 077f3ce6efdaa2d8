-- What an exit waits for, done in the server so that it takes one round trip.

-- The caller's epoch is its holder's current one, and stays so until the
-- transaction ends; SQLSTATE GL001 otherwise.
CREATE FUNCTION require_epoch(p_holder text, p_epoch bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    v_current bigint;
BEGIN
    SELECT epoch INTO v_current FROM epochs WHERE holder = p_holder FOR SHARE;
    IF v_current IS DISTINCT FROM p_epoch THEN
        RAISE EXCEPTION '% acts in epoch %, it is %', p_holder, p_epoch, v_current
            USING ERRCODE = 'GL001';
    END IF;
    RETURN true;
END
$$;

-- Append a decision to the chain; false where it is there already. p_canonical
-- is the text that is hashed (greenlight.domain.audit.canonical).
CREATE FUNCTION append_decision(
    p_decision_id text, p_at timestamptz, p_kind text, p_verdict text, p_symbol text,
    p_strategy text, p_reason text, p_figures json, p_canonical text
) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    v_head chain_head%ROWTYPE;
    v_hash text;
BEGIN
    SELECT * INTO STRICT v_head FROM chain_head FOR UPDATE;
    IF EXISTS (SELECT 1 FROM decisions WHERE decision_id = p_decision_id) THEN
        RETURN false;
    END IF;
    v_hash := encode(sha256(convert_to(v_head.row_hash || E'\n' || p_canonical, 'UTF8')), 'hex');
    INSERT INTO decisions (seq, decision_id, at, kind, verdict, symbol, strategy, reason,
                           figures, previous_hash, row_hash)
    VALUES (v_head.seq + 1, p_decision_id, p_at, p_kind, p_verdict, p_symbol, p_strategy,
            p_reason, p_figures, v_head.row_hash, v_hash);
    UPDATE chain_head SET seq = v_head.seq + 1, row_hash = v_hash;
    RETURN true;
END
$$;

-- Check the epoch, append the decision (where there is one), insert the order;
-- false where the order is there already.
CREATE FUNCTION record_intent(p_order json, p_decision json, p_canonical text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    v_order orders%ROWTYPE := json_populate_record(NULL::orders, p_order);
    v_decision decisions%ROWTYPE;
BEGIN
    PERFORM require_epoch(v_order.holder, v_order.epoch);
    IF p_decision IS NOT NULL THEN
        v_decision := json_populate_record(NULL::decisions, p_decision);
        PERFORM append_decision(
            v_decision.decision_id, v_decision.at, v_decision.kind, v_decision.verdict,
            v_decision.symbol, v_decision.strategy, v_decision.reason, v_decision.figures,
            p_canonical);
    END IF;
    INSERT INTO orders (client_order_id, decision_id, role, attempt, symbol, side, kind, qty,
                        limit_price, stop_price, time_in_force, replaces, holder, epoch, at,
                        status, updated_at)
    VALUES (v_order.client_order_id, v_order.decision_id, v_order.role, v_order.attempt,
            v_order.symbol, v_order.side, v_order.kind, v_order.qty, v_order.limit_price,
            v_order.stop_price, v_order.time_in_force, v_order.replaces, v_order.holder,
            v_order.epoch, v_order.at, 'intended', v_order.at)
    ON CONFLICT (client_order_id) DO NOTHING;
    RETURN FOUND;
END
$$;
