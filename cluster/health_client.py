"""What a running desk says of its parts, asked over its health port.

Before it stands `health_server`; after it `greenlight status` and the drills.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import requests

from greenlight.domain.market import Unavailable

_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the desk by its own word: "up", "degraded" or "down", and why."""

    name: str
    state: str
    reason: str


def parts(health_url: str | None) -> tuple[Part, ...] | Unavailable:
    """Every part of the desk that listens there."""
    if health_url is None:
        return Unavailable("the desk has no health port")
    try:
        rows = requests.get(f"{health_url}/readyz", timeout=_TIMEOUT_S).json()["components"]
        return tuple(Part(name=r["name"], state=r["state"], reason=r["reason"]) for r in rows)
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        return Unavailable(f"the health port does not answer: {type(error).__name__}")
