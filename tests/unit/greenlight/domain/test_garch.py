"""The compiled likelihood and fit against the arch package's, on real returns."""

from __future__ import annotations

import numpy as np
import pytest
from arch import arch_model
from scipy.optimize import approx_fprime
from scipy.special import digamma

from greenlight.domain.garch import _digamma, log_likelihood, next_variance, series_scale
from greenlight.domain.garch_fit import maximise
from greenlight.domain.indicators import FloatArray
from greenlight.domain.volatility import tops_of
from tests.real_returns import returns_pct

NONE = np.empty((0, 0))


def arch_log_likelihood(returns: FloatArray, theta: FloatArray) -> float:
    model = arch_model(returns, dist="t" if theta.size == 5 else "normal", rescale=False)
    centred = returns - returns.mean()
    backcast = model.volatility.backcast(centred)
    bounds = model.volatility.variance_bounds(centred)
    return -float(model._loglikelihood(theta, np.zeros(returns.size), backcast, bounds))


def points(k: int) -> list[FloatArray]:
    rng = np.random.default_rng(k)
    found = []
    for i in range(60):
        alpha = rng.uniform(0.0, 0.5)
        theta = [
            rng.normal(scale=0.2),
            float(np.exp(rng.uniform(-14, 6))),
            alpha,
            rng.uniform(0.0, 1.0 - alpha),
            2.05 if i == 0 else rng.uniform(2.05, 500.0),
        ]
        found.append(np.array(theta[:k]))
    # So small and so large a variance that its bounds take hold.
    return [*found, *(np.array([0.0, o, 0.0, b, 6.0][:k]) for o, b in ((1e-12, 0.0), (5e4, 0.99)))]


@pytest.mark.parametrize("k", [4, 5])
@pytest.mark.parametrize("days", [60, 1000])
def test_log_likelihood_when_taken_anywhere_then_that_of_arch(k: int, days: int) -> None:
    returns = returns_pct("sp500")[-days:]
    scale, smooth = series_scale(returns)
    for theta in points(k):
        ours = log_likelihood(theta, returns, scale, smooth, np.empty(k))
        assert ours == pytest.approx(arch_log_likelihood(returns, theta), rel=1e-10)


@pytest.mark.parametrize("k", [4, 5])
def test_gradient_when_taken_anywhere_then_the_numeric_slope(k: int) -> None:
    returns = returns_pct("nasdaq")[-1000:]
    scale, smooth = series_scale(returns)
    for theta in points(k)[1:-2]:
        gradient = np.empty(k)
        log_likelihood(theta, returns, scale, smooth, gradient)

        def value(at: FloatArray) -> float:
            return float(log_likelihood(at, returns, scale, smooth, np.empty(k)))

        steps = 1e-6 * np.maximum(np.abs(theta), 1e-2)
        up = approx_fprime(theta, value, steps)
        down = approx_fprime(theta, value, -steps)
        # The error of a central difference: rounding over the step, and curvature.
        rounding = 1e-13 * abs(value(theta)) / steps
        assert gradient == pytest.approx((up + down) / 2, rel=1e-3, abs=1e-3 + rounding.max())


def test_digamma_when_compared_then_that_of_scipy() -> None:
    for x in (0.5, 1.0, 1.025, 3.7, 5.999, 6.0, 250.5):
        assert _digamma(x) == pytest.approx(float(digamma(x)), rel=1e-9)


@pytest.mark.parametrize("dist", ["normal", "t"])
@pytest.mark.parametrize("name", ["sp500", "nasdaq"])
def test_maximise_when_windows_roll_then_never_below_arch(dist: str, name: str) -> None:
    series = returns_pct(name)
    k = 5 if dist == "t" else 4
    near = NONE
    for first in (0, 20, 1500, 2700, 3900):
        returns = np.ascontiguousarray(series[first : first + 1000])
        found = arch_model(returns, dist=dist, rescale=False).fit(disp="off", show_warning=False)
        theirs = np.array(found.params)
        # SLSQP can leave its box by a hair, which a likelihood rewards.
        theirs[3] = min(theirs[3], 1.0 - theirs[2])
        best = arch_log_likelihood(returns, theirs)
        for start in (NONE, near):
            tops, value, is_converged, *_ = maximise(returns, start, k == 5)
            theta = tops[0]
            assert is_converged
            assert value == pytest.approx(arch_log_likelihood(returns, theta), rel=1e-12)
            assert value >= best - 1e-6
        near = tops


def test_maximise_when_warm_on_the_wrong_hill_then_the_higher_is_found() -> None:
    returns = returns_pct("sp500")[:1000]
    _, best, *_ = maximise(returns, NONE, False)
    wrong = tops_of((returns.mean(), returns.var(), 0.02, 0.02))
    _, value, is_converged, *_ = maximise(returns, wrong, False)
    assert is_converged
    assert value == pytest.approx(best, abs=1e-6)


def test_maximise_when_arch_has_no_effect_then_still_ends() -> None:
    rng = np.random.default_rng(5)
    for returns in (rng.normal(size=300), np.sign(rng.normal(size=300)), np.eye(300)[7] * 50):
        for is_t in (False, True):
            tops, value, _, passes, _ = maximise(returns, NONE, is_t)
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
