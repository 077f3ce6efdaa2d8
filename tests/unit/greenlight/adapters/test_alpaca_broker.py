"""Alpaca's answers as outcomes, against a server that answers by script."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from greenlight.adapters.alpaca_broker import (
    AlpacaBroker,
    is_loopback,
    parse_fill,
    parse_instant,
    parse_order,
)
from greenlight.domain.cash import CashMoved
from greenlight.domain.corporate_actions import DividendPaid
from greenlight.domain.orders import (
    Accepted,
    OrderIntent,
    OrderKind,
    OrderStatus,
    Rejected,
    Role,
    Side,
    TimeInForce,
    Unresolved,
)
from greenlight.ports import BrokerRefused, BrokerUnavailable

T0 = datetime(2013, 10, 7, 14, 30, tzinfo=UTC)
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
HANG, DROP = "hang", "drop"


@dataclass(slots=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: dict[str, Any] | None
    headers: dict[str, str]


@dataclass(slots=True)
class Script:
    """Answers in order: (status, body), or HANG, or DROP. `requests` is what came."""

    answers: list[Any] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    url: str = ""
    release: threading.Event = field(default_factory=threading.Event)

    def answer(self, *answers: Any) -> None:
        self.answers.extend(answers)

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        text = handler.rfile.read(length)
        parts = urlsplit(handler.path)
        self.requests.append(
            Request(
                method=handler.command,
                path=parts.path,
                query=dict(parse_qsl(parts.query)),
                body=json.loads(text) if text else None,
                headers=dict(handler.headers.items()),
            )
        )
        answer = self.answers.pop(0) if self.answers else (500, b"no answer was scripted")
        handler.close_connection = True
        if answer == HANG:
            self.release.wait(10)
            return
        if answer == DROP:
            return
        status, body = answer
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(payload)))
        handler.end_headers()
        handler.wfile.write(payload)


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            script.handle(self)

        do_GET = do_POST = do_PATCH = do_DELETE = _handle

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield script
    finally:
        script.release.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def broker(script: Script) -> AlpacaBroker:
    return AlpacaBroker(base_url=script.url, key_id="key", secret_key="secret", deadline_s=0.2)


def wire(**changes: Any) -> dict[str, Any]:
    """An order as Alpaca's documentation shows it."""
    order = {
        "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
        "client_order_id": "gl-t-d1-entry-1",
        "created_at": "2013-10-07T14:30:00.123456789Z",
        "updated_at": "2013-10-07T14:30:01.123456789Z",
        "asset_class": "us_equity",
        "symbol": "AAPL",
        "notional": None,
        "qty": "10",
        "filled_qty": "4",
        "filled_avg_price": "100.055",
        "order_class": "",
        "order_type": "limit",
        "type": "limit",
        "side": "buy",
        "time_in_force": "day",
        "limit_price": "100.1",
        "stop_price": None,
        "status": "partially_filled",
        "replaced_by": None,
        "legs": None,
    }
    return {**order, **changes}


def intent(**changes: Any) -> OrderIntent:
    fields: dict[str, Any] = {
        "client_order_id": "gl-t-d1-entry-1",
        "decision_id": "d1",
        "role": Role.ENTRY,
        "attempt": 1,
        "symbol": "AAPL",
        "side": Side.BUY,
        "kind": OrderKind.LIMIT,
        "qty": 10,
        "limit_price": Decimal("100.10"),
        "stop_price": None,
        "time_in_force": TimeInForce.DAY,
        "replaces": None,
        "holder": "risk-gate",
        "epoch": 1,
        "at": T0,
    }
    return OrderIntent(**{**fields, **changes})


# -- reading


def test_parse_order_when_partly_filled_then_exact_decimals_and_utc() -> None:
    order = parse_order(wire())
    assert (order.qty, order.filled_qty, order.remaining) == (10, 4, 6)
    assert (order.filled_avg_price, order.limit_price) == (Decimal("100.055"), Decimal("100.1"))
    assert order.status is OrderStatus.PARTIALLY_FILLED
    assert order.updated_at == datetime(2013, 10, 7, 14, 30, 1, 123456, tzinfo=UTC)
    assert order.legs == ()


