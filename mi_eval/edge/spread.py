"""From pixels at known distances from an edge to its spread function, its MTF, and the errors of both.

Pixels are averaged in bins a quarter of a pixel wide along the edge's normal, differenced, windowed (Tukey), and
Fourier transformed. All of it is linear in the bins, so the noise of every bin goes through exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.signal.windows import tukey

from calibrate import PhotonbitsError
from mi_eval.edge.line import EdgeLine

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

BIN_PX = 0.25
_FLAT_SHARE = 0.5  # of the window that is left as it is
_PIXELS_PER_BIN = 4.0  # on average, of bins finer than a quarter of a pixel
_SLOPE_SPAN = 0.04  # cycles per pixel on each side of a crossing: one step's slope is noise
_MOST_EMPTY = 0.5  # of the bins in the middle; their neighbours stand in


@dataclass(frozen=True)
class EdgeSpread:
    """Edge spread function in bins along the normal.

    Parameters
    ----------
    position_px : ndarray (n_bins,)
        Centres of the bins; 0 at the fitted edge.
    value_e, std_e : ndarray (n_bins,)
        Mean charge at the centre and its standard error.
    count : ndarray (n_bins,)
        Pixels in each bin; 0 where neighbours stand in.
    spread_px2 : float
        Mean variance of the distances within a bin, where the edge is: the blur of the binning.
    residual_ratio : ndarray (3,)
        Mean squared residual over the expected variance: dark side, edge, bright side.
    mean_e, variance_e2 : ndarray (n_bins,)
        Mean of each bin's pixels where they lie, and its variance.
    recentred : ndarray (n_bins, n_bins)
        ``value_e = recentred @ mean_e``.
    """

    position_px: FloatArray
    value_e: FloatArray
    std_e: FloatArray
    count: NDArray[np.int64]
    spread_px2: float
    residual_ratio: FloatArray
    mean_e: FloatArray
    variance_e2: FloatArray
    recentred: FloatArray


def edge_distances(line: EdgeLine, n_columns: int) -> FloatArray:
    """Distance of every pixel's centre from the edge along its normal, px; (n_rows, n_columns)."""
    cosine = 1.0 / np.hypot(1.0, line.slope)
    return np.asarray((np.arange(n_columns)[None, :] - line.place_px[:, None]) * cosine[:, None])


