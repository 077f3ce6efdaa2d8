"""A dispatcher on a store and a messenger, for tests of what reaches a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from actors.dispatch import Dispatcher
from greenlight.domain.alerts import Event, Loudness, Posted
from greenlight.ports import Messenger, Store

SOURCE = "PAPER"


def dispatcher(
    store: Store,
    messenger: Messenger,
    now: Callable[[], datetime],
    *,
    chosen: Mapping[Event, Loudness] | None = None,
) -> Dispatcher:
    """One that draws nothing."""

    def draw(row: Posted) -> bytes | None:
        return b"png" if row.alert.facts.get("has_chart") else None

    return Dispatcher(
        store=store,
        messenger=messenger,
        source=lambda: SOURCE,
        chosen=chosen or {},
        now=now,
        draw=draw,
    )