def test_parse_order_when_oco_then_legs_are_read_too() -> None:
    leg = wire(id="leg", type="stop", order_type="stop", stop_price="95", limit_price=None)
    order = parse_order(wire(order_class="oco", legs=[{**leg, "status": "held"}]))
    assert [leg.stop_price for leg in order.legs] == [Decimal(95)]
    assert order.legs[0].status is OrderStatus.WORKING


def test_parse_order_when_status_is_unknown_then_unresolved_not_raised() -> None:
    order = parse_order(wire(status="pending_magic"))
    assert (order.status, order.broker_status) == (OrderStatus.UNRESOLVED, "pending_magic")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2013-10-07T14:30:00Z", T0),
        ("2013-10-07T10:30:00-04:00", T0),
        ("2013-10-07T14:30:00.1Z", T0.replace(microsecond=100_000)),
        ("2013-10-07T14:30:00.123456999Z", T0.replace(microsecond=123_456)),
        ("2013-10-07T10:30:00.000001234-04:00", T0.replace(microsecond=1)),
    ],
)
def test_parse_instant_when_nanoseconds_or_offset_then_utc_microseconds(
    text: str, instant: datetime
) -> None:
    assert parse_instant(text) == instant
    assert parse_instant(text).utcoffset() == T0.utcoffset()


def test_parse_fill_when_partial_then_this_fill_and_the_sum_so_far() -> None:
    fill = parse_fill(
        {
            "event": "partial_fill",
            "execution_id": "x1",
            "price": "100.055",
            "qty": "3",
            "position_qty": "4",
            "timestamp": "2013-10-07T14:30:00.5Z",
            "order": wire(),
        }
    )
    assert (fill.qty, fill.cum_qty, fill.price) == (3, 4, Decimal("100.055"))
    assert fill.client_order_id == "gl-t-d1-entry-1"


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("http://127.0.0.1:8700", True),
        ("http://localhost:1", True),
        ("http://[::1]:1", True),
        ("https://paper-api.alpaca.markets", False),
        ("http://127.0.0.1.evil.example", False),
    ],
)
def test_is_loopback_when_host_is_this_machine_then_true(url: str, answer: bool) -> None:
    assert is_loopback(url) is answer


# -- sending


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({}, {"type": "limit", "limit_price": "100.10", "side": "buy", "time_in_force": "day"}),
        (
            {
                "kind": OrderKind.OCO,
                "side": Side.SELL,
                "limit_price": Decimal("105.00"),
                "stop_price": Decimal("95.00"),
                "time_in_force": TimeInForce.GTC,
            },
            {
                "type": "limit",
                "order_class": "oco",
                "take_profit": {"limit_price": "105.00"},
                "stop_loss": {"stop_price": "95.00"},
                "side": "sell",
                "time_in_force": "gtc",
            },
        ),
        (
            {"kind": OrderKind.STOP, "side": Side.SELL, "stop_price": Decimal("95.00")},
            {"type": "stop", "stop_price": "95.00", "side": "sell", "time_in_force": "day"},
        ),
    ],
)
def test_submit_when_accepted_then_posted_as_alpaca_wants_it(
    script: Script, broker: AlpacaBroker, changes: dict[str, Any], body: dict[str, Any]
) -> None:
    script.answer((200, wire(status="accepted", filled_qty="0")))
    outcome = broker.submit(intent(**changes))
    assert isinstance(outcome, Accepted)
    assert outcome.order.status is OrderStatus.WORKING
    (request,) = script.requests
    assert (request.method, request.path) == ("POST", "/v2/orders")
    common = {"symbol": "AAPL", "qty": "10", "client_order_id": "gl-t-d1-entry-1"}
    assert request.body == {**common, **body}
    assert request.headers["APCA-API-KEY-ID"] == "key"
    assert request.headers["APCA-API-SECRET-KEY"] == "secret"


