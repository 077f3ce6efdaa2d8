"""A page's reader on stand-ins, for tests of what the page reads and draws."""

from __future__ import annotations

from datetime import UTC, date, datetime

from dashboard.reader import Addresses, DeskReader
from greenlight.ports import Cache, Store
from greenlight.testing import FakeCache, FakeClock, FakeStore
from tests.sample_desk import SampleDesk

HERE = Addresses(database_url="fake", cache_url=None, ray_dashboard_url="http://ray")


class House:
    """A store, a cache and a reader on both; `addresses` may change."""

    def __init__(self) -> None:
        self.store, self.cache = FakeStore(), FakeCache()
        self.clock = FakeClock(datetime(2026, 1, 5, 15, 0, tzinfo=UTC))
        self.addresses: Addresses | None = HERE
        self.connected: list[Addresses] = []
        self.reader = DeskReader(
            find=lambda: self.addresses, connect=self._connect, clock=self.clock.now
        )

    def _connect(self, addresses: Addresses) -> tuple[Store, Cache]:
        self.connected.append(addresses)
        return self.store, self.cache

    def live(self) -> SampleDesk:
        desk = SampleDesk(self.store, start=date(2008, 1, 2))
        desk.trade_until(date(2008, 1, 9), close_last=False)
        return desk
