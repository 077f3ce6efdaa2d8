"""`python -m cluster.paper_exchange`: the exchange as a process.

Decided here: the command line, how the parts are put together, and how the
process starts and ends. It listens on loopback alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cluster.json_log import log_as_json
from cluster.paper_exchange.control import ControlRoutes
from cluster.paper_exchange.engine import ExchangeSettings
from cluster.paper_exchange.faults import FaultBoard
from cluster.paper_exchange.headlines import Headlines
from cluster.paper_exchange.matching import ExchangeCore
from cluster.paper_exchange.replay import Replay
from cluster.paper_exchange.rest import build_app
from cluster.paper_exchange.sources import open_source
from cluster.paper_exchange.state import Journal
from cluster.paper_exchange.tapes import TapeLibrary
from cluster.paper_exchange.timeline import Timeline
from cluster.paper_exchange.venue import Venue

HOST: Final = "127.0.0.1"
USAGE_ERROR: Final = 2
_REQUESTS_PER_MINUTE: Final = 200
_SHUTDOWN_S: Final = 1
# A pooled client connection must not be closed under a request that is on its way.
_KEEP_ALIVE_S: Final = 600


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m cluster.paper_exchange",
        description="A local exchange that speaks Alpaca's API and replays real prices.",
    )
    add = result.add_argument
    add("--source", required=True, help="where the prices come from")
    add("--start", required=True, type=date.fromisoformat, help="first day, YYYY-MM-DD")
    add("--end", required=True, type=date.fromisoformat, help="last day, YYYY-MM-DD")
    add("--port", type=int, default=0, help="port on 127.0.0.1; 0 picks a free one")
    add("--data-dir", required=True, type=Path, help="folder of the exchange's state")
    mode = result.add_mutually_exclusive_group()
    mode.add_argument("--lockstep", action="store_true", help="wait for the desk after each step")
    mode.add_argument("--speed", type=float, help="times real time (default 1)")
    add("--cash", type=Decimal, default=Decimal(100_000), help="starting cash, dollars")
    add("--multiplier", type=int, choices=(1, 2), default=2, help="1 cash account, 2 margin")
    add("--faults", action="store_true", help="open the fault switches")
    add("--partial-fills", type=float, default=0.1, help="share of executions that are partial")
    add("--cancel-delay", type=float, default=0.0, help="seconds until a cancel completes")
    add("--rate-limit", type=int, help="requests a minute; 0 = none (default in lockstep)")
    add("--all-quotes", action="store_true", help="publish every quote of a minute")
    add("--headlines", choices=("none", "synthetic"), default="none", help="news of its own")
    add("--headline-seed", type=int, default=0, help="another seed makes up other headlines")
    add("--subscription", choices=("free", "unlimited"), default="free", help="data plan")
    add("--key", help="API key (default: APCA_API_KEY_ID, else paper-key)")
    add("--secret", help="API secret (default: APCA_API_SECRET_KEY, else paper-secret)")
    return result


class _AbortableProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with its connections within reach of the `drop` fault."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Remember the transport by its client's address."""
        super().connection_made(transport)
        _transports[transport.get_extra_info("peername")[:2]] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the transport."""
        for address, transport in list(_transports.items()):
            if transport is self.transport:
                del _transports[address]
        super().connection_lost(exc)


_transports: dict[tuple[str, int], asyncio.Transport] = {}


def _abort(address: tuple[str, int]) -> None:
    transport = _transports.get((address[0], address[1]))
    if transport is not None:
        transport.abort()


def build(options: argparse.Namespace) -> tuple[Any, Replay]:
    """Put the exchange together from its options.

    Raises
    ------
    ValueError
        A setting is wrong, or the data folder belongs to another replay.
    """
    if options.speed is not None and options.speed <= 0:
        raise ValueError("--speed must be above 0")
    if not 0 <= options.partial_fills < 1:
        raise ValueError("--partial-fills must lie in [0, 1)")
    source = open_source(options.source)
    library = TapeLibrary(source)
    timeline = Timeline(source.sessions(options.start, options.end))
    settings = ExchangeSettings(
        cash=options.cash,
        multiplier=options.multiplier,
        partial_fill_probability=options.partial_fills,
    )
    key, secret = _credentials(options)
    core = ExchangeCore(library.symbols, settings)
    journal = Journal(
        options.data_dir,
        {
            "source": options.source,
            "start": options.start.isoformat(),
            "cash": str(options.cash),
            "multiplier": options.multiplier,
        },
    )
    kept = journal.restore(core)
    venue = Venue(
        core=core,
        library=library,
        journal=journal,
        faults=FaultBoard(),
        key=key,
        secret=secret,
        cancel_delay_s=options.cancel_delay,
        is_free=options.subscription == "free",
        headlines=Headlines(library, timeline.sessions, seed=options.headline_seed)
        if options.headlines == "synthetic"
        else None,
    )
    venue.articles = kept["news"]
    venue.daily_equity = kept["equity"]
    replay = Replay(venue, timeline, publishes_all_quotes=options.all_quotes)
    control = ControlRoutes(
        replay, "lockstep" if options.lockstep else "speed", has_faults=options.faults
    )
    per_minute = options.rate_limit
    if per_minute is None:
        # A minute of the market: a desk at ten times the speed asks ten times as often.
        pace = max(1.0, options.speed or 1.0)
        per_minute = 0 if options.lockstep else round(_REQUESTS_PER_MINUTE * pace)
    return build_app(venue, control, per_minute=per_minute, abort=_abort), replay


class _Server(uvicorn.Server):
    """uvicorn's server, which says on stdout when it listens."""

    port = 0

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT, and end with exit code 0 then."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so in one line of JSON."""
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(json.dumps({"event": "listening", "port": self.port}) + "\n")
            sys.stdout.flush()


