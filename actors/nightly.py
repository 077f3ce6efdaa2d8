"""Nightly work: what is due after every session, and must not hold up trading.

Before it stands market data, which says that a session is closed; after it the
store, which the next session reads. What fails is told; the next session then
goes by what there is, with its age.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from greenlight.ports import Notifier

logger = logging.getLogger(__name__)

OPTIONS: Final[dict[str, Any]] = {"name": "nightly", "num_cpus": 0.05, "max_concurrency": 2}


class Nightly:
    """See the module.

    Parameters
    ----------
    forecast : Callable[[datetime], object]
        Makes and stores the forecasts; safe to repeat.
    twin : Callable[[datetime], object] | None
        Compares the last sessions with their twins, after the forecasts; None: it is
        left to the command.
    """

    def __init__(
        self,
        *,
        forecast: Callable[[datetime], object],
        notifier: Notifier,
        twin: Callable[[datetime], object] | None = None,
    ) -> None:
        self._forecast = forecast
        self._twin = twin
        self._notifier = notifier

    def ping(self) -> str:
        """Answer, as proof of life."""
        return "nightly"

    def close_session(self, now: datetime) -> None:
        """See `NightlyLink.close_session`."""
        try:
            self._forecast(now)
        except Exception as error:
            # Whatever broke, the desk trades tomorrow with the forecasts it has.
            logger.exception("no forecasts", extra={"action": "nightly"})
            self._notifier.alert(f"no volatility forecasts tonight ({error}); the last ones stay")
        if self._twin is None:
            return
        try:
            self._twin(now)
        except Exception as error:
            # The session stays uncompared, and readiness says so.
            logger.exception("no twin", extra={"action": "nightly"})
            self._notifier.alert(
                f"tonight's sessions were not compared with their twins ({error}); "
                "run 'greenlight twin'"
            )
