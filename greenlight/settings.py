"""Settings: read once at the entry point, frozen, validated.

Every one comes from the environment as ``GREENLIGHT_<NAME>`` (secrets under
their vendors' names) or keeps its default. What a limit means, its unit and
its source stand beside it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSetting

from greenlight.domain.alerts import CRITICAL, Event, Loudness
from greenlight.domain.desk_state import MAX_RISK_FRAC, RiskLimits
from greenlight.domain.execution import EntryPolicy
from greenlight.domain.gate import ReadinessPolicy
from greenlight.domain.gate_policy import policy_of

_DECISIVE: Final = (
    "strategies",
    "strategy_params",
    "strategy_deadline_s",
    "timeframe",
    "rsi_period",
    "rsi_oversold",
    "trend_period",
    "trend_slack_frac",
    "max_atr_frac",
    "news_timeframe",
    "news_volatility_bars",
    "news_fall_bars",
    "news_fall_sigmas",
    "news_max_score",
    "news_turn_bars",
    "range_minutes",
    "range_volume_factor",
    "range_last_entry_minutes",
    "range_target_risks",
    "range_hold_sessions",
    "sentiment",
    "sentiment_window_h",
    "sentiment_model",
    "sentiment_weight",
    "sentiment_half_life_h",
    "stop_frac",
    "target_frac",
    "hold_sessions",
    "entry_timeout_s",
    "entry_reprices",
    "entry_reprice_after_s",
    "act_on_scores",
    "sectors",
    "gate",
)
"""The settings that a decision depends on, besides the limits."""
_LIMITS: Final = tuple(
    field.name
    for field in fields(RiskLimits)
    if field.name not in {"max_quote_age_s", "max_spread_frac", "entry_slack_bps"}
)
"""The chain's limits that can be set; each is a setting of the same name."""


class SettingsError(ValueError):
    """A bad setting: one line that names it and says how to mend it."""


