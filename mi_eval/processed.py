"""Do frames have the noise that the model says? Denoised, demosaiced and foreign frames show in their finest detail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.frame_source import FrameSource, Region
from mi_eval.warnings import ScoreWarning, threshold, warning

FloatArray = NDArray[np.float64]

_MOST_PIXELS = 1_500_000
_MOST_FRAMES = 2000
_FEWEST_CELLS = 2000
_FEWEST_FLAT = 400
_QUIET_QUANTILE = 0.25
_SIGMAS = 5.0
# Blocks count as flat where their coarse detail is below this mean square, in units of the noise.
_FLAT_BELOW = 0.9
_CLIP_MARGIN = 4.0
_SAME_SHAPE = 0.2
_MEASURED = 0.8  # of the model's noise variance: pixels above it were not computed from others
_DIMMEST_E2 = 4.0  # variance in electrons squared below which codes are too few for flat blocks to be told
_LARGEST_SQUARE = 12.0  # a cell with an edge in it counts no more than this


@dataclass(frozen=True)
class NoiseCheck:
    """Fine detail of frames beside that of frames which the model makes of the same local means.

    Parameters
    ----------
    quiet_ratio, quiet_std : float
        Square of the ratio of the lower quartiles of |detail|: the noise variance of the quietest parts over the
        model's. Scenes can only raise it. NaN with too few cells.
    flat_ratio, flat_std : float
        Noise variance over the model's where coarse detail says that the scene is flat. NaN where little is flat, where
        the light is below some 4 electrons, and where the detail has not the distribution of noise.
    phase_ratio : float
        Largest over smallest of the quiet variances of the four places in a 2 x 2 grid of pixels, over what chance
        gives; 1 where all pixels were measured alike, and in mosaics, whose pixels all have the noise of a pixel.
    cells : int
        2 x 2 cells of pixels used.
    """

    quiet_ratio: float
    quiet_std: float
    flat_ratio: float
    flat_std: float
    phase_ratio: float
    cells: int

    @property
    def demosaiced(self) -> bool:
        """Whether pixels of some places in the grid were computed from others."""
        return self.phase_ratio > threshold("demosaiced")

    @property
    def processed(self) -> bool:
        """Whether the noise is far below the model's: smoothed frames, or frames of another camera."""
        limit = threshold("processed")
        return bool(self.quiet_ratio + _SIGMAS * self.quiet_std < limit)

    def doubts(self) -> tuple[ScoreWarning, ...]:
        """Warnings that the frames give cause for."""
        out = []
        if self.demosaiced:
            out.append(warning("demosaiced", ratio=self.phase_ratio))
        if self.processed:
            out.append(warning("processed", percent=100 * self.quiet_ratio))
        elif self.quiet_ratio < 1 - max(threshold("quieter_than_model"), _SIGMAS * self.quiet_std):
            out.append(warning("quieter_than_model", percent=100 * self.quiet_ratio))
        if self.flat_ratio > 1 + max(threshold("noisier_than_model"), _SIGMAS * self.flat_std):
            out.append(warning("noisier_than_model", percent=100 * self.flat_ratio))
        return tuple(out)