def test_submit_when_it_changes_a_price_then_patched_under_its_own_name(
    script: Script, broker: AlpacaBroker
) -> None:
    script.answer((200, wire(id="new", client_order_id="gl-t-d1-exit-1")))
    outcome = broker.submit(intent(client_order_id="gl-t-d1-exit-1", replaces="old"))
    assert isinstance(outcome, Accepted)
    assert outcome.order.order_id == "new"
    (request,) = script.requests
    assert (request.method, request.path) == ("PATCH", "/v2/orders/old")
    assert request.body == {"limit_price": "100.10", "client_order_id": "gl-t-d1-exit-1"}


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_submit_when_answer_is_transient_then_unresolved_and_sent_once(
    script: Script, broker: AlpacaBroker, status: int
) -> None:
    script.answer((status, HTML))
    started = time.monotonic()
    outcome = broker.submit(intent())
    assert isinstance(outcome, Unresolved)
    assert str(status) in outcome.reason
    # alpaca-py alone would wait three seconds and post again on 429 and 504.
    assert time.monotonic() - started < 2
    assert len(script.requests) == 1


@pytest.mark.parametrize("answer", [HANG, DROP])
def test_submit_when_there_is_no_answer_then_unresolved_within_the_deadline(
    script: Script, broker: AlpacaBroker, answer: str
) -> None:
    script.answer(answer)
    started = time.monotonic()
    assert isinstance(broker.submit(intent()), Unresolved)
    assert time.monotonic() - started < 2
    assert len(script.requests) == 1


def test_submit_when_nobody_listens_then_unresolved(script: Script) -> None:
    nobody = AlpacaBroker(
        base_url="http://127.0.0.1:9", key_id="key", secret_key="secret", deadline_s=0.2
    )
    assert isinstance(nobody.submit(intent()), Unresolved)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"fine"',
        HTML,
        json.dumps({"id": "1"}).encode(),
        json.dumps(wire(qty="many")).encode(),
        json.dumps(wire(side="sideways")).encode(),
        json.dumps(wire(updated_at="soon")).encode(),
    ],
)
def test_submit_when_the_answer_is_garbled_then_unresolved_because_it_may_be_there(
    script: Script, broker: AlpacaBroker, body: bytes
) -> None:
    script.answer((200, body))
    assert isinstance(broker.submit(intent()), Unresolved)


@pytest.mark.parametrize("code", [40010001, 42210000])
def test_submit_when_the_name_is_taken_then_the_existing_order_is_adopted(
    script: Script, broker: AlpacaBroker, code: int
) -> None:
    duplicate = {"code": code, "message": "client_order_id must be unique"}
    script.answer((422, duplicate), (200, wire(id="first")))
    outcome = broker.submit(intent())
    assert isinstance(outcome, Accepted)
    assert outcome.order.order_id == "first"
    look_up = script.requests[1]
    assert look_up.path == "/v2/orders:by_client_order_id"
    assert look_up.query["client_order_id"] == "gl-t-d1-entry-1"


@pytest.mark.parametrize(
    "answer", [(404, {"code": 40410000, "message": "order not found"}), (502, HTML), HANG]
)
def test_submit_when_the_name_is_taken_but_not_visible_then_unresolved(
    script: Script, broker: AlpacaBroker, answer: Any
) -> None:
    script.answer((422, {"code": 42210000, "message": "client_order_id must be unique"}), answer)
    assert isinstance(broker.submit(intent()), Unresolved)


def test_submit_when_504_came_after_commit_then_the_repeat_adopts_it(
    script: Script, broker: AlpacaBroker
) -> None:
    script.answer(
        (504, b""),
        (422, {"code": 40010001, "message": "client_order_id must be unique"}),
        (200, wire(id="first")),
    )
    assert isinstance(broker.submit(intent()), Unresolved)
    outcome = broker.submit(intent())
    assert isinstance(outcome, Accepted)
    assert outcome.order.order_id == "first"
    names = [request.body["client_order_id"] for request in script.requests[:2] if request.body]
    assert names == ["gl-t-d1-entry-1"] * 2


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, 40310000, "insufficient buying power"),
        (403, 40310000, "potential wash trade detected. use complex orders"),
        (422, 42210000, "stop price must be less than current price"),
        (401, None, "unauthorized."),
    ],
)
def test_submit_when_refused_then_rejected_with_code_and_message(
    script: Script, broker: AlpacaBroker, status: int, code: int | None, message: str
) -> None:
    body = {"message": message} if code is None else {"code": code, "message": message}
    script.answer((status, body))
    assert broker.submit(intent()) == Rejected(http_status=status, code=code, message=message)


