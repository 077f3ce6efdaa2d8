"""What a twin is told: the settings, history and news of the desk that it decides after.

Before it stand the settings and the history that the desk saw; after it the command
and the nightly work, which run the twin.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import partial
from typing import Final

from actors.twin import TwinDesk, decide_again
from cluster.backtest_input import open_history
from cluster.processes import StartError
from cluster.source_history import SourceHistory, headlines_between
from greenlight.adapters.no_sentiment import NoSentiment
from greenlight.adapters.sector_table import sector_table
from greenlight.domain.market import eastern_date
from greenlight.ports import MarketData, Notifier, Run, SentimentModel, Store
from greenlight.settings import Settings
from greenlight.strategies import build_strategies
from jobs.forecasts import ExpectedVolatility
from jobs.twin import recorded_sessions, run_twin

_BACK: Final = timedelta(days=7)
"""Sessions that no night has compared are looked for this far back."""


def told_desk(
    settings: Settings, store: Store, first: Run, market_data: MarketData | None
) -> TwinDesk:
    """What the recorded desk was told, from the settings it ran with.

    Parameters
    ----------
    first : Run
        The account's first.
    market_data : MarketData | None
        The history; None: that of the replay's source, whose exchange may be gone.

    Raises
    ------
    StartError
        What it read the news with cannot be asked again.
    """
    strategies = build_strategies(settings)
    history: SourceHistory | None = None
    symbols = settings.symbols
    if market_data is None:
        source = open_history(settings.source)
        market_data = history = SourceHistory(source)
        symbols = symbols or source.symbols
    return TwinDesk(
        desk=settings.desk,
        strategies=strategies,
        symbols=symbols,
        limits=settings.limits(),
        sectors=sector_table() | settings.sectors,
        execution=settings.entry_policy(),
        market_data=market_data,
        sentiment=_sentiment(settings, history, eastern_date(first.started_at)),
        forecast=ExpectedVolatility(store),
        every_minute=any(strategy.timeframe != "1Day" for strategy in strategies),
    )


def nightly_twin(
    settings: Settings,
    store: Store,
    market_data: MarketData | None,
    notifier: Notifier,
    fingerprint: str,
) -> Callable[[datetime], None]:
    """The nightly work of the twin: tonight's session, and the last ones that were missed."""

    def compare(now: datetime) -> None:
        first = store.first_run()
        if first is None:
            return
        today = eastern_date(now)
        known = {outcome.session for outcome in store.twins(today - _BACK, today)}
        days = {*recorded_sessions(store, max(first.started_at, now - _BACK), now), today}
        new = sorted(days - known)
        told = told_desk(settings, store, first, market_data)
        again = partial(decide_again, store, told)
        for outcome in run_twin(store, again, new, at=now, fingerprint=fingerprint):
            store.record_twin(outcome)
            if not outcome.is_equal:
                notifier.alert(
                    f"{len(outcome.differences)} decisions of {outcome.session} have no equal in "
                    f"their twin; see 'greenlight twin {outcome.session}'"
                )

    return compare


def can_read_again(settings: Settings, *, is_replay: bool) -> bool:
    """Whether a twin can be given what the desk read of the news."""
    return settings.sentiment == "none" or (settings.sentiment == "lexicon" and is_replay)


def _sentiment(settings: Settings, history: SourceHistory | None, start: date) -> SentimentModel:
    if settings.sentiment == "none":
        return NoSentiment()
    if history is None or not can_read_again(settings, is_replay=True):
        raise StartError(
            f"the twin cannot read the news again as {settings.sentiment} did; it can with "
            "GREENLIGHT_SENTIMENT none, and with lexicon on a replay"
        )
    from greenlight.adapters.lexicon import WaitingLexicon

    end = settings.end if settings.headlines == "synthetic" else start - timedelta(days=1)
    made = history.headlines(settings.start, end, seed=0)
    return WaitingLexicon(
        fetch=partial(headlines_between, made),
        symbols=settings.symbols,
        window=timedelta(hours=settings.sentiment_window_h),
    )
