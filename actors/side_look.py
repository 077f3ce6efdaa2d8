"""Compares with the broker beside the protect lane, which must not wait for its answer.

Before it stands market data, which polls it; after it the reconciler, which
corrects in the lane what was found to differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime


class SideLook:
    """One comparison at a time, on a thread of its own.

    Parameters
    ----------
    look : Callable[[datetime], Sequence[object]]
        What differs at an instant (aware UTC); raises where the broker does not tell.
    """

    def __init__(self, look: Callable[[datetime], Sequence[object]]) -> None:
        self._look = look
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="side-look")
        self._asked: Future[Sequence[object]] | None = None

    def poll(self, now: datetime) -> bool | None:
        """Ask, or see what came of it: whether both agree, None while it is not known.

        Raises
        ------
        BrokerUnavailable, BrokerRefused
            The broker does not tell.
        """
        if self._asked is None:
            self._asked = self._pool.submit(self._look, now)
        if not self._asked.done():
            return None
        asked, self._asked = self._asked, None
        return not asked.result()

    @property
    def is_asked(self) -> bool:
        """Whether an answer is on its way or here."""
        return self._asked is not None

    def forget(self) -> None:
        """Drop the answer: both have been compared since it was asked for."""
        self._asked = None

    def close(self) -> None:
        """Ask no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