def edge_spread(
    charge_e: FloatArray,
    usable: BoolArray,
    variance_e2: FloatArray,
    distance_px: FloatArray,
    half_px: float,
    bin_px: float = BIN_PX,
) -> EdgeSpread:
    """Charge in bins of ``bin_px`` from -half_px to half_px.

    Raises
    ------
    PhotonbitsError
        If too many bins near the edge stay empty.

    Notes
    -----
    A bin's pixels do not lie evenly in it, least of all at angles whose tangent is a simple fraction. A cubic spline
    through the bins' means, each at the mean distance of its pixels, is therefore read at the bins' centres, and the
    blur of the binning is taken from the distances as they are.
    """
    centres, inside, member = _bins(usable, distance_px, half_px, bin_px)
    n_bins = centres.size
    values, places, variances = charge_e[inside], distance_px[inside], variance_e2[inside]
    count = np.bincount(member, minlength=n_bins)
    full = count > 0
    middle = np.abs(centres) <= min(half_px, 4.0)
    if np.mean(~full[middle]) > _MOST_EMPTY:
        raise PhotonbitsError(
            f"{100 * np.mean(~full[middle]):.0f} % of the steps of {bin_px:g} px across the edge are seen by no pixel",
            legal=f"{100 * _MOST_EMPTY:.0f} % or less",
            remedy="Tilt the edge by 3 to 10 degrees and use a longer piece of it",
        )
    safe = np.maximum(count, 1)

    def binned(weights: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(member, weights=weights, minlength=n_bins) / safe)

    mean, place = binned(values), binned(places)
    variance = binned(variances) / safe
    within = np.maximum(binned(places**2) - place**2, 0.0)
    # Linear in the means, so that their noise goes through as it is: row i holds what centre i takes of every bin.
    recentred = np.zeros((n_bins, n_bins))
    recentred[:, full] = CubicSpline(place[full], np.eye(int(full.sum())), bc_type="natural")(centres)
    ends = (centres < place[full][0]) | (centres > place[full][-1])
    recentred[ends] = 0.0
    recentred[np.flatnonzero(ends), np.where(centres[ends] < 0, np.flatnonzero(full)[0], np.flatnonzero(full)[-1])] = (
        1.0
    )
    value = np.asarray(recentred @ mean, dtype=np.float64)
    std = np.sqrt(recentred**2 @ variance)
    slope = smooth_slope(centres, value)
    weight = np.where(full, np.maximum(slope, 0.0) ** 2, 0.0)
    spread = float(np.sum(weight * within) / max(np.sum(weight), 1e-300))
    # Pixels against the curve that their own bins drew: each takes a share 1/n of its bin's freedom with it.
    expected = np.interp(places, centres, value)
    squared = (values - expected) ** 2 / variances
    freedom = 1.0 - 1.0 / safe[member]
    rise = _core_half_width(centres, value)
    ratio = np.full(3, np.nan)
    for part, chosen in enumerate((places < -rise, np.abs(places) <= rise, places > rise)):
        chosen = chosen & (safe[member] > 1)
        if np.count_nonzero(chosen) > 20:
            ratio[part] = float(np.sum(squared[chosen]) / np.sum(freedom[chosen]))
    return EdgeSpread(centres, value, std, count, spread, ratio, mean, variance, recentred)


def finest_bins(usable: BoolArray, distance_px: FloatArray, half_px: float) -> float:
    """Width of the finest bins, a quarter of a pixel or a half or quarter of that, which all have pixels near the edge.

    Quarter-pixel bins alias what an edge holds above 2 cycles per pixel. An edge blurred by a whole pixel's area has
    next to nothing there; one that is not, a small photosite's, reads 3 % low at the Nyquist frequency.
    """
    for bin_px in (BIN_PX / 4, BIN_PX / 2):
        centres, _, member = _bins(usable, distance_px, half_px, bin_px)
        near = np.bincount(member, minlength=centres.size)[np.abs(centres) <= min(half_px, 4.0)]
        if near.min() >= 1 and near.mean() >= _PIXELS_PER_BIN:
            return bin_px
    return BIN_PX


def _bins(
    usable: BoolArray, distance_px: FloatArray, half_px: float, bin_px: float
) -> tuple[FloatArray, BoolArray, NDArray[np.int64]]:
    """Centres of bins, which pixels lie in one, and the bin of each of these."""
    half_bins = int(np.ceil(half_px / bin_px))
    centres: FloatArray = np.arange(-half_bins, half_bins + 1, dtype=np.float64) * bin_px
    index = np.floor(distance_px / bin_px + 0.5).astype(np.int64) + half_bins
    inside = usable & (index >= 0) & (index < centres.size)
    return centres, inside, index[inside]


def _core_half_width(centres: FloatArray, value: FloatArray) -> float:
    """Half-width that holds the rise, px: 1.2 times the distance from 10 to 90 %."""
    return 1.2 * max(rise_distance(centres, value, float(value[:8].mean()), float(value[-8:].mean())), 0.8)


def smooth_slope(position_px: FloatArray, value: FloatArray) -> FloatArray:
    """Derivative of a binned curve, smoothed over about a pixel."""
    kernel = np.hanning(7)[1:-1]
    kernel /= kernel.sum()
    padded = np.pad(value, 2, mode="edge")
    return np.asarray(np.gradient(np.convolve(padded, kernel, mode="valid"), position_px))


