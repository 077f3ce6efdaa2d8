"""The package that `greenlight new-strategy` writes works as written."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cluster.new_strategy import write_package
from cluster.processes import StartError

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", ["breakout", "my_second_one"])
def test_write_when_its_test_is_run_then_passes_and_the_desk_finds_it(
    name: str, tmp_path: Path
) -> None:
    folder = tmp_path / name
    files = write_package(name, folder)
    assert [path.name for path in files] == ["pyproject.toml", f"{name}.py", f"test_{name}.py"]

    project = tomllib.loads(files[0].read_text())
    points = project["project"]["entry-points"]["greenlight.strategies"]
    # What an installer makes of the project file.
    told = folder / f"{project['project']['name'].replace('-', '_')}-0.1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    lines = [f"{key} = {value}" for key, value in points.items()]
    (told / "entry_points.txt").write_text("\n".join(["[greenlight.strategies]", *lines]))

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", files[2].name],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout

    code = (
        "from greenlight.settings import Settings; from greenlight.strategies import *;"
        f"s = Settings(strategies='{name}', strategy_params={{'{name}': {{'bars': 7}}}});"
        "made, = build_strategies(s); print(made.name, made.bars, len(plugged_in_hash(s)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert found.stdout.split() == [name, "7", "64"], found.stderr


@pytest.mark.parametrize("name", ["", "Upper", "two words", "1st", "a" * 33, "mean_reversion"])
def test_write_when_name_cannot_be_used_then_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot name a strategy") as caught:
        write_package(name, tmp_path / "there")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "there").exists()


def test_write_when_folder_has_something_then_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(StartError, match="not an empty folder"):
        write_package("breakout", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
