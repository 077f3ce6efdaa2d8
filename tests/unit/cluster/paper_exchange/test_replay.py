"""The replay without a server: what it matches, tells and remembers."""

from __future__ import annotations

import asyncio
import random
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.paper_exchange.engine import ExchangeSettings
from cluster.paper_exchange.faults import FaultBoard
from cluster.paper_exchange.matching import ExchangeCore
from cluster.paper_exchange.order_request import parse_terms
from cluster.paper_exchange.orders import to_ns
from cluster.paper_exchange.refusal import Refused
from cluster.paper_exchange.replay import Replay
from cluster.paper_exchange.source_tapes import SymbolTape
from cluster.paper_exchange.sources import SessionTape
from cluster.paper_exchange.state import Journal
from cluster.paper_exchange.tapes import SymbolSession, TapeLibrary
from cluster.paper_exchange.timeline import MINUTE_NS, Timeline
from cluster.paper_exchange.venue import Venue
from greenlight.adapters.history import DailySeries
from greenlight.domain.market import (
    Dividend,
    Session,
    Split,
    SymbolChange,
    session_on,
    sessions_between,
)

FIRST, LAST = date(2013, 11, 27), date(2013, 12, 2)
SYMBOLS = ("AAA", "BBB", "CCC")


class RandomWalkSource:
    """Three symbols on a seeded random walk; CCC splits 2:1 on the last day."""

    name = "walk"
    is_synthetic = True
    symbols = SYMBOLS

    def sessions(self, start: date, end: date) -> list[Session]:
        return sessions_between(max(start, FIRST), min(end, LAST))

    def splits(self) -> tuple[Split, ...]:
        return (Split(symbol="CCC", ex_date=LAST, ratio=2.0),)

    def dividends(self) -> tuple[Dividend, ...]:
        return (Dividend(symbol="AAA", ex_date=LAST, usd_a_share=0.25),)

    def symbol_changes(self) -> tuple[SymbolChange, ...]:
        return ()

    def daily(self, symbol: str) -> DailySeries:
        raise ValueError(symbol)

    def tape(self, day: date) -> SessionTape:
        session = session_on(day)
        assert session is not None
        tapes = {symbol: walk(session, symbol) for symbol in self.symbols}
        return SessionTape(session=session, symbols=tapes, is_synthetic=True)


def walk(session: Session, symbol: str) -> SymbolTape:
    rng = np.random.default_rng([session.day.toordinal(), ord(symbol[0])])
    counts = rng.integers(0, 6, session.minutes)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    total = int(offsets[-1])
    cents = 10_000 + np.cumsum(rng.integers(-12, 13, total))
    minute_of = np.repeat(np.arange(session.minutes), counts)
    at = np.sort(rng.integers(0, MINUTE_NS, total)) % MINUTE_NS
    at = np.sort(minute_of * MINUTE_NS + at) + to_ns(session.open)
    trade = np.where(rng.random(total) < 0.6, (cents + rng.integers(-2, 4, total)) / 100, np.nan)
    bar = np.full((session.minutes, 4), np.nan)
    for minute in range(session.minutes):
        prints = trade[offsets[minute] : offsets[minute + 1]]
        prints = prints[~np.isnan(prints)]
        if len(prints):
            bar[minute] = prints[0], prints.max(), prints.min(), prints[-1]
    return SymbolTape(
        at_ns=at.astype(np.int64),
        bid=cents / 100,
        ask=(cents + 1) / 100,
        bid_size=np.full(total, 100),
        ask_size=np.full(total, 100),
        trade=trade,
        trade_size=np.where(np.isnan(trade), 0, 100),
        minute_offsets=offsets,
        bar=bar,
        bar_volume=np.where(np.isnan(bar[:, 0]), 0, 100),
        has_made_up_quotes=True,
    )


class ThoroughCore(ExchangeCore):
    """Looks at every event of every symbol with a live order."""

    def is_touched(self, symbol: str, *extremes: float) -> bool:
        return True


def build(folder: Path, core_type: type[ExchangeCore] = ExchangeCore) -> Replay:
    source = RandomWalkSource()
    core = core_type(SYMBOLS, ExchangeSettings(partial_fill_probability=0.2))
    journal = Journal(folder, {"source": "walk"})
    journal.restore(core)
    venue = Venue(
        core=core,
        library=TapeLibrary(source),
        journal=journal,
        faults=FaultBoard(),
        key="k",
        secret="s",
    )
    return Replay(venue, Timeline(source.sessions(FIRST, LAST)))


