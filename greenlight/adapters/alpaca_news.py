"""Headlines from Alpaca's news API.

Before it stands the broker (or the paper exchange); after it whatever reads
headlines. The request is that of alpaca-py's `NewsClient`, sent by the desk's
client, which has a deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from greenlight.adapters.alpaca_broker import DeadlineClient, parse_instant
from greenlight.domain.sentiment import Headline
from greenlight.ports import BrokerUnavailable

SYNTHETIC_SOURCE: Final = "synthetic"
"""Source of the headlines that the paper exchange makes up."""
_PAGE: Final = 50
_MAX_PAGES: Final = 40


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
