"""The backtest's command as a person runs it: a folder without a desk, then again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

YEAR = ("--start", "2008-01-02", "--end", "2008-12-31", "--no-forecasts")


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cluster.cli", "--home", str(home), "backtest", *arguments]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GREENLIGHT_")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def found(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_backtest_when_run_again_then_one_trial_and_with_other_parameters_another(
    tmp_path: Path,
) -> None:
    first = found(run(tmp_path, *YEAR, "--json"))
    assert (first["is_new_trial"], first["trials"]) == (True, 1)
    assert first["figures"]["trades"] == len(first["trades"]) > 0
    again = found(run(tmp_path, *YEAR, "--json"))
    assert (again["is_new_trial"], again["trials"]) == (False, 1)
    assert again["trades"] == first["trades"]
    other = run(tmp_path, *YEAR, "--param", "rsi_oversold=25")
    assert other.returncode == 0, other.stderr
    assert "the ledger has 2" in other.stdout
    assert "months with trading" in other.stdout


def test_backtest_when_a_strategy_is_unknown_then_one_line_and_exit_2(tmp_path: Path) -> None:
    done = run(tmp_path, "--strategy", "momentum")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("greenlight: GREENLIGHT_STRATEGIES: no strategy 'momentum'")
    assert not (tmp_path / "postgres").exists()
