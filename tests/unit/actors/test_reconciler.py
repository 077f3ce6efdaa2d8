"""Whatever was missed, one run makes store and broker agree, and a second changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.position_monitor import PositionMonitor
from actors.reconciler import RECONCILED, Reconciler, reconciled
from greenlight.domain.audit import Decision, DecisionKind
from greenlight.domain.market import Split, Unavailable
from greenlight.domain.orders import (
    Execution,
    OrderIntent,
    OrderKind,
    OrderStatus,
    Role,
    Side,
    TimeInForce,
    Unresolved,
    covered_qty,
    parents,
)
from greenlight.ports import BrokerUnavailable, Run
from greenlight.testing_broker import FakeMarketData
from tests.actor_cases import DESK, T0, Surroundings, later


@pytest.fixture
def around() -> Surroundings:
    return Surroundings()


class Desk:
    """A reconciler with the monitors that it asks, and a clock that goes on."""

    def __init__(self, around: Surroundings, data: FakeMarketData | None = None) -> None:
        self.around = around
        self.reconciler = around.reconciler(data)
        self._monitors: dict[str, PositionMonitor] = {}
        self.now = around.clock.now()

    def book(self, fill: Execution) -> None:
        if not self.around.store.book_fill(fill, Decimal(0)).is_duplicate:
            self.check(fill.symbol)

    def check(self, symbol: str) -> None:
        if symbol not in self._monitors:
            self._monitors[symbol] = PositionMonitor(
                symbol=symbol,
                store=self.around.store,
                broker=self.around.broker,
                notifier=self.around.notifier,
                desk=DESK,
                now=self.now,
                sleep=self.around.sleep,
            )
        self._monitors[symbol].on_change(None, self.now)

    def run(self, seconds: float = 60) -> bool:
        self.now = self.around.clock.advance(seconds)
        return self.reconciler.run(self.now, book=self.book, check=self.check)

    def corrections(self) -> list[Decision]:
        rows = self.around.decisions(DecisionKind.RECONCILE)
        return [d for d in rows if d.reason != RECONCILED and not d.reason.startswith("not rec")]


def qtys(around: Surroundings) -> dict[str, int]:
    return {p.symbol: p.qty for p in around.store.open_positions()}


def cover(around: Surroundings, symbol: str = "AAPL") -> int:
    return covered_qty(around.broker.live(symbol, Side.SELL))


def ours(name: str, symbol: str, side: Side, qty: int) -> OrderIntent:
    """An order under one of our names that the store never saw."""
    return OrderIntent(
        client_order_id=f"gl-{DESK}-{name}",
        decision_id=name,
        role=Role.ENTRY,
        attempt=1,
        symbol=symbol,
        side=side,
        kind=OrderKind.LIMIT,
        qty=qty,
        limit_price=Decimal("90.00"),
        stop_price=None,
        time_in_force=TimeInForce.DAY,
        replaces=None,
        holder="risk-gate",
        epoch=1,
        at=T0,
    )


def by_hand(name: str, symbol: str, side: Side, qty: int) -> OrderIntent:
    """An order that a person sent."""
    return replace(ours(name, symbol, side, qty), client_order_id=f"web-{name}")


def accepted(around: Surroundings, intent: OrderIntent) -> str:
    outcome = around.broker.submit(intent)
    return outcome.order.order_id  # type: ignore[union-attr]


def test_run_when_nothing_differs_then_clean_and_no_correction(around: Surroundings) -> None:
    desk = Desk(around)
    around.enter()
    desk.check("AAPL")
    assert desk.run()
    assert desk.corrections() == []
    assert reconciled(around.store) is True


def test_run_when_a_fill_was_missed_then_booked_and_protected(around: Surroundings) -> None:
    desk = Desk(around)
    order_id = around.enter(filled=0)
    around.broker.fill(order_id, 10, "100.00")
    assert desk.run()
    assert qtys(around) == {"AAPL": 10}
    assert cover(around) == 10
    assert around.store.cash() == around.broker.account().cash
    assert any(d.reason == "book fill: a fill was missed" for d in desk.corrections())


def test_run_when_an_old_fill_was_missed_before_a_booked_one_then_booked(
    around: Surroundings,
) -> None:
    order_id = around.enter(filled=0)
    around.broker.fill(order_id, 10, "100.00")
    around.broker.set_price("MSFT", "100.00")
    around.enter(symbol="MSFT", at=later(5 * 3600))
    desk = Desk(around)
    assert desk.run()
    assert qtys(around) == {"AAPL": 10, "MSFT": 10}


def test_run_when_shares_were_there_before_the_desk_then_adopted_and_protected(
    around: Surroundings,
) -> None:
    around.broker.hold("AAPL", 7, "100.00")
    desk = Desk(around)
    assert desk.run()
    (position,) = around.store.open_positions()
    assert (position.qty, position.strategy, position.stop_price) == (7, "adopted", Decimal(95))
    assert cover(around) == 7
    assert around.store.cash() == around.broker.account().cash


def test_run_when_a_person_bought_then_booked_as_adopted(around: Surroundings) -> None:
    desk = Desk(around)
    around.broker.fill(accepted(around, by_hand("1", "AAPL", Side.BUY, 5)), 5, "90.00")
    assert desk.run()
    (position,) = around.store.open_positions()
    assert (position.qty, position.strategy) == (5, "adopted")
    assert cover(around) == 5


def test_run_when_shares_appear_later_without_a_fill_then_adopted_at_the_second_look(
    around: Surroundings,
) -> None:
    desk = Desk(around)
    assert desk.run()
    around.broker.hold("AAPL", 7, "100.00")
    assert not desk.run()
    assert qtys(around) == {}
    assert desk.run()
    assert qtys(around) == {"AAPL": 7}


@pytest.mark.parametrize("side", list(Side))
def test_run_when_the_store_does_not_know_an_order_of_ours_then_cancelled(
    side: Side, around: Surroundings
) -> None:
    around.broker.hold("AAPL", 7, "100.00")
    order_id = accepted(around, ours("lost", "AAPL", side, 7))
    desk = Desk(around)
    assert desk.run()
    order = around.broker.order(order_id)
    assert order is not None
    assert order.status is OrderStatus.CANCELED
    assert cover(around) == 7


def test_run_when_a_sell_has_no_position_then_cancelled(around: Surroundings) -> None:
    around.enter()
    desk = Desk(around)
    desk.check("AAPL")
    around.broker.hold("AAPL", 0, "100.00")
    desk.run()
    assert around.broker.live("AAPL", Side.SELL) == []


def test_run_when_a_stop_was_cancelled_by_hand_then_protected_again(around: Surroundings) -> None:
    around.enter()
    desk = Desk(around)
    desk.check("AAPL")
    (pair,) = around.broker.live("AAPL", Side.SELL)
    around.broker.end(pair.order_id, OrderStatus.CANCELED)
    assert desk.run()
    assert cover(around) == 10
    assert len(around.store.open_orders("AAPL")) == 2


def test_run_when_an_order_was_never_answered_then_adopted_or_given_up(
    around: Surroundings,
) -> None:
    desk = Desk(around)
    epoch = around.store.take_epoch("risk-gate")
    plan = {"stop_price": "95", "target_price": "105", "exit_by": later(9e5).isoformat()}
    for name in ("found", "lost"):
        intent = replace(ours(name, "AAPL", Side.BUY, 3), epoch=epoch)
        row = Decision(
            decision_id=name,
            at=T0,
            kind=DecisionKind.ENTRY,
            verdict=around.decisions(DecisionKind.RECONCILE)[0].verdict,
            symbol="AAPL",
            strategy="A",
            reason="",
            figures=plan,
        )
        around.store.record_intent(intent, row)
        if name == "found":
            around.broker.submit(intent)
        around.store.record_outcome(intent.client_order_id, Unresolved(reason="time-out"), T0)
    assert desk.run(200)
    statuses = [
        record.status
        for name in ("found", "lost")
        if (record := around.store.order(f"gl-{DESK}-{name}")) is not None
    ]
    assert statuses == [OrderStatus.WORKING, OrderStatus.REFUSED]


def test_run_when_shares_vanish_then_flagged_once_and_cleared_when_they_return(
    around: Surroundings,
) -> None:
    around.enter()
    desk = Desk(around)
    desk.check("AAPL")
    assert desk.run()
    around.broker.hold("AAPL", 4, "100.00")
    for _ in range(4):
        assert not desk.run()
    state = reconciled(around.store)
    assert isinstance(state, Unavailable)
    assert "AAPL: no fill explains the difference in shares" in state.reason
    assert len([a for a in around.notifier.alerts if "difference in shares" in a]) == 1
    around.broker.hold("AAPL", 10, "100.00")
    assert desk.run()
    assert reconciled(around.store) is True


def test_run_when_cash_differs_then_flagged(around: Surroundings) -> None:
    around.store.start_run(
        Run(
            run_id="r2",
            started_at=T0 - timedelta(days=1),
            account_kind="paper",
            account_number="PA-OTHER",
            source="test",
            is_synthetic=False,
            start_cash_usd=Decimal("99999.99"),
            fingerprint="f",
        )
    )
    desk = Desk(around)
    assert not desk.run()
    state = reconciled(around.store)
    assert isinstance(state, Unavailable)
    assert "cash" in state.reason


@pytest.mark.parametrize("held", [70, 10])
def test_run_when_a_split_takes_effect_then_no_difference(held: int, around: Surroundings) -> None:
    around.enter()
    day = later(0).date()
    desk = Desk(around, FakeMarketData(splits=[Split(symbol="AAPL", ex_date=day, ratio=7.0)]))
    desk.check("AAPL")
    around.broker.hold("AAPL", held, "100.00")
    assert desk.run()
    assert qtys(around) == {"AAPL": 10}


def test_run_when_the_broker_does_not_tell_then_raised_and_entries_wait(
    around: Surroundings,
) -> None:
    desk = Desk(around)
    around.broker.up = False
    with pytest.raises(BrokerUnavailable):
        desk.run()
    assert isinstance(reconciled(around.store), Unavailable)
    around.broker.up = True
    assert desk.run()
    assert reconciled(around.store) is True


def test_reconciled_when_the_desk_started_anew_then_not_yet() -> None:
    around = Surroundings()
    assert reconciled(around.store) is True
    last = around.store.latest_run()
    assert last is not None
    around.store.start_run(replace(last, run_id="r2", started_at=later(1)))
    assert reconciled(around.store) == Unavailable("not reconciled since the start")


# -- whatever happened

SYMBOLS = st.sampled_from(["AAPL", "MSFT"])
Step = tuple[str, str, int]


def steps() -> st.SearchStrategy[list[Step]]:
    kinds = ["enter", "enter_unseen", "partial", "buy_by_hand", "lost_order", "cancel", "fill_sell"]
    return st.lists(st.tuples(st.sampled_from(kinds), SYMBOLS, st.integers(1, 9)), max_size=8)


def apply(desk: Desk, number: int, step: Step) -> None:
    around = desk.around
    kind, symbol, qty = step
    sells = around.broker.live(symbol, Side.SELL)
    at = later(60 * number + 60)
    around.clock.set(at)
    if kind == "enter":
        around.enter(qty, symbol=symbol, at=at)
        desk.check(symbol)
    elif kind in ("enter_unseen", "partial"):
        order_id = around.enter(qty, filled=0, symbol=symbol, at=at)
        around.broker.fill(order_id, qty if kind == "enter_unseen" else (qty + 1) // 2, "100.00")
    elif kind == "buy_by_hand":
        order = accepted(around, by_hand(str(number), symbol, Side.BUY, qty))
        around.broker.fill(order, qty, "100.00")
    elif kind == "lost_order":
        around.broker.submit(ours(f"lost-{number}", symbol, Side.BUY, qty))
    elif kind == "cancel" and sells:
        around.broker.end(sells[0].order_id, OrderStatus.CANCELED)
    elif kind == "fill_sell" and sells:
        around.broker.fill(sells[0].order_id, min(qty, sells[0].remaining), "105.00")


@settings(max_examples=150, deadline=None)
@given(steps())
def test_run_when_anything_was_missed_then_both_agree_and_a_second_run_changes_nothing(
    happened: list[Step],
) -> None:
    around = Surroundings()
    around.broker.set_price("MSFT", "100.00")
    desk = Desk(around)
    for number, step in enumerate(happened):
        apply(desk, number, step)
    sold: list[int] = []
    around.broker.on_submit = lambda intent: sold.append(_excess(around, intent))
    assert desk.run()
    assert all(excess <= 0 for excess in sold)
    assert qtys(around) == {p.symbol: p.qty for p in around.broker.positions()}
    assert around.store.cash() == around.broker.account().cash
    for symbol, qty in qtys(around).items():
        assert cover(around, symbol) == qty
    open_ids = {o.order_id for o in around.broker.open_orders()}
    recorded = {r.order_id for r in around.store.open_orders()}
    assert recorded == open_ids
    rows = len(around.store.decisions(limit=None))
    sends = len(around.broker.submitted)
    assert desk.run()
    assert (len(around.store.decisions(limit=None)), len(around.broker.submitted)) == (rows, sends)


def _excess(around: Surroundings, intent: OrderIntent) -> int:
    """By how much a sell exceeds what is held and not promised yet."""
    held = {p.symbol: p.qty for p in around.broker.positions()}.get(intent.symbol, 0)
    working = sum(o.remaining for o in parents(around.broker.live(intent.symbol, Side.SELL)))
    if intent.side is not Side.SELL or intent.replaces is not None:
        return 0
    return intent.qty + working - held


def test_look_when_something_differs_then_nothing_is_changed(around: Surroundings) -> None:
    desk = Desk(around)
    order_id = around.enter(filled=0)
    around.broker.fill(order_id, 10, "100.00")
    rows = len(around.store.decisions(limit=None))
    look: Callable[[], tuple[object, ...]] = lambda: desk.reconciler.look(later(60))  # noqa: E731
    assert len(look()) == len(look()) >= 2
    assert len(around.store.decisions(limit=None)) == rows
    assert isinstance(desk.reconciler, Reconciler)
