"""The data API: bars, quotes, trades, snapshots, news, corporate actions.

Decided here: what of the tape may be seen at the exchange's clock, and how
answers are paged. A bar is seen once it is complete; a daily bar once its
session has closed. Before it stand the routes in `rest`; after it `tapes`.
"""

from __future__ import annotations

import base64
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cluster.paper_exchange.corporate_actions import ACTION_TYPES, actions_between
from cluster.paper_exchange.order_request import whole_number
from cluster.paper_exchange.orders import rfc3339, to_datetime, to_ns
from cluster.paper_exchange.refusal import Refused
from cluster.paper_exchange.replay import daily_bar
from cluster.paper_exchange.tapes import SymbolSession
from cluster.paper_exchange.timeframes import Timeframe, fold, parse_timeframe
from cluster.paper_exchange.timeline import MINUTE_NS
from cluster.paper_exchange.venue import Venue
from greenlight.domain.market import (
    EASTERN,
    Session,
    eastern_date,
    eastern_midnight,
    previous_session,
    session_on,
)

_PAGE: Final = 10_000
_NEWS_PAGE: Final = 50
_ACTIONS_PAGE: Final = 1_000
_SIP_DELAY: Final = timedelta(minutes=15)

Row = dict[str, Any]


class DataRoutes:
    """`/v2/stocks`, `/v1beta1/news` and `/v1/corporate-actions`."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._library = venue.library

    def routes(self) -> list[Route]:
        """Every route."""
        return [
            Route("/v2/stocks/bars", self.bars, methods=["GET"]),
            Route("/v2/stocks/quotes", self.quotes, methods=["GET"]),
            Route("/v2/stocks/trades", self.trades, methods=["GET"]),
            Route("/v2/stocks/bars/latest", self.latest_bars, methods=["GET"]),
            Route("/v2/stocks/quotes/latest", self.latest_quotes, methods=["GET"]),
            Route("/v2/stocks/trades/latest", self.latest_trades, methods=["GET"]),
            Route("/v2/stocks/snapshots", self.snapshots, methods=["GET"]),
            Route("/v1beta1/news", self.news, methods=["GET"]),
            Route("/v1/corporate-actions", self.corporate_actions, methods=["GET"]),
        ]

    # -- history ----------------------------------------------------------------

    async def bars(self, request: Request) -> Response:
        """Bars of several symbols, any timeframe from a minute to a month."""
        timeframe = parse_timeframe(request.query_params.get("timeframe") or "1Min")
        adjustment = request.query_params.get("adjustment") or "raw"
        is_adjusted = bool({"split", "all"} & set(adjustment.split(",")))

        def rows(symbol: str, start: int, end: int) -> Iterable[Row]:
            pairs = self._bars(symbol, timeframe, start, end)
            if is_adjusted:
                pairs = (self._adjusted(symbol, at_ns, bar) for at_ns, bar in pairs)
            return ({"t": rfc3339(at_ns), **bar} for at_ns, bar in pairs)

        return self._paged(request, "bars", rows)

    async def quotes(self, request: Request) -> Response:
        """Quotes, as published."""
        return self._paged(request, "quotes", self._events(_quote_row, is_trade=False))

    async def trades(self, request: Request) -> Response:
        """Prints."""
        return self._paged(request, "trades", self._events(_trade_row, is_trade=True))

    def _bars(
        self, symbol: str, timeframe: Timeframe, start: int, end: int
    ) -> Iterable[tuple[int, Row]]:
        if timeframe.is_daily:
            base = self._daily_bars(symbol, start, end)
        else:
            base = self._minute_bars(symbol, start, end)
        return base if timeframe.is_base else self._complete(fold(base, timeframe), timeframe)

    def _complete(
        self, bars: Iterable[tuple[int, Row]], timeframe: Timeframe
    ) -> Iterator[tuple[int, Row]]:
        # A folded bar is over once its bucket is, or once its session has closed.
        now = self._now()
        for at_ns, bar in bars:
            start = to_datetime(at_ns)
            session = session_on(eastern_date(start))
            is_over = timeframe.bucket_ns(self._venue.now_ns) > at_ns
            if is_over or (not timeframe.is_daily and session is not None and now >= session.close):
                yield at_ns, bar

    def _minute_bars(self, symbol: str, start: int, end: int) -> Iterator[tuple[int, Row]]:
        now_ns = self._venue.now_ns
        for session, tape in self._tapes(symbol, start, end):
            open_ns = to_ns(session.open)
            for minute, bar in enumerate(tape.bars):
                at_ns = open_ns + minute * MINUTE_NS
                if at_ns + MINUTE_NS > now_ns or at_ns > end:
                    return
                if bar is not None and at_ns >= start:
                    yield at_ns, _bar_row(bar)

    def _daily_bars(self, symbol: str, start: int, end: int) -> Iterator[tuple[int, Row]]:
        found = self._library.daily(symbol)
        if found is None:
            return
        days, series = found
        now = self._now()
        last = min(eastern_date(to_datetime(end)), eastern_date(now))
        first = bisect_left(days, eastern_date(to_datetime(start)))
        for i, day in enumerate(days[first:], first):
            if day > last:
                return
            at_ns = _midnight_ns(day)
            if not start <= at_ns <= end:
                continue
            session = session_on(day)
            if session is None or now <= session.close:
                continue
            open_, high, low, close = (
                float(column[i]) for column in (series.open, series.high, series.low, series.close)
            )
            volume = int(series.volume[i])
            vwap = round((high + low + close) / 3, 6)
            yield at_ns, _bar_row((open_, high, low, close, volume, 0, vwap))

    def _adjusted(self, symbol: str, at_ns: int, bar: Row) -> tuple[int, Row]:
        day, today = eastern_date(to_datetime(at_ns)), eastern_date(self._now())
        factor = self._library.split_factor(symbol, day, today)
        if factor == 1:
            return at_ns, bar
        prices = {name: round(bar[name] / factor, 6) for name in ("o", "h", "l", "c", "vw")}
        return at_ns, {**bar, **prices, "v": round(bar["v"] * factor)}

    def _events(
        self, row: Callable[[SymbolSession, int], Row], *, is_trade: bool
    ) -> Callable[[str, int, int], Iterable[Row]]:
        def rows(symbol: str, start: int, end: int) -> Iterable[Row]:
            # An event at the clock's very instant belongs to the minute that begins.
            now_ns = self._venue.now_ns
            for _, tape in self._tapes(symbol, start, min(end, now_ns)):
                for i, at_ns in enumerate(tape.at_ns):
                    if at_ns >= now_ns or at_ns > end:
                        break
                    if at_ns >= start and (not is_trade or tape.trade[i] == tape.trade[i]):
                        yield row(tape, i)

        return rows

    def _tapes(self, symbol: str, start: int, end: int) -> Iterator[tuple[Session, SymbolSession]]:
        first = eastern_date(to_datetime(start))
        last = min(eastern_date(to_datetime(end)), eastern_date(self._now()))
        for session in self._library.source.sessions(first, last):
            name = self._library.name_on(symbol, session.day)
            tape = self._library.session(session.day).get(name)
            if tape is not None:
                yield session, tape

    # -- latest -------------------------------------------------------------------

    async def latest_quotes(self, request: Request) -> Response:
        """The quote in force of each symbol that has one."""
        self._check_feed(request, None)
        quotes = {s: self._latest_quote(s) for s in _symbols(request)}
        return JSONResponse({"quotes": {s: q for s, q in quotes.items() if q is not None}})

    async def latest_trades(self, request: Request) -> Response:
        """The last print of each symbol that has one."""
        self._check_feed(request, None)
        trades = {s: self._latest_trade(s) for s in _symbols(request)}
        return JSONResponse({"trades": {s: t for s, t in trades.items() if t is not None}})

    async def latest_bars(self, request: Request) -> Response:
        """The last complete minute bar of each symbol that has one."""
        self._check_feed(request, None)
        bars = {s: self._latest_bar(s) for s in _symbols(request)}
        return JSONResponse({"bars": {s: b for s, b in bars.items() if b is not None}})

    async def snapshots(self, request: Request) -> Response:
        """All that is latest of each symbol."""
        self._check_feed(request, None)
        answer = {s: self._snapshot(s) for s in _symbols(request)}
        return JSONResponse({s: snapshot for s, snapshot in answer.items() if snapshot})

    def _latest_quote(self, symbol: str) -> Row | None:
        market = self._venue.core.markets.get(symbol)
        if market is None or not market.quote_ns:
            return None
        return {
            "t": rfc3339(market.quote_ns),
            "bx": "V",
            "bp": market.bid,
            "bs": market.bid_size,
            "ax": "V",
            "ap": market.ask,
            "as": market.ask_size,
            "c": ["R"],
            "z": "C",
        }

    def _latest_trade(self, symbol: str) -> Row | None:
        market = self._venue.core.markets.get(symbol)
        if market is None or not market.last_ns:
            return None
        return {
            "t": rfc3339(market.last_ns),
            "x": "V",
            "p": market.last,
            "s": market.last_size,
            "c": ["@"],
            "i": 1,
            "z": "C",
        }

    def _latest_bar(self, symbol: str) -> Row | None:
        now = self._now()
        day = eastern_date(now)
        session = session_on(day)
        if session is None or now <= session.open:
            day = previous_session(day).day
        bars = list(self._minute_bars(symbol, to_ns(eastern_midnight(day)), to_ns(now)))
        return {"t": rfc3339(bars[-1][0]), **bars[-1][1]} if bars else None

    def _snapshot(self, symbol: str) -> Row:
        now = self._now()
        today = eastern_date(now)
        session = session_on(today)
        day = today if session is not None and now > session.open else previous_session(today).day
        found = self._library.previous_row(symbol, day)
        parts: Row = {
            "latestTrade": self._latest_trade(symbol),
            "latestQuote": self._latest_quote(symbol),
            "minuteBar": self._latest_bar(symbol),
            "dailyBar": self._running_daily_bar(symbol, day),
            "prevDailyBar": None,
        }
        if found is not None:
            previous, bar = found
            vwap = round((bar["h"] + bar["l"] + bar["c"]) / 3, 6)
            stamp = rfc3339(to_ns(eastern_midnight(previous)))
            parts["prevDailyBar"] = {"t": stamp, **bar, "n": 0, "vw": vwap}
        return {name: part for name, part in parts.items() if part is not None}

    def _running_daily_bar(self, symbol: str, day: date) -> Row | None:
        if not self._library.has_session(day):
            return None
        tape = self._library.session(day).get(symbol)
        session = session_on(day)
        if tape is None or session is None:
            return None
        stamp = rfc3339(to_ns(eastern_midnight(day)))
        if self._now() > session.close:
            bar = daily_bar(self._library.daily_row(symbol, day), tape)
            return None if bar is None else {"t": stamp, **_bar_row(bar)}
        start, end = to_ns(session.open), self._venue.now_ns
        whole = list(fold(self._minute_bars(symbol, start, end), parse_timeframe("1Day")))
        return {"t": stamp, **whole[0][1]} if whole else None

    # -- news and corporate actions --------------------------------------------

    async def news(self, request: Request) -> Response:
        """Articles, newest first."""
        query = request.query_params
        symbols = set(_symbols(request))
        start, end = self._range(request)
        articles = list(self._venue.articles)
        if self._venue.headlines is not None:
            articles += self._venue.headlines.between(
                eastern_date(to_datetime(start)), eastern_date(to_datetime(end))
            )
        chosen = [
            article
            for article in articles
            if (not symbols or symbols & set(article["symbols"]))
            and start <= _article_ns(article) <= min(end, self._venue.now_ns)
        ]
        chosen.sort(key=_article_ns, reverse=query.get("sort", "desc") != "asc")
        first = whole_number(query.get("page_token"), "page_token", 0, len(chosen))
        limit = whole_number(query.get("limit"), "limit", 10, _NEWS_PAGE)
        token = str(first + limit) if first + limit < len(chosen) else None
        return JSONResponse({"news": chosen[first : first + limit], "next_page_token": token})

    async def corporate_actions(self, request: Request) -> Response:
        """Splits, cash dividends, name changes: known from the session before their day."""
        query = request.query_params
        symbols = set(_symbols(request))
        types = set((query.get("types") or ",".join(ACTION_TYPES)).split(","))
        try:
            start = date.fromisoformat((query.get("start") or "1990-01-01")[:10])
            end = date.fromisoformat((query.get("end") or "9999-12-31")[:10])
        except ValueError as error:
            raise Refused(400, None, "invalid date") from error
        today = eastern_date(self._now())
        answer: dict[str, list[Row]] = {}
        for action in actions_between(self._library, start - timedelta(days=1), end):
            is_known = previous_session(action.day).day <= today
            is_wanted = not symbols or bool(symbols & action.symbols)
            if action.kind in types and is_known and is_wanted:
                answer.setdefault(action.kind + "s", []).append(action.item)
        return JSONResponse({"corporate_actions": answer, "next_page_token": None})

    # -- parameters and pages ---------------------------------------------------

    def _now(self) -> datetime:
        return to_datetime(self._venue.now_ns)

    def _range(self, request: Request) -> tuple[int, int]:
        now = self._now()
        today = eastern_midnight(eastern_date(now))
        start = _instant(request.query_params.get("start"), today)
        end = _instant(request.query_params.get("end"), now)
        return to_ns(start), to_ns(end)

    def _check_feed(self, request: Request, end_ns: int | None) -> None:
        if request.query_params.get("feed") != "sip" or not self._venue.is_free:
            return
        if end_ns is None or to_datetime(end_ns) > self._now() - _SIP_DELAY:
            raise Refused(403, None, "subscription does not permit querying recent SIP data")

    def _paged(
        self,
        request: Request,
        key: str,
        rows: Callable[[str, int, int], Iterable[Row]],
    ) -> Response:
        query = request.query_params
        start, end = self._range(request)
        self._check_feed(request, end)
        limit = whole_number(query.get("limit"), "limit", 1_000, _PAGE)
        is_descending = query.get("sort") == "desc"
        symbols = sorted(set(_symbols(request)))
        after_symbol, after = _read_token(query.get("page_token"))
        answer: dict[str, list[Row]] = {}
        taken = 0
        token = None
        for symbol in symbols:
            if after_symbol and symbol < after_symbol:
                continue
            kept = list(rows(symbol, start, end)) if symbol in self._venue.core.markets else []
            if is_descending:
                kept.reverse()
            skip = after if symbol == after_symbol else 0
            page = kept[skip : skip + limit - taken]
            if page:
                answer[symbol] = page
                taken += len(page)
            if skip + len(page) < len(kept):
                token = _token(symbol, skip + len(page))
                break
        return JSONResponse({key: answer, "next_page_token": token})


@lru_cache(maxsize=16_384)
def _midnight_ns(day: date) -> int:
    return to_ns(eastern_midnight(day))


def _symbols(request: Request) -> list[str]:
    raw = request.query_params.get("symbols") or ""
    return [symbol for symbol in raw.upper().split(",") if symbol]


def _instant(value: str | None, default: datetime) -> datetime:
    if not value:
        return default
    try:
        at = datetime.fromisoformat(value)
    except ValueError as error:
        raise Refused(400, None, f"invalid time: {value}") from error
    return at if at.tzinfo is not None else at.replace(tzinfo=EASTERN)


def _token(symbol: str, count: int) -> str:
    return base64.urlsafe_b64encode(f"{symbol}|{count}".encode()).decode()


def _read_token(token: str | None) -> tuple[str, int]:
    if not token:
        return "", 0
    try:
        symbol, count = base64.urlsafe_b64decode(token).decode().split("|")
        return symbol, int(count)
    except ValueError as error:
        raise Refused(400, None, "invalid page_token") from error


def _bar_row(bar: tuple[float, float, float, float, int, int, float]) -> Row:
    return dict(zip(("o", "h", "l", "c", "v", "n", "vw"), bar, strict=True))


def _quote_row(tape: SymbolSession, i: int) -> Row:
    return {
        "t": rfc3339(tape.at_ns[i]),
        "bx": "V",
        "bp": tape.bid[i],
        "bs": tape.bid_size[i],
        "ax": "V",
        "ap": tape.ask[i],
        "as": tape.ask_size[i],
        "c": ["R"],
        "z": "C",
    }


def _trade_row(tape: SymbolSession, i: int) -> Row:
    return {
        "t": rfc3339(tape.at_ns[i]),
        "x": "V",
        "p": tape.trade[i],
        "s": tape.trade_size[i],
        "c": ["@"],
        "i": i + 1,
        "z": "C",
    }


def _article_ns(article: Row) -> int:
    return to_ns(datetime.fromisoformat(article["created_at"]))
