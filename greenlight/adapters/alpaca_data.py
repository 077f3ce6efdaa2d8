"""Market data from Alpaca: history over REST, and the live streams.

It stands behind the `MarketData` and `Streams` ports. The streams are
alpaca-py's, run on one event loop in one thread; in a lockstep replay the
paper exchange's control socket is read on the same loop, so that a step is
delivered only when all of it has arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import uvloop
import websockets
from alpaca.data.live import StockDataStream
from alpaca.trading.stream import TradingStream

from greenlight.adapters.alpaca_broker import (
    DeadlineClient,
    parse_fill,
    parse_instant,
    parse_order,
)
from greenlight.adapters.rate_limit import Pace, no_pace
from greenlight.domain.market import (
    Bar,
    Dividend,
    Quote,
    Split,
    SymbolChange,
    Tick,
    eastern_date,
    session_on,
)
from greenlight.ports import (
    BrokerUnavailable,
    StepReady,
    StreamEvent,
    StreamKind,
    StreamRefused,
    TradeStreamOpened,
    TradeUpdate,
)

logger = logging.getLogger(__name__)

Sink = Callable[[StreamEvent], None]
_FILL_EVENTS: Final = frozenset({"fill", "partial_fill"})
_MAX_PAGES: Final = 500
_RENAME_S: Final = 5.0


class AlpacaMarketData:
    """The `MarketData` port on Alpaca's data API (feed IEX, raw prices).

    `pace` is called before every page; see `rate_limit`.
    """

    def __init__(
        self,
        *,
        base_url: str,
        key_id: str,
        secret_key: str,
        deadline_s: float,
        pace: Pace = no_pace,
    ) -> None:
        self._pace = pace
        self._client = DeadlineClient(
            base_url=base_url, key_id=key_id, secret_key=secret_key, deadline_s=deadline_s
        )

    def _ask(self, path: str, params: Mapping[str, Any], version: str = "v2") -> Any:
        self._pace(False)
        try:
            return self._client._request("GET", path, dict(params), api_version=version)
        except Exception as error:
            # Whatever the vendor's client raises, history is simply not to be had now.
            raise BrokerUnavailable(f"{path}: {error}") from error

    def bars(
        self, symbols: Sequence[str], timeframe: str, start: datetime, end: datetime
    ) -> dict[str, list[Bar]]:
        """Completed raw bars; see `MarketData.bars`."""
        found: dict[str, list[Bar]] = {symbol: [] for symbol in symbols}
        last = end - timedelta(microseconds=1)
        if not symbols or last < start:
            return found
        params: dict[str, Any] = {
            "symbols": ",".join(symbols),
            "timeframe": timeframe,
            "start": start.isoformat(),
            "end": last.isoformat(),
            "limit": 10000,
            "adjustment": "raw",
            "feed": "iex",
        }
        for _ in range(_MAX_PAGES):
            page = self._ask("/stocks/bars", params)
            for symbol, rows in (page.get("bars") or {}).items():
                found[symbol].extend(_bar(symbol, row, timeframe) for row in rows)
            token = page.get("next_page_token")
            if not token:
                return found
            params["page_token"] = token
        raise BrokerUnavailable(f"more than {_MAX_PAGES} pages of {timeframe} bars")

    def latest_quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """Latest quotes; see `MarketData.latest_quotes`."""
        if not symbols:
            return {}
        page = self._ask("/stocks/quotes/latest", {"symbols": ",".join(symbols), "feed": "iex"})
        return {
            symbol: _quote(symbol, row, parse_instant(row["t"]))
            for symbol, row in (page.get("quotes") or {}).items()
        }

    def splits(self, symbols: Sequence[str], start: date, end: date) -> tuple[Split, ...]:
        """Forward and reverse splits; see `MarketData.splits`."""
        kinds = ("forward_splits", "reverse_splits")
        rows = self._actions(symbols, kinds, start, end)
        with _reading_actions():
            return tuple(
                Split(
                    symbol=row["symbol"],
                    ex_date=date.fromisoformat(row["ex_date"]),
                    ratio=float(row["new_rate"]) / float(row["old_rate"]),
                )
                for row in rows
            )

    def dividends(self, symbols: Sequence[str], start: date, end: date) -> tuple[Dividend, ...]:
        """Cash dividends by ex-date and symbol, both ends included.

        Raises
        ------
        BrokerUnavailable
            No answer, or one that cannot be read.
        """
        rows = self._actions(symbols, ("cash_dividends",), start, end)
        with _reading_actions():
            found = [
                Dividend(
                    symbol=row["symbol"],
                    ex_date=date.fromisoformat(row["ex_date"]),
                    usd_a_share=float(row["rate"]),
                )
                for row in rows
            ]
        return tuple(sorted(found, key=lambda paid: (paid.ex_date, paid.symbol)))

    def symbol_changes(
        self, symbols: Sequence[str], start: date, end: date
    ) -> tuple[SymbolChange, ...]:
        """Name changes; see `MarketData.symbol_changes`."""
        rows = self._actions(symbols, ("name_changes",), start, end)
        with _reading_actions():
            found = [
                SymbolChange(
                    old=row["old_symbol"],
                    new=row["new_symbol"],
                    day=date.fromisoformat(row["process_date"]),
                )
                for row in rows
            ]
        # A question about a symbol also finds those that became it, and new CUSIPs alone.
        mine = [c for c in found if c.old in symbols and c.new != c.old]
        return tuple(sorted(mine, key=lambda change: change.day))

    def _actions(
        self, symbols: Sequence[str], kinds: Sequence[str], start: date, end: date
    ) -> list[Any]:
        """Corporate actions of all pages; `kinds` are the keys of the answer."""
        found: list[Any] = []
        if not symbols:
            return found
        params: dict[str, Any] = {
            "symbols": ",".join(symbols),
            "types": ",".join(kind.removesuffix("s") for kind in kinds),
            "start": start.isoformat(),
            "end": end.isoformat(),
            "limit": 1000,
        }
        for _ in range(_MAX_PAGES):
            page = self._ask("/corporate-actions", params, version="v1")
            actions = page.get("corporate_actions") or {}
            for kind in kinds:
                found += actions.get(kind) or ()
            token = page.get("next_page_token")
            if not token:
                return found
            params["page_token"] = token
        raise BrokerUnavailable(f"more than {_MAX_PAGES} pages of corporate actions")


@contextlib.contextmanager
def _reading_actions() -> Iterator[None]:
    """An answer that cannot be read is no answer."""
    try:
        yield
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise BrokerUnavailable(f"garbled corporate action: {error!r}") from error


def _bar(symbol: str, row: Mapping[str, Any], timeframe: str) -> Bar:
    start = parse_instant(row["t"]) if isinstance(row["t"], str) else _stamp(row["t"])
    if timeframe == "1Day":
        day = eastern_date(start)
        session = session_on(day)
        end = session.close if session is not None else start + timedelta(days=1)
    else:
        end = start + timedelta(minutes=1)
    return Bar(
        symbol=symbol,
        start=start,
        end=end,
        open=float(row["o"]),
        high=float(row["h"]),
        low=float(row["l"]),
        close=float(row["c"]),
        volume=int(row["v"]),
    )


def _quote(symbol: str, row: Mapping[str, Any], at: datetime) -> Quote:
    return Quote(
        symbol=symbol,
        at=at,
        bid=float(row["bp"]),
        ask=float(row["ap"]),
        bid_size=int(row["bs"]),
        ask_size=int(row["as"]),
    )


def _stamp(value: Any) -> datetime:
    """A msgpack Timestamp as aware UTC, cut to microseconds."""
    seconds: int = value.seconds
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=value.nanoseconds // 1000)


class _DataStream(StockDataStream):  # type: ignore[misc, unused-ignore]
    """alpaca-py's stream that tells when the server has confirmed a subscription."""

    on_subscribed: Callable[[], None]
    on_refused: Callable[[str], None]
    on_lost: Callable[[], None]

    async def _start_ws(self) -> None:
        self.on_lost()
        await super()._start_ws()

    def rename(self, old: str, new: str) -> bool:
        """Take the handlers over to another symbol; whether there was any to take."""
        tables = [table for table in self._handlers.values() if old in table]
        for table in tables:
            table[new] = table.pop(old)
        return bool(tables)

    async def _dispatch(self, msg: dict[str, Any]) -> None:
        if msg.get("T") == "subscription":
            self.on_subscribed()
        elif msg.get("T") == "error":
            self.on_refused(f"{msg.get('msg')} ({msg.get('code')})")
        await super()._dispatch(msg)


