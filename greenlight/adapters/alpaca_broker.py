"""Orders and account at Alpaca, through alpaca-py's REST client.

It stands behind the `Broker` port. Built on `alpaca.common.rest`, which loads
in a third of a second and without pandas, so that every position monitor can
afford one. Answers are read as plain JSON: an unknown status or a missing
field of an asset never keeps an order from being seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from alpaca.common.exceptions import APIError
from alpaca.common.rest import RESTClient
from requests.adapters import HTTPAdapter

from greenlight.adapters.rate_limit import Pace, no_pace
from greenlight.domain.cash import TRANSFERS, CashActivity, CashMoved
from greenlight.domain.corporate_actions import DividendPaid
from greenlight.domain.market import EASTERN, eastern_midnight
from greenlight.domain.orders import (
    TERMINAL,
    Accepted,
    BrokerOrder,
    Execution,
    OrderIntent,
    OrderKind,
    Outcome,
    Rejected,
    Side,
    Unresolved,
    status_from_broker,
)
from greenlight.ports import BrokerAccount, BrokerPosition, BrokerRefused, BrokerUnavailable

_DUPLICATE_TEXT: Final = "client_order_id must be unique"
_PAGE: Final = 100
_MAX_PAGES: Final = 1000
# Dividends by what they are for tax, and what is withheld from them.
_DIVIDENDS: Final = frozenset(
    {"DIV", "DIVCGL", "DIVCGS", "DIVFEE", "DIVFT", "DIVNRA", "DIVROC", "DIVTW", "DIVTXEX", "DIVWH"}
)
_WITH_LEGS: Final = frozenset({"oco", "bracket", "oto"})
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class _DeadlineAdapter(HTTPAdapter):
    """Gives every request a deadline: alpaca-py itself waits for ever."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        super().__init__(pool_maxsize=4)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        kwargs["timeout"] = self._deadline_s
        return super().send(request, **kwargs)


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine."""
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


class DeadlineClient(RESTClient):
    """alpaca-py's REST client with a deadline and without blind repeats.

    Alpaca-py repeats every verb on 429 and 504 after a blocking wait, orders
    included; repeating is the order gateway's business.
    """

    def __init__(self, *, base_url: str, key_id: str, secret_key: str, deadline_s: float) -> None:
        super().__init__(base_url=base_url, api_key=key_id, secret_key=secret_key, raw_data=True)
        self._retry = 0
        adapter = _DeadlineAdapter(deadline_s)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        # Proxy variables are for hosts outside; looking them up costs time on every request.
        self._session.trust_env = not is_loopback(base_url)


def _error_fields(error: APIError) -> tuple[int, int | None, str]:
    """HTTP status, Alpaca's code and message; an HTML body has no code."""
    status = int(error.status_code or 0)
    try:
        body = json.loads(str(error))
        code = int(body["code"]) if "code" in body else None
        return status, code, str(body.get("message", ""))
    except (ValueError, TypeError, AttributeError):
        return status, None, str(error)[:200]


def _instant(text: str | None) -> datetime:
    if text is None:
        return datetime.fromtimestamp(0, UTC)
    return parse_instant(text)


def parse_instant(text: str) -> datetime:
    """An RFC 3339 time with up to nine decimals as aware UTC, cut to microseconds."""
    head, dot, tail = text.partition(".")
    if dot:
        digits = len(tail) - len(tail.lstrip("0123456789"))
        text = f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}"
    return datetime.fromisoformat(text).astimezone(UTC)


def _money(value: object) -> Decimal | None:
    if value is None:
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation as error:
        raise BrokerUnavailable(f"not a number from the broker: {value!r}") from error


def _whole(value: object) -> int:
    """A share count; the desk trades whole shares, and a fraction is cut down."""
    return int(_money(value) or 0)


