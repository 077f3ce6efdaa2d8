"""A paper exchange in a process of its own, for tests that speak to it as clients do.

The wave market: every symbol trades at 100, 101, 102, 101, 100, 99, 98, 99, and
again, one price a minute, bid a cent below and ask a cent above. SPLT splits
2:1 on 2014-06-09 and trades at half the wave from then on.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from websockets.sync.client import ClientConnection, connect

from greenlight.domain.market import EASTERN, session_on, sessions_between

KEY, SECRET = "contract-key", "contract-secret"
WAVE = (100, 101, 102, 101, 100, 99, 98, 99)
SYMBOLS = ("ALFA", "BETA", "DELT", "GAMA", "SPLT", "ZETA")
FIRST_DAY, LAST_DAY = date(2014, 6, 5), date(2014, 6, 20)
SPLIT_DAY = date(2014, 6, 9)


def no_proxy_for_loopback() -> None:
    """Keep `requests` from sending loopback traffic to a proxy."""
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join(dict.fromkeys([*hosts, "127.0.0.1", "localhost"]))


def write_wave_source(folder: Path) -> str:
    """Write the wave market as CSV minute bars; returns the source's spec."""
    folder.mkdir(parents=True, exist_ok=True)
    sessions = sessions_between(FIRST_DAY, LAST_DAY)
    for symbol in SYMBOLS:
        lines = ["timestamp,open,high,low,close,volume,bid,ask"]
        for session in sessions:
            scale = 2 if symbol == "SPLT" and session.day >= SPLIT_DAY else 1
            start = session.open.astimezone(EASTERN)
            for minute in range(session.minutes):
                total = start.hour * 60 + start.minute + minute
                stamp = f"{session.day}T{total // 60:02d}:{total % 60:02d}:00"
                price = WAVE[minute % len(WAVE)] / scale
                quote = f"{price - 0.01:.2f},{price + 0.01:.2f}"
                lines.append(f"{stamp},{price},{price},{price},{price},400,{quote}")
        (folder / f"{symbol}.csv").write_text("\n".join(lines) + "\n")
    (folder / "splits.csv").write_text(f"symbol,ex_date,ratio\nSPLT,{SPLIT_DAY},2\n")
    return f"csv:{folder}"


def open_socket(stack: ExitStack, url: str) -> ClientConnection:
    """A bare websocket that closes with the stack."""
    return stack.enter_context(connect(url, proxy=None, compression=None))


class ExchangeProcess:
    """The server as a subprocess; starting one again on the same folder resumes it."""

    def __init__(
        self,
        source: str,
        data_dir: Path,
        *options: str,
        start: date = FIRST_DAY,
        end: date = LAST_DAY,
        key: str = KEY,
        secret: str = SECRET,
    ) -> None:
        no_proxy_for_loopback()
        self.key, self.secret = key, secret
        command = [sys.executable, "-m", "cluster.paper_exchange", "--source", source]
        command += ["--start", start.isoformat(), "--end", end.isoformat(), "--port", "0"]
        command += ["--data-dir", str(data_dir), "--key", key, "--secret", secret, *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, errors = self.process.communicate(timeout=10)
            raise RuntimeError(f"the exchange did not start: {errors}")
        self.port: int = json.loads(line)["port"]
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """Ask the process to end; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        finally:
            self._close_pipes()

    def kill(self) -> None:
        """End the process without warning."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=5)

    def _close_pipes(self) -> None:
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def request(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any
    ) -> requests.Response:
        """A plain HTTP request with the account's credentials."""
        if headers is None:
            headers = {"APCA-API-KEY-ID": self.key, "APCA-API-SECRET-KEY": self.secret}
        return requests.request(method, self.url + path, headers=headers, timeout=10, **options)

    def state(self) -> dict[str, Any]:
        """The exchange's own account of itself."""
        found: dict[str, Any] = requests.get(self.url + "/control/state", timeout=10).json()
        return found

    def fault(self, match: str, action: str, **options: Any) -> None:
        """Set a fault rule."""
        body = {"match": match, "action": action, **options}
        answer = requests.post(self.url + "/control/faults", json=body, timeout=10)
        assert answer.status_code == 201, answer.text

    def clear_faults(self) -> None:
        """Drop every fault rule."""
        requests.delete(self.url + "/control/faults", timeout=10)


class LockstepDriver:
    """Drives a lockstep exchange step by step, as a desk without any work to do."""

    def __init__(self, exchange: ExchangeProcess) -> None:
        self.exchange = exchange
        self._stack = ExitStack()
        self._socket = open_socket(self._stack, exchange.ws_url + "/control/lockstep")
        self.hello: dict[str, Any] = self._receive()
        self.current: dict[str, Any] = {}
        if not self.hello["finished"]:
            self._send({"type": "ready"})
            self.current = self._receive()

    def close(self) -> None:
        """Let go of the replay."""
        self._stack.close()

    def step(self) -> dict[str, Any]:
        """Acknowledge the present step and wait for the next."""
        ack = {"type": "ack", "seq": self.current["seq"]}
        self._send({**ack, "trade_updates": self.current["trade_updates"]})
        while (message := self._receive())["type"] == "wait":
            self._send({**ack, "trade_updates": message["trade_updates"]})
        self.current = message
        return message

    def until(self, is_done: Callable[[dict[str, Any]], bool], most: int = 1_000) -> dict[str, Any]:
        """Step until a step satisfies a condition."""
        for _ in range(most):
            if is_done(self.step()):
                return self.current
        raise AssertionError(f"not reached within {most} steps; now {self.current}")

    @property
    def minute(self) -> int:
        """Minutes of the session that are over; 0 outside the session."""
        if self.current["kind"] != "minute":
            return 0
        session = session_on(date.fromisoformat(self.current["session"]))
        assert session is not None
        at = datetime.fromisoformat(self.current["at"])
        return int((at - session.open).total_seconds() // 60)

    @property
    def price(self) -> int:
        """The wave's present price."""
        return WAVE[(self.minute - 1) % len(WAVE)]

    def ensure_open(self, spare: int = 30) -> None:
        """Step on, where need be, to a minute with `spare` more to come."""
        while not 0 < self.minute <= 390 - spare:
            self.step()

    def ensure_closed(self) -> None:
        """Step on, where need be, to a `pre_open` step."""
        while self.current["kind"] != "pre_open":
            self.step()

    def to_price(self, price: int) -> None:
        """Step until the wave is at a price."""
        self.until(lambda _: self.minute > 0 and self.price == price)

    def _send(self, message: dict[str, Any]) -> None:
        self._socket.send(json.dumps(message))

    def _receive(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._socket.recv(timeout=20))
        return found


class StreamThread:
    """An alpaca-py stream running in a thread of its own."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        stream._reconnect_min_backoff = stream._reconnect_max_backoff = 0.05
        self._thread = threading.Thread(target=stream.run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the stream and wait for its thread."""
        self.stream.stop()
        # The client looks at its stop flag every five seconds unless its socket ends.
        loop = self.stream._loop
        if loop.is_running() and self.stream._ws is not None:
            asyncio.run_coroutine_threadsafe(self.stream._ws.close(), loop)
        self._thread.join(timeout=10)


def wait_until(is_true: Callable[[], bool], within_s: float = 5.0) -> None:
    """Poll a condition; fail when it does not come true in time."""
    deadline = time.monotonic() + within_s
    while not is_true():
        if time.monotonic() > deadline:
            raise AssertionError("the condition did not come true in time")
        time.sleep(0.005)
