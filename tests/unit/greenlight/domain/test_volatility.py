"""Which histories are used, which fits are degenerate, and what is forecast."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from arch import arch_model
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlight.adapters.history_lean import open_lean
from greenlight.domain.forecasts import (
    Distribution,
    FailedForecast,
    FitFlag,
    Model,
    VolatilityForecast,
    annualised_frac,
    mean_losses,
    qlike,
)
from greenlight.domain.market import Bar, Split, Unavailable, eastern_date
from greenlight.domain.volatility import (
    VolatilityPolicy,
    daily_returns_pct,
    ewma_pct2,
    fit_garch,
    forecast,
    rolling_pct2,
    scores,
    variances_pct2,
    window_pct2,
)
from tests.real_returns import daily_bars, returns_pct
from tests.shared_data import lean_root

POLICY = VolatilityPolicy(window=1000)
BARS = daily_bars("sp500", 1001)
NOW = BARS[-1].end


def made(bars: list[Bar], **changes: object) -> VolatilityForecast | FailedForecast:
    given = {"symbol": "SPY", "now": NOW, "splits": (), "previous": None, "policy": POLICY}
    return forecast(bars=bars, **(given | changes))  # type: ignore[arg-type]


def test_forecast_when_history_is_good_then_model_of_the_lowest_bic() -> None:
    answer = made(BARS)
    assert isinstance(answer, VolatilityForecast)
    returns = returns_pct("sp500")[-1000:]
    bics, ahead = {}, {}
    for dist in ("normal", "t"):
        for o in (0, 1):
            model = arch_model(returns, o=o, dist=dist, rescale=False)
            found = model.fit(disp="off", show_warning=False)
            bics[dist, o] = float(found.bic)
            ahead[dist, o] = found.forecast(horizon=5).variance.to_numpy()[-1]
    best = min(bics, key=lambda key: bics[key])
    assert (str(answer.distribution), int(answer.model is Model.GJR)) == best
    assert answer.bic == pytest.approx(bics[best], abs=1e-3)
    assert np.square(answer.sigma_pct) == pytest.approx(ahead[best], rel=1e-4)
    assert answer.vol_frac_ann == pytest.approx(math.sqrt(252 * ahead[best].mean()) / 100, rel=1e-4)
    assert (answer.is_converged, answer.flags) == (True, ())
    assert (answer.n_obs, answer.through, answer.at) == (1000, eastern_date(BARS[-1].start), NOW)


@pytest.mark.parametrize("distribution", list(Distribution))
@pytest.mark.parametrize("model", list(Model))
def test_fit_garch_when_forecast_then_the_variances_of_arch(
    model: Model, distribution: Distribution
) -> None:
    returns = returns_pct("nasdaq")[-1000:]
    fit = fit_garch(returns, distribution, model=model)
    o = int(model is Model.GJR)
    twin = arch_model(returns, o=o, dist=str(distribution), rescale=False).fix(fit.params)
    theirs = twin.forecast(horizon=5).variance.to_numpy()[-1]
    assert variances_pct2(fit, returns) == pytest.approx(theirs, rel=1e-9)
    assert fit.bic == pytest.approx(float(twin.bic), rel=1e-12)


@pytest.mark.parametrize("model", list(Model))
def test_forecast_when_the_last_one_is_near_then_the_same_answer(model: Model) -> None:
    policy = VolatilityPolicy(models=(model,))
    cold = made(BARS, policy=policy)
    before = made(BARS[:-1], policy=policy, now=BARS[-2].end)
    assert isinstance(cold, VolatilityForecast)
    warm = made(BARS, policy=policy, previous=before)
    assert isinstance(warm, VolatilityForecast)
    assert warm.sigma_pct == pytest.approx(cold.sigma_pct, rel=1e-4)
    assert warm.bic == pytest.approx(cold.bic, abs=2e-6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda bars: bars[:250], "too short"),
        (lambda bars: bars[:500] + bars[520:], "gap"),
        (lambda bars: [*bars[:5], replace(bars[5], close=math.nan), *bars[6:]], "positive"),
        (lambda bars: [*bars[:5], replace(bars[5], close=0.0), *bars[6:]], "positive"),
        (lambda bars: [replace(bar, close=7.0) for bar in bars], "hardly moves"),
        (lambda bars: [*bars[:9], bars[8], *bars[9:]], "out of order"),
        (lambda bars: bars[:-12], "newest daily bar"),
        (
            lambda bars: [
                replace(b, close=b.close / (1 + 6 * (i > 700))) for i, b in enumerate(bars)
            ],
            "unadjusted split",
        ),
    ],
)
def test_forecast_when_history_is_broken_then_failed_with_the_reason(
    change: Callable[[list[Bar]], list[Bar]], reason: str
) -> None:
    answer = made(change(BARS))
    assert isinstance(answer, FailedForecast)
    assert reason in answer.reason


def test_daily_returns_when_a_split_is_known_then_as_without_it() -> None:
    raw = [replace(b, close=b.close * (7 if i < 700 else 1)) for i, b in enumerate(BARS)]
    split = Split(symbol="SPY", ex_date=eastern_date(BARS[700].start), ratio=7.0)
    adjusted = daily_returns_pct(raw, [split], NOW, POLICY)
    assert not isinstance(adjusted, Unavailable)
    assert adjusted == pytest.approx(returns_pct("sp500")[-1000:], abs=1e-9)


@given(
    closes=st.lists(
        st.one_of(st.floats(min_value=-1.0, max_value=1e6), st.just(math.nan)),
        min_size=0,
        max_size=40,
    ),
    repeats=st.integers(min_value=1, max_value=12),
)
@settings(max_examples=60, deadline=None)
def test_forecast_when_history_is_anything_then_a_forecast_or_a_reason(
    closes: list[float], repeats: int
) -> None:
    series = (closes * repeats)[: len(BARS)]
    bars = [replace(b, close=c) for b, c in zip(BARS[-len(series) :], series, strict=False)]
    policy = VolatilityPolicy(window=300, min_returns=50, models=(Model.GARCH,))
    answer = made(bars if series else [], policy=policy)
    if isinstance(answer, VolatilityForecast):
        assert all(math.isfinite(sigma) and sigma > 0 for sigma in answer.sigma_pct)
    else:
        assert answer.reason


@pytest.mark.parametrize("model", list(Model))
def test_fit_when_degenerate_then_flagged_where_arch_reports_success(model: Model) -> None:
    rng = np.random.default_rng(11)
    flat = rng.normal(size=600)
    fit = fit_garch(flat, Distribution.NORMAL, model=model)
    theirs = arch_model(flat, p=1, o=int(model is Model.GJR), q=1, rescale=False)
    assert theirs.fit(disp="off", show_warning=False).convergence_flag == 0
    assert {FitFlag.NO_ARCH, FitFlag.INTEGRATED} & set(fit.flags)
    heavy = rng.standard_t(1.5, size=600)
    assert FitFlag.NU_AT_LEAST in fit_garch(heavy, Distribution.STUDENT_T, model=model).flags


@pytest.mark.parametrize("model", list(Model))
@pytest.mark.parametrize(
    "bad", [np.full(300, 1.0), np.array([1.0, math.nan] * 200), np.ones(1), np.zeros(0)]
)
def test_fit_when_returns_are_no_series_then_raises(bad: np.ndarray, model: Model) -> None:
    with pytest.raises(ValueError, match="finite and not all equal"):
        fit_garch(bad, Distribution.NORMAL, model=model)


def test_simple_forecasts_when_compared_then_by_hand() -> None:
    returns = np.array([3.0] + [1.0] * 19 + [2.0])
    assert window_pct2(returns) == pytest.approx((19 + 4) / 20)
    weights = [0.94**i for i in range(21)]
    by_hand = (4 * weights[0] + sum(weights[1:20]) + 9 * weights[20]) / sum(weights)
    assert ewma_pct2(returns) == pytest.approx(by_hand)
    assert annualised_frac((4.0, 4.0)) == pytest.approx(0.02 * math.sqrt(252))


def test_qlike_when_compared_then_least_at_the_truth() -> None:
    assert qlike(2.0, 3.0) == pytest.approx(math.log(2) + 1.5)
    losses = [qlike(h, 4.0) for h in (2.0, 3.9, 4.0, 4.1, 8.0)]
    assert min(losses) == losses[2]
    with pytest.raises(ValueError, match="no loss"):
        qlike(0.0, 1.0)


def test_scores_when_a_session_has_closed_then_each_method_has_one() -> None:
    before = made(BARS[:-1], now=BARS[-2].end, policy=VolatilityPolicy(models=(Model.GARCH,)))
    assert isinstance(before, VolatilityForecast)
    returns = returns_pct("sp500")[-1000:]
    rows = {row.method: row for row in scores(before, returns, BARS[-1])}
    assert set(rows) == {"garch", "ewma", "window20"}
    assert rows["garch"].forecast_pct2 == pytest.approx(before.sigma_pct[0] ** 2)
    assert rows["window20"].forecast_pct2 == pytest.approx(float(np.mean(returns[-21:-1] ** 2)))
    assert {row.realised_pct2 for row in rows.values()} == {float(returns[-1] ** 2)}
    assert {row.session for row in rows.values()} == {eastern_date(BARS[-1].start)}
    lone = replace(rows["ewma"], symbol="LONE", qlike=99.0)
    assert mean_losses([*rows.values(), lone]) == {m: row.qlike for m, row in rows.items()}
    assert mean_losses([]) == {}


def test_rolling_when_the_future_changes_then_forecasts_before_it_stay() -> None:
    returns = returns_pct("nasdaq")[-800:]
    changed = returns.copy()
    changed[700:] *= 3.0
    ours = rolling_pct2(returns, Distribution.NORMAL, window=500, refit_every=20)
    theirs = rolling_pct2(changed, Distribution.NORMAL, window=500, refit_every=20)
    assert np.array_equal(ours[:201], theirs[:201])
    assert not np.array_equal(ours[201:], theirs[201:])


@pytest.mark.shared_data
def test_qlike_when_forecast_daily_on_shared_data_then_below_the_20_day_window() -> None:
    folder = open_lean(lean_root())
    losses: dict[str, list[float]] = {"garch": [], "ewma": [], "window20": []}
    for symbol in folder.symbols("daily"):
        series = folder.daily(symbol)
        closes = series.close.copy()
        for split in series.splits:
            closes[series.days < np.datetime64(split.ex_date)] /= split.ratio
        returns = 100.0 * (closes[1:] / closes[:-1] - 1.0)
        made_pct2 = rolling_pct2(returns, Distribution.STUDENT_T, window=1000, refit_every=20)
        for day, variance in enumerate(made_pct2, start=1000):
            realised = float(returns[day] ** 2)
            losses["garch"].append(qlike(variance, realised))
            losses["ewma"].append(qlike(ewma_pct2(returns[:day]), realised))
            losses["window20"].append(qlike(window_pct2(returns[:day]), realised))
    mean = {method: float(np.mean(values)) for method, values in losses.items()}
    assert len(losses["garch"]) > 20_000
    assert mean["garch"] < mean["ewma"] < mean["window20"]