def _name(value: object) -> str:
    """A name that something is known by; without one it would pass for something new."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"no name: {value!r}")
    return value


def parse_order(raw: Mapping[str, Any]) -> BrokerOrder:
    """Alpaca's order object as ours."""
    return BrokerOrder(
        order_id=_name(raw["id"]),
        client_order_id=_name(raw["client_order_id"]),
        symbol=_name(raw["symbol"]),
        side=Side(raw["side"]),
        order_class=raw.get("order_class") or "",
        order_type=raw.get("order_type") or raw.get("type") or "",
        qty=_whole(raw["qty"]),
        filled_qty=_whole(raw["filled_qty"]),
        filled_avg_price=_money(raw.get("filled_avg_price")),
        limit_price=_money(raw.get("limit_price")),
        stop_price=_money(raw.get("stop_price")),
        status=status_from_broker(raw["status"]),
        broker_status=raw["status"],
        replaced_by=raw.get("replaced_by"),
        updated_at=_instant(raw.get("updated_at")),
        legs=tuple(parse_order(leg) for leg in raw.get("legs") or ()),
    )


def parse_fill(data: Mapping[str, Any]) -> Execution:
    """The fill in a trade-stream event."""
    order = data["order"]
    return Execution(
        execution_id=data["execution_id"],
        order_id=_name(order["id"]),
        client_order_id=_name(order["client_order_id"]),
        symbol=_name(order["symbol"]),
        side=Side(order["side"]),
        qty=_whole(data["qty"]),
        price=Decimal(str(data["price"])),
        cum_qty=_whole(order["filled_qty"]),
        at=parse_instant(data["timestamp"]),
    )


def parse_activity(raw: Mapping[str, Any]) -> Execution:
    """The fill in a row of the account's activities; it does not bear our name."""
    return Execution(
        execution_id=raw["id"],
        order_id=raw["order_id"],
        client_order_id=None,
        symbol=raw["symbol"],
        side=Side.BUY if raw["side"] == "buy" else Side.SELL,
        qty=_whole(raw["qty"]),
        price=Decimal(raw["price"]),
        cum_qty=_whole(raw["cum_qty"]),
        at=parse_instant(raw["transaction_time"]),
    )


def parse_cash_activity(raw: Mapping[str, Any]) -> CashActivity | None:
    """What a row of the account's activities says of its cash; None: nothing, or not yet.

    A row of a type that is not known counts as a cost or an income. One that was
    cancelled has 0 dollars.
    """
    kind, name, status = _name(raw["activity_type"]), _name(raw["id"]), raw.get("status")
    usd = _money(raw.get("net_amount"))
    if kind == "FILL" or usd is None or status == "pending":
        return None
    if status == "canceled":
        usd = Decimal(0)
    symbol = raw.get("symbol") or None
    if kind in _DIVIDENDS and symbol is not None:
        return DividendPaid(
            activity_id=name,
            symbol=symbol,
            at=_moved_at(raw, is_charge=False),
            usd=usd,
            qty=_money(raw.get("qty")),
            usd_a_share=_money(raw.get("per_share_amount")),
        )
    return CashMoved(
        activity_id=name,
        activity_type=kind,
        at=_moved_at(raw, is_charge=kind not in TRANSFERS | _DIVIDENDS),
        usd=usd,
        symbol=symbol,
        description=raw.get("description") or "",
    )


