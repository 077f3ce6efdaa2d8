from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cluster.paper_exchange.orders import rfc3339, to_ns
from cluster.paper_exchange.refusal import Refused
from cluster.paper_exchange.timeframes import fold, parse_timeframe


@pytest.mark.parametrize(
    ("timeframe", "start"),
    [
        # 2014-06-10 (Tuesday) 14:47 New York is 18:47Z in summer.
        ("1Min", "2014-06-10T18:47:00Z"),
        ("5Min", "2014-06-10T18:45:00Z"),
        ("1Hour", "2014-06-10T18:00:00Z"),
        ("1Day", "2014-06-10T04:00:00Z"),
        ("1Week", "2014-06-09T04:00:00Z"),
        ("1Month", "2014-06-01T04:00:00Z"),
        ("3M", "2014-04-01T04:00:00Z"),
    ],
)
def test_bucket_when_timeframe_given_then_starts_by_the_new_york_clock(
    timeframe: str, start: str
) -> None:
    at = datetime(2014, 6, 10, 18, 47, 12, tzinfo=UTC)
    assert rfc3339(parse_timeframe(timeframe).bucket_ns(to_ns(at))) == start


def test_bucket_when_winter_then_midnight_is_five_utc() -> None:
    at = datetime(2014, 1, 7, 15, 0, tzinfo=UTC)
    assert rfc3339(parse_timeframe("1Day").bucket_ns(to_ns(at))) == "2014-01-07T05:00:00Z"


@pytest.mark.parametrize("value", ["", "1", "0Min", "60Min", "5Month", "1Year", "min"])
def test_parse_when_not_a_timeframe_then_400(value: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_timeframe(value)
    assert caught.value.status == 400


def test_fold_when_minutes_become_five_then_first_last_extremes_and_sums() -> None:
    start = to_ns(datetime(2014, 6, 10, 13, 30, tzinfo=UTC))
    closes = (10.0, 12.0, 9.0, 11.0, 10.5, 20.0)
    bars = [
        (
            start + i * 60_000_000_000,
            {"o": c - 0.5, "h": c + 1, "l": c - 1, "c": c, "v": 100 * (i + 1), "n": 1, "vw": c},
        )
        for i, c in enumerate(closes)
    ]
    folded = list(fold(bars, parse_timeframe("5Min")))
    assert [rfc3339(at) for at, _ in folded] == ["2014-06-10T13:30:00Z", "2014-06-10T13:35:00Z"]
    first = folded[0][1]
    # Volume-weighted: (1000 + 2400 + 2700 + 4400 + 5250) / 1500
    assert first == {"o": 9.5, "h": 13.0, "l": 8.0, "c": 10.5, "v": 1500, "n": 5, "vw": 10.5}
