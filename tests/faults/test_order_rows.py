"""Orders whose answer is lost, late, doubled or refused."""

from __future__ import annotations

import threading
import time
from decimal import Decimal

import pytest

from actors.order_gateway import OrderGateway
from cluster.processes import free_port
from greenlight.domain.audit import Decision, DecisionKind, Verdict
from greenlight.domain.orders import (
    OrderKind,
    OrderStatus,
    Outcome,
    Rejected,
    Role,
    Side,
    TimeInForce,
)
from greenlight.ports import BrokerUnavailable
from tests.exchange_fixture import wait_until
from tests.fault_table import Recovery
from tests.faults.plain_desk import PlainDesk

PAGE = "<html><body><h1>Service Unavailable</h1></body></html>"
NOT_FOUND = '{"code":40410000,"message":"order not found"}'
POST = "^POST /v2/orders"
LOOK_UP = "^GET /v2/orders:by_client_order_id"


def entries(desk: PlainDesk) -> list[str]:
    """Status of every entry the broker has of the desk."""
    return [order["status"] for order in desk.orders() if order["side"] == "buy"]


def assert_bought_once(desk: PlainDesk) -> None:
    assert entries(desk) == ["filled"]
    assert desk.is_covered()
    assert [side for side, _ in desk.booked()] == ["buy"]
    desk.assert_exact()


# -- the answer


