"""From sums to each pixel's parameters and their standard errors, in closed form; all in DN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from calibrate.noise_model.credibility import sample
from calibrate.pixel_maps.design import Design
from calibrate.pixel_maps.outliers import give_back
from calibrate.pixel_maps.root import shrink
from calibrate.pixel_maps.sums import Float32Array, TileSums

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_THREADS = 2
#: Response below which a pixel's gain cannot be told: its shot noise is then taken as that of this response.
_LEAST_RESPONSE = 0.05
#: Variance of a pixel over the typical one from which its own value is used to state errors, and not the others'.
_OWN_VARIANCE_FROM = 9.0


@dataclass
class PixelEstimates:
    """Parameters of each pixel and their standard errors, flat float32 arrays.

    Parameters
    ----------
    offset_dn, rate_dn_per_s, response : ndarray
        ``rate_dn_per_s`` None with darks at one exposure, ``response`` (signal over that of all pixels, less 1) None
        without brights.
    dark_variance_dn2 : ndarray
        Weighted mean of the dark variances, rounding and dark shot noise in it.
    read_variance_dn2 : ndarray
        Unbiased, of either sign.
    gain_dn_per_e : ndarray or None
    std : dict
        Standard errors by the names above.
    guess_dn2 : ndarray
        Best guess of the read variance, for its root and for the errors.
    typical_dn2 : float
        Mean dark variance of pixels below nine times the median.
    """

    offset_dn: Float32Array
    rate_dn_per_s: Float32Array | None
    response: Float32Array | None
    dark_variance_dn2: Float32Array
    read_variance_dn2: Float32Array
    gain_dn_per_e: Float32Array | None
    std: dict[str, Float32Array]
    guess_dn2: Float32Array
    typical_dn2: float = 0.0


def estimate_pixels(tiles: Sequence[TileSums], design: Design) -> PixelEstimates:
    """Offset, dark charge, response, read variance and gain of every pixel in ``tiles``, whose sums are used up.

    Notes
    -----
    Offset and dark charge: weighted least squares of the dark means over exposure, response: of the bright means over
    the levels' signals. Gain and still variance together: weighted least squares of the variances of all levels,

        v_j = K h_j u_j + h_j w + rounding,

    with u_j the pixel's own signal from its response, and weights from the scalar fit's variances: the pixel's own
    sample variances as weights would favour the levels where they came out small (-18 % of K from pairs). The read
    variance comes from the darks alone. Errors follow from the best guess of a pixel's variance, which few frames do
    not upset.
    """
    places = list(accumulate((tile.stop - tile.start for tile in tiles), initial=0))
    n = places[-1]

    def new() -> Float32Array:
        return np.empty(n, dtype=np.float32)

    parts = [slice(a, b) for a, b in pairwise(places)]
    out = PixelEstimates(
        offset_dn=new(),
        rate_dn_per_s=new() if design.has_rate else None,
        response=new() if design.has_light else None,
        dark_variance_dn2=new(),
        read_variance_dn2=new(),
        gain_dn_per_e=new() if design.has_gain else None,
        std={},
        guess_dn2=new(),
    )
    for name in ("offset_dn", "rate_dn_per_s", "response", "read_variance_dn2", "gain_dn_per_e"):
        if getattr(out, name) is not None:
            out.std[name] = new()
    _over_tiles(tiles, parts, lambda tile, part: _means(tile, part, design, out))
    guess = _guess(design, out)
    _over_tiles(tiles, parts, lambda tile, part: _variances(tile, part, design, out, guess))
    return out


def _over_tiles(tiles: Sequence[TileSums], parts: list[slice], work: Callable[[TileSums, slice], None]) -> None:
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(work, tiles, parts):
            pass


def _means(tile: TileSums, part: slice, design: Design, out: PixelEstimates) -> None:
    give_back(tile, design)
    dark, by_time = tile.dark.astype(np.float64), tile.dark_by_time.astype(np.float64)
    offset, rate = design.offset_and_rate(dark, by_time)
    out.offset_dn[part] = offset
    variance = tile.dark_variance / design.dark_weight
    out.dark_variance_dn2[part] = variance
    shot = design.fit.system_gain_dn_per_e * design.noise_exposure_s * rate
    out.read_variance_dn2[part] = variance - design.dark_rounding_dn2 - shot
    if out.rate_dn_per_s is not None:
        out.rate_dn_per_s[part] = rate
    if out.response is not None:
        out.response[part] = design.response(tile.light.astype(np.float64), offset, rate)


@dataclass(frozen=True)
class _Guess:
    """Means over typical pixels, and the weight of a pixel's own value against them (`shrink`)."""

    read_dn2: tuple[float, float]
    rate_dn_per_s: tuple[float, float]
    own_from_dn2: float

    def read(self, values: FloatArray, dark_variance: NDArray[np.floating]) -> FloatArray:
        """Best guess of the read variance; a pixel far noisier than the others counts for itself."""
        mean, weight = self.read_dn2
        return np.where(dark_variance > self.own_from_dn2, values, mean + weight * (values - mean))

    def rate(self, values: FloatArray) -> FloatArray:
        """Best guess of the dark charge."""
        mean, weight = self.rate_dn_per_s
        return mean + weight * (values - mean)


