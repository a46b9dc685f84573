"""The response curve f: collected signal u = K n (DN) to signal after the read-out chain (DN)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibrate.plumbing.errors import PhotonbitsError

FloatArray = NDArray[np.float64]
Form = Literal["linear", "polynomial", "two-slope"]


@dataclass(frozen=True)
class Response:
    """Non-decreasing f with f(0) = 0, f'(0) = 1, linear for u < 0.

    ``linear``: f(u) = u. ``polynomial``: f(u) = u (1 + sum_k c_k (u / scale_dn)^k) for 0 <= u <= scale_dn,
    continued by its tangent above. ``two-slope``: f(u) = u up to the knee u_0 = c_1 scale_dn, and u_0 + c_2 (u - u_0)
    beyond it, 0 < c_2 < 1. With ``full_well_dn`` the curve is flat from that u on, which is how a full well below the
    converter's clip looks.

    Parameters
    ----------
    form : {"linear", "polynomial", "two-slope"}
    coefficients : tuple of float
        c_1, c_2, ... (dimensionless); empty for ``linear``; knee over scale and slope for ``two-slope``.
    scale_dn : float
        Signal u at which the coefficients are read: c_k is the k-th term's share of u there, and the unit of a knee.
    full_well_dn : float or None
        K times the full well in electrons.

    Raises
    ------
    PhotonbitsError
        If the curve falls anywhere, or a number is not finite.
    """

    form: Form = "linear"
    coefficients: tuple[float, ...] = ()
    scale_dn: float = 1.0
    full_well_dn: float | None = None

    def __post_init__(self) -> None:
        numbers = [*self.coefficients, self.scale_dn]
        if not np.all(np.isfinite(numbers)) or self.scale_dn <= 0:
            raise PhotonbitsError(
                f"response has coefficients {self.coefficients} and scale_dn {self.scale_dn}",
                legal="finite coefficients and a positive scale in DN",
            )
        if self.form not in ("linear", "polynomial", "two-slope"):
            raise PhotonbitsError(f"response form {self.form!r}", legal="linear, polynomial or two-slope")
        count = len(self.coefficients)
        if (self.form == "linear") != (count == 0) or (self.form == "two-slope" and count != 2):
            raise PhotonbitsError(
                f"response form {self.form!r} with {count} coefficients",
                legal="none for linear, one or more for polynomial, two for two-slope",
            )
        if self.form == "two-slope" and not (self.coefficients[0] > 0 and 0 < self.coefficients[1] < 1):
            raise PhotonbitsError(
                f"two-slope response with coefficients {self.coefficients}",
                legal="(knee / scale_dn, slope beyond it), the knee above 0 and the slope between 0 and 1",
            )
        if self.full_well_dn is not None and not self.full_well_dn > 0:
            raise PhotonbitsError(f"full_well_dn {self.full_well_dn}", legal="a positive number of DN")
        if self.form == "polynomial" and self._minimum_slope() < 0:
            raise PhotonbitsError(
                f"response falls between 0 and {self.scale_dn:g} DN (slope {self._minimum_slope():.3g})",
                legal="a non-decreasing curve",
                remedy="Use fewer coefficients or a shorter range",
            )

    @classmethod
    def two_slope(cls, knee_dn: float, slope: float, full_well_dn: float | None = None) -> Response:
        """f(u) = u up to ``knee_dn``, of slope ``slope`` beyond, read at the knee itself."""
        return cls("two-slope", (1.0, float(slope)), float(knee_dn), full_well_dn)

    @property
    def knee_dn(self) -> float | None:
        """Signal u at the knee of a two-slope curve, DN; None for other forms."""
        return self.coefficients[0] * self.scale_dn if self.form == "two-slope" else None

    def pieces(self) -> tuple[FloatArray, FloatArray] | None:
        """Knots u_j and slopes of the straight pieces beyond each, the first from 0 on; None for a polynomial.

        f(u) = u - sum_j (s_j-1 - s_j) max(u - u_j, 0) with s_-1 = 1.
        """
        if self.form == "polynomial":
            return None
        top = np.inf if self.full_well_dn is None else self.full_well_dn
        knots = [] if self.knee_dn is None or self.knee_dn >= top else [self.knee_dn]
        slopes = [self.coefficients[1]] * len(knots)
        if np.isfinite(top):
            knots, slopes = [*knots, top], [*slopes, 0.0]
        return np.array(knots), np.array(slopes)

    @property
    def is_linear(self) -> bool:
        """True where f(u) = u over the whole range."""
        return self.form == "linear" and self.full_well_dn is None

    def _minimum_slope(self) -> float:
        return float(np.min(self._polynomial_slope(np.linspace(0.0, 1.0, 513))))

    def _polynomial_slope(self, x: FloatArray) -> FloatArray:
        slope = np.ones_like(x)
        for power, coefficient in enumerate(self.coefficients, start=1):
            slope += (power + 1) * coefficient * x**power
        return slope

    def evaluate(self, u_dn: ArrayLike) -> FloatArray:
        """f(u) in DN, the shape of ``u_dn``."""
        u = np.asarray(u_dn, dtype=np.float64)
        if self.full_well_dn is not None:
            u = np.minimum(u, self.full_well_dn)
        if self.form == "linear":
            return u.copy()
        if self.form == "two-slope":
            knee, slope = self.coefficients[0] * self.scale_dn, self.coefficients[1]
            return np.minimum(u, knee) + slope * np.maximum(u - knee, 0.0)
        x = np.clip(u / self.scale_dn, 0.0, 1.0)
        value = np.ones_like(x)
        for power, coefficient in enumerate(self.coefficients, start=1):
            value += coefficient * x**power
        inside = np.where(u > 0, np.minimum(u, self.scale_dn) * value, u)
        return inside + np.maximum(u - self.scale_dn, 0.0) * float(self._polynomial_slope(np.array(1.0)))

    def derivative(self, u_dn: ArrayLike) -> FloatArray:
        """f'(u), dimensionless, the shape of ``u_dn``; 0 from the full well on."""
        u = np.asarray(u_dn, dtype=np.float64)
        slope = np.ones_like(u)
        if self.form == "polynomial":
            slope = self._polynomial_slope(np.clip(u / self.scale_dn, 0.0, 1.0))
        elif self.form == "two-slope":
            slope = np.where(u > self.coefficients[0] * self.scale_dn, self.coefficients[1], 1.0)
        if self.full_well_dn is not None:
            slope = np.where(u >= self.full_well_dn, 0.0, slope)
        return slope

    def inverse(self, v_dn: ArrayLike) -> FloatArray:
        """Smallest u with f(u) >= v, in DN; +inf where no u reaches v.

        ``P(f(u) >= v) = P(u >= inverse(v))`` holds for every v, flat stretches included, which is what the
        probability of a code needs.
        """
        v = np.asarray(v_dn, dtype=np.float64)
        if self.form == "two-slope":
            knee, slope = self.coefficients[0] * self.scale_dn, self.coefficients[1]
            u = np.minimum(v, knee) + np.maximum(v - knee, 0.0) / slope
        else:
            u = v.copy() if self.form == "linear" else self._invert_polynomial(v)
        if self.full_well_dn is not None:
            top = float(self.evaluate(np.array(self.full_well_dn)))
            u = np.where(v > top, np.inf, np.minimum(u, self.full_well_dn))
        return u

    def _invert_polynomial(self, v: FloatArray) -> FloatArray:
        top = float(Response(self.form, self.coefficients, self.scale_dn).evaluate(np.array(self.scale_dn)))
        end_slope = float(self._polynomial_slope(np.array(1.0)))
        bare = self if self.full_well_dn is None else Response(self.form, self.coefficients, self.scale_dn)
        knots = np.linspace(0.0, self.scale_dn, 1025)
        u = np.interp(np.clip(v, 0.0, top), bare.evaluate(knots), knots)
        for _ in range(6):  # Newton from a bracket of 1/1024: quadratic, and kept inside by the clip
            slope = np.maximum(bare.derivative(u), 1e-12)
            u = np.clip(u + (np.clip(v, 0.0, top) - bare.evaluate(u)) / slope, 0.0, self.scale_dn)
        with np.errstate(divide="ignore", invalid="ignore"):
            beyond = self.scale_dn + (v - top) / end_slope if end_slope > 0 else np.full_like(v, np.inf)
        return np.where(v > top, beyond, np.where(v < 0, v, u))
