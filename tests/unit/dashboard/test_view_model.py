from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache

import pytest

from dashboard import view_model
from dashboard.view_model import CurvePoint, Price
from greenlight.domain.cash import CashMoved
from greenlight.domain.forecasts import (
    Distribution,
    FitFlag,
    Model,
    VolatilityForecast,
    VolatilityScore,
)
from greenlight.domain.gate import Evaluation, State
from greenlight.domain.market import Unavailable
from greenlight.domain.positions import Position
from greenlight.domain.readiness import ReadinessPolicy
from greenlight.domain.trades import Trade
from greenlight.ports import Coverage, EquityMark
from greenlight.testing import FakeStore
from jobs.forecasts import AgedForecast
from jobs.readiness import evaluate_now
from tests.sample_desk import SampleDesk

AT = datetime(2008, 3, 4, 19, 31, tzinfo=UTC)


@cache
def evaluation() -> Evaluation:
    store = FakeStore()
    desk = SampleDesk(store, start=date(2008, 1, 2))
    desk.trade_until(date(2008, 1, 18))
    return evaluate_now(store, desk.now, ReadinessPolicy())


def held() -> Position:
    return Position(
        position_id="p1",
        symbol="IBM",
        strategy="a",
        qty=100,
        cost_usd=Decimal(10_000),
        realized_usd=Decimal(0),
        stop_price=Decimal(95),
        target_price=Decimal(105),
        opened_at=AT,
        exit_by=AT + timedelta(days=3),
    )


def mark(at: datetime, equity: float) -> EquityMark:
    return EquityMark(
        at=at,
        equity_usd=Decimal(str(equity)),
        cash_usd=Decimal(0),
        exposure_usd=Decimal(0),
        source="desk",
    )


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (1234.5, False, "$1,234.50"),
        (-12, False, "−$12.00"),
        (12, True, "+$12.00"),
        (-0.001, True, "$0.00"),
        (0, True, "$0.00"),
    ],
)
def test_money_when_written_then_dollars_with_a_sign(value: float, signed: bool, text: str) -> None:
    assert view_model.money(value, signed=signed) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0125, "+1.25%"), (-0.1, "−10.00%"), (0, "0.00%"), (-1e-9, "0.00%")]
)
def test_percent_when_written_then_it_carries_its_sign(value: float, text: str) -> None:
    assert view_model.percent(value) == text


def test_eastern_when_summer_time_begins_then_the_hour_follows_new_york() -> None:
    # US summer time began on 2008-03-09.
    assert view_model.eastern(AT) == "Tue Mar 4 2008, 14:31 ET"
    assert view_model.eastern(AT + timedelta(days=7)) == "Tue Mar 11 2008, 15:31 ET"
    assert view_model.utc(AT) == "2008-03-04 19:31:00 UTC"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "just now"),
        (59, "59 s ago"),
        (125, "2 min ago"),
        (7300, "2 h ago"),
        (90000, "1 day ago"),
        (200000, "2 days ago"),
    ],
)
def test_age_when_written_then_the_largest_unit_counts(seconds: int, text: str) -> None:
    assert view_model.age(timedelta(seconds=seconds)) == text


def test_lights_when_shaped_then_each_state_has_icon_and_word() -> None:
    seven = view_model.lights(evaluation())
    assert len(seven) == 7
    looks = {(view_model.LOOKS[s].icon, view_model.LOOKS[s].word) for s in State}
    assert len({icon for icon, _ in looks}) == len({word for _, word in looks}) == 4
    assert seven[0].look.word == "Not enough yet"
    # 9 of 30 trades is less than 16 of 30 days and 13 of 20 sessions.
    assert seven[0].progress == pytest.approx(9 / 30)
    assert seven[6].value == "—"
    assert seven[6].reason == "No stored walk-forward"


def test_outdated_when_the_store_is_away_then_no_light_stays_green() -> None:
    before = evaluation()
    assert State.GREEN in {c.state for c in before.criteria}
    after = view_model.outdated(before)
    assert State.GREEN not in {c.state for c in after.criteria}
    for one, other in zip(before.criteria, after.criteria, strict=True):
        assert other.state is (State.STALE if one.state is State.GREEN else one.state)


def test_badges_when_replayed_on_a_made_up_path_then_both_are_said() -> None:
    texts = [b.text for b in view_model.badges(evaluation())]
    assert texts == ["PAPER", "REPLAY, synthetic intraday path", "bokeh"]
    live = replace(evaluation(), account_kind="live", is_synthetic=False)
    assert [b.text for b in view_model.badges(live)] == ["LIVE", "bokeh"]


def test_summary_when_equity_fell_then_change_is_a_loss() -> None:
    points = [CurvePoint(eastern=AT.replace(tzinfo=None), equity_usd=e) for e in (1000.0, 990.0)]
    found = view_model.summary(evaluation(), points)
    assert (found.equity, found.change, found.is_gain) == ("$990.00", "−$10.00 (−1.00%)", False)
    assert not found.is_ready


def test_summary_when_there_is_no_mark_then_a_dash_and_no_change() -> None:
    found = view_model.summary(evaluation(), [])
    assert (found.equity, found.change, found.is_gain) == ("—", "", None)


