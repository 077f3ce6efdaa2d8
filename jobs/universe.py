"""What holding the desk's symbols in equal parts earned, session by session.

Before it stands the broker's history; after it the evidence process, which takes off
what holding would have earned. A session that was missed is filled in later.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from greenlight.domain.corporate_actions import split_adjusted
from greenlight.domain.evidence_rows import UniverseReturn
from greenlight.domain.market import eastern_date, eastern_midnight, sessions_between
from greenlight.ports import BrokerRefused, BrokerUnavailable, MarketData, Store

LOOK_BACK: Final = timedelta(days=30)
"""A session older than this is not filled in any more."""
_LEAD_IN: Final = timedelta(days=10)
"""A close before the first session, over any run of holidays."""

logger = logging.getLogger(__name__)


def record_universe(
    store: Store, market_data: MarketData, symbols: Sequence[str], now: datetime
) -> int:
    """Store the universe's return of every closed session that has none.

    A broker that does not answer leaves them missing, and the evidence unavailable.

    Returns
    -------
    int
        How many were stored.

    Raises
    ------
    StoreUnavailable
        The store does not answer.
    """
    today = eastern_date(now)
    start = today - LOOK_BACK
    known = {row.day for row in store.universe_returns(start, today)}
    closed = [s.day for s in sessions_between(start, today) if s.close <= now]
    missing = [day for day in closed if day not in known]
    if not missing:
        return 0
    first = missing[0] - _LEAD_IN
    try:
        bars = market_data.bars(symbols, "1Day", eastern_midnight(first), now)
        splits = market_data.splits(symbols, first, today)
    except (BrokerUnavailable, BrokerRefused) as error:
        logger.warning("no return of the universe: %s", error, extra={"action": "universe"})
        return 0
    closes = [
        {eastern_date(b.start): b.close for b in split_adjusted(bars[symbol], splits, today)}
        for symbol in symbols
    ]
    sessions = [s.day for s in sessions_between(first, today)]
    before = dict(zip(sessions[1:], sessions, strict=False))
    found = []
    for day in missing:
        last = before[day]
        moves = [own[day] / own[last] - 1 for own in closes if day in own and last in own]
        if moves:
            found.append(UniverseReturn(day=day, frac=sum(moves) / len(moves), symbols=len(moves)))
    store.write_universe_returns(found)
    return len(found)
