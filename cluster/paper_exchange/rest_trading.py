"""The trading API, version 2: account, orders, positions, clock, calendar.

Decided here: how each route reads its parameters and how the account, a
position or the clock reads on the wire. Before it stand the routes in `rest`;
after it the core, by way of `venue`, which keeps a change before it is
answered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cluster.paper_exchange.ledger import Position, to_decimal
from cluster.paper_exchange.order_request import (
    decimal_field,
    malformed,
    parse_terms,
    whole_number,
)
from cluster.paper_exchange.orders import ZERO, Order, asset_id, text, to_datetime, to_ns
from cluster.paper_exchange.refusal import NOT_FOUND, Refused, position_not_found, unprocessable
from cluster.paper_exchange.venue import Venue
from greenlight.domain.market import (
    EASTERN,
    eastern_date,
    next_session,
    session_at,
    session_on,
    sessions_between,
)

_OPEN_HIDES: Final = "held"
_MAX_ORDERS: Final = 500
_MAX_ACTIVITIES: Final = 100
_T1_FROM: Final = date(2024, 5, 28)
_T2_FROM: Final = date(2017, 9, 5)
_CENTS: Final = Decimal("0.01")
_RATIO: Final = Decimal("0.00000001")


class TradingRoutes:
    """`/v2` of the trading API."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._core = venue.core
        self._symbol_of = {asset_id(symbol): symbol for symbol in venue.library.symbols}

    def routes(self) -> list[Route]:
        """Every route."""
        return [
            Route("/v2/account", self.account, methods=["GET"]),
            Route("/v2/account/configurations", self.configurations, methods=["GET"]),
            Route("/v2/account/portfolio/history", self.portfolio_history, methods=["GET"]),
            Route("/v2/account/activities", self.activities, methods=["GET"]),
            Route("/v2/account/activities/{kind}", self.activities, methods=["GET"]),
            Route("/v2/orders", self.submit, methods=["POST"]),
            Route("/v2/orders", self.list_orders, methods=["GET"]),
            Route("/v2/orders", self.cancel_all, methods=["DELETE"]),
            Route("/v2/orders:by_client_order_id", self.by_client_id, methods=["GET"]),
            Route("/v2/orders/{order_id}", self.get_order, methods=["GET"]),
            Route("/v2/orders/{order_id}", self.replace, methods=["PATCH"]),
            Route("/v2/orders/{order_id}", self.cancel, methods=["DELETE"]),
            Route("/v2/positions", self.list_positions, methods=["GET"]),
            Route("/v2/positions", self.close_all, methods=["DELETE"]),
            Route("/v2/positions/{symbol}", self.get_position, methods=["GET"]),
            Route("/v2/positions/{symbol}", self.close_position, methods=["DELETE"]),
            Route("/v2/clock", self.clock, methods=["GET"]),
            Route("/v2/calendar", self.calendar, methods=["GET"]),
            Route("/v2/assets", self.assets, methods=["GET"]),
            Route("/v2/assets/{symbol}", self.asset, methods=["GET"]),
        ]

    # -- account --------------------------------------------------------------

    async def account(self, request: Request) -> Response:
        """The account."""
        core, ledger = self._core, self._core.ledger
        long_value, short_value = ledger.market_values(core.markets)
        equity = ledger.cash + long_value + short_value
        gross = long_value - short_value
        power = text(core.buying_power.quantize(_CENTS))
        cash_power = max(ZERO, min(ledger.cash, core.buying_power))
        return JSONResponse(
            {
                "id": self._venue.account_id,
                "account_number": "PA" + self._venue.account_id[:10].replace("-", "").upper(),
                "status": "ACTIVE",
                "crypto_status": "INACTIVE",
                "currency": "USD",
                "cash": text(ledger.cash),
                "equity": text(equity),
                "last_equity": text(ledger.last_equity),
                "portfolio_value": text(equity),
                "buying_power": power,
                "regt_buying_power": power,
                "non_marginable_buying_power": text(cash_power.quantize(_CENTS)),
                "options_buying_power": text(cash_power.quantize(_CENTS)),
                "long_market_value": text(long_value),
                "short_market_value": text(short_value),
                "position_market_value": text(gross),
                "initial_margin": text(gross / 2 if ledger.multiplier > 1 else gross),
                "maintenance_margin": text(gross * Decimal("0.3")),
                "last_maintenance_margin": "0",
                "multiplier": str(ledger.multiplier),
                "sma": "0",
                "accrued_fees": "0",
                "pending_transfer_in": "0",
                "pending_transfer_out": "0",
                "shorting_enabled": ledger.multiplier > 1,
                "trading_blocked": False,
                "transfers_blocked": False,
                "account_blocked": False,
                "trade_suspended_by_user": False,
                "created_at": "2000-01-01T00:00:00Z",
                "balance_asof": eastern_date(self._now()).isoformat(),
            }
        )

    async def configurations(self, request: Request) -> Response:
        """The account's configuration, which cannot be changed here."""
        is_margin = self._core.ledger.multiplier > 1
        return JSONResponse(
            {
                "fractional_trading": True,
                "max_margin_multiplier": str(self._core.ledger.multiplier),
                "no_shorting": not is_margin,
                "suspend_trade": False,
                "trade_confirm_email": "none",
                "ptp_no_exception_entry": False,
                "dtbp_check": "entry",
                "pdt_check": "entry",
                "max_options_trading_level": 0,
            }
        )

    async def portfolio_history(self, request: Request) -> Response:
        """Equity over time: each close, or each minute of the present session."""
        timeframe = request.query_params.get("timeframe") or "1D"
        points = list(self._venue.daily_equity)
        if timeframe != "1D":
            step_s = {"1Min": 60, "5Min": 300, "15Min": 900, "1H": 3600}.get(timeframe)
            if step_s is None:
                raise malformed(f"invalid timeframe: {timeframe}")
            points = list({t // step_s: (t, e) for t, e in self._venue.minute_equity}.values())
        elif not points or points[-1][0] < self._venue.now_ns // 1_000_000_000:
            points.append((self._venue.now_ns // 1_000_000_000, float(self._venue.equity())))
        base = float(self._core.settings.cash)
        return JSONResponse(
            {
                "timestamp": [t for t, _ in points],
                "equity": [round(e, 2) for _, e in points],
                "profit_loss": [round(e - base, 2) for _, e in points],
                "profit_loss_pct": [round(e / base - 1, 8) for _, e in points],
                "base_value": base,
                "timeframe": timeframe,
            }
        )

    async def activities(self, request: Request) -> Response:
        """Executions and all else that moved cash, paged by the id of the last one seen."""
        query = request.query_params
        kinds = request.path_params.get("kind") or query.get("activity_types")
        category = query.get("category")
        if kinds and category:
            raise malformed("category and activity_types cannot be used together")
        if category not in (None, "trade_activity", "non_trade_activity"):
            raise malformed(f"invalid category: {category}")
        wanted = None if not kinds else set(kinds.split(","))
        most = _MAX_ACTIVITIES
        size = whole_number(query.get("page_size"), "page_size", most, most)
        rows = [r for r in self._core.activities if wanted is None or r["activity_type"] in wanted]
        if category:
            is_trade = category == "trade_activity"
            rows = [r for r in rows if (r["activity_type"] == "FILL") is is_trade]
        day, after, until = (_date_or_time(query.get(k)) for k in ("date", "after", "until"))
        if day is not None:
            rows = [r for r in rows if eastern_date(_time(r)) == eastern_date(day)]
        if after is not None:
            rows = [r for r in rows if _time(r) > after]
        if until is not None:
            rows = [r for r in rows if _time(r) <= until]
        if query.get("direction", "desc") != "asc":
            rows.reverse()
        token = query.get("page_token")
        if token:
            places = [i for i, row in enumerate(rows) if row["id"] == token]
            if not places:
                raise malformed("page_token is not known")
            rows = rows[places[0] + 1 :]
        return JSONResponse(rows[:size])

    # -- orders ---------------------------------------------------------------

    async def submit(self, request: Request) -> Response:
        """Take an order in."""
        terms = parse_terms(await _body(request))
        order = self._core.submit(terms, self._venue.now_ns)
        self._venue.commit()
        return JSONResponse(order)

    async def list_orders(self, request: Request) -> Response:
        """Orders by status, time, symbol and side, newest first."""
        query = request.query_params
        status = query.get("status") or "open"
        if status not in ("open", "closed", "all"):
            raise malformed(f"invalid status: {status}")
        limit = whole_number(query.get("limit"), "limit", 50, _MAX_ORDERS)
        is_nested = query.get("nested", "").lower() == "true"
        chosen: Iterable[Order] = self._core.orders.values()
        if status == "open":
            live = (order for book in self._core.live.values() for order in book.values())
            chosen = (order for order in live if order.status != _OPEN_HIDES)
        elif status == "closed":
            chosen = (order for order in chosen if order.is_terminal)
        symbols = set((query.get("symbols") or "").upper().split(",")) - {""}
        side = query.get("side")
        after, until = (_date_or_time(query.get(key)) for key in ("after", "until"))
        kept = [
            order
            for order in chosen
            if (not symbols or order.symbol in symbols)
            and (not side or order.side == side)
            and (after is None or order.submitted_ns > to_ns(after))
            and (until is None or order.submitted_ns <= to_ns(until))
        ]
        kept.sort(key=lambda order: order.seq, reverse=query.get("direction", "desc") != "asc")
        if is_nested:
            ids = {order.id for order in kept}
            kept = [order for order in kept if order.parent_id not in ids]
        return JSONResponse([self._wire(order, is_nested) for order in kept[:limit]])

    async def by_client_id(self, request: Request) -> Response:
        """One order by the client's id."""
        client_id = request.query_params.get("client_order_id", "")
        order_id = self._core.by_client_id.get(client_id)
        if order_id is None:
            raise Refused(404, NOT_FOUND, f"order not found for {client_id}")
        return JSONResponse(self._wire(self._core.orders[order_id], False))

    async def get_order(self, request: Request) -> Response:
        """One order."""
        order = self._core.order(request.path_params["order_id"])
        is_nested = request.query_params.get("nested", "").lower() == "true"
        return JSONResponse(self._wire(order, is_nested))

    async def replace(self, request: Request) -> Response:
        """Replace an order."""
        body = await _body(request)
        order = self._core.replace(request.path_params["order_id"], body, self._venue.now_ns)
        self._venue.commit()
        return JSONResponse(order)

    async def cancel(self, request: Request) -> Response:
        """Ask for a cancel; it completes after the answer."""
        self._core.request_cancel(request.path_params["order_id"], self._venue.now_ns)
        self._venue.commit()
        self._venue.cancel_later()
        return Response(status_code=204)

    async def cancel_all(self, request: Request) -> Response:
        """Ask for a cancel of every open order."""
        answers = self._request_all_cancels()
        self._venue.commit()
        self._venue.cancel_later()
        return JSONResponse(answers, status_code=207)

    def _request_all_cancels(self) -> list[dict[str, Any]]:
        answers = []
        for book in self._core.live.values():
            for order in list(book.values()):
                if order.status == _OPEN_HIDES:
                    continue
                self._core.request_cancel(order.id, self._venue.now_ns)
                answers.append({"id": order.id, "status": 200})
        return answers

    def _wire(self, order: Order, is_nested: bool) -> dict[str, Any]:
        legs = self._core.legs(order) if is_nested and order.leg_ids else None
        return order.wire(legs)

    # -- positions --------------------------------------------------------------

    async def list_positions(self, request: Request) -> Response:
        """Every open position."""
        positions = self._core.ledger.positions
        return JSONResponse([self._position(positions[s]) for s in sorted(positions)])

    async def get_position(self, request: Request) -> Response:
        """One position."""
        return JSONResponse(self._position(self._held(request)))

    async def close_position(self, request: Request) -> Response:
        """Sell a position or a part of it at the market."""
        symbol = self._held(request).symbol
        query = dict(request.query_params)
        order = self._core.close_position(
            symbol,
            self._venue.now_ns,
            qty=decimal_field(query, "qty"),
            percent=decimal_field(query, "percentage"),
        )
        self._venue.commit()
        return JSONResponse(order)

    async def close_all(self, request: Request) -> Response:
        """Sell every position; orders that hold shares are in the way unless cancelled."""
        if request.query_params.get("cancel_orders", "").lower() == "true":
            self._request_all_cancels()
            self._core.complete_cancels(self._venue.now_ns)
        answers = []
        for symbol in sorted(self._core.ledger.positions):
            try:
                order = self._core.close_position(symbol, self._venue.now_ns)
            except Refused as refusal:
                answers.append({"symbol": symbol, "status": refusal.status, "body": refusal.body})
            else:
                answers.append({"symbol": symbol, "status": 200, "body": order})
        self._venue.commit()
        return JSONResponse(answers, status_code=207)

    def _held(self, request: Request) -> Position:
        key = request.path_params["symbol"]
        symbol = self._symbol_of.get(key, key.upper())
        position = self._core.ledger.positions.get(symbol)
        if position is None:
            raise position_not_found(symbol)
        return position

    def _position(self, position: Position) -> dict[str, Any]:
        core = self._core
        market = core.markets[position.symbol]
        price = core.ledger.price_of(position, core.markets)
        last_day = to_decimal(market.previous_close) if market.previous_close > 0 else price
        value, cost = position.qty * price, position.cost
        gain, day_gain = value - cost, position.qty * (price - last_day)
        day_value = abs(position.qty * last_day)
        return {
            "asset_id": asset_id(position.symbol),
            "symbol": position.symbol,
            "exchange": "NASDAQ",
            "asset_class": "us_equity",
            "asset_marginable": True,
            "avg_entry_price": text(position.average.quantize(_RATIO)),
            "qty": text(position.qty),
            "qty_available": text(core.qty_available(position.symbol)),
            "side": "long" if position.qty > 0 else "short",
            "market_value": text(value),
            "cost_basis": text(cost.quantize(_RATIO)),
            "unrealized_pl": text(gain.quantize(_RATIO)),
            "unrealized_plpc": text((gain / abs(cost)).quantize(_RATIO)) if cost else "0",
            "unrealized_intraday_pl": text(day_gain.quantize(_RATIO)),
            "unrealized_intraday_plpc": text((day_gain / day_value).quantize(_RATIO)),
            "current_price": text(price),
            "lastday_price": text(last_day),
            "change_today": text((price / last_day - 1).quantize(_RATIO)),
        }

    # -- clock, calendar, assets -------------------------------------------------

    def _now(self) -> datetime:
        return to_datetime(self._venue.now_ns)

    async def clock(self, request: Request) -> Response:
        """The exchange's clock, in New York's time."""
        now = self._now()
        day = eastern_date(now)
        today = session_on(day)
        is_before_open = today is not None and now < today.open
        opening = today if today is not None and is_before_open else next_session(day)
        is_before_close = today is not None and now < today.close
        closing = today if today is not None and is_before_close else next_session(day)
        return JSONResponse(
            {
                "timestamp": now.astimezone(EASTERN).isoformat(),
                "is_open": session_at(now) is not None,
                "next_open": opening.open.astimezone(EASTERN).isoformat(),
                "next_close": closing.close.astimezone(EASTERN).isoformat(),
            }
        )

    async def calendar(self, request: Request) -> Response:
        """Sessions between two dates; a year each way where none are given."""
        today = eastern_date(self._now())
        start = _day(request.query_params.get("start")) or today - timedelta(days=365)
        end = _day(request.query_params.get("end")) or today + timedelta(days=300)
        try:
            sessions = sessions_between(start, end)
        except ValueError as error:
            raise malformed(str(error)) from error
        return JSONResponse(
            [
                {
                    "date": session.day.isoformat(),
                    "open": session.open.astimezone(EASTERN).strftime("%H:%M"),
                    "close": session.close.astimezone(EASTERN).strftime("%H:%M"),
                    "session_open": "0400",
                    "session_close": "2000",
                    "settlement_date": settlement_date(session.day).isoformat(),
                }
                for session in sessions
            ]
        )

    async def assets(self, request: Request) -> Response:
        """Every symbol of the source."""
        if request.query_params.get("status", "active") != "active":
            return JSONResponse([])
        return JSONResponse([_asset(symbol) for symbol in self._venue.library.symbols])

    async def asset(self, request: Request) -> Response:
        """One symbol."""
        key = request.path_params["symbol"]
        symbol = self._symbol_of.get(key, key.upper())
        if symbol not in self._core.markets:
            raise Refused(404, NOT_FOUND, f"asset not found for {key}")
        return JSONResponse(_asset(symbol))


def settlement_date(day: date) -> date:
    """When a trade of `day` settles: T+1 from 2024-05-28, T+2 from 2017-09-05, else T+3."""
    sessions = 1 if day >= _T1_FROM else 2 if day >= _T2_FROM else 3
    for _ in range(sessions):
        day = next_session(day).day
    return day


def _asset(symbol: str) -> dict[str, Any]:
    return {
        "id": asset_id(symbol),
        "class": "us_equity",
        "exchange": "NASDAQ",
        "symbol": symbol,
        "name": symbol,
        "status": "active",
        "tradable": True,
        "marginable": True,
        "shortable": True,
        "easy_to_borrow": True,
        "fractionable": True,
        "maintenance_margin_requirement": 30,
        "attributes": [],
    }


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body(), parse_float=Decimal, parse_int=Decimal)
    except ValueError as error:
        raise malformed("request body format is invalid") from error
    if not isinstance(body, dict):
        raise malformed("request body format is invalid")
    return body


def _day(value: str | None) -> date | None:
    found = _date_or_time(value)
    return None if found is None else found.date()


def _date_or_time(value: str | None) -> datetime | None:
    # A bare date is that date's midnight in New York.
    if not value:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError as error:
        raise unprocessable(f"invalid time: {value}") from error
    return at if at.tzinfo is not None else at.replace(tzinfo=EASTERN)


def _time(row: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(row.get("transaction_time") or row["created_at"])
