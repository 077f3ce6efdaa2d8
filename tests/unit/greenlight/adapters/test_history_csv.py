from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from greenlight.adapters.history_csv import read_csv_folder
from greenlight.domain.market import Dividend, SymbolChange

HEADER = "timestamp,open,high,low,close,volume"


def write(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def test_read_when_daily_then_the_file_names_the_symbol(tmp_path: Path) -> None:
    write(
        tmp_path,
        "ibm.csv",
        "date,open,high,low,close,volume",
        "2013-10-07,182,183.3,181.85,182.01,100",
    )
    write(tmp_path, "splits.csv", "symbol,ex_date,ratio", "ibm,1999-05-27,2")
    history = read_csv_folder(tmp_path)
    assert history.is_daily
    series = history.daily["IBM"]
    assert series.days.astype(str).tolist() == ["2013-10-07"]
    assert (series.open[0], series.high[0], series.low[0], series.close[0]) == (
        182.0,
        183.3,
        181.85,
        182.01,
    )
    assert [(s.symbol, s.ex_date, s.ratio) for s in series.splits] == [
        ("IBM", date(1999, 5, 27), 2.0)
    ]


def test_read_when_daily_rows_cannot_be_true_then_they_are_refused(tmp_path: Path) -> None:
    write(
        tmp_path,
        "x.csv",
        "date,open,high,low,close,volume",
        "2013-10-07,10,9,8,9,100",
        "2013-10-08,10,11,9,10,100",
    )
    series = read_csv_folder(tmp_path).daily["X"]
    assert len(series) == 1
    assert [(f.day, f.kind) for f in series.refused] == [(date(2013, 10, 7), "inconsistent")]


def test_read_when_minutes_are_aware_or_naive_then_both_are_new_york_time(tmp_path: Path) -> None:
    # 13:30 UTC is 09:30 in New York in October; a naive time is New York time.
    write(
        tmp_path,
        "mixed.csv",
        HEADER + ",symbol,bid,ask",
        "2013-10-07T13:30:00Z,10,10,10,10,5,a,9.99,10.01",
        "2013-10-07 09:31,10,10,10,10,5,a,,",
        "2013-10-07T15:30:00+02:00,20,20,20,20,5,b,19.9,20.1",
    )
    history = read_csv_folder(tmp_path)
    assert not history.is_daily
    assert history.minutes["A"][date(2013, 10, 7)].minute.tolist() == [570, 571]
    assert history.minutes["B"][date(2013, 10, 7)].minute.tolist() == [570]
    quotes = history.quotes["A"][date(2013, 10, 7)]
    assert quotes.minute.tolist() == [570]
    assert quotes.bid.tolist() == [[9.99] * 4]
    assert quotes.ask.tolist() == [[10.01] * 4]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["open,high,low,close,volume"], "line 1: one column must be called date or timestamp"),
        (["timestamp,open,high,low,volume"], "line 1: no column close"),
        ([HEADER + ",bid"], "line 1: bid and ask come together"),
        ([HEADER, "2013-10-07 09:30,1,1,1,1"], "line 2: 5 cells, the header has 6"),
        ([HEADER, "monday,1,1,1,1,1"], "line 2: 'monday' is no ISO date or time"),
        ([HEADER, "2013-10-07 09:30:07,1,1,1,1,1"], "line 2: .* does not begin a minute"),
        ([HEADER, "2013-10-07 09:30,1,x,1,1,1"], "line 2: high 'x' is no number"),
        ([HEADER, "2013-10-07 09:30,1,inf,1,1,1"], "line 2: high 'inf' is not finite"),
        ([HEADER, "2013-10-07 09:30,1,1,1,1,1.5"], "line 2: volume 1.5 is not a whole number"),
        ([HEADER, "2013-10-07 09:30,2,1,1,2,1"], "line 2: inconsistent"),
        (
            [HEADER, "2013-10-07 09:30,1,1,1,1,1", "2013-10-07 09:30,1,1,1,1,1"],
            "line 3: .* is not later",
        ),
        (
            [HEADER + ",bid,ask", "2013-10-07 09:30,1,1,1,1,1,1.2,1.1"],
            "line 2: bid 1.2 and ask 1.1 are no quote",
        ),
    ],
)
def test_read_when_a_line_is_wrong_then_file_line_and_reason_are_named(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    path = write(tmp_path, "x.csv", *lines)
    with pytest.raises(ValueError, match=message) as caught:
        read_csv_folder(tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ibm,1999-05-27", "line 2: .*needed"),
        ("ibm,soon,2", "line 2: .*soon"),
        ("ibm,1999-05-27,-2", "line 2: ratio -2 must be positive"),
    ],
)
def test_read_when_a_split_is_wrong_then_it_is_named(
    tmp_path: Path, line: str, message: str
) -> None:
    write(tmp_path, "ibm.csv", HEADER, "2013-10-07 09:30,1,1,1,1,1")
    write(tmp_path, "splits.csv", "symbol,ex_date,ratio", line)
    with pytest.raises(ValueError, match=message):
        read_csv_folder(tmp_path)


def test_read_when_companies_pay_and_change_names_then_they_are_read(tmp_path: Path) -> None:
    write(tmp_path, "fb.csv", "date,open,high,low,close,volume", "2022-06-08,1,1,1,1,1")
    write(tmp_path, "dividends.csv", "symbol,ex_date,usd_a_share", "fb,2022-06-01,0.5")
    write(tmp_path, "name_changes.csv", "date,old,new", "2022-06-09,fb,meta")
    history = read_csv_folder(tmp_path)
    dividend = Dividend(symbol="FB", ex_date=date(2022, 6, 1), usd_a_share=0.5)
    assert history.dividends == history.daily["FB"].dividends == (dividend,)
    assert history.changes == (SymbolChange(old="FB", new="META", day=date(2022, 6, 9)),)


@pytest.mark.parametrize(
    ("name", "header", "line", "message"),
    [
        ("dividends.csv", "symbol,ex_date,usd_a_share", "fb,2022-06-01", "are needed"),
        ("dividends.csv", "symbol,ex_date,usd_a_share", "fb,2022-06-01,-1", "must be positive"),
        ("name_changes.csv", "date,old,new", "2022-06-09,fb,", "date, old and new are needed"),
        ("name_changes.csv", "date,old,new", "soon,fb,meta", "line 2: Invalid isoformat"),
    ],
)
def test_read_when_an_action_cannot_be_read_then_the_line_is_named(
    tmp_path: Path, name: str, header: str, line: str, message: str
) -> None:
    write(tmp_path, "fb.csv", "date,open,high,low,close,volume", "2022-06-08,1,1,1,1,1")
    write(tmp_path, name, header, line)
    with pytest.raises(ValueError, match=message):
        read_csv_folder(tmp_path)


def test_read_when_kinds_are_mixed_then_it_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", HEADER)
    write(tmp_path, "b.csv", "date,open,high,low,close,volume")
    with pytest.raises(ValueError, match="mixes daily files"):
        read_csv_folder(tmp_path)


def test_read_when_the_folder_is_empty_then_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no \.csv file"):
        read_csv_folder(tmp_path)