class Settings(BaseSettings):
    """Everything the desk can be told. US dollars, seconds and fractions as named."""

    model_config = SettingsConfigDict(
        env_prefix="GREENLIGHT_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    home: Path = Field(
        default=Path(".greenlight"), description="Folder of everything the desk keeps."
    )
    desk: str = Field(
        default="desk",
        pattern=r"^[A-Za-z0-9]{1,16}$",
        description="Name of this desk; part of every client_order_id.",
    )

    # -- where things are
    database_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL"),
        description="PostgreSQL or TimescaleDB; none: an embedded PostgreSQL.",
    )
    redis_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("REDIS_URL"),
        description="Redis; none: an embedded one where a binary is found.",
    )
    api_key_id: str | None = Field(
        default=None,
        validation_alias=AliasChoices("APCA_API_KEY_ID"),
        description="Alpaca key id; none: the paper exchange.",
    )
    api_secret_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("APCA_API_SECRET_KEY"),
        description="Alpaca secret; never logged.",
    )

    # -- replay
    source: str = Field(
        default="bokeh",
        description="What the paper exchange replays: bokeh, lean:FOLDER or csv:FOLDER.",
    )
    start: date = Field(default=date(2008, 1, 2), description="First session of the replay.")
    end: date = Field(default=date(2009, 12, 31), description="Last day of the replay.")
    speed: float | None = Field(
        default=None, gt=0, description="N times real time; none: in lockstep with the desk."
    )
    partial_fill_probability: float = Field(
        default=0.1, ge=0, le=1, description="Share of fills in two parts; Alpaca paper's is 0.1."
    )
    headlines: Literal["none", "synthetic"] = Field(
        default="none",
        description="Headlines the paper exchange makes up from its prices, marked so.",
    )
    start_cash_usd: float = Field(default=100_000, gt=0, description="Cash of a new paper account.")

    # -- what is traded
    symbols: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Symbols traded; none: all that the source has."
    )
    strategies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("mean_reversion",),
        description="Strategies at work: mean_reversion, news_reversal, opening_range, or "
        "plugged-in ones.",
    )
    strategy_params: dict[str, dict[str, Any]] = Field(
        default={}, description='Of plugged-in strategies, as JSON: {"name": {"field": value}}.'
    )
    strategy_deadline_s: float = Field(
        default=1.0, gt=0, le=60, description="A strategy's step that took longer is not acted on."
    )
    stop_frac: float = Field(
        default=0.05, gt=0, le=0.05, description="Hard stop below the entry; at most 5% (seeds)."
    )
    target_frac: float = Field(
        default=0.05, gt=0, le=1, description="Target above the entry; as far as the stop."
    )
    hold_sessions: int = Field(
        default=3, ge=1, le=3, description="Sessions a position is held at most (seeds: 1 to 3)."
    )

    # -- mean_reversion
    timeframe: Literal["1Min", "1Day"] = Field(
        default="1Day", description="Bars that mean_reversion decides on."
    )
    rsi_period: int = Field(default=14, ge=2, le=200, description="Bars (Wilder 1978).")
    rsi_oversold: float = Field(default=30, gt=0, lt=100, description="RSI points (Wilder 1978).")
    trend_period: int = Field(
        default=200, ge=0, le=400, description="Bars of the trend's average (Connors); 0: no trend."
    )
    trend_slack_frac: float = Field(
        default=0.10, ge=0, lt=1, description="How far below the trend it still buys (ours)."
    )
    max_atr_frac: float = Field(
        default=0.08, ge=0, le=1, description="ATR over price at most (ours); 0: no limit."
    )

    # -- news_reversal
    news_timeframe: Literal["1Min", "1Day"] = Field(
        default="1Day", description="Bars that news_reversal decides on."
    )
    news_volatility_bars: int = Field(
        default=20, ge=2, le=390, description="Bars of its rolling volatility (a month of days)."
    )
    news_fall_bars: int = Field(default=1, ge=1, le=60, description="Bars of the fall.")
    news_fall_sigmas: float = Field(
        default=2.0, gt=0, le=10, description="Volatilities that make a fall sharp (5% tail)."
    )
    news_max_score: float = Field(
        default=-0.05, ge=-1, lt=0, description="Score of bad news (Hutto & Gilbert 2014)."
    )
    news_turn_bars: int = Field(
        default=5, ge=1, le=390, description="Bars within which the turn must come (a week)."
    )

    # -- opening_range
    range_minutes: int = Field(
        default=30, ge=1, le=120, description="Minutes of the opening range (seeds)."
    )
    range_volume_factor: float = Field(
        default=1.0, gt=0, le=100, description="Breaking minute's volume over the range's mean."
    )
    range_last_entry_minutes: int = Field(
        default=90, ge=15, le=360, description="No entry so many minutes before the close."
    )
    range_target_risks: float = Field(
        default=2.0, gt=0, le=20, description="Target's distance in distances of the stop."
    )
    range_hold_sessions: int = Field(
        default=0, ge=0, le=1, description="0: leaves before the close; 1: a session later."
    )

    # -- news
    sentiment: Literal["none", "lexicon", "ollama"] = Field(
        default="none",
        description="What reads the news: nothing, the VADER lexicon, or a model on Ollama.",
    )
    sentiment_window_h: float = Field(
        default=72, gt=0, le=240, description="Hours of headlines in a reading (a weekend)."
    )
    ollama_host: str | None = Field(
        default=None,
        validation_alias=AliasChoices("OLLAMA_HOST"),
        description="Address of the Ollama server; none: this machine's, on port 11434.",
    )
    sentiment_model: str = Field(
        default="llama3.1:8b", min_length=1, description="Its model, as Ollama names it."
    )
    sentiment_weight: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="What the model's scores count; 0 until 'greenlight sentiment report' "
        "finds that they help.",
    )
    sentiment_half_life_h: float = Field(
        default=24, gt=0, le=240, description="Hours in which a reading halves (a day; ours)."
    )
    sentiment_deadline_s: float = Field(
        default=15, gt=0, le=120, description="Longest wait for the rating of a headline (ours)."
    )
    sentiment_parallel: int = Field(
        default=4, ge=1, le=32, description="Headlines rated side by side (Ollama's default)."
    )
    sentiment_queue: int = Field(
        default=500, ge=1, le=10_000, description="Headlines that may wait; then the oldest go."
    )
    sentiment_gpu_frac: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of a GPU that Ray keeps for the model; 0: it runs on the CPU.",
    )
    sentiment_serve: bool = Field(
        default=False,
        description="Run 'ollama serve' where the model is placed, instead of finding one there.",
    )

    # -- limits
    risk_frac: float = Field(
        default=MAX_RISK_FRAC,
        gt=0,
        le=MAX_RISK_FRAC,
        description="Equity at risk a trade; at most 2% (seeds).",
    )
    base_risk_frac: float = Field(
        default=MAX_RISK_FRAC,
        gt=0,
        le=MAX_RISK_FRAC,
        description="The same until enough trades in a row were won; live starts at 1% (seeds).",
    )
    winners_to_raise: int = Field(
        default=10,
        ge=10,
        description="Trades won in a row that raise the risk to GREENLIGHT_RISK_FRAC (seeds).",
    )
    atr_multiple: float = Field(
        default=2.0, gt=0, le=10, description="ATRs that sizing allows for (common practice)."
    )
    max_positions: int = Field(default=5, ge=1, le=5, description="At most 5 (seeds).")
    max_weight_frac: float = Field(
        default=0.20, gt=0, le=1, description="Cost of a position over equity (a fifth)."
    )
    max_sector_frac: float = Field(
        default=0.60,
        gt=0,
        le=1,
        description="Cost of a sector's positions over equity (three fifths: three positions).",
    )
    max_daily_loss_usd: float = Field(
        default=500,
        gt=0,
        le=500,
        description="Loss since the last close, in US dollars, that halts for 24 h (seeds).",
    )
    max_drawdown_frac: float = Field(
        default=0.10,
        gt=0,
        le=0.10,
        description="Fall below the 30-day high that halts until a person resumes (seeds).",
    )
    max_correlation: float = Field(
        default=0.8,
        gt=0,
        le=0.8,
        description="Of 60 daily returns, with any open position (seeds).",
    )
    max_entries_a_minute: int = Field(
        default=10, ge=1, le=60, description="Entries in a rolling minute (twice the positions)."
    )
    max_entries_an_hour: int = Field(
        default=30, ge=1, le=200, description="Entries in a rolling hour (six times the positions)."
    )
    max_price_move_frac: float = Field(
        default=0.20,
        gt=0,
        le=0.20,
        description="Ask against the price that the strategy saw; at most 20%, as for quotes.",
    )
    sectors: Annotated[dict[str, str], NoDecode] = Field(
        default={},
        description="Sectors over those of the built-in table: AAPL=Information Technology,…",
    )
    entry_timeout_s: float = Field(
        default=300, gt=0, description="An entry's rest is cancelled after this (5 minutes)."
    )
    entry_reprices: int = Field(
        default=2, ge=0, le=5, description="How often a resting entry is priced again (ours)."
    )
    entry_reprice_after_s: float | None = Field(
        default=None,
        gt=0,
        description="Wait before each repricing; none: the entry's time in equal parts (ours).",
    )
    entry_chase_bps: float = Field(
        default=20.0,
        gt=0,
        le=100,
        description="How far above an entry's first limit it may be repriced (ours).",
    )
    act_on_scores: bool = Field(
        default=False,
        description="Leave a position whose score says EXIT, once a session at the open.",
    )
    request_deadline_s: float = Field(
        default=5, gt=0, le=60, description="Longest wait for the broker; alpaca-py has none."
    )
    store_deadline_s: float = Field(
        default=5,
        ge=1,
        le=60,
        description="Longest wait for one statement of the desk's in the store (ours).",
    )

    # -- telling a person
    telegram_bot_token: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("TELEGRAM_BOT_TOKEN"),
        description="Of the bot that tells you; none: console and page. Never logged.",
    )
    telegram_chat_id: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        validation_alias=AliasChoices("TELEGRAM_CHAT_ID"),
        description="Chat that alerts go to; further ones, after commas, may give commands.",
    )
    telegram_url: str = Field(
        default="https://api.telegram.org", description="The Bot API, or a server that speaks it."
    )
    telegram_replays: bool = Field(
        default=False, description="Tell of a replay in lockstep too; without it they stay quiet."
    )
    alerts: Annotated[dict[Event, Loudness], NoDecode] = Field(
        default={},
        description="How loud an event is, on, silent or off: position_opened=off,trouble=silent.",
    )
    milestone_usd: float = Field(
        default=1000, gt=0, description="Each so much of net P&L since the start is told (ours)."
    )

    # -- the gate
    gate: dict[str, float] = Field(
        default={},
        description='Stricter thresholds of the gate, as JSON: {"alpha": 0.01}; none is looser '
        "than the seeds', and loosening one again takes 7 days.",
    )

    # -- ports, all on loopback; 0 is any free one
    dashboard_port: int = Field(default=8501, ge=0, le=65535, description="Streamlit.")
    ray_dashboard_port: int = Field(default=8265, ge=0, le=65535, description="Ray's dashboard.")
    health_port: int = Field(
        default=8600, ge=0, le=65535, description="Health: /healthz, /readyz, /metrics."
    )
    exchange_port: int = Field(default=8700, ge=0, le=65535, description="The paper exchange.")

    @field_validator("symbols", mode="before")
    @classmethod
    def _split_symbols(cls, value: object) -> object:
        return _listed(value.upper()) if isinstance(value, str) else value

    @field_validator("strategies", mode="before")
    @classmethod
    def _split_strategies(cls, value: object) -> object:
        return _listed(value.lower()) if isinstance(value, str) else value

    @field_validator("telegram_chat_id", mode="before")
    @classmethod
    def _split_chats(cls, value: object) -> object:
        chats = _listed(value) if isinstance(value, str) else value
        if isinstance(chats, tuple) and not all(c.removeprefix("-").isdigit() for c in chats):
            raise ValueError("write chat ids, whole numbers, separated by commas")
        return chats

    @field_validator("alerts", mode="before")
    @classmethod
    def _split_alerts(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in _listed(value.lower())]
        return {event.strip(): loud.strip() for event, _, loud in pairs}

    @field_validator("alerts")
    @classmethod
    def _keep_criticals(cls, value: dict[Event, Loudness]) -> dict[Event, Loudness]:
        quiet = [event.value for event in value if event in CRITICAL]
        if quiet:
            raise ValueError(f"{', '.join(quiet)} is critical and always sent")
        return value

    @field_validator("sectors", mode="before")
    @classmethod
    def _split_sectors(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        if any(not (symbol.strip() and sector.strip()) for symbol, _, sector in pairs):
            raise ValueError("write SYMBOL=Sector,SYMBOL=Sector")
        return {symbol.strip().upper(): sector.strip() for symbol, _, sector in pairs}

    @field_validator("gate")
    @classmethod
    def _check_gate(cls, value: dict[str, float]) -> dict[str, float]:
        policy_of(value)
        return value

    def readiness_policy(self) -> ReadinessPolicy:
        """The thresholds of the gate that are asked for."""
        return policy_of(self.gate)

    def limits(self) -> RiskLimits:
        """The risk chain's limits."""
        return RiskLimits(**{name: getattr(self, name) for name in _LIMITS})

    def entry_policy(self) -> EntryPolicy:
        """How a resting entry is worked."""
        after_s = self.entry_reprice_after_s
        return EntryPolicy(
            timeout_s=self.entry_timeout_s,
            reprices=self.entry_reprices,
            reprice_after_s=after_s or self.entry_timeout_s / (self.entry_reprices + 1),
        )

    def fingerprint(self) -> str:
        """SHA-256 of what a decision depends on: strategies, parameters and limits."""
        values = {name: getattr(self, name) for name in (*_DECISIVE, *_LIMITS)}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def load_settings(**overrides: object) -> Settings:
    """Read the environment and `.env`, with the command line's values over them.

    Raises
    ------
    SettingsError
        A value is not allowed; the message names the variable and the rule.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        settings = Settings(**given)  # type: ignore[arg-type]
    except UnreadableSetting as error:
        # The two settings that are read as JSON.
        if '"gate"' in str(error):
            raise SettingsError('GREENLIGHT_GATE: not JSON such as {"alpha": 0.01}') from None
        raise SettingsError(
            'GREENLIGHT_STRATEGY_PARAMS: not JSON such as {"my_strategy": {"bars": 20}}'
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "settings"
        vendor = {
            "database_url",
            "redis_url",
            "api_key_id",
            "api_secret_key",
            "telegram_bot_token",
            "telegram_chat_id",
            "ollama_host",
        }
        name = field if field in vendor or field.isupper() else f"GREENLIGHT_{field.upper()}"
        is_secret = field.lower() in {"api_secret_key", "telegram_bot_token"}
        said = "" if is_secret else f" (given: {first.get('input')!r})"
        raise SettingsError(f"{name}: {first['msg']}{said}") from None
    if settings.start > settings.end:
        raise SettingsError(
            f"GREENLIGHT_START {settings.start} is after GREENLIGHT_END {settings.end}; swap them"
        )
    return settings