def _guess(design: Design, out: PixelEstimates) -> _Guess:
    """What typical pixels have in common, from a sample of them large enough to know it."""
    chosen = sample(out.offset_dn.size)
    variance = out.dark_variance_dn2[chosen].astype(np.float64)
    own_from = _OWN_VARIANCE_FROM * float(np.median(variance))
    typical = variance <= own_from
    variance, read = variance[typical], out.read_variance_dn2[chosen][typical].astype(np.float64)
    out.typical_dn2 = float(np.mean(variance))
    fit, gain, t = design.fit, design.fit.system_gain_dn_per_e, design.noise_exposure_s
    still = max(float(np.mean(read)) + design.dark_rounding_dn2, fit.smallest_variance_dn2)
    rate_guess = (fit.dark_rate_dn_per_s if design.has_exposures else 0.0, 0.0)
    rate, rate_error = np.full_like(read, rate_guess[0]), np.zeros_like(read)
    by_still, by_rate = design.dark_prediction(0.0, slope=True)
    if out.rate_dn_per_s is not None:
        rate = out.rate_dn_per_s[chosen][typical].astype(np.float64)
        rate_error = by_still * still + by_rate * gain * np.maximum(rate, 0.0)
        rate_guess = shrink(rate, rate_error)
    a2, ab, b2, b = design.dark_spread()
    shot_rate = gain * np.maximum(rate, 0.0)
    noise = still * (a2 * still + ab * shot_rate) + shot_rate * (b2 * shot_rate + b) + (gain * t) ** 2 * rate_error
    noise += design.rounding_spread[1]
    return _Guess(shrink(read, noise, a2), rate_guess, own_from)


def _variances(tile: TileSums, part: slice, design: Design, out: PixelEstimates, guess: _Guess) -> None:
    fit = design.fit
    gain, t = fit.system_gain_dn_per_e, design.noise_exposure_s
    read = out.read_variance_dn2[part].astype(np.float64)
    read = guess.read(read, out.dark_variance_dn2[part])
    out.guess_dn2[part] = read
    still = np.maximum(read + design.dark_rounding_dn2, fit.smallest_variance_dn2)
    rate: FloatArray | float = fit.dark_rate_dn_per_s if design.has_exposures else 0.0
    likely = np.full_like(still, max(rate, 0.0))
    if out.rate_dn_per_s is not None:
        rate = out.rate_dn_per_s[part].astype(np.float64)
        likely = np.maximum(guess.rate(rate), 0.0)
    shot_rate = gain * likely  # DN^2/s

    a2, ab, b2, b = design.dark_spread()
    coarse_mean, coarse, coarse_rate = design.rounding_spread
    spread = still * (a2 * still + ab * shot_rate) + shot_rate * (b2 * shot_rate + b) + coarse
    rate_spread: FloatArray | float = 0.0
    if out.rate_dn_per_s is not None:
        by_still, by_rate = design.dark_prediction(0.0, slope=True)
        rate_spread = by_still * still + by_rate * shot_rate + coarse_rate
        out.std["rate_dn_per_s"][part] = np.sqrt(rate_spread)
    by_still, by_rate = design.dark_prediction(0.0)
    out.std["offset_dn"][part] = np.sqrt(by_still * still + by_rate * shot_rate + coarse_mean)
    out.std["read_variance_dn2"][part] = np.sqrt(spread + (gain * t) ** 2 * rate_spread)
    if out.response is None:
        tile.release()
        return
    response = out.response[part].astype(np.float64)
    seen = np.maximum(1.0 + response, 0.0)
    weight, by_time = design.light_weight
    by_still, by_rate = design.dark_prediction(by_time / weight)
    shot, plain = design.response_spread()
    dark_error = (weight / design.light_lever) ** 2 * (by_still * still + by_rate * shot_rate)
    out.std["response"][part] = np.sqrt(shot * seen + plain * still + dark_error)
    if out.gain_dn_per_e is not None:
        _gain(tile, part, design, out, response, rate, still, spread, rate_spread)
    tile.release()


def _gain(
    tile: TileSums,
    part: slice,
    design: Design,
    out: PixelEstimates,
    response: FloatArray,
    rate: FloatArray | float,
    still: FloatArray,
    dark_spread: FloatArray,
    rate_spread: FloatArray | float,
) -> None:
    """Solve the two normal equations of each pixel for the gain."""
    if out.gain_dn_per_e is None:
        return
    p = np.maximum(response, _LEAST_RESPONSE - 1.0)
    s1k, s1w, s0k, s0w = design.expected_at(p)
    if design.has_rate:
        extra = rate - design.fit.dark_rate_dn_per_s
        for target, weight in zip((s1k, s0k), design.by_rate, strict=True):
            target += weight * extra
    q, mean_gain = design.dark_weight, design.fit.system_gain_dn_per_e
    s0w += q
    rounding_1, rounding_0 = design.rounding_sums
    t = design.noise_exposure_s
    b1 = tile.variance_signal - rounding_1
    b0 = tile.variance - rounding_0 + tile.dark_variance - q * (design.dark_rounding_dn2 + mean_gain * t * rate)
    scale = 1 / (s1k * s0w - s1w * s0k)
    by_1, by_0 = s0w * scale, s1w * scale
    out.gain_dn_per_e[part] = by_1 * b1 - by_0 * b0
    k = 1.0 + p
    terms = [row @ np.stack([k * k, k * still, still * still, k]) for row in design.gain_spread()]
    spread = by_1 * (by_1 * terms[0] - 2 * by_0 * terms[1]) + by_0**2 * terms[2]
    spread += (by_0 * q) ** 2 * (dark_spread + (mean_gain * t) ** 2 * rate_spread)
    out.std["gain_dn_per_e"][part] = np.sqrt(spread)
