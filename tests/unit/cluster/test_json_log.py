"""Log lines are JSON, whole, and hold no secret."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cluster.json_log import JsonFormatter, log_file, passwords_in, secrets_of
from greenlight.domain.orders import Role
from tests.unit.cluster.test_wiring import config

SECRETS = ("hunter2", 'q"uo\\te', "p/ss word")


def line(record: logging.LogRecord, secrets: tuple[str, ...] = SECRETS) -> dict[str, Any]:
    text = JsonFormatter(process="risk-gate", secrets=secrets).format(record)
    assert "\n" not in text
    row: dict[str, Any] = json.loads(text)
    return row


def record(message: object, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "actors.x", "levelname": "INFO", "created": 1.5, **extra})
    made.msg, made.args = message, args
    return made


def test_format_when_fields_are_given_then_all_of_them_in_one_row() -> None:
    row = line(record("%s sent", "order", action="order", role=Role.ENTRY, price=Decimal("1.50")))
    assert row == {
        "at": "1970-01-01T00:00:01.500000+00:00",
        "level": "INFO",
        "logger": "actors.x",
        "process": "risk-gate",
        "message": "order sent",
        "action": "order",
        "role": "entry",
        "price": "1.50",
    }


def test_format_when_a_field_has_a_name_of_ours_then_it_does_not_take_its_place() -> None:
    row = line(record("x", at=datetime(2013, 1, 1, tzinfo=UTC), process="other", _mark=1))
    assert (row["at"][:4], row["process"]) == ("1970", "risk-gate")
    assert "_mark" not in row


def test_format_when_arguments_do_not_fit_then_the_line_still_counts() -> None:
    assert line(record("%d of %d", 1))["message"] == "%d of %d"


@pytest.mark.parametrize("secret", SECRETS)
def test_format_when_a_secret_is_anywhere_then_masked(secret: str) -> None:
    try:
        raise ValueError(f"no login with {secret}")
    except ValueError:
        made = record(
            f"raw {secret} and %r",
            secret,
            url=f"postgresql://u:{secret}@h",
            nested={"a": [secret, {"b": secret}]},
            exc_info=sys.exc_info(),
        )
    text = json.dumps(line(made), ensure_ascii=False)
    assert secret not in text
    assert json.dumps(secret)[1:-1] not in text
    assert text.count("***") >= 6


def test_secrets_of_when_addresses_hold_passwords_then_each_as_written_and_decoded() -> None:
    assert set(secrets_of(config())) == {"hunter2", "key"}
    assert set(passwords_in("postgresql://u:p%2Fss@h/db?password=b%20c")) == {
        *("p%2Fss", "p/ss"),
        "b c",
    }
    assert passwords_in(None) == passwords_in("redis://localhost") == ()


def test_log_file_when_an_actor_has_a_symbol_then_a_plain_name(tmp_path: Path) -> None:
    assert log_file(tmp_path, "position-monitor:BRK/B").name == "position-monitor-BRK-B.jsonl"


def test_log_as_json_when_a_process_logs_then_file_and_stderr_hold_the_same_masked_line(
    tmp_path: Path,
) -> None:
    # A process of its own: the root logger is everybody's.
    code = (
        "import logging, pathlib, sys; from cluster.json_log import log_as_json;"
        "log_as_json(process='monitor:A', secrets=['hunter2'], folder=pathlib.Path(sys.argv[1]));"
        "logging.getLogger('actors.a').info('key hunter2', extra={'action': 'test'});"
        "logging.getLogger('somebody').info('not ours')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "logs")],
        capture_output=True,
        text=True,
        check=True,
    )
    kept = (tmp_path / "logs" / "monitor-A.jsonl").read_text()
    assert kept == done.stderr
    (row,) = [json.loads(text) for text in kept.splitlines()]
    assert (row["message"], row["action"], row["process"]) == ("key ***", "test", "monitor:A")


def test_log_as_json_when_the_folder_cannot_be_made_then_stderr_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code = (
        "import pathlib, sys; from cluster.json_log import log_as_json;"
        "log_as_json(process='a', secrets=[], folder=pathlib.Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "file" / "logs")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stderr)["action"] == "log"
