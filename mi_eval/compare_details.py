"""Where the information of an entry lies: over the frame, and over spatial frequency."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mi_eval.comparison import EntryDetails, PlaceBits
from mi_eval.score_parts import ScoreParts

FloatArray = NDArray[np.float64]

_MOST_PATCHES = 4000
_FEWEST_RINGS = 4


def entry_details(parts: ScoreParts) -> EntryDetails:
    """Bits of frames, places and spatial frequencies of one entry."""
    frequency, bits = _by_frequency(parts)
    return EntryDetails(parts.group_bits, _by_place(parts), frequency, bits)


def _by_place(parts: ScoreParts) -> PlaceBits:
    """Mean of (code length - excess)/pixels - influence over the patches at each corner."""
    corner, member = np.unique(parts.data.positions[:, 1:], axis=0, return_inverse=True)
    own = (parts.heldout.full_bits - parts.heldout.excess_bits) / parts.patch_size**2 - parts.influence_bits
    member = member.ravel()
    bits = np.bincount(member, weights=own) / np.bincount(member)
    return PlaceBits(corner[:, 0], corner[:, 1], bits)


def _by_frequency(parts: ScoreParts) -> tuple[FloatArray, FloatArray]:
    r"""Gaussian surrogate of the information by spatial frequency: cycles per pixel, and bits per pixel and mode.

    .. math:: \tfrac12\log_2\max(P(f)/N, 1)

    with P the mean periodogram of the patches' light (Hann window, mean of all patches taken off) and N the noise's.
    """
    patches = parts.data.patches.thinned(_MOST_PATCHES * parts.patch_size**2)
    size = patches.patch_size
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    window = np.outer(window, window)
    value = patches.value_dn
    power = np.abs(np.fft.fft2((value - value.mean()) * window)) ** 2
    ratio = power.mean(axis=0) / (np.sum(window**2) * max(patches.noise_variance_dn2, 1e-300))
    one = np.fft.fftfreq(size)
    radius = np.hypot(one[:, None], one)
    edges = np.linspace(0.0, 0.5, max(_FEWEST_RINGS, size // 2) + 1)
    ring = np.digitize(radius.ravel(), edges[1:])
    bits = 0.5 * np.log2(np.maximum(ratio, 1.0)).ravel()
    inside = ring < edges.size - 1
    count = np.bincount(ring[inside], minlength=edges.size - 1)
    total = np.bincount(ring[inside], weights=bits[inside], minlength=edges.size - 1)
    centre = (edges[1:] + edges[:-1]) / 2
    return centre[count > 0], total[count > 0] / count[count > 0]
