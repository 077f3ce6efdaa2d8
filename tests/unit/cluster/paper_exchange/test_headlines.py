"""Made-up headlines follow the prices, are marked, and are the same each time."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from cluster.paper_exchange.headlines import FALL_FRAC, Headlines
from cluster.paper_exchange.sources import open_source
from cluster.paper_exchange.tapes import TapeLibrary
from greenlight.domain.market import eastern_date

SOURCE = open_source("bokeh")
SESSIONS = SOURCE.sessions(date(2008, 1, 2), date(2008, 2, 29))


def headlines(seed: int = 0) -> Headlines:
    return Headlines(TapeLibrary(SOURCE), SESSIONS, seed=seed)


MADE = headlines().between(date(2008, 1, 2), date(2008, 2, 29))


def test_make_when_run_twice_then_the_same_and_another_seed_differs() -> None:
    assert headlines().between(date(2008, 1, 2), date(2008, 2, 29)) == MADE
    assert headlines(1).between(date(2008, 1, 2), date(2008, 2, 29)) != MADE


def test_make_when_shown_then_marked_synthetic_and_numbered_once() -> None:
    assert len(MADE) > 20
    for article in MADE:
        assert article["source"] == article["author"] == "synthetic"
        assert article["headline"].startswith("[synthetic] ")
    assert len({article["id"] for article in MADE}) == len(MADE)


def test_make_when_a_price_has_fallen_then_bad_news_only_after_it_and_for_it() -> None:
    library = TapeLibrary(SOURCE)
    bad = [a for a in MADE if any(w in a["headline"] for w in ("plunge", "hit", "falls", "tumble"))]
    told = {(eastern_date(_at(a)), a["symbols"][0]): _at(a) for a in bad}
    fallen = {}
    for session in SESSIONS:
        for symbol, tape in library.session(session.day).items():
            found = library.previous_row(symbol, session.day)
            assert found is not None
            level = found[1]["c"] * (1 - FALL_FRAC)
            for minute, bar in enumerate(tape.bars):
                if bar is not None and bar[3] <= level:
                    fallen[session.day, symbol] = session.open + timedelta(minutes=minute + 1)
                    break
    assert told.keys() == fallen.keys()
    assert all(timedelta(0) <= told[key] - fallen[key] < timedelta(minutes=10) for key in told)


def test_make_when_asked_by_the_minute_then_every_article_once() -> None:
    made = headlines()
    session = next(s for s in SESSIONS if made.on(s.day))
    told = [a for minute in range(session.minutes) for a in made.at_minute(session, minute)]
    assert told == made.on(session.day)


@pytest.mark.parametrize("day", [date(2007, 12, 31), date(2008, 1, 5), date(2008, 3, 3)])
def test_make_when_day_is_not_replayed_then_none(day: date) -> None:
    assert headlines().on(day) == []


def _at(article: dict[str, object]) -> datetime:
    return datetime.fromisoformat(str(article["created_at"]))
