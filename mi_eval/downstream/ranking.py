"""Information against result over designs, and whether both order them alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Protocol

import numpy as np
from scipy import stats

from calibrate import PhotonbitsError
from mi_eval.downstream.interface import FloatArray, Metric
from mi_eval.downstream.result import Evaluation, MetricOutcome

_FEWEST_DESIGNS = 5
_RESAMPLES = 1000
_QUANTILE = float(stats.norm.ppf(0.975))


class Information(Protocol):
    """What a ranking needs to know of a design's information; an `Audit` has it."""

    @property
    def value(self) -> float:
        """Bits per pixel."""

    @property
    def std(self) -> float:
        """Standard error."""

    @property
    def undecided_bits_per_pixel(self) -> tuple[float, float]:
        """How far the truth may lie below and above beside all chance."""


@dataclass(frozen=True)
class GivenInformation:
    """Information of a design from elsewhere: several audits averaged, or a closed form."""

    value: float
    std: float
    undecided_bits_per_pixel: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Pair:
    """Two designs, the one with more information first.

    Parameters
    ----------
    more, less : str
    information_bits_per_pixel, information_std : float
        Difference, 0 or more, and its standard error: both audits' in quadrature.
    result, result_std : float
        Difference of the metric, above 0 where the first design is *better*; of paired test objects.
    significant : bool
        The information differs by more than 1.96 standard errors.
    decided : bool
        It also differs by more than what the audits leave undecided.
    result_significant : bool
        The result differs by more than 1.96 standard errors, either way.
    """

    more: str
    less: str
    information_bits_per_pixel: float
    information_std: float
    result: float
    result_std: float
    significant: bool
    decided: bool
    result_significant: bool

    @property
    def alike(self) -> bool:
        """Whether the design with more information gave the better result."""
        return self.result > 0


@dataclass(frozen=True)
class Share:
    """Pairs, and how many of them the result orders like the information."""

    pairs: int
    alike: int

    @property
    def share(self) -> float | None:
        """Alike over all; None without pairs."""
        return self.alike / self.pairs if self.pairs else None


@dataclass(frozen=True)
class Ranking:
    """Information and result of designs, side by side.

    Parameters
    ----------
    metric : Metric
    title : str
        Of the decoder.
    names : tuple of str
    information : tuple of GivenInformation
    results : tuple of MetricOutcome
    pairs : tuple of Pair
        All pairs.
    spearman : float
        Rank correlation of information and result, above 0 where more information goes with better results.
    spearman_ci95 : (float, float)
        For the population of designs; see `spearman_interval`.
    """

    metric: Metric
    title: str
    names: tuple[str, ...]
    information: tuple[GivenInformation, ...]
    results: tuple[MetricOutcome, ...]
    pairs: tuple[Pair, ...]
    spearman: float
    spearman_ci95: tuple[float, float]

    @property
    def significant(self) -> Share:
        """Pairs whose information differs significantly."""
        return _share([pair for pair in self.pairs if pair.significant])

    @property
    def decided(self) -> Share:
        """Of them, those that differ by more than the audits leave undecided."""
        return _share([pair for pair in self.pairs if pair.significant and pair.decided])

    @property
    def significant_in_both(self) -> Share:
        """Pairs whose information and result both differ significantly."""
        return _share([pair for pair in self.pairs if pair.significant and pair.result_significant])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "metric": self.metric.name,
            "unit": self.metric.unit,
            "larger_is_better": self.metric.larger_is_better,
            "spearman": {"value": self.spearman, "ci95": list(self.spearman_ci95), "designs": len(self.names)},
            "pairs": {
                "all": len(self.pairs),
                **{
                    name: {"pairs": share.pairs, "ordered_alike": share.alike, "share": share.share}
                    for name, share in (
                        ("significant_information", self.significant),
                        ("beyond_undecided", self.decided),
                        ("significant_in_both", self.significant_in_both),
                    )
                },
            },
            "ordered_otherwise": [asdict(pair) for pair in self.pairs if pair.significant and not pair.alike],
            "designs": [
                {
                    "name": name,
                    "information_bits_per_pixel": {
                        "value": info.value,
                        "std": info.std,
                        "undecided": list(info.undecided_bits_per_pixel),
                    },
                    "result": {"value": result.value, "std": result.std},
                }
                for name, info, result in zip(self.names, self.information, self.results, strict=True)
            ],
        }


def rank_designs(
    information: Mapping[str, Information], evaluation: Evaluation, metric: str | None = None, *, seed: int = 0
) -> Ranking:
    """Compare the order of designs by information with that by result.

    Parameters
    ----------
    information : mapping of str to Audit
        By the evaluation's names; `GivenInformation` where it comes from elsewhere.
    evaluation : Evaluation
    metric : str, optional
        The decoder's main one by default.
    seed : int
        Of the interval's resamples.

    Notes
    -----
    Pairs share designs and are not independent: the share of pairs has no binomial error.

    Raises
    ------
    PhotonbitsError
        If a design has no information, or there are fewer than 5 designs.
    """
    chosen, names = evaluation.metric(metric), evaluation.names
    missing = [name for name in names if name not in information]
    if missing:
        raise PhotonbitsError(f"designs without information: {', '.join(missing)}", legal="an audit of each")
    known = tuple(
        GivenInformation(i.value, i.std, i.undecided_bits_per_pixel) for i in (information[name] for name in names)
    )
    outcomes = evaluation.outcomes(chosen.name)
    results = tuple(outcomes[name] for name in names)
    sign = 1.0 if chosen.larger_is_better else -1.0
    x, x_std = np.array([i.value for i in known]), np.array([i.std for i in known])
    y, y_std = np.array([sign * r.value for r in results]), np.array([r.std for r in results])
    value, interval = spearman_interval(x, y, x_std, y_std, seed=seed)
    order = {name: i for name, i in zip(names, known, strict=True)}
    pairs = tuple(_pair(a, b, order, evaluation, chosen, sign) for a, b in combinations(names, 2))
    return Ranking(chosen, evaluation.title, names, known, results, pairs, value, interval)