def test_submit_when_a_proxy_refuses_in_html_then_rejected_without_code(
    script: Script, broker: AlpacaBroker
) -> None:
    script.answer((401, HTML))
    outcome = broker.submit(intent())
    assert isinstance(outcome, Rejected)
    assert (outcome.http_status, outcome.code) == (401, None)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ((204, b""), type(None)),
        ((422, {"code": 42210000, "message": 'order is already in "filled" state'}), Rejected),
        ((404, {"code": 40410000, "message": "order not found for x"}), Rejected),
        ((502, HTML), Unresolved),
        (HANG, Unresolved),
        (DROP, Unresolved),
    ],
)
def test_cancel_when_answered_then_taken_refused_or_unresolved(
    script: Script, broker: AlpacaBroker, answer: Any, outcome: type
) -> None:
    script.answer(answer)
    assert isinstance(broker.cancel("o1"), outcome)
    assert (script.requests[0].method, script.requests[0].path) == ("DELETE", "/v2/orders/o1")


# -- asking

QUESTIONS: list[Callable[[AlpacaBroker], object]] = [
    lambda broker: broker.find_order("gl-t-d1-entry-1"),
    lambda broker: broker.order("o1"),
    lambda broker: broker.open_orders("AAPL"),
    lambda broker: broker.positions(),
    lambda broker: broker.account(),
    lambda broker: broker.executions(T0),
    lambda broker: broker.cash_activities(T0),
]


@pytest.mark.parametrize("ask", QUESTIONS)
@pytest.mark.parametrize(
    "answer",
    [
        (502, HTML),
        (503, HTML),
        (429, {"code": 42910000, "message": "rate limit"}),
        (200, HTML),
        (200, b""),
        (200, {"unexpected": 1}),
        (200, [{"unexpected": 1}]),
        HANG,
        DROP,
    ],
)
def test_ask_when_there_is_no_usable_answer_then_unavailable(
    script: Script, broker: AlpacaBroker, ask: Callable[[AlpacaBroker], object], answer: Any
) -> None:
    script.answer(answer)
    with pytest.raises(BrokerUnavailable):
        ask(broker)


@pytest.mark.parametrize("ask", QUESTIONS)
def test_ask_when_the_key_was_revoked_then_refused(
    script: Script, broker: AlpacaBroker, ask: Callable[[AlpacaBroker], object]
) -> None:
    script.answer((401, {"message": "unauthorized."}))
    with pytest.raises(BrokerRefused) as caught:
        ask(broker)
    assert caught.value.http_status == 401


def test_find_order_when_unknown_then_none(script: Script, broker: AlpacaBroker) -> None:
    script.answer((404, {"code": 40410000, "message": "order not found for x"}))
    assert broker.find_order("x") is None


def test_find_order_when_it_has_legs_then_read_again_by_id(
    script: Script, broker: AlpacaBroker
) -> None:
    parent = wire(id="p", order_class="oco", side="sell", status="new", legs=None)
    leg = wire(id="leg", side="sell", type="stop", stop_price="95", status="held")
    script.answer((200, parent), (200, {**parent, "legs": [leg]}))
    order = broker.find_order("gl-t-d1-protect-1")
    assert order is not None
    assert [leg.order_id for leg in order.legs] == ["leg"]
    assert script.requests[1].path == "/v2/orders/p"


def test_open_orders_when_oco_hides_its_held_leg_then_read_by_id(
    script: Script, broker: AlpacaBroker
) -> None:
    parent = wire(id="p", order_class="oco", side="sell", status="new", legs=None)
    leg = wire(id="leg", side="sell", type="stop", stop_price="95", status="held")
    dead = wire(id="dead", side="sell", status="canceled")
    script.answer((200, [parent]), (200, {**parent, "legs": [leg, dead]}))
    orders = broker.open_orders("AAPL")
    assert [order.order_id for order in orders] == ["p", "leg"]
    assert script.requests[0].query["symbols"] == "AAPL"
    assert script.requests[1].path == "/v2/orders/p"


