"""`greenlight new-strategy`: writes the package of a strategy that plugs in.

Decided here: what such a package holds. It works as written: its test passes,
and once installed beside the desk its name can stand in GREENLIGHT_STRATEGIES.
"""

from __future__ import annotations

import re
from pathlib import Path
from string import Template
from typing import Annotated, Final

import typer

from cluster.processes import StartError

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_BUILT_IN: Final = ("mean_reversion", "news_reversal", "opening_range")

_PROJECT: Final = Template("""\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "greenlight-$dashed"
version = "0.1.0"
description = "A strategy for Greenlight"
requires-python = ">=3.11"
dependencies = ["numpy"]

[project.entry-points."greenlight.strategies"]
$name = "$name:$class_name"

[tool.setuptools]
py-modules = ["$name"]
""")

_MODULE: Final = Template('''\
"""Strategy $name: buy a close above every close of the last `bars`.

Change the rule, keep the shape: everything that the strategy remembers lies in
the state, so that the desk can store it and go on after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from greenlight.domain.indicators import ATR_STATE, FloatArray, atr_step
from greenlight.domain.market import Bar
from greenlight.domain.sentiment import Look
from greenlight.domain.signals import Missed, Signal

ATR_BARS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class $class_name:
    """Its fields are what GREENLIGHT_STRATEGY_PARAMS may set."""

    timeframe: str = "1Day"
    bars: int = 20
    stop_frac: float = 0.05
    target_frac: float = 0.05
    hold_sessions: int = 3

    @property
    def name(self) -> str:
        """Its name in settings and decisions."""
        return "$name"

    @property
    def warmup_bars(self) -> int:
        """Bars after which the state no longer depends on where it began."""
        return max(20 * ATR_BARS, self.bars)

    def new_state(self) -> FloatArray:
        """ATR's state, the count of bars, the last closes."""
        return np.zeros(ATR_STATE + 1 + self.bars)

    def step(self, state: FloatArray, bar: Bar, look: Look) -> Signal | Missed | None:
        """Take one bar. `look()` would tell what the news said of the symbol."""
        atr = atr_step(state[:ATR_STATE], bar.high, bar.low, bar.close, ATR_BARS)
        count, closes = int(state[ATR_STATE]), state[ATR_STATE + 1 :]
        is_highest = count >= self.bars and bar.close > closes.max()
        closes[count % self.bars] = bar.close
        state[ATR_STATE] = count + 1
        if not is_highest or np.isnan(atr):
            return None
        return Signal(
            strategy=self.name,
            symbol=bar.symbol,
            at=bar.end,
            confidence=1,  # 1 to 5: say here what your levels mean
            reference_price=bar.close,
            atr_usd=atr,
            stop_frac=self.stop_frac,
            target_frac=self.target_frac,
            hold_sessions=self.hold_sessions,
            features={"close": bar.close, "atr_usd": atr},
        )
''')

_TEST: Final = Template('''\
"""$class_name buys the first close above all of the last ones, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from greenlight.domain.market import Bar
from greenlight.domain.sentiment import unread
from greenlight.domain.signals import Signal, signal_fault
from $name import $class_name

T0 = datetime(2020, 1, 6, 5, tzinfo=UTC)


def bar(number: int, close: float) -> Bar:
    start = T0 + timedelta(days=number)
    return Bar(
        symbol="AAPL",
        start=start,
        end=start + timedelta(hours=16),
        open=close,
        high=close + 1,
        low=close - 1,
        close=close,
        volume=1000,
    )


def test_step_when_close_is_the_highest_then_signal_there_only() -> None:
    strategy = $class_name(bars=15)
    state = strategy.new_state()
    found = [
        strategy.step(state, bar(i, 110.0 if i == 20 else 100.0 + i % 3), unread)
        for i in range(25)
    ]
    assert [i for i, signal in enumerate(found) if signal is not None] == [20]
    signal = found[20]
    assert isinstance(signal, Signal)
    assert signal_fault(signal, strategy.name, bar(20, 110.0)) is None


def test_step_when_state_is_stored_and_read_again_then_goes_on_the_same() -> None:
    strategy = $class_name(bars=5)
    state, stored = strategy.new_state(), strategy.new_state()
    for i in range(60):
        stored[:] = stored.tolist()
        one = bar(i, 100.0 + (i * 7) % 11)
        assert strategy.step(state, one, unread) == strategy.step(stored, one, unread)
''')


def write_package(name: str, folder: Path) -> list[Path]:
    """Write the package of a new strategy.

    Parameters
    ----------
    name : str
        Lower case with underscores, at most 32 characters.
    folder : Path
        Where to; it must not exist or be empty.

    Returns
    -------
    list[Path]
        The files.

    Raises
    ------
    StartError
        The name cannot be used, or the folder has something in it.
    """
    if NAME.fullmatch(name) is None or name in _BUILT_IN:
        raise StartError(
            f"{name!r} cannot name a strategy; use lower case letters, digits and underscores, "
            f"and none of {', '.join(_BUILT_IN)}"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StartError(f"{folder} is not an empty folder; choose another with --folder")
    folder.mkdir(parents=True, exist_ok=True)
    words = {
        "name": name,
        "dashed": name.replace("_", "-"),
        "class_name": "".join(part.capitalize() for part in name.split("_")),
    }
    files = {
        "pyproject.toml": _PROJECT,
        f"{name}.py": _MODULE,
        f"test_{name}.py": _TEST,
    }
    for file, template in files.items():
        (folder / file).write_text(template.substitute(words))
    return [folder / file for file in files]


def new_strategy(
    name: Annotated[str, typer.Argument(help="Lower case with underscores, such as my_breakout.")],
    folder: Annotated[
        Path | None, typer.Option(help="Where to write it; by default ./NAME.", show_default=False)
    ] = None,
) -> None:
    """Write the package of a strategy of your own: module, test and entry point.

    Install it beside the desk and put its name into GREENLIGHT_STRATEGIES.
    """
    place = folder or Path(name)
    for path in write_package(name, place):
        typer.echo(str(path))
    typer.echo(f"\npip install --editable {place}    # then: GREENLIGHT_STRATEGIES={name}")


def register(app: typer.Typer) -> None:
    """Add the command to the `greenlight` command."""
    app.command()(new_strategy)
