"""Alerts on the console, for a desk without Telegram."""

from __future__ import annotations

import logging

from greenlight.domain.alerts import Event

logger = logging.getLogger("greenlight.alert")


class ConsoleNotifier:
    """The `Notifier` port on the log."""

    def alert(self, text: str, *, event: Event = Event.TROUBLE, is_kept: bool = False) -> None:
        """Log the alert; see `Notifier.alert`."""
        logger.warning("ALERT %s", text, extra={"action": "alert", "event": event})