def rise_distance(position_px: FloatArray, value: FloatArray, dark: float, bright: float) -> float:
    """Distance from 10 to 90 % of the step, px.

    Crossings next to the middle, of the curve averaged over 3 bins and over 3 bins twice: the square of the distance
    grows in proportion to the variance of a blur, and is read off where there is none, of averages or of bins.
    """
    once = _three_bins((value - dark) / (bright - dark))
    first, second = _rise_of(position_px, once), _rise_of(position_px, _three_bins(once))
    average = 2 * BIN_PX**2 / 3
    squared = first**2 - (second**2 - first**2) * (average + BIN_PX**2 / 12) / average
    return float(np.sqrt(squared)) if squared > 0.25 * first**2 else first


def _three_bins(curve: FloatArray) -> FloatArray:
    return np.asarray(np.convolve(np.pad(curve, 1, mode="edge"), np.ones(3) / 3, mode="valid"))


def _rise_of(position_px: FloatArray, share: FloatArray) -> float:
    """Distance of the 10 % and 90 % crossings next to the middle; the whole length where there is no middle."""
    fine = np.linspace(position_px[0], position_px[-1], 16 * (position_px.size - 1) + 1)
    curve = CubicSpline(position_px, share)(fine)
    middle = np.flatnonzero((curve[:-1] < 0.5) & (curve[1:] >= 0.5))
    if middle.size == 0:
        return float(position_px[-1] - position_px[0])
    start = int(middle[np.argmin(np.abs(fine[middle]))])
    low = np.flatnonzero(curve[: start + 1] <= 0.1)
    high = np.flatnonzero(curve[start:] >= 0.9)
    left = fine[0] if low.size == 0 else _between(fine, curve, int(low[-1]), 0.1)
    right = fine[-1] if high.size == 0 else _between(fine, curve, start + int(high[0]) - 1, 0.9)
    return float(right - left)


def _between(position: FloatArray, curve: FloatArray, i: int, level: float) -> float:
    """Where a curve passes ``level`` between samples i and i + 1."""
    rise = curve[i + 1] - curve[i]
    part = 0.5 if rise == 0 else float(np.clip((level - curve[i]) / rise, 0.0, 1.0))
    return float(position[i] + part * (position[i + 1] - position[i]))


@dataclass(frozen=True)
class Transfer:
    """The Fourier transform of the line spread function, linear in the bins of the edge spread function.

    Parameters
    ----------
    weights : ndarray of complex (n_frequencies, n_bins)
        O(f) = weights @ E, corrected for differences and binning.
    origin : ndarray (n_bins,)
        The same at f = 0: the step.
    bins_e, variance_e2 : ndarray (n_bins,)
    """

    frequency: FloatArray
    weights: NDArray[np.complex128]
    origin: FloatArray
    bins_e: FloatArray
    variance_e2: FloatArray

    @property
    def step_e(self) -> float:
        """O(0), the height of the step within the window, electrons."""
        return float(self.origin @ self.bins_e)

    @property
    def power(self) -> FloatArray:
        """MTF^2 without the noise's own power: (|O|^2 - Var O) / O(0)^2; below 0 where noise happens to be low."""
        value = self.weights @ self.bins_e
        noise = np.abs(self.weights) ** 2 @ self.variance_e2
        return np.asarray((np.abs(value) ** 2 - noise) / self.step_e**2)

    def power_gradient(self) -> FloatArray:
        """d MTF^2(f) / d bin, per electron; (n_frequencies, n_bins)."""
        value = self.weights @ self.bins_e
        own = 2.0 * np.real(np.conj(value)[:, None] * self.weights) / self.step_e**2
        return np.asarray(own - 2.0 * (np.abs(value) ** 2 / self.step_e**3)[:, None] * self.origin[None, :])

    @property
    def mtf(self) -> FloatArray:
        """Square root of `power` with its sign."""
        return _signed_root(self.power)

    @property
    def mtf_std(self) -> FloatArray:
        """Standard error of `mtf`: of the modulus where it stands out, through `power` where noise hides it."""
        value = self.weights @ self.bins_e
        modulus = np.maximum(np.abs(value), 1e-300)
        gradient = np.real(np.conj(value)[:, None] * self.weights) / (modulus * self.step_e)[:, None]
        gradient = gradient - (modulus / self.step_e**2)[:, None] * self.origin[None, :]
        along = gradient**2 @ self.variance_e2
        noise = np.abs(self.weights) ** 2 @ self.variance_e2 / self.step_e**2
        power = np.maximum(self.power, 0.0)
        spread = np.sqrt(4 * power * along + noise**2)
        half = (_signed_root(power + spread) - _signed_root(power - spread)) / 2
        return np.asarray(np.where(power > 16 * noise, np.sqrt(along), half))


