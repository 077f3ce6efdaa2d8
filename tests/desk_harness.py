"""A whole desk for tests: brought up on a folder of its own, watched, killed in parts."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from cluster.desk import Desk
from cluster.desk_config import NAMESPACE
from greenlight.adapters.alpaca_broker import AlpacaBroker
from greenlight.adapters.timescale import TimescaleStore
from greenlight.domain.audit import decisions_digest, fills_digest
from greenlight.settings import load_settings


class RunningDesk:
    """A desk under test."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        assert desk.exchange_url is not None
        self.broker = AlpacaBroker(
            base_url=desk.exchange_url, key_id="PAPER", secret_key="paper-exchange", deadline_s=5
        )

    def store(self) -> TimescaleStore:
        return TimescaleStore(self.desk.database_url)

    def wait_until(self, iso: str, timeout_s: float = 240) -> bool:
        """Wait until the replay has reached an instant; False if it ended before."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            state = self.desk.replay_state()
            if state.now.isoformat() >= iso:
                return True
            if state.is_finished:
                return False
            time.sleep(0.01)
        raise AssertionError(f"the replay stands still at {self.desk.replay_state()}")

    def finish(self, timeout_s: float = 240) -> None:
        """Wait for the end of the replay."""
        until = time.monotonic() + timeout_s
        while not self.desk.replay_state().is_finished:
            assert time.monotonic() < until, f"stands still at {self.desk.replay_state()}"
            time.sleep(0.5)

    def kill(self, actor: str) -> bool:
        """kill -9 of an actor's process; False where there is no such actor."""
        try:
            handle = ray.get_actor(actor, namespace=NAMESPACE)
        except ValueError:
            return False
        os.kill(ray.get(handle.pid.remote(), timeout=30), signal.SIGKILL)
        return True

    def fills(self) -> list[str]:
        """All fills as lines, to see where two runs part."""
        store = self.store()
        try:
            return sorted(
                f"{f.at} {f.symbol} {f.side} {f.qty} of {f.cum_qty} at {f.price}"
                for f in store.fills(limit=None)
            )
        finally:
            store.close()

    def digests(self) -> tuple[str, str]:
        """Digests of all decisions and of all fills."""
        store = self.store()
        try:
            decisions = decisions_digest(r.decision for r in store.decisions(limit=None))
            return decisions, fills_digest(store.fills(limit=None))
        finally:
            store.close()


@contextmanager
def running_desk(home: Path, **settings: object) -> Iterator[RunningDesk]:
    """A desk on a replay, without pages; stopped at the end."""
    desk = Desk(
        load_settings(home=home, exchange_port=0, **settings), with_pages=False, say=lambda _: None
    )
    desk.start()
    try:
        yield RunningDesk(desk)
    finally:
        desk.stop()
