"""What an actor's process loads, and how its making waits."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cluster.desk_config import DeskConfig
from cluster.wiring import build_broker, code_hash, insist
from greenlight.ports import BrokerRefused, BrokerUnavailable, StoreUnavailable

ROOT = Path(__file__).resolve().parents[3]


def config() -> DeskConfig:
    return DeskConfig(
        desk="t",
        database_url="postgresql://nowhere/none",
        redis_url=None,
        trading_url="http://127.0.0.1:9",
        data_url="http://127.0.0.1:9",
        data_stream_url="ws://127.0.0.1:9",
        trade_stream_url="ws://127.0.0.1:9",
        control_url=None,
        is_replay=True,
        key_id="key",
        secret_key="hunter2",
        request_deadline_s=0.1,
        symbols=("AAPL",),
        start_at=datetime(2013, 10, 7, tzinfo=UTC),
        settings_json="{}",
    )


def test_insist_when_store_and_broker_come_late_then_made_after_waiting() -> None:
    troubles: list[Exception] = [StoreUnavailable("away"), BrokerUnavailable("away")]
    waits: list[float] = []

    def make() -> str:
        if troubles:
            raise troubles.pop(0)
        return "made"

    assert insist(make, waits.append) == "made"
    assert len(waits) == 2
    assert min(waits) > 0


def test_insist_when_the_trouble_would_not_pass_then_raised_at_once() -> None:
    waits: list[float] = []

    def make() -> str:
        raise BrokerRefused(401, None, "unauthorized.")

    with pytest.raises(BrokerRefused):
        insist(make, waits.append)
    assert waits == []


def test_build_broker_when_nobody_listens_then_its_questions_say_so() -> None:
    with pytest.raises(BrokerUnavailable):
        build_broker(config()).account()


def test_show_config_when_printed_then_secret_is_hidden() -> None:
    assert "hunter2" not in repr(config())
    assert "AAPL" in repr(config())


def test_code_hash_when_taken_twice_then_same_sha256() -> None:
    assert code_hash() == code_hash()
    assert len(bytes.fromhex(code_hash())) == 32


@pytest.mark.parametrize(
    "module",
    [
        "actors.position_monitor",
        "greenlight.adapters.alpaca_broker",
        "greenlight.adapters.timescale",
        "cluster.wiring",
        "cluster.json_log",
    ],
)
def test_import_when_a_position_monitor_starts_then_neither_pandas_nor_numpy(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'pandas', 'numpy'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
