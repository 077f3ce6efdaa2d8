"""A download: chunk by chunk, on after what is there, and no half line taken for a whole one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from greenlight.adapters.history_csv import read_csv_folder
from greenlight.domain.market import Bar, Dividend, Split, eastern_midnight, sessions_between
from greenlight.ports import BrokerUnavailable
from jobs.download import chunks, download

START, END = date(2012, 11, 1), date(2014, 2, 28)


class Feed:
    """Every session at its number of days; it can be away for a while."""

    def __init__(self, away: int = 0) -> None:
        self.away = away
        self.asked: list[tuple[str, date, date]] = []

    def bars(
        self, symbols: Sequence[str], timeframe: str, start: datetime, end: datetime
    ) -> dict[str, list[Bar]]:
        if self.away:
            self.away -= 1
            raise BrokerUnavailable("429")
        first, last = start.date(), (end - timedelta(hours=12)).date()
        self.asked.append((symbols[0], first, last))
        step = timedelta(minutes=1)
        found = []
        for s in sessions_between(first, last):
            price = 10.0 + (s.day - START).days
            begins = (
                [eastern_midnight(s.day)]
                if timeframe == "1Day"
                else [s.open - step, s.open, s.open + step, s.close]
            )
            for at in begins:
                prices = {"open": price, "high": price, "low": price, "close": price}
                found.append(Bar(symbol=symbols[0], start=at, end=at + step, volume=100, **prices))
        return {symbols[0]: found}

    def splits(self, symbols: Sequence[str], start: date, end: date) -> tuple[Split, ...]:
        return (Split(symbol="AAA", ex_date=date(2013, 5, 1), ratio=2.0),)

    def dividends(self, symbols: Sequence[str], start: date, end: date) -> tuple[Dividend, ...]:
        return (Dividend(symbol="AAA", ex_date=date(2013, 6, 3), usd_a_share=0.25),)


def never(_: float) -> None:
    raise AssertionError("nothing to wait for")


def test_chunks_when_cut_then_calendar_years_or_months_without_a_gap() -> None:
    assert chunks("1Day", START, END) == [
        (date(2012, 11, 1), date(2012, 12, 31)),
        (date(2013, 1, 1), date(2013, 12, 31)),
        (date(2014, 1, 1), date(2014, 2, 28)),
    ]
    months = chunks("1Min", START, END)
    assert len(months) == 16
    assert months[1] == (date(2012, 12, 1), date(2012, 12, 31))


def test_download_when_whole_then_a_source_with_what_befell_the_companies(tmp_path: Path) -> None:
    found = list(download(Feed(), ("AAA", "BBB"), "1Day", START, END, tmp_path, never))
    assert [(d.symbol, d.through.year) for d in found] == [
        (symbol, year) for symbol in ("AAA", "BBB") for year in (2012, 2013, 2014)
    ]
    history = read_csv_folder(tmp_path)
    days = [str(s.day) for s in sessions_between(START, END)]
    assert history.daily["BBB"].days.astype(str).tolist() == days
    assert history.daily["AAA"].close[0] == 10.0
    assert [s.ratio for s in history.daily["AAA"].splits] == [2.0]
    assert [d.usd_a_share for d in history.daily["AAA"].dividends] == [0.25]


def test_download_when_cut_off_in_a_line_then_it_goes_on_after_the_last_whole_one(
    tmp_path: Path,
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    list(download(Feed(), ("AAA",), "1Day", START, END, whole, never))
    text = (whole / "AAA.csv").read_text()
    cut.mkdir()
    (cut / "AAA.csv").write_text(text[: text.index("2013-07-03") + 14])
    feed = Feed()
    list(download(feed, ("AAA",), "1Day", START, END, cut, never))
    assert (cut / "AAA.csv").read_text() == text
    assert feed.asked[0] == ("AAA", date(2013, 7, 3), date(2013, 12, 31))
    again = Feed()
    list(download(again, ("AAA",), "1Day", START, END, cut, never))
    assert again.asked == []


def test_download_when_minutes_then_the_session_s_own_and_its_last_day_again(
    tmp_path: Path,
) -> None:
    start, end = date(2013, 10, 7), date(2013, 10, 9)
    list(download(Feed(), ("AAA",), "1Min", start, end, tmp_path, never))
    text = (tmp_path / "AAA.csv").read_text()
    assert text.splitlines()[1].startswith("2013-10-07T09:30:00-04:00,")
    assert len(text.splitlines()) == 1 + 3 * 2
    (tmp_path / "AAA.csv").write_text(text[: text.rindex("2013-10-09")])
    feed = Feed()
    list(download(feed, ("AAA",), "1Min", start, end, tmp_path, never))
    assert (tmp_path / "AAA.csv").read_text() == text
    assert feed.asked == [("AAA", date(2013, 10, 9), date(2013, 10, 9))]


def test_download_when_the_broker_is_away_then_asked_again_and_at_last_given_up(
    tmp_path: Path,
) -> None:
    waits: list[float] = []
    list(download(Feed(away=2), ("AAA",), "1Day", START, END, tmp_path, waits.append))
    assert waits == [2.0, 10.0]
    with pytest.raises(BrokerUnavailable):
        list(download(Feed(away=9), ("BBB",), "1Day", START, END, tmp_path, waits.append))
    assert not (tmp_path / "splits.part").exists()


def test_download_when_a_file_is_of_another_kind_or_begins_later_then_refused(
    tmp_path: Path,
) -> None:
    list(download(Feed(), ("AAA",), "1Day", date(2013, 6, 3), END, tmp_path, never))
    with pytest.raises(ValueError, match="begins on 2013-06-03, after 2012-11-01"):
        list(download(Feed(), ("AAA",), "1Day", START, END, tmp_path, never))
    with pytest.raises(ValueError, match="other columns"):
        list(download(Feed(), ("AAA",), "1Min", START, END, tmp_path, never))