def _pair(
    a: str, b: str, known: Mapping[str, GivenInformation], evaluation: Evaluation, metric: Metric, sign: float
) -> Pair:
    more, less = (a, b) if known[a].value >= known[b].value else (b, a)
    one, other = known[more], known[less]
    apart, std = one.value - other.value, float(np.hypot(one.std, other.std))
    undecided = one.undecided_bits_per_pixel[0] + other.undecided_bits_per_pixel[1]
    result = evaluation.difference(more, less, metric.name)
    return Pair(
        more=more,
        less=less,
        information_bits_per_pixel=apart,
        information_std=std,
        result=sign * result.value,
        result_std=result.std,
        significant=apart > _QUANTILE * std,
        decided=apart > _QUANTILE * std + undecided,
        result_significant=abs(result.value) > _QUANTILE * result.std,
    )


def _share(pairs: list[Pair]) -> Share:
    return Share(len(pairs), sum(pair.alike for pair in pairs))


def spearman_interval(
    x: FloatArray, y: FloatArray, x_std: FloatArray, y_std: FloatArray, *, seed: int = 0, resamples: int = _RESAMPLES
) -> tuple[float, tuple[float, float]]:
    r"""Spearman's rank correlation, with a 95 % interval for that of the population of designs' true values.

    Parameters
    ----------
    x, y, x_std, y_std : ndarray (n,)
        Values of n designs, and their standard errors.

    Notes
    -----
    With :math:`z = \operatorname{artanh} r` the interval is

    .. math:: \tanh(z - t s) \quad\text{to}\quad D(\tanh(z + t s)), \qquad
        s^2 = \frac{1 + r^2/2}{n - 3} + v

    The first term is the chance of drawing these n designs (Bonett and Wright 2000, doi:10.1007/BF02294183), v the
    variance of z when each value is moved by a normal error of its standard error (parametric resampling), t Student's
    quantile with n - 2 degrees of freedom. Errors of the values pull r towards 0, so the upper end is corrected for
    attenuation by D: through Pearson's :math:`2\sin(\pi r/6)` divided by the root of both reliabilities
    :math:`1 - \overline{\sigma^2}/\operatorname{var}` (Spearman 1904, doi:10.2307/1412159). The lower end is not
    corrected: it holds for the values as measured, and all the more without their errors. r = 1 counts as half a step
    of r less. A bootstrap over designs with errors added would add them twice: percentiles of it hold strong
    correlations hardly ever (measured: scripts/study_downstream_ranking.py).

    Raises
    ------
    PhotonbitsError
        If there are fewer than 5 designs.
    """
    n = x.size
    if n < _FEWEST_DESIGNS:
        raise PhotonbitsError(f"{n} designs", legal=f"{_FEWEST_DESIGNS} or more for a rank correlation")
    rng = np.random.default_rng([seed, 59])
    r = float(_rank_correlations(x[None], y[None])[0])
    moved = _rank_correlations(
        x + x_std * rng.standard_normal((resamples, n)), y + y_std * rng.standard_normal((resamples, n))
    )
    z, errors = float(np.arctanh(_inside(np.array(r), n))), float(np.var(np.arctanh(_inside(moved, n))))
    reach = float(stats.t.ppf(0.975, n - 2)) * float(np.sqrt((1 + r**2 / 2) / (n - 3) + errors))
    reliability = _reliability(x, x_std) * _reliability(y, y_std)
    return r, (float(np.tanh(z - reach)), _disattenuated(float(np.tanh(z + reach)), reliability))


def _rank_correlations(x: FloatArray, y: FloatArray) -> FloatArray:
    """Spearman's correlation of each row (rows, n); 0 where all values tie."""
    a, b = (stats.rankdata(v, axis=1) for v in (x, y))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.asarray((a * b).sum(axis=1) / np.where(size > 0, size, 1.0))


def _inside(r: FloatArray, n: int) -> FloatArray:
    """Correlations less than 1 by half a step, so that artanh is finite."""
    most = 1 - 3 / (n * (n**2 - 1))
    return np.asarray(np.clip(r, -most, most))


def _reliability(values: FloatArray, stds: FloatArray) -> float:
    """Share of the variance between values that is not error; 0 where there is none."""
    variance = float(np.var(values, ddof=1))
    return max(1 - float(np.mean(stds**2)) / variance, 0.0) if variance > 0 else 0.0


def _disattenuated(r: float, reliability: float) -> float:
    """An upper end without the attenuation; 1 where errors are all there is."""
    if r <= 0:
        return r
    if reliability <= 0:
        return 1.0
    half = np.sin(np.pi / 6 * r) / np.sqrt(reliability)
    return float(min(6 / np.pi * np.arcsin(min(half, 0.5)), 1.0))
