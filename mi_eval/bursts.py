"""Repeated frames of a still scene, and pattern that frames of different scenes share, seen in the frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError, measure_bursts
from calibrate.plumbing.progress import track
from mi_eval.frame_source import FrameSource, Region
from mi_eval.pixel_planes import pixel_planes
from mi_eval.warnings import ScoreWarning, threshold, warning

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LARGEST_SIDE = 512
_BLOCK = 16
_SIGMAS = 5.0
#: What may differ between repeats beyond the noise model's noise, as a share of it: the model may be off by that much.
_NOISE_TOLERANCE = 0.15
#: The same as a share of the structure that repeats.
_STRUCTURE_TOLERANCE = 0.25
#: Correlation of neighbours up to which a difference of frames is white, and how far the model may then be off.
_WHITE, _WRONG_MODEL = 0.1, 0.5
_FEWEST_PATTERN_PAIRS = 3
#: Bursts that are checked against the noise model, and frames of each.
_MOST_BURSTS, _MOST_FRAMES = 6, 8


@dataclass(frozen=True)
class NoiseRange:
    """Temporal variance of repeated frames in one range of signal, and what the noise model says."""

    mean_dn: float
    observed_variance_dn2: float
    predicted_variance_dn2: float
    z: float


@dataclass(frozen=True)
class Repeats:
    """Which frames show one scene, and what their repeats say about the noise model.

    Parameters
    ----------
    scene : ndarray (n_frames,) of int
        Number of the scene of each frame.
    pattern_dn2 : float or None
        Variance of fine pattern that frames of different scenes share; None where it is not significant.
    noise_dn2 : float
        Noise variance that the model gives these frames.
    ranges : tuple of NoiseRange
        Empty without repeats.
    variance_ratio, variance_ratio_std : float or None
        Observed over predicted variance, all ranges together, the noise model's own error in the second.
    moved_fraction : float
        Share of the repeats' pixels that moved.
    """

    scene: IntArray
    pattern_dn2: float | None = None
    noise_dn2: float = 0.0
    ranges: tuple[NoiseRange, ...] = ()
    variance_ratio: float | None = None
    variance_ratio_std: float | None = None
    moved_fraction: float = 0.0

    @property
    def n_scenes(self) -> int:
        """Number of different scenes."""
        return int(np.unique(self.scene).size)

    def to_dict(self) -> dict[str, Any]:
        """The block ``bursts`` of score.json."""
        return {
            "scenes": self.n_scenes,
            "repeated_frames": int(self.scene.size) - self.n_scenes,
            "variance_ratio": self.variance_ratio,
            "variance_ratio_std": self.variance_ratio_std,
            "moved_fraction": self.moved_fraction,
            "ranges": [vars(entry).copy() for entry in self.ranges],
        }


def find_repeats(
    source: FrameSource,
    model: NoiseModel,
    *,
    exposed: Region | None = None,
    exposure_s: float | None = None,
    burst: bool | None = None,
) -> Repeats:
    """Frames that repeat the scene before them, the pattern they share, and their noise against the model's.

    Parameters
    ----------
    source : FrameSource
    model : NoiseModel
    exposed : Region, optional
    exposure_s : float, optional
    burst : bool, optional
        True: all frames show one scene; False: none repeats another. Default: look.

    Notes
    -----
    Each frame is compared with the one before on the middle 512 x 512 pixels, in light units (maps taken out), scaled
    to one mean light: the deviations from the mean of every 16 x 16 block, or where they say nothing those means. Of
    two frames, C = Cov(a, b) is what repeats and E = (Var a + Var b)/2 - C what does not. They show one scene if C is
    significant and E is the model's noise within its error, 15 % of it, or, for strong structure, a quarter of C. A
    model that is off by more, up to half, is forgiven where the difference of the frames is white, as noise is and
    scenes are not.
    """
    if source.n_frames < 2:
        return Repeats(np.zeros(source.n_frames, dtype=np.int64))
    offset, response = pixel_planes(model, source.shape, exposure_s)
    part = _middle(source.shape, exposed)
    scene = np.zeros(source.n_frames, dtype=np.int64)
    fine: list[float] = []
    last: FloatArray | None = None
    noise = 0.0
    for number, frame in enumerate(track(source, "Comparing frames", total=source.n_frames)):
        if frame.shape != source.shape:
            raise PhotonbitsError(f"frame of shape {frame.shape}", where=source.names[number], legal=f"{source.shape}")
        light = _light(frame[part], model, offset, response, part)
        if last is not None:
            noise = _noise_dn2(model, 0.5 * float(light.mean() + last.mean()))
            repeats = _is_repeat(last, light, noise) if burst is None else burst
            scene[number] = scene[number - 1] + (not repeats)
            if not repeats:
                fine.append(_shared_pattern(last, light))
        last = light
    pattern = _significant(fine, noise)
    checked = Repeats(scene, pattern, noise)
    return checked if checked.n_scenes == source.n_frames else _with_check(checked, source, model, exposed)


def repeat_doubts(found: Repeats, model: NoiseModel) -> tuple[ScoreWarning, ...]:
    """Warnings about repeated scenes, their noise, and pattern that is no scene."""
    out: list[ScoreWarning] = []
    n_frames = int(found.scene.size)
    if found.n_scenes < n_frames:
        out.append(warning("repeated_scenes", n_frames=n_frames, n_scenes=found.n_scenes))
    ratio, std = found.variance_ratio, found.variance_ratio_std
    if ratio is not None and std is not None:
        off = ratio - 1.0
        if abs(off) > max(threshold("burst_noisier_than_model"), 4 * std):
            worst = max(found.ranges, key=lambda entry: abs(entry.z))
            code = "burst_noisier_than_model" if off > 0 else "burst_quieter_than_model"
            out.append(
                warning(
                    code, percent=100 * abs(off), error=100 * std, mean_dn=worst.mean_dn, bits=0.5 * abs(np.log2(ratio))
                )
            )
    if found.pattern_dn2 is not None:
        bits = 0.5 * float(np.log2(1.0 + found.pattern_dn2 / max(found.noise_dn2, 1e-12)))
        code = "pattern_despite_maps" if model.maps else "fixed_pattern"
        out.append(warning(code, pattern_dn=float(np.sqrt(found.pattern_dn2)), bits=bits))
    return tuple(out)


def _middle(shape: tuple[int, int], exposed: Region | None) -> tuple[slice, slice]:
    """Whole blocks in the middle of the exposed part."""
    top, bottom, left, right = exposed or (0, shape[0], 0, shape[1])

    def along(start: int, stop: int) -> slice:
        size = min(stop - start, _LARGEST_SIDE)
        size = max(size // _BLOCK * _BLOCK, min(size, _BLOCK))
        first = start + (stop - start - size) // 2
        return slice(first, first + size)

    return along(top, bottom), along(left, right)


def _light(
    codes: NDArray[Any],
    model: NoiseModel,
    offset: FloatArray | None,
    response: FloatArray | None,
    part: tuple[slice, slice],
) -> FloatArray:
    """Codes as light, DN above the offset."""
    zero = float(model.camera.offset_dn) if offset is None else offset[part]
    light = codes.astype(np.float64) - zero
    light = light if response is None else light / np.maximum(response[part], 0.05)
    unusable = model.unusable_pixels
    if unusable is not None and np.any(unusable[part]):
        light[unusable[part]] = float(np.median(light))
    return np.asarray(light)


def _noise_dn2(model: NoiseModel, signal_dn: float) -> float:
    """Temporal variance at a signal, DN^2, of the model's scalars."""
    scalar = model.with_parameters()
    camera = scalar.camera
    charge = float(camera.response.inverse(np.array(signal_dn))) / float(camera.system_gain_dn_per_e)
    if not np.isfinite(charge) or (camera.kind != "gaussian" and charge < 0):
        charge = 0.0
    return float(scalar.variance_dn2(charge))


