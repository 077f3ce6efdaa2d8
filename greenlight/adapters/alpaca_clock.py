"""The broker's clock, which in a replay is the exchange's time.

For an actor to which no events bring the time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from greenlight.adapters.alpaca_broker import DeadlineClient, parse_instant
from greenlight.ports import BrokerUnavailable


class AlpacaClock:
    """`Clock` that asks `/v2/clock`. Raises `BrokerUnavailable`."""

    def __init__(self, *, base_url: str, key_id: str, secret_key: str, deadline_s: float) -> None:
        self._client = DeadlineClient(
            base_url=base_url, key_id=key_id, secret_key=secret_key, deadline_s=deadline_s
        )

    def now(self) -> datetime:
        """The broker's present, aware UTC."""
        try:
            row: Any = self._client._request("GET", "/clock", None, api_version="v2")
            return parse_instant(row["timestamp"])
        except Exception as error:
            # Whatever the vendor's client raises, the time is not to be had now.
            raise BrokerUnavailable(f"/clock: {error}") from error
