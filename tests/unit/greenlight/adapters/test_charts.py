"""A report's picture is a PNG, whatever the report lacks."""

from __future__ import annotations

import pytest

from greenlight.adapters.charts import draw
from greenlight.domain.metrics import EMPTY_SERIES
from greenlight.domain.reports import Period, report
from tests.report_cases import WED, inputs, marks


@pytest.mark.parametrize("period", list(Period))
def test_draw_when_a_report_is_given_then_a_png_of_its_size(period: Period) -> None:
    png = draw(report(inputs(period, WED)), marks())
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
    assert (width, height) == (1040, 936)


def test_draw_when_nothing_was_marked_or_traded_then_still_a_png() -> None:
    png = draw(report(inputs(Period.DAILY, WED, trades=())), EMPTY_SERIES)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
