"""How the model that reads the news stands, and whether it may be listened to.

Before it stands the sentiment actor, which stores it; after it the board, the
command, the health port and the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from greenlight.domain.audit import instant_text
from greenlight.domain.breaker import Breaker, BreakerState
from greenlight.domain.sentiment import ModelStanding, ModelState

TOLD_EVERY: Final = timedelta(seconds=10)
"""The actor stores its status at least so often, whatever happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentimentStatus:
    """What the sentiment actor knew at `at` (aware UTC).

    `standing` is None while the server has not answered. `waiting` headlines are
    queued; `dropped`, `rated`, `reused` (from the cache), `repeated` (copies of a
    story) and `failed` count them since the actor began. `absence` says why there are
    no readings now; None: there are.
    """

    at: datetime
    model: str
    wants_gpu: bool
    breaker: Breaker
    standing: ModelStanding | None
    waiting: int
    dropped: int
    rated: int
    reused: int
    repeated: int
    failed: int
    absence: str | None


def absence(breaker: Breaker, standing: ModelStanding | None, model: str) -> str | None:
    """Why nothing is to be had from the model now; None: something is."""
    if breaker.state is not BreakerState.CLOSED:
        since = "" if breaker.since is None else f" since {instant_text(breaker.since)}"
        return f"breaker {breaker.state}{since}: {breaker.last_failure}"
    if standing is None:
        return breaker.last_failure or "the model server was not asked yet"
    if standing.state is ModelState.MISSING:
        return f"{model} is not there; run: greenlight sentiment pull"
    if standing.state in {ModelState.COLD, ModelState.LOADING}:
        return f"{model} is {standing.state}"
    return None


def to_json(status: SentimentStatus) -> dict[str, object]:
    """The status as JSON values."""
    row = asdict(status)
    row["at"] = instant_text(status.at)
    since = status.breaker.since
    row["breaker"]["since"] = None if since is None else instant_text(since)
    return row


def from_json(row: Mapping[str, Any]) -> SentimentStatus:
    """What `to_json` made.

    Raises
    ------
    KeyError, ValueError, TypeError
        It is not such a row.
    """
    breaker, standing = dict(row["breaker"]), row["standing"]
    since = breaker["since"]
    breaker["since"] = None if since is None else datetime.fromisoformat(since)
    breaker["state"] = BreakerState(breaker["state"])
    if standing is not None:
        standing = ModelStanding(**{**standing, "state": ModelState(standing["state"])})
    return SentimentStatus(
        **{
            **row,
            "at": datetime.fromisoformat(row["at"]),
            "breaker": Breaker(**breaker),
            "standing": standing,
        }
    )


def in_words(status: SentimentStatus) -> list[tuple[str, str]]:
    """A status as a person reads it: what it is about, and how that stands."""
    standing, breaker = status.standing, status.breaker
    state = "no answer" if standing is None else str(standing.state)
    where = "" if status.wants_gpu else ", on the CPU by setting"
    if standing is not None and status.wants_gpu and standing.size_bytes:
        where = f", {standing.vram_bytes / standing.size_bytes:.0%} on the GPU"
    failing = "" if breaker.last_failure is None else f": {breaker.last_failure}"
    times = "once" if breaker.openings == 1 else f"{breaker.openings} times"
    return [
        ("model", f"{status.model}: {state}{where}"),
        ("breaker", f"{breaker.state}, opened {times}{failing}"),
        (
            "headlines",
            f"{status.rated} rated, {status.reused} from the cache, {status.repeated} copies, "
            f"{status.waiting} waiting, {status.dropped} dropped, {status.failed} given up",
        ),
        ("readings", status.absence or "there are"),
    ]
