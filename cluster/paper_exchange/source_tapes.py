"""One session of one symbol as a tape of quotes and prints, from bars or ticks.

Decided here: in which order a bar's four prices are replayed, at which instant,
and against which quote. Before this stand the history readers and the intraday
path; after it the exchange's matching and its streams.

A minute bar becomes four events: open, low, high, close where it closed at or
above its open, else open, high, low, close. A print outside its quote stays as
it is and so does the quote (late and off-exchange prints do that; the matching
uses the quote); `SymbolTape.prints_outside_quote` counts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from greenlight.adapters.history import IntradayBars, IntradayQuotes, QuoteTicks, TradeTicks
from greenlight.domain.market import EASTERN, Session

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NS_PER_MINUTE: Final = 60_000_000_000
_NS_PER_MS: Final = 1_000_000
# Where a minute bar's four events stand inside the minute.
EVENT_OFFSETS_NS: Final = tuple(s * 1_000_000_000 for s in (0, 20, 40, 59))
# Columns of an OHLC row in the order of replay.
_RISING: Final = (0, 2, 1, 3)
_FALLING: Final = (0, 1, 2, 3)
# The made-up spread where a source has no quotes: the wider of the two.
SPREAD_USD: Final = 0.01
SPREAD_BPS: Final = 2.0
_MIN_BID: Final = 0.0001
_ROUND_LOT: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SymbolTape:
    """One symbol's session in time order; n events, m minutes.

    `at_ns` (int64[n], epoch nanoseconds UTC) never falls. `bid` and `ask`
    (float64[n] dollars) are the quote in force at the event, finite, positive,
    never crossed; the sizes are int64[n] shares. `trade` (float64[n] dollars) is
    the print, NaN where the event is a quote update alone, and `trade_size`
    (int64[n] shares) its size. Events of minute i are
    `minute_offsets[i]:minute_offsets[i + 1]`. `bar` (float64[m, 4] OHLC dollars)
    is NaN and `bar_volume` 0 where the minute had no print.
    `has_made_up_quotes` marks quotes that the source does not have.
    """

    at_ns: IntArray
    bid: FloatArray
    ask: FloatArray
    bid_size: IntArray
    ask_size: IntArray
    trade: FloatArray
    trade_size: IntArray
    minute_offsets: IntArray
    bar: FloatArray
    bar_volume: IntArray
    has_made_up_quotes: bool

    def prints_outside_quote(self) -> int:
        """How many prints lie below the bid or above the ask in force."""
        with np.errstate(invalid="ignore"):
            outside = (self.trade < self.bid - 1e-9) | (self.trade > self.ask + 1e-9)
        return int(np.count_nonzero(outside))


def open_minute(session: Session) -> int:
    """The session's open in minutes since midnight New York (570)."""
    local = session.open.astimezone(EASTERN)
    return local.hour * 60 + local.minute


def open_ns(session: Session) -> int:
    """The session's open in epoch nanoseconds UTC."""
    return int(session.open.timestamp()) * 1_000_000_000


