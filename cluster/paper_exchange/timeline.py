"""The steps of a replay, numbered.

Decided here: which steps a session has and when each happens. Before it
stand the source's sessions; after it `replay`, which walks the steps.

Notes
-----
A session has a `pre_open` step an hour before its open, one `minute` step at
the end of each of its minutes, and a `close` step five minutes after its
close. One `end` step follows the last session. Numbers start at 1 and do not
change when sessions are added at the end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cluster.paper_exchange.orders import to_ns
from greenlight.domain.market import Session

MINUTE_NS: Final = 60_000_000_000
PRE_OPEN_NS: Final = 60 * MINUTE_NS
AFTER_CLOSE_NS: Final = 5 * MINUTE_NS


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `at_ns` is when its outcome is known (UTC); `minute` is -1 outside `minute`."""

    seq: int
    kind: str
    index: int
    minute: int
    at_ns: int
    session: Session


class Timeline:
    """Every step of a list of sessions.

    Raises
    ------
    ValueError
        The list is empty.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        if not sessions:
            raise ValueError("there is no session to replay between these dates")
        self.sessions = list(sessions)
        self._first: list[int] = []
        seq = 1
        for session in self.sessions:
            self._first.append(seq)
            seq += session.minutes + 2
        self.end_seq = seq

    def step(self, seq: int) -> Step:
        """The step of a number from 1 to `end_seq`."""
        if seq >= self.end_seq:
            last = self.sessions[-1]
            at_ns = to_ns(last.close) + AFTER_CLOSE_NS
            return Step(self.end_seq, "end", len(self.sessions) - 1, -1, at_ns, last)
        index = bisect_right(self._first, seq) - 1
        session = self.sessions[index]
        offset = seq - self._first[index]
        if offset == 0:
            return Step(seq, "pre_open", index, -1, to_ns(session.open) - PRE_OPEN_NS, session)
        if offset <= session.minutes:
            at_ns = to_ns(session.open) + offset * MINUTE_NS
            return Step(seq, "minute", index, offset - 1, at_ns, session)
        return Step(seq, "close", index, -1, to_ns(session.close) + AFTER_CLOSE_NS, session)
