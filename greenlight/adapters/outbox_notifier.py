"""What actors tell in their own words, put into the outbox without making them wait.

Before it stand the actors; after it the reporter. A thread writes; while the store is
away or slow, a bounded queue drops the oldest, and the log has every one. A position
monitor imports this file, so it stays light.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Final

from greenlight.domain.alerts import Event, told
from greenlight.ports import Sleep, Store, StoreUnavailable

logger = logging.getLogger("greenlight.alert")

_KEPT: Final = 200
_AGAIN_S: Final = 1.0


class OutboxNotifier:
    """The `Notifier` port on the outbox, and on the log besides.

    Parameters
    ----------
    now : Callable[[], datetime]
        The desk's time; asked on the thread.
    """

    def __init__(self, *, store: Store, now: Callable[[], datetime], sleep: Sleep) -> None:
        self._store = store
        self._now = now
        self._sleep = sleep
        self._waiting: deque[tuple[Event, str]] = deque(maxlen=_KEPT)
        self._is_new = threading.Condition()
        self._thread: threading.Thread | None = None

    def alert(self, text: str, *, event: Event = Event.TROUBLE, is_kept: bool = False) -> None:
        """See `Notifier.alert`."""
        logger.warning("ALERT %s", text, extra={"action": "alert", "event": event})
        if is_kept:
            return
        with self._is_new:
            self._waiting.append((event, text))
            self._is_new.notify()
            if self._thread is None:
                # A process that never tells anything needs no thread.
                self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._is_new:
                while not self._waiting:
                    self._is_new.wait()
                event, text = self._waiting.popleft()
            while True:
                try:
                    self._store.put_alert(told(event, text, self._now()))
                    break
                except StoreUnavailable:
                    self._sleep(_AGAIN_S)
                except Exception:
                    # One that cannot be written must not hold up the others.
                    logger.exception("not kept", extra={"action": "alert"})
                    break
