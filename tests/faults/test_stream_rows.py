"""Streams that repeat, lose, garble, stop or refuse, and prices nobody may act upon."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import msgpack
import pytest

from greenlight.domain.audit import DecisionKind
from tests.exchange_fixture import KEY, SECRET, open_socket, wait_until
from tests.fault_table import Recovery
from tests.faults.plain_desk import PlainDesk


def refused(desk: PlainDesk) -> dict[str, int]:
    """Refused input by reason."""
    assert desk.hub is not None
    found: Any = desk.hub.status()["refused"]
    return dict(found)


# -- the trade stream


@pytest.mark.fault("fill replayed x3", bound_s=5)
def test_fill_replayed_when_it_comes_three_times_then_booked_once(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.to_price(101)
    desk.exchange.fault("^trade_updates:.*fill:ALFA", "duplicate", times=3, count=0)
    recovery.injected()
    desk.enter()
    desk.wait_covered()
    recovery.done()
    desk.flatten()
    desk.wait_flat()
    assert [side for side, _ in desk.booked()] == ["buy", "sell"]
    desk.assert_exact()


@pytest.mark.fault("fills missed while disconnected", bound_s=5)
def test_fill_missed_when_the_stream_was_cut_then_booked_and_protected(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.to_price(101)
    seen, now = desk.seen("ALFA"), desk.clock.now()
    desk.gate()
    recovery.injected()
    desk.cut("trade_updates")
    desk.judge([seen], now)
    desk.wait_covered()
    recovery.done()
    assert len(desk.booked()) == 1
    desk.assert_exact()


@pytest.mark.fault("fills missed while disconnected", bound_s=5)
def test_fill_missed_when_one_part_was_told_then_the_other_alone_is_added(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.to_price(101)
    desk.exchange.fault("^POST /v2/orders", "partial", qty=4)
    desk.enter()
    desk.wait_covered()
    (entry,) = desk.orders(side="buy")
    # The rest fills on the way to its cancel, while nobody listens.
    desk.exchange.fault("^DELETE /v2/orders/", "fill")
    recovery.injected()
    desk.cut("trade_updates")
    desk.exchange.request("DELETE", f"/v2/orders/{entry['id']}")
    desk.wait_covered()
    recovery.done()
    fills = desk.store.fills(limit=None)
    assert [fill.cum_qty for fill in fills] == [4, int(entry["qty"])]
    assert desk.covered() == int(entry["qty"])
    desk.assert_exact()


@pytest.mark.fault("unknown enum kills a stream event", bound_s=5)
@pytest.mark.parametrize(
    "fields",
    [{"status": "reincarnated"}, {"side": "sideways"}, {"qty": "many"}, {"id": None}],
    ids=["status", "side", "qty", "id"],
)
def test_unknown_value_when_it_garbles_a_fill_then_repaired_over_rest(
    desk: PlainDesk, recovery: Recovery, fields: dict[str, Any]
) -> None:
    desk.to_price(101)
    desk.exchange.fault("^trade_updates:fill:ALFA", "poison", fields=fields)
    recovery.injected()
    desk.enter()
    desk.wait_covered()
    recovery.done()
    assert len(desk.booked()) == 1
    desk.step()
    wait_until(desk.is_reconciled)
    desk.assert_exact()


@pytest.mark.fault("mute stream", bound_s=5)
def test_mute_stream_when_it_is_the_trades_then_told_and_fills_are_asked_for(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.to_price(101)
    desk.exchange.fault("^trade_updates:", "mute", count=0)
    recovery.injected()
    desk.enter()
    desk.wait_covered(within_s=8)
    recovery.done()
    assert len(desk.notifier.alerts) == 1
    assert "trade stream" in desk.notifier.alerts[0]
    desk.assert_exact()


# -- market data


@pytest.mark.fault("mute stream", bound_s=5)
def test_mute_stream_when_prices_stop_then_alert_reconnect_and_no_entry_until_fresh(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.to_price(100)
    seen = desk.seen("ALFA")
    desk.exchange.fault("^data:", "mute", count=0)
    desk.step(2)
    recovery.injected()
    desk.clock.skipped_s += 120
    wait_until(lambda: desk.streams() == 1)
    recovery.done()
    wait_until(lambda: desk.streams() == 2)
    assert len(desk.notifier.alerts) == 1
    assert "no prices" in desk.notifier.alerts[0]
    # The new socket is as mute. What the gate is asked on the last price is refused.
    desk.judge([seen], desk.clock.now())
    assert "fresh_quote" in desk.refusals()[0]
    assert desk.orders() == []
    desk.exchange.clear_faults()
    desk.script.wants = {"ALFA"}
    desk.step()
    desk.wait_covered()
    assert len(desk.notifier.alerts) == 1


@pytest.mark.fault("second connection 406", bound_s=15)
def test_second_connection_when_another_has_the_slot_then_it_keeps_it_and_the_desk_waits(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.stop()
    desk.script.wants = {"ALFA"}
    with ExitStack() as stack:
        owner = open_socket(stack, desk.exchange.ws_url + "/v2/iex")
        owner.recv(timeout=5)
        owner.send(msgpack.packb({"action": "auth", "key": KEY, "secret": SECRET}))
        assert msgpack.unpackb(owner.recv(timeout=5))[0]["msg"] == "authenticated"
        desk.start(is_awaited=False)
        wait_until(desk.is_reconciled)
        desk.step(2)
        desk.clock.skipped_s += 120
        wait_until(lambda: desk.notifier.alerts != [])
        assert "no prices" in desk.notifier.alerts[0]
        assert desk.orders() == []
        # The owner was not pushed out.
        owner.send(msgpack.packb({"action": "subscribe", "quotes": ["BETA"]}))
        assert msgpack.unpackb(owner.recv(timeout=5))[0]["T"] == "subscription"
        recovery.injected()
    wait_until(lambda: desk.streams() == 2, within_s=15)
    desk.step()
    desk.wait_covered()
    recovery.done()
    assert len(desk.notifier.alerts) == 1


@pytest.mark.fault("slow consumer / 407", bound_s=5)
def test_slow_consumer_when_cut_off_with_407_then_connected_again_and_nothing_lost(
    desk: PlainDesk, recovery: Recovery
) -> None:
    desk.to_price(101)
    desk.exchange.fault("^data:error:", "error", code=407)
    recovery.injected()
    desk.step()
    wait_until(lambda: desk.streams() == 1)
    desk.enter()
    wait_until(lambda: desk.streams() == 2)
    recovery.done()
    desk.wait_covered()
    desk.script.wants = {"BETA"}
    desk.step()
    desk.wait_covered("BETA")
    desk.assert_exact()


BAD_QUOTES = [
    ({"bp": "nan"}, "not_finite"),
    ({"ap": "inf"}, "not_finite"),
    ({"bp": 0}, "not_positive"),
    ({"bp": -1, "ap": -0.5}, "not_positive"),
    ({"bp": 90.0, "ap": 89.0}, "crossed"),
    ({"bp": 50.0, "ap": 50.01}, "absurd"),
]


@pytest.mark.fault("NaN, zero, negative, crossed or out-of-order quote")
def test_bad_quote_when_it_would_stop_the_position_out_then_refused_and_counted(
    desk: PlainDesk,
) -> None:
    # The stop is at 95.96, which no true price reaches.
    qty = desk.hold(stop_frac=0.05)
    counts: dict[str, int] = {}
    for fields, reason in BAD_QUOTES:
        desk.exchange.fault("^data:quotes:ALFA", "poison", fields=fields)
        counts[reason] = counts.get(reason, 0) + 1
        desk.step()
        wait_until(lambda: refused(desk) == counts)
    assert desk.held() == desk.covered() == qty
    rows = [row for row in desk.decisions(DecisionKind.DATA) if row.symbol == "ALFA"]
    assert {row.reason for row in rows} == set(counts)
    assert desk.decisions(DecisionKind.EXIT) == []


@pytest.mark.fault("stale quote")
def test_stale_quote_when_one_symbol_freezes_then_no_decision_on_it_alone(
    desk: PlainDesk,
) -> None:
    desk.to_price(101)
    desk.exchange.fault("^data:quotes:ALFA", "mute", count=0)
    desk.step(2)
    desk.want("ALFA", "BETA")
    desk.step()
    desk.wait_covered("BETA")
    wait_until(lambda: desk.refusals("ALFA") != [])
    assert "fresh_quote" in desk.refusals("ALFA")[0]
    assert {order["symbol"] for order in desk.orders()} == {"BETA"}
    assert desk.hub is not None
    assert desk.hub.stale_symbols(desk.clock.now()) == ["ALFA"]
