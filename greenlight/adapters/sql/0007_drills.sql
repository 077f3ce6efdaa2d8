-- Drills: what was taken away from a running desk, and how it recovered. A figure
-- that was not seen is null, and its column of reasons says why.

CREATE TABLE drills (
    kind text NOT NULL,
    at timestamptz NOT NULL,
    account_kind text NOT NULL,
    recovered_s double precision,
    bound_s double precision NOT NULL,
    naked_s double precision,
    not_recovered text,
    not_told text,
    detail text NOT NULL,
    PRIMARY KEY (kind, at),
    CHECK ((recovered_s IS NULL) <> (not_recovered IS NULL)),
    CHECK ((naked_s IS NULL) <> (not_told IS NULL))
);
