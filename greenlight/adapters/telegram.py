"""The messenger on Telegram, through python-telegram-bot.

Before it stands the reporter; after it the Bot API. Decided here: what an error
says about the message (it has not arrived, it may have, it never will), and when
the next one may be sent: one a second to a chat, 20 a minute to a group. The
client repeats nothing by itself and checks no limit.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import httpx
from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.constants import ParseMode
from telegram.error import (
    BadRequest,
    Conflict,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
    TimedOut,
)
from telegram.request import HTTPXRequest

from greenlight.domain.message_text import plain
from greenlight.ports import (
    Asked,
    Delivered,
    Delivery,
    Doubtful,
    Message,
    NotDelivered,
    Refused,
    Sleep,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")

TELEGRAM: Final = "https://api.telegram.org"
_GAP_S: Final = 1.05
"""Between two messages to a chat: a second, and a little for the road."""
_GROUP_MESSAGES, _GROUP_S = 20, 61.0
_AGAIN_S: Final = 1.0
_CONFLICT_S: Final = 5.0
_LOCKED_OUT_S: Final = 60.0
"""After a revoked token or a blocked bot, which a person must mend."""
_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class ChatPace:
    """When the next message to a chat may be sent.

    Parameters
    ----------
    is_group : bool
        A group takes 20 messages a minute besides.
    """

    def __init__(self, *, is_group: bool) -> None:
        self._is_group = is_group
        self._sent: deque[float] = deque(maxlen=_GROUP_MESSAGES)
        self._not_before_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """Seconds to wait at an instant of a clock that never goes back."""
        due = self._not_before_s
        if self._sent:
            due = max(due, self._sent[-1] + _GAP_S)
        if self._is_group and len(self._sent) == _GROUP_MESSAGES:
            due = max(due, self._sent[0] + _GROUP_S)
        return max(0.0, due - now_s)

    def note(self, now_s: float) -> None:
        """A request has ended, whatever came of it."""
        self._sent.append(now_s)

    def hold(self, until_s: float) -> None:
        """Telegram asks for silence until then."""
        self._not_before_s = max(self._not_before_s, until_s)


class TelegramMessenger:
    """`greenlight.ports.Messenger`; safe to share between threads, which take turns.

    Parameters
    ----------
    token : str
        The bot's; reaches no log.
    chat : str
        Where alerts go; a group's id is negative.
    base_url : str
        The Bot API, or a server that speaks it.
    read_timeout_s : float
        Longest wait for an answer; a message that was cut off may have arrived.
    """

    def __init__(
        self,
        *,
        token: str,
        chat: str,
        base_url: str = TELEGRAM,
        monotonic: Callable[[], float],
        sleep: Sleep,
        read_timeout_s: float = 5.0,
    ) -> None:
        self._token = token
        self._chat = chat
        self._monotonic = monotonic
        self._sleep = sleep
        self._read_timeout_s = read_timeout_s
        self._paces: dict[str, ChatPace] = {}
        self._turn = threading.Lock()
        self._offset: int | None = None
        self._bot = Bot(
            token,
            base_url=f"{base_url.rstrip('/')}/bot",
            request=HTTPXRequest(connection_pool_size=4, read_timeout=read_timeout_s),
            get_updates_request=HTTPXRequest(connection_pool_size=1),
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="telegram", daemon=True)
        self._thread.start()

    def send(self, message: Message) -> Delivery:
        """See `Messenger.send`."""
        chat = message.chat or self._chat
        with self._turn:
            pace = self._paces.setdefault(chat, ChatPace(is_group=chat.startswith("-")))
            wait_s = pace.wait_s(self._monotonic())
            if wait_s:
                self._sleep(wait_s)
            try:
                found = self._sent(chat, message, is_html=True)
            finally:
                pace.note(self._monotonic())
            if isinstance(found, NotDelivered):
                pace.hold(self._monotonic() + found.again_after_s)
        if not isinstance(found, Delivered):
            logger.warning("not told: %s", found, extra={"action": "telegram"})
        return found

    def is_answering(self) -> bool:
        """See `Messenger.is_answering`."""
        try:
            self._await(self._bot.get_me())
        except TelegramError:
            return False
        return True

    def asked(self, wait_s: float) -> list[Asked]:
        """See `Messenger.asked`; another reader of the same bot is waited out."""
        wait = timedelta(seconds=wait_s)
        try:
            updates = self._await(
                self._bot.get_updates(
                    offset=self._offset,
                    timeout=wait,
                    read_timeout=wait_s + self._read_timeout_s,
                    allowed_updates=[Update.MESSAGE, Update.CALLBACK_QUERY],
                )
            )
        except Conflict:
            logger.warning("another reader holds this bot", extra={"action": "telegram"})
            self._sleep(_CONFLICT_S)
            return []
        except TelegramError as error:
            logger.warning("nothing read: %s", self._said(error), extra={"action": "telegram"})
            self._sleep(_AGAIN_S)
            return []
        found = []
        for update in updates:
            self._offset = update.update_id + 1
            asked = _asked(update)
            if asked is not None:
                found.append(asked)
        return found

    def settle(self, query: str, text: str) -> None:
        """See `Messenger.settle`; one that is too old is let go."""
        try:
            self._await(self._bot.answer_callback_query(query, text[:200]))
        except TelegramError as error:
            logger.warning("not settled: %s", self._said(error), extra={"action": "telegram"})

    def close(self) -> None:
        """See `Messenger.close`."""
        if self._loop.is_running():
            self._await(_shut(self._bot))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)
            self._loop.close()

    def _sent(self, chat: str, message: Message, *, is_html: bool) -> Delivery:
        text = message.text if is_html else plain(message.text)
        mode = ParseMode.HTML if is_html else None
        keys = [[InlineKeyboardButton(name, callback_data=data) for name, data in message.buttons]]
        markup = InlineKeyboardMarkup(keys) if message.buttons else None
        try:
            if message.png is None:
                sent = self._await(
                    self._bot.send_message(
                        chat,
                        text,
                        parse_mode=mode,
                        disable_notification=message.is_silent,
                        reply_markup=markup,
                        disable_web_page_preview=True,
                    )
                )
            else:
                sent = self._await(
                    self._bot.send_photo(
                        chat,
                        message.png,
                        caption=text,
                        parse_mode=mode,
                        disable_notification=message.is_silent,
                        filename="report.png",
                    )
                )
        except BadRequest as error:
            if is_html and "parse entities" in error.message:
                return self._sent(chat, message, is_html=False)
            return Refused(reason=self._said(error))
        except TelegramError as error:
            return self._failed(error)
        return Delivered(message_id=str(sent.message_id))

    def _failed(self, error: TelegramError) -> Delivery:
        said = self._said(error)
        if isinstance(error, RetryAfter):
            after = error.retry_after
            seconds = after.total_seconds() if isinstance(after, timedelta) else float(after)
            return NotDelivered(reason=said, again_after_s=seconds)
        if isinstance(error, InvalidToken | Forbidden):
            return NotDelivered(reason=said, again_after_s=_LOCKED_OUT_S)
        if isinstance(error, Conflict):
            return NotDelivered(reason=said, again_after_s=_CONFLICT_S)
        cause = error.__cause__
        # An answer of a gateway (5xx) has no cause and says that nobody took it.
        is_cut = isinstance(error, TimedOut) or cause is not None
        if isinstance(error, NetworkError) and is_cut and not isinstance(cause, _NEVER_SENT):
            return Doubtful(reason=said)
        return NotDelivered(reason=said, again_after_s=_AGAIN_S)

    def _said(self, error: TelegramError) -> str:
        return str(error).replace(self._token, "***")

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _shut(bot: Bot) -> None:
    for request in bot._request:
        await request.shutdown()


def _asked(update: Update) -> Asked | None:
    query, message = update.callback_query, update.message
    if query is not None:
        place = query.message
        if place is None or query.data is None:
            return None
        return Asked(
            chat=str(place.chat.id),
            user=str(query.from_user.id),
            text=query.data,
            at=datetime.now(UTC),
            query=query.id,
        )
    if message is None or message.text is None:
        return None
    user = message.from_user
    return Asked(
        chat=str(message.chat.id),
        user="" if user is None else str(user.id),
        text=message.text,
        at=message.date,
    )
