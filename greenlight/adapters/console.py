"""Alerts and messages on the console, for a desk without Telegram."""

from __future__ import annotations

import logging
from collections.abc import Callable

from greenlight.domain.alerts import Event
from greenlight.ports import Asked, Delivered, Delivery, Message, Sleep

logger = logging.getLogger("greenlight.alert")


class ConsoleNotifier:
    """The `Notifier` port on the log."""

    def alert(self, text: str, *, event: Event = Event.TROUBLE, is_kept: bool = False) -> None:
        """Log the alert; see `Notifier.alert`."""
        logger.warning("ALERT %s", text, extra={"action": "alert", "event": event})


class ConsoleMessenger:
    """The `Messenger` port on the log; nobody can answer.

    Parameters
    ----------
    words : Callable[[str], str]
        Takes the tags off a text.
    """

    def __init__(self, *, words: Callable[[str], str], sleep: Sleep) -> None:
        self._words = words
        self._sleep = sleep

    def send(self, message: Message) -> Delivery:
        """Log the message; a picture is named alone."""
        text = self._words(message.text) if message.png is None else "a chart was drawn"
        logger.info("%s", text, extra={"action": "message"})
        return Delivered(message_id="")

    def is_answering(self) -> bool:
        """Always."""
        return True

    def asked(self, wait_s: float) -> list[Asked]:
        """Nothing, after the wait."""
        self._sleep(wait_s)
        return []

    def settle(self, query: str, text: str) -> None:
        """Nobody has pressed a button."""

    def close(self) -> None:
        """Nothing is held."""