class _TradeStream(TradingStream):  # type: ignore[misc, unused-ignore]
    """alpaca-py's stream that tells when the server listens."""

    on_listening: Callable[[], None]
    on_lost: Callable[[], None]

    async def _start_ws(self) -> None:
        self.on_lost()
        await super()._start_ws()  # type: ignore[no-untyped-call]

    async def _dispatch(self, msg: dict[str, Any]) -> None:
        if msg.get("stream") == "listening":
            self.on_listening()
        await super()._dispatch(msg)


class AlpacaStreams:
    """The `Streams` port on alpaca-py's two websockets.

    Parameters
    ----------
    data_url, trade_url : str
        Full websocket URLs.
    control_url : str | None
        The paper exchange's lockstep socket; None trades in real time.
    symbols : Sequence[str]
        At most 30 on a free account.
    wants_daily, wants_ticks : bool
        Subscribe to daily bars, to trade prints.
    """

    def __init__(
        self,
        *,
        data_url: str,
        trade_url: str,
        control_url: str | None,
        key_id: str,
        secret_key: str,
        symbols: Sequence[str],
        wants_daily: bool,
        wants_ticks: bool,
    ) -> None:
        self._control_url = control_url
        self._sink: Sink = lambda _: None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._control: websockets.ClientConnection | None = None
        self._is_subscribed = self._is_listening = self._is_announced = False
        # Counted from the beginning of each stream's present connection.
        self._data_seen = self._updates_seen = 0
        self._step: StepReady | None = None
        self._held: list[StreamEvent] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._step_needs: tuple[float, float] = (0, 0)
        self._renamed = threading.Event()
        self._renamed.set()

        self._data = _DataStream(key_id, secret_key, raw_data=True, url_override=data_url)
        self._data.on_subscribed = self._on_subscribed
        self._data.on_refused = lambda reason: self._sink(StreamRefused(reason=reason))
        self._data.on_lost = self._on_lost_data
        self._trades = _TradeStream(key_id, secret_key, raw_data=True, url_override=trade_url)
        self._trades.on_listening = self._on_listening
        self._trades.on_lost = self._on_lost_updates
        if control_url is not None:
            # alpaca-py backs off on the wall clock; a replay would wait for nothing.
            for stream in (self._data, self._trades):
                stream._reconnect_min_backoff = 0.05
                stream._reconnect_max_backoff = 0.5
        names = tuple(symbols)
        self._data.subscribe_quotes(self._on_quote, *names)
        self._data.subscribe_bars(self._on_bar, *names)
        if wants_daily:
            self._data.subscribe_daily_bars(self._on_daily_bar, *names)
        if wants_ticks:
            self._data.subscribe_trades(self._on_tick, *names)
        self._trades.subscribe_trade_updates(self._on_trade_update)

    # -- the port
    def start(self, sink: Sink) -> None:
        """See `Streams.start`. After `stop` nothing begins any more."""
        if self._stopping.is_set():
            return
        self._sink = sink
        self._thread = threading.Thread(target=self._run, name="streams", daemon=True)
        self._thread.start()

    def acknowledge(self, step: StepReady) -> None:
        """See `Streams.acknowledge`."""
        if self._loop is not None:
            ack = {"type": "ack", "seq": step.seq, "trade_updates": step.trade_updates}
            self._loop.call_soon_threadsafe(self._spawn, self._send(ack))

    def reconnect(self, kind: StreamKind) -> None:
        """See `Streams.reconnect`. The client itself makes the new connection."""
        if self._loop is not None and self._loop.is_running():
            stream = self._data if kind is StreamKind.PRICES else self._trades
            self._loop.call_soon_threadsafe(_abort, stream)

    def rename(self, old: str, new: str) -> None:
        """See `Streams.rename`. Returns once the new name comes, or at the next connection will."""
        loop = self._loop
        if not self._data.rename(old, new) or loop is None or not self._data._running:
            return
        self._renamed.clear()
        try:
            sending = asyncio.run_coroutine_threadsafe(self._data._send_subscribe_msg(), loop)
            sending.result(_RENAME_S)
            self._renamed.wait(_RENAME_S)
        except (TimeoutError, websockets.WebSocketException) as error:
            # The connection is gone; the next one asks for the new name.
            logger.warning("rename %s: %s", old, error, extra={"action": "rename"})
        finally:
            self._renamed.set()

    def stop(self) -> None:
        """See `Streams.stop`."""
        self._stopping.set()
        if self._loop is not None and self._loop.is_running():
            self._loop.call_soon_threadsafe(self._cancel_all)
        if self._thread is not None:
            self._thread.join(timeout=5)

    # -- the loop
    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            uvloop.run(self._main())

    def _cancel_all(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._stopping.is_set():
            return
        tasks: list[Coroutine[Any, Any, None]] = [
            self._data._run_forever(),
            self._trades._run_forever(),  # type: ignore[no-untyped-call]
        ]
        if self._control_url is not None:
            tasks.append(self._follow_control(self._control_url))
        await asyncio.gather(*tasks)

    async def _follow_control(self, url: str) -> None:
        while not self._stopping.is_set():
            try:
                async with websockets.connect(url, proxy=None, ping_interval=None) as control:
                    self._control = control
                    self._is_announced = False
                    await self._announce()
                    async for text in control:
                        self._on_control(json.loads(text))
            except (OSError, websockets.WebSocketException) as error:
                logger.warning("lockstep socket: %s", error, extra={"action": "reconnect"})
            self._control = None
            await asyncio.sleep(0.1)

    async def _announce(self) -> None:
        # Until both streams are confirmed the exchange would publish into nothing, and
        # a second word would have it publish the step once more.
        is_whole = self._is_subscribed and self._is_listening and self._control is not None
        if is_whole and not self._is_announced:
            self._is_announced = True
            self._step = None
            await self._send({"type": "ready"})

    async def _send(self, message: Mapping[str, object]) -> None:
        if self._control is not None:
            with contextlib.suppress(websockets.ConnectionClosed):
                await self._control.send(json.dumps(message))

    def _on_control(self, message: Mapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "step":
            self._step = StepReady(
                seq=message["seq"],
                at=parse_instant(message["at"]),
                kind=message["kind"],
                session=date.fromisoformat(message["session"]),
                trade_updates=0,
            )
            data = message["data_messages"]
            # Without a data stream the step is told again once there is one.
            self._step_needs = (math.inf if data is None else data, message["trade_updates"])
        elif kind == "wait" and self._step is not None and message["seq"] == self._step.seq:
            # The step's own data may still be on its way: only the updates are news.
            self._step_needs = (self._step_needs[0], message["trade_updates"])
        else:
            return
        self._deliver_step()

    def _deliver_step(self) -> None:
        step, (data, updates) = self._step, self._step_needs
        if step is None or self._data_seen < data or self._updates_seen < updates:
            return
        # The same step is delivered again only after a further update or a "wait".
        self._step_needs = (0, self._updates_seen + 1)
        self._pass_on(replace(step, trade_updates=self._updates_seen))

    def _pass_on(self, event: StreamEvent) -> None:
        for held in self._held:
            self._sink(held)
        self._held.clear()
        self._sink(event)

    # -- what the streams bring; an exception here would make alpaca-py drop the rest of a batch
    def _on_subscribed(self) -> None:
        if not self._renamed.is_set():
            # A further symbol on the same connection: nothing begins anew.
            self._renamed.set()
            return
        self._is_subscribed, self._is_announced = True, False
        self._data_seen = 0
        self._held.clear()
        self._spawn(self._announce())

    def _on_lost_data(self) -> None:
        self._is_subscribed = False

    def _on_lost_updates(self) -> None:
        self._is_listening = False

    def _on_listening(self) -> None:
        self._is_listening, self._is_announced = True, False
        self._updates_seen = 0
        self._pass_on(TradeStreamOpened())
        self._spawn(self._announce())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _take(self, msg: Any, parse: Callable[[Any], StreamEvent]) -> None:
        try:
            event = parse(msg)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            logger.exception("unreadable message", extra={"action": "refuse_message"})
        else:
            if self._control_url is None:
                self._sink(event)
            else:
                # A step is one piece of work: whoever takes it is woken once.
                self._held.append(event)
        self._data_seen += 1
        self._deliver_step()

    async def _on_quote(self, msg: Any) -> None:
        self._take(msg, lambda m: _quote(m["S"], m, _stamp(m["t"])))

    async def _on_bar(self, msg: Any) -> None:
        self._take(msg, lambda m: _bar(m["S"], m, "1Min"))

    async def _on_daily_bar(self, msg: Any) -> None:
        self._take(msg, lambda m: _bar(m["S"], m, "1Day"))

    async def _on_tick(self, msg: Any) -> None:
        self._take(
            msg,
            lambda m: Tick(symbol=m["S"], at=_stamp(m["t"]), price=float(m["p"]), size=int(m["s"])),
        )

    async def _on_trade_update(self, msg: Any) -> None:
        try:
            self._pass_on(_trade_update(msg["data"]))
        except (KeyError, TypeError, ValueError, ArithmeticError, BrokerUnavailable):
            # The event is lost, its effect is not: the trade gap makes the desk ask over REST.
            logger.exception("unreadable trade update", extra={"action": "refuse_update"})
            self._pass_on(TradeStreamOpened())
        self._updates_seen += 1
        self._deliver_step()


def _abort(stream: StockDataStream | TradingStream) -> None:
    # A closing handshake would wait for a peer that says nothing.
    if stream._ws is not None and stream._ws.transport is not None:
        stream._ws.transport.abort()


def _trade_update(data: Mapping[str, Any]) -> TradeUpdate:
    event = str(data["event"])
    return TradeUpdate(
        event=event,
        at=parse_instant(data["timestamp"]),
        order=parse_order(data["order"]),
        fill=parse_fill(data) if event in _FILL_EVENTS else None,
    )
