-- The last decision of a kind is asked for at every signal, and may be the oldest row.

CREATE INDEX decisions_kind ON decisions (kind, seq);
