r"""Brighter-fatter: charge that a pixel holds pushes charge to come into its neighbours (Astier et al. 2019).

While a flat is exposed, the rate at which pixel x collects, per electron of mean rate, is

    1 + sum_kl a_kl (1 + b mu) Q(x - k, y - l),    sum_kl a_kl = 0,

with Q the charge collected so far and mu its mean. Charge is conserved, so that means do not change. Pixels that hold
more collect less (a_00 < 0), their neighbours more (a_kl > 0): the variance falls below mu, and the covariances of
neighbours make up for it. In electrons,

    dC/dmu = delta + 2 (1 + b mu) a (x) C,    C(0) = 0,

with (x) the convolution over lags. Its series is equation 20 of Astier et al. 2019 (arXiv:1905.08677) with one b for
all lags, which keeps charge at every level; with a_00 alone and b = 0 it is their equation 16,
C_00 = (exp(2 a_00 mu) - 1) / (2 a_00). Over lags it is diagonal, and solved here in the Fourier domain to all orders:

    C^(mu) = integral_0^mu exp(2 a^ [(mu - s) + b (mu^2 - s^2) / 2]) ds.

Since a^(0) = 0, sum_ij C_ij = mu: covariances, where they can be seen, restore the Poisson variance.
Arrays over lags are quadrants [vertical, horizontal]; a_kl = a_-kl = a_k-l stands once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from calibrate.level_statistics.covariances import NeighbourCovariances

FloatArray = NDArray[np.float64]
#: a_kl of a quadrant, rows over vertical lags; () for none but a_00. Tuples, since layouts are compared.
Quadrant = tuple[tuple[float, ...], ...]

_PERIOD = 32  # of the lag grid: sums of two shifts of 8 pixels do not wrap around
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(8)
_POWERS = 6
_LARGEST_EXPONENT = 30.0
#: Lags that decide whether there is an effect at all; it falls off like a dipole's field.
NEAR = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0))
#: Standard errors from which on a single a_kl takes part in the variance: noise squared would add up over 80 lags.
_SIGNIFICANT = 3.0


def multiplicity(lags: int) -> FloatArray:
    """How many of the lags +-i, +-j each entry of a quadrant stands for, (lags + 1, lags + 1)."""
    one = np.full(lags + 1, 2.0)
    one[0] = 1.0
    return np.outer(one, one)


@lru_cache(maxsize=64)
def _waves(lags: int) -> tuple[FloatArray, FloatArray]:
    """Cosines (n_waves, lags + 1) of a grid of half a period, and the weight of each wave."""
    k = np.arange(_PERIOD // 2 + 1)
    weight = np.full(k.size, 2.0 / _PERIOD)
    weight[[0, -1]] = 1.0 / _PERIOD
    return np.cos(2 * np.pi * np.outer(k, np.arange(lags + 1)) / _PERIOD), weight


def _transform(quadrant: FloatArray) -> FloatArray:
    """Fourier transform over lags, on the grid of waves."""
    lags = quadrant.shape[0] - 1
    cosine, _ = _waves(lags)
    return np.asarray(cosine @ (quadrant * multiplicity(lags)) @ cosine.T)


@lru_cache(maxsize=64)
def _neighbour_waves(neighbours: Quadrant) -> tuple[FloatArray, FloatArray]:
    """A few transformed shifts, a_00 left out, and weights whose sums are those over all waves.

    Gauss quadrature of the distribution of a^ over waves (Lanczos): its mean powers, [a (x) a (x) ..]_00, are exact up
    to the eleventh.
    """
    quadrant = np.array(neighbours) if neighbours else np.zeros((1, 1))
    quadrant[0, 0] = 0.0
    scale = float(np.max(np.abs(quadrant)))
    if scale == 0:
        return np.zeros(1), np.ones(1)
    weight = _waves(quadrant.shape[0] - 1)[1]
    values = _transform(quadrant).ravel() / scale
    vector = np.sqrt(np.outer(weight, weight).ravel())
    basis, diagonal, beside = [vector], [], []
    for _ in range(_POWERS):
        image = values * basis[-1]
        diagonal.append(float(basis[-1] @ image))
        for known in basis:
            image = image - (known @ image) * known
        length = float(np.linalg.norm(image))
        if length < 1e-9 or len(diagonal) == _POWERS:
            break
        beside.append(length)
        basis.append(image / length)
    beside = beside[: len(diagonal) - 1]
    nodes, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    return nodes * scale, vectors[0] ** 2


def _power(mean_e: FloatArray, waves: FloatArray, b_per_e: float) -> FloatArray:
    """C^ for means (n,) and transformed shifts (m,): (n, m)."""
    s = 0.5 * mean_e[:, None] * (1 + _NODES)
    path = (mean_e[:, None] - s) * (1 + 0.5 * b_per_e * (mean_e[:, None] + s))
    exponent = np.minimum(2 * waves[None, :, None] * path[:, None, :], _LARGEST_EXPONENT)
    return np.asarray(0.5 * mean_e[:, None] * (np.exp(exponent) @ _NODE_WEIGHTS))


def _by_shift(mean_e: FloatArray, a00_per_e: float, b_per_e: float) -> FloatArray:
    """dC_kl/da_kl where a_00 is all else that there is, (n,): mu^2 to first order."""
    s = 0.5 * mean_e[:, None] * (1 + _NODES)
    path = (mean_e[:, None] - s) * (1 + 0.5 * b_per_e * (mean_e[:, None] + s))
    growth = 2 * path * np.exp(np.minimum(2 * a00_per_e * path, _LARGEST_EXPONENT))
    return np.asarray(0.5 * mean_e * (growth @ _NODE_WEIGHTS))


def covariances_e2(mean_e: FloatArray, a_per_e: FloatArray, b_per_e: float = 0.0) -> FloatArray:
    """Covariances of shot noise between pixels, electrons^2, (n, lags + 1, lags + 1).

    Parameters
    ----------
    mean_e : ndarray (n,)
        Mean charge.
    a_per_e : ndarray (lags + 1, lags + 1)
        Shifts, a_00 at [0, 0] (negative where the variance falls); lags up to 15.
    b_per_e : float
        By how much the shifts change with the charge collected, relative, per electron.

    Notes
    -----
    Equation 20 of Astier et al. 2019 without its noise, to all orders, with one b.
    """
    lags = a_per_e.shape[0] - 1
    cosine, weight = _waves(lags)
    waves = _transform(a_per_e)
    power = _power(mean_e, waves.ravel(), b_per_e).reshape(mean_e.size, *waves.shape)
    back = cosine.T * weight
    return np.asarray(back @ power @ back.T)


def shot_variance_e2(
    mean_e: FloatArray, a00_per_e: float, b_per_e: float = 0.0, neighbours: Quadrant = ()
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Variance of a pixel's charge, electrons^2, and its first two derivatives by the mean charge.

    Without ``neighbours`` and b this is equation 16 of Astier et al. 2019, (exp(2 a_00 mu) - 1) / (2 a_00).
    """
    waves, weight = _neighbour_waves(neighbours)
    waves = waves + a00_per_e
    power = _power(mean_e, waves, b_per_e)
    rate = 2 * waves * (1 + b_per_e * mean_e[:, None])
    slope = 1 + rate * power
    bend = 2 * waves * b_per_e * power + rate * slope
    return power @ weight, slope @ weight, bend @ weight