def _is_repeat(a: FloatArray, b: FloatArray, noise: float) -> bool:
    floor = 5 * np.sqrt(max(noise, 1e-12))
    mean_a, mean_b = float(a.mean()), float(b.mean())
    if min(mean_a, mean_b) > floor:  # one lamp, brighter or darker
        a, b = a * (0.5 * (mean_a + mean_b) / mean_a), b * (0.5 * (mean_a + mean_b) / mean_b)
    rows, columns = a.shape[0] // _BLOCK, a.shape[1] // _BLOCK
    if rows < 2 or columns < 2:
        return _same(a - a.mean(), b - b.mean(), noise, structured=True) is True
    blocks = [x.reshape(rows, _BLOCK, columns, _BLOCK) for x in (a, b)]
    means = [x.mean(axis=(1, 3)) for x in blocks]
    fine = [(x - m[:, None, :, None]).ravel() for x, m in zip(blocks, means, strict=True)]
    verdict = _same(fine[0], fine[1], noise * (1 - 1 / _BLOCK**2), structured=True)
    if verdict is False and _is_white((fine[0] - fine[1]).reshape(a.shape)):
        share = 0.5 * float(np.mean((fine[0] - fine[1]) ** 2)) / max(noise, 1e-12)
        significant = float(np.mean(fine[0] * fine[1])) > _SIGMAS * noise * share / np.sqrt(a.size)
        return significant and abs(share - 1.0) < _WRONG_MODEL
    if verdict is not None:
        return verdict
    coarse = [m - m.mean() for m in means]
    return _same(coarse[0], coarse[1], noise / _BLOCK**2, structured=False) is True


def _is_white(d: FloatArray) -> bool:
    power = float(np.mean(d * d))
    products = (np.mean(d[1:] * d[:-1]), np.mean(d[:, 1:] * d[:, :-1]))
    return power > 0 and all(abs(float(product)) < _WHITE * power for product in products)


