"""What a plain desk is given: its market, its clock, and what it may wish for."""

from __future__ import annotations

import random
import time
from datetime import date, datetime, timedelta
from pathlib import Path

from greenlight.domain.market import EASTERN, sessions_between
from greenlight.domain.signals import Signal
from tests.exchange_fixture import SPLIT_DAY, SYMBOLS, WAVE

_HISTORY = timedelta(days=110)


def write_source(folder: Path, first: date, last: date) -> str:
    """The wave market with a hundred days of history before it; returns its spec.

    A day of the history has two minutes, so that its daily bar moves by itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    past = sessions_between(first - _HISTORY, first - timedelta(days=1))
    for symbol in SYMBOLS:
        source = random.Random(symbol)
        lines = ["timestamp,open,high,low,close,volume,bid,ask"]
        for session in past:
            for minute in range(2):
                price = round(100 * (1 + source.gauss(0, 0.01)), 2)
                lines.append(_line(session.open + timedelta(minutes=minute), price))
        for session in sessions_between(first, last):
            scale = 2 if symbol == "SPLT" and session.day >= SPLIT_DAY else 1
            for minute in range(session.minutes):
                at = session.open + timedelta(minutes=minute)
                lines.append(_line(at, WAVE[minute % len(WAVE)] / scale))
        (folder / f"{symbol}.csv").write_text("\n".join(lines) + "\n")
    if first < SPLIT_DAY <= last:
        (folder / "splits.csv").write_text(f"symbol,ex_date,ratio\nSPLT,{SPLIT_DAY},2\n")
    return f"csv:{folder}"


def _line(at: datetime, price: float) -> str:
    stamp = at.astimezone(EASTERN).strftime("%Y-%m-%dT%H:%M:%S")
    quote = f"{price - 0.01:.2f},{price + 0.01:.2f}"
    return f"{stamp},{price},{price},{price},{price},400,{quote}"


class DeskClock:
    """The exchange's time, going on by the wall clock between its minutes.

    `skipped_s` is what a test adds to the seconds in which silence is measured: the
    exchange's minutes pass too fast for a true measure.
    """

    def __init__(self, at: datetime) -> None:
        self._mark = at, time.monotonic()
        self.skipped_s = 0.0

    def now(self) -> datetime:
        at, since_s = self._mark
        return at + timedelta(seconds=time.monotonic() - since_s)

    def advance(self, at: datetime) -> None:
        if at > self.now():
            self._mark = at, time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() + self.skipped_s


def wish(symbol: str, at: datetime, **changes: object) -> Signal:
    """A strong wish to buy, with stop and target two per cent away."""
    fields: dict[str, object] = {
        "strategy": "script",
        "symbol": symbol,
        "at": at,
        "confidence": 5,
        "reference_price": 100.0,
        "atr_usd": 1.0,
        "stop_frac": 0.02,
        "target_frac": 0.04,
        "hold_sessions": 3,
        "features": {},
    }
    return Signal(**{**fields, **changes})  # type: ignore[arg-type]
