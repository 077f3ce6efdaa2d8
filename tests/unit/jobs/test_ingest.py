from __future__ import annotations

from datetime import date

import numpy as np

from greenlight.adapters.history import DailySeries, Finding
from greenlight.domain.market import Split
from jobs.ingest import check_source, import_history, list_source

SPLIT = Split(symbol="B", ex_date=date(2013, 10, 4), ratio=2.0)


class TwoSymbols:
    name = "two"
    symbols = ("A", "B")

    def daily(self, symbol: str) -> DailySeries:
        price = np.array([10.0, 10.0])
        return DailySeries(
            symbol=symbol,
            days=np.array(["2013-10-03", "2013-10-04"], dtype="datetime64[D]"),
            open=price,
            high=price + 1,
            low=price - 1,
            close=price,
            volume=np.array([5, 5], dtype=np.int64),
            splits=(SPLIT,) if symbol == "B" else (),
            source="two",
            refused=(
                (Finding(symbol="A", day=date(2013, 10, 2), kind="not_finite", detail="nan"),)
                if symbol == "A"
                else ()
            ),
        )

    def splits(self) -> tuple[Split, ...]:
        return (SPLIT,)


class Memory:
    def __init__(self) -> None:
        self.written: list[tuple[str, str, int]] = []

    def write_daily(self, series: DailySeries) -> int:
        self.written.append(("daily", series.symbol, len(series)))
        return len(series)

    def write_splits(self, splits: tuple[Split, ...]) -> int:
        self.written.append(("splits", ",".join(s.symbol for s in splits), len(splits)))
        return len(splits)


def test_import_when_a_symbol_has_splits_then_they_are_written_before_its_bars() -> None:
    store = Memory()
    done = list(import_history(TwoSymbols(), store))
    assert store.written == [
        ("splits", "", 0),
        ("daily", "A", 2),
        ("splits", "B", 1),
        ("daily", "B", 2),
    ]
    assert [(d.symbol, d.rows, d.first_day, d.last_day, d.splits) for d in done] == [
        ("A", 2, "2013-10-03", "2013-10-04", 0),
        ("B", 2, "2013-10-03", "2013-10-04", 1),
    ]
    assert [f.kind for f in done[0].findings] == ["not_finite"]


def test_list_when_asked_then_each_symbol_has_its_span() -> None:
    listed = list_source(TwoSymbols())
    assert [(row.source, row.symbol, row.rows, row.splits) for row in listed] == [
        ("two", "A", 2, 0),
        ("two", "B", 2, 1),
    ]
    assert listed[0].last_day == "2013-10-04"


def test_check_when_a_row_was_refused_then_it_is_among_the_findings() -> None:
    assert [(f.symbol, f.kind) for f in check_source(TwoSymbols())] == [("A", "not_finite")]