def _same(a: FloatArray, b: FloatArray, noise: float, *, structured: bool) -> bool | None:
    """Whether two fields show the same; None where nothing repeats and nothing differs beyond the noise."""
    n = a.size
    common = float(np.mean(a * b))
    own = 0.5 * float(np.mean(a * a) + np.mean(b * b))
    error = own / np.sqrt(n)
    other = own - common - noise
    allowed = max(_STRUCTURE_TOLERANCE * common if structured else 0.0, min(_NOISE_TOLERANCE * noise, 0.5 * common))
    if common <= _SIGMAS * error:
        return False if structured and other > _NOISE_TOLERANCE * noise + _SIGMAS * error else None
    return bool(other <= allowed + 3 * np.sqrt(2.0) * error)


def _shared_pattern(a: FloatArray, b: FloatArray) -> float:
    """Variance of white pattern that two frames share: covariance of second differences along both axes over 36."""
    rough = [np.diff(np.diff(x, 2, axis=0), 2, axis=1) for x in (a, b)]
    return float(np.mean(rough[0] * rough[1])) / 36.0


def _significant(shared: list[float], noise: float) -> float | None:
    """Mean shared pattern where it stands out of the scatter over pairs of frames, and matters."""
    if len(shared) < _FEWEST_PATTERN_PAIRS:
        return None
    mean, error = float(np.mean(shared)), float(np.std(shared, ddof=1) / np.sqrt(len(shared)))
    return mean if mean > _SIGMAS * error and mean > threshold("fixed_pattern") * noise else None


def _with_check(found: Repeats, source: FrameSource, model: NoiseModel, exposed: Region | None) -> Repeats:
    """The repeats' temporal variance by range of signal, against the model's."""
    bursts: list[list[int]] = []
    for number in np.unique(found.scene):
        members = np.flatnonzero(found.scene == number)
        if members.size > 1 and len(bursts) < _MOST_BURSTS:
            bursts.append([int(member) for member in members[:_MOST_FRAMES]])
    frames = source.pick([number for members in bursts for number in members])
    top, bottom, left, right = exposed or (0, source.shape[0], 0, source.shape[1])
    window = np.zeros(source.shape, dtype=bool)
    window[top:bottom, left:right] = True
    if model.unusable_pixels is not None:
        window &= ~model.unusable_pixels
    layout = model.channel_layout
    parts: list[tuple[tuple[slice, slice], NoiseModel]] = [((slice(None), slice(None)), model)]
    if layout is not None:
        parts = [(section.index, model.channel(name)) for name, section in layout.sections.items()]
    ranges: list[NoiseRange] = []
    weighed: list[tuple[float, float, float]] = []
    moved = 0.0
    for index, own in parts:
        stacks = [[frames[number][index] for number in members] for members in bursts]
        try:
            measured = measure_bursts(stacks, usable=window[index])
        except PhotonbitsError:  # too few pixels, or everything moved: nothing to compare
            continue
        moved += measured.moved_fraction / len(parts)
        offset = float(own.camera.offset_dn)
        top_dn = float(own.camera.white_clip_dn) if own.bit_depth is not None else np.inf
        for level in measured.levels:
            observed = level.temporal_variance_dn2(offset)
            predicted = _noise_dn2(own, level.mean_dn - offset)
            if observed is None or level.maximum_code >= top_dn:
                continue
            relative = np.sqrt((level.kurtosis - 1.0) / (level.n_pixels * len(level.pairs)))
            model_error = _relative_error(own, level.mean_dn - offset)
            z = (observed / predicted - 1.0) / float(np.hypot(relative, model_error))
            ranges.append(NoiseRange(level.mean_dn, observed, predicted, z))
            weighed.append((observed / predicted, float(relative), model_error))
    if not ranges:
        return Repeats(found.scene, found.pattern_dn2, found.noise_dn2)
    ratios, errors, common = np.array(weighed).T
    weight = 1.0 / np.maximum(errors, 1e-4) ** 2
    ratio = float(weight @ ratios / weight.sum())
    # The model's error is common to all ranges, and does not average out.
    std = float(np.hypot(1.0 / np.sqrt(weight.sum()), weight @ common / weight.sum()))
    return Repeats(found.scene, found.pattern_dn2, found.noise_dn2, tuple(ranges), ratio, std, moved)


def _relative_error(model: NoiseModel, signal_dn: float) -> float:
    """Relative standard error of the model's variance at a signal, from its covariance, by differences."""
    covariance = model.document.covariance
    if covariance is None:
        return 0.0
    matrix = np.array(covariance.matrix)
    base = _noise_dn2(model, signal_dn)
    slopes = np.zeros(len(covariance.names))
    for position, name in enumerate(covariance.names):
        if name not in ("system_gain_dn_per_e", "read_noise_e"):
            continue
        value = float(getattr(model.camera, name))
        step = max(1e-3 * abs(value), 1e-6)
        moved = model.with_parameters(**{name: value + step})
        slopes[position] = (_noise_dn2(moved, signal_dn) - base) / step / base
    return float(np.sqrt(max(slopes @ matrix @ slopes, 0.0)))