def test_positions_when_a_stop_holds_shares_then_available_is_less(
    script: Script, broker: AlpacaBroker
) -> None:
    raw = {"symbol": "AAPL", "qty": "10", "qty_available": "4", "avg_entry_price": "100.05"}
    script.answer((200, [{**raw, "current_price": None}]))
    (position,) = broker.positions()
    assert (position.qty, position.qty_available) == (10, 4)
    assert (position.avg_entry_price, position.current_price) == (Decimal("100.05"), None)


@pytest.mark.parametrize("flag", ["trading_blocked", "account_blocked"])
def test_account_when_blocked_either_way_then_said(
    script: Script, broker: AlpacaBroker, flag: str
) -> None:
    raw = {
        "account_number": "PA1",
        "status": "ACTIVE",
        "equity": "100000.01",
        "last_equity": "99000",
        "cash": "50000",
        "buying_power": "200000.02",
        "trading_blocked": False,
        "account_blocked": False,
    }
    script.answer((200, raw), (200, {**raw, flag: True}))
    account = broker.account()
    assert (account.equity, account.buying_power) == (Decimal("100000.01"), Decimal("200000.02"))
    assert not account.is_trading_blocked
    assert broker.account().is_trading_blocked


def test_executions_when_there_are_pages_then_all_in_order(
    script: Script, broker: AlpacaBroker
) -> None:
    def row(number: int) -> dict[str, Any]:
        return {
            "id": f"20131007::{number:03}",
            "order_id": "o1",
            "symbol": "AAPL",
            "side": "sell",
            "qty": "1",
            "price": "100.5",
            "cum_qty": str(number + 1),
            "leaves_qty": "0",
            "transaction_time": "2013-10-07T14:30:00.123456789Z",
        }

    rows = [row(n) for n in range(103)]
    script.answer((200, rows[:100]), (200, rows[100:]))
    fills = broker.executions(T0)
    assert [fill.cum_qty for fill in fills] == list(range(1, 104))
    assert fills[0].side is Side.SELL
    assert fills[0].at == T0.replace(microsecond=123_456)
    assert "page_token" not in script.requests[0].query
    assert script.requests[1].query["page_token"] == "20131007::099"
    assert script.requests[0].query["after"] == "2013-10-07T14:30:00+00:00"


def test_dividends_when_paid_and_taxed_then_both_with_their_instants(
    script: Script, broker: AlpacaBroker
) -> None:
    # The rows of Alpaca's documents; only newer ones have `created_at`.
    paid = {
        "activity_type": "DIV",
        "id": "20190801011955195::5f596936-6f23-4cef-bdf1-3806aae57dbf",
        "date": "2019-08-01",
        "net_amount": "1.02",
        "symbol": "T",
        "qty": "2",
        "per_share_amount": "0.51",
    }
    tax = {
        "activity_type": "DIVNRA",
        "id": "20190801011955195::6",
        "date": "2019-08-01",
        "created_at": "2019-08-01T05:19:55.195123456Z",
        "net_amount": -0.15,
        "symbol": "T",
        "description": "withheld",
    }
    script.answer((200, [paid, tax]))
    first, second = broker.cash_activities(T0)
    assert isinstance(first, DividendPaid)
    assert isinstance(second, DividendPaid)
    assert (first.usd, first.qty, first.usd_a_share) == (
        Decimal("1.02"),
        Decimal(2),
        Decimal("0.51"),
    )
    assert first.at == datetime(2019, 8, 1, 5, 19, 55, 195_000, tzinfo=UTC)
    assert (second.usd, second.qty, second.usd_a_share) == (Decimal("-0.15"), None, None)
    assert second.at == datetime(2019, 8, 1, 5, 19, 55, 195_123, tzinfo=UTC)
    assert script.requests[0].query["category"] == "non_trade_activity"


