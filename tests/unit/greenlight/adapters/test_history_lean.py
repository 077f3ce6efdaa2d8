from __future__ import annotations

import zipfile
from datetime import date
from pathlib import Path

import pytest

from greenlight.adapters.history_lean import LeanFolder, open_lean


def put(root: Path, name: str, *lines: str) -> None:
    path = root / "equity" / "usa" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.csv", "\n".join(lines))
    else:
        path.write_text("\n".join(lines) + "\n")


def daily(*lines: str) -> tuple[str, ...]:
    return tuple(f"{line},100000,110000,90000,105000,1000" for line in lines)


def lean(root: Path) -> LeanFolder:
    return open_lean(root)


def test_daily_when_read_then_prices_are_dollars(tmp_path: Path) -> None:
    put(tmp_path, "daily/x.zip", "20131007 00:00,1820000,1833000,1818500,1820100,3908081")
    series = lean(tmp_path).daily("X")
    assert series.days.astype(str).tolist() == ["2013-10-07"]
    row = (series.open[0], series.high[0], series.low[0], series.close[0], series.volume[0])
    assert row == (182.0, 183.3, 181.85, 182.01, 3908081)


def test_daily_when_the_ticker_changed_hands_then_strange_rows_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "daily/x.zip", *daily("20120516 00:00", "20120517 00:00", "20120518 00:00"))
    put(tmp_path, "map_files/x.csv", "20120518,x,Q", "20501231,x,Q")
    series = lean(tmp_path).daily("X")
    assert series.days.astype(str).tolist() == ["2012-05-18"]
    assert [(f.day, f.kind) for f in series.refused] == [(date(2012, 5, 16), "other_company")]


def test_daily_when_the_company_was_renamed_then_rows_begin_after_the_old_name(
    tmp_path: Path,
) -> None:
    put(tmp_path, "daily/bac.zip", *daily("19980930 00:00", "19981001 00:00"))
    put(tmp_path, "map_files/bac.csv", "19980102,nb,N", "19980930,nb,N", "20501231,bac,N")
    assert lean(tmp_path).daily("BAC").days.astype(str).tolist() == ["1998-10-01"]


def test_splits_when_the_factor_changes_then_the_next_session_is_the_ex_date(
    tmp_path: Path,
) -> None:
    put(tmp_path, "daily/aapl.zip", *daily("20140606 00:00"))
    put(
        tmp_path,
        "factor_files/aapl.csv",
        "19980102,0.86,0.0357143,1",
        "20120808,0.86,0.0357143,619.86",
        "20140606,0.9,0.0357143,645.57",
        "20140806,0.9,0.25,94.97",
        "20200828,1,0.25,499.23",
        "20501231,1,1,0",
    )
    # 2014-06-06 and 2020-08-28 were Fridays.
    assert [(s.ex_date, s.ratio) for s in lean(tmp_path).splits("AAPL")] == [
        (date(2014, 6, 9), 7.0),
        (date(2020, 8, 31), 4.0),
    ]


def test_dividends_when_the_price_factor_changes_then_dollars_of_the_close_before(
    tmp_path: Path,
) -> None:
    put(tmp_path, "daily/aapl.zip", *daily("20140606 00:00"))
    put(
        tmp_path,
        "factor_files/aapl.csv",
        "19980102,0.8961764,0.0357143,1",
        "20140507,0.8961764,0.0357143,592.33",
        "20140606,0.9011818,0.0357143,645.57",
        "20140806,0.9011818,0.25,94.97",
        "20501231,0.9056,0.25,0",
    )
    # Apple paid $3.29 on 2014-05-08, and 47 cents on the new shares of 2014-08-07.
    found = lean(tmp_path).dividends("AAPL")
    assert [(d.ex_date, round(d.usd_a_share, 2)) for d in found] == [
        (date(2014, 5, 8), 3.29),
        (date(2014, 8, 7), 0.46),
    ]
    assert lean(tmp_path).daily("AAPL").dividends == found


def test_splits_when_there_is_no_factor_file_then_there_are_none(tmp_path: Path) -> None:
    put(tmp_path, "daily/x.zip", *daily("20140606 00:00"))
    assert lean(tmp_path).splits("X") == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("someday,1,1,1", "line 2: 'someday' is no date"),
        ("20140606,1,half,1", "line 2: no number in column 3"),
        ("20140606,1", "line 2: no number in column 3"),
        ("20140606,1,0,1", "line 2: a factor must be positive"),
    ],
)
def test_splits_when_a_line_is_wrong_then_it_is_named(
    tmp_path: Path, line: str, message: str
) -> None:
    put(tmp_path, "daily/x.zip", *daily("20140606 00:00"))
    put(tmp_path, "factor_files/x.csv", "19980102,1,1,1", line)
    with pytest.raises(ValueError, match=message):
        lean(tmp_path).splits("X")


def test_ticks_when_suspicious_then_they_are_left_out(tmp_path: Path) -> None:
    put(
        tmp_path,
        "tick/x/20131007_trade.zip",
        "34200000,100000,100,P,1,0",
        "34200001,200000,100,P,1,1",
    )
    put(
        tmp_path,
        "tick/x/20131007_quote.zip",
        "34200000,99900,300,0,0,Q,1,0",
        "34200000,0,0,100100,200,Q,1,1",
    )
    ticks = lean(tmp_path).tick_trades("X", date(2013, 10, 7))
    assert (ticks.ms.tolist(), ticks.price.tolist()) == ([34_200_000], [10.0])
    quotes = lean(tmp_path).tick_quotes("X", date(2013, 10, 7))
    assert quotes is not None
    assert (quotes.bid.tolist(), quotes.ask.tolist()) == ([9.99], [0.0])


def test_minutes_when_a_bar_cannot_be_true_then_it_is_left_out(tmp_path: Path) -> None:
    put(
        tmp_path,
        "minute/x/20131007_trade.zip",
        "34200000,100000,110000,90000,105000,10",
        "34260000,100000,90000,90000,105000,10",
        "34320000,100000,110000,90000,105000,10",
    )
    bars = lean(tmp_path).minute_trades("X", date(2013, 10, 7))
    assert bars.minute.tolist() == [570, 572]
    assert lean(tmp_path).minute_quotes("X", date(2013, 10, 7)) is None


def test_read_when_a_file_is_malformed_then_it_is_named(tmp_path: Path) -> None:
    put(tmp_path, "daily/x.zip", "20131007 00:00,cheap,1,1,1,1")
    with pytest.raises(ValueError, match=r"x\.zip.*cheap"):
        lean(tmp_path).daily("X")
    with pytest.raises(ValueError, match=r"y\.zip does not exist"):
        lean(tmp_path).daily("Y")


def test_open_when_it_is_no_lean_folder_then_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no LEAN folder"):
        open_lean(tmp_path)
