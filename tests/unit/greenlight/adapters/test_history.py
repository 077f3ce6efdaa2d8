from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from greenlight.adapters.history import DailySeries, check_history, screened
from greenlight.domain.market import Split

Row = tuple[str, float, float, float, float, int]

# Three sessions in a row, Wednesday to Friday.
GOOD: list[Row] = [
    ("2013-10-02", 10.0, 10.5, 9.5, 10.2, 100),
    ("2013-10-03", 10.2, 10.6, 10.0, 10.4, 100),
    ("2013-10-04", 10.4, 10.6, 10.1, 10.3, 100),
]


def series(rows: list[Row], splits: tuple[Split, ...] = ()) -> DailySeries:
    return DailySeries(
        symbol="IBM",
        days=np.array([r[0] for r in rows], dtype="datetime64[D]"),
        open=np.array([r[1] for r in rows]),
        high=np.array([r[2] for r in rows]),
        low=np.array([r[3] for r in rows]),
        close=np.array([r[4] for r in rows]),
        volume=np.array([r[5] for r in rows], dtype=np.int64),
        splits=splits,
        source="test",
    )


def kinds(rows: list[Row], splits: tuple[Split, ...] = ()) -> list[tuple[str, str]]:
    return [(f.day.isoformat(), f.kind) for f in check_history(series(rows, splits))]


def test_check_when_nothing_is_wrong_then_nothing_is_found() -> None:
    assert kinds(GOOD) == []


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (("2013-10-07", 10.0, float("nan"), 9.5, 10.2, 1), "not_finite"),
        (("2013-10-07", 10.0, 10.5, 0.0, 10.2, 1), "not_positive"),
        (("2013-10-07", 10.0, 10.1, 9.5, 10.2, 1), "inconsistent"),
        (("2013-10-07", 10.0, 10.5, 10.1, 10.2, 1), "inconsistent"),
        (("2013-10-07", 10.0, 10.5, 9.5, 10.2, -1), "bad_volume"),
        (("2013-10-04", 10.0, 10.5, 9.5, 10.2, 1), "duplicate"),
        (("2013-10-01", 10.0, 10.5, 9.5, 10.2, 1), "out_of_order"),
    ],
)
def test_screen_when_a_row_cannot_be_used_then_it_is_refused_by_name(row: Row, kind: str) -> None:
    result = screened(series([*GOOD, row]))
    assert [(f.day.isoformat(), f.kind) for f in result.refused] == [(row[0], kind)]
    assert result.days.astype(str).tolist() == [r[0] for r in GOOD]
    assert result.close.tolist() == [10.2, 10.4, 10.3]
    assert kinds([*GOOD, row]) == [(row[0], kind)]


def test_check_when_sessions_are_missing_then_each_run_is_one_hole() -> None:
    # 2013-10-05/06 is a weekend; the 7th and the 8th were sessions.
    later: Row = ("2013-10-09", 10.3, 10.6, 10.1, 10.3, 100)
    found = check_history(series([*GOOD, later]))
    assert [(f.day.isoformat(), f.kind, f.detail) for f in found] == [
        ("2013-10-07", "hole", "2 session(s) missing, to 2013-10-08")
    ]


def test_check_when_a_row_stands_on_a_weekend_then_it_is_reported() -> None:
    saturday: Row = ("2013-10-05", 10.3, 10.6, 10.1, 10.3, 100)
    assert kinds([*GOOD, saturday]) == [("2013-10-05", "not_a_session")]


def test_check_when_one_price_traded_then_it_is_reported() -> None:
    flat: Row = ("2013-10-07", 10.3, 10.3, 10.3, 10.3, 100)
    assert kinds([*GOOD, flat]) == [("2013-10-07", "one_price")]


# AAPL around its 7:1 split, from the exchange's record of those days.
AAPL: list[Row] = [
    ("2014-06-06", 650.0, 651.26, 644.47, 645.57, 12_116_671),
    ("2014-06-09", 92.69, 93.88, 91.75, 93.7, 72_875_948),
]


def test_check_when_a_split_is_not_recorded_then_it_is_suspected() -> None:
    assert kinds(AAPL) == [("2014-06-09", "unrecorded_split")]


def test_check_when_the_split_is_recorded_then_nothing_is_suspected() -> None:
    split = Split(symbol="AAPL", ex_date=date(2014, 6, 9), ratio=7.0)
    assert kinds(AAPL, (split,)) == []


def test_check_when_the_split_is_recorded_on_another_day_then_it_is_suspected() -> None:
    split = Split(symbol="AAPL", ex_date=date(2014, 6, 6), ratio=7.0)
    assert kinds(AAPL, (split,)) == [("2014-06-09", "unrecorded_split")]


def test_check_when_the_price_crashed_by_half_then_it_is_no_split() -> None:
    # AAPL on 2000-09-29 fell from 53.50 to 28.19 on an earnings warning.
    rows: list[Row] = [
        ("2000-09-28", 49.3, 53.8, 48.1, 53.5, 17_000_000),
        ("2000-09-29", 28.19, 29.0, 25.4, 25.75, 132_000_000),
    ]
    assert kinds(rows) == []


def test_row_when_the_day_is_missing_then_there_is_none() -> None:
    found = series(GOOD)
    assert found.row(date(2013, 10, 3)) == 1
    assert found.row(date(2013, 10, 5)) is None
    assert found.row(date(2013, 10, 7)) is None
