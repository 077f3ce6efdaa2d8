"""The engine's trades beside those of backtesting.py and backtrader.

`tests/golden/backtest_peers_twin.py` wrote them: mean reversion on the default data.
"""

from __future__ import annotations

import csv
import math
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from greenlight.adapters.history_bokeh import BOKEH_SYMBOLS, read_bokeh
from greenlight.domain.backtest import simulate
from greenlight.domain.backtest_arrays import Bars
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.indicators import RSI_STATE, rsi_step
from greenlight.domain.market import eastern_date
from tests.backtest_cases import FREE, Wish, terms, wishes
from tests.backtest_cases import market as small_market

GOLDEN = Path(__file__).parents[3] / "golden" / "backtest_peers.csv"
FLAT = (100.0, 100.0, 100.0, 100.0)
Row = tuple[date, date, float, float, float, float]


def golden(peer: str, symbol: str) -> list[Row]:
    with GOLDEN.open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if (r["peer"], r["symbol"]) == (peer, symbol)]
    return [
        (
            date.fromisoformat(r["entry"]),
            date.fromisoformat(r["exit"]),
            float(r["entry_price"]),
            float(r["exit_price"]),
            float(r["fees"]),
            float(r["pnl"]),
        )
        for r in rows
    ]


def ours(symbol: str) -> list[Row]:
    """The engine's trades in shares of the last day; what the end closed is left out."""
    series = read_bokeh(symbol)
    factor = np.ones(len(series))
    for split in series.splits:
        factor[series.days < np.datetime64(split.ex_date)] *= split.ratio
    prices = [values / factor for values in (series.open, series.high, series.low, series.close)]
    close = prices[3]
    state = np.zeros(RSI_STATE)
    rsi = np.array([rsi_step(state, float(price), 14) for price in close])
    want = [Wish(bar=int(i), hold=3, reference=float(close[i])) for i in np.flatnonzero(rsi < 30.0)]
    count = len(close)
    at = np.arange(count, dtype=np.int64)
    # 14:30 UTC lies in every session, so that an instant names its day.
    noon = series.days.astype("datetime64[s]").astype(np.int64) + 52_200
    base = small_market([FLAT])
    bars = Bars(
        *(column.reshape(-1, 1).copy() for column in prices),
        start_s=noon,
        end_s=noon + 3600,
        session=at,
        leave=at,
        returns=np.full((count, 1), math.nan),
        sound=np.ones((count, 1), dtype=np.bool_),
        sec_usd=np.zeros(count),
        taf_usd=np.zeros(count),
        taf_cap_usd=np.zeros(count),
        sector=np.zeros(1, dtype=np.int64),
        last=np.array([count - 1]),
    )
    result = simulate(
        type(base)(symbols=("A",), sectors=("one",), bars=bars, actions=base.actions),
        wishes(want, [(int(i), 0) for i in np.flatnonzero(rsi > 50.0)]),
        limits=RiskLimits(),
        costs=FREE._replace(commission_frac=0.0005),
        terms=terms(count, start_cash_usd=10_000_000.0),
    )
    return [
        (
            eastern_date(trade.opened_at),
            eastern_date(trade.closed_at),
            float(trade.entry_price),
            float(trade.exit_price),
            float(trade.fees_usd),
            float(trade.net_usd),
        )
        for trade in result.trades
        if trade.exit_reason != "end"
    ]


@pytest.mark.parametrize("peer", ["backtesting.py", "backtrader"])
@pytest.mark.parametrize("symbol", BOKEH_SYMBOLS)
def test_trades_when_mean_reversion_runs_then_a_peer_s_to_the_cent(peer: str, symbol: str) -> None:
    expected, found = golden(peer, symbol), ours(symbol)
    assert expected
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine[2:] == pytest.approx(theirs[2:], abs=5e-6)
