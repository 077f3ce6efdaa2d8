from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

import numpy as np

from greenlight.adapters.history import DailySeries, Finding
from greenlight.domain.market import Bar, Split
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


class Memory:
    def __init__(self) -> None:
        self.bars: list[Bar] = []

    def write_bars(self, bars: Sequence[Bar]) -> None:
        self.bars.extend(bars)


def test_import_when_a_source_has_two_symbols_then_their_sessions_are_written() -> None:
    store = Memory()
    done = list(import_history(TwoSymbols(), store))
    assert [(bar.symbol, bar.close, bar.volume) for bar in store.bars] == [
        ("A", 10.0, 5),
        ("A", 10.0, 5),
        ("B", 10.0, 5),
        ("B", 10.0, 5),
    ]
    # 2013-10-03 in New York: midnight is 04:00 UTC, the close 20:00 UTC.
    assert store.bars[0].start == datetime(2013, 10, 3, 4, tzinfo=UTC)
    assert store.bars[0].end == datetime(2013, 10, 3, 20, tzinfo=UTC)
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
