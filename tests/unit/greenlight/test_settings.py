"""Settings: from the environment, validated, never leaking a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from greenlight.domain.desk_state import RiskLimits
from greenlight.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(("GREENLIGHT_", "APCA_")) or name in {"DATABASE_URL", "REDIS_URL"}:
            monkeypatch.delenv(name)
    # No .env of the folder that the tests run in.
    monkeypatch.chdir(tmp_path)


def test_load_when_nothing_is_set_then_limits_of_the_seeds() -> None:
    settings = load_settings()
    limits = settings.limits()
    assert limits == RiskLimits()
    assert (limits.risk_frac, limits.max_positions, limits.max_weight_frac) == (0.02, 5, 0.20)
    assert (limits.max_daily_loss_usd, limits.max_drawdown_frac) == (500, 0.10)
    assert (limits.max_correlation, limits.winners_to_raise) == (0.8, 10)
    assert (settings.stop_frac, settings.hold_sessions) == (0.05, 3)
    assert settings.database_url is None


def test_load_when_environment_names_them_then_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENLIGHT_RISK_FRAC", "0.01")
    monkeypatch.setenv("GREENLIGHT_SYMBOLS", "aapl, ibm,,")
    monkeypatch.setenv("DATABASE_URL", "postgresql://somewhere/desk")
    settings = load_settings()
    assert settings.limits().risk_frac == 0.01
    assert settings.symbols == ("AAPL", "IBM")
    assert settings.database_url == "postgresql://somewhere/desk"


def test_load_when_command_line_says_otherwise_then_it_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GREENLIGHT_RISK_FRAC", "0.01")
    assert load_settings(risk_frac=0.005).risk_frac == 0.005
    assert load_settings(risk_frac=None).risk_frac == 0.01


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RISK_FRAC", "0.021"),
        ("RISK_FRAC", "0"),
        ("RISK_FRAC", "nan"),
        ("BASE_RISK_FRAC", "0.03"),
        ("WINNERS_TO_RAISE", "9"),
        ("MAX_DAILY_LOSS_USD", "500.01"),
        ("MAX_DRAWDOWN_FRAC", "0.11"),
        ("MAX_CORRELATION", "0.81"),
        ("MAX_PRICE_MOVE_FRAC", "0.21"),
        ("MAX_SECTOR_FRAC", "1.1"),
        ("MAX_ENTRIES_A_MINUTE", "0"),
        ("MAX_ENTRIES_AN_HOUR", "0"),
        ("SECTORS", "AAPL"),
        ("STOP_FRAC", "0.051"),
        ("MAX_POSITIONS", "6"),
        ("HOLD_SESSIONS", "4"),
        ("TIMEFRAME", "5Min"),
        ("DESK", "two words"),
        ("EXCHANGE_PORT", "70000"),
        ("START", "yesterday"),
        ("SENTIMENT", "guess"),
        ("HEADLINES", "real"),
        ("RANGE_HOLD_SESSIONS", "2"),
        ("NEWS_MAX_SCORE", "0.1"),
        ("ENTRY_REPRICES", "6"),
        ("ENTRY_REPRICE_AFTER_S", "0"),
        ("ENTRY_CHASE_BPS", "101"),
        ("ALERTS", "halt=off"),
        ("MILESTONE_USD", "0"),
    ],
)
def test_load_when_a_value_is_not_allowed_then_one_line_names_it(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"GREENLIGHT_{name}", value)
    with pytest.raises(SettingsError, match=f"^GREENLIGHT_{name}: .*") as caught:
        load_settings()
    assert value in str(caught.value)
    assert "\n" not in str(caught.value)


def test_load_when_strategies_are_listed_then_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENLIGHT_STRATEGIES", "mean_reversion, Opening_Range")
    monkeypatch.setenv("GREENLIGHT_STRATEGY_PARAMS", '{"mine": {"bars": 3}}')
    settings = load_settings()
    assert settings.strategies == ("mean_reversion", "opening_range")
    assert settings.strategy_params == {"mine": {"bars": 3}}


def test_load_when_params_are_no_json_then_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENLIGHT_STRATEGY_PARAMS", "bars=3")
    with pytest.raises(SettingsError, match=r"^GREENLIGHT_STRATEGY_PARAMS: not") as caught:
        load_settings()
    assert "\n" not in str(caught.value)


def test_load_when_start_is_after_end_then_says_to_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENLIGHT_START", "2010-01-04")
    with pytest.raises(SettingsError, match="swap them"):
        load_settings()


def test_show_when_secret_is_set_then_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APCA_API_SECRET_KEY", "hunter2")
    settings = load_settings()
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()
    assert settings.api_secret_key is not None
    assert settings.api_secret_key.get_secret_value() == "hunter2"


def test_change_when_loaded_then_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().risk_frac = 0.01  # type: ignore[misc]


@pytest.mark.parametrize(
    "change",
    [
        {"strategies": "opening_range"},
        {"strategy_params": {"mine": {"bars": 3}}},
        {"strategy_deadline_s": 2.0},
        {"trend_period": 100},
        {"trend_slack_frac": 0.0},
        {"max_atr_frac": 0.05},
        {"news_timeframe": "1Min"},
        {"news_volatility_bars": 30},
        {"news_fall_bars": 2},
        {"news_fall_sigmas": 3.0},
        {"news_max_score": -0.5},
        {"news_turn_bars": 2},
        {"range_minutes": 15},
        {"range_volume_factor": 2.0},
        {"range_last_entry_minutes": 60},
        {"range_target_risks": 3.0},
        {"range_hold_sessions": 1},
        {"sentiment": "lexicon"},
        {"sentiment_window_h": 24.0},
        {"timeframe": "1Min"},
        {"rsi_period": 10},
        {"rsi_oversold": 25.0},
        {"stop_frac": 0.04},
        {"target_frac": 0.06},
        {"hold_sessions": 2},
        {"risk_frac": 0.01},
        {"atr_multiple": 3.0},
        {"max_positions": 4},
        {"max_weight_frac": 0.1},
        {"base_risk_frac": 0.01},
        {"winners_to_raise": 12},
        {"max_sector_frac": 0.4},
        {"max_daily_loss_usd": 250.0},
        {"max_drawdown_frac": 0.05},
        {"max_correlation": 0.7},
        {"max_entries_a_minute": 5},
        {"max_entries_an_hour": 20},
        {"max_price_move_frac": 0.1},
        {"sectors": "AAPL=Energy"},
        {"entry_timeout_s": 60.0},
        {"entry_reprices": 1},
        {"entry_reprice_after_s": 30.0},
        {"entry_chase_bps": 10.0},
        {"act_on_scores": True},
    ],
)
def test_fingerprint_when_a_decisive_setting_changes_then_another(
    change: dict[str, object],
) -> None:
    assert load_settings(**change).fingerprint() != load_settings().fingerprint()


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        ({}, (300, 2, 100)),
        ({"entry_reprices": 0}, (300, 0, 300)),
        ({"entry_timeout_s": 60.0, "entry_reprices": 3}, (60, 3, 15)),
        ({"entry_reprice_after_s": 20.0}, (300, 2, 20)),
    ],
)
def test_entry_policy_when_no_wait_is_given_then_the_time_in_equal_parts(
    given: dict[str, object], policy: tuple[float, int, float]
) -> None:
    found = load_settings(**given).entry_policy()
    assert (found.timeout_s, found.reprices, found.reprice_after_s) == policy


def test_fingerprint_when_only_the_place_changes_then_same() -> None:
    moved = load_settings(home="/elsewhere", exchange_port=0, desk="other")
    assert moved.fingerprint() == load_settings().fingerprint()


def test_load_when_sectors_are_given_then_symbol_by_symbol(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GREENLIGHT_SECTORS", "aapl=Information Technology, spy = Funds")
    assert load_settings().sectors == {"AAPL": "Information Technology", "SPY": "Funds"}