async def _serve(app: Any, replay: Replay, listener: socket.socket, speed: float | None) -> None:
    config = uvicorn.Config(
        app,
        http=_AbortableProtocol,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        ws_max_size=1 << 20,
        lifespan="off",
        loop="asyncio",
        access_log=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        log_level="critical",
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    server = _Server(config)
    server.port = listener.getsockname()[1]
    tasks: list[asyncio.Task[None]] = []
    if speed is not None:
        tasks.append(asyncio.create_task(replay.run(speed)))

    async def stop_for_failure() -> None:
        # A replay that died must not leave a server that looks alive.
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            error = None if task.cancelled() else task.exception()
            if error is not None:
                logging.getLogger(__name__).error("the replay failed", exc_info=error)
                server.should_exit = True

    watcher = asyncio.create_task(stop_for_failure()) if tasks else None
    await server.serve(sockets=[listener])
    for task in [*tasks, *([watcher] if watcher else [])]:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the exchange until it is told to stop.

    Returns
    -------
    int
        0, or 2 where a setting or the port cannot be used.
    """
    options = parser().parse_args(arguments)
    key, secret = _credentials(options)
    log_as_json(process="exchange", secrets=(key, secret), folder=None)
    # asyncio sets TCP_NODELAY only where the protocol is named; without it a frame waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, options.port))
    except OSError as error:
        _complain(f"port {options.port} is taken ({error.strerror}); choose another with --port")
        return USAGE_ERROR
    try:
        app, replay = build(options)
    except (ValueError, OSError, LookupError) as error:
        _complain(str(error))
        return USAGE_ERROR
    speed = None if options.lockstep else (options.speed or 1.0)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(app, replay, listener, speed))
    replay.venue.journal.close()
    return 0


def _credentials(options: argparse.Namespace) -> tuple[str, str]:
    key = options.key or os.environ.get("APCA_API_KEY_ID") or "paper-key"
    return key, options.secret or os.environ.get("APCA_API_SECRET_KEY") or "paper-secret"


def _complain(line: str) -> None:
    sys.stderr.write(f"paper exchange: {line}\n")