def _signed_root(values: FloatArray) -> FloatArray:
    return np.asarray(np.sign(values) * np.sqrt(np.abs(values)))


def transfer(spread: EdgeSpread, frequency: FloatArray, *, half_px: float, extra_blur_px2: float = 0.0) -> Transfer:
    """The transform of the windowed line spread function at ``frequency`` (cycles per pixel of the plane).

    Parameters
    ----------
    spread : EdgeSpread
    frequency : ndarray
    half_px : float
        Half-width of the Tukey window, whose inner half is flat.
    extra_blur_px2 : float
        Variance of displacements that blurred the bins besides the binning: the error of the fitted line.

    Notes
    -----
    The difference of neighbouring bins of width b is the line spread function averaged over b: sinc(f b). Within a bin
    the distances have variance s^2: exp(-2 pi^2 f^2 s^2), which for an even filling is sinc(f b) again.
    """
    middle = (spread.position_px[1:] + spread.position_px[:-1]) / 2
    window = _window(middle, half_px)
    wave = np.exp(-2j * np.pi * np.outer(frequency, middle)) * window
    width = float(spread.position_px[1] - spread.position_px[0])
    attenuation = np.sinc(frequency * width) * np.exp(
        -2 * (np.pi * frequency) ** 2 * (spread.spread_px2 + extra_blur_px2)
    )
    wave = wave / attenuation[:, None]
    weights = np.zeros((frequency.size, spread.position_px.size), dtype=np.complex128)
    weights[:, 1:] += wave
    weights[:, :-1] -= wave
    origin = np.zeros(spread.position_px.size)
    origin[1:] += window
    origin[:-1] -= window
    return Transfer(frequency, weights @ spread.recentred, origin @ spread.recentred, spread.mean_e, spread.variance_e2)


def _window(position_px: FloatArray, half_px: float) -> FloatArray:
    """Tukey's window around 0, zero from ``half_px`` on."""
    fine = np.linspace(-half_px, half_px, 2001)
    return np.asarray(np.interp(position_px, fine, tukey(2001, 1 - _FLAT_SHARE), left=0.0, right=0.0))


def crossing(transfer_at: Transfer, level: float) -> tuple[float, float] | None:
    """First frequency where the MTF falls to ``level``, and its standard error.

    None where it does not, or where the MTF's own error there is over a third of the level: noise would cross for it.
    """
    mtf, std, f = transfer_at.mtf, transfer_at.mtf_std, transfer_at.frequency
    below = np.flatnonzero(mtf < level)
    if below.size == 0 or below[0] == 0:
        return None
    i = int(below[0])
    place = f[i - 1] + (level - mtf[i - 1]) * (f[i] - f[i - 1]) / (mtf[i] - mtf[i - 1])
    near = np.abs(f - place) <= _SLOPE_SPAN
    slope = float(np.polyfit(f[near], mtf[near], 1)[0])
    error = float(np.interp(place, f, std))
    return None if error > level / 3 or slope >= 0 else (float(place), error / abs(slope))
