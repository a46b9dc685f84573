"""The numbers that turn a pixel's sums into its parameters: the same for every pixel, from the levels seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from calibrate.pixel_maps.plan import ScalarFit
from calibrate.pixel_maps.sums import LevelSeen

FloatArray = NDArray[np.float64]

#: Relative response over which the expectations of a bent response are tabled.
_RESPONSE_RANGE = (-1.0, 1.5)
_RESPONSE_DEGREE = 6
_STEP_GRID = np.linspace(*_RESPONSE_RANGE, 5001)
_INVERSE_GRID = np.linspace(-1.5, 7.0, 4097)


@dataclass(frozen=True)
class Design:
    """Expectations of the sums under the scalar fit.

    Parameters
    ----------
    seen : sequence of LevelSeen
        Levels with the number of frames that went into the sums.
    fit : ScalarFit
    has_exposures : bool
        Whether every dark says its exposure.
    """

    seen: tuple[LevelSeen, ...]
    fit: ScalarFit
    has_exposures: bool

    @cached_property
    def _dark(self) -> list[LevelSeen]:
        return [level for level in self.seen if not level.plan.bright]

    @cached_property
    def _bright(self) -> list[LevelSeen]:
        return [level for level in self.seen if level.plan.bright]

    # ---- darks: means ------------------------------------------------------------------------------------

    @cached_property
    def dark_moments(self) -> tuple[float, float, float]:
        """Sum of the weights W of the dark means, their mean exposure, and sum W (t - mean exposure)^2."""
        w, t = _columns(self._dark, lambda x: (x.mean_weight, x.plan.exposure_s))
        total = float(np.sum(w))
        mean_t = float(np.sum(w * t)) / total if total > 0 else 0.0
        return total, mean_t, float(np.sum(w * (t - mean_t) ** 2))

    @cached_property
    def has_rate(self) -> bool:
        """Whether the dark current of a pixel can be told from its offset."""
        total, mean_t, spread = self.dark_moments
        known = self.has_exposures and self.fit.dark_current_e_per_s is not None
        return known and spread > 1e-12 * total * mean_t**2

    @cached_property
    def longest_dark_s(self) -> float:
        """Longest exposure among the darks."""
        return max((level.plan.exposure_s for level in self._dark), default=0.0)

    def offset_and_rate(self, dark: FloatArray, dark_by_time: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Offset (DN) at zero exposure and dark charge (DN/s) of each pixel, by weighted least squares.

        With darks at one exposure the scalar fit's mean dark charge in it is taken off every pixel alike.
        """
        total, mean_t, spread = self.dark_moments
        mean = dark / total
        if self.has_rate:
            rate = (dark_by_time - mean_t * dark) / spread
        else:
            rate = np.full_like(mean, self.fit.dark_rate_dn_per_s if self.has_exposures else 0.0)
        return self.fit.offset_dn + mean - rate * mean_t, rate

    def dark_prediction(self, exposure_s: float, *, slope: bool = False) -> tuple[float, float]:
        """Coefficients of a pixel's still variance (DN^2) and of its dark shot rate (DN^2/s) in an error variance.

        The error is that of offset + rate * ``exposure_s``, or of the rate where ``slope``.
        """
        share, t, n = self._dark_shares(exposure_s, slope=slope)
        return float(np.sum(share**2 / n)), float(np.sum(share**2 / n * t))

    def dark_prediction_third(self, exposure_s: float) -> float:
        """Third cumulant (DN^3) of the error of offset + rate * ``exposure_s``, from the typical dark charge."""
        share, t, n = self._dark_shares(exposure_s)
        third = self.fit.system_gain_dn_per_e**2 * max(self.fit.dark_rate_dn_per_s, 0.0) * t
        return float(np.sum(share**3 / n**2 * third))

    def _dark_shares(self, exposure_s: float, *, slope: bool = False) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Share of each dark level's mean in a prediction or in the rate; exposures and numbers of frames."""
        total, mean_t, spread = self.dark_moments
        w, t, n = _columns(self._dark, lambda x: (x.mean_weight, x.plan.exposure_s, float(x.n_frames)))
        lever = w * (t - mean_t) / spread if self.has_rate else np.zeros_like(w)
        share = lever if slope else w / total + lever * (exposure_s - mean_t if self.has_rate else 0.0)
        return share, t, n

    # ---- darks: variances --------------------------------------------------------------------------------

    @cached_property
    def dark_weight(self) -> float:
        """Sum of the weights q of the dark variances."""
        return float(sum(level.variance_weight for level in self._dark))

    @cached_property
    def noise_exposure_s(self) -> float:
        """Exposure at which the weighted mean of a pixel's dark variances stands."""
        q, t = _columns(self._dark, lambda x: (x.variance_weight, x.plan.exposure_s))
        return float(np.sum(q * t)) / self.dark_weight

    @cached_property
    def dark_variance_dn2(self) -> float:
        """What the scalar fit expects the weighted mean of a pixel's dark variances to be."""
        q, v = _columns(self._dark, lambda x: (x.variance_weight, x.plan.variance_dn2))
        return float(np.sum(q * v)) / self.dark_weight

    @cached_property
    def dark_dof(self) -> float:
        """Degrees of freedom of that mean for a typical pixel: 2 mean^2 / variance."""
        q = _columns(self._dark, lambda x: (x.variance_weight,))[0]
        # With the weights q = 1/variance the weighted mean has variance 1/sum(q).
        return 2 * self.dark_variance_dn2**2 * float(np.sum(q))

    @property
    def dark_rounding_dn2(self) -> float:
        """What rounding adds to a dark's variance."""
        fit = self.fit
        return fit.rounding_dn2 if fit.dark_rounding_dn2 is None else fit.dark_rounding_dn2

    def dark_spread(self) -> tuple[float, float, float, float]:
        """Coefficients of a^2, a b, b^2 and b in the error variance of the mean dark variance of a pixel.

        Its variance at exposure t is a + b t; the last is the fourth cumulant of the dark charge.
        """
        q, t, n = _columns(self._dark, lambda x: (x.variance_weight, x.plan.exposure_s, float(x.n_frames)))
        share = (q / self.dark_weight) ** 2
        normal = 2 * share / np.maximum(n - 1, 1)
        shot = self.fit.system_gain_dn_per_e**2 * share / n
        return (
            float(np.sum(normal)),
            float(np.sum(2 * normal * t)),
            float(np.sum(normal * t**2)),
            float(np.sum(shot * t)),
        )

    @cached_property
    def rounding_spread(self) -> tuple[float, float, float]:
        r"""Variances over pixels of what coarse rounding does to a pixel's offset, dark variance and dark rate.

        The error depends on where between two codes the offset lies. With E = exp(-2 pi^2 s^2), s the noise before
        rounding, its first harmonic has amplitude E/pi in the mean and (4 s^2 + 1/pi^2) E in the variance (Widrow and
        Kollar 2008, chapter 4); half the square of that over pixels. At s = 0.5 DN E is 0.007. Levels have one
        phase in the first two, which is the worst case, and phases of their own in the rate.
        """
        if self.fit.rounding_dn2 == 0:
            return 0.0, 0.0, 0.0
        noise = np.array([max(x.plan.variance_dn2 - self.dark_rounding_dn2, 0.0) for x in self._dark])
        harmonic = np.exp(-2 * np.pi**2 * noise)
        share, _, _ = self._dark_shares(0.0)
        q = np.array([x.variance_weight for x in self._dark]) / self.dark_weight
        mean = float(np.sum(np.abs(share) * harmonic)) / np.pi
        variance = float(np.sum(q * (4 * noise + np.pi**-2) * harmonic))
        lever, _, _ = self._dark_shares(0.0, slope=True)
        rate = float(np.sum((lever * harmonic) ** 2)) / (2 * np.pi**2) if self.has_rate else 0.0
        return mean**2 / 2, variance**2 / 2, rate

    # ---- brights: means ----------------------------------------------------------------------------------

    @cached_property
    def has_light(self) -> bool:
        """Whether there is a bright level to see the photo-response with."""
        return bool(self._bright) and self.light_lever > 0

    @cached_property
    def light_lever(self) -> float:
        """Change of the light sum for a unit of relative response."""
        return float(sum(x.mean_weight * x.plan.slope * x.plan.light_dn for x in self._bright))

    @cached_property
    def light_weight(self) -> tuple[float, float]:
        """Sum of the bright means' weights, and of weight * f' * exposure."""
        w = [(x.mean_weight, x.mean_weight * x.plan.slope * x.plan.exposure_s) for x in self._bright]
        return sum(a for a, _ in w), sum(b for _, b in w)

    def response(self, light: FloatArray, offset: FloatArray, rate: FloatArray) -> FloatArray:
        """Signal of each pixel over the level's, less 1, from the light sum; exact for a bent response as well."""
        weight, by_rate = self.light_weight
        y = light - (offset - self.fit.offset_dn) * weight
        if self.has_rate:
            y -= (rate - self.fit.dark_rate_dn_per_s) * by_rate
        if self.fit.response.form == "linear":
            return y / self.light_lever
        expected = np.zeros_like(_INVERSE_GRID)
        for x in self._bright:
            u = np.array(x.plan.signal_dn)
            bent = self.fit.response.evaluate(u + x.plan.light_dn * _INVERSE_GRID) - self.fit.response.evaluate(u)
            expected += x.mean_weight * bent
        return np.interp(y, expected, _INVERSE_GRID)

    def response_spread(self) -> tuple[float, float]:
        """Coefficients of the relative shot noise and of the still variance in the response's error variance."""
        shot = still = 0.0
        for x in self._bright:
            share = (x.mean_weight / self.light_lever) ** 2 / x.n_frames
            shot += share * x.plan.shot_share_dn2
            still += share * x.by_signal
        return shot, still

    # ---- brights: variances ------------------------------------------------------------------------------

    @cached_property
    def has_gain(self) -> bool:
        """Whether the variance can be followed over the signal: two bright levels of two frames, or one and darks."""
        return self.has_light and self.dark_weight > 0 and any(x.variance_weight > 0 for x in self._bright)

    @cached_property
    def rounding_sums(self) -> tuple[float, float]:
        """What rounding adds to the two variance sums of the brights."""
        c = [x.variance_coefficients for x in self._bright]
        return self.fit.rounding_dn2 * sum(a for a, _ in c), self.fit.rounding_dn2 * sum(b for _, b in c)

    @cached_property
    def expected(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Coefficients in the relative response p of the expectations per K (twice) and per still variance (twice).

        (sum c1 h u, sum c1 h, sum c0 h u, sum c0 h) with u = u_j + p s_j and h = bend f'(u)^2; c1 and c0 are
        `LevelSeen.variance_coefficients`. Exact for a linear response, else a polynomial through Chebyshev nodes; for a
        response of two slopes the values on `_STEP_GRID`, since a pixel's noise steps where it passes the knee.
        """
        form = self.fit.response.form
        linear = form == "linear"
        low, high = _RESPONSE_RANGE
        nodes = np.cos(np.pi * (np.arange(64) + 0.5) / 64)
        p = _STEP_GRID if form == "two-slope" else (low + high) / 2 + (high - low) / 2 * nodes
        rows = np.zeros((4, p.size))
        for x in self._bright:
            u = x.plan.signal_dn + p * x.plan.light_dn
            h = x.plan.bend * self.fit.response.derivative(u) ** 2
            c1, c0 = x.variance_coefficients
            rows += np.stack([c1 * h * u, c1 * h, c0 * h * u, c0 * h])
        if form == "two-slope":
            return rows[0], rows[1], rows[2], rows[3]
        degree = 1 if linear else _RESPONSE_DEGREE
        fits = [np.polynomial.Polynomial.fit(p, row, degree).convert().coef.astype(np.float64) for row in rows]
        return fits[0], fits[1], fits[2], fits[3]

    def expected_at(self, p: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """The four expectations at each pixel's relative response, arrays of their own."""
        if self.fit.response.form == "two-slope":
            a, b, c, d = (np.interp(p, _STEP_GRID, row) for row in self.expected)
        else:
            a, b, c, d = (polynomial(row, p) for row in self.expected)
        return a, b, c, d

    @cached_property
    def by_rate(self) -> tuple[float, float]:
        """(sum c1 h t, sum c0 h t): what a pixel's own dark charge adds to the expectations per K."""
        parts = [(*x.variance_coefficients, x.by_signal * x.plan.exposure_s) for x in self._bright]
        return sum(a * t for a, _, t in parts), sum(b * t for _, b, t in parts)

    def gain_spread(self) -> FloatArray:
        """Sums for the error variance of combinations of the two variance sums, shape (3, 4).

        Rows: c1 c1, c1 c0, c0 c0. Columns: coefficients of k^2, k w, w^2 and k, where the variance of a level is
        h (k K u + w) with k the pixel's shot noise over the typical one; the last is the fourth cumulant.
        """
        out = np.zeros((3, 4))
        gain = self.fit.system_gain_dn_per_e
        for x in self._bright:
            if x.n_frames < 2:
                continue
            c1, c0 = x.variance_coefficients
            normal, h, shot = 2 / (x.n_frames - 1), x.by_signal, gain * max(x.plan.signal_dn, 0.0)
            column = h**2 * np.array([normal * shot**2, 2 * normal * shot, normal, 0.0])
            column[3] = x.kappa4_dn4 / x.n_frames
            out += np.outer([c1 * c1, c1 * c0, c0 * c0], column)
        return out


def polynomial(coefficients: FloatArray, p: FloatArray) -> FloatArray:
    """Value of an expectation at the relative response p, held at the ends of the tabled range where it is bent."""
    if coefficients.size > 2:
        p = np.clip(p, *_RESPONSE_RANGE)
    out = np.full_like(p, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        out *= p
        out += coefficient
    return out


def _columns(levels: Sequence[LevelSeen], of: Callable[[LevelSeen], tuple[float, ...]]) -> tuple[FloatArray, ...]:
    rows = [of(level) for level in levels]
    return tuple(np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)) if rows else ()
