"""A report as JSON: every figure, and for one that is missing its reason."""

from __future__ import annotations

import json
from dataclasses import asdict

from cluster.cli_report import as_plain
from greenlight.domain.reports import Period, report
from tests.report_cases import WED, inputs


def test_plain_when_a_report_is_given_then_json_with_utc_times_and_reasons() -> None:
    found = json.loads(json.dumps(as_plain(asdict(report(inputs(Period.WEEKLY, WED))))))
    assert found["at"] == "2008-01-16T22:00:00.000000+00:00"
    assert found["span"] == {"period": "weekly", "first": "2008-01-14", "last": "2008-01-20"}
    assert found["totals"]["net_usd"] == 100.0
    assert found["totals"]["win_rate"]["wins"] == 1
    assert found["regimes"] == {"value": None, "reason": "in the monthly report"}
    assert [group["name"] for group in found["by_symbol"]] == ["AAPL", "MSFT", "IBM"]
