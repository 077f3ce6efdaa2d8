"""Starts an embedded service again that died under a running desk.

Before it stands the desk, which has started the services; after it
`cluster.services`, which adopts what somebody else has started meanwhile. A
service that hangs is left alone: the desk goes on without it, and ending it would
lose what it is at.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cluster.services import ServiceError, Unavailable

logger = logging.getLogger(__name__)

EVERY_S: Final = 2.0
_LONGEST_S: Final = 60.0
"""Longest wait between two attempts; each failure doubles it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A service: whether its process lives, and how to start it."""

    name: str
    is_alive: Callable[[], bool]
    start: Callable[[], object]


class Keeper:
    """See the module. Between `start` and `stop` it looks every `every_s` seconds."""

    def __init__(self, kept: Sequence[Kept], every_s: float = EVERY_S) -> None:
        self._kept = tuple(kept)
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def look(self) -> bool:
        """Start again what has died; whether all run now."""
        found = [self._keep(one) for one in self._kept]
        return all(found)

    def stop(self) -> None:
        """Look no more; returns once nothing is being started."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        wait_s = self._every_s
        while not self._stopping.wait(wait_s):
            wait_s = self._every_s if self.look() else min(2 * wait_s, _LONGEST_S)

    def _keep(self, one: Kept) -> bool:
        if one.is_alive():
            return True
        logger.error("%s has died", one.name, extra={"action": "restart_service"})
        try:
            started = one.start()
        except (ServiceError, OSError) as error:
            logger.error("%s: %s", one.name, error, extra={"action": "restart_service"})
            return False
        if isinstance(started, Unavailable):
            logger.error("%s: %s", one.name, started.reason, extra={"action": "restart_service"})
            return False
        logger.warning("%s runs again", one.name, extra={"action": "restart_service"})
        return True