def test_summary_when_money_was_moved_in_then_only_what_was_gained() -> None:
    moved = CashMoved(
        activity_id="a",
        activity_type="CSD",
        at=AT + timedelta(hours=1),
        usd=Decimal(1000),
        symbol=None,
        description="",
        booked_at=AT + timedelta(days=1),
    )
    fee = replace(moved, activity_id="b", activity_type="FEE")
    closes = [
        replace(mark(AT, 1000), source="broker"),
        replace(mark(AT + timedelta(hours=2), 1990), source="broker"),
    ]
    points = view_model.curve(closes, [mark(AT + timedelta(days=2), 1990)], [moved, fee])
    assert [p.moved_usd for p in points] == [0, 1000, 1000]
    found = view_model.summary(evaluation(), points)
    assert (found.equity, found.change) == ("$1,990.00", "−$10.00 (−1.00%)")


def test_curve_when_minutes_overlap_the_closes_then_only_later_ones_follow() -> None:
    closes = [mark(AT, 100), mark(AT + timedelta(days=1), 110)]
    minutes = [mark(AT + timedelta(hours=1), 1), mark(AT + timedelta(days=1, minutes=1), 111)]
    points = view_model.curve(closes, minutes)
    assert [p.equity_usd for p in points] == [100, 110, 111]
    assert points[0].eastern == datetime(2008, 3, 4, 14, 31)  # noqa: DTZ001


def test_position_rows_when_priced_then_marked_and_placed_between_stop_and_target() -> None:
    reading = Coverage(position_id="p1", symbol="IBM", at=AT, position_qty=100, covered_qty=60)
    row = view_model.position_rows([held()], {"IBM": Price(price=97.5, at=AT)}, [reading])[0]
    assert (row.pnl, row.pnl_frac, row.is_gain) == ("−$250.00", "−2.50%", False)
    assert (row.place, row.entry_place) == (0.25, 0.5)
    assert (row.stop, row.target, row.is_covered) == ("$95.00", "$105.00", False)
    assert row.cover == "60 of 100 covered"


def test_position_rows_when_there_is_no_price_then_dashes_and_no_place() -> None:
    row = view_model.position_rows([held()], {}, [])[0]
    assert (row.last, row.pnl, row.place, row.is_gain) == ("—", "—", None, None)


@pytest.mark.parametrize(("price", "place"), [(90.0, 0.0), (120.0, 1.0)])
def test_position_rows_when_the_price_is_outside_then_the_place_is_clipped(
    price: float, place: float
) -> None:
    row = view_model.position_rows([held()], {"IBM": Price(price=price, at=AT)}, [])[0]
    assert row.place == place


def test_trade_rows_when_shaped_then_newest_first_after_fees() -> None:
    old = Trade(
        position_id="p1",
        symbol="IBM",
        strategy="a",
        qty=10,
        entry_price=Decimal(100),
        exit_price=Decimal(101),
        opened_at=AT,
        closed_at=AT,
        pnl_usd=Decimal(10),
        fees_usd=Decimal(9),
        haircut_usd=Decimal(3),
        exit_reason="stop",
    )
    rows = view_model.trade_rows([old, replace(old, symbol="GOOG")])
    assert [row.symbol for row in rows] == ["GOOG", "IBM"]
    assert (rows[1].net, rows[1].net_frac, rows[1].is_gain) == ("−$2.00", "−0.20%", False)


def test_figure_when_unavailable_then_a_dash() -> None:
    assert view_model.figure(Unavailable("none"), "frac") == "—"
    assert view_model.figure(0.7219, "frac") == "72.2%"
    assert view_model.figure(-1.234, "ann") == "−1.23"


def test_volatility_rows_when_old_and_degenerate_then_both_are_said() -> None:
    forecast = VolatilityForecast(
        symbol="IBM",
        at=AT,
        through=AT.date(),
        model=Model.GJR,
        distribution=Distribution.STUDENT_T,
        sigma_pct=(1.234, 1.3, 1.3, 1.3, 1.456),
        vol_frac_ann=0.2105,
        is_converged=True,
        flags=(FitFlag.INTEGRATED,),
        bic=1.0,
        n_obs=1000,
        params=(0.0,) * 6,
    )
    row = view_model.volatility_rows([AgedForecast(forecast=forecast, age_sessions=2)])[0]
    assert (row.next_day, row.five_days, row.model) == ("1.23%", "1.46%", "GJR, Student-t")
    assert (row.age, row.remark) == ("2 sessions old", "integrated")
    assert "21" in row.yearly


def test_volatility_quality_when_scored_then_mean_losses_by_method() -> None:
    scores = [
        VolatilityScore(
            symbol="IBM",
            session=date(2008, 3, 3 + day),
            method=method,
            forecast_pct2=1.0,
            realised_pct2=1.0,
            qlike=loss + day,
        )
        for day in (0, 1)
        for method, loss in (("garch", 1.0), ("window20", 1.25))
    ]
    text = view_model.volatility_quality(scores)
    assert "2 sessions" in text
    assert "GARCH 1.500, 20-day window 1.750" in text
    assert "No forecast" in view_model.volatility_quality([])
