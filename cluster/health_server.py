"""The health port: `/healthz`, `/readyz` and `/metrics` on loopback.

It runs in the process of `greenlight up`, which lives as long as the desk and
watches the supervisor, which watches the rest. A request is answered from what the
probes know already.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import ray
from prometheus_client import CONTENT_TYPE_LATEST

from cluster import wiring
from cluster.desk_config import NAMESPACE, DeskConfig
from cluster.health import Readings, components, is_live, read_store
from cluster.health_metrics import scrape
from cluster.json_log import Masker
from cluster.launch import SENTIMENT, SUPERVISOR
from cluster.probes import Probe
from greenlight.adapters.redis_cache import RedisCache
from greenlight.domain.health import Component, is_ready
from greenlight.domain.market import Unavailable
from greenlight.domain.sentiment_status import SentimentStatus

logger = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
MEASURED: Final = ("market-data", "recorder", "risk-gate", "strategist")
"""Actors that have `measures`."""
_ASK_S: Final = 5.0
_REQUEST_S: Final = 5.0


class HealthProbes:
    """The probes of a desk that runs, each on a thread of its own."""

    def __init__(self, config: DeskConfig) -> None:
        self._began_s = time.monotonic()
        self._stopping = threading.Event()
        self._store = wiring.build_store(config)
        broker = wiring.build_broker(config)

        def probe(ask: Callable[[], Any], period_s: float) -> Probe[Any]:
            return Probe(ask, period_s=period_s, monotonic=time.monotonic)

        self._supervisor = probe(partial(_ask, SUPERVISOR, "status"), 1.0)
        self._stream = probe(partial(_ask, "market-data", "stream"), 2.0)
        self._facts = probe(lambda: read_store(self._store, datetime.now(UTC)), 5.0)
        self._broker = probe(broker.account, 10.0)
        self._cache: Probe[bool] | None = None
        if config.redis_url is not None:
            self._cache = probe(RedisCache(config.redis_url).is_up, 5.0)
        self._sentiment: Probe[SentimentStatus] | None = None
        if wiring.settings_of(config).sentiment == "ollama":
            self._sentiment = probe(partial(_ask, SENTIMENT, "status"), 2.0)
        self._measures = {name: probe(partial(_ask, name, "measures"), 5.0) for name in MEASURED}
        self._threads = [
            threading.Thread(target=one.run, args=(self._stopping,), name="probe", daemon=True)
            for one in (
                *(self._supervisor, self._stream, self._facts, self._broker),
                *([] if self._cache is None else [self._cache]),
                *([] if self._sentiment is None else [self._sentiment]),
                *self._measures.values(),
            )
        ]

    def start(self) -> None:
        """Begin to ask."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop asking; a question that hangs is left to itself."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=_ASK_S / len(self._threads))
        self._store.close()

    def read(self) -> Readings:
        """What is known now."""
        return Readings(
            desk_s=time.monotonic() - self._began_s,
            supervisor=self._supervisor.read(),
            stream=self._stream.read(),
            store=self._facts.read(),
            broker=self._broker.read(),
            cache=None if self._cache is None else self._cache.read(),
            sentiment=None if self._sentiment is None else self._sentiment.read(),
            measures={name: probe.read() for name, probe in self._measures.items()},
        )


def _ask(actor: str, method: str) -> Any:
    handle = ray.get_actor(actor, namespace=NAMESPACE)
    return ray.get(handle.call.remote(method), timeout=_ASK_S)


class HealthServer:
    """Answers on a port of this machine until it is stopped.

    Parameters
    ----------
    read : Callable[[], Readings]
        What the probes know now.
    port : int
        On loopback; 0: any free one.
    secrets : Collection[str]
        Never told, not even where an error message holds one.
    """

    def __init__(
        self, read: Callable[[], Readings], *, port: int, secrets: Collection[str]
    ) -> None:
        masker = Masker(secrets)

        class Handler(BaseHTTPRequestHandler):
            timeout = _REQUEST_S

            def do_GET(self) -> None:
                status, kind, body = answer(self.path.partition("?")[0], read, masker)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                logger.debug(format, *args, extra={"action": "health_request"})

        self._server = ThreadingHTTPServer((HOST, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="health", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=_REQUEST_S)


def answer(
    path: str, read: Callable[[], Readings], masker: Masker
) -> tuple[HTTPStatus, str, bytes]:
    """Status, content type and body for a path.

    `/healthz` is 200 while the supervisor turns, `/readyz` while no part is down; both
    503 otherwise, with every part either way.
    """
    if path == "/metrics":
        return HTTPStatus.OK, CONTENT_TYPE_LATEST, scrape(read)
    if path not in {"/healthz", "/readyz"}:
        return HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"/healthz /readyz /metrics\n"
    seen = read()
    parts = components(seen)
    is_well = is_live(seen) if path == "/healthz" else is_ready(parts)
    body = json.dumps(masker.value({"is_well": is_well, "components": _rows(parts)}), indent=2)
    status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
    return status, "application/json", body.encode()


def _rows(parts: Sequence[Component]) -> list[dict[str, object]]:
    return [
        {
            "name": part.name,
            "state": part.state,
            "age_s": None if isinstance(part.age_s, Unavailable) else round(part.age_s, 3),
            "reason": part.reason,
        }
        for part in parts
    ]
