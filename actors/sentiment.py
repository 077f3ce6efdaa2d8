"""The sentiment actor: headlines in, a model's opinions of them out.

Before it stand the broker's news and the model's server; after it the strategist's
board, which never waits for anything here. Every contact with the server passes one
breaker, and the model is only asked while it is loaded: a request that is cut off
would abort the loading.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final, Protocol

from actors.links import SentimentNews
from greenlight.domain.breaker import (
    Breaker,
    BreakerState,
    asked,
    failed,
    may_ask,
    recovered,
    succeeded,
)
from greenlight.domain.market import Unavailable
from greenlight.domain.sentiment import (
    OLDEST_HALF_LIVES,
    SAME_STORY_WITHIN,
    GivenReading,
    Headline,
    ModelStanding,
    ModelState,
    Opinion,
    Rating,
    cache_key,
    story,
)
from greenlight.domain.sentiment_status import (
    TOLD_EVERY,
    SentimentStatus,
    absence,
    from_json,
    to_json,
)
from greenlight.ports import (
    BrokerUnavailable,
    HeadlineModel,
    ModelFailed,
    NewsStore,
    Notifier,
    StoreUnavailable,
)

logger = logging.getLogger(__name__)

OPTIONS: Final[dict[str, Any]] = {"name": "sentiment", "num_cpus": 0.1, "max_concurrency": 4}
RESOURCE: Final = "ollama"
"""Ray's custom resource of the nodes on which the model may live: one model a node."""
_IDLE_S: Final = 1.0
_FETCH_S: Final = 60.0
_OVERLAP: Final = timedelta(minutes=10)
"""News may be listed some minutes after its own instant."""
_HOLD_AFTER: Final = timedelta(minutes=20)
"""A model that nobody asked for so long is held anew, long before the server lets it go."""
_TRIES: Final = 2
"""A headline that fails so often is given up: one that no model can answer must not
keep the breaker open."""
_KEPT: Final = 20_000
"""Stories and answers that are remembered."""
_OPINIONS: Final = 5_000
"""Opinions that a reading may rest on."""
_UNSAVED: Final = 2_000
_AT_ONCE: Final = 50
"""Opinions told in one answer: taking in more would hold the strategist's process up."""

Fetch = Callable[[Sequence[str], datetime, datetime], list[Headline]]
Aside = Callable[[Callable[[], None]], None]


def placement(gpu_frac: float) -> dict[str, Any]:
    """`OPTIONS` with the share of a GPU that Ray keeps for this actor as long as it lives.

    Parameters
    ----------
    gpu_frac : float
        0 to 1; 0 is the CPU, where the node still has to offer the model.
    """
    gpus = {"num_gpus": gpu_frac} if gpu_frac > 0 else {}
    return {**OPTIONS, **gpus, "resources": {RESOURCE: 1}}


class ModelServer(Protocol):
    """A model server that the actor runs itself."""

    def ensure(self) -> None:
        """Start it where it does not run; never waits and never raises."""
        ...

    def stop(self) -> None:
        """End it."""
        ...


class NoServer:
    """Somebody else runs the server."""

    def ensure(self) -> None:
        """See `ModelServer.ensure`."""

    def stop(self) -> None:
        """See `ModelServer.stop`."""


def in_thread(work: Callable[[], None]) -> None:
    """Work on a thread of its own."""
    threading.Thread(target=work, name="warm-up", daemon=True).start()


@dataclass(slots=True, kw_only=True)
class _Ask:
    symbol: str
    headline: Headline
    tries: int = 0


