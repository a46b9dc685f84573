"""Independent pixels: the code histogram, smoothed as much as held-out codes ask for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from calibrate.plumbing.errors import PhotonbitsError
from mi_eval.density.interface import FittedDensity
from mi_eval.density.light_histogram import LightHistogram
from mi_eval.density.patches import FloatArray, PatchSet
from mi_eval.intensity import fit_intensity_law

# More bins than this and the step is doubled until they fit (32-bit data).
_MAX_BINS = 1 << 18
# A code seen this often is kept as it is by the "spiky" components: their codes cost at most
# 1/(2 * 1000 ln 2) = 0.0007 bit per pixel too much, and saturation piles or stuck codes are not smeared out.
_OFTEN = 1000
# What an unseen code can rely on; costs 1.4e-6 bit per pixel.
_LEAST_TAIL = 1e-6


@dataclass(frozen=True)
class CodeHistogram:
    r"""Independent, identically distributed pixels with a smoothed histogram.

    The law is a mixture of the raw histogram, Gaussian-smoothed histograms of rising width, the same with
    frequent codes kept sharp, and a flat component, with weights fitted by EM to `validation`. Bins are the
    code lattice in light units, so for a camera without maps this is exactly a histogram of codes.

    Notes
    -----
    A raw histogram of N pixels over m codes costs (m - 1)/(2 N ln 2) bit per pixel too much; a kernel of
    width w codes divides that by about 2 sqrt(pi) w.
    """

    name: str = "code_histogram"

    def fit(
        self, train: PatchSet, validation: PatchSet, seed: int, histogram: LightHistogram | None = None
    ) -> FittedHistogram:
        """Fit to `train`, choosing on `validation`; `histogram`, if fitted already to the same, is not fitted again."""
        fitted = fit_light_histogram(train, validation) if histogram is None else histogram
        return FittedHistogram(self.name, train.patch_size, fitted)


@dataclass(frozen=True)
class FittedHistogram(FittedDensity):
    """Independent pixels with one `LightHistogram`."""

    name: str
    patch_size: int
    histogram: LightHistogram

    def _pixel_bits(self, patches: PatchSet) -> FloatArray:
        bits = -np.log2(self.histogram.weigh(patches))
        return bits if patches.discrete else bits + patches.log2_response()

    def _conditional_cdf(self, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        shape = (patches.n_patches, -1)
        if not patches.discrete:
            u = self.histogram.cdf(patches.value_dn).reshape(shape)
            return u, u
        return (
            self.histogram.cdf(patches.lower_dn).reshape(shape),
            self.histogram.cdf(patches.upper_dn).reshape(shape),
        )


def fit_light_histogram(train: PatchSet, validation: PatchSet) -> LightHistogram:
    """Return the smoothed law of single pixels of `train`, smoothing chosen on `validation`."""
    pixels, held_out = _closed_values(train), _closed_values(validation)
    n_below, n_above = _open_counts(train)
    total = train.codes.size
    if pixels.size == 0:  # every pixel is clipped: only the end masses matter
        pixels = np.asarray([train.value_dn.flat[0]])
    centre, spread = _robust_location(pixels)
    step, origin, n_bins, widths = _lattice(train, pixels, held_out, spread)
    counts, lost = _deposit(pixels, origin, step, n_bins)
    held_counts, _ = _deposit(held_out, origin, step, n_bins)
    components = _components(counts, widths, _possible_bins(train, origin, step, n_bins))
    weights = _fit_weights(components, held_counts)
    bins = weights @ components
    tail = max(_LEAST_TAIL, lost / max(total, 1))
    return LightHistogram(
        origin_dn=origin,
        step_dn=step,
        bins=bins / bins.sum(),
        below=n_below / total,
        above=n_above / total,
        tail_weight=tail,
        tail_centre_dn=centre,
        tail_scale_dn=max(spread, step),
    )


def _closed_values(patches: PatchSet) -> FloatArray:
    """Light values of the codes whose cells are closed, one-dimensional."""
    opened = patches.is_open()
    value = patches.value_dn
    return value[~opened] if opened.any() else value.ravel()


def _open_counts(patches: PatchSet) -> tuple[int, int]:
    if not patches.discrete:
        return 0, 0
    ends = (patches.black_clip_dn, patches.white_clip_dn)
    below, above = (0 if end is None else int(np.count_nonzero(patches.codes == end)) for end in ends)
    return below, above


def _robust_location(pixels: FloatArray) -> tuple[float, float]:
    low, middle, high = np.quantile(pixels, [0.1, 0.5, 0.9])
    return float(middle), float((high - low) / 2.563)


def _lattice(
    train: PatchSet, pixels: FloatArray, held_out: FloatArray, spread: float
) -> tuple[float, float, int, FloatArray]:
    """Step and first knot [DN], number of bins, and kernel widths in bins."""
    noise = float(np.sqrt(train.noise_variance_dn2))
    low, high = float(pixels.min()), float(pixels.max())
    if held_out.size:
        low, high = min(low, float(held_out.min())), max(high, float(held_out.max()))
    if train.lattice_dn is None:
        # Structure finer than the noise does not exist; without noise 1 % of the spread must do.
        step = noise / 4 if noise > 0 else spread / 100
        if step <= 0:
            raise PhotonbitsError(
                "real-valued measurements of which 80 % are one value",
                where="codes",
                remedy="Give the lattice of the codes, or the noise variance",
            )
        # A wild value must not stretch the bins: what lies beyond belongs to the Cauchy tail.
        reach = 40 * max(spread, step)
        middle = float(np.median(pixels))
        low, high = max(low, middle - reach), min(high, middle + reach)
        anchor = middle - step / 2
    else:
        step = float(train.lattice_dn)
        # Codes of a shifted lattice (offset + K n) keep their phase: knots lie half a step from the codes.
        plain = np.ndim(train.offset_dn) == 0
        anchor = float(train.value_dn.flat[0]) if plain else -float(np.mean(train.offset_dn))
        anchor -= step / 2
    while (high - low) / step > _MAX_BINS // 2:
        step *= 2
    widest = min(max(8.0, noise / step, 0.1 * spread / step), _MAX_BINS / 64)
    widths = np.geomspace(0.7, widest, int(np.ceil(np.log2(widest / 0.7))) + 1)
    padding = 4 * widest + 1
    first = int(np.floor((low - anchor) / step - padding))
    last = int(np.ceil((high - anchor) / step + padding))
    return step, anchor + first * step, last - first, widths


def _deposit(pixels: FloatArray, origin: float, step: float, n_bins: int) -> tuple[FloatArray, int]:
    """Pixels shared linearly between the two bins that their cells overlap, and how many fell outside."""
    position = (pixels - origin) / step - 0.5
    index = np.floor(position + 1e-9).astype(np.int64)
    inside = (index >= 0) & (index < n_bins - 1)
    lost = int(inside.size - np.count_nonzero(inside))
    if lost:
        position, index = position[inside], index[inside]
    share = position - index
    share[np.abs(share) < 1e-6] = 0.0  # an aligned cell fills its own bin and no other
    left = np.bincount(index, weights=1 - share, minlength=n_bins)
    right = np.bincount(index + 1, weights=share, minlength=n_bins)
    return np.asarray(left + right, dtype=np.float64), lost


def _possible_bins(train: PatchSet, origin: float, step: float, n_bins: int) -> FloatArray:
    """1 for bins that closed cells can fall into, 0 for those of clipped codes and beyond."""
    possible = np.ones(n_bins)
    if train.discrete and np.ndim(train.offset_dn) == 0 and np.ndim(train.relative_response) == 0:
        code = (origin + (np.arange(n_bins) + 0.5) * step) * train.relative_response + train.offset_dn
        margin = 0.25 * step * float(train.relative_response)
        if train.black_clip_dn is not None:
            possible[code < train.black_clip_dn + margin] = 0.0
        if train.white_clip_dn is not None:
            possible[code > train.white_clip_dn - margin] = 0.0
    return possible if possible.any() else np.ones(n_bins)


def _components(counts: FloatArray, widths: FloatArray, possible: FloatArray) -> FloatArray:
    """Mixture components, (n_components, n_bins), rows sum to 1: raw, smoothed, spiky and flat."""
    n_bins = counts.size
    often = np.where(counts >= _OFTEN, counts, 0.0)
    # Dividing by the smoothed range keeps the smoothed law from fading towards a clip code.
    reach = [np.maximum(near, 1e-3) for near in _smoothed(possible, widths)]

    def smooth(sharp: FloatArray) -> list[FloatArray]:
        return [s * possible / near for s, near in zip(_smoothed(sharp, widths), reach, strict=True)]

    rows = [counts, *smooth(counts)]
    if 0 < often.sum() < counts.sum():
        rows += [often + rest for rest in smooth(counts - often)]
    used = np.flatnonzero(counts)
    flat = np.zeros(n_bins)
    flat[used[0] : used[-1] + 1] = 1.0
    rows += [flat, possible]
    components = np.asarray(rows)
    return np.asarray(components / components.sum(axis=1, keepdims=True))


def _smoothed(counts: FloatArray, widths: FloatArray) -> list[FloatArray]:
    # The bins are padded by four widths, so the circular transform does not wrap anything around.
    length = next_fast_len(counts.size, real=True)
    spectrum = rfft(counts, length)
    frequency = np.arange(spectrum.size) * (2 * np.pi / length)
    return [
        np.maximum(irfft(spectrum * np.exp(-0.5 * (width * frequency) ** 2), length)[: counts.size], 0.0)
        for width in widths
    ]


def _fit_weights(components: FloatArray, held_counts: FloatArray) -> FloatArray:
    """Mixture weights of the largest likelihood of held-out counts; the last, flat, component is never switched off.

    To a certified optimum: 500 steps of EM leave 0.0008 bit per pixel.
    """
    n_components = components.shape[0]
    seen = (held_counts > 0) & (components.max(axis=0) > 0)
    if not seen.any():
        return np.full(n_components, 1 / n_components)
    numbers = np.arange(n_components, dtype=np.float64)
    law = fit_intensity_law([held_counts[seen]], [components[:, seen]], numbers, gap_nats=0.1)
    weights = law.weights.copy()
    weights[-1] = max(weights[-1], _LEAST_TAIL)
    return np.asarray(weights / weights.sum())
