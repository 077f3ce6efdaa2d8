"""Logs as JSON lines: one record a line, each secret masked.

Every process of the desk calls `log_as_json` first. A line has `at` (UTC ISO),
`level`, `logger`, `process`, `message`, and every `extra` field: `action`, and
`correlation_id` from a signal to the last fill of the position that it opened.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

from cluster.desk_config import DeskConfig

MASK: Final = "***"
_OURS: Final = ("actors", "cluster", "dashboard", "greenlight", "jobs")
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_FILE_BYTES: Final = 10_000_000
_FILES: Final = 3


class Masker:
    """Takes secrets out of texts, as they are and as URLs, JSON and `repr` write them."""

    def __init__(self, secrets: Collection[str]) -> None:
        written = {
            form
            for secret in secrets
            if secret
            for form in (
                secret,
                quote(secret, safe=""),
                json.dumps(secret)[1:-1],
                repr(secret)[1:-1],
            )
        }
        # The longest first: one secret may contain another.
        self._written = sorted(written, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text without any secret."""
        for secret in self._written:
            text = text.replace(secret, MASK)
        return text

    def value(self, value: object) -> Any:
        """A value as JSON has it, its texts without any secret."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in value]
        return self.text(str(value))


class JsonFormatter(logging.Formatter):
    """One record as one line of JSON.

    Parameters
    ----------
    process : str
        Who writes: an actor's name, "desk" or "exchange".
    secrets : Collection[str]
        Texts that never reach a log.
    """

    def __init__(self, *, process: str, secrets: Collection[str]) -> None:
        super().__init__()
        self._process = process
        self._masker = Masker(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            # Arguments that do not fit are the caller's mistake; the line still counts.
            message = str(record.msg)
        # Ray puts marks of its own on every record, under names with an underscore.
        extra = {
            key: value
            for key, value in vars(record).items()
            if key not in _STANDARD and not key.startswith("_")
        }
        row: dict[str, object] = {
            **extra,
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": self._process,
            "message": message,
        }
        if record.exc_info:
            row["exception"] = self.formatException(record.exc_info)
        order = ("at", "level", "logger", "process", "message")
        row = {key: row[key] for key in order} | {k: v for k, v in row.items() if k not in order}
        return json.dumps(self._masker.value(row), ensure_ascii=False)


def secrets_of(config: DeskConfig) -> tuple[str, ...]:
    """What must not be logged: the broker's key and the passwords in addresses."""
    found = [config.secret_key, config.key_id, *filter(None, [config.telegram_token])]
    for url in (config.database_url, config.redis_url):
        found += passwords_in(url)
    return tuple(found)


def passwords_in(url: str | None) -> tuple[str, ...]:
    """Passwords in an address, as written and decoded."""
    if url is None:
        return ()
    parts = urlsplit(url)
    found = [parts.password, *parse_qs(parts.query).get("password", [])]
    return tuple({form for text in found if text for form in (text, unquote(text))})


def log_file(folder: Path, process: str) -> Path:
    """Where a process writes its lines."""
    return folder / f"{re.sub('[^A-Za-z0-9.-]', '-', process)}.jsonl"


def log_as_json(
    *,
    process: str,
    secrets: Collection[str],
    folder: Path | None,
    stderr_level: int = logging.INFO,
) -> None:
    """Send this process's log to its file (rotated at 10 MB, three kept) and standard error.

    Parameters
    ----------
    process, secrets
        See `JsonFormatter`.
    folder : Path | None
        Takes the file; None, or one that cannot be written, leaves standard error alone.
    stderr_level : int
        Least level on standard error.
    """
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(stderr_level)
    handlers: list[logging.Handler] = [console]
    problem: OSError | None = None
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handlers.append(
                RotatingFileHandler(
                    log_file(folder, process),
                    maxBytes=_FILE_BYTES,
                    backupCount=_FILES,
                    encoding="utf-8",
                )
            )
        except OSError as error:
            # Another machine of the cluster may not have the folder.
            problem = error
    formatter = JsonFormatter(process=process, secrets=secrets)
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    # A record that cannot be written is not shown either: it could hold a secret.
    logging.raiseExceptions = False
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.INFO)
    if problem is not None:
        logging.getLogger(__name__).warning("no log file: %s", problem, extra={"action": "log"})
