"""The sources on real history: the sample data, and LEAN's files where they are."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from cluster.paper_exchange.sources import SessionTape, Source, SymbolTape, open_source
from jobs.ingest import check_source
from tests.shared_data import lean_root

WHOLE_TIME = (date(1998, 1, 1), date(2021, 12, 31))
# The New York Stock Exchange closed at 13:00 on the day after Thanksgiving.
HALF_DAY = date(2013, 11, 29)


def day_bar(tape: SymbolTape) -> tuple[float, float, float, float]:
    bar = tape.bar[~np.isnan(tape.bar[:, 0])]
    return float(bar[0, 0]), float(bar[:, 1].max()), float(bar[:, 2].min()), float(bar[-1, 3])


def digest(tape: SessionTape) -> str:
    result = hashlib.blake2b(digest_size=16)
    for symbol, one in sorted(tape.symbols.items()):
        result.update(symbol.encode())
        for array in (one.at_ns, one.bid_size, one.ask_size, one.trade_size, one.bar_volume):
            result.update(array.astype("<i8").tobytes())
        for prices in (one.bid, one.ask, one.trade, one.bar):
            result.update(prices.astype("<f8").tobytes())
    return result.hexdigest()


def assert_sound(session: SessionTape) -> None:
    minutes = session.session.minutes
    opened = int(session.session.open.timestamp() * 1e9)
    for tape in session.symbols.values():
        count = len(tape.at_ns)
        assert count > 0
        assert (np.diff(tape.at_ns) >= 0).all()
        assert opened <= tape.at_ns[0]
        assert tape.at_ns[-1] < opened + minutes * 60 * 10**9
        assert np.isfinite(tape.bid).all()
        assert np.isfinite(tape.ask).all()
        assert (tape.bid > 0).all()
        assert (tape.bid <= tape.ask).all()
        assert (tape.bid_size > 0).all()
        assert (tape.ask_size > 0).all()
        assert tape.minute_offsets.shape == (minutes + 1,)
        assert tape.minute_offsets[0] == 0
        assert tape.minute_offsets[-1] == count
        assert (np.isnan(tape.trade) | (tape.trade > 0)).all()
        assert (tape.trade_size[np.isnan(tape.trade)] == 0).all()
        assert tape.trade_size.sum() == tape.bar_volume.sum()
        minute = (tape.at_ns - opened) // (60 * 10**9)
        for i in (0, minutes // 2, minutes - 1):
            inside = slice(int(tape.minute_offsets[i]), int(tape.minute_offsets[i + 1]))
            assert (minute[inside] == i).all()
            prints = tape.trade[inside][~np.isnan(tape.trade[inside])]
            if len(prints):
                assert prints.max() == tape.bar[i, 1]
                assert prints.min() == tape.bar[i, 2]


def lean(resolution: str) -> Source:
    return open_source(f"lean:{lean_root()}?resolution={resolution}")


def test_bokeh_when_a_session_is_replayed_then_it_keeps_the_real_bar() -> None:
    source = open_source("bokeh")
    session = source.tape(date(2013, 3, 1))
    assert source.is_synthetic
    assert session.is_synthetic
    assert sorted(session.symbols) == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    assert_sound(session)
    aapl = session.symbols["AAPL"]
    # From the sample data's table.
    assert day_bar(aapl) == (438.0, 438.1799, 429.98, 430.47)
    assert aapl.bar_volume.sum() == 19_730_300
    assert aapl.has_made_up_quotes
    assert len(aapl.at_ns) == 4 * 390


def test_bokeh_when_opened_twice_then_the_sessions_are_the_same() -> None:
    days = [date(2000, 6, 21), date(2012, 11, 23), date(2013, 3, 1)]
    first = [digest(open_source("bokeh").tape(day)) for day in days]
    again = open_source("bokeh")
    assert [digest(again.tape(day)) for day in reversed(days)] == list(reversed(first))
    assert len(set(first)) == 3


def test_bokeh_when_a_symbol_was_not_listed_then_it_is_absent() -> None:
    session = open_source("bokeh").tape(date(2000, 3, 1))
    assert sorted(session.symbols) == ["AAPL", "IBM", "MSFT"]


def test_bokeh_when_the_day_is_a_half_day_then_the_tape_is_shorter() -> None:
    session = open_source("bokeh?symbols=IBM").tape(date(2012, 11, 23))
    assert session.session.minutes == 210
    assert_sound(session)


def test_bokeh_when_asked_for_sessions_then_closed_days_are_not_among_them() -> None:
    # The exchange stayed closed on 2012-10-29 and 30 for a hurricane.
    found = open_source("bokeh").sessions(date(2012, 10, 26), date(2012, 10, 31))
    assert [session.day for session in found] == [date(2012, 10, 26), date(2012, 10, 31)]


@pytest.mark.parametrize("day", [date(2013, 3, 2), date(2013, 3, 4)])
def test_tape_when_there_is_none_then_it_is_refused(day: date) -> None:
    with pytest.raises(ValueError, match=r"is no session|has no data"):
        open_source("bokeh").tape(day)


def test_daily_when_the_symbol_is_unknown_then_it_is_refused() -> None:
    with pytest.raises(ValueError, match="has no TSLA"):
        open_source("bokeh").daily("TSLA")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("yahoo", "no source 'yahoo'; there are bokeh, lean:"),
        ("lean:", "no source 'lean:'"),
        ("bokeh:/tmp", "no source 'bokeh:/tmp'"),
        ("csv:/nowhere/at/all", "is no folder"),
        ("bokeh?resolution=minute", "no option resolution"),
        ("bokeh?symbols=TSLA", "no symbol TSLA; it has AAPL"),
    ],
)
def test_open_when_the_spec_is_wrong_then_one_line_says_why(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        open_source(spec)
    assert "\n" not in str(caught.value)


def test_csv_when_minutes_with_quotes_then_they_are_replayed_and_summed(tmp_path: Path) -> None:
    (tmp_path / "ibm.csv").write_text(
        "timestamp,open,high,low,close,volume,bid,ask\n"
        "2013-10-07 09:29,1,1,1,1,1,0.9,1.1\n"
        "2013-10-07 09:30,10,10.2,9.9,10.1,400,9.95,10.15\n"
        "2013-10-07 15:59,10.1,10.3,10.0,10.0,100,10.0,10.1\n"
    )
    source = open_source(f"csv:{tmp_path}")
    session = source.tape(date(2013, 10, 7))
    assert not session.is_synthetic
    assert_sound(session)
    tape = session.symbols["IBM"]
    assert tape.trade.tolist() == [10.0, 9.9, 10.2, 10.1, 10.1, 10.3, 10.0, 10.0]
    assert tape.bid.tolist() == [9.95] * 4 + [10.0] * 4
    daily = source.daily("IBM")
    assert daily.days.astype(str).tolist() == ["2013-10-07"]
    assert (daily.open[0], daily.high[0], daily.low[0], daily.close[0], daily.volume[0]) == (
        10.0,
        10.3,
        9.9,
        10.0,
        500,
    )


def test_csv_when_daily_then_the_path_is_marked_as_made_up(tmp_path: Path) -> None:
    (tmp_path / "ibm.csv").write_text(
        "date,open,high,low,close,volume\n2013-10-07,182,183.3,181.85,182.01,3908081\n"
    )
    session = open_source(f"csv:{tmp_path}").tape(date(2013, 10, 7))
    assert session.is_synthetic
    assert day_bar(session.symbols["IBM"]) == (182.0, 183.3, 181.85, 182.01)


@pytest.mark.shared_data
def test_lean_minutes_when_replayed_then_they_have_real_quotes() -> None:
    source = lean("minute")
    assert source.symbols == ("AAPL", "BAC", "IBM", "SPY")
    assert [s.day.isoformat() for s in source.sessions(*WHOLE_TIME)] == [
        "2013-10-07",
        "2013-10-08",
        "2013-10-09",
        "2014-06-05",
        "2014-06-06",
        "2014-06-09",
    ]
    for session in source.sessions(*WHOLE_TIME):
        tape = source.tape(session.day)
        assert not tape.is_synthetic
        assert_sound(tape)
        assert not any(one.has_made_up_quotes for one in tape.symbols.values())


@pytest.mark.shared_data
def test_lean_minutes_when_the_first_bar_is_read_then_it_is_the_files() -> None:
    # 20131007_ibm: 34200000,1820000,1822400,1818500,1821500,174289
    tape = lean("minute").tape(date(2013, 10, 7)).symbols["IBM"]
    assert tape.bar[0].tolist() == [182.0, 182.24, 181.85, 182.15]
    assert tape.bar_volume[0] == 174_289
    assert tape.trade[:4].tolist() == [182.0, 181.85, 182.24, 182.15]


@pytest.mark.shared_data
def test_lean_when_aapl_splits_then_prices_stay_raw_and_the_split_is_reported() -> None:
    source = lean("minute")
    before = source.tape(date(2014, 6, 6)).symbols["AAPL"]
    after = source.tape(date(2014, 6, 9)).symbols["AAPL"]
    assert before.bar[-1, 3] == 645.57
    assert after.bar[0, 0] == 92.69
    found = [(s.ex_date, s.ratio) for s in source.splits() if s.symbol == "AAPL"]
    assert found == [
        (date(2000, 6, 21), 2.0),
        (date(2005, 2, 28), 2.0),
        (date(2014, 6, 9), 7.0),
        (date(2020, 8, 31), 4.0),
    ]


@pytest.mark.shared_data
def test_lean_ticks_when_replayed_then_bars_agree_with_the_minute_files() -> None:
    ticks, minutes = lean("tick"), lean("minute")
    session = ticks.tape(date(2013, 10, 7))
    assert_sound(session)
    ours = session.symbols["BAC"]
    theirs = minutes.tape(date(2013, 10, 7)).symbols["BAC"]
    # The minute files count odd prints otherwise; closes differ by a tick at most.
    assert np.nanmax(np.abs(ours.bar[:, 3] - theirs.bar[:, 3])) < 0.015
    assert ours.bar_volume.sum() / theirs.bar_volume.sum() > 0.95
    assert not ours.has_made_up_quotes
    # SPY has prints alone.
    assert session.symbols["SPY"].has_made_up_quotes
    outside = ours.prints_outside_quote() / np.count_nonzero(~np.isnan(ours.trade))
    assert outside < 0.01


@pytest.mark.shared_data
@pytest.mark.parametrize("resolution", ["daily", "hour"])
def test_lean_when_a_half_day_then_210_minutes_keep_the_real_bar(resolution: str) -> None:
    session = lean(resolution).tape(HALF_DAY)
    assert session.session.minutes == 210
    assert session.is_synthetic
    assert_sound(session)
    ibm = session.symbols["IBM"]
    # The four hour bars: 179.39 first, 180.76 highest, 179.00 lowest, 179.68 last.
    assert day_bar(ibm) == (179.39, 180.76, 179.0, 179.68)
    assert ibm.bar_volume.sum() == 272_795 + 426_852 + 615_386 + 1_433_734


@pytest.mark.shared_data
def test_lean_hours_when_replayed_then_each_hour_keeps_its_own_bar() -> None:
    tape = lean("hour").tape(HALF_DAY).symbols["IBM"]
    # 20131129 10:00,1805500,1807600,1802000,1804500,426852
    hour = tape.bar[30:90]
    assert (hour[0, 0], hour[:, 1].max(), hour[:, 2].min(), hour[-1, 3]) == (
        180.55,
        180.76,
        180.2,
        180.45,
    )
    assert tape.bar_volume[30:90].sum() == 426_852


@pytest.mark.shared_data
def test_lean_daily_when_checked_then_its_known_oddities_are_found() -> None:
    found = {(f.symbol, f.day.isoformat(), f.kind) for f in check_source(lean("daily"))}
    assert found == {
        # Other companies held these tickers before.
        ("BAC", "1998-01-02", "other_company"),
        ("FB", "1999-09-29", "other_company"),
        ("GOOG", "2004-08-19", "other_company"),
        # Its ticker was QQQQ in between.
        ("QQQ", "2004-12-01", "hole"),
        # A bad open in the file: 159.58 after a close of 79.82.
        ("IBM", "2002-12-23", "unrecorded_split"),
    }


@pytest.mark.shared_data
def test_lean_when_the_resolution_is_missing_then_it_is_refused() -> None:
    with pytest.raises(ValueError, match="no resolution weekly; it has minute, daily, hour, tick"):
        lean("weekly")
