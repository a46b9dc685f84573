"""Coverage of the interval of the rank correlation, beside a bootstrap over designs.

    python scripts/study_downstream_ranking.py [--trials 400]

Designs are drawn from normal laws of known rank correlation; both axes are measured with errors of the stated share of
the scatter between designs. Both intervals are meant to hold the correlation of the true values in 95 % of trials.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mi_eval.downstream.ranking import spearman_interval

FloatArray = NDArray[np.float64]


def bootstrap_interval(x: FloatArray, y: FloatArray, error: float, rng: np.random.Generator) -> tuple[float, float]:
    """Percentiles over designs drawn with replacement, each moved by a normal error."""
    rows = rng.integers(x.size, size=(200, x.size))
    found = []
    for values in (x, y):
        ranks = stats.rankdata(values[rows] + error * rng.standard_normal(rows.shape), axis=1)
        found.append(ranks - ranks.mean(axis=1, keepdims=True))
    a, b = found
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    low, high = np.quantile((a * b).sum(axis=1) / np.where(size > 0, size, 1.0), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400)
    trials = parser.parse_args().trials
    rng = np.random.default_rng(0)
    print("designs  correlation  error  holds, %  mean width  bootstrap holds, %")
    for n in (12, 20):
        for truth in (0.0, 0.5, 0.9, 0.97):
            pearson = 2 * np.sin(np.pi / 6 * truth)
            for error in (0.0, 0.2, 0.5):
                held = boot = 0
                width = 0.0
                stds = np.full(n, error)
                for trial in range(trials):
                    x = rng.standard_normal(n)
                    y = pearson * x + np.sqrt(1 - pearson**2) * rng.standard_normal(n)
                    x, y = (v + error * rng.standard_normal(n) for v in (x, y))
                    _, (low, high) = spearman_interval(x, y, stds, stds, seed=trial, resamples=200)
                    held, width = held + (low <= truth <= high), width + high - low
                    low, high = bootstrap_interval(x, y, error, rng)
                    boot += low <= truth <= high
                share = f"{100 * held / trials:8.1f}  {width / trials:10.2f}  {100 * boot / trials:18.1f}"
                print(f"{n:7d}  {truth:11.2f}  {error:5.1f}  {share}", flush=True)


if __name__ == "__main__":
    main()
