"""Headlines from Alpaca's news API: its history and its stream.

Before it stands the broker (or the paper exchange); after it whatever reads
headlines. The request is that of alpaca-py's `NewsClient`, sent by the desk's
client, which has a deadline. The stream brings headlines at once; what it misses
the history still has.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from alpaca.data.live.news import NewsDataStream

from greenlight.adapters.alpaca_broker import DeadlineClient, parse_instant
from greenlight.domain.sentiment import Headline
from greenlight.ports import BrokerUnavailable

logger = logging.getLogger(__name__)

SYNTHETIC_SOURCE: Final = "synthetic"
"""Source of the headlines that the paper exchange makes up."""
_PAGE: Final = 50
_MAX_PAGES: Final = 40
_AGAIN_S: Final = 5.0


class AlpacaNews:
    """Asks `/v1beta1/news`. Raises `BrokerUnavailable`."""

    def __init__(self, *, base_url: str, key_id: str, secret_key: str, deadline_s: float) -> None:
        self._client = DeadlineClient(
            base_url=base_url, key_id=key_id, secret_key=secret_key, deadline_s=deadline_s
        )

    def headlines(self, symbols: Sequence[str], start: datetime, end: datetime) -> list[Headline]:
        """Headlines of any of the symbols with start <= at <= end, oldest first.

        Of a window with more than 2,000 the latest ones.
        """
        params: dict[str, Any] = {
            "symbols": ",".join(symbols),
            "start": start.isoformat(),
            "end": end.isoformat(),
            "limit": _PAGE,
            "sort": "desc",
        }
        found: list[Headline] = []
        for _ in range(_MAX_PAGES):
            try:
                page: Any = self._client._request("GET", "/news", params, api_version="v1beta1")
                rows = page.get("news") or []
                found.extend(_headline(row) for row in rows)
                token = page.get("next_page_token")
            except Exception as error:
                # Whatever the vendor's client raises, there is no news to be had now.
                raise BrokerUnavailable(f"/news: {error}") from error
            if not token:
                break
            params["page_token"] = token
        inside = (headline for headline in found if start <= headline.at <= end)
        return sorted(inside, key=lambda headline: (headline.at, headline.text))


class AlpacaNewsStream:
    """Headlines as they come, on a thread of its own; connects again where it is cut.

    Parameters
    ----------
    stream_url : str
        Of the data stream; the news have a path of their own on the same server.
    """

    def __init__(
        self, *, stream_url: str, key_id: str, secret_key: str, symbols: Sequence[str]
    ) -> None:
        parts = urlsplit(stream_url)
        self._url = f"{parts.scheme}://{parts.netloc}/v1beta1/news"
        self._keys = key_id, secret_key
        self._symbols = tuple(symbols)
        self._sink: Callable[[Headline], None] = lambda _: None
        self._stopping = threading.Event()
        self._stream: Any = None

    def start(self, sink: Callable[[Headline], None]) -> None:
        """Deliver to `sink` from now on."""
        self._sink = sink
        threading.Thread(target=self._run, name="news-stream", daemon=True).start()

    def stop(self) -> None:
        """Disconnect."""
        self._stopping.set()
        if self._stream is not None and self._stream._loop is not None:
            self._stream.stop()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._stream = NewsDataStream(*self._keys, url_override=self._url)
                self._stream.subscribe_news(self._take, *self._symbols)
                self._stream.run()
            except Exception as error:
                # Whatever ended it, the history goes on telling.
                logger.warning("news stream: %s", error, extra={"action": "news_stream"})
            self._stopping.wait(_AGAIN_S)

    async def _take(self, item: Any) -> None:
        self._sink(
            Headline(
                at=item.created_at.astimezone(UTC),
                text=_storable(str(item.headline)),
                symbols=tuple(item.symbols),
                is_synthetic=item.source == SYNTHETIC_SOURCE,
            )
        )


def _headline(row: Any) -> Headline:
    return Headline(
        at=parse_instant(row["created_at"]),
        text=_storable(str(row["headline"])),
        symbols=tuple(row["symbols"]),
        is_synthetic=row.get("source") == SYNTHETIC_SOURCE,
    )


def _storable(text: str) -> str:
    """Without what no database keeps: NUL and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
