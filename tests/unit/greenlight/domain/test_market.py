"""Quotes that cannot be used, and when the market is open (NYSE's published hours)."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain.market import (
    EASTERN,
    Bar,
    Quote,
    bar_refusal,
    eastern_date,
    eastern_midnight,
    is_confirmed,
    next_session,
    previous_session,
    quote_refusal,
    session_at,
    session_end_for_hold,
    session_on,
    sessions_between,
)

T0 = datetime(2013, 10, 7, 14, 30, tzinfo=UTC)


def quote(bid: float, ask: float, at: datetime = T0) -> Quote:
    return Quote(symbol="AAPL", at=at, bid=bid, ask=ask, bid_size=100, ask_size=100)


@pytest.mark.parametrize(
    ("bid", "ask", "reason"),
    [
        (math.nan, 100.1, "not_finite"),
        (100.0, math.nan, "not_finite"),
        (100.0, math.inf, "not_finite"),
        (-math.inf, 100.1, "not_finite"),
        (0.0, 100.1, "not_positive"),
        (100.0, 0.0, "not_positive"),
        (-1.0, 100.1, "not_positive"),
        (100.2, 100.1, "crossed"),
        (100.1, 100.1, None),
        (100.0, 100.1, None),
    ],
)
def test_refuse_quote_when_it_is_the_first_then_by_its_own_prices(
    bid: float, ask: float, reason: str | None
) -> None:
    assert quote_refusal(quote(bid, ask), None) == reason


def test_refuse_quote_when_older_than_the_last_then_out_of_order() -> None:
    last = quote(100, 100.1)
    assert quote_refusal(quote(100, 100.1, T0 - timedelta(microseconds=1)), last) == "out_of_order"
    assert quote_refusal(quote(100, 100.2, T0), last) is None


def test_refuse_quote_when_it_is_the_last_one_again_then_duplicate() -> None:
    last = quote(100, 100.1)
    assert quote_refusal(quote(100, 100.1), last) == "duplicate"
    assert quote_refusal(replace(last, ask_size=200), last) is None
    assert quote_refusal(replace(last, at=T0 + timedelta(microseconds=1)), last) is None


@pytest.mark.parametrize(
    ("mid", "reason"), [(119.9, None), (120.1, "absurd"), (80.1, None), (79.9, "absurd")]
)
def test_refuse_quote_when_mid_jumps_in_a_session_then_absurd_above_a_fifth(
    mid: float, reason: str | None
) -> None:
    later = quote(mid - 0.05, mid + 0.05, T0 + timedelta(minutes=1))
    assert quote_refusal(later, quote(99.95, 100.05)) == reason


def test_is_confirmed_when_three_later_quotes_agree_then_and_not_before() -> None:
    first, second, third = (
        quote(bid, bid + 0.1, T0 + timedelta(seconds=s)) for s, bid in enumerate((70, 72, 71))
    )
    assert is_confirmed(third, [first, second])
    assert is_confirmed(third, [quote(30, 30.1), first, second])
    assert not is_confirmed(second, [first])
    assert not is_confirmed(third, [second, first])
    assert not is_confirmed(first, [first, first])
    assert not is_confirmed(third, [first, replace(second, bid=75, ask=75.1)])


def test_refuse_quote_when_mid_jumps_overnight_then_taken() -> None:
    assert quote_refusal(quote(14.2, 14.3, T0 + timedelta(days=1)), quote(99.9, 100.1)) is None


@pytest.mark.parametrize(
    ("day", "opens", "closes"),
    [
        # Winter and summer time: 09:30 and 16:00 in New York.
        (date(2013, 1, 7), "2013-01-07T14:30+00:00", "2013-01-07T21:00+00:00"),
        (date(2013, 10, 7), "2013-10-07T13:30+00:00", "2013-10-07T20:00+00:00"),
        # The Friday after Thanksgiving closes at 13:00.
        (date(2013, 11, 29), "2013-11-29T14:30+00:00", "2013-11-29T18:00+00:00"),
        # The Mondays after the clocks changed, 2013-03-10 and 2013-11-03.
        (date(2013, 3, 11), "2013-03-11T13:30+00:00", "2013-03-11T20:00+00:00"),
        (date(2013, 11, 4), "2013-11-04T14:30+00:00", "2013-11-04T21:00+00:00"),
    ],
)
def test_session_when_calendar_knows_the_day_then_open_and_close(
    day: date, opens: str, closes: str
) -> None:
    session = session_on(day)
    assert session is not None
    assert (session.open, session.close) == (
        datetime.fromisoformat(opens),
        datetime.fromisoformat(closes),
    )
    assert session.open.tzinfo is not None


def test_session_minutes_when_half_day_then_210() -> None:
    half, whole = session_on(date(2013, 11, 29)), session_on(date(2013, 10, 7))
    assert half is not None
    assert whole is not None
    assert (half.minutes, whole.minutes) == (210, 390)


@pytest.mark.parametrize(
    "day",
    [
        date(2013, 10, 5),  # Saturday
        date(2013, 7, 4),  # Independence Day
        date(2013, 3, 29),  # Good Friday
        date(2012, 10, 29),  # hurricane Sandy
    ],
)
def test_session_when_market_is_closed_then_none(day: date) -> None:
    assert session_on(day) is None


def test_session_when_day_is_outside_the_calendar_then_raises() -> None:
    with pytest.raises(ValueError, match="outside the exchange calendar"):
        session_on(date(1980, 1, 2))


def test_session_at_when_bell_rings_then_open_counts_and_close_does_not() -> None:
    opens, closes = datetime(2013, 10, 7, 13, 30, tzinfo=UTC), datetime(2013, 10, 7, 20, tzinfo=UTC)
    tiny = timedelta(microseconds=1)
    assert session_at(opens - tiny) is None
    assert session_at(opens) is not None
    assert session_at(closes - tiny) is not None
    assert session_at(closes) is None


def test_sessions_between_when_month_has_a_holiday_then_known_count() -> None:
    # NYSE: 251 sessions in 2012 less the two of hurricane Sandy is 250; 21 in October 2012.
    assert len(sessions_between(date(2012, 1, 1), date(2012, 12, 31))) == 250
    assert len(sessions_between(date(2012, 10, 1), date(2012, 10, 31))) == 21
    assert sessions_between(date(2013, 10, 6), date(2013, 10, 5)) == []


def test_neighbour_session_when_a_holiday_lies_between_then_skipped() -> None:
    assert next_session(date(2013, 7, 3)).day == date(2013, 7, 5)
    assert previous_session(date(2013, 10, 7)).day == date(2013, 10, 4)


def test_hold_end_when_weekend_and_half_day_lie_between_then_third_close() -> None:
    # Bought on Tuesday before Thanksgiving: Wednesday, Friday (half), Monday.
    opened = datetime(2013, 11, 26, 15, tzinfo=UTC)
    assert session_end_for_hold(opened, 2) == datetime(2013, 11, 29, 18, tzinfo=UTC)
    assert session_end_for_hold(opened, 3) == datetime(2013, 12, 2, 21, tzinfo=UTC)


def test_eastern_date_when_utc_is_past_midnight_then_day_in_new_york() -> None:
    assert eastern_date(datetime(2013, 10, 8, 3, 59, tzinfo=UTC)) == date(2013, 10, 7)
    assert eastern_date(datetime(2013, 10, 8, 4, 0, tzinfo=UTC)) == date(2013, 10, 8)


def test_eastern_midnight_when_summer_or_winter_then_4_or_5_utc() -> None:
    assert eastern_midnight(date(2013, 7, 1)) == datetime(2013, 7, 1, 4, tzinfo=UTC)
    assert eastern_midnight(date(2013, 12, 2)) == datetime(2013, 12, 2, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"close": math.nan}, "not_finite"),
        ({"high": math.inf}, "not_finite"),
        ({"low": 0.0}, "not_positive"),
        ({"open": -1.0}, "not_positive"),
        ({"close": 102.0}, "inconsistent"),
        ({"open": 98.0}, "inconsistent"),
        ({"volume": -1}, "inconsistent"),
    ],
)
def test_refuse_bar_when_it_cannot_be_true_then_reason(
    change: dict[str, float], reason: str | None
) -> None:
    good: dict[str, float] = {"open": 100, "high": 101, "low": 99, "close": 100, "volume": 5}
    fields: dict[str, Any] = {**good, **change}
    bar = Bar(symbol="AAPL", start=T0, end=T0 + timedelta(minutes=1), **fields)
    assert bar_refusal(bar) == reason


# -- the calendar as the NYSE published it: every early close (13:00) of five years, and
# every closing day of 2012 and 2013 that is no weekend

EARLY_CLOSES = {
    "2008-07-03 2008-11-28 2008-12-24",
    "2009-11-27 2009-12-24",
    "2012-07-03 2012-11-23 2012-12-24",
    "2013-07-03 2013-11-29 2013-12-24",
    "2014-07-03 2014-11-28 2014-12-24",
}
CLOSED = {
    "2012-01-02 2012-01-16 2012-02-20 2012-04-06 2012-05-28 2012-07-04 2012-09-03",
    "2012-10-29 2012-10-30 2012-11-22 2012-12-25",
    "2013-01-01 2013-01-21 2013-02-18 2013-03-29 2013-05-27 2013-07-04 2013-09-02",
    "2013-11-28 2013-12-25",
}


def dates(lines: set[str]) -> set[date]:
    return {date.fromisoformat(day) for line in lines for day in line.split()}


@pytest.mark.parametrize("year", [2008, 2009, 2012, 2013, 2014])
def test_sessions_when_a_year_is_walked_then_exactly_the_published_early_closes(year: int) -> None:
    found = sessions_between(date(year, 1, 1), date(year, 12, 31))
    early = {session.day for session in found if session.minutes == 210}
    assert early == {day for day in dates(EARLY_CLOSES) if day.year == year}
    for session in found:
        opens, closes = session.open.astimezone(EASTERN), session.close.astimezone(EASTERN)
        assert (opens.hour, opens.minute) == (9, 30)
        assert (closes.hour, closes.minute) == (13 if session.day in early else 16, 0)
        assert opens.date() == closes.date() == session.day


def test_sessions_when_two_years_are_walked_then_exactly_the_published_holidays() -> None:
    start, end = date(2012, 1, 1), date(2013, 12, 31)
    days = {start + timedelta(days=i) for i in range((end - start).days + 1)}
    closed = {day for day in days if day.weekday() < 5 and session_on(day) is None}
    assert closed == dates(CLOSED)


@pytest.mark.parametrize(
    ("opened", "sessions", "end"),
    [
        # Friday before the clocks went forward, to Monday: 16:00 is an hour earlier in UTC.
        ("2008-03-07T20:30+00:00", 0, "2008-03-07T21:00+00:00"),
        ("2008-03-07T20:30+00:00", 1, "2008-03-10T20:00+00:00"),
        # And back in November.
        ("2008-10-31T15:00+00:00", 1, "2008-11-03T21:00+00:00"),
        # Thanksgiving: Tuesday, Wednesday, Friday until 13:00, Monday.
        ("2012-11-20T15:00+00:00", 1, "2012-11-21T21:00+00:00"),
        ("2012-11-20T15:00+00:00", 2, "2012-11-23T18:00+00:00"),
        ("2012-11-20T15:00+00:00", 3, "2012-11-26T21:00+00:00"),
        # Bought on the early close before Independence Day.
        ("2013-07-03T14:00+00:00", 0, "2013-07-03T17:00+00:00"),
        ("2013-07-03T14:00+00:00", 1, "2013-07-05T20:00+00:00"),
        # Over hurricane Sandy's two days.
        ("2012-10-26T15:00+00:00", 1, "2012-10-31T20:00+00:00"),
        # Filled after the bell, or on a closed day: the next session is the first.
        ("2013-07-04T15:00+00:00", 0, "2013-07-05T20:00+00:00"),
    ],
)
def test_hold_end_when_clocks_change_or_days_are_short_then_that_sessions_close(
    opened: str, sessions: int, end: str
) -> None:
    found = session_end_for_hold(datetime.fromisoformat(opened), sessions)
    assert found == datetime.fromisoformat(end)


@given(
    st.datetimes(
        datetime(2007, 1, 3),  # noqa: DTZ001
        datetime(2015, 12, 31),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
    st.integers(0, 10),
)
def test_hold_end_when_any_instant_then_so_many_sessions_later(now: datetime, held: int) -> None:
    day = eastern_date(now)
    first = session_on(day) or next_session(day)
    end = session_end_for_hold(now, held)
    between = sessions_between(first.day, eastern_date(end))
    assert len(between) == held + 1
    assert end == between[-1].close
    # Ten minutes before it the market is open, whatever the day's length.
    assert session_at(end - timedelta(minutes=10)) == between[-1]
