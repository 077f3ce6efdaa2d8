"""Exit latency: from the tick that leaves the exchange to the exit that reaches it.

A made-up symbol falls through the stop once every forty minutes of market time,
in its quotes alone, so that the broker's own stop (which waits for a print) stays
quiet and the monitor has to act. Both the desk and a bare asyncio script on
alpaca-py's own clients talk to their exchange through the same tap, which notes
when the quote passed and when the order request passed. The bare script keeps no
record, checks no epoch and watches one symbol in one process: it is what the
reaction costs at the least.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import psutil
import websockets
from alpaca.data.live import StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderClass, OrderSide, TimeInForce
from alpaca.trading.requests import (
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLossRequest,
    TakeProfitRequest,
)
from alpaca.trading.stream import TradingStream

from cluster.desk import Desk
from greenlight.domain.market import sessions_between
from greenlight.settings import load_settings
from tests.benchmarks.tap import Tap

NAME = "exit_latency"
GOAL = 2.5
SYMBOL = "TEST"
FIRST, START, END = date(2013, 10, 1), date(2013, 10, 2), date(2013, 10, 18)
CYCLE, BUY_AT, FALL_AT = 40, 22, 30
"""Minutes of a cycle; the script's entry; the minute in which the quotes fall."""
KEY, SECRET = "PAPER", "paper-exchange"


def write_history(folder: Path) -> None:
    """Minutes that drift up, dip (the desk buys), and fall in their quotes alone."""
    lines = ["timestamp,open,high,low,close,volume,bid,ask"]
    for session in sessions_between(FIRST, END):
        price = 100.0
        for minute in range(session.minutes):
            place = minute % CYCLE
            price += -0.12 if 14 <= place < 24 else 0.04 + 0.03 * (-1) ** minute
            bid = price * 0.92 if FALL_AT <= place < FALL_AT + 2 else price - 0.01
            at = (session.open + timedelta(minutes=minute)).isoformat()
            lines.append(
                f"{at},{price:.2f},{price + 0.01:.2f},{price - 0.01:.2f},{price:.2f},10000,"
                f"{bid:.2f},{bid + 0.02:.2f}"
            )
    folder.mkdir(parents=True)
    (folder / f"{SYMBOL}.csv").write_text("\n".join(lines) + "\n")


class TappedDesk(Desk):
    """A desk that reaches its exchange through a tap."""

    tap: Tap

    def _reach(self, port: int) -> int:
        self.tap = Tap(port)
        return self.tap.port


def memory_by_process() -> dict[str, int]:
    """Resident MiB of every process of the desk, by what it is."""
    found: dict[str, int] = {}
    for process in psutil.Process().children(recursive=True):
        try:
            words = process.cmdline()
            name = words[0] if words and words[0].startswith("ray::") else process.name()
            if "cluster.paper_exchange" in words:
                name = "paper exchange"
            found[name] = found.get(name, 0) + process.memory_info().rss // 2**20
        except psutil.Error:
            continue
    return found


def by_the_desk(folder: Path, home: Path) -> tuple[list[float], dict[str, int]]:
    """Milliseconds from the quote to the exit, for every exit; and memory."""
    settings = load_settings(
        home=home,
        source=f"csv:{folder}",
        start=START,
        end=END,
        timeframe="1Min",
        exchange_port=0,
        partial_fill_probability=0.0,
    )
    desk = TappedDesk(settings, with_pages=False, say=lambda _: None)
    desk.start()
    try:
        while not desk.replay_state().is_finished:
            time.sleep(0.2)
        memory = memory_by_process()
    finally:
        desk.stop()
        desk.tap.stop()
    return _exits(desk.tap), memory


