"""What the backtest's command refuses, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cluster import cli_backtest
from cluster.processes import StartError
from greenlight.settings import SettingsError

APP = typer.Typer()
cli_backtest.register(APP)
APP.command(name="other")(lambda: None)


def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Exception:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(APP, ["backtest", *arguments])
    assert isinstance(result.exception, SettingsError | StartError)
    assert "\n" not in str(result.exception)
    return result.exception


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--strategy", "momentum"), "no strategy 'momentum'; there are mean_reversion"),
        (("--param", "rsi_oversold=120"), "GREENLIGHT_RSI_OVERSOLD: Input should be less than 100"),
        (("--param", "max_positions=9"), "GREENLIGHT_MAX_POSITIONS: Input should be less than"),
        (("--param", "speed=9"), "no such parameter; there are"),
        (("--param", "rsi_oversold"), "write NAME=VALUE"),
        (("--symbols", "AAPL,XYZ"), "bokeh has no XYZ; it has AAPL, FB, GOOG, IBM, MSFT"),
        (("--symbols", "FB"), "bokeh has no history of FB from 2008-01-02 to 2009-12-31"),
        (("--start", "2020-01-02", "--end", "2020-12-31"), "bokeh has no history of AAPL, FB"),
        (("--start", "2009-01-02", "--end", "2008-12-31"), "is after GREENLIGHT_END"),
        (("--source", "csv:/nowhere"), "source 'csv:/nowhere'"),
    ],
)
def test_backtest_when_asked_for_what_cannot_be_then_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], told: str
) -> None:
    assert told in str(refused(tmp_path, monkeypatch, *arguments))
