"""What the news said of a symbol at an instant: a reading, or why there is none.

Before it stand the models behind `ports.SentimentModel`; after it the
strategies that ask for a reading. Decided here: which headlines tell one story,
how what was thought of each becomes one reading, and how a reading ages. No
reading is no opinion, never a neutral one.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final

from greenlight.domain.market import Unavailable

UNIFORM_VARIANCE: Final = 1.0 / 3.0
"""Variance of a score of which nothing is known: uniform from -1 to 1."""
OLDEST_HALF_LIVES: Final = 4
"""The newest opinion may be so old, in half-lives; then the news is spent (ours)."""
SAME_STORY_WITHIN: Final = timedelta(hours=24)
"""Copies of a headline come within a day of each other (ours)."""
# A number keeps its sign and decimals: "+3%" and "-3%" are two stories.
_WORD = re.compile(r"[+-]?\d+(?:[.,]\d+)*|[^\W_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One news item. `is_synthetic`: made up for a replay."""

    at: datetime
    text: str
    symbols: tuple[str, ...]
    is_synthetic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Tone of the headlines of one symbol up to an instant.

    `score` is -1 (all bad) to 1 (all good), `uncertainty` its standard deviation
    on the same scale, `headlines` how many it rests on (at least 1), `model` what
    read them. `is_synthetic`: any of them is made up.
    """

    symbol: str
    at: datetime
    score: float
    uncertainty: float
    headlines: int
    model: str
    is_synthetic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenReading:
    """What a strategy was given when it asked for a reading, with the model's weight then."""

    symbol: str
    at: datetime
    weight: float
    found: Reading | Unavailable


Look = Callable[[], Reading | Unavailable]
"""Asks for the reading of the symbol at hand; a strategy asks only when it must."""


def unread() -> Unavailable:
    """The `Look` where nobody reads the news."""
    return Unavailable("no sentiment model")


class EventType(StrEnum):
    """What a headline is about."""

    EARNINGS = "earnings"
    GUIDANCE = "guidance"
    ANALYST = "analyst"
    DEAL = "deal"
    PRODUCT = "product"
    LEGAL = "legal"
    MANAGEMENT = "management"
    MACRO = "macro"
    OTHER = "other"


