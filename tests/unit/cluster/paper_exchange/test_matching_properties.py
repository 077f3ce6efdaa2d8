"""What must hold whatever a client sends and wherever the market goes."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from cluster.paper_exchange.orders import TERMINAL, Status
from cluster.paper_exchange.refusal import Refused
from tests.unit.cluster.paper_exchange.market_script import Market

CENTS = st.integers(9_500, 10_500)


def price(cents: int) -> str:
    return str(Decimal(cents) / 100)


def step() -> SearchStrategy[tuple[Any, ...]]:
    side = st.sampled_from(["buy", "sell"])
    qty = st.integers(1, 40)
    return st.one_of(
        st.tuples(st.just("tick"), CENTS, st.integers(0, 20), st.integers(-30, 30)),
        st.tuples(st.just("market"), side, qty, st.sampled_from(["day", "ioc", "fok", "cls"])),
        st.tuples(st.just("limit"), side, qty, CENTS),
        st.tuples(st.just("stop"), side, qty, CENTS),
        st.tuples(st.just("trail"), side, qty, st.integers(1, 300)),
        st.tuples(st.just("oco"), qty, CENTS, CENTS),
        st.tuples(st.just("bracket"), qty, CENTS, CENTS, CENTS),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("replace"), st.integers(0, 30), CENTS, st.integers(1, 40)),
        st.tuples(st.just("split"), st.sampled_from(["2", "7", "0.5"])),
        st.tuples(
            st.just("night"),
        ),
    )


class Checker:
    """Drives a market and checks the invariants after every step."""

    def __init__(self) -> None:
        self.market = Market(partial_fills=0.4)
        self.final: dict[str, tuple[Any, ...]] = {}
        self.nbbo = (99.99, 100.01)
        self.known_activities = 0

    def apply(self, action: tuple[Any, ...]) -> None:
        try:
            getattr(self, action[0])(*action[1:])
        except Refused:
            return

    def tick(self, cents: int, spread: int, off: int) -> None:
        self.nbbo = (cents / 100, (cents + spread) / 100)
        self.market.tick("AAA", *self.nbbo, (cents + off) / 100)

    def market_order(self, side: str, qty: int, tif: str) -> None:
        self.market.send(side, qty, time_in_force=tif)

    def limit(self, side: str, qty: int, cents: int) -> None:
        self.market.send(side, qty, limit_price=price(cents))

    def stop(self, side: str, qty: int, cents: int) -> None:
        self.market.send(side, qty, type="stop", stop_price=price(cents), time_in_force="gtc")

    def trail(self, side: str, qty: int, cents: int) -> None:
        self.market.send(side, qty, type="trailing_stop", trail_price=price(cents))

    def oco(self, qty: int, target: int, stop: int) -> None:
        self.market.oco(qty, price(target), price(stop))

    def bracket(self, qty: int, entry: int, target: int, stop: int) -> None:
        self.market.send(
            "buy",
            qty,
            limit_price=price(entry),
            order_class="bracket",
            take_profit={"limit_price": price(target)},
            stop_loss={"stop_price": price(stop)},
        )

    def cancel(self, index: int) -> None:
        orders = list(self.market.core.orders.values())
        self.market.cancel(orders[index % len(orders)]) if orders else None

    def replace(self, index: int, cents: int, qty: int) -> None:
        orders = list(self.market.core.orders.values())
        if not orders:
            return
        order = orders[index % len(orders)]
        name = "stop_price" if order.type == "stop" else "limit_price"
        change: dict[str, Any] = {name: price(cents)}
        if not order.role:
            change["qty"] = str(qty)
        self.market.core.replace(order.id, change, self.market.now)

    def split(self, ratio: str) -> None:
        core = self.market.core
        if not core.ledger.qty("AAA") % 2:
            core.split("AAA", Decimal(ratio))
            self.split_basis()

    def night(self) -> None:
        market = self.market
        market.close()
        market.core.day_expiry_ns = market.now + 86_400 * 10**9
        market.core.open_session(market.now)
        market.tick("AAA", *self.nbbo)

    def split_basis(self) -> None:
        # From here on conservation counts from the split's quantity.
        self.known_activities = len(self.market.core.activities)
        self.basis = (self.market.core.ledger.cash, self.market.core.ledger.qty("AAA"))

    basis: tuple[Decimal, Decimal] = (Decimal(100_000), Decimal(0))

    def check(self, fills_before: int) -> None:
        core = self.market.core
        cash, shares = self.basis
        for row in core.activities[self.known_activities :]:
            sign = 1 if row["side"] == "buy" else -1
            before = shares
            cash -= sign * Decimal(row["qty"]) * Decimal(row["price"])
            shares += sign * Decimal(row["qty"])
            if core.orders[row["order_id"]].position_intent.endswith("_to_close"):
                # An exit brings the position nearer to zero and never beyond.
                assert before * shares >= 0
                assert abs(shares) < abs(before)
        assert (core.ledger.cash, core.ledger.qty("AAA")) == (cash, shares)
        assert core.qty_available("AAA") >= 0
        bid, ask = self.nbbo
        for row in core.activities[fills_before:]:
            assert bid <= float(row["price"]) <= ask
        for order in core.orders.values():
            assert 0 <= order.filled_qty <= order.qty
            seen = (order.status, order.filled_qty, order.filled_value)
            if order.id in self.final:
                assert self.final[order.id] == seen
            elif order.status in TERMINAL:
                self.final[order.id] = seen
                assert order.id not in core.live["AAA"]
            else:
                assert order.id in core.live["AAA"]
            if order.status is Status.FILLED:
                assert order.filled_qty == order.qty
            sibling = core.sibling(order)
            if order.role == "stop_loss" and sibling is not None:
                assert {order.status, sibling.status} != {Status.FILLED}


@settings(max_examples=200, deadline=None)
@given(st.lists(step(), max_size=40))
def test_core_when_driven_at_random_then_the_invariants_hold(
    actions: list[tuple[Any, ...]],
) -> None:
    checker = Checker()
    for action in actions:
        fills = len(checker.market.core.activities)
        name = "market_order" if action[0] == "market" else action[0]
        checker.apply((name, *action[1:]))
        checker.check(fills)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(2, 50),
    st.lists(st.tuples(CENTS, st.integers(0, 10), st.booleans()), max_size=30),
    st.text("abc", min_size=1, max_size=8),
)
def test_oco_when_prices_wander_then_it_never_sells_more_than_the_position(
    qty: int, path: list[tuple[int, int, bool]], client_id: str
) -> None:
    market = Market(partial_fills=0.5)
    buy = market.send("buy", qty, time_in_force="fok")
    target, stop = market.oco(qty, "102", "98", client_order_id=client_id)
    for cents, spread, has_print in path:
        bid, ask = cents / 100, (cents + spread) / 100
        market.tick("AAA", bid, ask, bid if has_print else math.nan)
        sold = target.filled_qty + stop.filled_qty
        assert sold <= buy.qty
        assert market.core.ledger.qty("AAA") == qty - sold >= 0
        if not target.is_terminal:
            assert stop.remaining == target.remaining
        assert target.is_terminal == stop.is_terminal or stop.is_triggered
        assert market.core.qty_available("AAA") >= 0
