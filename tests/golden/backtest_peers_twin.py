"""Trades of backtesting.py and backtrader on one strategy, written beside this file.

Mean reversion on the daily data of bokeh_sampledata in shares of the last day: buy
100 shares at the next open while Wilder's RSI(14) is below 30 and nothing is held (or
what is held leaves at that open); a stop 5% below the close that was seen, rounded up
to the cent, at work from the entry's bar on; leave at the next open after a close with
an RSI above 50, or after three bars. A commission of 5 bps on each side.

Neither package is one of ours. In an environment of their own:

    uv venv /tmp/peers && uv pip install --python /tmp/peers/bin/python \
        backtesting==0.6.5 backtrader==1.9.78.123 bokeh_sampledata numpy
    PYTHONPATH=. /tmp/peers/bin/python tests/golden/backtest_peers_twin.py
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Any

import backtesting
import backtrader
import numpy as np
import pandas as pd

from greenlight.adapters.history_bokeh import BOKEH_SYMBOLS, read_bokeh

CASH, QTY, BARS, COMMISSION = 10_000_000, 100, 3, 0.0005
COLUMNS = ("peer", "symbol", "entry", "exit", "entry_price", "exit_price", "fees", "pnl")
Row = tuple[Any, ...]


def prices(symbol: str) -> pd.DataFrame:
    """Daily bars in shares of the last day."""
    series = read_bokeh(symbol)
    factor = np.ones(len(series))
    for split in series.splits:
        factor[series.days < np.datetime64(split.ex_date)] *= split.ratio
    columns = {"Open": series.open, "High": series.high, "Low": series.low, "Close": series.close}
    table = pd.DataFrame({name: values / factor for name, values in columns.items()})
    table["Volume"] = series.volume
    table.index = pd.DatetimeIndex(series.days)
    return table


def stop_price(close: float) -> float:
    return float(Decimal(repr(float(close) * 0.95)).quantize(Decimal("0.01"), rounding=ROUND_UP))


def wilder(close: Any, period: int = 14) -> np.ndarray[Any, Any]:
    """RSI as in Wilder's book: means of the first changes, then his smoothing."""
    change = np.diff(np.asarray(close, dtype=float))
    up, down = np.maximum(change, 0), np.maximum(-change, 0)
    found = np.full(len(change) + 1, math.nan)
    gain, loss = up[:period].mean(), down[:period].mean()
    found[period] = 100 - 100 / (1 + gain / loss)
    for i in range(period, len(change)):
        gain = (gain * (period - 1) + up[i]) / period
        loss = (loss * (period - 1) + down[i]) / period
        found[i + 1] = 100 - 100 / (1 + gain / loss)
    return found


class WithBacktesting(backtesting.Strategy):  # type: ignore[misc]
    def init(self) -> None:
        # Without a NaN, because the package leaves out the first bar after the last of them.
        self.rsi = self.I(lambda close: np.nan_to_num(wilder(close), nan=50.0), self.data.Close)

    def next(self) -> None:
        is_leaving = False
        if self.position:
            trade = self.trades[-1]
            held = len(self.data) - trade.entry_bar
            is_leaving = self.rsi[-1] > 50 or held >= BARS
            if is_leaving:
                trade.close()
        if self.rsi[-1] < 30 and (not self.position or is_leaving):
            self.buy(size=QTY, sl=stop_price(self.data.Close[-1]))


def by_backtesting(symbol: str) -> Iterator[Row]:
    test = backtesting.Backtest(
        prices(symbol), WithBacktesting, cash=CASH, commission=COMMISSION, finalize_trades=False
    )
    for trade in test.run()["_trades"].itertuples():
        fees = (trade.EntryPrice + trade.ExitPrice) * trade.Size * COMMISSION
        assert math.isclose(trade.Commission, fees)
        gain = (trade.ExitPrice - trade.EntryPrice) * trade.Size
        assert math.isclose(trade.PnL, gain - fees, abs_tol=1e-6)
        yield (
            trade.EntryTime.date(),
            trade.ExitTime.date(),
            trade.EntryPrice,
            trade.ExitPrice,
            fees,
            gain - fees,
        )


class WithBacktrader(backtrader.Strategy):  # type: ignore[misc]
    def __init__(self) -> None:
        self.rsi = backtrader.ind.RSI(self.data.close, period=14, safediv=True)
        self.stop_order: Any = None
        self.entered = 0
        self.fills: list[Any] = []

    def notify_order(self, order: Any) -> None:
        if order.status == order.Completed:
            done = order.executed
            self.fills.append((self.data.datetime.date(0), done.size, done.price, done.comm))
            if order.isbuy():
                self.entered = len(self)

    def next(self) -> None:
        is_leaving = False
        if self.position.size:
            held = len(self) - self.entered + 1
            is_leaving = self.rsi[0] > 50 or held >= BARS
            if is_leaving:
                self.cancel(self.stop_order)
                self.sell(size=QTY)
        if self.rsi[0] < 30 and (not self.position.size or is_leaving):
            self.buy(size=QTY)
            self.stop_order = self.sell(
                size=QTY, exectype=backtrader.Order.Stop, price=stop_price(self.data.close[0])
            )


def by_backtrader(symbol: str) -> Iterator[Row]:
    cerebro = backtrader.Cerebro(stdstats=False)
    cerebro.broker.setcash(CASH)
    cerebro.broker.setcommission(commission=COMMISSION)
    cerebro.adddata(backtrader.feeds.PandasData(dataname=prices(symbol)))
    cerebro.addstrategy(WithBacktrader)
    fills = cerebro.run()[0].fills
    for bought, sold in zip(fills[::2], fills[1::2], strict=False):
        assert (bought[1], sold[1]) == (QTY, -QTY)
        fees = bought[3] + sold[3]
        gain = (sold[2] - bought[2]) * QTY
        yield bought[0], sold[0], bought[2], sold[2], fees, gain - fees


def main() -> None:
    path = Path(__file__).with_name("backtest_peers.csv")
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for peer, run in (("backtesting.py", by_backtesting), ("backtrader", by_backtrader)):
            for symbol in BOKEH_SYMBOLS:
                for entry, left, *numbers in sorted(run(symbol)):
                    told = [repr(round(float(number), 9)) for number in numbers]
                    writer.writerow((peer, symbol, entry, left, *told))


if __name__ == "__main__":
    main()