def third_cumulant_e3(mean_e: FloatArray, a00_per_e: float) -> FloatArray:
    """Third cumulant of a pixel's charge, electrons^3, from its own charge alone.

    Notes
    -----
    A rate 1 + a (Q - mu) has d kappa_3 / d mu = 1 + 3 a C + 3 a kappa_3, so
    kappa_3 = (1 - 9 exp(2 a mu) + 8 exp(3 a mu)) / (6 a) = mu + 3 a mu^2 + 4 a^2 mu^3 + ...
    """
    z = np.clip(a00_per_e * mean_e, -_LARGEST_EXPONENT, _LARGEST_EXPONENT / 3)
    small = np.abs(z) < 1e-3
    safe = np.where(small, 1.0, z)
    exact = (1 - 9 * np.exp(2 * safe) + 8 * np.exp(3 * safe)) / (6 * safe)
    return np.asarray(mean_e * np.where(small, 1 + 3 * z + 4 * z**2, exact))


@dataclass(frozen=True, eq=False)
class ShiftMatrix:
    """The shifts a_kl as the covariances show them.

    Parameters
    ----------
    a_per_e, a_std_per_e : ndarray (lags + 1, lags + 1)
        [0, 0] is what conservation of charge asks for: minus the sum of all others.
    noise_dn2 : ndarray (lags + 1, lags + 1)
        Covariance without light.
    evidence : float
        By how much the covariances' -2 log likelihood falls for the shifts at the `NEAR` lags, less the price of five
        parameters in the Bayesian information criterion.
    over_linear : float
        By how much it is below that of covariances in proportion to the light, as coupling between pixels at read-out
        or interpolation make them.
    """

    a_per_e: FloatArray
    a_std_per_e: FloatArray
    noise_dn2: FloatArray
    evidence: float
    over_linear: float

    @property
    def credit(self) -> float:
        """What the covariances add to the criterion of candidates without shifts.

        Such a candidate has the better of no covariances at all and of pixels coupled at read-out.
        """
        return min(self.evidence, self.over_linear)

    @property
    def near_sum_per_e(self) -> tuple[float, float]:
        """Sum of the neighbours' shifts at the `NEAR` lags, and its error; positive where charge pushes charge away."""
        near = tuple(np.array(NEAR).T)
        counts = multiplicity(self.a_per_e.shape[0] - 1)
        std = float(np.sqrt(np.sum((counts * self.a_std_per_e)[near] ** 2)))
        return float(np.sum((counts * self.a_per_e)[near])), std

    @property
    def significant(self) -> Quadrant:
        """Neighbours' shifts that stand out of their errors, the others 0."""
        kept = np.where(np.abs(self.a_per_e) > _SIGNIFICANT * self.a_std_per_e, self.a_per_e, 0.0)
        kept[0, 0] = 0.0
        return tuple(tuple(float(value) for value in row) for row in kept)

    def with_own(self, a00_per_e: float, std_per_e: float) -> ShiftMatrix:
        """The same with a_00 as the variances show it."""
        a, std = self.a_per_e.copy(), self.a_std_per_e.copy()
        a[0, 0], std[0, 0] = a00_per_e, std_per_e
        return replace(self, a_per_e=a, a_std_per_e=std)


