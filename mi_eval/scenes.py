"""How many different scenes the frames show, and whether two sets of frames show the same ones.

Frames are reduced to thumbnails of their light; what is compared are the thumbnails' gradients, which hold the scene's
structure and neither the lamp's level nor a slow shading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_SIDE = 32  # blocks across the longer side of a frame
_LEAST_BLOCKS = 8
_ROLL = 0.5  # of the width: structure on a grid mostly falls onto the grid again
_SIGNIFICANT = 4.0  # standard errors of noise that a frame's structure must exceed
_MOST_FRAMES = 1500
_SHIFTS = (1, 2, 3, 5, 7, 11)


@dataclass(frozen=True)
class Thumbnails:
    """Mean light of blocks of every frame, in DN, and its noise.

    Parameters
    ----------
    light_dn : ndarray (n_frames, h, w)
        Offset taken off and divided by the pixels' response where maps are known.
    noise_variance_dn2 : ndarray (n_frames, h, w)
    """

    light_dn: FloatArray
    noise_variance_dn2: FloatArray

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return int(self.light_dn.shape[0])


def block_side(shape: tuple[int, int], period: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a block: whole colour periods, at most 32 blocks across a frame."""
    side = -(-max(shape) // _SIDE)
    return -(-side // period[0]) * period[0], -(-side // period[1]) * period[1]


def block_means(values: NDArray[Any], block: tuple[int, int]) -> FloatArray:
    """Means of blocks, (..., height // block[0], width // block[1]); what is left at the far edges is dropped."""
    rows, columns = values.shape[-2] // block[0], values.shape[-1] // block[1]
    kept = values[..., : rows * block[0], : columns * block[1]]
    split = kept.reshape(*kept.shape[:-2], rows, block[0], columns, block[1])
    return np.asarray(split.mean(axis=(-3, -1), dtype=np.float64))


@dataclass(frozen=True)
class _Structure:
    """Gradients of the frames that show any, scaled to unit power without noise; and their numbers."""

    gradients: FloatArray
    elsewhere: FloatArray
    frames: NDArray[np.int64]


def effective_scenes(thumbnails: Thumbnails, seed: int = 0) -> float | None:
    r"""Number of different scenes that the frames are worth; None where their structure is lost in noise.

    .. math:: n_\mathrm{eff} = \frac{N^2}{\sum_{ij} \rho_{ij}^2}

    the participation ratio of the matrix of correlations :math:`\rho_{ij}` between the structures of frames i and j:
    N for frames that have nothing in common, k for k such scenes shown equally often. Information is an even function
    of a scene's structure, so its covariance between frames goes with the square of their correlation, and
    :math:`n_\mathrm{eff}` is the number of independent frames with the same error of the mean.

    Notes
    -----
    Noise is taken out of each frame's own power and is independent between frames. Frames that have nothing in common
    still correlate by chance: how much, in the mean square, is seen where one of the two is rolled sideways by half
    its width, and is taken off. Of more than 1500 frames as many are drawn. Frames without significant structure count
    as one scene together; None where they are more than half.
    """
    count = thumbnails.n_frames
    if count < 2 or min(thumbnails.light_dn.shape[1:]) < _LEAST_BLOCKS:
        return None
    structure = _structure(thumbnails)
    shown = structure.frames.size
    if shown < 2 or shown < count / 2:
        return None
    here, elsewhere = structure.gradients, structure.elsewhere
    if shown > _MOST_FRAMES:
        drawn = np.random.default_rng([seed, 3]).choice(shown, _MOST_FRAMES, replace=False)
        here, elsewhere = here[drawn], elsewhere[drawn]
    n = here.shape[0]
    square = (here @ here.T / here.shape[1]) ** 2 - (here @ elsewhere.T / here.shape[1]) ** 2
    common = float(square.sum() - np.trace(square)) / (n * (n - 1))
    blank = 1 if shown < count else 0
    return float(np.clip(shown / (1 + (shown - 1) * max(common, 0.0)), 1.0, shown)) + blank


def scenes_correspond(first: Thumbnails, second: Thumbnails) -> bool | None:
    """Whether frame i of one set shows the scene of frame i of the other; None where that cannot be told.

    Correlations of corresponding frames are compared with those of frames a few places apart. It cannot be told for
    frames of different number or shape, where structure is lost in noise, or where all frames show one scene.
    """
    if first.light_dn.shape != second.light_dn.shape or first.n_frames < 4:
        return None
    if min(first.light_dn.shape[1:]) < _LEAST_BLOCKS:
        return None
    a, b = _structure(first), _structure(second)
    common = np.intersect1d(a.frames, b.frames)
    if common.size < max(4, first.n_frames / 2):
        return None
    one, other = (s.gradients[np.searchsorted(s.frames, common)] for s in (a, b))
    here = np.mean(one * other, axis=1)
    apart = np.stack([np.mean(one * np.roll(other, k, axis=0), axis=1) for k in _SHIFTS if k < common.size])
    gain = here - apart.mean(axis=0)
    error = float(np.std(gain, ddof=1)) / np.sqrt(common.size)
    if float(np.mean(gain)) > max(5 * error, 0.02):
        return True
    return None if float(np.mean(apart)) > 0.5 else False


def _structure(thumbnails: Thumbnails) -> _Structure:
    light, noise = thumbnails.light_dn, thumbnails.noise_variance_dn2
    gradient = _gradients(light)
    variance = np.mean(_sums(noise), axis=1)
    power = np.mean(gradient**2, axis=1) - variance
    limit = _SIGNIFICANT * variance * np.sqrt(2 / gradient.shape[1])
    frames = np.flatnonzero((power > limit) & (power > 0))
    scale = np.sqrt(power[frames])[:, None]
    rolled = np.roll(light[frames], round(_ROLL * light.shape[2]), axis=2)
    return _Structure(gradient[frames] / scale, _gradients(rolled) / scale, frames)


def _gradients(light: FloatArray) -> FloatArray:
    """Differences of neighbours, down and across, (n_frames, n)."""
    return _flat(np.diff(light, axis=1), np.diff(light, axis=2))


def _sums(noise: FloatArray) -> FloatArray:
    """Noise variances of the gradients."""
    return _flat(noise[:, 1:] + noise[:, :-1], noise[:, :, 1:] + noise[:, :, :-1])


def _flat(down: FloatArray, across: FloatArray) -> FloatArray:
    return np.concatenate([values.reshape(len(values), int(np.prod(values.shape[1:]))) for values in (down, across)], 1)
