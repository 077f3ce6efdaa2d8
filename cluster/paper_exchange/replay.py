"""The replay: walks the steps, matches the tape, publishes what it shows.

Decided here: what happens in each step and when it is told. Before it stand
the tapes; after it the desk, over the streams. `advance` matches a step,
`publish` tells it, so that an unacknowledged step can be told again without
being matched again. `run` does both on the wall clock for `--speed`; the
control route does it on the desk's word for `--lockstep`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any, Final

import msgpack

from cluster.paper_exchange.orders import to_ns
from cluster.paper_exchange.state import Progress
from cluster.paper_exchange.tapes import SymbolSession
from cluster.paper_exchange.timeline import MINUTE_NS, Step, Timeline
from cluster.paper_exchange.venue import Venue
from greenlight.domain.market import eastern_midnight, next_session, previous_session

log = logging.getLogger(__name__)

_EXCHANGE: Final = "V"
_TAPE: Final = "C"
# What the event loop's timer can tell apart, in wall-clock nanoseconds.
_TIMER_NS: Final = 1_000_000


def _stamp(at_ns: int) -> Any:
    return msgpack.Timestamp.from_unix_nano(at_ns)


class Replay:
    """A venue's progress along a timeline.

    Parameters
    ----------
    venue : Venue
        Core restored, journal open.
    timeline : Timeline
        The steps.
    publishes_all_quotes : bool
        Send every quote of a minute instead of its last alone.
    """

    def __init__(
        self, venue: Venue, timeline: Timeline, *, publishes_all_quotes: bool = False
    ) -> None:
        self.venue = venue
        self.timeline = timeline
        self.publishes_all_quotes = publishes_all_quotes
        self.is_finished = False
        self._session_index = -1
        self._symbols: dict[str, SymbolSession] = {}
        self._prepared: tuple[int, object, list[dict[str, Any]]] | None = None
        progress = venue.journal.progress
        self.step = timeline.step(max(progress.matched, 1))
        self.is_matched = progress.matched == self.step.seq
        if progress.matched and progress.acknowledged >= progress.matched:
            if progress.matched >= timeline.end_seq:
                self.is_finished = True
            else:
                self.step = timeline.step(progress.matched + 1)
                self.is_matched = False
        if not progress.now_ns:
            venue.journal.advance(Progress(0, 0, self.step.at_ns))
            venue.core.day_expiry_ns = to_ns(self.step.session.close)
            self._set_previous_closes(self.step.session.day)
        self._resume(timeline.step(progress.matched) if progress.matched else None)

    # -- walking --------------------------------------------------------------

    def advance(self) -> None:
        """Match the present step, unless that has been done."""
        if self.is_matched:
            return
        step = self.step
        if step.kind == "pre_open":
            self._pre_open(step)
        elif step.kind == "minute":
            self._minute(step)
        elif step.kind == "close":
            self._close(step)
        self._finish_matching(step)

    def _finish_matching(self, step: Step) -> None:
        self.is_matched = True
        extra: dict[str, Any] = {}
        if step.kind == "close":
            point = (step.at_ns // 1_000_000_000, float(self.venue.equity()))
            self.venue.daily_equity.append(point)
            extra["equity"] = point
        acknowledged = self.venue.journal.progress.acknowledged
        self.venue.commit(progress=Progress(step.seq, acknowledged, step.at_ns), **extra)

    def acknowledge(self) -> None:
        """The desk is done with the present step: go on to the next."""
        progress = self.venue.journal.progress
        self.venue.journal.advance(Progress(self.step.seq, self.step.seq, progress.now_ns))
        if self.step.kind == "end":
            self.is_finished = True
            return
        self.step = self.timeline.step(self.step.seq + 1)
        self.is_matched = False

    async def publish(self) -> None:
        """Tell the data subscriber the present step."""
        step = self.step
        if step.kind == "minute":
            await self._tell_headlines(step)
            await self.venue.data.publish(self._prepared_messages(step))
        elif step.kind == "close":
            await self.venue.data.publish(self._daily_messages(step))

    def prepare(self) -> None:
        """Make the next minute's messages while the desk works; no order changes them."""
        step = self.timeline.step(self.step.seq + 1)
        if step.kind == "minute" and step.index == self._session_index:
            subscribed = self.venue.data.subscribed
            self._prepared = step.seq, subscribed, self._minute_messages(step)

    async def run(self, speed: float) -> None:
        """Walk to the end on the wall clock, `speed` times as fast, closed hours skipped."""
        venue = self.venue
        venue.data.is_waiting_bounded = True
        while not self.is_finished:
            step = self.step
            if step.kind == "minute":
                await self._run_minute(step, speed)
            else:
                self.advance()
                await self.publish()
            self.acknowledge()
            await asyncio.sleep(0)

    # -- the steps --------------------------------------------------------------

    def _load(self, step: Step) -> None:
        if self._session_index != step.index:
            self._session_index = step.index
            self._symbols = self.venue.library.session(step.session.day)
            self.venue.minute_equity = []

    def _pre_open(self, step: Step) -> None:
        self._load(step)
        core, library = self.venue.core, self.venue.library
        day = step.session.day
        self._set_previous_closes(day)
        before = previous_session(day).day
        # A dividend is for the shares of the close before, so it comes before the split.
        for paid in library.dividends_between(before, day):
            core.pay_dividend(paid.symbol, Decimal(repr(paid.usd_a_share)), step.at_ns)
        for split in library.splits_between(before, day):
            if split.symbol in core.markets:
                core.split(split.symbol, Decimal(repr(split.ratio)))
        for change in library.symbol_changes_between(before, day):
            core.rename(change.old, change.new, step.at_ns)
        core.day_expiry_ns = to_ns(step.session.close)

    def _set_previous_closes(self, day: date) -> None:
        for symbol, market in self.venue.core.markets.items():
            found = self.venue.library.previous_row(symbol, day)
            if found is not None:
                market.previous_close = found[1]["c"]
            elif market.last > 0:
                market.previous_close = market.last

    def _open(self, step: Step) -> None:
        self._load(step)
        core = self.venue.core
        core.day_expiry_ns = to_ns(step.session.close)
        core.open_session(to_ns(step.session.open))

    def _minute(self, step: Step) -> None:
        if step.minute == 0:
            self._open(step)
        core = self.venue.core
        for _, symbol, i in self._touching_events(step.minute):
            tape = self._symbols[symbol]
            core.on_event(symbol, tape.at_ns[i], tape.bid[i], tape.ask[i], tape.trade[i])
        self._settle_minute(step.minute)
        self._end_minute(step)

    def _touching_events(self, minute: int) -> list[tuple[int, str, int]]:
        # Only symbols whose live orders the minute's extremes can reach.
        core = self.venue.core
        events: list[tuple[int, str, int]] = []
        for symbol, tape in self._symbols.items():
            if not core.live[symbol] or not core.is_touched(
                symbol,
                tape.max_bid[minute],
                tape.min_ask[minute],
                tape.min_trade[minute],
                tape.max_trade[minute],
            ):
                continue
            start, end = tape.offsets[minute], tape.offsets[minute + 1]
            events.extend((tape.at_ns[i], symbol, i) for i in range(start, end))
        events.sort()
        return events

    def _settle_minute(self, minute: int) -> None:
        markets = self.venue.core.markets
        for symbol, tape in self._symbols.items():
            start, end = tape.offsets[minute], tape.offsets[minute + 1]
            if start == end:
                continue
            market, i = markets[symbol], end - 1
            market.bid, market.ask, market.quote_ns = tape.bid[i], tape.ask[i], tape.at_ns[i]
            market.bid_size, market.ask_size = tape.bid_size[i], tape.ask_size[i]
            market.is_opened = True
            while i >= start:
                if tape.trade[i] == tape.trade[i]:
                    market.last, market.last_size = tape.trade[i], tape.trade_size[i]
                    market.last_ns = tape.at_ns[i]
                    break
                i -= 1

    def _end_minute(self, step: Step) -> None:
        venue = self.venue
        if step.minute == step.session.minutes - 1:
            venue.core.close_auction(to_ns(step.session.close))
            following = next_session(step.session.day)
            venue.core.day_expiry_ns = to_ns(following.close)
        venue.minute_equity.append((step.at_ns // 1_000_000_000, self._equity()))

    def _equity(self) -> float:
        ledger, markets = self.venue.core.ledger, self.venue.core.markets
        value = float(ledger.cash)
        for position in ledger.positions.values():
            value += float(position.qty) * markets[position.symbol].price
        return value

    def _close(self, step: Step) -> None:
        self._load(step)
        self.venue.core.end_session(step.at_ns)

    # -- messages -----------------------------------------------------------

    def _prepared_messages(self, step: Step) -> list[dict[str, Any]]:
        prepared, self._prepared = self._prepared, None
        # A later subscription is another table.
        wanted = step.seq, self.venue.data.subscribed
        if prepared is not None and prepared[0] == wanted[0] and prepared[1] is wanted[1]:
            return prepared[2]
        return self._minute_messages(step)

    def _minute_messages(self, step: Step) -> list[dict[str, Any]]:
        self._load(step)
        data, minute = self.venue.data, step.minute
        if data.socket is None:
            return []
        messages: list[dict[str, Any]] = []
        for symbol, tape in self._symbols.items():
            start, end = tape.offsets[minute], tape.offsets[minute + 1]
            if start < end and data.wants("quotes", symbol):
                first = start if self.publishes_all_quotes else end - 1
                messages.extend(quote_message(symbol, tape, i) for i in range(first, end))
            if data.wants("trades", symbol):
                messages.extend(
                    trade_message(symbol, tape, i)
                    for i in range(start, end)
                    if tape.trade[i] == tape.trade[i]
                )
        return messages + self._bar_messages(step)

    def _bar_messages(self, step: Step) -> list[dict[str, Any]]:
        data, messages = self.venue.data, []
        start = _stamp(step.at_ns - MINUTE_NS)
        for symbol, tape in self._symbols.items():
            bar = tape.bars[step.minute]
            if bar is not None and data.wants("bars", symbol):
                messages.append(bar_message("b", symbol, bar, start))
        return messages

    async def _tell_headlines(self, step: Step) -> None:
        venue = self.venue
        if venue.headlines is not None and venue.news.socket is not None:
            for article in venue.headlines.at_minute(step.session, step.minute):
                await venue.publish_article(article)

    def _daily_messages(self, step: Step) -> list[dict[str, Any]]:
        self._load(step)
        data, messages = self.venue.data, []
        day = step.session.day
        start = _stamp(to_ns(eastern_midnight(day)))
        for symbol, tape in self._symbols.items():
            if not data.wants("dailyBars", symbol):
                continue
            bar = daily_bar(self.venue.library.daily_row(symbol, day), tape)
            if bar is not None:
                messages.append(bar_message("d", symbol, bar, start))
        return messages

    # -- on the wall clock ----------------------------------------------------

    async def _run_minute(self, step: Step, speed: float) -> None:
        venue = self.venue
        loop = asyncio.get_running_loop()
        start_ns, start_wall = step.at_ns - MINUTE_NS, loop.time()
        per_ns = 1e-9 / speed

        def simulated() -> int:
            elapsed = int((loop.time() - start_wall) / per_ns)
            return start_ns + min(max(elapsed, 0), MINUTE_NS)

        if step.minute == 0:
            self._open(step)
        self._load(step)
        venue.clock = simulated
        resumed_ns = venue.journal.progress.now_ns
        for due in self._due_groups(step.minute, resumed_ns, _TIMER_NS * speed):
            wait_s = start_wall + (due[-1][0] - start_ns) * per_ns - loop.time()
            await asyncio.sleep(max(wait_s, 0))
            messages: list[dict[str, Any]] = []
            for at_ns, symbol, i in due:
                tape = self._symbols[symbol]
                venue.core.on_event(symbol, at_ns, tape.bid[i], tape.ask[i], tape.trade[i])
                market = venue.core.markets[symbol]
                market.bid_size, market.ask_size = tape.bid_size[i], tape.ask_size[i]
                if venue.data.wants("quotes", symbol):
                    messages.append(quote_message(symbol, tape, i))
                if tape.trade[i] == tape.trade[i]:
                    market.last_size = tape.trade_size[i]
                    if venue.data.wants("trades", symbol):
                        messages.append(trade_message(symbol, tape, i))
            progress = venue.journal.progress
            venue.commit(progress=Progress(progress.matched, progress.acknowledged, due[-1][0]))
            await venue.data.publish(messages)
        await asyncio.sleep(max(start_wall + MINUTE_NS * per_ns - loop.time(), 0))
        venue.clock = lambda: venue.journal.progress.now_ns
        self._end_minute(step)
        self._finish_matching(step)
        await self._tell_headlines(step)
        await venue.data.publish(self._bar_messages(step))

    def _due_groups(
        self, minute: int, after_ns: int, within_ns: float
    ) -> Iterator[list[tuple[int, str, int]]]:
        # Events that lie closer together than the timer can tell leave together.
        events = sorted(
            (tape.at_ns[i], symbol, i)
            for symbol, tape in self._symbols.items()
            for i in range(tape.offsets[minute], tape.offsets[minute + 1])
            if tape.at_ns[i] > after_ns
        )
        group: list[tuple[int, str, int]] = []
        for event in events:
            if group and event[0] - group[0][0] > within_ns:
                yield group
                group = []
            group.append(event)
        if group:
            yield group

    # -- after a restart --------------------------------------------------------

    def _resume(self, last: Step | None) -> None:
        # The market in force is not kept but read again from the tape.
        if last is None:
            return
        core, day = self.venue.core, last.session.day
        if last.index:
            before = self.timeline.sessions[last.index - 1]
            self._symbols = self.venue.library.session(before.day)
            for past in range(before.minutes):
                self._settle_minute(past)
        self._set_previous_closes(day)
        for split in self.venue.library.splits_between(previous_session(day).day, day):
            if split.symbol in core.markets:
                core.markets[split.symbol].split(split.ratio)
        self._load(last)
        core.day_expiry_ns = to_ns(last.session.close)
        # A cancel that was asked for before the end is carried out now.
        self.venue.complete_cancels()
        if last.kind == "pre_open":
            return
        for market in core.markets.values():
            market.forget_quote()
        is_over = last.kind != "minute" or last.minute == last.session.minutes - 1
        minute = last.session.minutes - 1 if last.kind != "minute" else last.minute
        for past in range(minute + 1):
            self._settle_minute(past)
        core.is_open = not is_over
        if is_over:
            core.day_expiry_ns = to_ns(next_session(day).close)
        log.info("resumed", extra={"action": "resume", "step": last.seq})


def quote_message(symbol: str, tape: SymbolSession, i: int) -> dict[str, Any]:
    """The stream's `q` message of one event."""
    return {
        "T": "q",
        "S": symbol,
        "bx": _EXCHANGE,
        "bp": tape.bid[i],
        "bs": tape.bid_size[i],
        "ax": _EXCHANGE,
        "ap": tape.ask[i],
        "as": tape.ask_size[i],
        "c": ["R"],
        "z": _TAPE,
        "t": _stamp(tape.at_ns[i]),
    }


def trade_message(symbol: str, tape: SymbolSession, i: int) -> dict[str, Any]:
    """The stream's `t` message of one event; its id is its place in the session."""
    return {
        "T": "t",
        "S": symbol,
        "i": i + 1,
        "x": _EXCHANGE,
        "p": tape.trade[i],
        "s": tape.trade_size[i],
        "c": ["@"],
        "z": _TAPE,
        "t": _stamp(tape.at_ns[i]),
    }


def bar_message(
    kind: str, symbol: str, bar: tuple[float, float, float, float, int, int, float], start: Any
) -> dict[str, Any]:
    """The stream's `b` or `d` message."""
    open_, high, low, close, volume, count, vwap = bar
    return {
        "T": kind,
        "S": symbol,
        "o": open_,
        "h": high,
        "l": low,
        "c": close,
        "v": volume,
        "n": count,
        "vw": vwap,
        "t": start,
    }


def daily_bar(
    row: dict[str, float] | None, tape: SymbolSession
) -> tuple[float, float, float, float, int, int, float] | None:
    """A session's daily bar: the source's own, or else that of its minute bars."""
    bars = [bar for bar in tape.bars if bar is not None]
    count = sum(bar[5] for bar in bars)
    if row is not None:
        typical = (row["h"] + row["l"] + row["c"]) / 3
        volume = int(row["v"])
        return (row["o"], row["h"], row["l"], row["c"], volume, count, round(typical, 6))
    if not bars:
        return None
    volume = sum(bar[4] for bar in bars)
    value = sum(bar[6] * bar[4] for bar in bars)
    return (
        bars[0][0],
        max(bar[1] for bar in bars),
        min(bar[2] for bar in bars),
        bars[-1][3],
        volume,
        count,
        round(value / volume, 6) if volume else bars[-1][3],
    )
