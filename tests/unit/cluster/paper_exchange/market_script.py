"""A core with a hand-driven market, for the tests of matching."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from cluster.paper_exchange.engine import ExchangeSettings
from cluster.paper_exchange.matching import ExchangeCore
from cluster.paper_exchange.order_request import parse_terms
from cluster.paper_exchange.orders import Order

START_NS = 1_325_601_000_000_000_000  # 2012-01-03T14:30:00Z
SECOND_NS = 1_000_000_000
SESSION_S = 6 * 3600 + 1800


class Market:
    """Two symbols, AAA near 100 and BBB near 20, one second an event."""

    def __init__(
        self,
        *,
        partial_fills: float = 0.0,
        multiplier: int = 2,
        cash: int = 100_000,
        is_open: bool = True,
    ) -> None:
        settings = ExchangeSettings(
            cash=Decimal(cash), multiplier=multiplier, partial_fill_probability=partial_fills
        )
        self.core = ExchangeCore(("AAA", "BBB"), settings)
        self.now = START_NS
        self.core.day_expiry_ns = START_NS + SESSION_S * SECOND_NS
        for symbol, price in (("AAA", 100.0), ("BBB", 20.0)):
            self.core.markets[symbol].previous_close = price
        if is_open:
            self.open()

    def open(self) -> None:
        self.core.open_session(self.now)
        self.tick("AAA", 99.99, 100.01, 100.0)
        self.tick("BBB", 19.99, 20.01, 20.0)

    def tick(self, symbol: str, bid: float, ask: float, trade: float = math.nan) -> None:
        self.now += SECOND_NS
        self.core.on_event(symbol, self.now, bid, ask, trade)

    def send(self, side: str, qty: int | str, **fields: Any) -> Order:
        body: dict[str, Any] = {
            "symbol": "AAA",
            "type": "market",
            "time_in_force": "day",
            "side": side,
            "qty": str(qty),
            **fields,
        }
        if "limit_price" in fields and "type" not in fields:
            body["type"] = "limit"
        return self.core.order(self.core.submit(parse_terms(body), self.now)["id"])

    def oco(self, qty: int, target: str, stop: str, **fields: Any) -> tuple[Order, Order]:
        parent = self.send(
            "sell",
            qty,
            type="limit",
            order_class="oco",
            take_profit={"limit_price": target},
            stop_loss={"stop_price": stop},
            time_in_force="gtc",
            **fields,
        )
        return parent, self.core.legs(parent)[0]

    def cancel(self, order: Order) -> None:
        self.core.request_cancel(order.id, self.now)
        self.core.complete_cancels(self.now)

    def close(self) -> None:
        self.now = max(self.now, self.core.day_expiry_ns)
        self.core.close_auction(self.now)
        self.core.end_session(self.now)

    def events(self) -> list[str]:
        return [update["event"] for update in self.core.updates]
