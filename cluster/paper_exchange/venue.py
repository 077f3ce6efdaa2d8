"""The exchange as one thing: core, clock, journal and streams together.

Decided here: after every change the journal is written before anyone hears
of it, and then the trade stream is told. Before it stand `replay` and the
REST routes, which cause changes; after it the streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgpack

from cluster.paper_exchange.faults import FaultBoard
from cluster.paper_exchange.headlines import Headlines
from cluster.paper_exchange.matching import ExchangeCore
from cluster.paper_exchange.orders import derived_id
from cluster.paper_exchange.state import Journal, Progress
from cluster.paper_exchange.streams import DataHub, NewsHub, TradeHub
from cluster.paper_exchange.tapes import TapeLibrary


class Venue:
    """One account at one replaying exchange.

    Parameters
    ----------
    core : ExchangeCore
        The matching core, already restored.
    library : TapeLibrary
        The prices.
    journal : Journal
        Where changes are kept.
    faults : FaultBoard
        The fault switches; an empty board where faults are off.
    key, secret : str
        The one pair of credentials that is let in.
    cancel_delay_s : float
        Wall-clock seconds between a cancel request and its completion.
    is_free : bool
        The free subscription: IEX alone, 30 symbols.
    headlines : Headlines | None
        Made-up news; None makes none up.
    """

    def __init__(
        self,
        *,
        core: ExchangeCore,
        library: TapeLibrary,
        journal: Journal,
        faults: FaultBoard,
        key: str,
        secret: str,
        cancel_delay_s: float = 0.0,
        is_free: bool = True,
        headlines: Headlines | None = None,
    ) -> None:
        self.core = core
        self.library = library
        self.journal = journal
        self.faults = faults
        self.key, self.secret = key, secret
        self.cancel_delay_s = cancel_delay_s
        self.is_free = is_free
        self.headlines = headlines
        self.account_id = derived_id(f"account:{key}")
        self.data = DataHub(self)
        self.news = NewsHub(self)
        self.trades = TradeHub(self)
        self.articles: list[dict[str, Any]] = []
        self.daily_equity: list[tuple[int, float]] = []
        self.minute_equity: list[tuple[int, float]] = []
        self.clock: Callable[[], int] = lambda: self.journal.progress.now_ns
        self._kept_activities = len(core.activities)

    @property
    def now_ns(self) -> int:
        """The exchange's clock, nanoseconds since the epoch (UTC)."""
        return self.clock()

    def is_authentic(self, key: str | None, secret: str | None) -> bool:
        """Whether credentials are the account's."""
        return key == self.key and secret == self.secret

    def commit(self, *, progress: Progress | None = None, **extra: Any) -> None:
        """Keep what has changed, then tell the trade stream.

        Parameters
        ----------
        progress : Progress | None
            The replay's new position, where it has moved.
        **extra
            Other values for the journal (`news`, `equity`).
        """
        core, journal = self.core, self.journal
        reached = progress if progress is not None else journal.progress
        if core.changed or core.is_ledger_changed or extra:
            activities = core.activities[self._kept_activities :]
            journal.write(core, activities, matched=reached.matched, now_ns=reached.now_ns, **extra)
            self._kept_activities = len(core.activities)
            core.changed.clear()
            core.is_ledger_changed = False
        if progress is not None:
            journal.advance(progress)
        if core.updates:
            updates, core.updates = core.updates, []
            self.trades.publish(updates)

    def cancel_later(self) -> None:
        """Carry out requested cancels once the answer has left."""
        asyncio.get_running_loop().call_later(self.cancel_delay_s, self.complete_cancels)

    def complete_cancels(self) -> None:
        """Carry out requested cancels now."""
        self.core.complete_cancels(self.now_ns)
        self.commit()

    async def publish_article(self, article: dict[str, Any]) -> None:
        """Tell a news item to its subscriber."""
        if not self.news.wants_any(article["symbols"]):
            return
        message = {key: value for key, value in article.items() if key != "images"}
        for name in ("created_at", "updated_at"):
            at = datetime.fromisoformat(article[name])
            message[name] = msgpack.Timestamp.from_datetime(at)
        await self.news.publish([{"T": "n", **message}])

    def equity(self) -> Decimal:
        """Cash and positions at present prices."""
        return self.core.ledger.equity(self.core.markets)
