"""In-memory stand-ins for the ports, for tests and for trying things out.

They keep the promises of `greenlight.ports`, checked by the same contract
tests that the adapters pass, and take the place of the real things without
patching. They forget everything with the process. The store's and the broker's
stand-ins have files of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from greenlight.domain.alerts import Event
from greenlight.domain.market import Quote, Unavailable
from greenlight.domain.sentiment import Reading
from greenlight.ports import Asked, Delivered, Delivery, Doubtful, Message
from greenlight.testing_store import FakeStore as FakeStore


class FakeClock:
    """`greenlight.ports.Clock` that stands still until it is set.

    Parameters
    ----------
    now : datetime
        Aware; kept as UTC.
    """

    def __init__(self, now: datetime) -> None:
        self.set(now)

    def now(self) -> datetime:
        """The instant that was set last, aware UTC."""
        return self._now

    def set(self, now: datetime) -> None:
        """Jump to an aware instant, back as well as forth.

        Raises
        ------
        ValueError
            The instant has no time zone.
        """
        if now.tzinfo is None:
            raise ValueError(f"{now} has no time zone")
        self._now = now.astimezone(UTC)

    def advance(self, seconds: float) -> datetime:
        """Go on by so many seconds; the new present."""
        self._now += timedelta(seconds=seconds)
        return self._now


class FakeNotifier:
    """`greenlight.ports.Notifier` that keeps what it was told, in `alerts`."""

    def __init__(self) -> None:
        self.alerts: list[str] = []

    def alert(self, text: str, *, event: Event = Event.TROUBLE, is_kept: bool = False) -> None:
        """Keep the text."""
        self.alerts.append(text)


class FakeMessenger:
    """`greenlight.ports.Messenger` that keeps what it was told, in `sent`.

    `outcomes` are given to the next messages in turn, then all arrive; what was cut
    off arrives where `loses` is False. `questions` are handed out once.
    """

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.outcomes: list[Delivery] = []
        self.questions: list[Asked] = []
        self.settled: list[tuple[str, str]] = []
        self.loses = False
        self.answers = True

    def send(self, message: Message) -> Delivery:
        """Give the next outcome, and keep what arrives."""
        outcome = self.outcomes.pop(0) if self.outcomes else Delivered(message_id="1")
        if isinstance(outcome, Delivered) or (isinstance(outcome, Doubtful) and not self.loses):
            self.sent.append(message)
        return outcome

    def is_answering(self) -> bool:
        """Whether `answers` is set."""
        return self.answers

    def asked(self, wait_s: float) -> list[Asked]:
        """What is in `questions`, at once."""
        found, self.questions = self.questions, []
        return found

    def settle(self, query: str, text: str) -> None:
        """Keep the answer in `settled`."""
        self.settled.append((query, text))

    def close(self) -> None:
        """Nothing is held."""


class FakeSentiment:
    """`greenlight.ports.SentimentModel` with given scores; `asked` are all questions.

    Parameters
    ----------
    scores : Mapping[str, float]
        By symbol, at every instant; other symbols have no reading.
    """

    def __init__(self, scores: Mapping[str, float] | None = None) -> None:
        self.scores = dict(scores or {})
        self.asked: list[tuple[str, datetime]] = []

    def read(self, symbol: str, now: datetime) -> Reading | Unavailable:
        """The symbol's score, as of one made-up headline."""
        self.asked.append((symbol, now))
        if symbol not in self.scores:
            return Unavailable("no headlines")
        return Reading(
            symbol=symbol,
            at=now,
            score=self.scores[symbol],
            uncertainty=0.5,
            headlines=1,
            model="fake",
            is_synthetic=True,
        )


class FakeCache:
    """`greenlight.ports.Cache` in memory. Set `up` to False to take it away.

    While it is away writes are dropped and reads are empty, as with Redis.
    """

    def __init__(self) -> None:
        self.up = True
        self._quotes: dict[str, Quote] = {}
        self._beats: dict[str, datetime] = {}

    def put_quotes(self, quotes: Sequence[Quote]) -> None:
        """Keep the latest quote by symbol."""
        if self.up:
            self._quotes.update({quote.symbol: quote for quote in quotes})

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """Latest quotes of the symbols that have one."""
        if not self.up:
            return {}
        return {symbol: self._quotes[symbol] for symbol in symbols if symbol in self._quotes}

    def beat(self, component: str, at: datetime) -> None:
        """Keep the latest heartbeat of a component."""
        if self.up:
            self._beats[component] = at

    def beats(self) -> dict[str, datetime]:
        """Latest heartbeat by component."""
        return dict(self._beats) if self.up else {}

    def is_up(self) -> bool:
        """Whether `up` is set."""
        return self.up