def fit_shift_matrix(
    levels: Sequence[NeighbourCovariances],
    offset_dn: float,
    gain_dn_per_e: float,
    a00_per_e: float | None = None,
    b_per_e: float = 0.0,
) -> ShiftMatrix:
    """Shifts of all lags from the covariances of three levels or more, by weighted least squares.

    Parameters
    ----------
    levels : sequence of NeighbourCovariances
        Below saturation.
    offset_dn, gain_dn_per_e : float
    a00_per_e : float or None
        From the variances; None for the value that conserves charge.
    b_per_e : float

    Notes
    -----
    To first order C_kl = n_kl + a_kl mu^2, the same a in electrons and in DN; with a_00, which rules all higher orders,
    the square becomes dC/da_kl at that a_00. What other lags mix in is taken from the model at the last step, and the
    rest is linear in a_kl and n_kl. Repeated until that rests. The errors are those at the a_00 given.
    """
    signal = np.array([level.mean_dn for level in levels]) - offset_dn
    seen = np.stack([level.covariance_dn2 for level in levels])
    precision = np.stack([level.std_dn2 for level in levels]) ** -2.0
    lags = seen.shape[1] - 1
    counts = multiplicity(lags)
    counts[0, 0] = 0.0
    mean = signal / gain_dn_per_e
    a, std, noise = _line((signal**2)[:, None, None], seen, precision)
    # The sum over lags does not grow on a_00: where charge is kept, its lever is the plain square.
    conserved_std = float(np.sqrt(np.sum((counts * std) ** 2)))
    for _ in range(30):
        before = a.copy()
        a[0, 0] = -float(np.sum(counts * a)) if a00_per_e is None else a00_per_e
        model = gain_dn_per_e**2 * covariances_e2(mean, a, b_per_e)
        lever = gain_dn_per_e**2 * _by_shift(mean, float(a[0, 0]), b_per_e)[:, None, None]
        a, std, noise = _line(lever, seen - (model - a * lever), precision)
        if np.max(np.abs(a - before)[counts > 0]) < 1e-4 * np.min(std[counts > 0]):
            break
    a[0, 0] = -float(np.sum(counts * a))
    std[0, 0] = conserved_std
    model = gain_dn_per_e**2 * covariances_e2(mean, a, b_per_e)
    near = tuple(np.array(NEAR).T)
    bent = np.sum(precision * (seen - model - noise) ** 2, axis=0)[near]
    none = _misfit(np.zeros((signal.size, 1, 1)), seen, precision)[near]
    straight = _misfit(signal[:, None, None], seen, precision)[near]
    price = len(NEAR) * float(np.log(len(NEAR) * len(levels)))
    return ShiftMatrix(
        a_per_e=a,
        a_std_per_e=std,
        noise_dn2=noise,
        evidence=float(np.sum(none - bent)) - price,
        over_linear=float(np.sum(straight - bent)),
    )


def _line(x: FloatArray, y: FloatArray, precision: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Slope, its standard error and intercept over the first axis."""
    total = precision.sum(axis=0)
    centre_x, centre_y = (precision * x).sum(axis=0) / total, (precision * y).sum(axis=0) / total
    lever = (precision * (x - centre_x) ** 2).sum(axis=0)
    slope = (precision * (x - centre_x) * (y - centre_y)).sum(axis=0) / np.maximum(lever, 1e-300)
    return slope, np.sqrt(1 / np.maximum(lever, 1e-300)), centre_y - slope * centre_x


def _misfit(x: FloatArray, y: FloatArray, precision: FloatArray) -> FloatArray:
    slope, _, intercept = _line(x, y, precision)
    return np.asarray(np.sum(precision * (y - intercept - slope * x) ** 2, axis=0))
