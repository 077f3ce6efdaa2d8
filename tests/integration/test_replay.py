"""Whole replays through the command and the live actors, on the default and on real data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from greenlight.adapters.history import IntradayQuotes
from greenlight.adapters.history_lean import open_lean
from greenlight.domain.audit import DecisionKind, Verdict
from greenlight.domain.market import EASTERN
from greenlight.domain.orders import Side
from tests.desk_harness import running_desk
from tests.shared_data import lean_root

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BIN = Path(sys.executable).parent / "greenlight"


def _replay(home: Path, *prefix: str) -> dict[str, object]:
    done = subprocess.run(
        [
            *(*prefix, str(BIN), "--home", str(home), "replay", "--json"),
            *("--start", "2008-01-14", "--end", "2008-01-31"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_replay_when_run_on_one_core_and_on_all_then_the_digests_are_equal(tmp_path: Path) -> None:
    taskset = shutil.which("taskset")
    if taskset is None:
        pytest.skip("taskset pins the second run to one core, and is not installed")
    all_cores = _replay(tmp_path / "all")
    one_core = _replay(tmp_path / "one", taskset, "-c", "0")

    assert all_cores["sessions"] == 13
    assert int(str(all_cores["fills_count"])) >= 4
    for key in ("decisions", "fills", "decisions_count", "fills_count", "end_usd"):
        assert one_core[key] == all_cores[key], key

    printed = subprocess.run(
        [str(BIN), "--home", str(tmp_path / "one"), "--replay", "audit", "digest", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(printed.stdout)["decisions"] == all_cores["decisions"]

    shown = subprocess.run(
        [str(BIN), "--home", str(tmp_path / "one"), "--replay", "volatility", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    nightly = json.loads(shown.stdout)
    assert [row["symbol"] for row in nightly["forecasts"]] == ["AAPL", "GOOG", "IBM", "MSFT"]
    assert nightly["failed"] == {"FB": "history too short: 0 daily bars, 251 are needed"}
    assert {row["through"] for row in nightly["forecasts"]} == {"2008-01-31"}
    assert nightly["sessions_scored"] == 12


@pytest.mark.shared_data
def test_replay_when_quotes_are_real_then_every_fill_lies_inside_them(tmp_path: Path) -> None:
    root = lean_root()
    with running_desk(
        tmp_path, source=f"lean:{root}", start="2013-10-07", end="2013-10-09", timeframe="1Min"
    ) as running:
        running.finish()
        store = running.store()
        fills = store.fills(limit=None)
        taken = [
            row.decision.symbol
            for row in store.decisions(limit=None)
            if row.decision.kind is DecisionKind.ENTRY and row.decision.verdict is Verdict.TAKEN
        ]
        store.close()

    assert set(taken) == {"BAC", "IBM", "SPY"}
    assert len(fills) >= 3
    folder = open_lean(root)
    for fill in fills:
        quotes = folder.minute_quotes(fill.symbol, fill.at.date())
        low, high = _bounds(quotes, fill.at)
        assert low <= float(fill.price) <= high, fill


def _bounds(quotes: IntradayQuotes, at: datetime) -> tuple[float, float]:
    """Lowest bid and highest ask of the fill's minute and of the one before it."""
    local = at.astimezone(EASTERN)
    minute = local.hour * 60 + local.minute
    rows = (quotes.minute == minute) | (quotes.minute == minute - 1)
    assert rows.any(), f"no quotes around {at}"
    return float(quotes.bid[rows].min()), float(quotes.ask[rows].max())


@pytest.mark.fault("split overnight, stop not adjusted")
@pytest.mark.shared_data
def test_replay_when_a_stock_splits_then_no_stop_fires_and_the_position_is_resized(
    tmp_path: Path,
) -> None:
    root = lean_root()
    with running_desk(
        tmp_path,
        source=f"lean:{root}",
        start="2014-06-05",
        end="2014-06-09",
        timeframe="1Min",
        symbols="AAPL",
    ) as running:
        running.finish()
        store = running.store()
        fills = store.fills(limit=None)
        position = store.position("AAPL")
        window = datetime(2014, 6, 5, tzinfo=UTC), datetime(2014, 6, 10, tzinfo=UTC)
        marks = store.equity(*window, "broker")
        minutes = store.equity(*window, "desk")
        cash = store.cash()
        trades = store.trades(limit=None)
        adjusted = [
            row.decision
            for row in store.decisions(limit=None)
            if row.decision.kind is DecisionKind.ADJUST
        ]
        coverage = store.coverage(*window)
        store.close()
        orders = running.broker.open_orders("AAPL")
        held = running.broker.positions()
        account = running.broker.account()

    bought = sum(f.qty for f in fills if f.side is Side.BUY)
    assert bought > 0
    assert not [f for f in fills if f.side is Side.SELL], "the split fired a stop"
    assert position is not None
    assert position.qty == bought * 7 == held[0].qty
    before = float(str(adjusted[0].figures["stop_price.before"]))
    assert len(adjusted) == 1
    assert float(position.stop_price) == pytest.approx(before / 7, abs=0.01)
    assert adjusted[0].at < datetime(2014, 6, 9, 13, 30, tzinfo=UTC)
    stops = [o for o in orders if o.stop_price is not None]
    assert sum(o.remaining for o in stops) == position.qty
    assert {o.stop_price for o in stops} == {position.stop_price}
    # Covered for the new size before the open, and from then on.
    opened = datetime(2014, 6, 9, 13, 30, tzinfo=UTC)
    assert [c.covered_qty for c in coverage if c.at < opened][-1] == position.qty
    # The split itself neither earns nor loses. The last bar before it closed at 645.57,
    # the first after it opened at 92.69: 0.5% up, and 1.6% at the end of the day.
    before = [m for m in minutes if m.at < opened][-1]
    after = next(m for m in minutes if m.at > opened)
    moved = float(after.exposure_usd / before.exposure_usd)
    assert moved == pytest.approx(92.69 * 7 / 645.57, abs=0.003)
    assert after.cash_usd == before.cash_usd == cash == account.cash
    steps = [float(b.equity_usd / a.equity_usd) - 1 for a, b in pairwise(minutes)]
    assert max(map(abs, steps)) < 0.01
    assert abs(float(marks[-1].equity_usd / marks[-2].equity_usd) - 1) < 0.02
    # What the shares cost, and so their gain, is what was paid for them.
    assert trades == []
    assert position.cost_usd == sum((f.price * f.qty for f in fills), Decimal(0))
    assert float(account.equity - account.cash - position.cost_usd) == pytest.approx(
        position.qty * float(held[0].current_price or 0) - float(position.cost_usd)
    )


def test_replay_when_a_setting_is_bad_then_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            str(BIN),
            "--home",
            str(tmp_path),
            "replay",
            "--start",
            "1999-01-04",
            "--end",
            "1999-02-01",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "GREENLIGHT_SOURCE": "bokeh"},
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no session from 1999-01-04 to 1999-02-01" in done.stderr
    assert "GREENLIGHT_START" in done.stderr
