"""Resting entries are priced again a bounded number of times, and survive a crash anywhere.

By hand: the ask is 100.00, so the first limit is 100.05 and the highest price
100.25. Two repricings are allowed, 100 s apart, and 300 s in all.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from actors.risk_gate import RiskGate
from greenlight.domain.audit import DecisionKind
from greenlight.domain.execution import EntryPolicy
from greenlight.domain.orders import (
    BrokerOrder,
    OrderIntent,
    OrderRecord,
    OrderStatus,
    Outcome,
    Rejected,
    Unresolved,
)
from greenlight.ports import StoreUnavailable
from greenlight.testing import FakeStore
from tests.actor_cases import T0, Surroundings, later, quote, signal
from tests.unit.actors.test_risk_gate import entries, gate, seen

POLICY = EntryPolicy(timeout_s=300, reprices=2, reprice_after_s=100)
LOST = Unresolved(reason="ReadTimeout")
NOT_OPEN = Rejected(http_status=422, code=42210000, message="order is not open")


@pytest.fixture
def around() -> Surroundings:
    around = Surroundings()
    around.follow()
    return around


def working_gate(
    around: Surroundings, now: datetime = T0, policy: EntryPolicy = POLICY
) -> RiskGate:
    around.clock.set(now)
    return gate(around, now, policy=policy)


def sweep(
    around: Surroundings, desk: RiskGate, at_s: float, ask: float = 100.10
) -> datetime | None:
    """A sweep so many seconds on, with a fresh quote at that ask."""
    around.clock.set(later(at_s))
    return desk.sweep([quote(ask - 0.02, at=later(at_s))], later(at_s))


def rest(around: Surroundings, policy: EntryPolicy = POLICY) -> RiskGate:
    desk = working_gate(around, policy=policy)
    desk.judge([seen()], T0)
    return desk


def resting(around: Surroundings) -> BrokerOrder:
    (order,) = around.broker.open_orders("AAPL")
    return order


def records(around: Surroundings) -> list[OrderRecord]:
    """Our orders of the one entry, by attempt."""
    (row,) = entries(around)
    found = []
    for attempt in range(1, 9):
        record = around.store.order(f"gl-t-{row.decision_id}-entry-{attempt}")
        if record is not None:
            found.append(record)
    return found


def statuses(around: Surroundings) -> list[OrderStatus]:
    return [record.status for record in records(around)]


def test_sweep_when_the_ask_moved_away_then_replaced_with_a_row(around: Surroundings) -> None:
    desk = rest(around)
    first = resting(around)
    assert sweep(around, desk, 100) == later(200)
    order = resting(around)
    # Ask 100.10 + 5 bps, up.
    assert (order.limit_price, order.qty) == (Decimal("100.16"), first.qty)
    assert order.order_id != first.order_id
    assert statuses(around) == [OrderStatus.REPLACED, OrderStatus.WORKING]
    (row,) = around.decisions(DecisionKind.REPRICE)
    assert row.reason == "the ask moved away"
    wanted = {
        "limit_price.before": "100.05",
        "limit_price": "100.16",
        "max_price": "100.25",
        "ask": 100.10,
        "reprices": 1,
        "reprices.limit": 2,
        "qty": 199,
        "filled_qty": 0,
        "rested_s": 100.0,
    }
    assert {name: row.figures[name] for name in wanted} == wanted


def test_sweep_when_halted_then_cancelled_though_there_is_time(around: Surroundings) -> None:
    desk = rest(around)
    around.store.halt(at=later(50), until=None, reason="by hand")
    sweep(around, desk, 100)
    assert not around.broker.open_orders("AAPL")
    assert not around.decisions(DecisionKind.REPRICE)
    (row,) = around.decisions(DecisionKind.CANCEL)
    assert (row.reason, row.figures["rested_s"]) == ("halted", 100.0)


def test_sweep_when_the_ask_runs_on_then_twice_at_most_and_cancelled_in_time(
    around: Surroundings,
) -> None:
    desk = rest(around)
    assert sweep(around, desk, 100, 100.10) == later(200)
    assert sweep(around, desk, 199, 100.20) == later(200)
    assert sweep(around, desk, 200, 100.20) == later(300)
    assert resting(around).limit_price == Decimal("100.25")
    assert sweep(around, desk, 299, 100.24) == later(300)
    # From the first order on, and not from the last.
    assert sweep(around, desk, 300) is None
    assert around.broker.open_orders() == ()
    assert [i.limit_price for i in around.broker.submitted] == [
        Decimal("100.05"),
        Decimal("100.16"),
        Decimal("100.25"),
    ]
    (row,) = around.decisions(DecisionKind.CANCEL)
    assert (row.figures["reprices"], row.figures["rested_s"]) == (2, 300.0)


@pytest.mark.parametrize("ask", [99.0, 100.05, 100.26])
def test_sweep_when_the_ask_is_near_or_out_of_reach_then_left_and_looked_at_again(
    around: Surroundings, ask: float
) -> None:
    desk = rest(around)
    assert sweep(around, desk, 100, ask) == later(105)
    assert len(around.broker.submitted) == 1
    assert not around.decisions(DecisionKind.REPRICE)


def test_sweep_when_there_is_no_quote_then_left(around: Surroundings) -> None:
    desk = rest(around)
    assert desk.sweep([], later(100)) == later(105)
    assert desk.sweep([quote(100.10, at=later(9))], later(100)) == later(105)
    assert desk.sweep([quote(100.10, at=later(100), symbol="A")], later(100)) == later(105)
    assert len(around.broker.submitted) == 1


def test_sweep_when_partly_filled_then_only_the_rest_is_priced_again_under_the_same_plan(
    around: Surroundings,
) -> None:
    desk = rest(around)
    around.broker.fill(resting(around).order_id, 40, "100.05")
    sweep(around, desk, 100)
    order = resting(around)
    assert (order.qty, order.filled_qty, order.remaining) == (199, 40, 159)
    around.broker.fill(order.order_id, 159, "100.10")
    position = around.store.position("AAPL")
    assert position is not None
    (row,) = entries(around)
    assert (position.qty, position.position_id) == (199, row.decision_id)
    assert (position.stop_price, position.target_price) == (Decimal("95.00"), Decimal("105.00"))
    assert statuses(around) == [OrderStatus.REPLACED, OrderStatus.FILLED]
    assert [f.qty for f in around.store.fills()] == [40, 159]


def test_sweep_when_the_old_order_filled_first_then_nothing_more_is_bought(
    around: Surroundings,
) -> None:
    desk = rest(around)
    first = resting(around).order_id

    def fill(intent: OrderIntent) -> None:
        if intent.replaces is not None:
            around.broker.fill(first, 199, "100.05")

    around.broker.on_submit = fill
    assert sweep(around, desk, 100) is None
    assert statuses(around) == [OrderStatus.FILLED, OrderStatus.REFUSED]
    position = around.store.position("AAPL")
    assert position is not None
    assert position.qty == 199
    assert around.broker.open_orders() == ()


def test_sweep_when_the_replace_is_refused_then_the_old_order_counts_and_it_was_one_try(
    around: Surroundings,
) -> None:
    desk = rest(around)
    around.broker.replace_refusal = NOT_OPEN
    assert sweep(around, desk, 100) == later(200)
    assert statuses(around) == [OrderStatus.WORKING, OrderStatus.REFUSED]
    around.broker.replace_refusal = None
    assert sweep(around, desk, 150) == later(200)
    assert sweep(around, desk, 200) == later(300)
    assert statuses(around) == [OrderStatus.REPLACED, OrderStatus.REFUSED, OrderStatus.WORKING]
    assert sweep(around, desk, 300) is None
    assert around.broker.open_orders() == ()


def test_sweep_when_no_repricing_is_allowed_then_only_cancelled(around: Surroundings) -> None:
    desk = rest(around, EntryPolicy(timeout_s=300, reprices=0, reprice_after_s=100))
    assert sweep(around, desk, 150) == later(300)
    assert len(around.broker.submitted) == 1
    assert sweep(around, desk, 300) is None


def test_judge_when_an_entry_rests_then_it_costs_its_highest_price(around: Surroundings) -> None:
    desk = rest(around)
    # 199 shares at 100.25 of the 100,000, of which the broker holds 199 at 100.05 back.
    desk.judge([seen(signal("A"))], T0)
    row = entries(around)[-1]
    assert row.figures["no_leverage"] == pytest.approx(2 * 199 * 100.25)
    assert row.figures["buying_power.limit"] == pytest.approx(100_000 - 199 * 100.25)


# -- crashes


def test_sweep_when_the_gate_restarts_then_repricings_are_counted_on(around: Surroundings) -> None:
    sweep(around, rest(around), 100, 100.10)
    sweep(around, working_gate(around, later(150)), 200, 100.20)
    last = working_gate(around, later(290))
    assert sweep(around, last, 299, 100.24) == later(300)
    assert len(around.broker.submitted) == 3
    assert sweep(around, working_gate(around, later(300)), 300) is None


def die(_: OrderIntent) -> None:
    raise KeyboardInterrupt


def test_sweep_when_the_gate_dies_before_the_send_then_the_successor_sends_it_once(
    around: Surroundings,
) -> None:
    desk = rest(around)
    around.broker.on_submit = die
    with pytest.raises(KeyboardInterrupt):
        sweep(around, desk, 100)
    around.broker.on_submit = lambda _: None
    assert statuses(around) == [OrderStatus.WORKING, OrderStatus.INTENDED]
    successor = working_gate(around, later(101))
    assert statuses(around) == [OrderStatus.REPLACED, OrderStatus.WORKING]
    assert sweep(around, successor, 102) == later(200)
    assert resting(around).limit_price == Decimal("100.16")
    assert len(around.decisions(DecisionKind.REPRICE)) == 1


def test_start_when_a_repricing_never_left_and_its_entry_is_old_then_dropped_and_cancelled(
    around: Surroundings,
) -> None:
    desk = rest(around)
    around.broker.on_submit = die
    with pytest.raises(KeyboardInterrupt):
        sweep(around, desk, 250)
    around.broker.on_submit = lambda _: None
    # Fifty seconds after the repricing, but 300 after the first order.
    successor = working_gate(around, later(300))
    assert sweep(around, successor, 300) is None
    assert statuses(around) == [OrderStatus.CANCELED, OrderStatus.REFUSED]
    assert around.broker.open_orders() == ()


@pytest.mark.parametrize("hidden", [0, 1, 18])
def test_sweep_when_the_answer_is_lost_then_the_new_order_is_found_and_not_sent_twice(
    around: Surroundings, hidden: int
) -> None:
    desk = rest(around)
    around.broker.answer_next(LOST, committed=True)
    around.broker.hide_lookups(hidden)
    sweep(around, desk, 100)
    sweep(around, desk, 105)
    assert statuses(around) == [OrderStatus.REPLACED, OrderStatus.WORKING]
    order = resting(around)
    assert (order.limit_price, order.qty) == (Decimal("100.16"), 199)


class StoreThatFails(FakeStore):
    """Raises after a write has been made, once, as a lost answer does."""

    def __init__(self) -> None:
        super().__init__()
        self.fail_after: str | None = None

    def _maybe(self, method: str) -> None:
        if self.fail_after == method:
            self.fail_after = None
            raise StoreUnavailable(f"the answer of {method} was lost")

    def record_intent(self, intent: OrderIntent, decision: object) -> bool:
        done = super().record_intent(intent, decision)  # type: ignore[arg-type]
        self._maybe("record_intent")
        return done

    def record_outcome(self, client_order_id: str, outcome: Outcome, at: datetime) -> None:
        super().record_outcome(client_order_id, outcome, at)
        self._maybe("record_outcome")

    def record_order_status(
        self, order_id: str, status: OrderStatus, filled_qty: int, at: datetime
    ) -> None:
        super().record_order_status(order_id, status, filled_qty, at)
        self._maybe("record_order_status")


@pytest.mark.parametrize("method", ["record_intent", "record_outcome", "record_order_status"])
@pytest.mark.parametrize("is_restarted", [True, False])
def test_sweep_when_the_store_goes_away_after_any_write_then_one_order_rests(
    method: str, is_restarted: bool
) -> None:
    store = StoreThatFails()
    around = Surroundings(store=store)
    desk = rest(around)
    store.fail_after = method
    with pytest.raises(StoreUnavailable):
        sweep(around, desk, 100)
    if is_restarted:
        desk = working_gate(around, later(101))
    sweep(around, desk, 102)
    sweep(around, desk, 107)
    assert resting(around).limit_price == Decimal("100.16")
    assert len(around.decisions(DecisionKind.REPRICE)) == 1
    assert sweep(around, desk, 300) is None
    assert around.broker.open_orders() == ()
    assert around.store.open_orders() == []


def test_sweep_when_nobody_tells_of_the_replaced_order_then_asked_for(
    around: Surroundings,
) -> None:
    around.broker.on_update = lambda _: None
    desk = rest(around)
    sweep(around, desk, 100)
    assert statuses(around) == [OrderStatus.REPLACED, OrderStatus.WORKING]


def test_sweep_when_a_successor_lives_then_the_zombie_changes_nothing(
    around: Surroundings,
) -> None:
    zombie = rest(around)
    working_gate(around, later(50))
    sweep(around, zombie, 100)
    assert len(around.broker.submitted) == 1
    assert statuses(around) == [OrderStatus.WORKING]
    assert not around.decisions(DecisionKind.REPRICE)