def trade_at_random(replay: Replay, rng: random.Random, number: int) -> None:
    core = replay.venue.core
    symbol = rng.choice(SYMBOLS)
    price = Decimal(str(core.markets[symbol].price or 100)).quantize(Decimal("0.01"))
    near = price + Decimal(rng.randint(-60, 60)) / 100
    body: dict[str, Any] = {
        "symbol": symbol,
        "qty": rng.randint(1, 20),
        "client_order_id": f"o{number}",
        "time_in_force": rng.choice(["day", "gtc"]),
        "side": rng.choice(["buy", "sell"]),
    }
    kind = rng.choice(["market", "limit", "stop", "trailing_stop", "oco", "cls", "opg"])
    if kind == "oco":
        target, stop = price + Decimal("0.80"), price - Decimal("0.80")
        body |= {"side": "sell", "type": "limit", "order_class": "oco"}
        body |= {"take_profit": {"limit_price": target}, "stop_loss": {"stop_price": stop}}
    elif kind in ("cls", "opg"):
        body |= {"type": "market", "time_in_force": kind}
    elif kind == "trailing_stop":
        body |= {"type": kind, "trail_price": "0.40"}
    else:
        body["type"] = kind
        if kind != "market":
            body["limit_price" if kind == "limit" else "stop_price"] = near
    try:
        core.submit(parse_terms(body), replay.venue.now_ns)
    except Refused:
        return
    if rng.random() < 0.2 and core.orders:
        try:
            core.request_cancel(rng.choice(list(core.orders)), replay.venue.now_ns)
        except Refused:
            return
        core.complete_cancels(replay.venue.now_ns)


def run(replay: Replay, seed: int, until: int | None = None) -> None:
    while not replay.is_finished and (until is None or replay.step.seq <= until):
        replay.advance()
        asyncio.run(replay.publish())
        rng = random.Random(f"{seed}:{replay.step.seq}")
        for number in range(2):
            if rng.random() < 0.3:
                trade_at_random(replay, rng, replay.step.seq * 2 + number)
        replay.venue.commit()
        replay.acknowledge()


def image(replay: Replay) -> tuple[Any, ...]:
    core = replay.venue.core
    orders = [order.wire() for order in core.orders.values()]
    ledger = core.ledger
    positions = {p.symbol: (p.qty, p.cost) for p in ledger.positions.values()}
    return core.activities, orders, ledger.cash, ledger.last_equity, positions


@pytest.mark.parametrize("seed", [1, 2])
def test_replay_when_minutes_are_skipped_then_the_fills_are_those_of_every_event(
    tmp_path: Path, seed: int
) -> None:
    quick, thorough = build(tmp_path / "a"), build(tmp_path / "b", ThoroughCore)
    run(quick, seed)
    run(thorough, seed)
    assert image(quick) == image(thorough)
    assert len(quick.venue.core.activities) > 50


def test_replay_when_run_twice_then_the_same_to_the_last_field(tmp_path: Path) -> None:
    first, second = build(tmp_path / "a"), build(tmp_path / "b")
    run(first, 3)
    run(second, 3)
    assert image(first) == image(second)


@pytest.mark.parametrize(
    "stop_after", [1, 2, 3, 150, 391, 392, 393, 394, 500, 603, 604, 605, 606, 700]
)
def test_replay_when_restarted_between_steps_then_ends_the_same(
    tmp_path: Path, stop_after: int
) -> None:
    whole = build(tmp_path / "whole")
    run(whole, 4)
    first = build(tmp_path / "parts")
    run(first, 4, until=stop_after)
    second = build(tmp_path / "parts")
    assert second.step.seq == stop_after + 1
    for symbol, market in first.venue.core.markets.items():
        again = second.venue.core.markets[symbol]
        for name in ("bid", "ask", "last", "previous_close", "is_opened"):
            assert getattr(again, name) == getattr(market, name), (symbol, name)
    run(second, 4)
    assert image(second) == image(whole)


def test_replay_when_fills_happen_then_each_lies_within_the_quotes_of_its_minute(
    tmp_path: Path,
) -> None:
    replay = build(tmp_path)
    run(replay, 5)
    library = replay.venue.library
    checked = 0
    for row in replay.venue.core.activities:
        if row["activity_type"] != "FILL":
            continue
        at = np.datetime64(row["transaction_time"].rstrip("Z"), "ns").astype(np.int64)
        session = next(s for s in replay.timeline.sessions if to_ns(s.open) <= at <= to_ns(s.close))
        tape = library.session(session.day)[row["symbol"]]
        i = int(np.searchsorted(np.array(tape.at_ns), at, side="right")) - 1
        assert tape.bid[i] <= float(row["price"]) <= tape.ask[i]
        checked += 1
    assert checked > 50


def test_compile_when_minutes_are_empty_then_extremes_that_nothing_reaches() -> None:
    session = session_on(FIRST)
    assert session is not None
    tape = walk(session, "AAA")
    compiled = SymbolSession(tape)
    for minute in range(session.minutes):
        cut = slice(compiled.offsets[minute], compiled.offsets[minute + 1])
        bids, trades = tape.bid[cut], tape.trade[cut]
        prints = trades[~np.isnan(trades)]
        assert compiled.max_bid[minute] == (max(bids) if len(bids) else -np.inf)
        assert compiled.min_ask[minute] == (min(tape.ask[cut]) if len(bids) else np.inf)
        assert compiled.max_trade[minute] == (max(prints) if len(prints) else -np.inf)
        assert compiled.min_trade[minute] == (min(prints) if len(prints) else np.inf)
        bar = compiled.bars[minute]
        assert (bar is None) == (len(prints) == 0)
        if bar is not None:
            assert bar[5] == len(prints)
            assert bar[6] == pytest.approx(prints.mean(), abs=1e-6)
