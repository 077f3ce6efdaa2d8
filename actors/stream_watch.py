"""Whether the broker's streams, though connected, have gone mute.

Before it stands market data, which tells it what it hears; after it a person
and a new connection. Pings keep a mute socket open for ever: prices are missed
when none comes in a session, the trade stream when it says nothing of an order
that the broker has accepted. Seconds are those of a clock that never goes back.
"""

from __future__ import annotations

import logging
from typing import Final

from greenlight.domain.reconcile import order_prefix
from greenlight.ports import Notifier, Store, StreamKind, Streams

logger = logging.getLogger(__name__)

PRICES_WITHIN_S: Final = 90.0
"""Longest silence in a session: a minute bar and a half."""
ORDERS_WITHIN_S: Final = 2.0
"""Longest silence about an order that rests at the broker."""
_LOOK_EVERY_S: Final = 1.0


class StreamWatch:
    """See the module."""

    def __init__(
        self, *, store: Store, streams: Streams, notifier: Notifier, desk: str, now_s: float
    ) -> None:
        self._store = store
        self._ours = order_prefix(desk)
        self._streams = streams
        self._notifier = notifier
        self._price_s = self._looked_s = now_s
        self._unheard: dict[str, float] = {}
        self._heard: set[str] = set()
        self._told: set[StreamKind] = set()

    def hear_price(self, now_s: float) -> None:
        """A quote or bar came."""
        self._price_s = now_s
        self._told.discard(StreamKind.PRICES)

    def hear_order(self, order_id: str) -> None:
        """An update of an order came."""
        self._heard.add(order_id)
        self._unheard.pop(order_id, None)
        self._told.discard(StreamKind.TRADES)

    def begin_orders(self) -> None:
        """The trade stream opened: of what rests already it need say nothing."""
        self._unheard.clear()
        self._heard |= self._resting()

    def is_mute(self, now_s: float, *, in_session: bool) -> bool:
        """Look, tell and reconnect; whether updates of orders may have been missed."""
        if not in_session:
            self._price_s = now_s
            return False
        if now_s - self._price_s >= PRICES_WITHIN_S:
            self._price_s = now_s
            self._reconnect(
                StreamKind.PRICES,
                f"no prices for {PRICES_WITHIN_S:.0f} s in a session; reconnecting, "
                "nothing is bought until they come",
            )
        if now_s - self._looked_s < _LOOK_EVERY_S:
            return False
        self._looked_s = now_s
        resting = self._resting()
        self._heard &= resting
        for order_id in resting - self._heard:
            self._unheard.setdefault(order_id, now_s)
        self._unheard = {i: s for i, s in self._unheard.items() if i in resting}
        if all(now_s - since_s < ORDERS_WITHIN_S for since_s in self._unheard.values()):
            return False
        self._reconnect(
            StreamKind.TRADES,
            "the trade stream says nothing of an order that the broker has; "
            "reconnecting, fills are asked for",
        )
        self.begin_orders()
        return True

    def _reconnect(self, kind: StreamKind, text: str) -> None:
        logger.error(text, extra={"action": "mute_stream", "stream": kind})
        if kind not in self._told:
            self._told.add(kind)
            self._notifier.alert(text)
        self._streams.reconnect(kind)

    def _resting(self) -> set[str]:
        """Orders at the broker that the desk sent itself; the broker's legs may stay unsaid."""
        return {
            record.order_id
            for record in self._store.open_orders()
            if record.order_id is not None and record.intent.client_order_id.startswith(self._ours)
        }