class Sentiment:
    """See the module. `turn` is one step; `start` takes them on a thread of its own.

    Parameters
    ----------
    fetch : Fetch
        Headlines of symbols in a window; raises `BrokerUnavailable`.
    now : Callable[[], datetime]
        The present, aware UTC; in a replay the exchange's. May raise `BrokerUnavailable`.
    half_life : timedelta
        Of a reading; older headlines than a few of them are not asked for.
    parallel : int
        Headlines rated side by side.
    queue_size : int
        Headlines that may wait; then the oldest go.
    wants_gpu : bool
        The model is meant to be in a GPU's memory.
    aside : Aside
        Does the warm-up beside the turns.
    """

    def __init__(
        self,
        *,
        model: HeadlineModel,
        store: NewsStore,
        fetch: Fetch,
        notifier: Notifier,
        now: Callable[[], datetime],
        symbols: Sequence[str],
        half_life: timedelta,
        parallel: int,
        queue_size: int,
        wants_gpu: bool,
        server: ModelServer | None = None,
        aside: Aside = in_thread,
    ) -> None:
        self._model = model
        self._store = store
        self._fetch = fetch
        self._notifier = notifier
        self._now = now
        self._symbols = tuple(symbols)
        self._window = OLDEST_HALF_LIVES * half_life
        self._parallel = parallel
        self._wants_gpu = wants_gpu
        self._server = NoServer() if server is None else server
        self._aside = aside
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._queue: deque[_Ask] = deque()
        self._queue_size = queue_size
        self._stories: OrderedDict[tuple[str, str], datetime] = OrderedDict()
        self._cache: OrderedDict[str, Rating] = OrderedDict()
        self._opinions: deque[Opinion] = deque(maxlen=_OPINIONS)
        self._unsaved: deque[Opinion | Headline | GivenReading] = deque(maxlen=_UNSAVED)
        self._standing: ModelStanding | None = None
        self._is_loading = False
        self._contact: datetime | None = None
        self._fetched: datetime | None = None
        self._stored: SentimentStatus | None = None
        self._counts = dict.fromkeys(("dropped", "rated", "reused", "repeated", "failed"), 0)
        self._life, self._version = uuid.uuid4().hex, 0
        self._breaker = self._recover()

    def _recover(self) -> Breaker:
        now = self._now()
        for opinion in self._store.opinions(now - self._window, limit=_OPINIONS):
            self._keep(opinion)
            self._stories[opinion.symbol, story(opinion.headline)] = opinion.headline.at
        row = self._store.sentiment_state()
        try:
            return Breaker() if row is None else recovered(from_json(row).breaker)
        except (KeyError, ValueError, TypeError):
            logger.exception("unreadable state, beginning anew", extra={"action": "recover"})
            return Breaker()

    # -- what others ask
    def ping(self) -> str:
        """Answer, as proof of life."""
        return "sentiment"

    def status(self) -> SentimentStatus:
        """How the model stands and what became of the headlines."""
        return self._status(self._now())

    def news(self, life: str, version: int, given: Sequence[GivenReading]) -> SentimentNews:
        """See `SentimentLink.news`."""
        with self._lock:
            self._unsaved.extend(given)
            begun = version if life == self._life else 0
            # The deque's first opinion has this number; earlier ones count no more.
            first = self._version - len(self._opinions) + 1
            skipped = max(begun + 1 - first, 0)
            found = tuple(islice(self._opinions, skipped, skipped + _AT_ONCE))
            last = first + skipped + len(found) - 1
            return SentimentNews(
                life=self._life,
                version=last,
                absence=absence(self._breaker, self._standing_now(), self._model.name),
                opinions=found,
                has_more=last < self._version,
            )

    def offer(self, headlines: Iterable[Headline]) -> None:
        """Queue headlines for each symbol that is traded; copies of a story are left out."""
        with self._lock:
            for headline in headlines:
                mine = [symbol for symbol in headline.symbols if symbol in self._symbols]
                if mine:
                    self._unsaved.append(headline)
                for symbol in mine:
                    if self._is_told(symbol, headline):
                        self._counts["repeated"] += 1
                        continue
                    self._queue.append(_Ask(symbol=symbol, headline=headline))
                    while len(self._queue) > self._queue_size:
                        self._queue.popleft()
                        self._counts["dropped"] += 1

    def _is_told(self, symbol: str, headline: Headline) -> bool:
        key = symbol, story(headline)
        at = self._stories.get(key)
        if at is not None and abs(headline.at - at) <= SAME_STORY_WITHIN:
            return True
        self._stories[key] = headline.at
        while len(self._stories) > _KEPT:
            self._stories.popitem(last=False)
        return False

    # -- life
    def start(self) -> None:
        """Work on threads of its own: one fetches news, the other asks the model."""
        for name, step in (("news", self._news_turn), ("sentiment", self.turn)):
            thread = threading.Thread(target=self._run, args=(step,), name=name, daemon=True)
            thread.start()

    def stop(self) -> None:
        """End the threads, and the server where it is the actor's own."""
        self._stopping.set()
        self._server.stop()

    def _run(self, step: Callable[[], float]) -> None:
        while not self._stopping.is_set():
            try:
                wait_s = step()
            except Exception:
                logger.exception("a turn failed", extra={"action": "sentiment"})
                wait_s = _IDLE_S
            self._stopping.wait(wait_s)

    def _news_turn(self) -> float:
        try:
            self.fetch_news()
        except BrokerUnavailable as error:
            logger.warning("no headlines: %s", error, extra={"action": "headlines"})
        return _FETCH_S

    def fetch_news(self) -> None:
        """Queue what the broker's history has since the last time.

        Raises
        ------
        BrokerUnavailable
            It does not tell; the next time begins where this one did.
        """
        now = self._now()
        start = now - self._window if self._fetched is None else self._fetched - _OVERLAP
        self.offer(self._fetch(self._symbols, start, now))
        self._fetched = now

    # -- a turn
    def turn(self) -> float:
        """Look at the model, ask it what waits, store what came of it; seconds to the next."""
        now = self._now()
        wait_s = self._work(now)
        self._save(now)
        return wait_s

    def _work(self, now: datetime) -> float:
        with self._lock:
            if self._is_loading or not may_ask(self._breaker, now):
                return _IDLE_S
            self._breaker = asked(self._breaker, now)
            is_probe = self._breaker.state is BreakerState.PROBING
        self._server.ensure()
        try:
            standing = self._model.standing()
        except ModelFailed as error:
            self._standing = None
            self._fail(f"{error}")
            return _IDLE_S
        self._standing = standing
        if standing.state is ModelState.MISSING:
            self._succeed(is_probe)
            return _IDLE_S
        if standing.state is ModelState.COLD or self._is_forgotten(now):
            self._begin_loading(now)
            return _IDLE_S
        batch = self._take(1 if is_probe else self._parallel)
        if not batch:
            # A look alone proves little: it closes the breaker only where nothing waits.
            self._succeed(is_probe)
            return _IDLE_S
        self._contact = now
        self._rate(batch, standing.digest, is_probe)
        return 0.0 if self._queue else _IDLE_S

    def _is_forgotten(self, now: datetime) -> bool:
        return self._contact is None or now - self._contact > _HOLD_AFTER

    def _take(self, most: int) -> list[_Ask]:
        with self._lock:
            return [self._queue.popleft() for _ in range(min(most, len(self._queue)))]

    def _rate(self, batch: list[_Ask], digest: str, is_probe: bool) -> None:
        keys = [
            cache_key(digest, self._model.prompt_version, ask.symbol, ask.headline.text)
            for ask in batch
        ]
        known = {key: self._cache[key] for key in keys if key in self._cache}
        fresh = [(k, a) for k, a in zip(keys, batch, strict=True) if k not in known]
        answers: dict[str, Rating | Unavailable] = {**known}
        for key, answer in zip(
            (key for key, _ in fresh),
            self._model.rate([(a.symbol, a.headline) for _, a in fresh]) if fresh else (),
            strict=True,
        ):
            answers[key] = answer
        read_at = self._now()
        for key, ask in zip(keys, batch, strict=True):
            answer = answers[key]
            if isinstance(answer, Unavailable):
                self._give_back(ask)
                self._fail(answer.reason)
                continue
            if key in known:
                self._counts["reused"] += 1
            else:
                self._counts["rated"] += 1
                self._succeed(True)
            opinion = Opinion(
                symbol=ask.symbol,
                headline=ask.headline,
                rating=answer,
                model=self._model.name,
                digest=digest,
                prompt_version=self._model.prompt_version,
                read_at=read_at,
            )
            with self._lock:
                self._keep(opinion)
                self._unsaved.append(opinion)
        if not fresh:
            # The cache has answered the probe, so that the look at the server has to do.
            self._succeed(is_probe)

    def _give_back(self, ask: _Ask) -> None:
        ask.tries += 1
        with self._lock:
            if ask.tries < _TRIES and len(self._queue) < self._queue_size:
                self._queue.append(ask)
            else:
                self._counts["failed"] += 1

    def _keep(self, opinion: Opinion) -> None:
        key = cache_key(
            opinion.digest, opinion.prompt_version, opinion.symbol, opinion.headline.text
        )
        self._cache[key] = opinion.rating
        while len(self._cache) > _KEPT:
            self._cache.popitem(last=False)
        self._opinions.append(opinion)
        oldest = opinion.headline.at - self._window
        while self._opinions and self._opinions[0].headline.at < oldest:
            self._opinions.popleft()
        self._version += 1

    # -- the breaker
    def _succeed(self, is_proof: bool) -> None:
        with self._lock:
            if is_proof:
                self._breaker = succeeded(self._breaker)

    def _fail(self, reason: str) -> None:
        with self._lock:
            before = self._breaker
            self._breaker = failed(before, self._now(), reason)
            has_opened = self._breaker.openings > before.openings
        logger.warning("the model fails: %s", reason, extra={"action": "sentiment"})
        if has_opened:
            self._notifier.alert(
                f"the sentiment model fails ({reason}); it is asked again every five minutes, "
                "and trading goes on without it"
            )

    def _begin_loading(self, now: datetime) -> None:
        with self._lock:
            self._is_loading = True
            self._contact = now
        self._aside(self._load)

    def _load(self) -> None:
        try:
            self._model.warm_up()
        except ModelFailed as error:
            self._fail(f"warm-up: {error}")
        else:
            self._succeed(True)
        finally:
            with self._lock:
                self._is_loading = False

    # -- the record
    def _standing_now(self) -> ModelStanding | None:
        found = self._standing
        if found is not None and self._is_loading and found.state is ModelState.COLD:
            return replace(found, state=ModelState.LOADING)
        return found

    def _status(self, now: datetime) -> SentimentStatus:
        with self._lock:
            standing = self._standing_now()
            return SentimentStatus(
                at=now,
                model=self._model.name,
                wants_gpu=self._wants_gpu,
                breaker=self._breaker,
                standing=standing,
                waiting=len(self._queue),
                **self._counts,
                absence=absence(self._breaker, standing, self._model.name),
            )

    def _save(self, now: datetime) -> None:
        """Write what is not in the store yet; where it is away, the next turn does."""
        status, before = self._status(now), self._stored
        is_old = before is None or now - before.at >= TOLD_EVERY or now < before.at
        is_other = before is None or (status.breaker, status.standing, status.absence) != (
            before.breaker,
            before.standing,
            before.absence,
        )
        with self._lock:
            rows = list(self._unsaved)
        try:
            self._store.write_headlines([row for row in rows if isinstance(row, Headline)])
            self._store.write_opinions([row for row in rows if isinstance(row, Opinion)])
            self._store.write_readings([row for row in rows if isinstance(row, GivenReading)])
            with self._lock:
                for row in rows:
                    if self._unsaved and self._unsaved[0] is row:
                        self._unsaved.popleft()
            if is_old or is_other:
                self._store.save_sentiment_state(now, to_json(status))
                self._stored = status
        except StoreUnavailable as error:
            logger.warning("not stored yet: %s", error, extra={"action": "sentiment"})
