"""What two frames of one level say together: sums over their pixels, and the statistics that follow from these."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Candidates:
    """Pixels of a suspicious pair whose difference stands out, with what is needed to take them out exactly.

    Parameters
    ----------
    index : ndarray of int (n,)
        Position in the flattened frame.
    a, b : ndarray (n,)
        Their codes (less the pair's shift).
    sigmas : ndarray (n,)
        |difference| in units of the robust standard deviation of its block of pixels.
    centred : ndarray (n,)
        Difference less the mean that the other pixels have in its tile of rows.
    rest_d2, rest_d4, rest_d2_signal : float
        ``sum_d2`` and its like over the other pixels, about their own means: free of what the candidates do to a mean.
    """

    index: NDArray[np.int64]
    a: FloatArray
    b: FloatArray
    sigmas: FloatArray
    centred: FloatArray
    rest_d2: float
    rest_d4: float
    rest_d2_signal: float


@dataclass(frozen=True)
class PairSums:
    """Exact sums over the pixels of two frames a and b of one level.

    ``d = a - b``. The sums are those of the codes minus ``shift_dn``, which is 0 for integers: real values far from 0
    keep their digits so. ``sum_d4`` and the neighbour products are in DN^4 and DN^2.

    Parameters
    ----------
    n_pixels : int
    sum_a, sum_b, sum_aa, sum_bb, sum_ab : float
        Sums of codes and of their products.
    sum_d2, sum_d4, sum_d2_signal : float
        Of d^2, d^4 and d^2 (a + b)/2, d about the mean of its tile.
    neighbour_horizontal, neighbour_vertical : float
        Of the products of d with its next in the row and in the column.
    row_power, column_power : float
        Sums of the squared row sums and column sums of d about its mean, DN^2.
    shape : tuple of int
    shift_dn : float
    truncation : float
        What the variance has to be divided by where the largest differences were taken out.
    rejected : int
        Pixels taken out as outliers.
    candidates : Candidates or None
        Kept for pairs with differences beyond `calibrate.level_statistics.sums.SUSPICIOUS_SIGMAS`.
    """

    n_pixels: int
    sum_a: float
    sum_b: float
    sum_aa: float
    sum_bb: float
    sum_ab: float
    sum_d2: float
    sum_d4: float
    sum_d2_signal: float
    neighbour_horizontal: float
    neighbour_vertical: float
    row_power: float = 0.0
    column_power: float = 0.0
    shape: tuple[int, int] = (0, 0)
    shift_dn: float = 0.0
    truncation: float = 1.0
    rejected: int = 0
    candidates: Candidates | None = None

    @property
    def mean_a_dn(self) -> float:
        """Mean of frame a, DN."""
        return self.shift_dn + self.sum_a / self.n_pixels

    @property
    def mean_b_dn(self) -> float:
        """Mean of frame b, DN."""
        return self.shift_dn + self.sum_b / self.n_pixels

    @property
    def difference_variance_dn2(self) -> float:
        """Variance of a - b over pixels, DN^2 (its mean taken out)."""
        return _scaled_difference_variance(self, 1.0, 1.0) / self.truncation

    def temporal_variance_dn2(self, offset_dn: float | None) -> float:
        """Temporal variance of one frame at the pair's mean light, DN^2.

        Both frames, offset removed, are scaled to the pair's mean before they are subtracted, so that a lamp
        that drifts does not turn the shading into noise; the shot noise is corrected for the scale. Without
        light (``offset_dn`` None, or the mean within one noise of it, or one code) the plain difference is used.

        Notes
        -----
        With alpha = M/m_a, beta = M/m_b and variances in proportion to the light,
        Var(alpha a - beta b) = v (alpha^2 m_a + beta^2 m_b) / M = v (alpha + beta).
        """
        plain = self.difference_variance_dn2 / 2
        if offset_dn is None:
            return plain
        light_a = self.mean_a_dn - offset_dn
        light_b = self.mean_b_dn - offset_dn
        mean = (light_a + light_b) / 2
        one_code = 1.0 if isinstance(self.sum_a, int) else 0.0
        if min(light_a, light_b) <= max(np.sqrt(max(plain, 0.0)), one_code):
            return plain
        alpha, beta = mean / light_a, mean / light_b
        return _scaled_difference_variance(self, alpha, beta) / (alpha + beta) / self.truncation

    @property
    def r4_variance_dn2(self) -> float:
        """EMVA 1288 R4 temporal variance: mean(d^2)/2 - mean(d)^2/2, DN^2."""
        return self.difference_variance_dn2 / 2

    @property
    def spatial_covariance_dn2(self) -> float:
        """Covariance of the two frames over pixels: shading and fixed pattern without temporal noise, DN^2."""
        n = self.n_pixels
        return (n * self.sum_ab - self.sum_a * self.sum_b) / (n * n)

    @property
    def kurtosis(self) -> float:
        """E[d^4]/E[d^2]^2 of the difference about its mean; 3 for a normal law."""
        second = self.difference_variance_dn2
        return float(self.sum_d4 / self.n_pixels / second**2) if second > 0 else 3.0

    @property
    def noise_signal_covariance_dn3(self) -> float:
        """Covariance over pixels of the squared difference with the signal, Cov(d^2 / 2, (a + b)/2), DN^3.

        Half the third cumulant of one frame's noise, plus the covariance of the pixels' own variance and mean: K times
        the spatial variance where pixels differ in light, twice that where they differ in gain.
        """
        n = self.n_pixels
        if n < 3:
            return 0.0
        mean = (self.sum_a + self.sum_b) / (2 * n)
        # (n - 1)(n - 2)/n^2 of a third moment is left about the means of n values.
        return 0.5 * (self.sum_d2_signal - self.sum_d2 * mean) * n / ((n - 1) * (n - 2))

    @property
    def row_noise_dn2(self) -> float:
        """Variance of one frame's rows beyond what independent pixels give, DN^2; signed."""
        return self._line_noise(self.row_power, self.shape[0], self.shape[1])

    @property
    def column_noise_dn2(self) -> float:
        """Variance of one frame's columns beyond what independent pixels give, DN^2; signed."""
        return self._line_noise(self.column_power, self.shape[1], self.shape[0])

    def _line_noise(self, power: float, lines: int, length: int) -> float:
        if lines < 2 or length < 2:
            return 0.0
        # Of the line means: variance / length for independent pixels, plus the line noise.
        return 0.5 * (power / length**2 / (lines - 1) - self.difference_variance_dn2 / length)

    def without(self, kept: NDArray[np.bool_], truncation: float, unseen_dn3: float = 0.0) -> PairSums:
        """The same pair with the candidates that are not ``kept`` taken out of all sums but those over lines.

        ``unseen_dn3`` is what outliers among the other pixels add to `noise_signal_covariance_dn3`.
        """
        found = self.candidates
        if found is None or bool(np.all(kept)):
            return self
        a, b = found.a[~kept], found.b[~kept]
        n = self.n_pixels
        exact = isinstance(self.sum_a, int)
        number = int if exact else float
        # d^2 and d^4 anew, about means without outliers: one spark moves the mean of its tile, and a high one's fourth
        # power about the wrong mean is larger than all the rest.
        square = found.centred[kept] ** 2
        signal = (found.a[kept] + found.b[kept]) / 2

        def total(values: FloatArray) -> float:
            return number(float(np.sum(values)))

        return replace(
            self,
            n_pixels=n - a.size,
            sum_a=self.sum_a - total(a),
            sum_b=self.sum_b - total(b),
            sum_aa=self.sum_aa - total(a * a),
            sum_bb=self.sum_bb - total(b * b),
            sum_ab=self.sum_ab - total(a * b),
            sum_d2=found.rest_d2 + float(np.sum(square)),
            sum_d4=found.rest_d4 + float(np.sum(square * square)),
            sum_d2_signal=found.rest_d2_signal + float(np.sum(square * signal)) - 2 * (n - a.size) * unseen_dn3,
            truncation=truncation,
            rejected=int(a.size),
            candidates=None,
        )


def _scaled_difference_variance(sums: PairSums, alpha: float, beta: float) -> float:
    """Variance over pixels of alpha a - beta b; the unbiased one (n - 1)."""
    n = sums.n_pixels
    var_a = n * sums.sum_aa - sums.sum_a * sums.sum_a
    var_b = n * sums.sum_bb - sums.sum_b * sums.sum_b
    cov = n * sums.sum_ab - sums.sum_a * sums.sum_b
    if alpha == 1.0 and beta == 1.0:
        return float(var_a + var_b - 2 * cov) / (n * (n - 1))
    # (alpha - beta)^2 cov is all that is left of the shading; written so, nothing large cancels.
    noise = alpha * alpha * float(var_a - cov) + beta * beta * float(var_b - cov)
    return (noise + (alpha - beta) ** 2 * float(cov)) / (n * (n - 1))