def made_up_quotes(price: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bid and ask around prices, for sources without quotes.

    Parameters
    ----------
    price : float64[n]
        Dollars, positive.

    Returns
    -------
    bid, ask : float64[n]
        At least max(1 cent, 2 basis points) apart, the price between them,
        rounded outward to whole cents. A price at or under a cent has a bid
        below a cent.
    """
    half_cents = np.maximum(SPREAD_USD, price * (SPREAD_BPS / 1e4)) * 50
    # The small number keeps 9999.000000001 cents from rounding up to 10,000.
    bid = np.floor(price * 100 - half_cents + 1e-6) / 100
    ask = np.ceil(price * 100 + half_cents - 1e-6) / 100
    return np.where(bid > 0, bid, np.minimum(np.maximum(price / 2, _MIN_BID), price)), ask


def tape_from_bars(
    session: Session, bars: IntradayBars, quotes: IntradayQuotes | None
) -> SymbolTape | None:
    """Lay minute bars out as a tape; hours outside the session are left out.

    Parameters
    ----------
    session : Session
        The day's regular session.
    bars, quotes : IntradayBars, IntradayQuotes | None
        Minute bars. Without any quote in the session a marked spread is made up.

    Returns
    -------
    SymbolTape | None
        None where neither prints nor quotes fall into the session.

    Notes
    -----
    A quote point that is missing, crossed or not positive takes the last good
    one, also from before the open; where there is none yet, a print gets a
    made-up quote and a quote update is left out.
    """
    minutes, first = session.minutes, open_minute(session)
    bar = np.full((minutes, 4), np.nan)
    volume = np.zeros(minutes, dtype=np.int64)
    inside = (bars.minute >= first) & (bars.minute < first + minutes)
    row = bars.minute[inside] - first
    bar[row] = bars.ohlc[inside]
    volume[row] = bars.volume[inside]
    traded = ~np.isnan(bar[:, 0])

    bid, ask = np.full((minutes, 4), np.nan), np.full((minutes, 4), np.nan)
    bid_size, ask_size = np.zeros(minutes, np.int64), np.zeros(minutes, np.int64)
    before: tuple[float, float, int, int] | None = None
    if quotes is not None:
        inside = (quotes.minute >= first) & (quotes.minute < first + minutes)
        row = quotes.minute[inside] - first
        bid[row], ask[row] = quotes.bid[inside], quotes.ask[inside]
        bid_size[row], ask_size[row] = quotes.bid_size[inside], quotes.ask_size[inside]
        before = _last_before(quotes, first)
    has_quotes = bool(np.any(_is_quote(bid, ask)))
    quoted = np.any(_is_quote(bid, ask), axis=1)

    lead = np.where(traded[:, None], bar, (bid + ask) / 2)
    with np.errstate(invalid="ignore"):
        rising = lead[:, 3] >= lead[:, 0]
    order = np.where(rising[:, None], np.array(_RISING), np.array(_FALLING))
    shown = np.flatnonzero(traded | quoted)
    minute_of = np.repeat(shown, 4)
    trade = np.take_along_axis(bar, order, axis=1)[shown].ravel()
    part = volume // 4
    sizes = np.column_stack((part, part, part, volume - 3 * part))[shown].ravel()
    at = (minute_of * NS_PER_MINUTE) + np.tile(np.array(EVENT_OFFSETS_NS), len(shown))
    return _tape(
        session,
        at_ns=open_ns(session) + at,
        bid=np.take_along_axis(bid, order, axis=1)[shown].ravel(),
        ask=np.take_along_axis(ask, order, axis=1)[shown].ravel(),
        bid_size=np.repeat(bid_size[shown], 4),
        ask_size=np.repeat(ask_size[shown], 4),
        trade=trade,
        trade_size=np.where(np.isnan(trade), 0, sizes),
        before=before if has_quotes else None,
        bar=bar,
        bar_volume=volume,
    )


def tape_from_ticks(
    session: Session, trades: TradeTicks, quotes: QuoteTicks | None
) -> SymbolTape | None:
    """Merge prints and quote updates of a session's regular hours.

    Parameters
    ----------
    session : Session
        The day's regular session.
    trades, quotes : TradeTicks, QuoteTicks | None
        In time order, suspicious ones already left out.

    Returns
    -------
    SymbolTape | None
        None where nothing falls into the session.

    Notes
    -----
    A side of 0 carries the last good one. A bid and the ask that follows it in
    the same millisecond are one update, as the tape sent them; updates that
    change nothing or leave the quote crossed are left out. Within a millisecond
    prints come before quote updates: they met the quote that stood before.
    """
    first_ms = open_minute(session) * 60_000
    end_ms = first_ms + session.minutes * 60_000
    book = _book(quotes) if quotes is not None else None
    keep = (trades.ms >= first_ms) & (trades.ms < end_ms)
    ms, price, size = trades.ms[keep], trades.price[keep], trades.size[keep]
    before: tuple[float, float, int, int] | None = None
    if book is not None and len(book.ms):
        last = int(np.searchsorted(book.ms, first_ms)) - 1
        if last >= 0:
            before = (
                float(book.bid[last]),
                float(book.ask[last]),
                int(book.bid_size[last]),
                int(book.ask_size[last]),
            )
        inside = (book.ms >= first_ms) & (book.ms < end_ms)
        none = np.full(int(inside.sum()), np.nan)
        blank, zero = np.full(len(ms), np.nan), np.zeros(len(ms), np.int64)
        all_ms = np.concatenate((ms, book.ms[inside]))
        order = np.argsort(all_ms, kind="stable")
        at = all_ms[order]
        bid = np.concatenate((blank, book.bid[inside]))[order]
        ask = np.concatenate((blank, book.ask[inside]))[order]
        bid_size = np.concatenate((zero, book.bid_size[inside]))[order]
        ask_size = np.concatenate((zero, book.ask_size[inside]))[order]
        trade = np.concatenate((price, none))[order]
        trade_size = np.concatenate((size, np.zeros(len(none), np.int64)))[order]
    else:
        at, trade, trade_size = ms, price, size
        bid = ask = np.full(len(ms), np.nan)
        bid_size = ask_size = np.zeros(len(ms), np.int64)
    bar, volume = _bars_of(session.minutes, (ms - first_ms) // 60_000, price, size)
    return _tape(
        session,
        at_ns=open_ns(session) + (at - first_ms) * _NS_PER_MS,
        bid=bid,
        ask=ask,
        bid_size=bid_size,
        ask_size=ask_size,
        trade=trade,
        trade_size=trade_size,
        before=before,
        bar=bar,
        bar_volume=volume,
    )


def _is_quote(bid: FloatArray, ask: FloatArray) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        good: NDArray[np.bool_] = np.isfinite(bid) & np.isfinite(ask) & (bid > 0) & (bid <= ask)
    return good


def _last_before(quotes: IntradayQuotes, first: int) -> tuple[float, float, int, int] | None:
    good = np.flatnonzero((quotes.minute < first) & _is_quote(quotes.bid[:, 3], quotes.ask[:, 3]))
    if not len(good):
        return None
    i = int(good[-1])
    return (
        float(quotes.bid[i, 3]),
        float(quotes.ask[i, 3]),
        int(quotes.bid_size[i]),
        int(quotes.ask_size[i]),
    )


# Fills the quote of every event (last good one, else made up around the print),
# drops quote updates that have none, and cuts the events into minutes.
def _tape(
    session: Session,
    *,
    at_ns: IntArray,
    bid: FloatArray,
    ask: FloatArray,
    bid_size: IntArray,
    ask_size: IntArray,
    trade: FloatArray,
    trade_size: IntArray,
    before: tuple[float, float, int, int] | None,
    bar: FloatArray,
    bar_volume: IntArray,
) -> SymbolTape | None:
    source = _last_good(_is_quote(bid, ask))
    known = source >= 0
    bid, ask = np.where(known, bid[source], np.nan), np.where(known, ask[source], np.nan)
    bid_size, ask_size = np.where(known, bid_size[source], 0), np.where(known, ask_size[source], 0)
    if before is not None:
        bid, ask = np.where(known, bid, before[0]), np.where(known, ask, before[1])
        bid_size = np.where(known, bid_size, before[2])
        ask_size = np.where(known, ask_size, before[3])
    printed = ~np.isnan(trade)
    no_quote = np.isnan(bid)
    if np.any(no_quote):
        made_bid, made_ask = made_up_quotes(np.where(printed, trade, 1.0))
        bid, ask = np.where(no_quote, made_bid, bid), np.where(no_quote, made_ask, ask)
    keep = printed | ~no_quote
    if not np.any(keep):
        return None
    at_ns, bid, ask = at_ns[keep], bid[keep], ask[keep]
    lots = _made_up_size(session, at_ns, bar_volume)
    bid_size = np.where(bid_size[keep] > 0, bid_size[keep], lots)
    ask_size = np.where(ask_size[keep] > 0, ask_size[keep], lots)
    edges = open_ns(session) + NS_PER_MINUTE * np.arange(session.minutes + 1, dtype=np.int64)
    return SymbolTape(
        at_ns=at_ns,
        bid=bid,
        ask=ask,
        bid_size=bid_size,
        ask_size=ask_size,
        trade=trade[keep],
        trade_size=trade_size[keep],
        minute_offsets=np.searchsorted(at_ns, edges).astype(np.int64),
        bar=bar,
        bar_volume=bar_volume,
        has_made_up_quotes=bool(np.any(no_quote[keep])),
    )


# Where the source tells no size: a quarter of the minute's volume in round lots,
# at least one lot.
def _made_up_size(session: Session, at_ns: IntArray, bar_volume: IntArray) -> IntArray:
    lots = np.maximum(bar_volume // (4 * _ROUND_LOT), 1) * _ROUND_LOT
    sized: IntArray = lots[(at_ns - open_ns(session)) // NS_PER_MINUTE]
    return sized


# For each event the index of the last good one up to it, -1 before the first.
def _last_good(good: NDArray[np.bool_]) -> IntArray:
    marked = np.where(good, np.arange(len(good), dtype=np.int64), -1)
    return np.maximum.accumulate(marked) if len(marked) else marked


def _book(quotes: QuoteTicks) -> QuoteTicks:
    has_bid, has_ask = quotes.bid > 0, quotes.ask > 0
    bid_at, ask_at = _last_good(has_bid), _last_good(has_ask)
    begun = (bid_at >= 0) & (ask_at >= 0)
    bid, ask = quotes.bid[bid_at], quotes.ask[ask_at]
    bid_size, ask_size = quotes.bid_size[bid_at], quotes.ask_size[ask_at]
    # A bid whose ask follows at once waits for it.
    waits = np.zeros(len(begun), dtype=np.bool_)
    waits[:-1] = (
        (quotes.ms[:-1] == quotes.ms[1:])
        & ~has_ask[:-1]
        & has_bid[:-1]
        & ~has_bid[1:]
        & has_ask[1:]
    )
    index = np.flatnonzero(begun & ~waits & (bid <= ask))
    table = np.column_stack((bid[index], ask[index], bid_size[index], ask_size[index]))
    changed = np.ones(len(index), dtype=np.bool_)
    changed[1:] = np.any(table[1:] != table[:-1], axis=1)
    index = index[changed]
    return QuoteTicks(
        symbol=quotes.symbol,
        day=quotes.day,
        ms=quotes.ms[index],
        bid=bid[index],
        ask=ask[index],
        bid_size=bid_size[index],
        ask_size=ask_size[index],
    )


def _bars_of(
    minutes: int, minute: IntArray, price: FloatArray, size: IntArray
) -> tuple[FloatArray, IntArray]:
    bar = np.full((minutes, 4), np.nan)
    volume = np.zeros(minutes, dtype=np.int64)
    if len(price):
        row, first = np.unique(minute, return_index=True)
        bar[row, 0] = price[first]
        bar[row, 1] = np.maximum.reduceat(price, first)
        bar[row, 2] = np.minimum.reduceat(price, first)
        bar[row, 3] = price[np.append(first[1:], len(price)) - 1]
        volume[row] = np.add.reduceat(size, first)
    return bar, volume
