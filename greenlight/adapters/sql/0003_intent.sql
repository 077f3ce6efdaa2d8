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