class Horizon(StrEnum):
    """How long it should matter."""

    DAY = "day"
    WEEK = "week"
    LONGER = "longer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """A model's answer about a headline: `score` is -1 to 1, `relevance` 0 to 1."""

    score: float
    relevance: float
    event: EventType
    horizon: Horizon
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What a model thought of one headline for one symbol.

    `digest` is that of the model's weights. `read_at` (aware UTC) is when the
    model answered: what is decided at an instant rests on no later opinion.
    """

    symbol: str
    headline: Headline
    rating: Rating
    model: str
    digest: str
    prompt_version: str
    read_at: datetime


class ModelState(StrEnum):
    """How a model stands on its server.

    Missing: not pulled. Cold: not loaded. Loading: a warm-up is under way. Warm:
    all of it where it should be. Spilled: part of it lies outside the GPU's memory.
    """

    MISSING = "missing"
    COLD = "cold"
    LOADING = "loading"
    WARM = "warm"
    SPILLED = "spilled"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStanding:
    """What a server tells of a model; sizes in bytes, 0 while it is not loaded."""

    state: ModelState
    digest: str
    size_bytes: int = 0
    vram_bytes: int = 0


def standing_of(digest: str, size_bytes: int, vram_bytes: int, *, wants_gpu: bool) -> ModelStanding:
    """How a loaded model stands: where the CPU was asked for, it is warm there."""
    is_spilled = wants_gpu and vram_bytes < size_bytes
    return ModelStanding(
        state=ModelState.SPILLED if is_spilled else ModelState.WARM,
        digest=digest,
        size_bytes=size_bytes,
        vram_bytes=vram_bytes,
    )


def story(headline: Headline) -> str:
    """A name of what a headline tells: its words, without case, accents and punctuation.

    Agencies copy each other's headlines with such differences alone.
    """
    return _story(headline.text)


# A reading compares the same headlines again and again.
@lru_cache(maxsize=8192)
def _story(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text).casefold().replace("\u2212", "-")
    plain = "".join(c for c in folded if not unicodedata.combining(c))
    return hashlib.sha256(" ".join(_WORD.findall(plain)).encode()).hexdigest()


def headline_id(headline: Headline) -> str:
    """Names a headline by its instant and text."""
    return hashlib.sha256(f"{headline.at.isoformat()}\0{headline.text}".encode()).hexdigest()


def cache_key(digest: str, prompt_version: str, symbol: str, text: str) -> str:
    """Names an answer that would be the same if it were asked for again.

    Parameters
    ----------
    digest : str
        Of the model's weights, as the server tells it: a name may be pulled anew.
    prompt_version : str
        Of the prompt, the schema and the options.
    symbol, text : str
        What was asked.
    """
    parts = "\0".join((digest, prompt_version, symbol, text))
    return hashlib.sha256(parts.encode()).hexdigest()


def first_told(opinions: Iterable[Opinion]) -> list[Opinion]:
    """The first of each story, oldest first: a copy adds no evidence."""
    told: dict[str, datetime] = {}
    found = []
    for opinion in sorted(opinions, key=lambda o: (o.headline.at, o.headline.text, o.read_at)):
        key, at = story(opinion.headline), opinion.headline.at
        if key in told and at - told[key] <= SAME_STORY_WITHIN:
            continue
        told[key] = at
        found.append(opinion)
    return found


def freshness(age: timedelta, half_life: timedelta) -> float:
    """2^(-age / half-life), at most 1."""
    return float(2.0 ** -max(age / half_life, 0.0))


def spread(scores: Sequence[float], weights: Sequence[float]) -> tuple[float, float]:
    """Mean and uncertainty of weighted scores.

    Parameters
    ----------
    scores : Sequence[float]
        -1 to 1.
    weights : Sequence[float]
        What each counts, at most 1; their sum is above 0.

    Returns
    -------
    tuple[float, float]
        ``m = sum(w s) / W`` with ``W = sum(w)``, and
        ``sqrt(v / (1 + W) + sum(w (s - m)^2) / W)``, v being the variance of a
        score of which nothing is known, 1/3.

    Notes
    -----
    The first term is the variance of a mean over an opinion of weight 1 that
    knows nothing: more and fresher headlines narrow it. The second is how far
    they lie apart, and no number of headlines narrows it: conflict stays.
    """
    total = math.fsum(weights)
    pairs = list(zip(scores, weights, strict=True))
    mean = math.fsum(w * s for s, w in pairs) / total
    apart = math.fsum(w * (s - mean) ** 2 for s, w in pairs) / total
    return mean, math.sqrt(UNIFORM_VARIANCE / (1.0 + total) + apart)


def reading_of(
    symbol: str,
    opinions: Iterable[Opinion],
    now: datetime,
    *,
    half_life: timedelta,
) -> Reading | Unavailable:
    """One reading of what was thought of a symbol's headlines by an instant.

    Parameters
    ----------
    opinions : Iterable[Opinion]
        Of any symbols and instants; those of this one that were there by `now` count.
    now : datetime
        Aware UTC.
    half_life : timedelta
        In which an opinion's weight, and a reading without fresh news, halves.

    Returns
    -------
    Reading | Unavailable
        Each opinion weighs its relevance times its freshness (see `spread`); the
        score is their mean times the freshness of the newest headline. None there:
        nothing was read, nothing was relevant, or the news is spent.
    """
    known = first_told(
        opinion
        for opinion in opinions
        if opinion.symbol == symbol and opinion.headline.at <= now and opinion.read_at <= now
    )
    relevant = [o for o in known if o.rating.relevance > 0 and math.isfinite(o.rating.score)]
    if not relevant:
        return Unavailable("no relevant headline" if known else "no headline was read")
    newest = max(o.headline.at for o in relevant)
    if now - newest > OLDEST_HALF_LIVES * half_life:
        return Unavailable(f"the newest headline is of {newest.isoformat()}")
    weights = [o.rating.relevance * freshness(now - o.headline.at, half_life) for o in relevant]
    mean, uncertainty = spread([o.rating.score for o in relevant], weights)
    return Reading(
        symbol=symbol,
        at=now,
        score=mean * freshness(now - newest, half_life),
        uncertainty=uncertainty,
        headlines=len(relevant),
        model=max(relevant, key=lambda o: o.read_at).model,
        is_synthetic=any(o.headline.is_synthetic for o in relevant),
    )
