"""The compiled likelihood and fit against the arch package's, on real returns."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from arch import arch_model
from arch.univariate import HARX
from scipy.optimize import approx_fprime
from scipy.special import digamma

from greenlight.adapters.history_bokeh import read_bokeh
from greenlight.domain.garch import _digamma, log_likelihood, next_variance, series_scale
from greenlight.domain.garch_fit import maximise
from greenlight.domain.indicators import FloatArray
from greenlight.domain.volatility import tops_of
from tests.real_returns import returns_pct

NONE = np.empty((0, 0))


def arch_of(returns: FloatArray, is_gjr: bool, is_t: bool) -> HARX:
    return arch_model(returns, o=int(is_gjr), dist="t" if is_t else "normal", rescale=False)


def arch_log_likelihood(model: HARX, returns: FloatArray, theta: FloatArray) -> float:
    centred = returns - returns.mean()
    backcast = model.volatility.backcast(centred)
    bounds = model.volatility.variance_bounds(centred)
    return -float(model._loglikelihood(theta, np.zeros(returns.size), backcast, bounds))


def points(is_gjr: bool, is_t: bool) -> list[FloatArray]:
    rng = np.random.default_rng(4 + is_t)
    found = []
    for i in range(60):
        alpha = rng.uniform(0.0, 0.5)
        gamma = rng.uniform(-alpha, 0.5) if is_gjr else 0.0
        theta = [
            rng.normal(scale=0.2),
            float(np.exp(rng.uniform(-14, 6))),
            alpha,
            gamma,
            rng.uniform(0.0, 1.0 - alpha - 0.5 * gamma),
            2.05 if i == 0 else rng.uniform(2.05, 500.0),
        ]
        found.append(theta)
    # So small and so large a variance that its bounds take hold.
    found += [[0.0, 1e-12, 0.0, 0.0, 0.0, 6.0], [0.0, 5e4, 0.0, 0.0, 0.99, 6.0]]
    kept = [0, 1, 2, *([3] if is_gjr else []), 4, *([5] if is_t else [])]
    return [np.array(theta)[kept] for theta in found]


@pytest.mark.parametrize("is_t", [False, True])
@pytest.mark.parametrize("is_gjr", [False, True])
@pytest.mark.parametrize("days", [60, 1000])
def test_log_likelihood_when_taken_anywhere_then_that_of_arch(
    is_gjr: bool, is_t: bool, days: int
) -> None:
    returns = returns_pct("sp500")[-days:]
    scale, smooth = series_scale(returns)
    model = arch_of(returns, is_gjr, is_t)
    for theta in points(is_gjr, is_t):
        ours = log_likelihood(theta, is_t, returns, scale, smooth, np.empty(theta.size))
        assert ours == pytest.approx(arch_log_likelihood(model, returns, theta), rel=1e-10)


@pytest.mark.parametrize("is_t", [False, True])
@pytest.mark.parametrize("is_gjr", [False, True])
def test_gradient_when_taken_anywhere_then_the_numeric_slope(is_gjr: bool, is_t: bool) -> None:
    returns = returns_pct("nasdaq")[-1000:]
    scale, smooth = series_scale(returns)
    for theta in points(is_gjr, is_t)[1:-2]:
        gradient = np.empty(theta.size)
        log_likelihood(theta, is_t, returns, scale, smooth, gradient)

        def value(at: FloatArray) -> float:
            return float(log_likelihood(at, is_t, returns, scale, smooth, np.empty(at.size)))

        steps = 1e-6 * np.maximum(np.abs(theta), 1e-2)
        up = approx_fprime(theta, value, steps)
        down = approx_fprime(theta, value, -steps)
        # The error of a central difference: curvature, and rounding over the step.
        # Student-t's constant is a difference of two numbers near 1e6.
        rounding = 1e-13 * max(abs(value(theta)), 1e4 if is_t else 0.0) / steps
        assert gradient == pytest.approx((up + down) / 2, rel=1e-3, abs=1e-3 + rounding.max())


@pytest.mark.parametrize("is_t", [False, True])
def test_log_likelihood_when_gamma_is_0_then_that_of_garch(is_t: bool) -> None:
    returns = returns_pct("nasdaq")[-1000:]
    scale, smooth = series_scale(returns)
    for theta in points(False, is_t):
        wider = np.insert(theta, 3, 0.0)
        garch, gjr = np.empty(theta.size), np.empty(wider.size)
        value = log_likelihood(theta, is_t, returns, scale, smooth, garch)
        assert log_likelihood(wider, is_t, returns, scale, smooth, gjr) == value
        assert np.array_equal(np.delete(gjr, 3), garch)


def test_digamma_when_compared_then_that_of_scipy() -> None:
    for x in (0.5, 1.0, 1.025, 3.7, 5.999, 6.0, 250.5):
        assert _digamma(x) == pytest.approx(float(digamma(x)), rel=1e-9)


def at_least_arch(windows: list[FloatArray], is_gjr: bool, is_t: bool) -> None:
    near, near_arch = NONE, None
    for returns in windows:
        model = arch_of(returns, is_gjr, is_t)
        theirs = []
        for start in (None, near_arch):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = model.fit(disp="off", show_warning=False, starting_values=start)
            theta = np.array(found.params)
            # SLSQP can leave its box by a hair, which a likelihood rewards.
            theta[2] = max(theta[2], 0.0)
            room = 1.0 - theta[2]
            if is_gjr:
                theta[3] = max(theta[3], -theta[2])
                room -= 0.5 * theta[3]
            theta[3 + is_gjr] = min(theta[3 + is_gjr], room)
            theirs.append(arch_log_likelihood(model, returns, theta))
        near_arch = np.array(found.params)
        for at in (NONE, near):
            tops, value, is_converged, *_ = maximise(returns, at, is_gjr, is_t)
            assert is_converged
            assert value == pytest.approx(arch_log_likelihood(model, returns, tops[0]), rel=1e-12)
            assert value >= max(theirs) - 1e-6
        near = tops


@pytest.mark.parametrize("is_t", [False, True])
@pytest.mark.parametrize("is_gjr", [False, True])
@pytest.mark.parametrize("name", ["sp500", "nasdaq"])
def test_maximise_when_windows_roll_then_never_below_arch(
    name: str, is_gjr: bool, is_t: bool
) -> None:
    series = returns_pct(name)
    firsts = (0, 20, 1500, 2700, 3900)
    windows = [np.ascontiguousarray(series[first : first + 1000]) for first in firsts]
    at_least_arch(windows, is_gjr, is_t)


@pytest.mark.parametrize("is_t", [False, True])
@pytest.mark.parametrize("symbol", ["AAPL", "GOOG", "IBM", "MSFT"])
def test_maximise_when_gjr_is_fitted_to_shares_then_never_below_arch(
    symbol: str, is_t: bool
) -> None:
    table = read_bokeh(symbol)
    closes = table.close.copy()
    for split in table.splits:
        closes[table.days < np.datetime64(split.ex_date)] /= split.ratio
    series = 100.0 * (closes[1:] / closes[:-1] - 1.0)
    firsts = range(0, series.size - 1000, 380)
    windows = [np.ascontiguousarray(series[first : first + 1000]) for first in firsts]
    at_least_arch(windows, True, is_t)


@pytest.mark.parametrize("is_gjr", [False, True])
def test_maximise_when_warm_on_the_wrong_hill_then_the_higher_is_found(is_gjr: bool) -> None:
    returns = returns_pct("sp500")[:1000]
    _, best, *_ = maximise(returns, NONE, is_gjr, False)
    theta = (returns.mean(), returns.var(), 0.02, *([0.0] if is_gjr else []), 0.02)
    _, value, is_converged, *_ = maximise(returns, tops_of(theta), is_gjr, False)
    assert is_converged
    assert value == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("is_gjr", [False, True])
def test_maximise_when_arch_has_no_effect_then_still_ends(is_gjr: bool) -> None:
    rng = np.random.default_rng(5)
    spike = np.eye(300)[7] * 50
    for returns in (rng.normal(size=300), np.sign(rng.normal(size=300)), spike, spike[5:9]):
        for is_t in (False, True):
            tops, value, _, passes, _ = maximise(returns, NONE, is_gjr, is_t)
            assert np.isfinite(tops[0]).all()
            assert np.isfinite(value)
            assert passes < 2000


@pytest.mark.parametrize("asymmetric", [0, 1])
def test_next_variance_when_compared_then_the_forecast_of_arch(asymmetric: int) -> None:
    returns = returns_pct("nasdaq")[-1200:]
    found = arch_model(returns, o=asymmetric, rescale=False).fit(disp="off", show_warning=False)
    theirs = float(found.forecast(horizon=1).variance.to_numpy()[-1, 0])
    p = list(found.params)
    recursion = np.array(p if asymmetric else [*p[:3], 0.0, p[3]])
    assert next_variance(recursion, returns, *series_scale(returns)) == pytest.approx(theirs)
