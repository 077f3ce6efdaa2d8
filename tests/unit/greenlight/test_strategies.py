"""Names in the settings become strategies, or one line that says why not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from greenlight.domain.mean_reversion import MeanReversion
from greenlight.domain.news_reversal import NewsReversal
from greenlight.domain.opening_range import OpeningRange
from greenlight.settings import Settings, SettingsError
from greenlight.strategies import build_strategies, plugged_in, plugged_in_hash

ALL = "mean_reversion,news_reversal,opening_range"


def settings(**given: object) -> Settings:
    return Settings(_env_file=None, **given)  # type: ignore[arg-type,call-arg]


def plug_in(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str) -> None:
    """Put a module with an entry point where an installer would."""
    (folder / f"plug_{name}.py").write_text(code)
    told = folder / f"plug_{name}-1.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: plug-{name}\nVersion: 1\n")
    (told / "entry_points.txt").write_text(
        f"[greenlight.strategies]\n{name} = plug_{name}:Plugged\n"
    )
    monkeypatch.syspath_prepend(str(folder))


def plugged(name: str = "mine", timeframe: str = "1Day", length: str = "1") -> str:
    return f"""
from dataclasses import dataclass
import numpy as np

@dataclass
class Plugged:
    depth: int = 3
    name: str = {name!r}
    timeframe: str = {timeframe!r}
    warmup_bars: int = 0
    def new_state(self):
        return np.zeros({length})
    def step(self, state, bar, look):
        return None
"""


def test_build_when_nothing_is_said_then_mean_reversion_as_in_its_class() -> None:
    assert build_strategies(settings()) == (MeanReversion(),)


def test_build_when_all_are_named_then_settings_defaults_are_the_classes() -> None:
    made = build_strategies(settings(strategies=ALL))
    assert made == (MeanReversion(), NewsReversal(), OpeningRange())
    assert [s.name for s in made] == ALL.split(",")
    assert [s.timeframe for s in made] == ["1Day", "1Day", "1Min"]


def test_build_when_settings_differ_then_each_reaches_its_strategy() -> None:
    made = build_strategies(
        settings(
            strategies=ALL,
            rsi_period=9,
            trend_period=50,
            max_atr_frac=0.01,
            news_timeframe="1Min",
            news_fall_sigmas=3.0,
            news_turn_bars=2,
            range_minutes=15,
            range_hold_sessions=1,
        )
    )
    assert made == (
        MeanReversion(period=9, trend_period=50, max_atr_frac=0.01),
        NewsReversal(timeframe="1Min", min_sigmas=3.0, turn_bars=2),
        OpeningRange(range_minutes=15, hold_sessions=1),
    )


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("moon_phase", "no strategy 'moon_phase'; there are mean_reversion"),
        ("mean_reversion,mean_reversion", "once"),
        ("", "once"),
    ],
)
def test_build_when_names_are_wrong_then_one_line(names: str, says: str) -> None:
    with pytest.raises(SettingsError, match=f"^GREENLIGHT_STRATEGIES: .*{says}") as caught:
        build_strategies(settings(strategies=names))
    assert "\n" not in str(caught.value)


def test_build_when_params_are_for_nobody_then_one_line() -> None:
    with pytest.raises(SettingsError, match=r"^GREENLIGHT_STRATEGY_PARAMS: mean_reversion"):
        build_strategies(settings(strategy_params={"mean_reversion": {"period": 3}}))


def test_build_when_one_is_plugged_in_then_made_with_its_params(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(tmp_path, monkeypatch, "mine", plugged())
    assert "mine" in plugged_in()
    assert "plug_mine" not in sys.modules, "looking for it must not import it"
    chosen = settings(strategies="opening_range,mine", strategy_params={"mine": {"depth": 5}})
    _, made = build_strategies(chosen)
    assert (made.name, made.depth) == ("mine", 5)  # type: ignore[attr-defined]
    assert len(plugged_in_hash(chosen)) == 64
    assert plugged_in_hash(settings()) == ""


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("gone", "raise ImportError('no such\\nthing')", "ImportError: no such thing"),
        ("bare", "x = 1", "AttributeError"),
        ("alias", plugged("other"), "calls itself 'other'"),
        ("slow", plugged("slow", "5Min"), "timeframe '5Min'"),
        ("empty", plugged("empty", length="0"), "timeframe"),
    ],
)
def test_build_when_the_plugged_in_one_is_bad_then_one_line(
    name: str, code: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(tmp_path, monkeypatch, name, code)
    with pytest.raises(SettingsError, match=f"^GREENLIGHT_STRATEGIES: {name}: .*{says}") as caught:
        build_strategies(settings(strategies=name))
    assert "\n" not in str(caught.value)


def test_build_when_its_params_do_not_fit_then_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(tmp_path, monkeypatch, "fits", plugged("fits"))
    with pytest.raises(SettingsError, match=r"fits: TypeError: .*width"):
        build_strategies(settings(strategies="fits", strategy_params={"fits": {"width": 1}}))
