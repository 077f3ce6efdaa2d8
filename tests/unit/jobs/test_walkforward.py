"""A walk-forward on the default data: its parts, its choice, and what is resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from greenlight.adapters.history_bokeh import read_bokeh
from greenlight.domain.backtest import DEFAULT_COSTS
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.execution import EntryPolicy
from greenlight.domain.market import Unavailable
from greenlight.domain.mean_reversion import MeanReversion
from greenlight.domain.metrics import sharpe_ann
from greenlight.domain.volatility import VolatilityPolicy
from jobs.backtest import BacktestPlan, backtest, session_returns
from jobs.backtest_market import Board, daily_board
from jobs.walkforward import (
    Candidate,
    FoldPlan,
    Ground,
    Part,
    here,
    lay_out,
    own_arrays,
    packed,
    parts_of,
    run_hash,
    run_part,
    run_parts,
    unpacked,
    with_forecasts,
)
from jobs.walkforward_figures import known, set_figures, walk_figures, walk_months
from jobs.walkforward_report import told_set, write_report
from jobs.walkforward_result import assemble, holding_returns, judged_rows
from tests.unit.greenlight.domain.test_walkforward import trial

END = date(2009, 12, 31)
FOLDS = FoldPlan(count=3, train_sessions=504, embargo=5, is_anchored=False)
PLAN = BacktestPlan(
    strategies=(MeanReversion(),),
    start=date(2004, 1, 2),
    limits=RiskLimits(),
    costs=DEFAULT_COSTS,
    entry=EntryPolicy(timeout_s=300, reprices=2, reprice_after_s=100),
    start_cash_usd=100_000.0,
    policy=None,
)


def candidates(*levels: float) -> list[Candidate]:
    return [
        Candidate(
            params={"rsi_oversold": level, "stop_frac": 0.05},
            plan=replace(PLAN, strategies=(MeanReversion(oversold=level),)),
        )
        for level in levels
    ]


@pytest.fixture(scope="module")
def board() -> Board:
    return daily_board([read_bokeh(symbol) for symbol in ("AAPL", "IBM", "MSFT")], END, {})


@pytest.fixture(scope="module")
def ground(board: Board) -> Ground:
    return lay_out(board, candidates(25.0, 30.0, 35.0, 40.0), FOLDS)


@pytest.fixture(scope="module")
def parts(ground: Ground) -> list[Part]:
    return run_parts(ground, {}, here, lambda *_: None)


def test_part_when_its_days_are_a_backtest_s_window_then_the_same_returns(
    board: Board, ground: Ground, parts: list[Part]
) -> None:
    last = ground.folds[-1]
    day = board.sessions[judged_rows(ground)[last.test_first - ground.folds[0].test_first]].day
    whole = backtest(board, replace(PLAN, start=day))
    returns = session_returns(board, whole).values
    assert parts[-1].test[1].tolist() == pytest.approx(list(returns), abs=1e-12)
    assert np.count_nonzero(parts[-1].test[1]) > 5


def test_parts_when_the_later_history_is_cut_off_then_the_same(
    ground: Ground, parts: list[Part]
) -> None:
    # The first fold must not know the days of the others.
    known_until = ground.board.sessions[judged_rows(ground)[: ground.folds[0].test_end][-1]].day
    end = ground.board.sessions[int(ground.bars[ground.folds[0].test_end]) - 1].day
    assert end <= known_until
    series = list(ground.board.series.values())
    short = daily_board(series, end, {})
    cut = replace(ground, board=short, folds=ground.folds[:1])
    again = run_part(cut, 0, 0, len(ground.candidates))
    np.testing.assert_allclose(again.test, parts[0].test, rtol=0, atol=1e-12)
    np.testing.assert_allclose(again.train, parts[0].train, rtol=0, atol=1e-12)


def test_assemble_when_folds_chose_then_their_days_one_after_the_other(
    ground: Ground, parts: list[Part]
) -> None:
    walk = assemble(ground, parts)
    for fold, (part, row) in enumerate(zip(parts, walk.chosen, strict=True)):
        ratios = [sharpe_ann(one.tolist()) for one in part.train]
        best = max(-np.inf if isinstance(r, Unavailable) else r for r in ratios)
        assert ratios[row] == best
        first = ground.folds[fold].test_first - ground.folds[0].test_first
        own = walk.chosen_returns[first : first + part.test.shape[1]]
        assert own.tolist() == part.test[row].tolist()
        detail = walk.details[fold]
        assert np.prod(1 + own) - 1 == pytest.approx(detail.return_frac)
    assert walk.tests.shape == (4, len(judged_rows(ground)))


def test_parts_when_some_are_kept_then_only_the_others_run_and_nothing_changes(
    ground: Ground, parts: list[Part]
) -> None:
    ran: list[tuple[object, ...]] = []

    def counting(
        function: Callable[..., Any],
        shared: object,
        prepare: Callable[[Any], Any],
        chunks: Iterable[tuple[object, ...]],
    ) -> Iterator[tuple[int, Any]]:
        chunks = list(chunks)
        ran.extend(chunks)
        # In the reverse order, as tasks may come.
        return iter([(i, function(shared, *chunks[i])) for i in reversed(range(len(chunks)))])

    kept: dict[int, bytes] = {}
    spoilt = Part(train=parts[1].train[:, 1:], test=parts[1].test)
    again = run_parts(
        ground,
        {0: parts[0], 1: spoilt, 99: parts[0]},
        counting,
        lambda i, part: kept.update({i: packed(train=part.train, test=part.test)}),
    )
    assert [chunk[0] for chunk in ran] == [1, 2]
    assert sorted(kept) == [1, 2]
    for one, other in zip(again, parts, strict=True):
        np.testing.assert_array_equal(one.train, other.train)
        np.testing.assert_array_equal(one.test, other.test)
    back = unpacked(kept[2])
    assert back is not None
    np.testing.assert_array_equal(back["test"], parts[2].test)
    assert unpacked(kept[2][:-30]) is None
    assert unpacked(b"") is None


def test_ground_when_read_only_then_a_process_of_its_own_runs_it(
    ground: Ground, parts: list[Part]
) -> None:
    bars = ground.board.market.bars
    frozen = bars._make(np.array(array) for array in bars)
    for array in frozen:
        array.flags.writeable = False
    market = replace(ground.board.market, bars=frozen)
    found = own_arrays(replace(ground, board=replace(ground.board, market=market)))
    assert all(array.flags.writeable for array in found.board.market.bars)
    np.testing.assert_array_equal(run_part(found, 0, 0, 4).test, parts[0].test)


def test_forecasts_when_kept_then_not_made_again_and_as_in_a_backtest(board: Board) -> None:
    policy = VolatilityPolicy()
    sets = [
        replace(one, plan=replace(one.plan, policy=policy, start=date(2008, 8, 1)))
        for one in candidates(30.0)
    ]
    cut = FoldPlan(count=1, train_sessions=20, embargo=0, is_anchored=False)
    laid = lay_out(board, sets, cut)
    kept: dict[int, Any] = {}
    made = with_forecasts(laid, here, {}, kept.__setitem__)
    assert made.scales is not None
    again = with_forecasts(laid, _never, kept, kept.__setitem__)
    np.testing.assert_array_equal(again.scales, made.scales)
    fold = made.folds[0]
    whole = replace(made, folds=(replace(fold, test_first=0),))
    returns = run_part(whole, 0, 0, 1).test[0]
    found = session_returns(board, backtest(board, sets[0].plan)).values
    assert returns.tolist() == pytest.approx(list(found), abs=1e-12)
    assert (made.scales != 1).any()


def _never(*_: object) -> Iterator[tuple[int, Any]]:
    _, _, _, chunks = _
    assert list(chunks) == []  # type: ignore[call-overload]
    return iter(())


def test_run_hash_when_code_parameters_folds_or_data_differ_then_another(
    board: Board, ground: Ground
) -> None:
    others = [
        run_hash(ground, "other"),
        run_hash(lay_out(board, candidates(25.0, 30.0, 35.0, 41.0), FOLDS), "c0de"),
        run_hash(lay_out(board, ground.candidates, replace(FOLDS, embargo=6)), "c0de"),
        run_hash(
            lay_out(daily_board([read_bokeh("AAPL")], END, {}), ground.candidates, FOLDS), "c0de"
        ),
    ]
    own = run_hash(ground, "c0de")
    assert run_hash(lay_out(board, ground.candidates, FOLDS), "c0de") == own
    assert len({own, *others}) == 5


def test_figures_when_computed_then_of_the_chosen_days_and_deflated_by_the_ledger(
    ground: Ground, parts: list[Part]
) -> None:
    walk = assemble(ground, parts)
    ledger = [trial(i, 0.1 * i) for i in range(12)]
    figures = walk_figures(ground, walk, ledger)
    assert figures["trials"] == 12.0
    assert figures["sharpe_ann"] == sharpe_ann(walk.chosen_returns.tolist())
    assert figures["return_frac"] == pytest.approx(np.prod(1 + walk.chosen_returns) - 1)
    assert figures["trades"] == sum(len(one.trades) for one in walk.details)
    assert 0 <= figures["pbo_frac"] <= 1  # type: ignore[operator]
    assert 0 <= figures["spa_p_frac"] <= 1  # type: ignore[operator]
    found = walk_months(ground, walk)
    days = [ground.board.sessions[row].day for row in judged_rows(ground).tolist()]
    assert found.traded + found.idle == len({(day.year, day.month) for day in days})
    assert found.idle > 0
    assert set_figures(np.zeros(10)) == {"sharpe_ann": None, "return_frac": 0.0}
    assert known({"a": Unavailable("no"), "b": 1.0}) == {"a": None, "b": 1.0}


def test_report_when_written_then_one_file_that_loads_nothing(
    tmp_path: Path, ground: Ground, parts: list[Part]
) -> None:
    walk = assemble(ground, parts)
    figures = walk_figures(ground, walk, [trial(1, 0.5)])
    path = tmp_path / "reports" / "walk.html"
    write_report(
        path, title="A <walk>", ground=ground, walk=walk, figures=figures, warnings=["mind & this"]
    )
    page = path.read_text()
    assert "A &lt;walk&gt;" in page
    assert "mind &amp; this" in page
    assert page.count("Plotly.newPlot") >= 3
    body = page[page.index("</script>") :]
    assert "<script src" not in page
    assert "https://" not in body
    assert told_set(ground, 1) == "rsi_oversold 30.0"
    assert list(tmp_path.glob("reports/*")) == [path]


def test_lay_out_when_it_cannot_be_then_raises(board: Board) -> None:
    with pytest.raises(ValueError, match="no set"):
        lay_out(board, [], FOLDS)
    with pytest.raises(ValueError, match="too few for 3 folds"):
        lay_out(board, candidates(30.0), replace(FOLDS, train_sessions=2000))
    late = [
        replace(one, plan=replace(one.plan, start=END.replace(year=2011)))
        for one in candidates(30.0)
    ]
    with pytest.raises(ValueError, match="no bar on or after"):
        lay_out(board, late, FOLDS)
    minutely = replace(PLAN, strategies=(MeanReversion(timeframe="1Min"),))
    with pytest.raises(ValueError, match="mean_reversion decides on minutes"):
        lay_out(board, [Candidate(params={}, plan=minutely)], FOLDS)


def test_holding_when_a_symbol_has_no_day_then_the_mean_of_the_others(ground: Ground) -> None:
    returns = ground.board.market.bars.returns[judged_rows(ground)]
    np.testing.assert_allclose(holding_returns(ground), np.nanmean(returns, axis=1))
    assert len(parts_of(ground, 3)) == 6