def by_a_bare_script(folder: Path, home: Path) -> list[float]:
    """The same reaction in one process with alpaca-py's clients."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "cluster.paper_exchange", "--source", f"csv:{folder}"),
            *("--start", START.isoformat(), "--end", END.isoformat(), "--port", "0"),
            *("--data-dir", str(home / "bare"), "--lockstep", "--partial-fills", "0"),
            *("--key", KEY, "--secret", SECRET),
        ],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    tap = Tap(json.loads(process.stdout.readline())["port"])
    try:
        asyncio.run(BareScript(tap.port).run())
    finally:
        process.terminate()
        process.wait()
        tap.stop()
    return _exits(tap)


def _exits(tap: Tap) -> list[float]:
    return [1e3 * (sent - data) for verb, sent, data in tap.orders if verb == b"PATCH"]


class BareScript:
    """Buys, protects by an OCO pair, and leaves when the bid is at the stop."""

    def __init__(self, port: int) -> None:
        self._ws = f"ws://127.0.0.1:{port}"
        self._client = TradingClient(KEY, SECRET, url_override=f"http://127.0.0.1:{port}")
        self._data = StockDataStream(KEY, SECRET, raw_data=True, url_override=f"{self._ws}/v2/iex")
        self._trades = TradingStream(KEY, SECRET, url_override=f"{self._ws}/stream")
        self._data.subscribe_quotes(self._on_quote, SYMBOL)
        self._data.subscribe_bars(self._on_bar, SYMBOL)
        self._trades.subscribe_trade_updates(self._on_update)
        self._parent: str | None = None
        self._stop = 0.0
        self._entered = False
        self._data_seen = self._updates_seen = 0

    async def run(self) -> None:
        """Trade until the replay ends."""
        tasks = [
            asyncio.ensure_future(self._data._run_forever()),
            asyncio.ensure_future(self._trades._run_forever()),
        ]
        await asyncio.sleep(1.5)
        async with websockets.connect(f"{self._ws}/control/lockstep", proxy=None) as control:
            await control.send('{"type":"ready"}')
            seq, needs = -1, (0, 0)
            async for text in control:
                message = json.loads(text)
                if message["type"] == "step":
                    seq = message["seq"]
                    needs = (message["data_messages"], message["trade_updates"])
                elif message["type"] == "wait":
                    needs = (0, message["trade_updates"])
                else:
                    continue
                while self._data_seen < needs[0] or self._updates_seen < needs[1]:
                    await asyncio.sleep(0)
                await control.send(
                    json.dumps({"type": "ack", "seq": seq, "trade_updates": self._updates_seen})
                )
                if message.get("kind") == "end":
                    break
        for task in tasks:
            task.cancel()

    async def _on_quote(self, quote: dict) -> None:  # type: ignore[type-arg]
        if self._parent is not None and quote["bp"] <= self._stop:
            request = ReplaceOrderRequest(limit_price=round(quote["bp"] * 0.998, 2))
            self._client.replace_order_by_id(self._parent, request)
            self._parent = None
        self._data_seen += 1

    async def _on_bar(self, bar: dict) -> None:  # type: ignore[type-arg]
        minute = int(bar["t"].seconds // 60) % 1440 - (13 * 60 + 30)
        if minute % CYCLE == BUY_AT and not self._entered:
            self._entered = True
            self._client.submit_order(
                MarketOrderRequest(
                    symbol=SYMBOL, qty=100, side=OrderSide.BUY, time_in_force=TimeInForce.DAY
                )
            )
        self._data_seen += 1

    async def _on_update(self, update: object) -> None:
        event, order = str(update.event), update.order  # type: ignore[attr-defined]
        if event.endswith("fill") and order.side == OrderSide.BUY:
            price = float(order.filled_avg_price)
            self._stop = round(price * 0.95, 2)
            self._parent = str(
                self._client.submit_order(
                    LimitOrderRequest(
                        symbol=SYMBOL,
                        qty=100,
                        side=OrderSide.SELL,
                        time_in_force=TimeInForce.GTC,
                        order_class=OrderClass.OCO,
                        limit_price=round(price * 1.05, 2),
                        take_profit=TakeProfitRequest(limit_price=round(price * 1.05, 2)),
                        stop_loss=StopLossRequest(stop_price=self._stop),
                    )
                ).id
            )
        elif event.endswith("fill"):
            self._entered = False
        self._updates_seen += 1


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def run() -> dict[str, object]:
    """Measure, print lines for people, return the result."""
    home = Path(tempfile.mkdtemp(prefix="greenlight-bench-"))
    folder = home / "history"
    write_history(folder)
    ratios = []
    try:
        for _ in range(3):
            desk_ms, memory = by_the_desk(folder, home / "desk")
            bare_ms = by_a_bare_script(folder, home)
            shutil.rmtree(home / "desk")
            shutil.rmtree(home / "bare")
            for who, values in (("desk", desk_ms), ("bare script", bare_ms)):
                print(
                    f"  {who:12} p50 {statistics.median(values):6.2f} ms  "
                    f"p99 {_percentile(values, 0.99):6.2f} ms  {len(values)} exits"
                )
            ratios.append(statistics.median(desk_ms) / statistics.median(bare_ms))
        for name, mib in sorted(memory.items(), key=lambda item: -item[1]):
            print(f"  {mib:5} MiB  {name}")
    finally:
        shutil.rmtree(home, ignore_errors=True)
    value = statistics.median(ratios)
    return {
        "name": NAME,
        "value": round(value, 2),
        "unit": "times the bare script's p50",
        "goal": GOAL,
        "ok": value <= GOAL,
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
    }
