"""What the search's commands refuse, in one line, before anything runs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from cluster import cli_bias, cli_walkforward
from cluster.processes import StartError
from cluster.search_input import axis
from greenlight.adapters.history import as_dates
from greenlight.adapters.history_bokeh import read_bokeh
from greenlight.settings import SettingsError

APP = typer.Typer()
cli_walkforward.register(APP)
cli_bias.register(APP)


def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(APP, [*arguments])
    assert isinstance(result.exception, SettingsError | StartError), result.output
    told = str(result.exception)
    assert "\n" not in told
    assert not (tmp_path / ".greenlight" / "postgres").exists()
    return told


@pytest.mark.parametrize("command", ["walkforward", "sweep"])
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--strategy", "momentum"), "no strategy 'momentum'; there are mean_reversion"),
        (("--grid", "rsi_oversold=30,120"), "GREENLIGHT_RSI_OVERSOLD: Input should be less"),
        (("--grid", "momentum=1,2"), "no such parameter; there are"),
        (("--grid", "rsi_oversold"), "write NAME=V1,V2"),
        (("--grid", "rsi_oversold=30,30"), "each value once"),
        (("--grid", "rsi_oversold=20:40"), "write NAME=FIRST:LAST:STEP"),
        (("--grid", "rsi_oversold=20:40:0"), "write NAME=FIRST:LAST:STEP"),
        (("--grid", "rsi_oversold=1:99:0.001"), "at most 10000"),
        (("--symbols", "AAPL,XYZ"), "bokeh has no XYZ; it has AAPL, FB, GOOG, IBM, MSFT"),
        (("--symbols", "FB"), "bokeh has no history of FB from 2008-01-02 to 2009-12-31"),
        (("--start", "2020-01-02", "--end", "2020-12-31"), "bokeh has no history of AAPL, FB"),
        (("--start", "2009-01-02", "--end", "2008-12-31"), "is after GREENLIGHT_END"),
        (("--source", "csv:/nowhere"), "source 'csv:/nowhere'"),
    ],
)
def test_search_when_asked_for_what_cannot_be_then_told_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    arguments: tuple[str, ...],
    told: str,
) -> None:
    assert told in refused(tmp_path, monkeypatch, command, *arguments)


SHORT = ("--symbols", "AAPL", "--grid", "rsi_oversold=30")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--start", "2009-06-01"), "are too few for 5 folds: 504 choose"),
        (("--folds", "400"), "are too few for 400 folds"),
        (("--strategy", "opening_range", "--grid", "rsi_oversold=30"), "no such parameter"),
    ],
)
def test_walkforward_when_the_window_has_no_room_then_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], told: str
) -> None:
    assert told in refused(tmp_path, monkeypatch, "walkforward", *SHORT[:2], *arguments)


def write_csv(folder: Path, without: str) -> None:
    folder.mkdir()
    series = read_bokeh("IBM")
    with (folder / "IBM.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("date", "open", "high", "low", "close", "volume"))
        for i, day in enumerate(as_dates(series.days)):
            if str(day) != without:
                prices = (series.open[i], series.high[i], series.low[i], series.close[i])
                writer.writerow((day, *map(float, prices), int(series.volume[i])))


@pytest.mark.parametrize("command", ["walkforward", "sweep", "lookahead-analysis"])
def test_command_when_the_history_has_a_hole_then_refused_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    write_csv(tmp_path / "data", without="2008-03-05")
    told = refused(tmp_path, monkeypatch, command, "--source", f"csv:{tmp_path / 'data'}")
    assert "IBM lacks 1 sessions, the first on 2008-03-05" in told


def test_lookahead_analysis_when_built_in_then_nothing_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(APP, ["lookahead-analysis", "--symbols", "AAPL,IBM"])
    assert result.exit_code == 0, result.output
    assert result.output.count("no finding") == 2
    assert "survivorship" in result.output


def test_grid_when_written_as_a_range_then_both_ends_are_in_it() -> None:
    assert axis("rsi_oversold=20:40:5") == (
        "rsi_oversold",
        ("20", "25", "30", "35", "40"),
    )
    found = axis("x=0.1:0.3:0.1")[1]
    assert np.allclose([float(value) for value in found], [0.1, 0.2, 0.3])