@pytest.mark.fault("order POST accepted, answer lost", bound_s=5)
def test_answer_lost_when_the_order_was_accepted_then_adopted_under_its_id(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.exchange.fault(POST, "drop")
    recovery.injected()
    desk.enter()
    desk.wait_covered()
    recovery.done()
    assert_bought_once(desk)


@pytest.mark.fault("order POST accepted, answer lost", bound_s=5)
def test_answer_lost_when_it_is_the_stops_then_one_pair(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.exchange.fault(POST + ".*oco", "drop")
    recovery.injected()
    desk.enter()
    desk.wait_covered()
    recovery.done()
    pairs = [order for order in desk.orders() if order["order_class"] == "oco"]
    assert len({pair["client_order_id"] for pair in pairs}) == 1
    assert_bought_once(desk)


@pytest.mark.fault("504 on POST", bound_s=5)
@pytest.mark.parametrize("is_taken", [True, False], ids=["taken", "not taken"])
def test_504_when_the_order_is_posted_then_there_is_one(
    desk: PlainDesk, recovery: Recovery, is_taken: bool
) -> None:
    desk.exchange.fault(POST, "status", status=504, commit=is_taken)
    recovery.injected()
    desk.enter()
    desk.wait_covered()
    recovery.done()
    assert_bought_once(desk)


@pytest.mark.fault("duplicate-id 422", bound_s=5)
@pytest.mark.parametrize("code", [40010001, 42210000])
def test_duplicate_id_when_sent_again_under_either_code_then_adopted(
    desk: PlainDesk, recovery: Recovery, code: int
) -> None:
    desk.exchange.fault(POST, "drop")
    desk.exchange.fault(POST, "duplicate_code", code=code)
    # Nothing is found before it is sent once more.
    desk.exchange.fault(LOOK_UP, "status", status=404, body=NOT_FOUND, count=6)
    recovery.injected()
    desk.enter()
    desk.wait_covered()
    recovery.done()
    assert_bought_once(desk)


@pytest.mark.fault("lookup answers 404 just after accept", bound_s=5)
def test_lookup_404_when_the_order_shows_late_then_looked_up_until_it_does(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.exchange.fault(POST, "drop")
    desk.exchange.fault(LOOK_UP, "status", status=404, body=NOT_FOUND, count=3)
    recovery.injected()
    desk.enter()
    desk.wait_covered()
    recovery.done()
    assert_bought_once(desk)


# -- an exchange that does not answer, or not in JSON


@pytest.fixture
def hasty(desk: PlainDesk) -> PlainDesk:
    """A desk that waits a second for an answer, and no longer."""
    desk.stop()
    desk.deadline_s = 1.0
    desk.start()
    return desk


@pytest.mark.fault("REST hangs", bound_s=2)
def test_rest_hangs_when_an_entry_waits_for_its_answer_then_exits_do_not(
    hasty: PlainDesk, recovery: Recovery
) -> None:
    desk = hasty
    desk.hold("BETA")
    # Longer than the sends and look-ups of one entry.
    desk.exchange.fault("^(POST|GET) /v2/orders.*(ALFA|entry)", "hold", count=0)
    entering = threading.Thread(target=desk.enter, daemon=True)
    entering.start()
    wait_until(lambda: desk.store.open_orders("ALFA") != [])
    recovery.injected()
    desk.flatten()
    desk.wait_flat("BETA")
    recovery.done()
    assert entering.is_alive()
    desk.exchange.clear_faults()
    entering.join(timeout=20)
    assert not entering.is_alive()


@pytest.mark.fault("REST hangs", bound_s=3)
def test_rest_hangs_when_no_question_is_answered_then_exits_go_out(
    hasty: PlainDesk, recovery: Recovery
) -> None:
    desk = hasty
    desk.hold()
    desk.exchange.fault("^GET /v2/", "hold", count=0)
    # The minute's comparison with the broker meets the silence first.
    desk.step()
    time.sleep(0.6)
    recovery.injected()
    desk.flatten()
    wait_until(lambda: bool(desk.store.position("ALFA") is None), within_s=8)
    recovery.done()
    desk.exchange.clear_faults()
    desk.wait_flat()
    wait_until(desk.is_reconciled, within_s=10)
    desk.assert_exact()


@pytest.mark.fault("REST hangs", bound_s=3)
def test_rest_hangs_when_a_repair_cannot_end_then_exits_go_out(
    hasty: PlainDesk, recovery: Recovery
) -> None:
    desk = hasty
    desk.hold()
    desk.exchange.fault("^GET /v2/account", "hold", count=0)
    # A new stream makes the desk compare everything, which it cannot now.
    desk.cut("trade_updates")
    wait_until(lambda: desk.streams() == 2)
    time.sleep(0.2)
    recovery.injected()
    desk.flatten()
    wait_until(lambda: desk.held() == 0, within_s=8)
    recovery.done()
    desk.exchange.clear_faults()
    desk.wait_flat(within_s=10)
    desk.assert_exact()


@pytest.mark.fault("502/503 with an HTML body", bound_s=5)
@pytest.mark.parametrize("status", [502, 503])
def test_html_page_when_an_order_is_posted_then_sent_again_under_its_id(
    desk: PlainDesk, recovery: Recovery, status: int
) -> None:
    page = {"status": status, "body": PAGE, "content_type": "text/html"}
    desk.exchange.fault(POST, "status", **page)
    desk.exchange.fault(LOOK_UP, "status", **page, count=2)
    recovery.injected()
    desk.enter()
    desk.wait_covered()
    recovery.done()
    assert_bought_once(desk)


@pytest.mark.fault("502/503 with an HTML body", bound_s=5)
def test_html_page_when_it_answers_every_question_then_entries_wait_for_its_end(
    desk: PlainDesk, recovery: Recovery
) -> None:
    page = {"status": 503, "body": PAGE, "content_type": "text/html"}
    desk.exchange.fault(
        "^(GET|POST|PATCH|DELETE) /v2/(account|orders|pos)", "status", **page, count=0
    )
    desk.step()
    wait_until(lambda: not desk.is_reconciled())
    with pytest.raises(BrokerUnavailable):
        desk.broker.account()
    desk.exchange.clear_faults()
    recovery.injected()
    desk.step()
    wait_until(desk.is_reconciled)
    recovery.done()
    desk.enter()
    desk.wait_covered()
    assert_bought_once(desk)


@pytest.mark.fault("key revoked", bound_s=5)
def test_key_revoked_when_the_desk_trades_then_entries_halt_with_one_alert(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.hold("BETA", stop_frac=0.05)
    desk.want("ALFA")
    body = '{"message":"unauthorized."}'
    desk.exchange.fault("^(GET|POST|PATCH|DELETE) /v2/", "status", status=401, body=body, count=0)
    for number in range(3):
        desk.step()
        wait_until(lambda number=number: len(desk.refusals()) > number)
    assert len(desk.notifier.alerts) == 1
    assert all("buying_power" in reason for reason in desk.refusals())
    assert "reconciled" in desk.refusals()[-1]
    desk.exchange.clear_faults()
    # What rested at the broker rested all the while.
    assert entries(desk) == ["filled"]
    assert desk.is_covered("BETA")
    recovery.injected()
    desk.step()
    wait_until(desk.is_reconciled)
    recovery.done()
    desk.step()
    desk.wait_covered("ALFA")
    assert len(desk.notifier.alerts) == 1


@pytest.mark.fault("outage is not order failed", bound_s=5)
@pytest.mark.parametrize("host", ["refused", "no such name"])
def test_outage_when_the_broker_cannot_be_reached_then_unresolved_until_it_is(
    desk: PlainDesk, recovery: Recovery, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    url = f"http://127.0.0.1:{free_port()}" if host == "refused" else "http://broker.invalid"
    seen = desk.seen("ALFA")
    gate = desk.new_gate(broker=OutsideBroker(desk, url), sleep=lambda _: None)
    gate.judge([seen], desk.clock.now())
    (record,) = desk.store.open_orders("ALFA")
    assert record.status is OrderStatus.UNRESOLVED
    assert entries(desk) == []
    recovery.injected()
    # The next life of the gate asks the broker, which never had it.
    desk.new_gate()
    desk.wait_covered()
    recovery.done()
    assert desk.orders()[0]["client_order_id"] == record.intent.client_order_id
    assert_bought_once(desk)


class OutsideBroker:
    """A broker that answers questions about the account, and is out of reach for orders."""

    def __init__(self, desk: PlainDesk, url: str) -> None:
        self._near, self._far = desk.new_broker(), desk.new_broker(url)

    def __getattr__(self, name: str) -> object:
        near = name in ("account", "positions")
        return getattr(self._near if near else self._far, name)


@pytest.mark.fault("wash-trade 403 on an add", bound_s=5)
def test_wash_trade_when_a_simple_stop_rests_then_it_stays_and_the_add_waits(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.stop()
    desk.post(symbol="ALFA", side="buy")
    stop = desk.post(symbol="ALFA", side="sell", type="stop", stop_price="90", time_in_force="gtc")
    recovery.injected()
    desk.start()
    desk.wait_covered()
    add = send_add(desk)
    assert isinstance(add, Rejected)
    assert (add.http_status, add.code) == (403, 40310000)
    assert "wash trade" in add.message
    assert [order.order_id for order in desk.sells()] == [stop["id"]]
    assert desk.is_covered()
    recovery.done()
    record = desk.store.order(f"gl-{desk.name}-add-entry-1")
    assert record is not None
    assert record.status is OrderStatus.REFUSED
    # The refusal stands: it is not sent again by itself.
    again = send_add(desk)
    assert isinstance(again, Rejected)
    assert add.message in again.message
    assert again.http_status == 0
    desk.step(2)
    assert entries(desk) == []
    assert desk.is_covered()


def send_add(desk: PlainDesk) -> Outcome:
    """Buy five more shares of what is held, as an entry of its own."""
    gateway = OrderGateway(
        store=desk.store, broker=desk.broker, desk=desk.name, holder="adds", sleep=time.sleep
    )
    decision = Decision(
        decision_id="add",
        at=desk.clock.now(),
        kind=DecisionKind.ENTRY,
        verdict=Verdict.TAKEN,
        symbol="ALFA",
        strategy="script",
        reason="",
        figures={
            "stop_price": "90",
            "target_price": "120",
            "exit_by": desk.clock.now().isoformat(),
        },
    )
    return gateway.send(
        decision=decision,
        decision_id="add",
        role=Role.ENTRY,
        attempt=1,
        symbol="ALFA",
        side=Side.BUY,
        kind=OrderKind.LIMIT,
        qty=5,
        limit_price=Decimal("110.00"),
        stop_price=None,
        time_in_force=TimeInForce.DAY,
        at=desk.clock.now(),
    )
