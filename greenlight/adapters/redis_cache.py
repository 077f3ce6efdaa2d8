"""The fast copy on Redis: latest quotes and heartbeats.

Before it stands market data and the recorder; after it the dashboard. Nothing
here is the truth: a Redis that is away costs one short wait a second and
nothing else. Prices are float64 US dollars, times aware UTC.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from greenlight.domain.audit import instant_text
from greenlight.domain.market import Quote

_log = logging.getLogger(__name__)

_QUOTES: Final = "greenlight:quotes"
_BEATS: Final = "greenlight:beats"
_REST_S: Final = 1.0
"""How long a Redis that failed is left alone."""

_T = TypeVar("_T")


class RedisCache:
    """`greenlight.ports.Cache` on Redis; safe to share between threads.

    No method raises: without Redis writes are dropped and reads are empty.

    Parameters
    ----------
    url : str
        ``redis://…`` or ``unix://…``.
    timeout_s : float
        Seconds that connecting or one answer may take.
    monotonic : Callable
        Seconds that never go back, for the rest after a failure.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float = 0.2,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
        )
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._silent_until = float("-inf")

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def put_quotes(self, quotes: Sequence[Quote]) -> None:
        """Keep the latest quote by symbol, all in one round trip."""
        if quotes:
            values: dict[Any, Any] = {quote.symbol: _quote_text(quote) for quote in quotes}
            self._try(lambda: self._redis.hset(_QUOTES, mapping=values), None)

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """Latest quotes of the symbols that have one."""
        if not symbols:
            return {}
        found: list[str | None] = self._try(
            lambda: self._redis.hmget(_QUOTES, list(symbols)), [None] * len(symbols)
        )
        pairs = zip(symbols, found, strict=True)
        read = {symbol: _quote_of(symbol, text) for symbol, text in pairs if text is not None}
        return {symbol: quote for symbol, quote in read.items() if quote is not None}

    def beat(self, component: str, at: datetime) -> None:
        """Keep the latest heartbeat of a component."""
        self._try(lambda: self._redis.hset(_BEATS, component, instant_text(at)), None)

    def beats(self) -> dict[str, datetime]:
        """Latest heartbeat by component."""
        found: dict[str, str] = self._try(lambda: self._redis.hgetall(_BEATS), {})
        read = {component: _instant_of(text) for component, text in found.items()}
        return {component: at for component, at in read.items() if at is not None}

    def is_up(self) -> bool:
        """Whether Redis answered just now; False without asking while it rests."""
        return bool(self._try(self._redis.ping, False))

    def _try(self, command: Callable[[], Any], otherwise: _T) -> _T:
        with self._lock:
            if self._monotonic() < self._silent_until:
                return otherwise
        try:
            answer: _T = command()
        except (redis.RedisError, OSError) as error:
            with self._lock:
                self._silent_until = self._monotonic() + _REST_S
            _log.warning(
                "the cache does not answer", extra={"action": "cache", "error": repr(error)}
            )
            return otherwise
        return answer


def _quote_text(quote: Quote) -> str:
    return json.dumps(
        [instant_text(quote.at), quote.bid, quote.ask, quote.bid_size, quote.ask_size]
    )


def _quote_of(symbol: str, text: str) -> Quote | None:
    # What another program wrote there is as good as absent.
    try:
        at, bid, ask, bid_size, ask_size = json.loads(text)
        return Quote(
            symbol=symbol,
            at=datetime.fromisoformat(at),
            bid=float(bid),
            ask=float(ask),
            bid_size=int(bid_size),
            ask_size=int(ask_size),
        )
    except (ValueError, TypeError):
        return None


def _instant_of(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
