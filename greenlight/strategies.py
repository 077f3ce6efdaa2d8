"""Which strategies there are, by name: the built-in ones and those plugged in.

Decided here: how a name in the settings becomes a strategy. Before it stand
the settings; after it the strategist. A package plugs one in by an entry point
of the group `greenlight.strategies` (name = class); its class is made with
what `strategy_params` says under its name. `greenlight new-strategy` writes one.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from greenlight.domain.mean_reversion import MeanReversion
from greenlight.domain.news_reversal import NewsReversal
from greenlight.domain.opening_range import OpeningRange
from greenlight.domain.signals import Strategy
from greenlight.settings import Settings, SettingsError

GROUP: Final = "greenlight.strategies"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_TIMEFRAMES: Final = ("1Min", "1Day")
_HINT: Final = "GREENLIGHT_STRATEGIES"


def _mean_reversion(settings: Settings) -> Strategy:
    return MeanReversion(
        timeframe=settings.timeframe,
        period=settings.rsi_period,
        oversold=settings.rsi_oversold,
        trend_period=settings.trend_period,
        trend_slack_frac=settings.trend_slack_frac,
        max_atr_frac=settings.max_atr_frac,
        stop_frac=settings.stop_frac,
        target_frac=settings.target_frac,
        hold_sessions=settings.hold_sessions,
    )


def _news_reversal(settings: Settings) -> Strategy:
    return NewsReversal(
        timeframe=settings.news_timeframe,
        volatility_bars=settings.news_volatility_bars,
        fall_bars=settings.news_fall_bars,
        min_sigmas=settings.news_fall_sigmas,
        max_score=settings.news_max_score,
        turn_bars=settings.news_turn_bars,
        stop_frac=settings.stop_frac,
        target_frac=settings.target_frac,
        hold_sessions=settings.hold_sessions,
    )


def _opening_range(settings: Settings) -> Strategy:
    return OpeningRange(
        range_minutes=settings.range_minutes,
        volume_factor=settings.range_volume_factor,
        last_entry_minutes=settings.range_last_entry_minutes,
        target_risks=settings.range_target_risks,
        hold_sessions=settings.range_hold_sessions,
    )


BUILT_IN: Final[Mapping[str, Callable[[Settings], Strategy]]] = {
    "mean_reversion": _mean_reversion,
    "news_reversal": _news_reversal,
    "opening_range": _opening_range,
}


def plugged_in() -> dict[str, EntryPoint]:
    """The entry points of installed packages, by name; nothing of theirs is imported."""
    return {point.name: point for point in entry_points(group=GROUP)}


def build_strategies(settings: Settings) -> tuple[Strategy, ...]:
    """Make the strategies that the settings name, in their order.

    Raises
    ------
    SettingsError
        One line: a name is unknown or twice there, or a class cannot be made.
    """
    names = settings.strategies
    if not names or len(set(names)) < len(names):
        raise SettingsError(f"{_HINT}: name each strategy once, not {', '.join(names) or 'none'}")
    found = plugged_in()
    unknown = [name for name in settings.strategy_params if name not in found]
    if unknown:
        raise SettingsError(
            f"GREENLIGHT_STRATEGY_PARAMS: {', '.join(unknown)} is not plugged in; "
            "built-in strategies have settings of their own"
        )
    return tuple(_build(name, settings, found) for name in names)


def plugged_in_hash(settings: Settings) -> str:
    """SHA-256 of the plugged-in strategies' own modules; empty where all are built in."""
    found = plugged_in()
    names = sorted(name for name in settings.strategies if name not in BUILT_IN)
    sources = [inspect.getsource(import_module(found[name].module)) for name in names]
    return hashlib.sha256("".join(sources).encode()).hexdigest() if sources else ""


def _build(name: str, settings: Settings, found: Mapping[str, EntryPoint]) -> Strategy:
    if name in BUILT_IN:
        return BUILT_IN[name](settings)
    if name not in found:
        there = ", ".join([*BUILT_IN, *sorted(set(found) - set(BUILT_IN))])
        raise SettingsError(f"{_HINT}: no strategy {name!r}; there are {there}")
    try:
        strategy: Strategy = found[name].load()(**settings.strategy_params.get(name, {}))
        said = (strategy.name, strategy.timeframe, strategy.warmup_bars)
        length = len(strategy.new_state())
    except Exception as error:
        # Whatever somebody else's code raises, the person reads one line.
        text = " ".join(str(error).split())
        raise SettingsError(f"{_HINT}: {name}: {type(error).__name__}: {text}") from error
    if said[0] != name or _NAME.fullmatch(name) is None:
        raise SettingsError(f"{_HINT}: {name}: the class calls itself {said[0]!r}")
    if said[1] not in _TIMEFRAMES or not isinstance(said[2], int) or said[2] < 0 or length == 0:
        raise SettingsError(f"{_HINT}: {name}: timeframe {said[1]!r}, warmup_bars {said[2]!r}")
    return strategy
