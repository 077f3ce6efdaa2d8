"""What the twin of a desk is told, and the history of a replay without its exchange."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from cluster.backtest_input import open_history
from cluster.processes import StartError
from cluster.source_history import SourceHistory
from cluster.twin_input import can_read_again, nightly_twin, told_desk
from greenlight.domain.audit import Decision, DecisionKind, Verdict
from greenlight.domain.market import eastern_midnight, session_on
from greenlight.ports import Run
from greenlight.settings import load_settings
from greenlight.testing import FakeNotifier, FakeStore

DAY = date(2008, 1, 15)
RUN = Run(
    run_id="r1",
    started_at=eastern_midnight(DAY),
    account_kind="replay",
    account_number="PA",
    source="bokeh",
    is_synthetic=True,
    start_cash_usd=Decimal(100_000),
    fingerprint="own",
)


def test_told_when_a_language_model_read_the_news_then_refused_in_one_line() -> None:
    settings = load_settings(sentiment="ollama", strategies="news_reversal")
    with pytest.raises(StartError, match="cannot read the news again as ollama did"):
        told_desk(settings, FakeStore(), RUN, None)
    assert not can_read_again(settings, is_replay=True)


def test_told_when_strategies_decide_on_days_then_one_minute_a_session_is_enough() -> None:
    daily = told_desk(load_settings(strategies="mean_reversion"), FakeStore(), RUN, None)
    minutely = told_desk(load_settings(strategies="opening_range"), FakeStore(), RUN, None)
    assert (daily.every_minute, minutely.every_minute) == (False, True)
    assert set(daily.symbols) == {"AAPL", "FB", "GOOG", "IBM", "MSFT"}


def test_bars_when_asked_of_a_source_then_those_of_the_window_and_their_days_add_up() -> None:
    history = SourceHistory(open_history("bokeh"))
    session = session_on(DAY)
    assert session is not None
    start, end = eastern_midnight(DAY), eastern_midnight(DAY + timedelta(days=1))
    minutes = history.bars(["AAPL", "FB"], "1Min", start, end)
    days = history.bars(["AAPL"], "1Day", start - timedelta(days=4), end)["AAPL"]
    assert minutes["FB"] == []  # listed in 2012
    own = minutes["AAPL"]
    assert len(own) == session.minutes
    assert (own[0].start, own[-1].end) == (session.open, session.close)
    assert [bar.end.date() for bar in days] == [date(2008, 1, 11), date(2008, 1, 14), DAY]
    assert days[-1].high == max(bar.high for bar in own)
    assert days[-1].close == own[-1].close
    noon = datetime(2008, 1, 15, 17, tzinfo=session.open.tzinfo)
    assert history.bars(["AAPL"], "1Min", noon, end)["AAPL"][0].start == noon


def test_nightly_when_a_decision_has_no_equal_then_stored_and_told_and_once_only() -> None:
    store, notifier = FakeStore(), FakeNotifier()
    store.start_run(RUN)
    session = session_on(DAY)
    assert session is not None
    store.record_decision(
        Decision(
            decision_id="made-up",
            at=session.open,
            kind=DecisionKind.ENTRY,
            verdict=Verdict.REFUSED,
            symbol="AAPL",
            strategy="mean_reversion",
            reason="not_halted",
            figures={},
        )
    )
    settings = load_settings(strategies="mean_reversion", sentiment="none")
    compare = nightly_twin(settings, store, None, notifier, "own")
    for _ in range(2):
        compare(session.close + timedelta(minutes=5))
    (outcome,) = store.twins(DAY, DAY)
    assert (outcome.decisions, outcome.fingerprint, outcome.is_equal) == (1, "own", False)
    assert [one.decision_id for one in outcome.differences] == ["made-up"]
    (told,) = notifier.alerts
    assert "1 decisions of 2008-01-15 have no equal" in told
