"""Mosaics: pixels of several channels in one patch, each with light of its own law."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mi_eval.density.histogram import fit_light_histogram
from mi_eval.density.interface import FittedDensity
from mi_eval.density.light_histogram import LightHistogram
from mi_eval.density.patches import FloatArray, PatchSet

#: Largest number of channels that are told apart by their places in a patch.
MOST_CHANNELS = 16


def place_classes(patch_size: int, period: tuple[int, int]) -> NDArray[np.int64] | None:
    """Number of the channel at each place of a patch that begins with the mosaic's period, (p, p).

    None where the pattern does not repeat or has more than `MOST_CHANNELS` channels.

    Examples
    --------
    >>> place_classes(3, (2, 2)).tolist()
    [[0, 1, 0], [2, 3, 2], [0, 1, 0]]
    """
    if not 1 < period[0] * period[1] <= MOST_CHANNELS:
        return None
    row, column = np.indices((patch_size, patch_size))
    return np.asarray(row % period[0] * period[1] + column % period[1], dtype=np.int64)


@dataclass(frozen=True)
class ChannelScale:
    r"""Light of every channel brought to the mean and standard deviation of all.

    .. math:: v' = M + S\,(v - m_c)/s_c

    This is another offset and response of the pixels (:math:`g' = g\,s_c/S`), so codes keep their cells and code
    lengths stay those of codes. What stationary families have to describe is then the scene that the colours share.

    Parameters
    ----------
    place_class : ndarray (p, p) of int
    mean_dn, sd_dn : ndarray (n_channels,)
        m_c and s_c [DN of light].
    """

    place_class: NDArray[np.int64]
    mean_dn: FloatArray
    sd_dn: FloatArray

    @classmethod
    def of(cls, train: PatchSet) -> ChannelScale:
        """From the moments of training patches."""
        places = _places(train)
        n = int(places.max()) + 1
        count = np.bincount(places.ravel(), minlength=n) * train.n_patches
        pilot = float(np.mean(train.take(slice(0, 1)).value_dn))
        total, square = np.zeros(n), np.zeros(n)
        for chunk in train.chunks():
            x = chunk.value_dn - pilot
            total += np.bincount(places.ravel(), weights=x.sum(axis=0).ravel(), minlength=n)
            square += np.bincount(places.ravel(), weights=(x * x).sum(axis=0).ravel(), minlength=n)
        mean = total / count
        least = max(np.sqrt(train.noise_variance_dn2), train.rounding_variance_dn2, 1e-9)
        sd = np.sqrt(np.maximum(square / count - mean**2, (0.1 * least) ** 2))
        return cls(places, pilot + mean, sd)

    def apply(self, patches: PatchSet) -> PatchSet:
        """The same codes, with the light of each channel in the common scale."""
        share = self.sd_dn / float(np.exp(np.mean(np.log(self.sd_dn))))
        response = np.broadcast_to(np.asarray(patches.relative_response, dtype=np.float64), patches.codes.shape)
        shift = (self.mean_dn - float(np.mean(self.mean_dn)) * share)[self.place_class]
        return replace(
            patches,
            offset_dn=patches.offset_dn + response * shift,
            relative_response=response * share[self.place_class],
            # The floor of eigenvalues must not lie above the noise of any channel.
            noise_variance_dn2=patches.noise_variance_dn2 * float(np.min(1.0 / share**2)),
            place_class=None,
            camera=None,
            cells=None,
        )


@dataclass(frozen=True)
class FittedInScale(FittedDensity):
    """A density of patches in a `ChannelScale`."""

    name: str
    patch_size: int
    base: FittedDensity
    scale: ChannelScale

    def _pixel_bits(self, patches: PatchSet) -> FloatArray:
        return self.base._pixel_bits(self.scale.apply(patches))

    def _conditional_cdf(self, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        return self.base._conditional_cdf(self.scale.apply(patches))


@dataclass(frozen=True)
class ChannelHistograms:
    """Independent pixels, with a smoothed histogram for each channel."""

    name: str = "channel_histograms"

    def fit(self, train: PatchSet, validation: PatchSet, seed: int) -> FittedChannelHistograms:
        """Fit to `train`, choosing the smoothing on `validation`; see `DensityFamily.fit`."""
        places = _places(train)
        histograms = tuple(
            fit_light_histogram(_pixels(train, places == channel), _pixels(validation, places == channel))
            for channel in range(int(places.max()) + 1)
        )
        return FittedChannelHistograms(self.name, train.patch_size, places, histograms)


@dataclass(frozen=True)
class FittedChannelHistograms(FittedDensity):
    """See `ChannelHistograms`."""

    name: str
    patch_size: int
    place_class: NDArray[np.int64]
    histograms: tuple[LightHistogram, ...]

    def _pixel_bits(self, patches: PatchSet) -> FloatArray:
        bits = np.empty((patches.n_patches, patches.n_pixels))
        for channel, histogram in enumerate(self.histograms):
            here = (self.place_class == channel).ravel()
            own = _pixels(patches, self.place_class == channel)
            bits[:, here] = -np.log2(histogram.weigh(own)).reshape(patches.n_patches, -1)
        return bits if patches.discrete else bits + patches.log2_response()

    def _conditional_cdf(self, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        low, high = (np.empty((patches.n_patches, patches.n_pixels)) for _ in range(2))
        for channel, histogram in enumerate(self.histograms):
            here = (self.place_class == channel).ravel()
            own = _pixels(patches, self.place_class == channel)
            edges = (own.lower_dn, own.upper_dn) if patches.discrete else (own.value_dn, own.value_dn)
            for out, edge in zip((low, high), edges, strict=True):
                out[:, here] = histogram.cdf(edge).reshape(patches.n_patches, -1)
        return low, high


def _places(patches: PatchSet) -> NDArray[np.int64]:
    if patches.place_class is None:
        raise ValueError("the patches have one channel")
    return patches.place_class


def _pixels(patches: PatchSet, here: NDArray[np.bool_]) -> PatchSet:
    """The pixels at some places, each a patch of its own."""

    def part(values: float | FloatArray) -> float | FloatArray:
        return (
            np.asarray(values[:, here]).reshape(-1, 1, 1) if isinstance(values, np.ndarray) and values.ndim else values
        )

    return replace(
        patches,
        codes=patches.codes[:, here].reshape(-1, 1, 1),
        frame_index=np.repeat(patches.frame_index, int(np.count_nonzero(here))),
        offset_dn=part(patches.offset_dn),
        relative_response=part(patches.relative_response),
        place_class=None,
    )
