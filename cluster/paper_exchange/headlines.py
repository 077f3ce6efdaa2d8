"""Made-up headlines that follow the prices, for trying out what reads the news.

Decided here: which headline a session's path calls for, and when. Before it
stand the tapes; after it the news route and the news stream. Each is marked
synthetic in its text, author and source. They depend on the seed and on the
prices up to their own minute alone, so every start makes the same ones, and
nothing of them need be kept.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from cluster.paper_exchange.orders import rfc3339, to_ns
from cluster.paper_exchange.tapes import SymbolSession, TapeLibrary
from cluster.paper_exchange.timeline import MINUTE_NS
from greenlight.domain.market import Session

SOURCE: Final = "synthetic"
FALL_FRAC: Final = 0.03
"""A price this far below the last close makes bad news."""
NOISE: Final = 0.1
"""Share of symbols and sessions with a headline about nothing."""
_DELAY_MINUTES: Final = 10
_KEPT_SESSIONS: Final = 64
_FIRST_ID: Final = 1_000_000_000
_BAD: Final = (
    "shares plunge on fears of weak demand",
    "hit by disappointing results, investors worry",
    "falls sharply as analysts warn of losses",
    "tumbles after bad news on lawsuit",
)
_NOISE: Final = (
    "to present at an industry conference",
    "announces date of its annual meeting",
    "wins praise for strong new product",
    "analyst happy with great progress",
)

Article = dict[str, Any]


class Headlines:
    """Synthetic articles by session.

    Parameters
    ----------
    library : TapeLibrary
        The prices.
    sessions : Sequence[Session]
        Those of the replay; no other has headlines.
    seed : int
        Other seeds tell other noise.
    """

    def __init__(self, library: TapeLibrary, sessions: Sequence[Session], *, seed: int) -> None:
        self._library = library
        self._sessions = {session.day: session for session in sessions}
        self._seed = seed
        self._made: OrderedDict[date, list[Article]] = OrderedDict()

    def on(self, day: date) -> list[Article]:
        """A session's articles in the order of time; none on other days."""
        session = self._sessions.get(day)
        if session is None:
            return []
        if day not in self._made:
            self._made[day] = self._make(session)
            if len(self._made) > _KEPT_SESSIONS:
                self._made.popitem(last=False)
        return self._made[day]

    def between(self, start: date, end: date) -> list[Article]:
        """The articles of all sessions from `start` to `end`, both included."""
        days = [day for day in self._sessions if start <= day <= end]
        return [article for day in days for article in self.on(day)]

    def at_minute(self, session: Session, minute: int) -> list[Article]:
        """The articles of one minute step: those that appear at its end."""
        stamp = rfc3339(to_ns(session.open) + (minute + 1) * MINUTE_NS)
        return [article for article in self.on(session.day) if article["created_at"] == stamp]

    def _make(self, session: Session) -> list[Article]:
        articles = []
        for number, (symbol, tape) in enumerate(self._library.session(session.day).items()):
            words = self._words(symbol, session.day)
            found = self._minute_and_text(symbol, tape, session, words)
            if found is not None:
                identity = _FIRST_ID + session.day.toordinal() * 100 + number
                articles.append(_article(identity, symbol, session, *found))
        return sorted(articles, key=lambda article: (article["created_at"], article["id"]))

    def _minute_and_text(
        self, symbol: str, tape: SymbolSession, session: Session, words: bytes
    ) -> tuple[int, str] | None:
        last = session.minutes - 1
        before = self._library.previous_row(symbol, session.day)
        if before is not None:
            day, row = before
            level = row["c"] / self._library.split_factor(symbol, day, session.day)
            for minute, bar in enumerate(tape.bars):
                if bar is not None and bar[3] <= level * (1 - FALL_FRAC):
                    told = min(minute + words[0] % _DELAY_MINUTES, last)
                    return told, _BAD[words[1] % len(_BAD)]
        if words[2] < NOISE * 256:
            return int.from_bytes(words[4:8]) % session.minutes, _NOISE[words[1] % len(_NOISE)]
        return None

    def _words(self, symbol: str, day: date) -> bytes:
        text = f"{self._seed}|{symbol}|{day.isoformat()}|headline-1"
        return hashlib.blake2b(text.encode(), digest_size=8).digest()


def _article(identity: int, symbol: str, session: Session, minute: int, text: str) -> Article:
    stamp = rfc3339(to_ns(session.open) + (minute + 1) * MINUTE_NS)
    return {
        "id": identity,
        "headline": f"[synthetic] {symbol} {text}",
        "summary": "",
        "author": SOURCE,
        "created_at": stamp,
        "updated_at": stamp,
        "url": None,
        "content": "",
        "symbols": [symbol],
        "source": SOURCE,
        "images": [],
    }
