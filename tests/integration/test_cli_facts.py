from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest
import typer
from typer.testing import CliRunner, Result

from cluster import cli_facts, cli_halts, cli_readiness, cli_volatility, services
from cluster.desk_file import DeskFile
from cluster.processes import StartError
from greenlight.adapters.timescale import TimescaleStore, migrate
from greenlight.domain.audit import DecisionKind
from greenlight.domain.forecasts import (
    Distribution,
    FailedForecast,
    Model,
    VolatilityForecast,
    VolatilityScore,
)
from tests.sample_desk import SampleDesk

APP = typer.Typer()
cli_facts.register(APP)
cli_halts.register(APP)
cli_volatility.register(APP)
cli_readiness.register(APP)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose desk traded for 25 sessions and seems to run still."""
    folder = tmp_path_factory.mktemp("desk")
    postgres = services.start_postgres(folder)
    try:
        migrate(postgres.url)
        store = TimescaleStore(postgres.url)
        desk = SampleDesk(store, start=date(2008, 1, 2))
        desk.trade_until(date(2008, 2, 6), close_last=False)
        store.close()
        DeskFile(
            database_url=postgres.url,
            redis_url=None,
            ray_dashboard_url=None,
            exchange_url=None,
            dashboard_url="http://127.0.0.1:8501",
            pid=os.getpid(),
            started_at=datetime.now(UTC),
        ).write(folder)
        yield folder
    finally:
        postgres.stop()


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    monkeypatch.setenv("GREENLIGHT_HOME", str(home))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()


def invoke(run: CliRunner, line: str) -> Result:
    return run.invoke(APP, line.split())


def test_readiness_when_not_all_are_green_then_exit_code_3_and_seven_reasons(
    run: CliRunner,
) -> None:
    result = invoke(run, "readiness --json")
    assert result.exit_code == 3
    row = json.loads(result.stdout)
    assert len(row["criteria"]) == 7
    assert row["is_ready"] is False
    assert row["is_synthetic"] is True
    assert row["at"] == "2008-02-06T16:30:00.000000+00:00"
    assert all(c["reason"] for c in row["criteria"])
    table = invoke(run, "readiness")
    assert table.exit_code == 3
    assert "insufficient" in table.stdout


def test_status_when_the_desk_runs_then_says_what_on_and_since_when(run: CliRunner) -> None:
    row = json.loads(invoke(run, "status --json").stdout)
    assert row["is_running"] is True
    assert row["run"]["source"] == "bokeh"
    assert row["last_evidence_at"] == "2008-02-06T16:30:00.000000+00:00"
    assert row["halts"] == []
    assert "running" in invoke(run, "status").stdout


def test_positions_when_held_then_stops_and_cover_are_listed(run: CliRunner) -> None:
    rows = json.loads(invoke(run, "positions --json").stdout)
    assert rows
    for row in rows:
        # The sample's stops lie 5% below what was paid.
        assert row["stop_price_usd"] == pytest.approx(0.95 * row["avg_price_usd"], abs=0.01)
        assert row["covered_qty"] == row["qty"]
    table = invoke(run, "positions").stdout
    assert all(row["symbol"] in table for row in rows)
    assert " ET" in table


def test_trades_when_limited_then_the_last_ones_with_their_money(run: CliRunner) -> None:
    every = json.loads(invoke(run, "trades --limit 1000 --json").stdout)
    last = json.loads(invoke(run, "trades --limit 3 --json").stdout)
    assert len(every) > 3
    assert last == every[-3:]
    for row in every:
        gain = (row["exit_price_usd"] - row["entry_price_usd"]) * row["qty"]
        assert row["pnl_usd"] == pytest.approx(gain, abs=0.01)
        costs = row["fees_usd"] + row["haircut_usd"]
        assert row["net_usd"] == pytest.approx(gain - costs, abs=0.01)
    assert "3 trades" in invoke(run, "trades --limit 3").stdout


def test_decisions_when_filtered_then_only_those(run: CliRunner) -> None:
    rows = json.loads(invoke(run, "decisions --symbol ibm --since 2008-01-15 --json").stdout)
    assert rows
    assert {row["symbol"] for row in rows} == {"IBM"}
    assert min(row["at"] for row in rows) >= "2008-01-15T05:00"
    assert len(json.loads(invoke(run, "decisions --limit 2 --json").stdout)) == 2
    assert "IBM" in invoke(run, "decisions --symbol IBM").stdout


def test_audit_digest_when_asked_then_two_hashes(run: CliRunner) -> None:
    row = json.loads(invoke(run, "audit digest --json").stdout)
    assert len(row["decisions"]) == len(row["fills"]) == 64
    text = invoke(run, "audit digest").stdout
    assert row["decisions"] in text
    assert row["fills"] in text


def test_audit_verify_when_a_row_was_changed_then_it_is_named_and_exit_code_1(
    run: CliRunner, home: Path
) -> None:
    assert invoke(run, "audit verify").exit_code == 0
    desk = DeskFile.read(home)
    assert desk is not None
    with psycopg.connect(desk.database_url, autocommit=True) as connection:
        before = connection.execute("SELECT reason FROM decisions WHERE seq = 5").fetchone()
        assert before is not None
        connection.execute("UPDATE decisions SET reason = 'another' WHERE seq = 5")
        try:
            result = invoke(run, "audit verify --json")
            text = invoke(run, "audit verify")
        finally:
            connection.execute("UPDATE decisions SET reason = %s WHERE seq = 5", before)
    assert result.exit_code == text.exit_code == 1
    assert json.loads(result.stdout)["first_broken"]["seq"] == 5
    assert "row 5" in text.stdout
    assert invoke(run, "audit verify").exit_code == 0


def test_resume_when_halted_then_lifted_with_a_row_and_told(run: CliRunner, home: Path) -> None:
    desk = DeskFile.read(home)
    assert desk is not None
    store = TimescaleStore(desk.database_url)
    now = datetime(2008, 2, 6, 16, 30, tzinfo=UTC)
    reason = "drawdown: 10.20% below the 30-day high"
    store.halt(at=now, until=None, reason=reason)
    try:
        assert json.loads(invoke(run, "status --json").stdout)["halts"][0]["reason"] == reason
        empty = run.invoke(APP, ["resume", "--reason", "  "])
        assert isinstance(empty.exception, StartError)
        assert invoke(run, "resume").exit_code == 2
        lifted = run.invoke(APP, ["resume", "--reason", "looked  at it"])
        assert (lifted.exit_code, lifted.stdout) == (0, f"lifted: {reason}\n")
        assert store.halts_in_force(now) == []
        (row,) = store.decisions(kind=DecisionKind.RESUME)
        assert (row.decision.reason, row.decision.figures["lifted"]) == ("looked at it", 1)
        again = invoke(run, "resume --reason why --json")
        assert again.exit_code == 1
        assert json.loads(again.stdout) == {"lifted": 0, "halts": []}
    finally:
        store.close()


def test_halt_and_flatten_when_asked_then_halts_stand_until_resume(
    run: CliRunner, home: Path
) -> None:
    desk = DeskFile.read(home)
    assert desk is not None
    store = TimescaleStore(desk.database_url)
    try:
        assert run.invoke(APP, ["halt", "--reason", "fire  drill"]).exit_code == 0
        said_no = run.invoke(APP, ["flatten"], input="n\n")
        assert said_no.exit_code == 1
        now = datetime(2030, 1, 1, tzinfo=UTC)
        assert [h.reason for h in store.halts_in_force(now)] == ["manual: fire drill"]
        done = run.invoke(APP, ["flatten", "--reason", "enough", "--yes", "--json"])
        assert json.loads(done.stdout)["symbols"] == [p.symbol for p in store.open_positions()]
        (home / "HALT").write_text("file")
        assert [h.reason for h in store.halts_in_force(now)][1:] == ["flatten: enough"]
        lifted = run.invoke(APP, ["resume", "--reason", "over"])
        assert "HALT is still there" in lifted.stdout.replace("\n", " ")
        assert store.halts_in_force(now) == []
    finally:
        (home / "HALT").unlink(missing_ok=True)
        store.resume(at=datetime(2030, 1, 1, tzinfo=UTC), reason="clean up")
        store.close()


def test_volatility_when_forecast_and_scored_then_each_symbol_and_the_losses(
    run: CliRunner, home: Path
) -> None:
    assert "no forecast yet" in invoke(run, "volatility").stdout
    desk = DeskFile.read(home)
    assert desk is not None
    store = TimescaleStore(desk.database_url)
    night = datetime(2008, 2, 5, 21, 5, tzinfo=UTC)
    made = VolatilityForecast(
        symbol="IBM",
        at=night,
        through=date(2008, 2, 5),
        model=Model.GARCH,
        distribution=Distribution.STUDENT_T,
        sigma_pct=(1.5, 1.51, 1.52, 1.53, 1.54),
        vol_frac_ann=0.2413,
        is_converged=True,
        flags=(),
        bic=3521.75,
        n_obs=1000,
        params=(0.05, 0.02, 0.05, 0.9, 6.0),
    )
    short = FailedForecast(symbol="FB", at=night, reason="history too short")
    store.write_forecasts([made, short])
    store.write_volatility_scores(
        [
            VolatilityScore(
                symbol="IBM",
                session=date(2008, 2, 5),
                method=method,
                forecast_pct2=2.25,
                realised_pct2=1.0,
                qlike=loss,
            )
            for method, loss in (("garch", 1.25), ("ewma", 1.5), ("window20", 1.75))
        ]
    )
    store.close()
    row = json.loads(invoke(run, "volatility --json").stdout)
    assert [(f["symbol"], f["age_sessions"]) for f in row["forecasts"]] == [("IBM", 0)]
    assert row["forecasts"][0]["expected_vol_ann"] == pytest.approx(0.2413, abs=1e-4)
    assert row["failed"] == {"FB": "history too short"}
    assert row["mean_qlike"] == {"garch": 1.25, "ewma": 1.5, "window20": 1.75}
    table = invoke(run, "volatility").stdout
    assert "24.1%" in table
    assert "history too short" in table
    assert "garch 1.250" in table


def test_trades_when_the_desk_has_stopped_then_its_store_is_looked_at_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENLIGHT_HOME", str(tmp_path))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    postgres = services.start_postgres(tmp_path)
    migrate(postgres.url)
    store = TimescaleStore(postgres.url)
    SampleDesk(store, start=date(2008, 1, 2)).trade_until(date(2008, 1, 10))
    closed = len(store.trades())
    store.close()
    postgres.stop()
    result = CliRunner().invoke(APP, ["trades", "--json"])
    assert len(json.loads(result.stdout)) == closed > 0
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres.url, connect_timeout=2)