def activity(**fields: Any) -> dict[str, Any]:
    """A row as Alpaca's documents have it, without time and status."""
    return {
        "id": "20240719000000000::1d4f",
        "activity_type": "FEE",
        "date": "2024-07-19",
        "net_amount": "-0.01",
        "description": "TAF fee for proceed of 48 shares (9 trades) on 2024-07-19",
        **fields,
    }


def test_cash_activities_when_of_any_type_then_exact_signed_and_as_the_broker_names_them(
    script: Script, broker: AlpacaBroker
) -> None:
    rows = [
        activity(status="executed"),
        activity(id="b", activity_type="CSD", net_amount="25000"),
        activity(id="c", activity_type="NEVER_SEEN", net_amount=-1.5, symbol="IBM"),
        activity(id="d", activity_type="JNLC", net_amount="-7", status="correct"),
        activity(id="e", activity_type="DIV", net_amount="2"),
    ]
    script.answer((200, rows))
    found = broker.cash_activities(T0)
    assert all(isinstance(row, CashMoved) for row in found)
    assert [(row.usd, row.symbol) for row in found] == [
        (Decimal("-0.01"), None),
        (Decimal(25_000), None),
        (Decimal("-1.5"), "IBM"),
        (Decimal(-7), None),
        (Decimal(2), None),
    ]
    kinds = [(row.activity_type, row.is_transfer) for row in found if isinstance(row, CashMoved)]
    assert kinds == [
        ("FEE", False),
        ("CSD", True),
        ("NEVER_SEEN", False),
        ("JNLC", True),
        ("DIV", False),
    ]
    assert len(script.requests) == 1


def test_cash_activities_when_no_cash_moved_then_left_out(
    script: Script, broker: AlpacaBroker
) -> None:
    rows = [
        activity(activity_type="FILL"),
        activity(status="pending"),
        activity(activity_type="SPLIT", net_amount=None),
    ]
    script.answer((200, rows))
    assert broker.cash_activities(T0) == ()


def test_cash_activities_when_cancelled_then_of_no_dollars(
    script: Script, broker: AlpacaBroker
) -> None:
    dividend = activity(id="b", activity_type="DIV", symbol="T", net_amount="3")
    script.answer((200, [activity(status="canceled"), {**dividend, "status": "canceled"}]))
    fee, paid = broker.cash_activities(T0)
    assert isinstance(paid, DividendPaid)
    assert (fee.usd, paid.usd) == (0, 0)


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"created_at": "2024-07-20T01:02:03.5Z"}, datetime(2024, 7, 20, 1, 2, 3, 500_000, UTC)),
        # The time in an id is New York's.
        ({"id": "20240719183000250::x"}, datetime(2024, 7, 19, 22, 30, 0, 250_000, UTC)),
        # A charge is for a day that is over, a deposit may be spent from its morning on.
        ({}, datetime(2024, 7, 20, 3, 59, 59, tzinfo=UTC)),
        ({"activity_type": "CSD"}, datetime(2024, 7, 19, 4, tzinfo=UTC)),
    ],
)
def test_cash_activities_when_dated_one_way_or_another_then_an_instant(
    script: Script, broker: AlpacaBroker, fields: dict[str, Any], at: datetime
) -> None:
    script.answer((200, [activity(**fields)]))
    (row,) = broker.cash_activities(T0)
    assert row.at == at


def test_cash_activities_when_there_are_pages_then_all_in_order(
    script: Script, broker: AlpacaBroker
) -> None:
    rows = [activity(id=f"20240719::{n:03}") for n in range(103)]
    script.answer((200, rows[:100]), (200, rows[100:]))
    assert [row.activity_id for row in broker.cash_activities(T0)] == [r["id"] for r in rows]
    assert script.requests[1].query["page_token"] == "20240719::099"


@pytest.mark.parametrize("field", ["id", "activity_type", "date"])
def test_cash_activities_when_a_row_lacks_what_it_must_have_then_unavailable(
    script: Script, broker: AlpacaBroker, field: str
) -> None:
    row = activity()
    del row[field]
    script.answer((200, [row]))
    with pytest.raises(BrokerUnavailable):
        broker.cash_activities(T0)