def _moved_at(raw: Mapping[str, Any], *, is_charge: bool) -> datetime:
    """When a row's cash moved; where it has only a date, a charge is for a day that is over."""
    if raw.get("created_at"):
        return parse_instant(raw["created_at"])
    # Ids begin with the time in New York to the millisecond, with zeros where it has none.
    stamp = raw["id"].partition("::")[0]
    if len(stamp) == 17 and stamp.isdigit() and stamp[8:] != "0" * 9:
        at = datetime.strptime(stamp, "%Y%m%d%H%M%S%f").replace(tzinfo=EASTERN)
        return at.astimezone(UTC)
    day = date.fromisoformat(raw["date"])
    if is_charge:
        return eastern_midnight(day + timedelta(days=1)) - timedelta(seconds=1)
    return eastern_midnight(day)


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """An answer that cannot be read is no answer."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
        raise BrokerUnavailable(f"garbled answer on {what}: {error!r}") from error


class AlpacaBroker:
    """The `Broker` port on Alpaca's trading API.

    Parameters
    ----------
    base_url : str
        Without version and trailing slash.
    key_id, secret_key : str
        Credentials.
    deadline_s : float
        Longest wait for the connection and for the next byte, each.
    pace : Pace
        Called before every request.
    """

    def __init__(
        self,
        *,
        base_url: str,
        key_id: str,
        secret_key: str,
        deadline_s: float,
        pace: Pace = no_pace,
    ) -> None:
        self._pace = pace
        self._client = DeadlineClient(
            base_url=base_url, key_id=key_id, secret_key=secret_key, deadline_s=deadline_s
        )

    def _ask(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        self._pace(False)
        try:
            return self._client.get(path, dict(params or {}))
        except APIError as error:
            status, code, message = _error_fields(error)
            if status in _TRANSIENT or status == 0:
                raise BrokerUnavailable(f"HTTP {status} on {path}: {message}") from error
            raise BrokerRefused(status, code, message) from error
        except (requests.RequestException, ValueError) as error:
            raise BrokerUnavailable(f"{path}: {error}") from error

    def _ask_rows(self, path: str, params: Mapping[str, Any] | None = None) -> list[Any]:
        rows = self._ask(path, params)
        if not isinstance(rows, list):
            raise BrokerUnavailable(f"garbled answer on {path}: not a list")
        return rows

    def _ask_order(self, path: str, params: Mapping[str, Any]) -> BrokerOrder | None:
        try:
            raw = self._ask(path, params)
            with _reading(path):
                return parse_order(raw)
        except BrokerRefused as refusal:
            if refusal.http_status == 404:
                return None
            raise

    # -- commands
    def submit(self, intent: OrderIntent) -> Outcome:
        """Send the intent once; see `Broker.submit`."""
        self._pace(True)
        try:
            if intent.replaces is not None:
                raw: Any = self._client.patch(f"/orders/{intent.replaces}", _replace_body(intent))
            else:
                raw = self._client.post("/orders", _order_body(intent))
            with _reading("/orders"):
                return Accepted(order=parse_order(raw))
        except APIError as error:
            status, code, message = _error_fields(error)
            if status in _TRANSIENT or status == 0:
                return Unresolved(reason=f"HTTP {status}: {message}")
            if status == 422 and _DUPLICATE_TEXT in message:
                return self._adopt(intent.client_order_id)
            return Rejected(http_status=status, code=code, message=message)
        except (requests.RequestException, BrokerUnavailable, ValueError) as error:
            return Unresolved(reason=f"{type(error).__name__}: {error}")

    def _adopt(self, client_order_id: str) -> Outcome:
        try:
            order = self.find_order(client_order_id)
        except (BrokerUnavailable, BrokerRefused) as error:
            return Unresolved(reason=f"duplicate id, look-up failed: {error}")
        if order is None:
            return Unresolved(reason="duplicate id, not visible yet")
        return Accepted(order=order)

    def cancel(self, order_id: str) -> Outcome | None:
        """Ask to cancel; see `Broker.cancel`."""
        self._pace(True)
        try:
            self._client.delete(f"/orders/{order_id}")
            return None
        except APIError as error:
            status, code, message = _error_fields(error)
            if status in _TRANSIENT or status == 0:
                return Unresolved(reason=f"HTTP {status}: {message}")
            return Rejected(http_status=status, code=code, message=message)
        except (requests.RequestException, ValueError) as error:
            return Unresolved(reason=f"{type(error).__name__}: {error}")

    # -- questions
    def find_order(self, client_order_id: str) -> BrokerOrder | None:
        """By our name; see `Broker.find_order`. By name the broker leaves the legs out."""
        found = self._ask_order(
            "/orders:by_client_order_id",
            {"client_order_id": client_order_id, "nested": "true"},
        )
        if found is not None and found.order_class in _WITH_LEGS:
            return self.order(found.order_id)
        return found

    def order(self, order_id: str) -> BrokerOrder | None:
        """By the broker's id; see `Broker.order`."""
        return self._ask_order(f"/orders/{order_id}", {"nested": "true"})

    def open_orders(self, symbol: str | None = None) -> tuple[BrokerOrder, ...]:
        """Live orders and their legs.

        `status=open` hides `held` legs, so the parents of legs are read whole.
        """
        params: dict[str, Any] = {"status": "open", "limit": 500, "nested": "true"}
        if symbol is not None:
            params["symbols"] = symbol
        found: dict[str, BrokerOrder] = {}
        for raw in self._ask_rows("/orders", params):
            with _reading("/orders"):
                order: BrokerOrder | None = parse_order(raw)
            if order is not None and order.order_class in _WITH_LEGS:
                order = self.order(order.order_id)
            if order is None:
                continue
            for item in (order, *order.legs):
                if item.status not in TERMINAL:
                    found[item.order_id] = item
        return tuple(found.values())

    def positions(self) -> tuple[BrokerPosition, ...]:
        """All positions; see `Broker.positions`."""
        rows = self._ask_rows("/positions")
        with _reading("/positions"):
            return tuple(
                BrokerPosition(
                    symbol=raw["symbol"],
                    qty=_whole(raw["qty"]),
                    qty_available=_whole(raw["qty_available"]),
                    avg_entry_price=Decimal(raw["avg_entry_price"]),
                    current_price=_money(raw.get("current_price")),
                )
                for raw in rows
            )

    def account(self) -> BrokerAccount:
        """The account; see `Broker.account`."""
        raw = self._ask("/account")
        with _reading("/account"):
            return BrokerAccount(
                account_number=raw["account_number"],
                status=raw["status"],
                equity=Decimal(raw["equity"]),
                last_equity=Decimal(raw["last_equity"]),
                cash=Decimal(raw["cash"]),
                buying_power=Decimal(raw["buying_power"]),
                is_trading_blocked=bool(raw["trading_blocked"]) or bool(raw["account_blocked"]),
            )

    def executions(self, after: datetime) -> tuple[Execution, ...]:
        """FILL activities, page by page; see `Broker.executions`."""
        rows = self._activities("/account/activities/FILL", after)
        with _reading("/account/activities/FILL"):
            return tuple(parse_activity(raw) for raw in rows)

    def cash_activities(self, after: datetime) -> tuple[CashActivity, ...]:
        """Activities that are no trades; see `Broker.cash_activities`.

        The category is asked for, not a list of types: the broker refuses a list
        with a type that it does not know, and one that a list lacks would be missed.
        """
        rows = self._activities("/account/activities", after, category="non_trade_activity")
        with _reading("/account/activities"):
            found = [parse_cash_activity(raw) for raw in rows]
        return tuple(activity for activity in found if activity is not None)

    def _activities(self, path: str, after: datetime, **filters: str) -> list[Any]:
        found: list[Any] = []
        params: dict[str, Any] = {
            "after": after.astimezone(UTC).isoformat(),
            "direction": "asc",
            "page_size": _PAGE,
            **filters,
        }
        for _ in range(_MAX_PAGES):
            page = self._ask_rows(path, params)
            found += page
            if len(page) < _PAGE:
                return found
            with _reading(path):
                params["page_token"] = page[-1]["id"]
        raise BrokerUnavailable(f"more than {_MAX_PAGES * _PAGE} activities after {after}")


def _order_body(intent: OrderIntent) -> dict[str, Any]:
    body: dict[str, Any] = {
        "symbol": intent.symbol,
        "qty": str(intent.qty),
        "side": intent.side.value,
        "time_in_force": intent.time_in_force.value,
        "client_order_id": intent.client_order_id,
    }
    if intent.kind is OrderKind.OCO:
        body |= {
            "type": "limit",
            "order_class": "oco",
            "take_profit": {"limit_price": str(intent.limit_price)},
            "stop_loss": {"stop_price": str(intent.stop_price)},
        }
    elif intent.kind is OrderKind.STOP:
        body |= {"type": "stop", "stop_price": str(intent.stop_price)}
    else:
        body |= {"type": "limit", "limit_price": str(intent.limit_price)}
    return body


def _replace_body(intent: OrderIntent) -> dict[str, Any]:
    return {"limit_price": str(intent.limit_price), "client_order_id": intent.client_order_id}
