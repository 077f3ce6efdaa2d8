"""What every process of one desk must know, as plain values that travel to any node.

Made once by the launcher; read by `wiring`. It imports nothing of the desk, so
that unpickling it in a position monitor loads nothing either.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

NAMESPACE = "greenlight"
"""Ray namespace of the desk's actors."""
ALPACA_TRADING = "https://paper-api.alpaca.markets"
ALPACA_DATA = "https://data.alpaca.markets"
EXCHANGE_KEY = "PAPER"
EXCHANGE_SECRET = "paper-exchange"
"""Credentials of the paper exchange, which serves this machine alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskConfig:
    """Addresses, credentials and the settings as JSON. `start_at` is aware UTC.

    `control_url` is set for a lockstep replay and only then. `is_replay` says
    that time comes from events, `wants_minutes` that a strategy takes every minute.
    `log_folder` takes a log file of each actor; None: standard error alone.
    `desk_epoch` is the term of office that this desk took at its start.
    `wants_reporter` says that somebody is to be told by message or on the console.
    `halt_file` is the file whose presence halts entries, on the machine of the risk gate.
    """

    desk: str
    database_url: str
    redis_url: str | None
    trading_url: str
    data_url: str
    data_stream_url: str
    trade_stream_url: str
    control_url: str | None
    is_replay: bool
    key_id: str
    secret_key: str = field(repr=False)
    request_deadline_s: float
    symbols: tuple[str, ...]
    start_at: datetime
    settings_json: str
    wants_minutes: bool = False
    log_folder: str | None = None
    halt_file: str | None = None
    desk_epoch: int | None = None
    store_deadline_s: float = 5.0
    wants_reporter: bool = False
    telegram_token: str | None = field(default=None, repr=False)