def noise_check(source: FrameSource, model: NoiseModel, *, exposed: Region | None = None, seed: int = 0) -> NoiseCheck:
    r"""Compare the finest detail of frames with that of noise alone.

    The diagonal difference of a 2 x 2 cell, :math:`d = (a - b - c + d')/2`, has the mean noise variance of its pixels
    whatever the noise's dependence on the light, is blind to row and column noise, and the scene only adds to it:
    adding anything independent to symmetric, unimodal noise makes small values rarer (Anderson 1955). The reference
    is the same cells, each with its mean light at all four pixels, measured by the model.

    Parameters
    ----------
    source : FrameSource
    model : NoiseModel
        With a bit depth; colour channels are taken apart.
    exposed : Region, optional
        Part of the frames that sees light.
    seed : int
        Of the reference frames.
    """
    n_frames = int(np.clip(_MOST_PIXELS // (source.shape[0] * source.shape[1]), 1, _MOST_FRAMES))
    rng = np.random.default_rng([seed, 6])
    frames = np.stack([np.asarray(frame) for _, frame in source.sample(n_frames)])
    made = _noise_alone(frames, model, rng)
    real, null = _Details([], [], []), _Details([], [], [])
    for plane, reference, camera, offset in _planes(frames, made, model, exposed):
        real.add(plane, camera, offset, rng)
        null.add(reference, camera, offset, rng)
    return _compared(real, null)


def check_noise(
    source: FrameSource, model: NoiseModel, *, accept_processed: bool, exposed: Region | None = None, seed: int = 0
) -> tuple[ScoreWarning, ...]:
    """Warnings of `noise_check`; frames that were processed are refused unless they are accepted.

    Raises
    ------
    PhotonbitsError
        If the frames were demosaiced, or their noise is far below the model's.
    """
    if model.bit_depth is None or "correlated_noise" in {entry.code for entry in model.document.fit.flags}:
        return ()
    found = noise_check(source, model, exposed=exposed, seed=seed)
    if not accept_processed and (found.demosaiced or found.processed):
        what = (
            f"every second pixel of the frames was computed from its neighbours (detail differs by a factor of "
            f"{found.phase_ratio:.1f}): they were demosaiced"
            if found.demosaiced
            else f"the quietest parts of the frames have {100 * found.quiet_ratio:.0f} % of the noise variance that "
            "the model says: they were denoised, averaged or resampled, or come from another camera or setting"
        )
        raise PhotonbitsError(
            what,
            legal="raw frames of the camera and setting of the noise model",
            remedy="Score raw frames; --accept-processed scores these all the same, "
            "for comparisons among frames processed alike",
        )
    return found.doubts()


@dataclass(frozen=True)
class _Details:
    """Standardised detail of cells: at every place of the grid, in flat blocks, and by phase of the pixel."""

    fine: list[FloatArray]
    flat: list[FloatArray]
    phases: list[tuple[FloatArray, ...]]

    def add(self, plane: NDArray[Any], camera: _Camera, offset: FloatArray | float, rng: np.random.Generator) -> None:
        """Take in the planes of one channel, (n, height, width)."""
        value = plane.astype(np.float64) - offset
        inside = (plane > camera.black_dn) & (plane < camera.white_dn)
        # Rounding leaves ties on a coarse lattice; the same dither on both sides takes them away.
        value = value + rng.random(value.shape) - 0.5
        h, w = value.shape[1] // 2 * 2, value.shape[2] // 2 * 2
        a, b, c, d = (value[:, i:h:2, j:w:2] for i in (0, 1) for j in (0, 1))
        mean = (a + b + c + d) / 4
        sound = np.ones(mean.shape, dtype=bool)
        for i in (0, 1):
            for j in (0, 1):
                sound &= inside[:, i:h:2, j:w:2]
        noise = camera.variance_dn2(mean) + 1 / 12
        sound &= camera.far_from_clips(mean, np.sqrt(noise))
        fine = (a - b - c + d) / 2 / np.sqrt(noise)
        self.fine.append(fine[sound])
        self.phases.append(_cross_details(value, inside, camera))
        bright = sound & (noise > _DIMMEST_E2 * float(camera.model.camera.system_gain_dn_per_e) ** 2)
        self.flat.append(_flat_details(mean, fine, noise, bright))


def _cross_details(value: FloatArray, inside: NDArray[np.bool_], camera: _Camera) -> tuple[FloatArray, ...]:
    """Pixel less the mean of its four neighbours over the noise, by place in a 2 x 2 grid."""
    middle = value[:, 1:-1, 1:-1]
    ring = (value[:, :-2, 1:-1] + value[:, 2:, 1:-1] + value[:, 1:-1, :-2] + value[:, 1:-1, 2:]) / 4
    good = inside[:, 1:-1, 1:-1]
    noise = camera.variance_dn2((middle + 4 * ring) / 5) + 1 / 12
    detail = (middle - ring) / np.sqrt(1.25 * noise)
    out = []
    for i in (0, 1):
        for j in (0, 1):
            out.append(np.abs(detail[:, i::2, j::2][good[:, i::2, j::2]]))
    return tuple(out)


def _flat_details(mean: FloatArray, fine: FloatArray, noise: FloatArray, sound: NDArray[np.bool_]) -> FloatArray:
    """Fine detail of the 4 x 4 blocks of cells whose means differ no more than noise does."""
    n, h, w = mean.shape[0], mean.shape[1] // 4, mean.shape[2] // 4
    if h == 0 or w == 0:
        return np.empty(0)

    def blocks(array: NDArray[Any]) -> NDArray[Any]:
        cut = array[:, : 4 * h, : 4 * w].reshape(n, h, 4, w, 4)
        return cut.transpose(0, 1, 3, 2, 4).reshape(-1, 16)

    means, usable = blocks(mean).astype(np.float64), np.all(blocks(sound), axis=1)
    spread = np.var(means, axis=1, ddof=1) / (blocks(noise).mean(axis=1) / 4)
    return np.asarray(blocks(fine)[usable & (spread < _FLAT_BELOW)].ravel(), dtype=np.float64)


@dataclass(frozen=True)
class _Camera:
    """What normalising needs of one channel's camera."""

    model: NoiseModel

    @property
    def black_dn(self) -> int:
        return int(self.model.camera.black_clip_dn)

    @property
    def white_dn(self) -> int:
        return int(self.model.camera.white_clip_dn)

    def charge_e(self, signal_dn: FloatArray) -> FloatArray:
        """Charge behind a signal above the offset; full wells stand for what fills them."""
        camera = self.model.camera
        u = camera.response.inverse(signal_dn)
        top = camera.response.full_well_dn
        return np.asarray(np.where(np.isfinite(u), u, 0.0 if top is None else top) / float(camera.system_gain_dn_per_e))

    def variance_dn2(self, signal_dn: FloatArray) -> FloatArray:
        """Noise variance at a signal above the offset, to first order, with rounding."""
        camera = self.model.camera
        gain, charge = float(camera.system_gain_dn_per_e), self.charge_e(signal_dn)
        slope = np.maximum(camera.response.derivative(gain * charge), 0.05)
        shot = np.zeros_like(charge) if camera.kind == "gaussian" else np.maximum(charge, 0.0)
        return np.asarray((slope * gain) ** 2 * (shot + float(camera.read_noise_e) ** 2) + 1 / 12)

    def far_from_clips(self, signal_dn: FloatArray, sd_dn: FloatArray) -> NDArray[np.bool_]:
        """Signals whose noise the clips do not cut."""
        code = signal_dn + float(self.model.camera.offset_dn)
        low = (
            self.black_dn == 0 and float(self.model.camera.offset_dn) < 0
        ) or code - _CLIP_MARGIN * sd_dn > self.black_dn
        return np.asarray(low & (code + _CLIP_MARGIN * sd_dn < self.white_dn))


def _planes(
    frames: NDArray[Any], made: NDArray[Any], model: NoiseModel, exposed: Region | None
) -> Iterator[tuple[NDArray[Any], NDArray[Any], _Camera, FloatArray | float]]:
    """Frames, reference and offset of every channel."""
    offsets = model.readout_maps.get("offset_dn") if model.maps else None
    keep = np.zeros(frames.shape[1:], dtype=bool)
    region = (0, frames.shape[1], 0, frames.shape[2]) if exposed is None else exposed
    rows, columns = slice(region[0], region[1]), slice(region[2], region[3])
    keep[rows, columns] = True
    for index, own in _sections(model):
        lines, across = np.flatnonzero(keep[index].any(axis=1)), np.flatnonzero(keep[index].any(axis=0))
        if lines.size < 4 or across.size < 4:
            continue
        part = slice(lines[0], lines[-1] + 1), slice(across[0], across[-1] + 1)
        offset = float(own.camera.offset_dn) if offsets is None else offsets[index][part]
        yield frames[:, *index][:, *part], made[:, *index][:, *part], _Camera(own), offset


def _sections(model: NoiseModel) -> Iterator[tuple[tuple[slice, slice], NoiseModel]]:
    layout = model.channel_layout
    if layout is None:
        yield (slice(None), slice(None)), model
    else:
        for name, section in layout.sections.items():
            yield section.index, model.channel(name)


def _noise_alone(frames: NDArray[Any], model: NoiseModel, rng: np.random.Generator) -> NDArray[Any]:
    """Frames of the model in which every cell has the mean light of the measured cell."""
    charge = np.zeros(frames.shape)
    offsets = model.readout_maps.get("offset_dn") if model.maps else None
    for index, own in _sections(model):
        offset = float(own.camera.offset_dn) if offsets is None else offsets[index]
        signal = frames[:, *index].astype(np.float64) - offset
        h, w = signal.shape[1] // 2 * 2, signal.shape[2] // 2 * 2
        mean = signal.copy()
        cells = signal[:, :h, :w].reshape(signal.shape[0], h // 2, 2, w // 2, 2).mean(axis=(2, 4))
        mean[:, :h, :w] = np.repeat(np.repeat(cells, 2, axis=1), 2, axis=2)
        light = _Camera(own).charge_e(mean)
        charge[:, *index] = light if own.camera.kind == "gaussian" else np.maximum(light, 0.0)
    return model.sample(charge, rng)


def _compared(real: _Details, null: _Details) -> NoiseCheck:
    fine, reference = (np.abs(np.concatenate(side.fine)) for side in (real, null))
    flat, flat_reference = (np.concatenate(side.flat) for side in (real, null))
    nan = float("nan")
    quiet, quiet_std, flat_ratio, flat_std, phase = nan, nan, nan, nan, 1.0
    if min(fine.size, reference.size) >= _FEWEST_CELLS:
        quiet = float((np.quantile(fine, _QUIET_QUANTILE) / np.quantile(reference, _QUIET_QUANTILE)) ** 2)
        quiet_std = _quantile_std(fine.size) * float(np.sqrt(2.0)) * max(quiet, 1e-3)
        phase = _phase_ratio(real, null)
    if min(flat.size, flat_reference.size) >= _FEWEST_FLAT:
        squares, expected = (np.minimum(side**2, _LARGEST_SQUARE) for side in (flat, flat_reference))
        flat_ratio = float(squares.mean() / expected.mean())
        quartiles = [float(np.quantile(np.abs(side), _QUIET_QUANTILE)) for side in (flat, flat_reference)]
        # Texture as fine as a pixel changes the shape of the distribution, other noise only its width.
        if abs(np.log((quartiles[0] / quartiles[1]) ** 2 / flat_ratio)) > _SAME_SHAPE:
            flat_ratio = nan
        own, other = (float(np.var(side) / np.mean(side) ** 2 / side.size) for side in (squares, expected))
        flat_std = flat_ratio * float(np.sqrt(own + other))
    return NoiseCheck(quiet, quiet_std, flat_ratio, flat_std, phase, int(fine.size))


def _quantile_std(n: int) -> float:
    """Relative standard error of a squared lower quartile of |normal| numbers."""
    z = float(stats.norm.ppf(0.5 + _QUIET_QUANTILE / 2))
    density = 2 * float(stats.norm.pdf(z))
    return 2 * float(np.sqrt(_QUIET_QUANTILE * (1 - _QUIET_QUANTILE) / n)) / (density * z)


def _phase_ratio(real: _Details, null: _Details) -> float:
    """Largest over smallest quiet variance of the four places, in the channel where they differ most.

    A mosaic differs too, but no place of it has less noise than the model.
    """
    worst = 1.0
    for own, reference in zip(real.phases, null.phases, strict=True):
        sizes = [part.size for part in own]
        if min(sizes) < _FEWEST_CELLS or min(part.size for part in reference) < _FEWEST_CELLS:
            continue
        levels = [
            (np.quantile(a, _QUIET_QUANTILE) / np.quantile(b, _QUIET_QUANTILE)) ** 2
            for a, b in zip(own, reference, strict=True)
        ]
        if min(levels) > _MEASURED:
            continue
        chance = 1 + _SIGMAS * 2 * _quantile_std(min(sizes))
        worst = max(worst, float(max(levels) / max(min(levels), 1e-9)) / chance)
    return worst
